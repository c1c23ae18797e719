"""A network in tiles of its own, whatever window a caller holds: kept, and blended where they disagree.

A method whose pixels depend on the whole window (pooling, attention) gives slightly different values for the same pixel
in two windows. Around each border between two cores the two are mixed with weights that rise linearly from one to the
other; at every pixel the weights sum to 1. A method of finite halo gives the same values, so its tiles need no mixing;
they are kept so that what lies in the halos of many callers is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Source
from hypersharp.infer.enlarged import Latest
from hypersharp.infer.fill import fill_invalid, reach_of
from hypersharp.infer.methods import Images
from hypersharp.infer.tiles import Span, Tile, TilePlan

Floats = NDArray[np.floating[Any]]


def ramp(core: Span, size: int, overlap: int) -> tuple[Span, NDArray[np.float64]]:
    """Weights of one tile along one axis.

    Args:
        core: the tile's core, half-open.
        size: length of the scene along the axis.
        overlap: pixels on either side of an inner border over which weights rise from 0 to 1.

    Returns:
        The pixels that the tile has a weight for, half-open, and these weights. Those of all tiles of a partition
        sum to 1 at every pixel when no core is shorter than twice the overlap.
    """
    start, stop = max(0, core[0] - overlap), min(size, core[1] + overlap)
    at = np.arange(start, stop) + 0.5
    weights = np.ones(stop - start)
    if overlap and core[0] > 0:
        weights = np.minimum(weights, np.clip((at - core[0] + overlap) / (2 * overlap), 0, 1))
    if overlap and core[1] < size:
        weights = np.minimum(weights, np.clip((core[1] + overlap - at) / (2 * overlap), 0, 1))
    return (start, stop), weights


@dataclass(frozen=True, eq=False)
class Blended:
    """A method, or `Images`, that answers for any region from its own tiles; itself such a method, or `Images`.

    Attributes:
        method: the method behind it.
        lr: source of the scene; read tile by tile, whatever window a caller holds.
        plan: tiles whose window halo is at least `overlap`, and that of the method where it has one.
        overlap: LR pixels on either side of a border over which tiles are mixed; 0 for a method of finite halo.
        keep: latest tiles that are kept.
    """

    method: Images
    lr: Source
    plan: TilePlan
    overlap: int
    keep: int = 4
    halo: int = 0
    multiple_of: int = 1
    bandwise: bool = False
    _latest: Latest[Tile, Floats] = field(default_factory=Latest, repr=False)

    @property
    def name(self) -> str:
        """That of the method."""
        return self.method.name

    @property
    def keeps_all(self) -> bool:
        """Whether every tile is computed at most once, or the method can be had in these tiles only."""
        return self.overlap > 0 or len(self.plan) <= self.keep

    def __call__(self, lr: Floats, origin: tuple[int, int], hr_rows: Span, hr_cols: Span) -> Floats:
        """See `Method`; the window is not needed."""
        del origin
        scale = self.plan.scale
        overlap = self.overlap * scale
        size = tuple(n * scale for n in self.plan.shape)
        out = np.zeros((0, hr_rows[1] - hr_rows[0], hr_cols[1] - hr_cols[0]), lr.dtype)
        near = ((hr_rows[0] - overlap, hr_rows[1] + overlap), (hr_cols[0] - overlap, hr_cols[1] + overlap))
        for tile in self.plan.touching(*near):
            (row_span, row_weights), (col_span, col_weights) = (
                ramp((core[0] * scale, core[1] * scale), length, overlap)
                for core, length in zip((tile.rows, tile.cols), size, strict=True)
            )
            a, b = max(hr_rows[0], row_span[0]), min(hr_rows[1], row_span[1])
            c, d = max(hr_cols[0], col_span[0]), min(hr_cols[1], col_span[1])
            if a >= b or c >= d:
                continue
            weights = np.outer(
                row_weights[a - row_span[0] : b - row_span[0]], col_weights[c - col_span[0] : d - col_span[0]]
            )
            sharp = self._latest.get(tile, partial(self._tile, tile, row_span, col_span), keep=self.keep)
            if not len(out):
                out = np.zeros((len(sharp), *out.shape[1:]), lr.dtype)
            part = sharp[:, a - row_span[0] : b - row_span[0], c - col_span[0] : d - col_span[0]]
            out[:, a - hr_rows[0] : b - hr_rows[0], c - hr_cols[0] : d - hr_cols[0]] += part * weights.astype(lr.dtype)
        return out

    def _tile(self, tile: Tile, row_span: Span, col_span: Span) -> Floats:
        window, valid = self.lr.read(slice(None), slice(*tile.window_rows), slice(*tile.window_cols))
        origin = (tile.window_rows[0], tile.window_cols[0])
        window = fill_invalid(window, valid, reach_of(self.overlap or self.method.halo or 0))
        return self.method(window, origin, row_span, col_span)
