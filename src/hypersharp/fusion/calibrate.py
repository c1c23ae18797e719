"""What relates a pair of images, found from the pair itself: blur, shift, spectral response, radiometry and noise.

In this order: whole-pixel shift by phase correlation, then width of the blur and sub-pixel shift together
(`degrade.blur.blur_of_pair`), then the response of each MSI band over the cube's bands by non-negative least squares,
then the noise of both. What the user states is taken as stated.

Letters: C bands of the cube, B bands of the MSI, h w rows and columns of LR, s scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from hypersharp.degrade.blur import PairBlur, blur_of_pair
from hypersharp.degrade.noise import estimate_noise
from hypersharp.degrade.psf import DEFAULT, Psf
from hypersharp.errors import NoDataError
from hypersharp.fusion._regression import noise_left
from hypersharp.fusion._spec import Calibration
from hypersharp.fusion.register import phase_shift
from hypersharp.operators import sigma_from_mtf

__all__ = ["Calibrated", "Pair", "calibrate", "reconciled"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Image = tuple[NDArray[Any], Mask]

Pair = tuple[Image, Image]
"""Windows of the same ground: values and mask `(C, h, w)` of the cube, `(B, s·h, s·w)` of the MSI."""

SMOOTHNESS = 1e-2
"""Weight of the response's squared first differences, times the mean energy of a band."""

_BLUR_WINDOWS = 4  # more bring nothing to three numbers
_BLUR_SIDE = 96  # LR pixels; a larger window is cut up for the same reason
_BEYOND = 3  # LR pixels by which small windows are continued; 4 would count those along the border
_BADLY = 0.15  # relative residual above which a linear relation between the two is not believed
_APART = 0.25  # relative difference of an estimated width from the stated one that is worth a word
_CLEAN = 1e-4  # of a band's spread; the least noise that is believed
_LEAST_PIXELS = 32  # valid LR pixels, below which a response is nonsense


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibration and what it rests on.

    Attributes:
        calibration: what the methods use.
        psf_from: ``"stated"``, ``"sensor"``, ``"default"`` or ``"estimate"``.
        coarse_yx: whole HR pixels found by phase correlation that the fit started from; part of the shift.
        blur: the joint fit of width and shift, or None where it was not possible.
        residual: `(B,)` share of each degraded MSI band's spread that the response leaves, as a root.
        gain: `(B,)` MSI units per unit of the cube: the sum of each response.
        response_from: what the response was restricted by, in words.
        notes: what is worth a warning.
    """

    calibration: Calibration
    psf_from: str
    coarse_yx: tuple[int, int]
    blur: PairBlur | None
    residual: Floats
    gain: Floats
    response_from: str
    notes: tuple[str, ...]

    @property
    def measured(self) -> Psf:
        """The blur as the pair has it, where the fit is to be believed; else that of the calibration."""
        return self.calibration.psf if self.blur is None or self.blur.reason else self.blur.psf

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; lengths in HR pixels."""
        found, blur = self.calibration, self.blur
        return {
            "scale": found.scale,
            "psf": str(found.psf),
            "psf_from": self.psf_from,
            "psf_text": found.psf.describe(found.scale),
            "shift_yx": [round(v, 4) for v in found.shift_yx],
            "coarse_shift_yx": list(self.coarse_yx),
            "fit": None
            if blur is None
            else {
                "sigma": round(blur.sigma, 4),
                "misfit": round(blur.misfit, 4),
                "misfit_without_shift": round(blur.misfit_default, 4),
                "doubt": blur.reason,
            },
            "response_from": self.response_from,
            "response": [[_short(v) for v in row] for row in found.srf],
            "gain": [_short(v) for v in self.gain],
            "offset": [_short(v) for v in found.offset],
            "response_residual": [_short(v) for v in self.residual],
            "noise_cube": [_short(v) for v in found.noise_lr],
            "noise_msi": [_short(v) for v in found.noise_msi],
        }


def calibrate(
    read: Callable[[tuple[int, int]], Sequence[Pair]],
    *,
    scale: int,
    psf: tuple[Psf, str] | None = None,
    support: Mask | None = None,
    order: NDArray[np.intp] | None = None,
    response_from: str = "all bands",
) -> Calibrated:
    """Find what relates a pair.

    Args:
        read: gives windows of the pair, always the same ones, with the MSI looked up so many whole HR pixels further
            down and right.
        scale: LR pixel over HR pixel along a side.
        psf: the blur where it is stated, and where it comes from; None to estimate it.
        support: `(B, C)` bands of the cube that each MSI band may see; None for all.
        order: `(C,)` the cube's bands by increasing wavelength, for the smoothness of the response; None for as is.
        response_from: what `support` comes from, for the report.

    Raises:
        NoDataError: too few pixels are valid in both.
    """
    pairs = read((0, 0))
    bands = pairs[0][0][0].shape[0]
    notes: list[str] = []
    coarse, blur = _joint(read, pairs, scale, notes)
    shift = (0.0, 0.0)
    if blur is not None and _believed(blur):
        shift = (round(coarse[0] + blur.shift_yx[0], 4), round(coarse[1] + blur.shift_yx[1], 4))
    chosen, psf_from = _psf(blur, psf, notes)
    if psf is not None and blur is not None and _contradicts(psf[0], blur, scale):
        notes.append(
            f"the stated PSF {psf[0]} is {'wider' if blur.sigma < _width(psf[0], scale) else 'narrower'} than the pair "
            f"says, whose fit gives sigma {blur.sigma:.2f} HR pixels with residual {blur.misfit:.3f}; taken as stated"
        )
    response = _Response.of(pairs, scale, chosen, shift)
    noise_lr = _noise([low for low, _ in pairs])
    srf, offset, residual = response.fit(support, np.arange(bands) if order is None else order)
    noise_msi = _noise_msi([high for _, high in pairs], response, srf, residual, noise_lr)
    if np.median(residual) > _BADLY:
        notes.append(
            f"the cube's bands explain the MSI badly: residual {np.median(residual):.2f} of its spread, trusted up to "
            f"{_BADLY}; another date, illumination or registration, so trust the report's scores before the picture"
        )
    found = Calibration(
        scale=scale,
        psf=chosen,
        shift_yx=shift,
        srf=srf,
        offset=offset,
        noise_lr=noise_lr,
        noise_msi=noise_msi,
        supported=np.ones(bands, dtype=bool) if support is None else np.asarray(support.any(axis=0)),
    )
    return Calibrated(found, psf_from, coarse, blur, residual, srf.sum(axis=1), response_from, tuple(notes))


def reconciled(
    run: Callable[[tuple[Psf, str] | None], Calibrated], stated: tuple[Psf, str] | None, *, free: bool
) -> Calibrated:
    """The calibration with a stated PSF; with another where that is `free` and the pair contradicts it.

    What counts in fusion is the blur from the MSI to the cube. A data sheet gives another one, that from the ground.

    Args:
        run: calibrates with the PSF it is given, and where that comes from, or with an estimate for None.
        stated: the PSF, and where it comes from; None for an estimate.
        free: whether an estimate may take the place of a stated PSF.
    """
    found = run(stated)
    if stated is None or found.blur is None or not _contradicts(stated[0], found.blur, found.calibration.scale):
        return found
    other = run(None)
    if not free or np.median(other.residual) >= np.median(found.residual):
        return found
    note = (
        f"the stated PSF {stated[0]} leaves a residual of {np.median(found.residual):.3f} between cube and MSI, "
        f"{other.calibration.psf} as the pair says {np.median(other.residual):.3f}: auto takes the latter; name a "
        "method to keep what is stated"
    )
    return replace(other, notes=(*other.notes, note))


def _joint(
    read: Callable[[tuple[int, int]], Sequence[Pair]], pairs: Sequence[Pair], scale: int, notes: list[str]
) -> tuple[tuple[int, int], PairBlur | None]:
    """Width and shift from no shift, and from that of phase correlation where it is larger than an LR pixel."""
    coarse = phase_shift(pairs, scale=scale)
    starts = [(0, 0)] if coarse is None or max(map(abs, coarse)) < scale else [(0, 0), coarse]
    found: list[tuple[tuple[int, int], PairBlur]] = []
    for start in starts:
        some = pairs if start == (0, 0) else read(start)
        try:
            found.append((start, _fitted(_pieces(some, scale), scale)))
        except NoDataError as error:
            notes.append(f"blur and shift could not be estimated ({error})")
            return (0, 0), None
    start, best = min(found, key=lambda each: each[1].misfit)
    if best.reason:
        notes.append(f"the estimate of blur and shift is doubtful: {best.reason}")
    return start, best


def _fitted(pairs: Sequence[Pair], scale: int) -> PairBlur:
    """The joint fit; of windows too small for it, which keeps away from their borders, as far as one LR pixel to them.

    On crops of five scenes, 12 to 16 LR pixels a side, the width was within 0.03 and the shift within 0.07 HR pixels
    at scale 4 and noise 35/40 dB, within 0.25 and 0.34 with 20/30 dB.

    Raises:
        NoDataError: too few valid pixels all the same.
    """
    try:
        return blur_of_pair(pairs, scale=scale)
    except NoDataError as error:
        wider = [(_continued(low, _BEYOND), _continued(high, scale * _BEYOND)) for low, high in pairs]
        try:
            return blur_of_pair(wider, scale=scale)
        except NoDataError:
            raise error from None


def _continued(image: Image, by: int) -> Image:
    """Values and mask with a mirrored border."""
    around = [(0, 0), (by, by), (by, by)]
    return np.pad(image[0], around, mode="symmetric"), np.pad(image[1], around, mode="symmetric")


def _pieces(pairs: Sequence[Pair], scale: int) -> list[Pair]:
    """The parts of the windows, none larger than needed, with the most pixels that are valid in both."""
    parts: list[tuple[float, Pair]] = []
    for (low, low_valid), (high, high_valid) in pairs:
        spans = [_cut(n) for n in low.shape[1:]]
        for rows in spans[0]:
            for cols in spans[1]:
                here = np.s_[:, rows, cols]
                fine = np.s_[:, scale * rows.start : scale * rows.stop, scale * cols.start : scale * cols.stop]
                share = float(low_valid[here].mean()) * float(high_valid[fine].mean())
                parts.append((share, ((low[here], low_valid[here]), (high[fine], high_valid[fine]))))
    parts.sort(key=lambda part: -part[0])  # stable: of equal ones the first
    return [pair for _, pair in parts[:_BLUR_WINDOWS]]


def _cut(length: int) -> list[slice]:
    """A side in one piece, or in several of about 64 LR pixels."""
    count = 1 if length <= _BLUR_SIDE else -(-length // 64)
    ends = [length * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def _believed(blur: PairBlur) -> bool:
    """Whether the shift is better than none: it lies inside of its range and explains what no shift does not."""
    return "range" not in blur.reason and blur.misfit < 0.95 * blur.misfit_default


def _psf(blur: PairBlur | None, stated: tuple[Psf, str] | None, notes: list[str]) -> tuple[Psf, str]:
    if stated is None:
        if blur is None or "range" in blur.reason:
            notes.append(f"the blur is taken to be {DEFAULT}; state it with --degradation if it is known")
            return DEFAULT, "default"
        return blur.psf, "estimate"
    return stated


def _contradicts(stated: Psf, blur: PairBlur, scale: int) -> bool:
    """Whether a fit that is to be believed gives a width that is more than a quarter off the stated one."""
    return not blur.reason and abs(_width(stated, scale) / blur.sigma - 1) > _APART


def _width(psf: Psf, scale: int) -> float:
    """Sigma in HR pixels of the Gaussian with the same mean gain at the LR Nyquist frequency."""
    known = psf.sigma_yx(scale)
    if known is not None:
        return math.sqrt(known[0] * known[1])
    shape = (2 * scale, 2 * scale)
    gain = np.abs(psf.operator(shape, scale).otf(shape))
    return float(sigma_from_mtf(min(max(math.sqrt(gain[1, 0] * gain[0, 1]), 1e-3), 0.999), scale))


class _Response:
    """Regression of the degraded MSI on the cube at LR, over pixels that are valid in both.

    Attributes:
        low: `(C, n)` the cube.
        seen: `(B, n)` the MSI as the cube's sensor sees it.
        left: what the blur leaves of the variance of white noise.
    """

    def __init__(self, low: Floats, seen: Floats, left: float) -> None:
        self.low, self.seen, self.left = low, seen, left

    @classmethod
    def of(cls, pairs: Sequence[Pair], scale: int, psf: Psf, shift_yx: tuple[float, float]) -> _Response:
        lows, seens, strict, loose, left = [], [], [], [], 1.0
        for (low, low_valid), (high, high_valid) in pairs:
            operator = psf.operator(high.shape[1:], scale, shift_yx=shift_yx)
            good = high_valid.all(axis=0)
            filled = np.where(high_valid, high, _means(high, high_valid)[:, None, None])
            blocks = good.reshape(low.shape[1], scale, low.shape[2], scale).all(axis=(1, 3))
            reach = 2 * operator.halo + 1
            there = low_valid.all(axis=0)
            strict.append((ndimage.minimum_filter(blocks, reach, mode="constant", cval=0) & there).ravel())
            loose.append((ndimage.minimum_filter(blocks, 3, mode="nearest") & there).ravel())
            lows.append(low.reshape(len(low), -1).astype(np.float64))
            seens.append(operator.apply(filled.astype(np.float64)).reshape(len(high), -1))
            left = noise_left(operator)
        counted = np.concatenate(strict)
        if counted.sum() < _LEAST_PIXELS:  # a scene hardly larger than its PSF: its mirrored border has to do
            counted = np.concatenate(loose)
        low, seen = (np.concatenate(parts, axis=1)[:, counted] for parts in (lows, seens))
        if low.shape[1] < _LEAST_PIXELS:
            raise NoDataError(
                f"expected at least {_LEAST_PIXELS} LR pixels that are valid in cube and MSI, got {low.shape[1]}; "
                "there is too little to fuse (clouds, or a small overlap)"
            )
        return cls(low, seen, left)

    def fit(self, support: Mask | None, order: NDArray[np.intp]) -> tuple[Floats, Floats, Floats]:
        """Response `(B, C)`, offset `(B,)` and relative residual `(B,)`.

        min ‖seen_k - Σ_b srf_kb · low_b - offset_k‖² + λ ‖D srf_k‖², srf ≥ 0, with D the first differences between
        neighbours in wavelength and λ the mean energy of a band times `SMOOTHNESS`.
        """
        low, seen = self.low - self.low.mean(axis=1, keepdims=True), self.seen - self.seen.mean(axis=1, keepdims=True)
        gram, count = low @ low.T / low.shape[1], low.shape[1]
        srf = np.zeros((len(seen), len(low)))
        for row, band in enumerate(seen):
            allowed = np.ones(len(low), dtype=bool) if support is None else support[row]
            at = order[allowed[order]]
            if not at.size:
                continue
            part = gram[np.ix_(at, at)]
            energy = float(np.trace(part)) / at.size
            if energy <= 0:  # all that it may see is constant here
                continue
            steps = np.diff(np.eye(at.size), axis=0)
            normal = part + SMOOTHNESS * energy * steps.T @ steps + 1e-9 * energy * np.eye(at.size)
            root = np.linalg.cholesky(normal)
            aim = np.linalg.solve(root, low[at] @ band / count)
            srf[row, at] = optimize.nnls(root.T, aim)[0]
        offset = self.seen.mean(axis=1) - srf @ self.low.mean(axis=1)
        spread = seen.std(axis=1)
        missed = (seen - srf @ low).std(axis=1)
        return srf, offset, np.divide(missed, spread, out=np.zeros_like(spread), where=spread > 0)


def _means(values: NDArray[Any], valid: Mask) -> Floats:
    return np.array(
        [float(plane[ok].mean()) if ok.any() else 0.0 for plane, ok in zip(values, valid, strict=True)],
        dtype=np.float64,
    )


def _noise(images: Sequence[Image]) -> Floats:
    """`(C,)` noise of each band, never 0 for a band that varies, as weights are divided by it."""
    found = estimate_noise(images)
    spread = np.zeros(len(found))
    for band in range(len(found)):
        held = np.concatenate([values[band][valid[band]] for values, valid in images])
        spread[band] = float(held.std()) if held.size else 0.0
    return np.maximum(np.nan_to_num(found), _CLEAN * spread)


def _noise_msi(images: Sequence[Image], response: _Response, srf: Floats, residual: Floats, noise_lr: Floats) -> Floats:
    """`(B,)` noise of the MSI: from its own differences, or less where the residual of the response leaves less room.

    A few bands explain little of each other's detail, so that texture passes for noise. The residual at LR holds the
    noise of both, averaged by the blur, and what the model does not explain, so it bounds the MSI's. It is taken at its
    largest, two standard errors up and without what the response has fitted of the noise: a bound of nothing, on a
    scene of a hundred pixels, would have the methods copy the MSI's noise.
    """
    own = _noise(images)
    spread, count = response.seen.std(axis=1), response.low.shape[1]
    free = np.maximum(count - (srf > 0).sum(axis=1), 1)
    largest = (residual * spread) ** 2 * (count / free) * (1 + 2 * np.sqrt(2 / free))
    bound = np.sqrt(np.maximum(largest - (srf**2) @ noise_lr**2, 0.0) / response.left)
    return np.asarray(np.maximum(np.minimum(own, bound), _CLEAN * spread))


def _short(value: float) -> float:
    return float(f"{value:.5g}")
