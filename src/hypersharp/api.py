"""The three verbs of the Python interface, as `hypersharp.open`, `hypersharp.sharpen` and `hypersharp.write`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hypersharp.cube import Cube
from hypersharp.io import WriteOptions, open_cube, write_cube
from hypersharp.io.writing import Progress
from hypersharp.pipeline import sharpen

if TYPE_CHECKING:
    import xarray

__all__ = ["open", "sharpen", "write"]

open = open_cube  # noqa: A001  hypersharp.open is the name users know


def write(
    cube: Cube | xarray.DataArray,
    path: str | os.PathLike[str],
    *,
    dtype: str = "same",
    compress: str = "none",
    interleave: str | None = None,
    cog: bool = False,
    dataset: str = "cube",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a cube to a file whose ending chooses the format; see `hypersharp.io.write_cube`.

    Args:
        cube: what to write, read block by block.
        path: target: ``.tif`` GeoTIFF, ``.img`` ENVI, ``.h5`` HDF5, ``.npz`` or ``.npy`` NumPy.
        dtype: ``"same"``, a float type for physical values, or an integer type, scaled per band where needed.
        compress: ``"none"``, ``"zstd"`` or ``"deflate"``.
        interleave: ``"bsq"``, ``"bil"`` or ``"bip"``; None for the format's own choice.
        cog: rewrite a GeoTIFF as a cloud-optimised one.
        dataset: name inside an HDF5 file or NumPy archive.
        overwrite: replace an existing file.
        progress: called with blocks done and blocks in all.

    Returns:
        The path written.

    Raises:
        UsageError: an argument does not fit.
        WriteError: the target cannot be written; nothing was left under its name.
    """
    options = WriteOptions(dtype=dtype, compress=compress, interleave=interleave, cog=cog, dataset=dataset)
    held = cube if isinstance(cube, Cube) else Cube.from_xarray(cube)
    return write_cube(held, path, overwrite=overwrite, options=options, progress=progress)
