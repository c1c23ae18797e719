"""Every error a user can meet, as one tree.

::

    HypersharpError
    ├── UsageError            an option or argument is wrong (also a ValueError)
    ├── CubeError             a cube breaks its own rules (shape, bands, grid)
    ├── FileFormatError       a file cannot be read as what it claims to be
    │   └── AmbiguousError    several things in the file could be meant; the message names them
    ├── WriteError            the output cannot be written; nothing was left under its name
    ├── NoDataError           nothing valid to work on
    ├── TrainingError         a run went wrong in its numbers; the message names the term
    └── MissingExtraError     an optional part is not installed; the message has the pip line

Each message is one line: what was expected, what came, what to do.
"""

from __future__ import annotations

__all__ = [
    "AmbiguousError",
    "CubeError",
    "FileFormatError",
    "HypersharpError",
    "MissingExtraError",
    "NoDataError",
    "TrainingError",
    "UsageError",
    "WriteError",
]


class HypersharpError(Exception):
    """Root of every error that hypersharp raises on purpose."""


class UsageError(HypersharpError, ValueError):
    """An option or argument is wrong."""


class CubeError(HypersharpError, ValueError):
    """A cube breaks its own rules."""


class FileFormatError(HypersharpError):
    """A file cannot be read as what it claims to be."""


class AmbiguousError(FileFormatError):
    """Several things in the file could be meant; the message names them."""


class WriteError(HypersharpError):
    """The output cannot be written; nothing was left under its name."""


class NoDataError(HypersharpError):
    """Nothing valid to work on."""


class TrainingError(HypersharpError):
    """A training run went wrong in its numbers; the message names the term."""


class MissingExtraError(HypersharpError, ImportError):
    """An optional part is not installed; the message has the pip line that brings it."""
