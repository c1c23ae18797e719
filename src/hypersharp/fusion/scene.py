"""A pair of images as one scene: its windows for the methods, and the fused cube as a lazy source.

Where a pixel of the MSI is missing, the enlarged cube stands: its part of the MSI is filled with what the response
makes of the enlarged cube, so that methods see nothing unusual, and their result gives way to the enlarged cube over
one LR pixel. What is flagged is where the enlarged cube has any weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hypersharp.cube import Cube, Source, all_valid, trivial_mask
from hypersharp.cube.source import BandIndex, Mask, Values
from hypersharp.errors import NoDataError
from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion._spec import Calibration, Floats, Fuse, Window
from hypersharp.fusion.calibrate import Pair
from hypersharp.infer import sample
from hypersharp.infer.enlarged import Enlarged, Latest
from hypersharp.infer.fill import fill_invalid, reach_of
from hypersharp.infer.tiles import Tile, TilePlan

__all__ = [
    "Coverage",
    "Fused",
    "Joint",
    "by_zone",
    "fine_slice",
    "fuse_where_known",
    "pairs_at",
    "sample_pair",
    "window_of",
]

Place = tuple[slice, slice]


def window_of(lr: Values, valid: Mask, msi: Values, known: Mask, calibration: Calibration, *, reach: int) -> Window:
    """A window without holes.

    Args:
        lr: `(C, h, w)` bands that are fused; overwritten where invalid.
        valid: its mask.
        msi: `(B, s·h, s·w)`; overwritten where invalid.
        known: `(s·h, s·w)` pixels that are valid in every band of it.
        calibration: of these bands.
        reach: LR pixels to which holes of the cube are filled from their borders.
    """
    scale = calibration.scale
    rows, cols = lr.shape[1:]
    whole = all_valid(valid)
    lr = fill_invalid(lr, valid, reach).astype(np.float32, copy=False)
    msi = msi.astype(np.float32, copy=False)
    trusted = np.ones((rows, cols), dtype=bool) if whole else np.asarray(valid.all(axis=0))
    if not all_valid(known):
        flat = calibration.srf.astype(np.float32) @ lr.reshape(len(lr), -1)
        flat += calibration.offset.astype(np.float32)[:, None]
        seen = enlarge((rows, cols), calibration).apply(flat.reshape(-1, rows, cols))
        msi[:, ~known] = seen[:, ~known]
        trusted = trusted & known.reshape(rows, scale, cols, scale).all(axis=(1, 3))
    return Window(lr, np.ascontiguousarray(msi), trusted)


def by_zone(parts: Sequence[tuple[NDArray[np.intp], Fuse]]) -> Fuse:
    """Several methods as one, each for its bands."""
    if len(parts) == 1:
        return parts[0][1]

    def fuse(window: Window) -> Floats:
        out: Floats | None = None
        for bands, method in parts:
            made = method(window)
            if out is None:
                out = made
            else:
                out[bands] = made[bands]
        assert out is not None
        return out

    return fuse


@dataclass(frozen=True, eq=False)
class Joint:
    """Source of the cube whose pixels are valid where it and the whole block of MSI pixels under it are.

    It is what a sample is taken of, so that no window is chosen that is all clouds.

    Attributes:
        lr: the cube.
        msi: the MSI.
        scale: LR pixel over HR pixel along a side.
    """

    lr: Source
    msi: Source
    scale: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C, h, w)`."""
        return self.lr.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float type of the cube."""
        return self.lr.dtype

    @property
    def complete(self) -> bool:
        """Whether both are."""
        return self.lr.complete and self.msi.complete

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of both."""
        return (*self.lr.files, *self.msi.files)

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """The cube's values and the common mask; see `Source.read`."""
        values, valid = self.lr.read(bands, rows, cols)
        (r0, r1, _), (c0, c1, _) = rows.indices(self.shape[1]), cols.indices(self.shape[2])
        s = self.scale
        _, known = self.msi.read(slice(None), slice(r0 * s, r1 * s), slice(c0 * s, c1 * s))
        if all_valid(known):
            return values, valid
        blocks = known.all(axis=0).reshape(r1 - r0, s, c1 - c0, s).all(axis=(1, 3))
        return values, np.asarray(valid & blocks)


def sample_pair(lr: Cube, msi: Cube, scale: int) -> tuple[NDArray[np.intp], list[Place]]:
    """Bands that are fused, and the rows and columns of the LR windows that everything is fitted on.

    Bands that are flagged as bad, constant, or invalid where others are valid are left out; the flags do not count
    where no band is good.

    Args:
        lr: the cube.
        msi: on `scale` times as many pixels.
        scale: LR pixel over HR pixel along a side.

    Raises:
        NoDataError: no pixel is valid in both, or no band varies.
    """
    try:
        windows = sample.sample_windows(Joint(lr.values, msi.values, scale))
    except NoDataError:
        raise NoDataError(
            "no pixel is valid in both the cube and the MSI: the overlap is all no-data or clouds; choose another image"
        ) from None
    shares = np.mean([valid.mean(axis=(1, 2)) for _, _, valid in windows], axis=0)
    alive = shares > 0.5 * shares.max()
    alive[sample.dead_bands(windows)] = False
    live = np.flatnonzero(alive & lr.bands.good) if (alive & lr.bands.good).any() else np.flatnonzero(alive)
    if not live.size:
        raise NoDataError("every band of the cube is constant where the MSI is valid: there is nothing to fuse")
    places = [
        (slice(row, row + values.shape[1]), slice(col, col + values.shape[2])) for (row, col), values, _ in windows
    ]
    return live, places


def pairs_at(lr: Cube, msi: Cube, places: Sequence[Place], scale: int) -> list[Pair]:
    """Both images at LR rows and columns."""
    return [
        (lr.read(rows=rows, cols=cols), msi.read(rows=fine_slice(rows, scale), cols=fine_slice(cols, scale)))
        for rows, cols in places
    ]


def fine_slice(part: slice, scale: int) -> slice:
    """The HR rows or columns of LR ones."""
    return slice(part.start * scale, part.stop * scale)


@dataclass(frozen=True, eq=False)
class _Ready:
    """What is computed of a tile at once: `(C, s·rows, s·cols)` of its core, and the mask of its LR pixels."""

    sharp: Floats
    valid: Mask


@dataclass(frozen=True, eq=False)
class Fused(Enlarged):
    """Source of fused values, computed tile by tile when they are read.

    Attributes:
        lr: the cube, all of its bands.
        msi: the MSI on `scale` times as many pixels.
        fuse: the method, fitted.
        calibration: of the bands that are fused.
        live: `(C',)` these bands; the others are enlarged as they are.
        plan: tiles of the scene; window halos must hold what the method and one LR pixel need.
        halo: that of the method in LR pixels.
    """

    lr: Source
    msi: Source
    fuse: Fuse
    calibration: Calibration
    live: NDArray[np.intp]
    plan: TilePlan
    halo: int
    _latest: Latest[Tile, _Ready] = field(default_factory=Latest, repr=False)

    @property
    def _pieces(self) -> tuple[int, tuple[int, int]]:
        return self.plan.scale, self.plan.core

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of both."""
        return (*self.lr.files, *self.msi.files)

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """Fused values and valid mask of an HR window; see `Source.read`."""
        (r0, r1, _), (c0, c1, _) = rows.indices(self.shape[1]), cols.indices(self.shape[2])
        pick, count = self._picked(bands)
        out = np.empty((count, max(0, r1 - r0), max(0, c1 - c0)), dtype=self.dtype)
        mask = trivial_mask(out.shape) if self.complete else np.empty(out.shape, dtype=bool)
        tiles = list(self.plan.touching((r0, r1), (c0, c1))) if out.size else []
        for tile in tiles:
            ready = self._latest.get(tile, partial(self._compute, tile), keep=len(tiles))
            (top, bottom), (left, right) = (
                (max(low * self.plan.scale, start), min(high * self.plan.scale, stop))
                for (low, high), (start, stop) in zip((tile.rows, tile.cols), ((r0, r1), (c0, c1)), strict=True)
            )
            here = np.s_[:, top - r0 : bottom - r0, left - c0 : right - c0]
            first = (tile.rows[0] * self.plan.scale, tile.cols[0] * self.plan.scale)
            there = np.s_[:, top - first[0] : bottom - first[0], left - first[1] : right - first[1]]
            out[here] = ready.sharp[pick][there]
            if not self.complete:
                hr_valid = ready.valid[pick].repeat(self.plan.scale, axis=1).repeat(self.plan.scale, axis=2)
                mask[here] = hr_valid[there]
                out[here][~hr_valid[there]] = np.nan
        return out, mask

    def _compute(self, tile: Tile) -> _Ready:
        scale = self.plan.scale
        lr, valid = self.lr.read(slice(None), slice(*tile.window_rows), slice(*tile.window_cols))
        core = tuple(
            slice(span[0] - window[0], span[1] - window[0])
            for span, window in ((tile.rows, tile.window_rows), (tile.cols, tile.window_cols))
        )
        fine = tuple(fine_slice(part, scale) for part in core)
        shape = (len(lr), *((part.stop - part.start) for part in fine))
        inside = valid[:, core[0], core[1]]
        if not inside.any():
            return _Ready(np.full(shape, np.nan, self.dtype), inside)
        msi, seen = self.msi.read(
            slice(None), *(fine_slice(slice(*span), scale) for span in (tile.window_rows, tile.window_cols))
        )
        known = trivial_mask(seen.shape[1:]) if all_valid(seen) else np.asarray(seen.all(axis=0))
        reach = reach_of(self.halo)
        everything = len(self.live) == len(lr)
        rest = np.setdiff1d(np.arange(len(lr)), self.live)
        held, held_valid = (lr, valid) if everything else (lr[self.live], valid[self.live])
        window = window_of(held, held_valid, msi, known, self.calibration, reach=reach)
        sharp = fuse_where_known(self.fuse, window, known, self.calibration, fine)
        if everything:
            return _Ready(sharp, inside)
        out = np.empty(shape, self.dtype)
        out[self.live] = sharp
        others = fill_invalid(lr[rest], valid[rest], reach).astype(self.dtype, copy=False)
        out[rest] = enlarge(held.shape[1:], self.calibration).apply(others)[:, fine[0], fine[1]]
        return _Ready(out, inside)


def fuse_where_known(
    fuse: Fuse, window: Window, known: Mask, calibration: Calibration, part: tuple[slice, ...]
) -> Floats:
    """The method's result, which gives way to the enlarged cube where the MSI is missing.

    Args:
        fuse: the method.
        window: without holes.
        known: `(s·h, s·w)` pixels of it at which the MSI was valid.
        calibration: of the enlargement.
        part: HR rows and columns of the window that are wanted.

    Returns:
        `(C, rows, cols)`.
    """
    weight = _weight(known, calibration.scale)[part]
    sharp = fuse(window)[:, part[0], part[1]] if weight.any() else None
    if sharp is not None and (weight == 1).all():
        return sharp
    plain = enlarge(window.lr.shape[1:], calibration).apply(window.lr)[:, part[0], part[1]]
    return plain if sharp is None else plain + weight * (sharp - plain)


def _weight(known: Mask, scale: int) -> Floats:
    """`(H, W)` share of the method's result: 0 where the MSI is missing, 1 farther than an LR pixel from there."""
    if all_valid(known):
        return np.broadcast_to(np.float32(1), known.shape)
    if not known.any():
        return np.zeros(known.shape, np.float32)
    apart = ndimage.distance_transform_cdt(known, metric="chessboard").astype(np.float32)
    return np.asarray(np.minimum(apart / np.float32(scale + 1), 1))


@dataclass(frozen=True, eq=False)
class Coverage:
    """Source of one band: 1 where both images have something to say of a pixel, 0 where one of them has not.

    The MSI has not where the enlarged cube stands, wholly or in part. The cube has not where it is shifted and its LR
    pixels end: more than an LR pixel away from the place at which the last of them looks, where a PSF with a FWHM of
    one LR pixel has fallen to a sixteenth. Spectra there are continued, not seen.

    Attributes:
        msi: the MSI on the grid of the result.
        scale: LR pixel over HR pixel along a side.
        shift_yx: that of the calibration.
    """

    msi: Source
    scale: int
    shift_yx: tuple[float, float] = (0.0, 0.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(1, H, W)`."""
        return 1, *self.msi.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Numbers that any type holds."""
        return np.dtype(np.float32)

    @property
    def complete(self) -> bool:
        """It says something everywhere."""
        return True

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the MSI."""
        return self.msi.files

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """0 and 1 of a window; see `Source.read`."""
        height, width = self.shape[1:]
        (r0, r1, _), (c0, c1, _) = rows.indices(height), cols.indices(width)
        top, left = max(0, r0 - self.scale), max(0, c0 - self.scale)
        _, seen = self.msi.read(slice(None), slice(top, min(height, r1 + self.scale)), slice(left, c1 + self.scale))
        used = _weight(np.asarray(seen.all(axis=0)), self.scale) == 1
        count = len(range(1)[bands]) if isinstance(bands, slice) else len(bands)
        part = used[r0 - top : r1 - top, c0 - left : c1 - left].astype(np.float32)
        for axis, (start, stop) in enumerate(((r0, r1), (c0, c1))):
            beside = np.moveaxis(part, axis, 0)
            beside[~self._seen(np.arange(start, stop), axis)] = 0
        out = np.repeat(part[None], count, axis=0)
        return out, trivial_mask(out.shape)

    def _seen(self, at: NDArray[np.intp], axis: int) -> NDArray[np.bool_]:
        """Which HR rows, or columns, lie within an LR pixel of where some LR pixel looks."""
        first = (self.scale - 1) / 2 + self.shift_yx[axis]
        last = first + self.shape[1 + axis] - self.scale
        return np.asarray((at >= first - self.scale) & (at <= last + self.scale))
