"""Q2n: the quality index of hypercomplex numbers, spectral and spatial distortion in one number."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hypersharp.errors import NoDataError
from hypersharp.metrics._accumulate import each, value
from hypersharp.metrics._spec import (
    Array,
    Extent,
    Floats,
    Mask,
    MetricSpec,
    Recipe,
    Score,
    Scratch,
    Statistics,
    Tile,
    window_of,
)
from hypersharp.metrics.protocol import Record


def q2n(reference: Array, estimate: Array, *, window: str, valid: Mask | None = None) -> float:
    """Mean over blocks of `4 |cov(z_r, z_e)| |mean_r| |mean_e| / ((var_r + var_e) (|mean_r|² + |mean_e|²))`.

    A pixel's spectrum, padded with zeros to a power of two, is one Cayley-Dickson number z; the covariance is the mean
    of `(z_r - mean_r) · conj(z_e - mean_e)`, with the product `(a, b)(c, d) = (ac - d̄b, da + bc̄)`. Values are taken as
    they come: no rounding to integers, no standardising of each block, which some programs do first.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        window: ``"block_32"`` for the usual blocks of 32×32 pixels side by side from the scene's first pixel; what is
            left at the right and lower edge is not scored.
        valid: `(H, W)` or `(C, H, W)` bool. A band without a valid pixel in a block is zero there in both cubes; a
            block with any other False in it does not count.

    Raises:
        UsageError: shapes differ, a valid value is not finite, or `window` is not ``"block_N"``.
        NoDataError: no whole block.
    """
    return value(METRIC, Record(METRIC.name, window=window), reference, estimate, valid=valid)


class Blocks(Statistics):
    """Sum of Q2n over the blocks; a block belongs to the tile whose core holds its first pixel."""

    def __init__(self, bands: int, size: int) -> None:
        self.size = size
        self.total = 0.0
        self.count = 0
        self.left_out = 0

    def margin(self) -> int:
        """A block may reach this far past the core."""
        return self.size - 1

    def update(self, tile: Tile, *, workers: int) -> None:
        """Add the blocks that start in the core of `tile`."""
        starts = [(row, col) for row in _starts(tile, 0, self.size) for col in _starts(tile, 1, self.size)]

        def add(start: tuple[int, int], _: Scratch) -> float | None:
            return _block_quality(tile, *start, self.size)

        for quality in each(add, starts, workers):
            if quality is None:
                self.left_out += 1
            else:
                self.total += quality
                self.count += 1


def _starts(tile: Tile, axis: int, size: int) -> range:
    """First rows (or columns) in this tile of the blocks that start in its core and end within the scene."""
    core, origin, scene = tile.core[axis], tile.origin[axis], tile.scene[axis]
    first = -(-(origin + core.start) // size) * size
    return range(first - origin, min(core.stop, scene - size + 1 - origin), size)


def _block_quality(tile: Tile, row: int, col: int, size: int) -> float | None:
    """Q2n of one block, None where a pixel of it is missing."""
    rows, cols = slice(row, row + size), slice(col, col + size)
    bands = tile.reference.shape[0]
    r, e = np.zeros((bands, size * size)), np.zeros((bands, size * size))
    alive = False
    for band in range(bands):
        *_, ok = tile.load(band, rows, cols, (r[band], e[band]))
        if ok is None:
            alive = True
        elif ok.any():
            return None
    return hypercomplex_quality(r, e) if alive else None


def hypercomplex_quality(r: Floats, e: Floats) -> float:
    """Q2n of two sets of spectra `(C, n)`.

    The product is bilinear, so the hypercomplex covariance is a signed sum over the matrix of band covariances:
    component k gathers the pairs of bands (i, j) with i xor j = k.
    """
    mean_r, mean_e = r.mean(axis=1), e.mean(axis=1)
    flat = bool((r == r[:, :1]).all() and (e == e[:, :1]).all())
    x, y = r - mean_r[:, None], e - mean_e[:, None]
    signs, components = signed_components(r.shape[0])
    covariance = np.bincount(components.ravel(), weights=((x @ y.T) * signs).ravel())
    spread = float(np.square(x).sum() + np.square(y).sum())
    energy = float(mean_r @ mean_r + mean_e @ mean_e)
    luminance = 2.0 * float(np.sqrt((mean_r @ mean_r) * (mean_e @ mean_e))) / energy if energy > 0 else 1.0
    # as for Q of one band, two constant blocks differ in their means only
    return luminance if flat else luminance * 2.0 * float(np.sqrt(covariance @ covariance)) / spread


@lru_cache(maxsize=8)
def signed_components(bands: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64]]:
    """Sign and component of `e_i · conj(e_j)` for the first `bands` units of the Cayley-Dickson algebra, `(C, C)`."""
    signs = np.ones((1, 1), dtype=np.int8)
    while signs.shape[0] < bands:
        conjugate = np.where(np.arange(signs.shape[0]) == 0, 1, -1).astype(np.int8)
        # (x,0)(y,0) = (xy,0); (x,0)(0,y) = (0,yx); (0,x)(y,0) = (0,xȳ); (0,x)(0,y) = (-ȳx,0)
        signs = np.block([[signs, signs.T], [signs * conjugate, -signs.T * conjugate]])
    index = np.arange(signs.shape[0])
    product = signs * np.where(index == 0, 1, -1).astype(np.int8)
    components = index[:, None] ^ index
    return product[:bands, :bands], components[:bands, :bands]


def _gather(record: Record) -> Recipe:
    return Blocks, window_of(record, ("block_N",))[1]


def _finish(blocks: Blocks, record: Record, _: Extent) -> Score:
    if blocks.count == 0:
        raise NoDataError(
            f"{record.metric} is not defined: no {blocks.size}×{blocks.size} block of valid pixels fits the scene"
        )
    counts = {"blocks": blocks.count, "blocks_left_out": blocks.left_out}
    return Score(blocks.total / blocks.count, counts=counts)


METRIC = MetricSpec(
    name="q2n",
    units="",
    better="higher",
    perfect=1.0,
    reduction="mean over blocks of the hypercomplex quality index",
    source="Garzelli and Nencini 2009, 'Hypercomplex quality assessment of multi/hyperspectral images'",
    gather=_gather,
    finish=_finish,
)
