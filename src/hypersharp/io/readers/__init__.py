"""One file per format or sensor product; each offers `READER`. The folder is the registry."""
