"""Where the values of a cube come from: an array in memory, stored numbers in a file, or a computation.

A `Source` answers `read` with *physical* values: stored · scale + offset is applied, invalid pixels are NaN and
masked, and no-data never leaves as a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hypersharp.errors import CubeError

BandIndex = slice | Sequence[int]
Values = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Stored = NDArray[Any]


@runtime_checkable
class Source(Protocol):
    """Lazy values of a cube."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C, H, W)`."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what `read` gives: float32 or float64."""
        ...

    @property
    def complete(self) -> bool:
        """Whether it is known beforehand that every pixel is valid."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that `read` still needs."""
        ...

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """Values `(c, h, w)` in physical units with NaN where invalid, and the valid mask `(c, h, w)`.

        The array may be written to by the caller; the mask may be a read-only broadcast (see `all_valid`).
        """
        ...


@dataclass(frozen=True, eq=False)
class Storage:
    """How values are, or are to be, stored in a file.

    Physical = stored · scale + offset.

    Attributes:
        dtype: type of the stored numbers: integer or float.
        scale: one factor, or `(C,)` factors.
        offset: one offset, or `(C,)` offsets, in physical units.
        nodata: stored number that marks an invalid pixel; None where the file has none.
        interleave: ``"bsq"``, ``"bil"`` or ``"bip"``.
    """

    dtype: np.dtype[Any]
    scale: float | NDArray[np.float64] = 1.0
    offset: float | NDArray[np.float64] = 0.0
    nodata: float | int | None = None
    interleave: str = "bsq"

    def __post_init__(self) -> None:
        """Check type, scale and interleave."""
        object.__setattr__(self, "dtype", np.dtype(self.dtype).newbyteorder("="))
        if self.dtype.kind not in "iuf":
            raise CubeError(f"a cube stores integers or floats, got {self.dtype}; convert it to real numbers first")
        if self.interleave not in ("bsq", "bil", "bip"):
            raise CubeError(f"interleave must be bsq, bil or bip, got {self.interleave!r}")
        for field in ("scale", "offset"):
            value = np.array(getattr(self, field), dtype=np.float64)
            if value.ndim > 1 or value.size == 0:
                raise CubeError(f"{field} must be one value or one a band, got an array of shape {value.shape}")
            with np.errstate(over="ignore", under="ignore"):
                used = value.astype(self.value_dtype)  # 1e300 is infinite, and 1e-300 is 0, where they are applied
            bad = ~np.isfinite(used) | (used == 0 if field == "scale" else False)
            if bad.any():
                also = " and not 0" if field == "scale" else ""
                raise CubeError(f"{field} must be finite{also} as {self.value_dtype}, got {value[bad][0]}")
            first = float(value.reshape(-1)[0])
            if (value == first).all():
                object.__setattr__(self, field, first)
            else:
                value.flags.writeable = False
                object.__setattr__(self, field, value)

    @property
    def is_scaled(self) -> bool:
        """Whether stored numbers differ from physical ones."""
        return not (np.all(np.asarray(self.scale) == 1) and np.all(np.asarray(self.offset) == 0))

    @property
    def value_dtype(self) -> np.dtype[Any]:
        """Float type that holds the physical values: float32 up to 16-bit integers and float32, else float64."""
        wide = self.dtype.itemsize > 4 or (self.dtype.kind in "iu" and self.dtype.itemsize > 2)
        return np.dtype(np.float64 if wide else np.float32)

    def same_numbers(self, other: Storage) -> bool:
        """Whether both store the same physical value as the same number."""
        return (
            self.dtype == other.dtype
            and bool(np.array_equal(self.scale, other.scale))
            and bool(np.array_equal(self.offset, other.offset))
            and same_nodata(self.nodata, other.nodata)
        )

    def take(self, index: Sequence[int] | slice) -> Storage:
        """The storage of the bands at `index`."""

        def part(value: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
            if isinstance(value, float):
                return value
            chosen = value[index if isinstance(index, slice) else list(index)]
            return chosen if chosen.size else 1.0  # of no bands, whatever it is

        return Storage(self.dtype, part(self.scale), part(self.offset), self.nodata, self.interleave)

    def is_nodata(self, stored: Stored) -> Mask | None:
        """Mask of the stored numbers that mark no-data (NaN and infinities of floats included), or None if none can."""
        bad: Mask | None = None
        if self.nodata is not None and not _is_nan(self.nodata) and _fits(self.nodata, self.dtype):
            with np.errstate(over="ignore"):  # -1.8e308 is a usual marker of float32 files: an infinity there
                bad = stored == np.asarray(self.nodata).astype(self.dtype)
        if self.dtype.kind == "f":
            loose = ~np.isfinite(stored)
            bad = loose if bad is None else bad | loose
        return bad


def same_nodata(one: float | int | None, other: float | int | None) -> bool:
    """Whether two no-data markers are the same, NaN being equal to NaN."""
    if one is None or other is None:
        return one is other
    return one == other or (_is_nan(one) and _is_nan(other))


def _is_nan(value: float | int) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _fits(value: float | int, dtype: np.dtype[Any]) -> bool:
    """Whether an integer type can hold the marker; a float type holds its rounded form."""
    if dtype.kind == "f":
        return True
    info = np.iinfo(dtype)
    return float(value).is_integer() and info.min <= int(value) <= info.max


def trivial_mask(shape: tuple[int, ...]) -> Mask:
    """An all-valid mask that takes no memory."""
    return np.broadcast_to(np.True_, shape)


def all_valid(mask: Mask) -> bool:
    """Whether every pixel is valid; free for a `trivial_mask`."""
    if mask.size and not any(mask.strides):
        return bool(mask.flat[0])
    return bool(mask.all())


@dataclass(frozen=True, eq=False)
class StoredSource:
    """Stored numbers behind a fetch function, turned into physical values on reading.

    Attributes:
        shape: `(C, H, W)`.
        storage: type, scale, offset and no-data marker of the stored numbers.
        fetch: `(bands, rows, cols) -> (c, h, w)` stored numbers in native byte order; a fresh array each call.
        fetch_mask: same arguments, `(c, h, w)` or `(1, h, w)` valid mask kept by the file besides; or None.
        files: every file that `fetch` reads, so that none of them is ever written over.
    """

    shape: tuple[int, int, int]
    storage: Storage
    fetch: Callable[[BandIndex, slice, slice], Stored]
    fetch_mask: Callable[[BandIndex, slice, slice], Mask] | None = None
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Check the shape."""
        if len(self.shape) != 3 or any(n < 1 for n in self.shape):
            raise CubeError(f"a cube needs three sizes (bands, rows, columns) of at least 1, got {self.shape}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float type of the physical values."""
        return self.storage.value_dtype

    @property
    def complete(self) -> bool:
        """Whether no pixel can be invalid: integers without marker or mask."""
        return self.fetch_mask is None and self.storage.dtype.kind != "f" and self.storage.nodata is None

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """Physical values and valid mask of a window; see `Source.read`."""
        stored = self.fetch(bands, rows, cols)
        bad = self.storage.is_nodata(stored)
        if self.fetch_mask is not None:
            hidden = ~self.fetch_mask(bands, rows, cols)
            bad = np.broadcast_to(hidden, stored.shape).copy() if bad is None else bad | hidden
        values = stored.astype(self.dtype, copy=False)
        if self.storage.is_scaled:
            part = self.storage.take(bands)
            values *= _per_band(part.scale, self.dtype)
            values += _per_band(part.offset, self.dtype)
        if bad is None or not bad.any():
            return values, trivial_mask(values.shape)
        values[bad] = np.nan
        return values, ~bad


def _per_band(value: float | NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    array = np.asarray(value, dtype=dtype)
    return array if array.ndim == 0 else array[:, None, None]


def array_source(values: NDArray[Any], storage: Storage | None = None) -> StoredSource:
    """Wrap an in-memory array `(C, H, W)` of stored numbers; NaN and infinities of a float array are invalid.

    Args:
        values: integers or floats.
        storage: how the numbers are to be understood; by default as physical values of the array's own type.

    Raises:
        CubeError: when the array is not 3-D or not real numbers.
    """
    array = np.asarray(values)
    if array.ndim != 3:
        raise CubeError(f"a cube needs a 3-D array (bands, rows, columns), got shape {array.shape}")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    own = _known(array.dtype)
    how = storage or Storage(own)

    def fetch(bands: BandIndex, rows: slice, cols: slice) -> Stored:
        part = array[:, rows, cols][bands if isinstance(bands, slice) else list(bands)]
        return np.array(part, dtype=how.dtype)

    return StoredSource((array.shape[0], array.shape[1], array.shape[2]), how, fetch)


def _known(dtype: DTypeLike) -> np.dtype[Any]:
    kind = np.dtype(dtype)
    if kind.kind not in "iuf":
        raise CubeError(f"a cube needs integers or floats, got {kind}; convert it to real numbers first")
    return np.dtype(np.float32) if kind.itemsize == 2 and kind.kind == "f" else kind
