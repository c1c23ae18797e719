"""Bring an MSI to the grid that nests in a cube's: each LR pixel covers exactly `scale` x `scale` pixels of it.

The cube is never resampled. An MSI whose pixels nest already is cut out as it is; any other is resampled when a window
of it is read, by GDAL's warper, with a transformation so exact that windows agree to 0.005 of an HR pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from hypersharp.cube import Cube, Grid, Source
from hypersharp.errors import UsageError
from hypersharp.io.crs import same_crs
from hypersharp.io.warped import KERNELS, Cut, Link, Span, Warped, outline

__all__ = ["KERNELS", "Nested", "nest"]

_SAME_RATIO = 0.01  # by which the ratio of the pixel sizes may miss a whole number
_STATED_RATIO = 0.1  # by which it may miss the scale that the user states
_NESTS = 0.02  # HR pixels
_HALF = 0.05  # HR pixels; an offset that near to a half is one
_MOST = 64  # a larger ratio is a wrong unit or CRS


@dataclass(frozen=True, eq=False)
class Nested:
    """A cube and an MSI on nested grids.

    Attributes:
        lr: the cube, cut to whole pixels that the MSI's extent touches.
        msi: the MSI on `scale` times as many rows and columns; no-data where there is none.
        scale: LR pixel over HR pixel along a side.
        rows: those of the cube that were given, half-open, which `lr` has.
        cols: its columns.
        resampling: one of `KERNELS`, or ``"none"`` where pixels were only cut out.
        offset_yx: how far down and right of the nearest HR pixel an MSI pixel lies, in HR pixels; 0 where they nest,
            None where the offset is not the same everywhere.
        notes: what is worth a warning.
    """

    lr: Cube
    msi: Cube
    scale: int
    rows: Span
    cols: Span
    resampling: str
    offset_yx: tuple[float, float] | None
    notes: tuple[str, ...] = ()

    def moved(self, rows: int, cols: int) -> Nested:
        """The same with an MSI that is looked up so many HR pixels further down and right; nothing is cut off."""
        source = self.msi.values
        assert isinstance(source, Cut | Warped)
        return replace(self, msi=replace(self.msi, values=source.moved(rows, cols)))


def nest(
    cube: Cube, msi: Cube, *, scale: int | None = None, assume_aligned: bool = False, resampling: str = "cubic"
) -> Nested:
    """Bring an MSI to the grid that nests in the cube's; no pixel is read.

    The scale is the ratio of the pixel sizes on the ground, a whole number within 1 %. What both extents share, in
    whole LR pixels, is kept.

    Args:
        cube: with a grid and its CRS, unless `assume_aligned`.
        msi: likewise; its CRS may be another.
        scale: HR pixels per LR pixel along a side; None to infer it. A stated one may miss the ratio by up to 10 %,
            and the MSI is resampled.
        assume_aligned: take both for the same ground whatever their grids say; the shapes give the scale.
        resampling: one of `KERNELS`, where pixels do not nest.

    Raises:
        UsageError: the two cannot be related, do not overlap, or their ratio is no whole number of at least 2.
    """
    if resampling not in KERNELS:
        raise UsageError(f"resampling must be one of {', '.join(KERNELS)}, got {resampling!r}")
    if assume_aligned:
        return _aligned(cube, msi, scale)
    low, high = _grids(cube, msi)
    rows, cols = _shared(low, high)
    found = _scale_of(cube, msi, Link(low, high).ratio_yx(), scale)
    lr = cube.crop(slice(*rows), slice(*cols))
    assert lr.grid is not None
    fine = lr.grid.zoom(found)
    offset, whole = _offset(fine, high)
    cut = offset is not None and max(map(abs, offset)) <= _NESTS
    notes = _doubts(lr.grid, high, found, offset)
    values: Source
    if cut:
        values, offset, resampling = Cut(msi.values, whole, fine.shape), (0.0, 0.0), "none"
    else:
        values = Warped(msi.values, high, fine, resampling)
    placed = replace(msi, values=values, grid=fine, attrs=msi.lasting_attrs)
    kind = "none" if cut else resampling
    return Nested(lr, placed, found, rows, cols, kind, offset, tuple(notes))


def _grids(cube: Cube, msi: Cube) -> tuple[Grid, Grid]:
    """Both grids, each with a CRS."""
    lost = [name for name, given in (("the cube", cube), ("the MSI", msi)) if given.grid is None or not given.grid.crs]
    if lost:
        which = " and ".join(lost)
        raise UsageError(
            f"expected two georeferenced files, got no coordinate reference system for {which}; where both show "
            "exactly the same ground, say so with --assume-aligned (assume_aligned=True)"
        )
    assert cube.grid is not None
    assert msi.grid is not None
    return cube.grid, msi.grid


def _aligned(cube: Cube, msi: Cube, stated: int | None) -> Nested:
    (rows, cols), (high_rows, high_cols) = cube.shape[1:], msi.shape[1:]
    ratio = (high_rows / rows, high_cols / cols)
    if ratio[0] != ratio[1] or ratio[0] < 2 or not ratio[0].is_integer():
        shapes = f"cube {rows} x {cols} and MSI {high_rows} x {high_cols} pixels"
        _refuse_coarse(cube, msi, ratio, f"got {shapes}")
        raise UsageError(
            f"aligned files need an MSI with a whole number, at least 2, of times the rows and columns, got {shapes}; "
            "cut them to the same ground"
        )
    found = int(ratio[0])
    if stated is not None and stated != found:
        raise UsageError(f"scale {stated} does not fit the shapes, which say {found}")
    grid = None if cube.grid is None else cube.grid.zoom(found)
    shape = (high_rows, high_cols)
    placed = replace(msi, values=Cut(msi.values, (0, 0), shape), grid=grid, attrs=msi.lasting_attrs)
    return Nested(cube, placed, found, (0, rows), (0, cols), "none", (0.0, 0.0))


def _refuse_coarse(cube: Cube, msi: Cube, ratio: tuple[float, float], got: str) -> None:
    """Refuse an MSI that is not finer than the cube, and say where the two look exchanged."""
    if min(ratio) > 1 + _SAME_RATIO:
        return
    if max(ratio) < 1 - _SAME_RATIO:
        if cube.shape[0] < msi.shape[0]:
            raise UsageError(
                f"the arguments look swapped: the first has {cube.shape[0]} bands and the finer pixels, the second "
                f"{msi.shape[0]} bands; give the hyperspectral cube first, then the MSI"
            )
        raise UsageError(f"the MSI is coarser than the cube, {got}; nothing can be sharpened with it")
    raise UsageError(f"expected an MSI with finer pixels than the cube along both sides, {got}")


def _scale_of(cube: Cube, msi: Cube, ratio: tuple[float, float], stated: int | None) -> int:
    said = f"LR over HR pixel size {ratio[0]:.4g} (rows) and {ratio[1]:.4g} (columns)"
    _refuse_coarse(cube, msi, ratio, f"got {said}")
    found = stated if stated is not None else round(math.sqrt(ratio[0] * ratio[1]))
    room = _SAME_RATIO if stated is None else _STATED_RATIO
    if 2 <= found <= _MOST and max(abs(part / found - 1) for part in ratio) <= room:
        return found
    if stated is not None:
        raise UsageError(f"scale {stated} is more than {_STATED_RATIO:.0%} off the pixel sizes: {said}")
    raise UsageError(
        f"expected pixel sizes of a whole ratio of at least 2 within {_SAME_RATIO:.0%}, got {said}; resample the "
        "MSI to a whole ratio, or state the nearest one with --scale to have it resampled"
    )


def _shared(low: Grid, high: Grid) -> tuple[Span, Span]:
    """Whole rows and columns of `low` that the extent of `high` touches."""
    spans = []
    for at, size in zip(Link(high, low)(*outline(high.shape)), low.shape, strict=True):
        first, last = math.floor(at.min() + _NESTS), math.ceil(at.max() - _NESTS)
        spans.append((max(0, first), min(size, last)))
    if any(first >= last for first, last in spans):
        raise UsageError(
            f"the files do not overlap: the cube covers {_extent(low)}, the MSI {_extent(high)}; "
            "check that they show the same place"
        )
    return spans[0], spans[1]


def _extent(grid: Grid) -> str:
    (y0, y1), (x0, x1) = (sorted(part) for part in _corners(grid))
    return f"x {x0:.6g} to {x1:.6g}, y {y0:.6g} to {y1:.6g}"


def _corners(grid: Grid) -> tuple[tuple[float, float], tuple[float, float]]:
    points = [grid.xy(row - 0.5, col - 0.5) for row in (0, grid.shape[0]) for col in (0, grid.shape[1])]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return (min(ys), max(ys)), (min(xs), max(xs))


def _offset(fine: Grid, msi: Grid) -> tuple[tuple[float, float] | None, tuple[int, int]]:
    """Where MSI pixels lie against HR pixels: the fraction of a pixel down and right, and whole pixels besides.

    The fraction is None where the grids are turned, scaled or bent against each other.
    """
    whole = (0, 0)
    if not same_crs(fine.crs, msi.crs):
        return None, whole
    rows, cols = (np.array([0.0, 0, fine.shape[0], fine.shape[0]]), np.array([0.0, fine.shape[1], 0, fine.shape[1]]))
    found_rows, found_cols = Link(fine, msi)(rows, cols)
    off = np.stack([found_rows - rows, found_cols - cols])
    if np.ptp(off, axis=1).max() > _NESTS:
        return None, whole
    mean = off.mean(axis=1)
    near = np.rint(mean)
    part = near - mean  # an MSI pixel's corner lies this far after the HR pixel's
    return (float(part[0]), float(part[1])), (int(near[0]), int(near[1]))


def _doubts(low: Grid, high: Grid, scale: int, offset: tuple[float, float] | None) -> list[str]:
    """Offsets that look like an edge of a pixel taken for its centre, in one of the files."""
    if offset is not None and min(map(abs, offset)) > 0.5 - _HALF:
        return [
            "the grids lie half an HR pixel apart along both sides, as when one file gives pixel centres for pixel "
            "corners; the MSI is resampled as the files say, and the calibration measures which is true"
        ]
    first_rows, first_cols = Link(high, low)(np.zeros(1), np.zeros(1))
    last_rows, last_cols = Link(high, low)(np.array([float(high.shape[0])]), np.array([float(high.shape[1])]))
    start = np.array([first_rows[0], first_cols[0]]) * scale
    end = np.array([last_rows[0] - low.shape[0], last_cols[0] - low.shape[1]]) * scale
    for amount, what in ((scale / 2, "half an LR pixel"), ((scale - 1) / 2, "half an LR less half an HR pixel")):
        both = np.abs(np.concatenate([np.abs(start), np.abs(end)]) - amount).max() <= _HALF
        if both and (np.sign(start) == np.sign(end)).all():
            return [
                f"the extents are of one size and lie {what} apart along both sides, as when one file gives pixel "
                "centres for pixel corners; they are taken as the files say, and the calibration measures which is true"
            ]
    return []
