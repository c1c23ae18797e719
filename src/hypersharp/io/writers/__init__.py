"""One file per output format; each offers `WRITER`. The folder is the registry."""
