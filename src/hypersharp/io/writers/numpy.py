"""NumPy's ``.npy``: the bare array, ``hwc`` unless another interleave is asked for, without any metadata.

``hwc`` is what a bare array is taken for when it is read. Blocks are written to their places, not mapped: a full disk
must raise an error, and writing to a mapping then kills the process.
"""

from __future__ import annotations

import io
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hypersharp.cube import Cube
from hypersharp.errors import UsageError
from hypersharp.io.arrays import FILE_AXES
from hypersharp.io.contract import WriteOptions, Writer


class NpySink:
    """A bare array, written block by block."""

    def __init__(self, path: Path, cube: Cube, axes: str) -> None:
        self.path = path
        self.axes = axes
        size = dict(zip("chw", cube.shape, strict=True))
        self.shape = tuple(size[axis] for axis in axes)
        self.file = path.open("wb", buffering=0)
        head = io.BytesIO()
        header = {"descr": npy.dtype_to_descr(cube.storage.dtype), "fortran_order": False, "shape": self.shape}
        npy.write_array_header_1_0(head, header)
        self.start = self.file.write(head.getvalue())

    def write(self, stored: NDArray[Any], row: int, col: int) -> None:
        """Store a block; see `Sink`."""
        begin = {"c": 0, "h": row, "w": col}
        block = np.ascontiguousarray(stored.transpose(["chw".index(axis) for axis in self.axes]))
        self._put(block, [begin[axis] for axis in self.axes])

    def _put(self, block: NDArray[Any], begin: list[int]) -> None:
        """Write a block by its contiguous runs: whole, plane by plane, or line by line."""
        _, inner, line = self.shape
        if block.shape[1:] == (inner, line):
            runs = [(begin, block)]
        elif block.shape[2] == line:
            runs = [([begin[0] + i, *begin[1:]], plane) for i, plane in enumerate(block)]
        else:
            runs = [
                ([begin[0] + i, begin[1] + j, begin[2]], row)
                for i, plane in enumerate(block)
                for j, row in enumerate(plane)
            ]
        for (i, j, k), run in runs:
            self.file.seek(self.start + ((i * inner + j) * line + k) * block.itemsize)
            rest = memoryview(run).cast("B")  # type: ignore[arg-type]  # arrays are buffers
            while rest:  # an unbuffered write may take only a part
                rest = rest[self.file.write(rest) :]

    def finish(self) -> list[str]:
        """Close the file; see `Sink`."""
        self.file.close()
        return [self.path.name]

    def abandon(self) -> None:
        """Close after a failure; see `Sink`."""
        with suppress(OSError):
            self.file.close()


def _create(folder: Path, name: str, cube: Cube, options: WriteOptions) -> NpySink:
    if options.compress != "none":
        raise UsageError(f".npy files are written with compress none, got {options.compress!r}; choose that or .npz")
    return NpySink(folder / name, cube, FILE_AXES[options.interleave or "bip"])


def _lost(cube: Cube, options: WriteOptions) -> list[str]:
    bands, storage = cube.bands, cube.storage
    axes = FILE_AXES[options.interleave or "bip"]
    marked = storage.nodata is not None and not math.isnan(storage.nodata)
    held = {
        "wavelengths": bands.wavelength_nm is not None,
        "FWHM": bands.fwhm_nm is not None,
        "bad bands": not bands.good.all(),
        "band names": bands.name is not None,
        "georeferencing": cube.grid is not None,
        "scale and offset": storage.is_scaled,
        f"the no-data marker {storage.nodata}": marked,
        "quantity": cube.quantity != "dn",
        "units": cube.units != "",
        "attributes": bool(cube.attrs.keys() - {"axes"}),
        "history": bool(cube.history),
        f"the axis order, to be stated as {axes} on reading": axes != "hwc",
    }
    lost = [name for name, there in held.items() if there]
    return [f"an .npy file cannot hold {', '.join(lost)}; .npz can"] if lost else []


WRITER = Writer(
    name="NumPy array",
    about="the bare array, hwc (or by the interleave), without metadata",
    suffixes=(".npy",),
    block=(64, 64),
    names=lambda name: [name],
    create=_create,
    lost=_lost,
)
