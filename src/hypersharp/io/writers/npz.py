"""NumPy's ``.npz``: the array with everything that belongs to it as JSON text in a member of its own.

The array is ``hwc`` unless another interleave is asked for; the metadata state it. It is written as a bare array first
and packed into the archive at the end, since the archive wants the checksum of a member before the member: twice the
space is needed meanwhile. Nothing is ever pickled.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hypersharp.cube import Cube
from hypersharp.errors import UsageError
from hypersharp.io.about import NPZ_METADATA, to_json
from hypersharp.io.arrays import FILE_AXES
from hypersharp.io.contract import WriteOptions, Writer
from hypersharp.io.writers.numpy import NpySink


class _NpzSink:
    def __init__(self, path: Path, cube: Cube, axes: str, options: WriteOptions) -> None:
        self.path = path
        self.name = options.dataset.strip("/")
        self.pack = zipfile.ZIP_DEFLATED if options.compress == "deflate" else zipfile.ZIP_STORED
        self.metadata = np.frombuffer(to_json(cube, axes).encode("utf-8"), dtype=np.uint8)
        self.array = NpySink(path.with_name(f"{path.name}.array"), cube, axes)

    def write(self, stored: NDArray[Any], row: int, col: int) -> None:
        self.array.write(stored, row, col)

    def finish(self) -> list[str]:
        self.array.finish()
        with zipfile.ZipFile(self.path, "w", self.pack, strict_timestamps=False) as archive:
            archive.write(self.array.path, f"{self.name}.npy")
            with archive.open(f"{NPZ_METADATA}.npy", "w") as member:
                npy.write_array(member, self.metadata, allow_pickle=False)
        self.array.path.unlink()
        return [self.path.name]

    def abandon(self) -> None:
        self.array.abandon()


def _create(folder: Path, name: str, cube: Cube, options: WriteOptions) -> _NpzSink:
    if options.compress not in ("none", "deflate"):
        raise UsageError(f".npz files are written with compress none or deflate, got {options.compress!r}")
    member = options.dataset.strip("/")
    if not member or member == NPZ_METADATA or "\0" in member:
        raise UsageError(f"expected a name for the array other than {NPZ_METADATA}, got {options.dataset!r}")
    return _NpzSink(folder / name, cube, FILE_AXES[options.interleave or "bip"], options)


WRITER = Writer(
    name="NumPy archive",
    about="the array, hwc (or by the interleave), and its metadata as JSON text",
    suffixes=(".npz",),
    block=(64, 64),
    names=lambda name: [name],
    create=_create,
    lost=lambda cube, options: [],
)
