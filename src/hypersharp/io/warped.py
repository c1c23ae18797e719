"""Sources of an MSI on another grid: cut out pixel by pixel, or resampled by GDAL's warper window by window."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import warp
from rasterio.crs import CRS
from rasterio.enums import Resampling

from hypersharp.cube import Grid, Source, all_valid
from hypersharp.cube.grid import Affine6
from hypersharp.cube.source import BandIndex, Mask, Values
from hypersharp.errors import UsageError
from hypersharp.io.crs import same_crs
from hypersharp.io.gdal import GDAL_ERRORS, gdal

__all__ = ["KERNELS", "Cut", "Link", "Warped", "outline"]

Floats = NDArray[np.float64]
Span = tuple[int, int]

KERNELS = ("cubic", "bilinear", "nearest")
"""How an MSI whose pixels do not nest is resampled."""

_REACH = {"cubic": 3, "bilinear": 2, "nearest": 1}  # MSI pixels around a window that its kernel reads
_EDGE_POINTS = 33  # along each side of an outline, as straight lines bend between projections


class Link:
    """From pixels of one grid to those of another; both count from the outer corner of their first pixel."""

    def __init__(self, source: Grid, target: Grid) -> None:
        self.source, self.target = source, target

    def __call__(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        """Rows and columns in the target.

        Raises:
            UsageError: the two CRS cannot be related, or not here.
        """
        a, b, c, d, e, f = self.source.affine
        x, y = a * cols + b * rows + c, d * cols + e * rows + f
        if not same_crs(self.source.crs, self.target.crs):
            x, y = _transformed(self.source.crs, self.target.crs, x, y)
        a, b, c, d, e, f = self.target.affine
        det = a * e - b * d
        u, v = x - c, y - f
        return (a * v - d * u) / det, (e * u - b * v) / det

    def ratio_yx(self) -> tuple[float, float]:
        """Target pixels per source pixel along the source's rows and columns, at its centre."""
        row, col = (n / 2 for n in self.source.shape)
        rows, cols = self(row + np.array([-0.5, 0.5, 0, 0]), col + np.array([0, 0, -0.5, 0.5]))
        return (
            math.hypot(rows[1] - rows[0], cols[1] - cols[0]),
            math.hypot(rows[3] - rows[2], cols[3] - cols[2]),
        )


def _transformed(source: str | None, target: str | None, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    assert source is not None
    assert target is not None
    try:
        with rasterio.Env():
            moved = warp.transform(CRS.from_wkt(source), CRS.from_wkt(target), x.tolist(), y.tolist())
    except GDAL_ERRORS:  # what PROJ says is a page of JSON
        raise UsageError(_unrelated(source, target, "no transformation between them is known")) from None
    found = np.asarray(moved[0]), np.asarray(moved[1])
    if not all(np.isfinite(part).all() for part in found):
        raise UsageError(_unrelated(source, target, "a point of one lies outside of the other"))
    return found


def _unrelated(source: str, target: str, why: str) -> str:
    names = " and ".join(repr(text.split('"')[1]) if '"' in text else text[:30] for text in (source, target))
    return f"the coordinate reference systems {names} cannot be related ({why}); bring one file into the other's"


def outline(shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Rows and columns of points around a grid."""
    along = np.linspace(0, 1, _EDGE_POINTS)
    zero, one = np.zeros_like(along), np.ones_like(along)
    return np.concatenate([zero, along, one, along]) * shape[0], np.concatenate([along, one, along, zero]) * shape[1]


@dataclass(frozen=True, eq=False)
class Cut:
    """Source of a part of an MSI that may reach beyond it; what lies outside is invalid.

    Attributes:
        msi: the source.
        start: its row and column at which the part begins.
        size: rows and columns of the part.
    """

    msi: Source
    start: tuple[int, int]
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(B, H, W)`."""
        return self.msi.shape[0], *self.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float type of the values."""
        return self.msi.dtype

    @property
    def complete(self) -> bool:
        """Whether no pixel can be invalid."""
        parts = zip(self.start, self.size, self.msi.shape[1:], strict=True)
        inside = all(first >= 0 and first + n <= whole for first, n, whole in parts)
        return inside and self.msi.complete

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the MSI."""
        return self.msi.files

    def moved(self, rows: int, cols: int) -> Cut:
        """The part that begins so many pixels further down and right."""
        return replace(self, start=(self.start[0] + rows, self.start[1] + cols))

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """Values and valid mask of a window; see `Source.read`."""
        (r0, r1, _), (c0, c1, _) = (
            (at + low, at + high, step)
            for at, (low, high, step) in zip(
                self.start, (rows.indices(self.size[0]), cols.indices(self.size[1])), strict=True
            )
        )
        (top, bottom), (left, right) = (
            (min(max(0, low), size), max(min(high, size), 0))
            for (low, high), size in zip(((r0, r1), (c0, c1)), self.msi.shape[1:], strict=True)
        )
        if (top, bottom, left, right) == (r0, r1, c0, c1):
            return self.msi.read(bands, slice(r0, r1), slice(c0, c1))
        count = len(np.arange(self.shape[0])[bands if isinstance(bands, slice) else list(bands)])
        out = np.full((count, r1 - r0, c1 - c0), np.nan, self.dtype)
        known = np.zeros(out.shape, dtype=bool)
        if top < bottom and left < right:
            here = np.s_[:, top - r0 : bottom - r0, left - c0 : right - c0]
            out[here], known[here] = self.msi.read(bands, slice(top, bottom), slice(left, right))
        return out, known


@dataclass(frozen=True, eq=False)
class Warped:
    """Source of an MSI resampled to another grid; a pixel is invalid where the kernel finds no valid centre.

    Attributes:
        msi: the source.
        grid: its grid.
        target: the grid that it is resampled to.
        resampling: the kernel.
        shift: HR pixels, down and right, by which the place that is looked up lies beside the target's.
    """

    msi: Source
    grid: Grid
    target: Grid
    resampling: str
    shift: tuple[int, int] = (0, 0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(B, H, W)`."""
        return self.msi.shape[0], *self.target.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float type of the values."""
        return self.msi.dtype

    @property
    def complete(self) -> bool:
        """Nothing is known beforehand."""
        return False

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the MSI."""
        return self.msi.files

    def moved(self, rows: int, cols: int) -> Warped:
        """The same, looked up so many HR pixels further down and right."""
        return replace(self, shift=(self.shift[0] + rows, self.shift[1] + cols))

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """Values and valid mask of a window; see `Source.read`."""
        (r0, r1, _), (c0, c1, _) = rows.indices(self.target.shape[0]), cols.indices(self.target.shape[1])
        count = len(np.arange(self.shape[0])[bands if isinstance(bands, slice) else list(bands)])
        out = np.full((count, r1 - r0, c1 - c0), np.nan, self.dtype)
        if not out.size:
            return out, np.zeros(out.shape, dtype=bool)
        top, left = r0 + self.shift[0], c0 + self.shift[1]
        window = self.target.pad(-top, -left, r1 - r0 - (self.target.shape[0] - top), 0)
        window = replace(window, shape=(r1 - r0, c1 - c0))
        spans = self._needed(window)
        if spans is None:
            return out, np.zeros(out.shape, dtype=bool)
        values, valid = self.msi.read(bands, slice(*spans[0]), slice(*spans[1]))
        if not all_valid(valid):
            values[~valid] = np.nan
        part = self.grid.crop(slice(*spans[0]), slice(*spans[1]))
        with gdal():
            warp.reproject(
                values,
                out,
                src_transform=_affine(part.affine),
                src_crs=CRS.from_wkt(self.grid.crs),
                src_nodata=np.nan,
                dst_transform=_affine(window.affine),
                dst_crs=CRS.from_wkt(self.target.crs),
                dst_nodata=np.nan,
                resampling=Resampling[self.resampling],
                tolerance=0.0,
                XSCALE=1,
                YSCALE=1,
            )
        return out, np.isfinite(out)

    def _needed(self, window: Grid) -> tuple[Span, Span] | None:
        """Rows and columns of the MSI that a window reads; None where it lies beside the MSI."""
        reach = _REACH[self.resampling]
        spans = []
        for at, size in zip(Link(window, self.grid)(*outline(window.shape)), self.grid.shape, strict=True):
            low, high = max(0, math.floor(at.min()) - reach), min(size, math.ceil(at.max()) + reach)
            if low >= high:
                return None
            spans.append((low, high))
        return spans[0], spans[1]


def _affine(affine: Affine6) -> Any:
    return rasterio.Affine(*affine)
