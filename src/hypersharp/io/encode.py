"""From physical values to the numbers that a file stores: choice of type, scale and no-data marker, and rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube, Storage, StoredSource, all_valid
from hypersharp.cube.source import Mask, Values
from hypersharp.errors import NoDataError, UsageError

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
ValueRange = tuple[NDArray[np.float64], NDArray[np.float64]]


def choose_storage(cube: Cube, dtype: str, *, value_range: ValueRange | None) -> Storage:
    """How a cube is to be stored.

    Args:
        cube: what is to be written.
        dtype: ``"same"`` keeps type, scale and marker; a float type stores physical values; an integer type keeps the
            scale when the cube is stored as integers that fit, and is scaled per band to `value_range` when not.
        value_range: lowest and highest physical value of each band, `(C,)` each; needed only for scaled integers.

    Raises:
        UsageError: an unknown type, or a range is needed and missing.
    """
    old = cube.storage
    if dtype == "same":
        return _with_marker(old, cube)
    if dtype not in DTYPES:
        raise UsageError(f"dtype must be one of same, {', '.join(DTYPES)}, got {dtype!r}")
    new = np.dtype(dtype)
    if new.kind == "f":
        marker = old.nodata if old.nodata is not None and np.isfinite(old.nodata) else None
        if marker is not None and not old.is_scaled and float(new.type(marker)) == marker:
            return Storage(new, nodata=float(marker), interleave=old.interleave)
        return Storage(new, nodata=None if cube.values.complete else float("nan"), interleave=old.interleave)
    if old.dtype.kind in "iu" and np.can_cast(old.dtype, new):
        return _with_marker(Storage(new, old.scale, old.offset, old.nodata, old.interleave), cube)
    if value_range is None:
        raise UsageError(f"storing as {dtype} needs the range of the values first")
    return _scaled(new, value_range, old.interleave)


def needs_range(cube: Cube, dtype: str) -> bool:
    """Whether `choose_storage` needs the value range."""
    if dtype not in DTYPES or np.dtype(dtype).kind == "f":
        return False
    return not (cube.storage.dtype.kind in "iu" and np.can_cast(cube.storage.dtype, np.dtype(dtype)))


def _scaled(dtype: np.dtype[Any], value_range: ValueRange, interleave: str) -> Storage:
    """Per-band scale and offset that spread each band over the type, one number being kept for no-data."""
    info = np.iinfo(dtype)
    low, high = (np.asarray(side, dtype=np.float64) for side in value_range)
    marker = info.min if info.min < 0 else info.max
    first, last = (info.min + 1, info.max) if info.min < 0 else (info.min, info.max - 1)
    span = high - low
    scale = np.where(np.isfinite(span) & (span > 0), span / (float(last) - float(first)), 1.0)
    scale = np.maximum(scale, np.finfo(np.float64).tiny)
    offset = np.where(np.isfinite(low), low, 0.0) - scale * float(first)
    return Storage(dtype, scale, offset, int(marker), interleave)


def _with_marker(storage: Storage, cube: Cube) -> Storage:
    """Make sure that an integer type has a marker where the cube can have invalid pixels."""
    if storage.dtype.kind == "f" or storage.nodata is not None or cube.values.complete:
        return storage
    info = np.iinfo(storage.dtype)
    marker = info.min if info.min < 0 else info.max
    return Storage(storage.dtype, storage.scale, storage.offset, int(marker), storage.interleave)


def copies_stored(cube: Cube, storage: Storage) -> bool:
    """Whether the stored numbers of the input can be copied as they are."""
    values = cube.values
    return isinstance(values, StoredSource) and values.fetch_mask is None and values.storage.same_numbers(storage)


def encode(
    values: Values, valid: Mask, storage: Storage, *, out: NDArray[Any] | None = None
) -> tuple[NDArray[Any], int]:
    """Turn physical values into stored numbers.

    Args:
        values: `(C, h, w)` physical values; overwritten for integer types.
        valid: `(C, h, w)` mask; what is not valid is stored as the marker (NaN for floats without one).
        storage: type, scale, offset and marker.
        out: `(C, h, w)` of the storage's type to write to; None for a new array.

    Returns:
        The stored numbers, and how many valid values lay outside of the type's range and were clipped to it. A
        valid value that would be stored as the marker is stored as the nearest other number.

    Raises:
        NoDataError: there are invalid pixels and the storage has no way to mark them.
    """
    known = None if all_valid(valid) else valid
    stored = np.empty(values.shape, storage.dtype) if out is None else out
    if storage.dtype.kind == "f":
        return stored, _encode_float(values, known, storage, stored)
    if known is not None and storage.nodata is None:
        raise NoDataError(f"invalid pixels cannot be stored as {storage.dtype} without a no-data marker; give one")
    clipped = 0
    for band in range(values.shape[0]):  # band by band: each pass stays in the cache
        plane, scale, offset = values[band], _of_band(storage.scale, band), _of_band(storage.offset, band)
        if offset != 0:  # beside an offset, float32 would be off by more than a step
            plane = plane.astype(np.float64) - offset
        if scale != 1:
            plane /= plane.dtype.type(scale)
        clipped += _encode_plane(plane, None if known is None else known[band], storage.nodata, stored[band])
    return stored, clipped


def _encode_plane(plane: Values, known: Mask | None, nodata: float | int | None, stored: NDArray[Any]) -> int:
    """Round a scaled plane into integers; how many were clipped to their range."""
    info = np.iinfo(stored.dtype)
    # The largest floats that convert to the type without overflow (float32 rounds 2^31 - 1 up).
    low, high = plane.dtype.type(info.min), plane.dtype.type(info.max)
    if int(high) > info.max:
        high = np.nextafter(high, plane.dtype.type(0))
    np.rint(plane, out=plane)
    if known is not None:
        plane[~known] = 0
    clipped = 0
    if plane.size and (plane.min() < low or plane.max() > high):
        clipped = int(((plane < low) | (plane > high)).sum())
        np.clip(plane, low, high, out=plane)
    np.copyto(stored, plane, casting="unsafe")
    if nodata is not None:
        _avoid(stored, int(nodata), info)
        if known is not None:
            stored[~known] = int(nodata)
    return clipped


def _of_band(value: float | NDArray[np.float64], band: int) -> float:
    return value if isinstance(value, float) else float(value[band])


def _avoid(stored: NDArray[Any], marker: int, info: np.iinfo[Any]) -> None:
    if info.min <= marker <= info.max:
        hit = stored == marker
        if hit.any():
            stored[hit] = marker + 1 if marker < info.max else marker - 1


def _encode_float(values: Values, known: Mask | None, storage: Storage, stored: NDArray[Any]) -> int:
    """Store values as floats; how many were too large for the type."""
    if storage.is_scaled:
        offset, scale = np.asarray(storage.offset), np.asarray(storage.scale)
        values = (values - offset.reshape(-1, 1, 1)) / scale.reshape(-1, 1, 1)
    clipped = 0
    if values.dtype.itemsize > storage.dtype.itemsize:
        most = np.finfo(storage.dtype).max
        over = np.abs(values) > most  # never where NaN
        clipped = int(over.sum())
        values = np.clip(values, -most, most) if clipped else values
    stored[...] = values
    with np.errstate(over="ignore"):  # -1.8e308, GDAL's marker of float64, is -inf in float32
        number = np.asarray(np.nan if storage.nodata is None else storage.nodata).astype(storage.dtype)[()]
    if np.isfinite(number):
        hit = stored == number
        if hit.any():
            stored[hit] = np.nextafter(number, storage.dtype.type(0 if number else 1))
    if known is not None:
        stored[~known] = number
    return clipped
