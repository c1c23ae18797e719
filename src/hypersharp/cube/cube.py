"""The noun of the package: a hyperspectral cube with its bands, its grid and its past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube.bands import Bands
from hypersharp.cube.grid import Grid
from hypersharp.cube.source import BandIndex, Mask, Source, Storage, StoredSource, Values, array_source
from hypersharp.errors import CubeError

if TYPE_CHECKING:
    import xarray

QUANTITIES = ("radiance", "reflectance", "dn")
ALL = slice(None)
# Attributes of ENVI and others that speak of the old pixels once a cube is cut, sharpened or degraded.
_OF_THESE_PIXELS = ("x_start", "y_start", "geo_points", "rpc_info", "pixel_size")


@dataclass(frozen=True, eq=False)
class Cube:
    """A hyperspectral cube, checked at birth; its values are read only when asked for.

    Attributes:
        values: lazy source of physical values, shape `(C, H, W)`.
        bands: what each of the `C` bands is.
        grid: where the pixels lie, or None for a cube without georeferencing.
        storage: how the values were, or are to be, stored.
        quantity: ``"radiance"``, ``"reflectance"`` or ``"dn"``.
        units: unit of the physical values as text; empty where unknown.
        attrs: frozen text attributes: acquisition time, default bands, description, what a format carries besides.
        history: one line per operation, oldest first.
    """

    values: Source
    bands: Bands
    grid: Grid | None = None
    storage: Storage = None  # type: ignore[assignment]  # filled in __post_init__
    quantity: str = "dn"
    units: str = ""
    attrs: Mapping[str, str] = field(default_factory=dict)
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that every part is about the same cube."""
        if not isinstance(self.values, Source):
            raise CubeError(
                f"values must be a Source (for an array: Cube.from_array), got {type(self.values).__name__}"
            )
        self._check_sizes()
        self._check_texts()
        object.__setattr__(self, "attrs", MappingProxyType(dict(self.attrs)))
        object.__setattr__(self, "history", tuple(self.history))

    def _check_sizes(self) -> None:
        shape = self.values.shape
        if len(shape) != 3 or any(n < 1 for n in shape):
            raise CubeError(f"a cube needs three sizes (bands, rows, columns) of at least 1, got {shape}")
        if self.bands.count != shape[0]:
            raise CubeError(f"the values have {shape[0]} bands but {self.bands.count} are described")
        if self.grid is not None and self.grid.shape != shape[1:]:
            raise CubeError(f"the values are {shape[1]} x {shape[2]} pixels but the grid is {self.grid.shape}")
        if self.storage is None:
            own = self.values.storage if isinstance(self.values, StoredSource) else Storage(self.values.dtype)
            object.__setattr__(self, "storage", own)
        for name in ("scale", "offset"):
            size = np.size(getattr(self.storage, name))
            if size not in (1, shape[0]):
                raise CubeError(f"storage {name} must be one value or {shape[0]}, got {size}")

    def _check_texts(self) -> None:
        if self.quantity not in QUANTITIES:
            raise CubeError(f"quantity must be one of {', '.join(QUANTITIES)}, got {self.quantity!r}")
        for key, text in self.attrs.items():
            if not isinstance(key, str) or not isinstance(text, str):
                raise CubeError(f"attributes are text by text, got {key!r}: {text!r}")
        if isinstance(self.history, str) or not all(isinstance(line, str) for line in self.history):
            raise CubeError("history must be a sequence of lines of text")
        if any("\n" in line or not line for line in self.history):
            raise CubeError("a line of history must be one line of text that is not empty")

    @classmethod
    def from_array(
        cls,
        values: NDArray[Any],
        *,
        bands: Bands | None = None,
        grid: Grid | None = None,
        storage: Storage | None = None,
        quantity: str = "dn",
        units: str = "",
    ) -> Cube:
        """A cube over an array `(C, H, W)` in memory; see `array_source` for how its numbers are understood."""
        source = array_source(values, storage)
        return cls(source, bands or Bands(source.shape[0]), grid, source.storage, quantity, units)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C, H, W)`."""
        return self.values.shape

    def read(self, bands: BandIndex = ALL, rows: slice = ALL, cols: slice = ALL) -> tuple[Values, Mask]:
        """Physical values `(c, h, w)`, NaN where invalid, and the valid mask, of the whole cube or a window."""
        return self.values.read(bands, rows, cols)

    @property
    def lasting_attrs(self) -> dict[str, str]:
        """The attributes that stay true of the same scene on other pixels."""
        return {key: text for key, text in self.attrs.items() if key not in _OF_THESE_PIXELS}

    def with_history(self, line: str) -> Cube:
        """A copy with one more line of history."""
        return replace(self, history=(*self.history, line))

    def select(self, bands: Sequence[int]) -> Cube:
        """The cube of the bands at `bands`, in that order; still lazy.

        Raises:
            CubeError: when the list is empty or names a band that the cube does not have.
        """
        index = [int(b) for b in bands]
        if not index or min(index) < 0 or max(index) >= self.shape[0]:
            raise CubeError(f"bands must be numbers from 0 to {self.shape[0] - 1}, got {index}")
        return replace(
            self,
            values=view(self.values, bands=index),
            bands=self.bands.take(index),
            storage=self.storage.take(index),
            attrs=_shown(self.attrs, index),
        )

    def crop(self, rows: slice, cols: slice) -> Cube:
        """The window of the cube with the given rows and columns; still lazy.

        Raises:
            CubeError: when the window is empty or reaches outside of the cube.
        """
        for name, part, size in (("rows", rows, self.shape[1]), ("columns", cols, self.shape[2])):
            start, stop = part.start or 0, size if part.stop is None else part.stop
            if not 0 <= start < stop <= size or part.step not in (None, 1):
                raise CubeError(f"{name} of a window must lie within 0 to {size}, without steps, got {part}")
        grid = None if self.grid is None else self.grid.crop(rows, cols)
        return replace(self, values=view(self.values, rows=rows, cols=cols), grid=grid, attrs=self.lasting_attrs)

    def to_xarray(self) -> xarray.DataArray:
        """The cube as a DataArray; see `hypersharp.cube.xarray.to_xarray`."""
        from hypersharp.cube.xarray import to_xarray

        return to_xarray(self)

    @classmethod
    def from_xarray(cls, array: xarray.DataArray) -> Cube:
        """A cube from a DataArray; see `hypersharp.cube.xarray.from_xarray`."""
        from hypersharp.cube.xarray import from_xarray

        return from_xarray(array)


def _shown(attrs: Mapping[str, str], index: list[int]) -> dict[str, str]:
    """Attributes with `default_bands`, which counts from 1, following the bands that are kept; dropped with them."""
    kept = dict(attrs)
    shown = [part.strip() for part in kept.pop("default_bands", "").split(",")]
    if all(part.isdecimal() and int(part) - 1 in index for part in shown):
        kept["default_bands"] = ",".join(str(index.index(int(part) - 1) + 1) for part in shown)
    return kept


def view(source: Source, *, bands: BandIndex = ALL, rows: slice = ALL, cols: slice = ALL) -> Source:
    """The part of a source with the given bands, rows and columns, read through when asked."""
    band_at = np.arange(source.shape[0])[bands if isinstance(bands, slice) else list(bands)]
    row_at, col_at = range(source.shape[1])[rows], range(source.shape[2])[cols]
    assert row_at.step == col_at.step == 1, "a view has no steps"
    shape = (len(band_at), len(row_at), len(col_at))

    def moved(part: slice, inside: range) -> slice:
        at = inside[part]
        return slice(at.start, at.stop)

    def chosen(part: BandIndex) -> BandIndex:
        at = band_at[part if isinstance(part, slice) else list(part)]
        if len(at) > 1 and (np.diff(at) == 1).all():
            return slice(int(at[0]), int(at[-1]) + 1)
        return [int(b) for b in at]

    if isinstance(source, StoredSource):
        mask = source.fetch_mask
        return StoredSource(
            shape,
            source.storage.take([int(b) for b in band_at]),
            lambda b, r, c: source.fetch(chosen(b), moved(r, row_at), moved(c, col_at)),
            None if mask is None else lambda b, r, c: mask(chosen(b), moved(r, row_at), moved(c, col_at)),
            source.files,
        )
    return _View(source, shape, chosen, lambda part: moved(part, row_at), lambda part: moved(part, col_at))


@dataclass(frozen=True, eq=False)
class _View:
    source: Source
    shape: tuple[int, int, int]
    bands: Any
    rows: Any
    cols: Any

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    @property
    def complete(self) -> bool:
        return self.source.complete

    @property
    def files(self) -> tuple[Path, ...]:
        return self.source.files

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        return self.source.read(self.bands(bands), self.rows(rows), self.cols(cols))
