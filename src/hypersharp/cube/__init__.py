"""The noun: `Cube` and what it is made of. Knows no file format and no heavy library."""

from hypersharp.cube.bands import Bands
from hypersharp.cube.cube import Cube, view
from hypersharp.cube.grid import Grid
from hypersharp.cube.source import (
    Source,
    Storage,
    StoredSource,
    all_valid,
    array_source,
    same_nodata,
    trivial_mask,
)

__all__ = [
    "Bands",
    "Cube",
    "Grid",
    "Source",
    "Storage",
    "StoredSource",
    "all_valid",
    "array_source",
    "same_nodata",
    "trivial_mask",
    "view",
]
