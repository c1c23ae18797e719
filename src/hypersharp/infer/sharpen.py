"""A sharpened cube as a lazy source: any HR region is computed when it is read, tile by tile.

The tiles are planned once per scene and everything fitted is fitted once per scene, so it does not matter who reads
which region in which order: the result is that of the whole scene computed at once, to rounding. What the bands of a
tile share is computed at the first of them; the bands themselves a few at a time, so that HR values exist for a few
bands only and stay in the processor's cache until they are encoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Source, all_valid, trivial_mask
from hypersharp.cube.source import BandIndex, Mask, Values
from hypersharp.infer import fill
from hypersharp.infer.consistency import Consistency
from hypersharp.infer.enlarged import Enlarged, Latest, Pick
from hypersharp.infer.methods import Bicubic, Images, Method, Mixture
from hypersharp.infer.tiles import Span, Tile, TilePlan
from hypersharp.infer.undershoot import lift, undershoot_limit
from hypersharp.operators import Separable

# Multiplications per call up to which OpenBLAS leaves its threads asleep; awake they cost more than they bring where
# the machine has other work.
_SMALL_PRODUCT = 1 << 18
_MIXED_ROWS = 16


@dataclass(frozen=True, eq=False)
class _Ready:
    """What the bands of a tile share.

    Attributes:
        lr: `(C, h, w)` the tile's window, invalid pixels filled.
        valid: `(C, rows, cols)` mask of the core in LR pixels.
        shared: `(C or K, s·rows, s·cols)` of the core what a method that mixes bands gives: the bands, or the images
            of a mixture; else None.
        multiplier: `(K, ...)` components of what the adjoint of the degradation turns into the correction, else None.
        start: row and column of the LR plane at which that starts.
    """

    lr: Values
    valid: Mask
    shared: Values | None = None
    multiplier: Values | None = None
    start: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class Sharpened(Enlarged):
    """Source of sharpened values; see the module's text.

    Attributes:
        lr: the source that is sharpened.
        method: the estimate.
        consistency: what follows it, or None.
        plan: tiles of the scene; window halos must hold what `halo_of` says.
    """

    lr: Source
    method: Method
    consistency: Consistency | None
    plan: TilePlan
    _latest: Latest[Tile, _Ready] = field(default_factory=Latest, repr=False)

    @property
    def _pieces(self) -> tuple[int, tuple[int, int]]:
        return self.plan.scale, self.plan.core

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float type of the LR values."""
        return self.lr.dtype

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """Sharpened values and valid mask of an HR window; see `Source.read`."""
        (r0, r1, _), (c0, c1, _) = rows.indices(self.shape[1]), cols.indices(self.shape[2])
        pick, count = self._picked(bands)
        tiles = list(self.plan.touching((r0, r1), (c0, c1))) if r0 < r1 and c0 < c1 else []
        parts = (self._part(tile, pick, (r0, r1), (c0, c1), keep=len(tiles)) for tile in tiles)
        if len(tiles) == 1:
            values, valid, _ = next(parts)
            return values, valid
        out = np.empty((count, max(0, r1 - r0), max(0, c1 - c0)), dtype=self.dtype)
        mask = trivial_mask(out.shape) if self.complete else np.empty(out.shape, dtype=bool)
        for values, valid, (top, left) in parts:
            here = np.s_[:, top - r0 : top - r0 + values.shape[1], left - c0 : left - c0 + values.shape[2]]
            out[here] = values
            if not self.complete:
                mask[here] = valid
        return out, mask

    def _part(
        self, tile: Tile, pick: Pick, hr_rows: Span, hr_cols: Span, *, keep: int
    ) -> tuple[Values, Mask, tuple[int, int]]:
        """The picked bands where a tile's core and an HR region meet, with the first HR row and column of that."""
        scale = self.plan.scale
        # Whole LR pixels are computed; what the region does not want of them is cut off at the end.
        rows, cols = (
            (max(core[0], start // scale), min(core[1], -(-stop // scale)))
            for core, (start, stop) in zip((tile.rows, tile.cols), (hr_rows, hr_cols), strict=True)
        )
        values, valid = self._bands(tile, self._ready(tile, keep), pick, rows, cols)
        top, left = max(hr_rows[0], rows[0] * scale), max(hr_cols[0], cols[0] * scale)
        cut = np.s_[
            :,
            top - rows[0] * scale : hr_rows[1] - rows[0] * scale,
            left - cols[0] * scale : hr_cols[1] - cols[0] * scale,
        ]
        return values[cut], valid[cut], (top, left)

    def _ready(self, tile: Tile, keep: int) -> _Ready:
        """What the bands of a tile share; kept for the tiles of the latest read."""
        return self._latest.get(tile, lambda: self._prepare(tile), keep=keep)

    @property
    def _reach(self) -> int:
        return fill.reach_of(self.method.halo or 0, 0 if self.consistency is None else self.consistency.operator.halo)

    def _prepare(self, tile: Tile) -> _Ready:
        lr, valid = self.lr.read(slice(None), slice(*tile.window_rows), slice(*tile.window_cols))
        lr = fill.fill_invalid(lr, valid, self._reach)
        inside = valid[_within(tile, tile.rows, tile.cols)]
        follow, core = self.consistency, (self._hr(tile.rows), self._hr(tile.cols))
        if (follow is None and self.method.bandwise) or not (all_valid(inside) or inside.any()):
            return _Ready(lr, inside)
        spans = _Spans.of(tile, follow, self.plan)
        shared = None if self.method.bandwise else self._mixing(lr, _start(tile), *spans.sharp)
        multiplier = None if follow is None else self._multiplier(tile, spans, follow, lr, valid, shared)
        if shared is not None:
            (top, bottom), (left, right) = core
            shared = shared[:, top - spans.sharp[0][0] :, left - spans.sharp[1][0] :][:, : bottom - top, : right - left]
        return _Ready(lr, inside, shared, multiplier, (spans.residual[0][0], spans.residual[1][0]))

    @property
    def _mixing(self) -> Images:
        """What takes all bands at once."""
        return self.method.images if isinstance(self.method, Mixture) else self.method

    @property
    def _bicubic(self) -> Bicubic | None:
        """What takes any band or mixture of bands, if anything does."""
        method = self.method.bicubic if isinstance(self.method, Mixture) else self.method
        return method if isinstance(method, Bicubic) else None

    @cached_property
    def _there_and_back(self) -> Separable | None:
        """Enlarged and degraded again, at LR cost."""
        if self._bicubic is None or self.consistency is None:
            return None
        return self.consistency.operator.after(self._bicubic.operator)

    def _multiplier(
        self, tile: Tile, spans: _Spans, follow: Consistency, lr: Values, valid: Mask, shared: Values | None
    ) -> Values:
        """Components of z, of which Aᵀ·z is the correction, on the LR pixels `spans.residual`."""
        (rows, cols), there = spans.residual, _within(tile, *spans.residual)
        start, operator = (spans.sharp[0][0], spans.sharp[1][0]), follow.operator
        mixed = _mix(follow.project, lr)
        residual = mixed[there].copy()
        if shared is not None:
            share = follow.project @ self.method.basis if isinstance(self.method, Mixture) else follow.project
            residual -= _mix(share, operator.apply_window(shared, rows, cols, start))
        if self._there_and_back is not None:
            residual -= self._there_and_back.apply_window(mixed, rows, cols, _start(tile))
        seen = valid[there]
        evidence = trivial_mask(seen.shape[1:]) if all_valid(seen) else np.asarray(seen[follow.needed].all(axis=0))
        return follow.solve(residual * evidence, evidence, rows, cols)

    def _bands(
        self, tile: Tile, ready: _Ready, pick: slice | NDArray[np.intp], rows: Span, cols: Span
    ) -> tuple[Values, Mask]:
        """The picked bands of LR `rows` and `cols` inside a tile's core, sharpened."""
        valid = ready.valid[pick][
            :, rows[0] - tile.rows[0] : rows[1] - tile.rows[0], cols[0] - tile.cols[0] : cols[1] - tile.cols[0]
        ]
        scale, all_of_it = self.plan.scale, all_valid(valid)
        shape = (len(valid), (rows[1] - rows[0]) * scale, (cols[1] - cols[0]) * scale)
        if not all_of_it and not valid.any():
            return np.full(shape, np.nan, self.dtype), np.zeros(shape, dtype=bool)
        lr = ready.lr[pick]
        top, left = (rows[0] - tile.rows[0]) * scale, (cols[0] - tile.cols[0]) * scale
        inside = np.s_[:, top : top + shape[1], left : left + shape[2]]
        if self._bicubic is not None:
            sharp = self._bicubic(lr, _start(tile), self._hr(rows), self._hr(cols))
            if ready.shared is not None and isinstance(self.method, Mixture):
                sharp += _mix(self.method.basis[pick], ready.shared[inside])
        else:
            assert ready.shared is not None
            sharp = np.array(ready.shared[pick][inside])
        if self.consistency is not None and ready.multiplier is not None:
            operator = self.consistency.operator
            (low, high), (west, east) = operator.adjoint_support(self._hr(rows), self._hr(cols))
            near = ready.multiplier[
                :, low - ready.start[0] : high - ready.start[0], west - ready.start[1] : east - ready.start[1]
            ]
            mixed = _mix(self.consistency.expand[pick], near)
            change = operator.adjoint_window(mixed, self._hr(rows), self._hr(cols), (low, west))
            sharp += change
            if self.consistency.guarded:
                self._guard(tile, lr, sharp, change, rows, cols, self.consistency.noise[pick])
        if all_of_it:
            return sharp, trivial_mask(shape)
        # An HR pixel is valid when the LR pixel that holds it is.
        hr_valid = valid.repeat(scale, axis=1).repeat(scale, axis=2)
        sharp[~hr_valid] = np.nan
        return sharp, hr_valid

    def _guard(
        self, tile: Tile, lr: Values, sharp: Values, change: Values, rows: Span, cols: Span, noise: NDArray[np.float64]
    ) -> None:
        """Lift `sharp`, which has `change` in it already, where that took it below the limit of undershoot.

        Interpolation that lies lower already is ringing too and is raised; a network that does so has its reasons, and
        is only not taken lower. Both arrays are of LR `rows` and `cols`; `lr` is the tile's window.
        """
        (low, high), (left, right) = (
            (max(window[0], span[0] - 1), min(window[1], span[1] + 1))
            for window, span in zip((tile.window_rows, tile.window_cols), (rows, cols), strict=True)
        )
        floor = undershoot_limit(lr[_within(tile, (low, high), (left, right))], noise)
        floor = floor[:, rows[0] - low : rows[1] - low, cols[0] - left : cols[1] - left]
        lift(sharp, floor, self.plan.scale, least=None if self.method.bandwise else change)

    def _hr(self, span: Span) -> Span:
        return span[0] * self.plan.scale, span[1] * self.plan.scale


def _start(tile: Tile) -> tuple[int, int]:
    """Row and column of the LR plane at which a tile's window starts."""
    return tile.window_rows[0], tile.window_cols[0]


def _within(tile: Tile, rows: Span, cols: Span) -> tuple[slice, slice, slice]:
    """Index of rows and columns of the LR plane in an array `(C, h, w)` of a tile's window."""
    top, left = _start(tile)
    return np.s_[:, rows[0] - top : rows[1] - top, cols[0] - left : cols[1] - left]


def _mix(weights: NDArray[np.float64], planes: Values) -> Values:
    """`(K, C)` weights applied to the first axis of `(C, h, w)` planes."""
    mixed = np.empty((len(weights), *planes.shape[1:]), planes.dtype)
    for first in range(0, len(weights), _MIXED_ROWS):
        some, target = weights[first : first + _MIXED_ROWS].astype(planes.dtype), mixed[first : first + _MIXED_ROWS]
        used = np.flatnonzero(some.any(axis=0))  # where bands are components, a few out of all
        held = planes if len(used) == len(planes) else planes[used]
        if len(used) < len(planes):
            some = some[:, used]
        step = max(16, _SMALL_PRODUCT // max(1, some.size) - 1)
        for left in range(0, planes.shape[2], step):
            at = np.s_[:, :, left : left + step]
            np.matmul(some, held[at].transpose(1, 0, 2), out=target[at].transpose(1, 0, 2))  # a product for each row
    return mixed


@dataclass(frozen=True)
class _Spans:
    """Regions of a tile's computation: where the residual is formed (LR) and where sr₀ is needed (HR)."""

    residual: tuple[Span, Span]
    sharp: tuple[Span, Span]

    @classmethod
    def of(cls, tile: Tile, consistency: Consistency | None, plan: TilePlan) -> _Spans:
        scale = plan.scale
        core = ((tile.rows[0] * scale, tile.rows[1] * scale), (tile.cols[0] * scale, tile.cols[1] * scale))
        if consistency is None:
            return cls((tile.rows, tile.cols), core)
        reach = consistency.operator.adjoint_support(*core)
        rows, cols = (
            (max(0, low - consistency.halo), min(size, high + consistency.halo))
            for (low, high), size in zip(reach, plan.shape, strict=True)
        )
        sharp = consistency.operator.support(rows, cols)
        grown = tuple(
            (min(a, c) // scale * scale, -(-max(b, d) // scale) * scale)
            for (a, b), (c, d) in zip(sharp, core, strict=True)
        )
        return cls((rows, cols), (grown[0], grown[1]))


def halo_of(method_halo: int, consistency: Consistency | None, *, complete: bool) -> int:
    """LR pixels that a tile's window needs around its core.

    Args:
        method_halo: halo of the estimate.
        consistency: what follows it, or None.
        complete: whether no pixel can be invalid; else the filling of invalid pixels reaches further.
    """
    halo, blur = method_halo, 0
    if consistency is not None:
        blur = consistency.operator.halo
        halo += consistency.halo + 2 * blur + 1
    return halo if complete else halo + fill.reach_of(method_halo, blur)
