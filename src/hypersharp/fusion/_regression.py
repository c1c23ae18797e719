"""What the regression-type methods share: moments over sampled windows, and detail of the MSI given to the cube.

All of these methods are `up(lr) + gains · (msi - up(low))`; they differ in the gains and in the LR image `low` that
the MSI is set against.

Letters: B bands of the MSI, C bands of the cube.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from hypersharp.errors import NoDataError
from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion._spec import Calibration, Floats, Window
from hypersharp.operators import Separable

Doubles = NDArray[np.float64]
Piece = tuple[Floats, Floats, NDArray[np.bool_]]
"""Predictors `(B, h, w)`, targets `(C, h, w)` and the LR pixels `(h, w)` to use."""

_CONSTANT = 1e-12  # of the squared mean: the variance of a constant, rounded to float32 and blurred, lies below
_COLLINEAR = 1e-12  # of the largest eigenvalue of a correlation: what float32 rounding leaves of collinear bands
_GROUP_BYTES = 1 << 22  # HR values of the bands that are given detail at a time
_UNRELATED = 1e-7  # of a target's mean: what it shares with a predictor is float32 rounding below it
_HIGHEST_RATIO = 10.0  # of a band over its low-pass; what is above divides by almost nothing
_ENOUGH = 0.25  # of the valid LR pixels: fewer that no filled one reaches are not fitted on alone
_LARGE = 512  # LR pixels along a side; no PSF or shift that is allowed reaches from the middle to the border


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of predictors `x` and targets `y` over the pixels that are fitted on.

    Attributes:
        mean_x: `(B,)`.
        mean_y: `(C,)`.
        xx: `(B, B)` covariance.
        xy: `(B, C)` covariance.
    """

    mean_x: Doubles
    mean_y: Doubles
    xx: Doubles
    xy: Doubles

    @property
    def white(self) -> Doubles:
        """`(B,)` one over the standard deviation of each predictor, 0 for constants."""
        variance = np.diag(self.xx)
        live = variance > _CONSTANT * self.mean_x**2
        return np.asarray(np.where(live, 1 / np.sqrt(np.where(live, variance, 1.0)), 0.0))

    def regress(self, *, ridge: float = 0.0) -> Doubles:
        """`(B, C)` least-squares coefficients of each target on all predictors and a constant.

        Constant predictors get 0; of collinear ones, the smallest coefficients in units of their spread are taken.

        Args:
            ridge: variance added to each predictor, of its own.
        """
        correlation = self.white[:, None] * self.xx * self.white + ridge * np.eye(len(self.xx))
        inverse = np.linalg.pinv(correlation, rcond=_COLLINEAR, hermitian=True)
        return np.asarray(self.white[:, None] * (inverse @ (self.white[:, None] * self.xy)))

    def closest(self) -> NDArray[np.intp]:
        """`(C,)` the predictor that each target is correlated with most; -1 for a constant target."""
        shared = self.white[:, None] * self.xy
        best = shared.argmax(axis=0)
        return np.where(np.abs(shared).max(axis=0) > _UNRELATED * np.abs(self.mean_y), best, -1)


def moments(pieces: Iterable[Piece], *, enlarged: Calibration | None = None) -> Moments:
    """Gather moments.

    Args:
        pieces: of one scene.
        enlarged: None for moments over LR pixels; else of both sides after their enlargement, over HR pixels. The
            targets are many and are not enlarged for it: `Σ up(x) · up(y) = Σ upᵀ(up(x)) · y`.

    Raises:
        NoDataError: there is no pixel to use.
    """
    count = 0.0
    sums: list[Doubles] = [np.zeros(1)] * 4
    for low, targets, valid in pieces:
        x, y, weight = low.astype(np.float64), targets.astype(np.float64), valid.astype(np.float64)
        weighted, ones = x * weight, weight
        back = weighted
        if enlarged is not None:
            up, scale = enlarge(valid.shape, enlarged), enlarged.scale
            x, weight = up.apply(x), weight.repeat(scale, axis=0).repeat(scale, axis=1)
            weighted = x * weight
            back, ones = up.adjoint(weighted), up.adjoint(weight)
        some = (
            weighted.sum(axis=(1, 2)),
            np.tensordot(y, ones, axes=2),
            _products(weighted, x),
            _products(back, y),
        )
        count += float(weight.sum())
        sums = [a + b for a, b in zip(sums, some, strict=True)]
    if not count:
        raise NoDataError("no pixel is valid in both images, so there is nothing to fit fusion on; check the masks")
    mean_x, mean_y, xx, xy = (total / count for total in sums)
    return Moments(mean_x, mean_y, xx - np.outer(mean_x, mean_x), xy - np.outer(mean_x, mean_y))


def _products(a: Doubles, b: Doubles) -> Doubles:
    """`(m, n)` sums over the pixels of `(m, h, w)` times `(n, h, w)`."""
    return np.asarray(a.reshape(len(a), -1) @ b.reshape(len(b), -1).T)


def lowered(windows: Sequence[Window], calibration: Calibration) -> list[Floats]:
    """The MSI `(B, h, w)` of each window as the cube's sensor would have seen it."""
    return [calibration.blur(w.msi.shape[1:]).apply(w.msi) for w in windows]


def trusted(windows: Sequence[Window], calibration: Calibration) -> list[NDArray[np.bool_]]:
    """The valid LR pixels `(h, w)` of each window that no filled pixel reaches through PSF and enlargement.

    Nor does what a shifted cube sees beyond the window, where only its mirror image is known. Where that leaves too few
    pixels of all windows, all valid pixels: a few that lie together say less of a scene than many beside small holes.
    """
    reach = blur_halo(calibration) + up_halo(calibration)
    square = np.ones((2 * reach + 1,) * 2, dtype=bool)
    edge = math.ceil(max(map(abs, calibration.shift_yx)) / calibration.scale)
    inner = []
    for window in windows:
        mask = np.zeros_like(window.valid)
        within = np.s_[edge : len(mask) - edge, edge : mask.shape[1] - edge]
        mask[within] = binary_erosion(window.valid, square, border_value=1)[within]
        inner.append(mask)
    left, held = sum(int(mask.sum()) for mask in inner), sum(int(w.valid.sum()) for w in windows)
    return inner if left and left >= _ENOUGH * held else [w.valid for w in windows]


def up_halo(calibration: Calibration) -> int:
    """LR pixels that the enlargement reaches."""
    return enlarge((_LARGE, _LARGE), calibration).halo


def blur_halo(calibration: Calibration) -> int:
    """LR pixels that the degradation reaches."""
    size = _LARGE * calibration.scale
    return calibration.blur((size, size)).halo


def noise_left(degradation: Separable) -> float:
    """What a degradation leaves of the variance of white noise, away from the borders."""
    return float((np.asarray(sum(np.outer(y.weight[0], x.weight[0]) for y, x in degradation.terms)) ** 2).sum())


def inject(lr: Floats, detail: Floats, gains: Doubles, calibration: Calibration) -> Floats:
    """`up(lr) + gains · detail`.

    Args:
        lr: `(C, h, w)`.
        detail: `(B, s·h, s·w)`.
        gains: `(C, B)`.
        calibration: of the enlargement.

    Returns:
        `(C, s·h, s·w)` float32.
    """
    out = enlarge(lr.shape[1:], calibration).apply(lr)
    flat, weights = detail.reshape(len(detail), -1), gains.astype(np.float32)
    group = max(1, _GROUP_BYTES // flat[0].nbytes)
    for first in range(0, len(out), group):  # no second cube
        part = out[first : first + group]
        part += (weights[first : first + group] @ flat).reshape(part.shape)
    return out


def ratio(sharp: Floats, smooth: Floats) -> Floats:
    """`sharp / smooth` between 0 and 10; 1 where `smooth` is not above 0."""
    above = smooth > 0
    with np.errstate(over="ignore"):
        quotient = np.divide(sharp, smooth, out=np.ones_like(sharp), where=above)
    return np.clip(quotient, 0, _HIGHEST_RATIO, out=quotient)
