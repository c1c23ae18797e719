"""hypersharp: sharpens hyperspectral cubes from any sensor.

The public surface is the names in ``__all__``; each is imported when it is first used, so importing the package is
instant and never loads a heavy library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hypersharp._version import __version__

if TYPE_CHECKING:
    from hypersharp.api import open, sharpen, write  # noqa: A004
    from hypersharp.cube import Bands, Cube, Grid, Storage
    from hypersharp.errors import (
        AmbiguousError,
        CubeError,
        FileFormatError,
        HypersharpError,
        MissingExtraError,
        NoDataError,
        TrainingError,
        UsageError,
        WriteError,
    )
    from hypersharp.fusing import fuse
    from hypersharp.judgement import assess
    from hypersharp.pipeline import Save, Tiling, Using

_WHERE = {
    "AmbiguousError": "errors",
    "Bands": "cube",
    "Cube": "cube",
    "CubeError": "errors",
    "FileFormatError": "errors",
    "Grid": "cube",
    "HypersharpError": "errors",
    "MissingExtraError": "errors",
    "NoDataError": "errors",
    "Save": "pipeline",
    "Storage": "cube",
    "Tiling": "pipeline",
    "Using": "pipeline",
    "TrainingError": "errors",
    "UsageError": "errors",
    "WriteError": "errors",
    "assess": "judgement",
    "fuse": "fusing",
    "open": "api",
    "sharpen": "api",
    "write": "api",
}

__all__ = [
    "AmbiguousError",
    "Bands",
    "Cube",
    "CubeError",
    "FileFormatError",
    "Grid",
    "HypersharpError",
    "MissingExtraError",
    "NoDataError",
    "Save",
    "Storage",
    "Tiling",
    "TrainingError",
    "UsageError",
    "Using",
    "WriteError",
    "__version__",
    "assess",
    "fuse",
    "open",
    "sharpen",
    "write",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _WHERE:
        raise AttributeError(f"module 'hypersharp' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"hypersharp.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
