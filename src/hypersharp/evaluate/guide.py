"""Quality without reference where there is an MSI: D_lambda, D_s, QNR, Khan's D_lambda, HQNR and RQNR.

Notation: F the sharpened cube, M the LR cube, P the MSI, P_L the MSI degraded with the declared PSF, Q the UIQI over
sliding windows of 8 x 8 LR pixels, or of the same ground at HR. No SRF is used: each band of the cube is compared with
the band of the MSI that correlates best with it at LR, brought to its units by the regression line between the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube, all_valid
from hypersharp.degrade.psf import Psf
from hypersharp.degrade.wald import degrade
from hypersharp.errors import NoDataError, UsageError
from hypersharp.evaluate.moments import CrossMoments
from hypersharp.evaluate.reference import cores
from hypersharp.metrics import Protocol, Record, Tile, evaluate_tiles

Floats = NDArray[np.float64]
Pairs = tuple[Sequence[int], Sequence[int]]

WINDOW = 8
"""Side of the windows of Q in LR pixels."""
_MOST_PAIRS = 200
_BLOCK = 32  # side of the blocks of Q2n where the scene is large enough
_BLOCKS = 4  # of them along a side that are read at once
_TILE_BYTES = 1 << 26
_STREAM = 9  # of the seed, apart from other uses of it


@dataclass(frozen=True, eq=False)
class GuideIndices:
    """The indices, each 0 (distortions) or 1 (quality) at best; None where one is not defined.

    Attributes:
        d_lambda: mean |Q(F_i, F_j) - Q(M_i, M_j)| over pairs of bands (Alparone et al. 2008).
        d_s: mean |Q(F_i, P) - Q(M_i, P_L)| over bands (the same).
        d_lambda_khan: 1 - Q2n(degrade(F), M) (Khan et al. 2009).
        d_s_regression: 1 - R² of the least-squares fit of P by F, mean over the bands of the MSI.
        pairs: how many pairs of bands were drawn, out of `pairs_in_all`.
        pairs_in_all: how many there are.
        bands: how many bands entered.
        window: side of the windows of Q in LR pixels.
        block: side of the blocks of Q2n in LR pixels.
        guide_of_band: for each band that entered, its index and that of the band of the MSI it is compared with.
        seed: of the drawing.
    """

    d_lambda: float | None
    d_s: float | None
    d_lambda_khan: float | None
    d_s_regression: float | None
    pairs: int
    pairs_in_all: int
    bands: int
    window: int
    block: int
    guide_of_band: tuple[tuple[int, int], ...]
    seed: int

    @property
    def qnr(self) -> float | None:
        """(1 - D_lambda)(1 - D_s), Alparone et al. 2008 with all exponents 1."""
        return _product(self.d_lambda, self.d_s)

    @property
    def hqnr(self) -> float | None:
        """(1 - D_lambda of Khan)(1 - D_s), Aiazzi et al. 2014."""
        return _product(self.d_lambda_khan, self.d_s)

    @property
    def rqnr(self) -> float | None:
        """(1 - D_lambda of Khan)(1 - D_s by regression), Alparone et al. 2018."""
        return _product(self.d_lambda_khan, self.d_s_regression)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; bands counted from 1."""
        names = ("d_lambda", "d_s", "qnr", "d_lambda_khan", "hqnr", "d_s_regression", "rqnr")
        return {
            **{name: getattr(self, name) for name in names},
            "band_pairs": self.pairs,
            "band_pairs_in_all": self.pairs_in_all,
            "bands": self.bands,
            "window_lr_pixels": self.window,
            "q2n_block_lr_pixels": self.block,
            "msi_band_of_band": {str(band + 1): guide + 1 for band, guide in self.guide_of_band},
            "seed": self.seed,
        }


def guide_indices(
    lr: Cube,
    sr: Cube,
    msi: Cube,
    *,
    scale: int,
    psf: Psf,
    bands: Sequence[int],
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> GuideIndices:
    """Compute the indices tile by tile.

    Args:
        lr: M, what was sharpened.
        sr: F, the estimate.
        msi: P, on the grid of `sr`.
        scale: HR pixels per LR pixel along a side.
        psf: the declared degradation, used for F and for P.
        bands: those of the cube that count: neither dead nor flagged as bad.
        seed: of the drawing of pairs.
        progress: called with passes done and passes in all.

    Raises:
        UsageError: the MSI does not lie on the grid of `sr`, or no band counts.
        NoDataError: no pixel is valid.
    """
    check_guide(sr, msi)
    if not bands:
        raise UsageError("expected at least one band that varies, got none; there is nothing to compare with the MSI")
    step = progress or (lambda done, total: None)
    cube, fine = lr.select(list(bands)), sr.select(list(bands))
    low_msi, again = degrade(msi, scale=scale, psf=psf), degrade(fine, scale=scale, psf=psf)
    guide, gain, offset = _regression(cube, low_msi)
    step(1, 5)
    pairs = _pairs(len(bands), seed)
    d_lambda = None
    if pairs[0]:
        d_lambda = _mean_distance(_quality(fine, fine, pairs, WINDOW * scale), _quality(cube, cube, pairs, WINDOW))
    step(2, 5)
    every = (range(len(bands)), guide)
    d_s = _mean_distance(
        _quality(fine, msi, every, WINDOW * scale, gain, offset), _quality(cube, low_msi, every, WINDOW, gain, offset)
    )
    step(3, 5)
    block = min(_BLOCK, *cube.shape[1:])
    khan = _q2n(cube, again, block)
    step(4, 5)
    regression = CrossMoments.of(fine, msi).unexplained()
    step(5, 5)
    return GuideIndices(
        d_lambda,
        d_s,
        None if khan is None else 1 - khan,
        float(np.nanmean(regression)) if np.isfinite(regression).any() else None,
        len(pairs[0]),
        len(bands) * (len(bands) - 1) // 2,
        len(bands),
        WINDOW,
        block,
        tuple(zip(bands, (int(g) for g in guide), strict=True)),
        seed,
    )


def check_guide(sr: Cube, msi: Cube) -> None:
    """Refuse an MSI that does not lie pixel on pixel with the estimate.

    Raises:
        UsageError: so.
    """
    if sr.shape[1:] != msi.shape[1:]:
        raise UsageError(
            f"expected an MSI of SR's {sr.shape[1]} x {sr.shape[2]} pixels, got {msi.shape[1]} x {msi.shape[2]}; "
            "warp or crop it to the same grid"
        )
    if sr.grid is not None and msi.grid is not None:
        shift = max(abs(a - b) for a, b in zip(sr.grid.affine, msi.grid.affine, strict=True))
        if shift > 0.01 * max(sr.grid.gsd_m):
            raise UsageError(
                f"expected an MSI on SR's grid {sr.grid.affine}, got {msi.grid.affine}; warp it to the same grid"
            )


def _product(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else (1 - one) * (1 - other)


def _regression(cube: Cube, guide: Cube) -> tuple[list[int], Floats, Floats]:
    """For each band of the cube the band of the guide that correlates best, and the line from that to it."""
    moments = CrossMoments.of(cube, guide)
    covariance = moments.between
    spread = np.sqrt(np.outer(np.diag(moments.within), np.diag(moments.within_guide)))
    correlation = np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 0)
    best = np.abs(correlation).argmax(axis=1)
    at = np.arange(len(best))
    energy = np.diag(moments.within_guide)[best]
    gain = np.divide(covariance[at, best], energy, out=np.zeros(len(best)), where=energy > 0)
    return [int(b) for b in best], gain, moments.mean - gain * moments.mean_guide[best]


def _pairs(count: int, seed: int) -> tuple[list[int], list[int]]:
    """All pairs i < j, or a sample of them without repetition."""
    one, other = np.triu_indices(count, 1)
    if len(one) > _MOST_PAIRS:
        chosen = np.random.default_rng((seed, _STREAM)).choice(len(one), _MOST_PAIRS, replace=False)
        chosen.sort()
        one, other = one[chosen], other[chosen]
    return [int(i) for i in one], [int(j) for j in other]


def _quality(
    one: Cube,
    other: Cube,
    pairs: Pairs,
    window: int,
    gain: Floats | None = None,
    offset: Floats | None = None,
) -> Floats | None:
    """Q of each pair of bands `(n,)`, NaN where it is not defined; None where no window fits.

    The second band of each pair is taken times `gain` plus `offset`.
    """
    shape, margin = one.shape[1:], window // 2
    if min(shape) < window:
        return None
    side = int(math.sqrt(_TILE_BYTES / (8 * max(len(pairs[0]), one.shape[0])))) - 2 * margin

    def tiles() -> Iterator[Tile]:
        for (r0, r1), (c0, c1) in cores(shape, 0, max(side, window)):
            top, bottom = max(0, r0 - margin), min(shape[0], r1 + margin)
            left, right = max(0, c0 - margin), min(shape[1], c1 + margin)
            place = {"rows": slice(top, bottom), "cols": slice(left, right)}
            (first, valid), (second, known) = one.read(**place), other.read(**place)
            a, b = first[list(pairs[0])], second[list(pairs[1])]
            if gain is not None and offset is not None:
                b = b * gain.astype(b.dtype)[:, None, None] + offset.astype(b.dtype)[:, None, None]
            mask = None if all_valid(valid) and all_valid(known) else valid[list(pairs[0])] & known[list(pairs[1])]
            core = (slice(r0 - top, r1 - top), slice(c0 - left, c1 - left))
            yield Tile(a, b, mask, core=core, origin=(top, left), scene=shape)

    protocol = Protocol("Q", "hypersharp: docs/metrics.md", (Record("uiqi", window=f"uniform_{window}"),))
    (found,) = evaluate_tiles(tiles(), [protocol], scale=None, peaks=None)
    return found.scores["uiqi"].per_band


def _mean_distance(fine: Floats | None, coarse: Floats | None) -> float | None:
    if fine is None or coarse is None:
        return None
    distance = np.abs(fine - coarse)
    return float(np.nanmean(distance)) if np.isfinite(distance).any() else None


def _q2n(lr: Cube, again: Cube, block: int) -> float | None:
    shape, margin = lr.shape[1:], block - 1

    def tiles() -> Iterator[Tile]:
        for (r0, r1), (c0, c1) in cores(shape, 0, _BLOCKS * block):
            top, bottom = max(0, r0 - margin), min(shape[0], r1 + margin)
            left, right = max(0, c0 - margin), min(shape[1], c1 + margin)
            place = {"rows": slice(top, bottom), "cols": slice(left, right)}
            (first, valid), (second, known) = lr.read(**place), again.read(**place)
            mask = None if all_valid(valid) and all_valid(known) else valid & known
            core = (slice(r0 - top, r1 - top), slice(c0 - left, c1 - left))
            yield Tile(first, second, mask, core=core, origin=(top, left), scene=shape)

    protocol = Protocol("Q2n", "hypersharp: docs/metrics.md", (Record("q2n", window=f"block_{block}"),))
    try:
        (found,) = evaluate_tiles(tiles(), [protocol], scale=None, peaks=None)
    except NoDataError:
        return None
    return found.scores["q2n"].value
