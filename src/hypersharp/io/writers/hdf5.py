"""HDF5: the cube as one chunked dataset, what belongs to it in plain attributes and lists beside it.

The dataset has the attributes `axes` (``"chw"`` unless another interleave is asked for), `quantity`, `units`,
`GeoTransform` (in GDAL's order) and `crs_wkt`, `scale_factor`, `add_offset` and `_FillValue` as CF names them, and as
JSON text `history` and `hypersharp_attrs`. Lists with a value a band (`wavelength_nm`, `fwhm_nm`, `good`,
`band_names`, scales that differ) are datasets of their own: attributes of HDF5 end at 64 KiB.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube
from hypersharp.errors import UsageError
from hypersharp.io.about import number
from hypersharp.io.arrays import FILE_AXES, clean
from hypersharp.io.contract import WriteOptions, Writer

_SIDE = 64
_BANDS = 32
_LONG = 60_000
_LISTS = ("wavelength_nm", "fwhm_nm", "good", "band_names", "scale_factor", "add_offset")


class _Disk:
    """The file below HDF5. After a failure (a full disk) it takes everything and keeps nothing.

    HDF5 does not survive a write that fails: closing its file then ends the process. So it never hears of one; the
    sink does, and raises it.
    """

    def __init__(self, path: Path) -> None:
        self.raw = path.open("w+b", buffering=0)
        self.failure: OSError | None = None

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        try:
            while rest and self.failure is None:  # an unbuffered write may take only a part
                rest = rest[self.raw.write(rest) :]
        except OSError as error:
            self.failure = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self.raw.truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def readinto(self, buffer: bytearray) -> int:
        return self.raw.readinto(buffer)

    def read(self, size: int = -1) -> bytes:
        return self.raw.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.raw.seek(offset, whence)

    def tell(self) -> int:
        return self.raw.tell()

    def flush(self) -> None:
        self.raw.flush()

    def check(self) -> None:
        """Raise what went wrong."""
        if self.failure is not None:
            raise self.failure


class _Hdf5Sink:
    def __init__(self, path: Path, cube: Cube, options: WriteOptions) -> None:
        self.path = path
        self.axes = FILE_AXES[options.interleave or "bsq"]
        self.disk = _Disk(path)
        self.file = h5py.File(self.disk, "w")
        count, rows, cols = cube.shape
        size = {"c": count, "h": rows, "w": cols}
        chunk = {"c": min(count, _BANDS), "h": min(rows, _SIDE), "w": min(cols, _SIDE)}
        self.dataset = self.file.create_dataset(
            clean(options.dataset.strip("/")),
            shape=tuple(size[axis] for axis in self.axes),
            chunks=tuple(chunk[axis] for axis in self.axes),
            dtype=cube.storage.dtype,
            **(
                {"compression": "gzip", "compression_opts": 4, "shuffle": True} if options.compress == "deflate" else {}
            ),
        )
        self._describe(cube)

    def _describe(self, cube: Cube) -> None:
        storage, attrs = cube.storage, self.dataset.attrs
        for name, values in _lists(cube).items():
            if isinstance(values, float):
                attrs[name] = values
            elif values is not None:
                self.dataset.parent.create_dataset(name, data=values)
        if storage.nodata is not None:
            attrs["nodata"] = number(storage.nodata)  # exactly; the next one has the dataset's type, as CF wants it
            typed = _typed(storage.nodata, storage.dtype)
            if typed is not None:
                attrs["_FillValue"] = typed
        texts = {"axes": self.axes, "quantity": cube.quantity, "units": clean(cube.units)}
        texts["hypersharp_attrs"] = json.dumps(dict(cube.attrs))
        texts["history"] = json.dumps(cube.history)
        if cube.grid is not None:
            a, b, c, d, e, f = cube.grid.affine
            attrs["GeoTransform"] = np.array([c, a, b, f, d, e])
            if cube.grid.crs is not None:
                texts["crs_wkt"] = clean(cube.grid.crs)
        for name, text in texts.items():
            # Texts of variable length lie elsewhere in the file, which HDF5 survives badly when it is damaged.
            attrs[name] = _texts([text])[0] if len(text.encode()) < _LONG else text

    def write(self, stored: NDArray[Any], row: int, col: int) -> None:
        at = {"c": slice(None), "h": slice(row, row + stored.shape[1]), "w": slice(col, col + stored.shape[2])}
        index = tuple(at[axis] for axis in self.axes)
        self.dataset[index] = stored.transpose(["chw".index(axis) for axis in self.axes])
        self.disk.check()

    def finish(self) -> list[str]:
        self.file.close()
        self.disk.check()
        self.disk.raw.close()
        return [self.path.name]

    def abandon(self) -> None:
        with suppress(OSError, RuntimeError, ValueError):
            self.file.close()
        with suppress(OSError):
            self.disk.raw.close()


def _lists(cube: Cube) -> dict[str, Any]:
    """What has a value a band; a float is the same for all bands, None is not known."""
    bands, storage = cube.bands, cube.storage
    return {
        "wavelength_nm": bands.wavelength_nm,
        "fwhm_nm": bands.fwhm_nm,
        "good": bands.good.astype(np.uint8),
        "band_names": None if bands.name is None else _texts([clean(name) for name in bands.name]),
        "scale_factor": storage.scale,
        "add_offset": storage.offset,
    }


def _texts(values: list[str]) -> NDArray[Any]:
    """UTF-8 texts of fixed length."""
    encoded = [value.encode() for value in values]
    length = max(1, *(len(text) for text in encoded))
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", length))


def _typed(marker: float | int, dtype: np.dtype[Any]) -> Any:
    """The marker as a number of the type, or None where an integer type cannot hold it."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(marker)
    info = np.iinfo(dtype)
    whole = math.isfinite(marker) and float(marker).is_integer()
    return dtype.type(int(marker)) if whole and info.min <= int(marker) <= info.max else None


def _create(folder: Path, name: str, cube: Cube, options: WriteOptions) -> _Hdf5Sink:
    if options.compress not in ("none", "deflate"):
        raise UsageError(f"HDF5 files are written with compress none or deflate, got {options.compress!r}")
    last = options.dataset.strip("/").rpartition("/")[2]
    if not last or last in (*_LISTS, ".", "..") or "\0" in options.dataset:
        raise UsageError(f"expected a name for the dataset other than {', '.join(_LISTS)}, got {options.dataset!r}")
    return _Hdf5Sink(folder / name, cube, options)


def _lost(cube: Cube, options: WriteOptions) -> list[str]:
    return []


WRITER = Writer(
    name="HDF5",
    about="one dataset (chw, or by the interleave) with its metadata beside it",
    suffixes=(".h5", ".hdf5"),
    block=(_SIDE, _SIDE),
    names=lambda name: [name],
    create=_create,
    lost=_lost,
)
