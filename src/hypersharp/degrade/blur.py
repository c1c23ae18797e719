"""How wide the blur of a cube is, estimated: with an MSI by matching the two, from the cube alone as an interval.

Both are estimates and are to be called so wherever they are used. Widths and shifts are in HR pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from hypersharp.degrade.noise import Window, estimate_noise
from hypersharp.degrade.psf import DEFAULT, Psf
from hypersharp.errors import NoDataError, UsageError

__all__ = ["CubeBlur", "PairBlur", "blur_of_cube", "blur_of_pair"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_CLEAN = 1e-3  # of a band's spread; the least noise that is believed
_LEAST_SAMPLES = 100

_COEFFICIENTS = 10  # components of the cube by which the degraded MSI is explained
_BORDER = 4  # LR pixels; so far from the border of a window no PSF reaches outside of it
_CONSTANT = 1e-12  # of the squared mean: the variance of a constant, rounded and blurred, lies below
_STARTS = (0.35, 0.6)  # sigma in LR pixels
_NARROWEST, _WIDEST, _FURTHEST = 0.1, 1.5, 2.0  # LR pixels; what is searched
_MISFIT = 0.15  # relative residual above which the linear model is not believed

_COMPONENTS = 6
_CEILING = 30.0  # in units of the noise's variance; components with more structure than this count alike
_LEAST_STRUCTURE = 1.0  # in the same units, over all components
_LEAST_BANDS, _LEAST_SIDE = 8, 16
_RANGE = (0.27, 0.7)  # LR pixels; about the widths that the law below was fitted to
_OWN = 0.5  # HR pixels; sigma of the blur that the scenes it was fitted to have of their own
_FACTOR = 1.35  # by which the interval goes up and down
# The logarithm of the width in LR pixels is the sum of these times 1, p, q, p², q², p·q, with p = log D(1)/D(2) and
# q = log D(2)/D(4); `benchmarks/judgement.py --fit` gives them. Beyond an ellipse in (p, q) it is not believed.
_LAW = (-1.5007, -0.6572, -0.0257, 1.5697, 2.8646, -3.6234)
_CENTRE = np.array([-0.718, -0.354])
_PRECISION = np.array([[75.0, -82.0], [-82.0, 139.5]])
_FAR = 14.0


@dataclass(frozen=True)
class PairBlur:
    """What makes a degraded MSI most like the cube.

    Attributes:
        sigma: standard deviation of the Gaussian PSF.
        shift_yx: how far down and right of its block an LR pixel looks in the MSI.
        misfit: root of the share of the degraded MSI's variance that the cube does not explain.
        misfit_default: the same without shift and with the blur of MTF 0.3.
        reason: why this is not to be believed; empty where it is.
    """

    sigma: float
    shift_yx: tuple[float, float]
    misfit: float
    misfit_default: float
    reason: str = ""

    @property
    def psf(self) -> Psf:
        """The width as a PSF, to three decimals; the shift is no part of it."""
        return Psf("sigma", (round(self.sigma, 3), round(self.sigma, 3)))


@dataclass(frozen=True)
class CubeBlur:
    """What a cube alone says of its blur.

    Attributes:
        sigma: standard deviation of a Gaussian PSF; None where it is not identifiable.
        low: lower end of an interval of about 90 %.
        high: its upper end.
        reason: why it is not identifiable; empty where it is.
    """

    sigma: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def blur_of_pair(windows: Sequence[tuple[Window, Window]], *, scale: int) -> PairBlur:
    """Fit width and shift so that the MSI, degraded, is best explained by the cube.

    What is minimised over (sigma, dy, dx), by Nelder and Mead's method from two starts, is the relative residual of
    regressing the degraded MSI on ten noise-whitened principal components of the cube and a constant.

    Args:
        windows: pairs of windows of the same ground, `(values (C, h, w), valid)` of the cube and
            `(values (G, s·h, s·w), valid)` of the MSI.
        scale: HR pixels per LR pixel along a side.

    Raises:
        UsageError: windows whose shapes do not fit.
        NoDataError: too few valid pixels.
    """
    for (low, _), (high, _) in windows:
        expected = (low.shape[1] * scale, low.shape[2] * scale)
        if high.shape[1:] != expected:
            raise UsageError(f"expected an MSI of {expected} pixels for LR {low.shape[1:]}, got {high.shape[1:]}")
    counted = [_counted(low[1], high[1], scale) for low, high in windows]
    if sum(int(mask.sum()) for mask in counted) < _LEAST_SAMPLES:
        raise NoDataError(
            f"expected at least {_LEAST_SAMPLES} valid LR pixels further than {_BORDER} from the border and from "
            f"invalid ones to estimate the blur, got {sum(int(mask.sum()) for mask in counted)}; state the PSF"
        )
    basis = _basis([low for low, _ in windows], counted)
    planes = [_filled(*high) for _, high in windows]

    def misfit(sigma: float, shift_yx: tuple[float, float]) -> float:
        """Root of the share of the degraded MSI's variance that the cube leaves, mean over bands."""
        psf, parts = Psf("sigma", (sigma, sigma)), []
        for plane, mask in zip(planes, counted, strict=True):
            operator = psf.operator((plane.shape[1], plane.shape[2]), scale, shift_yx=shift_yx)
            parts.append(operator.apply(plane)[:, mask])
        seen = np.concatenate(parts, axis=1)
        mean = seen.mean(axis=1, keepdims=True)
        seen -= mean
        energy, explained = (seen**2).sum(axis=1), ((seen @ basis) ** 2).sum(axis=1)
        varies = energy > _CONSTANT * seen.shape[1] * mean[:, 0] ** 2
        if not varies.any():
            raise NoDataError("every band of the MSI is constant: nothing to estimate the blur from")
        return math.sqrt(max(0.0, float(np.mean(1 - explained[varies] / energy[varies]))))

    best = min((_search(misfit, math.log(start), scale) for start in _STARTS), key=lambda found: float(found.fun))
    width, (dy, dx) = math.exp(best.x[0]), best.x[1:]
    default = DEFAULT.sigma_yx(scale)
    assert default is not None
    return PairBlur(
        sigma=width * scale,
        shift_yx=(float(dy) * scale, float(dx) * scale),
        misfit=math.sqrt(float(best.fun)),
        misfit_default=misfit(default[0], (0.0, 0.0)),
        reason=_doubt(width, max(abs(dy), abs(dx)), math.sqrt(float(best.fun))),
    )


def _search(misfit: Callable[[float, tuple[float, float]], float], start: float, scale: int) -> Any:
    """Nelder and Mead's method over (log sigma, dy, dx) in LR pixels."""

    def cost(at: Floats) -> float:
        width, far = math.exp(at[0]), float(max(abs(at[1]), abs(at[2])))
        beyond = max(_NARROWEST / width, width / _WIDEST, far / _FURTHEST)
        if beyond > 1:
            return 1 + beyond  # a wall: the share that is left is at most 1
        return misfit(width * scale, (at[1] * scale, at[2] * scale)) ** 2

    simplex = np.array([start, 0.0, 0.0]) + np.vstack([np.zeros(3), np.diag([0.4, 0.3, 0.3])])
    return optimize.minimize(
        cost,
        [start, 0.0, 0.0],
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 1e-4, "fatol": 1e-10, "maxfev": 400},
    )


def _doubt(width: float, far: float, misfit: float) -> str:
    if far > 0.95 * _FURTHEST:
        return "the shift lies at the end of its range: register the MSI first"
    if not 1.05 * _NARROWEST < width < 0.95 * _WIDEST:
        return "the width lies at the end of its range"
    if misfit > _MISFIT:
        return f"the cube explains the MSI badly: residual {misfit:.2f} of its spread, trusted up to {_MISFIT}"
    return ""


def _counted(low: Mask, high: Mask, scale: int) -> Mask:
    """LR pixels `(h, w)` valid in every usable band, and so far from border and invalid pixels that none matters."""
    usable = low.mean(axis=(1, 2)) > 0.5
    rows, cols = low.shape[1:]
    blocks = high.all(axis=0).reshape(rows, scale, cols, scale).all(axis=(1, 3))
    # outside of the window counts as invalid
    near: Mask = ndimage.minimum_filter(blocks, 2 * _BORDER + 1, mode="constant", cval=0)
    return near & low[usable].all(axis=0) if usable.any() else np.zeros_like(near)


def _filled(values: NDArray[Any], valid: Mask) -> Floats:
    """Each band with its mean where it is invalid."""
    mean = [plane[ok].mean() if ok.any() else 0.0 for plane, ok in zip(values, valid, strict=True)]
    return np.where(valid, values, np.array(mean)[:, None, None]).astype(np.float64)


def _basis(lows: Sequence[Window], counted: Sequence[Mask]) -> Floats:
    """`(n, K)` orthonormal columns of mean 0: the cube's principal components in units of the noise."""
    flat = np.concatenate([values[:, mask] for (values, _), mask in zip(lows, counted, strict=True)], axis=1)
    flat, noise = flat.astype(np.float64), estimate_noise(lows)
    known = np.isfinite(noise) & np.isfinite(flat).all(axis=1) & (flat.std(axis=1) > 0)
    if not known.any():
        raise NoDataError("no band of the cube varies: nothing to estimate the blur from")
    flat, noise = flat[known], noise[known]
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(noise, _CLEAN * flat.std(axis=1))[:, None]
    size, vectors = np.linalg.eigh(flat @ flat.T)
    kept = vectors[:, ::-1][:, : min(_COEFFICIENTS, int((size > 1e-10 * size[-1]).sum()))]
    return np.linalg.qr(flat.T @ kept)[0]


def blur_of_cube(windows: Sequence[Window], *, scale: int) -> CubeBlur:
    """The width of the blur from a cube alone, as an interval; ill-posed, as a smooth scene looks like a blurred one.

    What it rests on: scenes are much alike in how their mean squared difference D(d) between pixels a distance d apart
    grows with d. Blur takes most from D(1). Differences are taken of the six leading components of the cube in units of
    its noise, twice the noise variance is subtracted, and log D(1)/D(2) and log D(2)/D(4) give the width by a quadratic
    law fitted to AVIRIS scenes blurred by 0.25 to 0.7 LR pixels at scales 2 to 4 (docs/metrics.md has what it is worth
    on scenes that it was not fitted to). It is the blur added to a scene as sharp as those.

    Args:
        windows: pieces of one scene, `(values (C, h, w), valid (C, h, w))`.
        scale: HR pixels per LR pixel along a side.
    """
    bands, rows, cols = windows[0][0].shape
    if bands < _LEAST_BANDS:
        return CubeBlur(reason=f"it takes {_LEAST_BANDS} bands to tell noise from detail, the cube has {bands}")
    if min(rows, cols) < _LEAST_SIDE:
        return CubeBlur(reason=f"it takes {_LEAST_SIDE} pixels a side, the cube has {rows} x {cols}")
    structure = _structure(windows)
    if structure is None:
        return CubeBlur(reason="too few valid pixels, or no detail above the noise")
    p, q = math.log(structure[0] / structure[1]), math.log(structure[1] / structure[2])
    away = np.array([p, q]) - _CENTRE
    if away @ _PRECISION @ away > _FAR:
        return CubeBlur(reason="the scene is unlike those that the estimate rests on")
    total = math.exp(float(np.dot(_LAW, (1.0, p, q, p * p, q * q, p * q))))
    ends = [math.sqrt(max(0.0, (total * f) ** 2 - (_OWN / scale) ** 2)) for f in (1 / _FACTOR, 1.0, _FACTOR)]
    if not _RANGE[0] <= ends[1] <= _RANGE[1]:
        return CubeBlur(reason=f"the width is outside of {_RANGE[0]} to {_RANGE[1]} LR pixels, for which it was fitted")
    low, sigma, high = (end * scale for end in ends)
    return CubeBlur(sigma, low, high)


def _structure(windows: Sequence[Window]) -> tuple[float, float, float] | None:
    """D at distances 1, 2 and 4, over the leading components of a cube in units of its noise; noise subtracted."""
    noise = estimate_noise(windows)
    known = np.isfinite(noise)
    masks = [np.asarray(valid[known].all(axis=0)) for _, valid in windows]
    flat = np.concatenate([values[known][:, mask] for (values, _), mask in zip(windows, masks, strict=True)], axis=1)
    flat = flat.astype(np.float64)
    if flat.shape[1] < _LEAST_SAMPLES or not (flat.std(axis=1) > 0).any():
        return None
    spread = flat.std(axis=1)
    known[known] = spread > 0
    flat, noise = flat[spread > 0], noise[known]
    unit = np.maximum(noise, _CLEAN * spread[spread > 0])
    flat = (flat - flat.mean(axis=1, keepdims=True)) / unit[:, None]
    turn = np.linalg.eigh(flat @ flat.T)[1][:, ::-1][:, :_COMPONENTS].T / unit
    left = 2 * ((turn * noise) ** 2).sum(axis=1)  # what noise adds to a squared difference
    planes = [
        np.tensordot(turn, np.where(mask, values[known], 0.0), 1)
        for (values, _), mask in zip(windows, masks, strict=True)
    ]
    one, two, four = (_squared_difference(planes, masks, step) - left for step in (1, 2, 4))
    weight = np.divide(np.minimum(four, _CEILING), four, out=np.zeros_like(four), where=four > 0)
    found = tuple(float(weight @ part) for part in (one, two, four))
    return (found[0], found[1], found[2]) if min(found) > _LEAST_STRUCTURE else None


def _squared_difference(planes: Sequence[Floats], masks: Sequence[Mask], step: int) -> Floats:
    """Mean squared difference of each component between pixels `step` apart along rows and columns, `(K,)`."""
    means = []
    for axis in (1, 2):
        total, count = np.zeros(len(planes[0])), 0
        for plane, mask in zip(planes, masks, strict=True):
            values, known = np.moveaxis(plane, axis, 2), np.moveaxis(mask, axis - 1, 1)
            both = known[:, step:] & known[:, :-step]
            total += ((values[:, :, step:] - values[:, :, :-step])[:, both] ** 2).sum(axis=1)
            count += int(both.sum())
        means.append(total / max(1, count))
    return np.asarray((means[0] + means[1]) / 2)
