"""How far off a sharpened value may be: a Laplace scale b for every pixel and band, from the LR scene alone.

What a sharper image adds is where the LR scene is rough, at edges and in texture, and in proportion to that. So b is a
sum of local roughness, of the roughness of all bands at the place, and of noise, each with a weight that was fitted
once by Laplace's likelihood on scenes with a known truth (`benchmarks/uncertainty.py`), and a factor for the blur.
Every term is proportional to the values, so b is in their units whatever these are. Made at LR and enlarged bilinearly,
it costs a fraction of sharpening, needs no sharpened value, and a tile needs three pixels around it. Of an error with
density exp(-|e|/b)/2b the mean size is b, and 90 % lie within 2.303·b.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp import _version
from hypersharp.cube import Cube, Source, all_valid, trivial_mask
from hypersharp.cube.source import BandIndex, Mask, Values
from hypersharp.errors import NoDataError
from hypersharp.infer.enlarged import GROUP_BYTES, Enlarged, Latest, Pick
from hypersharp.infer.fill import fill_invalid
from hypersharp.infer.fit import SceneFit
from hypersharp.infer.sample import Window
from hypersharp.infer.tiles import Span
from hypersharp.operators import Separable

NINETY = 2.303
"""Times b: half of the interval that holds 90 % of errors of this law, ln 10."""
HALO = 3
"""LR pixels around a region that its b depends on: two for the roughness, one for the enlargement."""
LEAST_SIDE = 4
"""LR pixels below which a side says nothing about roughness."""

_LAPLACIAN_NOISE, _STEP_NOISE = 1.25, 2.0  # variance of either map's values on white noise of unit variance
_LEFT = 0.02  # of the roughness squared that stays where noise accounts for all of it
_LEAST_CONFIDENCE = 1e-3
_KEPT = 2  # regions


@dataclass(frozen=True)
class Law:
    """Weights of the terms of b for one scale and kind of method.

    Attributes:
        even: of those that are the same all over a band, as `Fitted.even` has them.
        uneven: of those that are not, as `Fitted.uneven` has them.
        blur: exponent of `s²·Σ k²`, k the kernel of the PSF, in all but the noise: of a wide one, LR is smooth and
            hides more.
    """

    even: tuple[float, float, float, float]
    uneven: tuple[float, float, float, float]
    blur: float


# python benchmarks/uncertainty.py --fit, on the train scenes of recipes/default/x4.toml alone.
LAWS: dict[tuple[str, int], Law] = {
    ("network", 2): Law((0.592, 0.798, 0.0, 0.0173), (0.248, 0.0397, 0.0724, 0.0), -0.637),
    ("network", 4): Law((0.48, 0.798, 0.0, 0.0279), (0.313, 0.185, 0.16, 0.0), -0.506),
    ("bicubic", 2): Law((0.599, 0.798, 0.0, 0.0159), (0.276, 0.0245, 0.0867, 0.0), -0.627),
    ("bicubic", 3): Law((0.623, 0.798, 0.0, 0.0196), (0.436, 0.05, 0.0813, 0.0), -0.607),
    ("bicubic", 4): Law((0.49, 0.798, 0.00707, 0.0265), (0.334, 0.152, 0.174, 0.0), -0.535),
    ("bicubic", 8): Law((0.0982, 0.798, 0.137, 0.0187), (0.437, 0.363, 0.184, 0.0), -0.554),
}


def law_for(scale: int, *, network: bool) -> Law:
    """The law of the nearest scale that was fitted, the larger one of two; a network's where no other was."""
    kind = "network" if network else "bicubic"
    held = [key for key in LAWS if key[0] == kind] or list(LAWS)
    return LAWS[min(held, key=lambda key: (abs(key[1] - scale), -key[1]))]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What is decided once per scene.

    Attributes:
        law: the weights.
        noise: `(C,)` standard deviation of each band's noise, 0 where it is not known.
        laplacian: `(C,)` root mean square of each band's Laplacian, noise included.
        step: `(C,)` that of the steps between neighbours.
        spread: `(C,)` standard deviation of each band.
        passed: `Σ k²`, the part of white noise's variance that the PSF lets through.
        scale: HR pixels per LR pixel along a side.
    """

    law: Law
    noise: NDArray[np.float64]
    laplacian: NDArray[np.float64]
    step: NDArray[np.float64]
    spread: NDArray[np.float64]
    passed: float
    scale: int

    @cached_property
    def clean(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`(C,)` Laplacian and step without their noise."""
        return (
            _without(self.laplacian**2, _LAPLACIAN_NOISE * self.noise**2),
            _without(self.step**2, _STEP_NOISE * self.noise**2),
        )

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """`(C,)` weights of the bands in what is common to them, sum 1; those with noise hardly count."""
        noisy = np.minimum(_share(_LAPLACIAN_NOISE * self.noise**2, self.laplacian**2), 1.0)
        weight = np.where(self.laplacian > 0, (1 - noisy) ** 2 + _LEAST_CONFIDENCE, 0.0)
        return np.asarray(weight / max(float(weight.sum()), 1e-300))

    @cached_property
    def blurred(self) -> float:
        """Factor for the blur."""
        return float((self.passed * self.scale**2) ** self.law.blur)

    @cached_property
    def even(self) -> NDArray[np.float64]:
        """`(C, 4)` terms that are the same all over a band.

        Its noise; the noise that HR has where the band holds nothing but noise, the PSF having averaged it; the same
        where there is more in the band, bounded by its roughness; and that roughness.
        """
        rough, _ = self.clean
        sharper = self.noise / np.sqrt(self.passed)
        buried = np.minimum(_share(self.noise**2, self.spread**2), 1.0)
        bounded = sharper * _share(rough, sharper + rough)
        return np.stack([self.noise, buried * sharper, bounded, self.blurred * rough], axis=1)

    def uneven(
        self, laplacian: Values, step: Values, common: tuple[Values, Values], bands: slice | NDArray[np.intp]
    ) -> list[Values]:
        """The terms that differ from place to place, `(C', h, w)` each, for the picked bands.

        Args:
            laplacian: `(C', h, w)` mean square over 3 × 3 pixels.
            step: `(C', h, w)` squared.
            common: `(h, w)` each: what all bands say of either, 1 in the mean.
            bands: which of the scene's.

        Returns:
            The band's own Laplacian, that of all bands in its size, its own steps, and those of all bands; to be
            multiplied by `blurred`.
        """
        noise2 = (self.noise[bands] ** 2).astype(laplacian.dtype)[:, None, None]
        rough, steep = (value[bands].astype(laplacian.dtype)[:, None, None] for value in self.clean)
        return [
            _without(laplacian, _LAPLACIAN_NOISE * noise2),
            rough * common[0],
            _without(step, _STEP_NOISE * noise2),
            steep * common[1],
        ]


def fit_uncertainty(scene: SceneFit, operator: Separable, law: Law) -> Fitted:
    """Measure what b needs to know of a scene, on its sample.

    Args:
        scene: the scene's sample and noise.
        operator: the degradation of the whole scene, HR to LR.
        law: weights of the terms.

    Raises:
        NoDataError: the scene is too small to say anything of its roughness.
    """
    if min(operator.shape_out) < LEAST_SIDE:
        rows, cols = operator.shape_out
        raise NoDataError(
            f"how rough a scene is takes at least {LEAST_SIDE} x {LEAST_SIDE} pixels, got {rows} x {cols}; "
            "leave out the uncertainty"
        )
    kernel = sum(np.outer(y.weight[len(y.weight) // 2], x.weight[len(x.weight) // 2]) for y, x in operator.terms)
    laplacian, step, spread = _sizes(scene.windows)
    return Fitted(
        law,
        np.nan_to_num(scene.noise, posinf=0.0),
        laplacian,
        step,
        spread,
        float((np.asarray(kernel) ** 2).sum()),
        operator.shape_in[0] // operator.shape_out[0],
    )


def described(cube: Cube) -> Cube:
    """A cube of b that says so, in the names of its bands, its description and its history."""
    names = tuple(f"expected error of {cube.bands.label(band)}" for band in range(len(cube.bands)))
    about = f"Laplace scale b: expected absolute error; 90 % interval is the sharpened value ± {NINETY} b"
    told = replace(cube, bands=replace(cube.bands, name=names), attrs={**cube.attrs, "description": about})
    return told.with_history(f"hypersharp {_version.__version__} uncertainty: {about}; of the file beside this one")


def _sizes(windows: list[Window]) -> NDArray[np.float64]:
    """`(3, C)` over the valid pixels of a sample: root mean square of the Laplacian and of the steps, and spread."""
    sums, count = np.zeros((4, len(windows[0][1]))), np.zeros(len(windows[0][1]))
    middle = [float(plane[known].mean()) if known.any() else 0.0 for plane, known in zip(*windows[0][1:], strict=True)]
    for _, values, valid in windows:
        filled = fill_invalid(values.copy(), valid, HALO)
        for band, plane in enumerate(filled):
            known, away = valid[band], plane[None].astype(np.float64) - middle[band]
            for which, found in enumerate((*_roughness(away), away * away, away)):
                sums[which, band] += found[0][known].sum()
            count[band] += known.sum()
    laplacian, step, power, mean = sums / np.maximum(count, 1)
    return np.sqrt([laplacian, step, np.maximum(power - mean**2, 0.0)])


def _roughness(lr: Values) -> tuple[Values, Values]:
    """`(C, h, w)` squared difference to the mean of four neighbours, and mean of the four squared differences."""
    held = np.pad(lr, ((0, 0), (1, 1), (1, 1)), mode="edge")
    total, squares = np.zeros_like(lr), np.zeros_like(lr)
    for near in (held[:, 2:, 1:-1], held[:, :-2, 1:-1], held[:, 1:-1, 2:], held[:, 1:-1, :-2]):
        away = near - lr
        total += away
        squares += away * away
    total *= 0.25
    squares *= 0.25
    return total * total, squares


def _smooth(planes: Values) -> Values:
    """Mean over 3 × 3 pixels of the last two axes; sums in a fixed order, so that tiles agree to the last bit."""
    held = np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = held[:, :-2] + held[:, 1:-1] + held[:, 2:]
    mean: Values = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / planes.dtype.type(9)
    return mean


def _without(power: Any, noise: Any) -> Any:
    """Root of a mean square less that of noise, which never takes all."""
    return np.sqrt(np.maximum(power - noise, _LEFT * power))


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


@dataclass(frozen=True, eq=False)
class _Ready:
    """What the bands of a region share.

    Attributes:
        lr: `(C, h, w)` values, invalid pixels filled.
        valid: `(C, h, w)`.
        common: `(h, w)` each, of Laplacian and steps.
        start: row and column of the LR plane at which they start.
    """

    lr: Values
    valid: Mask
    common: tuple[Values, Values]
    start: tuple[int, int]


@dataclass(frozen=True, eq=False)
class ErrorScale(Enlarged):
    """Source of b; computed where it is read, the same whatever region is asked for.

    Attributes:
        lr: the source that is sharpened.
        fitted: of the scene.
        core: rows and columns of LR pixels in which it is best read.
    """

    lr: Source
    fitted: Fitted
    core: tuple[int, int]
    _latest: Latest[tuple[Span, Span], _Ready] = field(default_factory=Latest, repr=False)

    @property
    def _pieces(self) -> tuple[int, tuple[int, int]]:
        return self.fitted.scale, self.core

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """Values of b and valid mask of an HR window; see `Source.read`."""
        (r0, r1, _), (c0, c1, _) = rows.indices(self.shape[1]), cols.indices(self.shape[2])
        pick, count = self._picked(bands)
        if r0 >= r1 or c0 >= c1:
            empty = (count, max(0, r1 - r0), max(0, c1 - c0))
            return np.empty(empty, self.dtype), np.empty(empty, dtype=bool)
        ready = self._ready((r0, r1), (c0, c1))
        at_lr = self._of_lr(ready, pick)
        for axis, (low, high) in ((1, (r0, r1)), (2, (c0, c1))):
            at_lr = _enlarge(at_lr, (low, high), ready.start[axis - 1], self.fitted.scale, axis)
        out = at_lr.astype(self.dtype)
        if all_valid(ready.valid):
            return out, trivial_mask(out.shape)
        y, x = (np.arange(*span) // self.fitted.scale for span in ((r0, r1), (c0, c1)))
        valid = ready.valid[pick][:, y - ready.start[0]][:, :, x - ready.start[1]]
        out[~valid] = np.nan
        return out, valid

    def _of_lr(self, ready: _Ready, pick: Pick) -> Values:
        """`(C', h, w)` b of the picked bands at LR."""
        lr, fitted = ready.lr[pick], self.fitted
        laplacian, step = _roughness(lr)
        even = (fitted.even[pick] @ np.array(fitted.law.even)).astype(lr.dtype)
        b: Values = np.broadcast_to(even[:, None, None], lr.shape).copy()
        terms = fitted.uneven(_smooth(laplacian), step, ready.common, pick)
        for weight, term in zip(fitted.law.uneven, terms, strict=True):
            if weight:
                b += lr.dtype.type(weight * fitted.blurred) * term
        return b

    def _ready(self, hr_rows: Span, hr_cols: Span) -> _Ready:
        """What the bands of a region share; kept for the latest regions."""
        return self._latest.get((hr_rows, hr_cols), lambda: self._prepare(hr_rows, hr_cols), keep=_KEPT)

    def _prepare(self, hr_rows: Span, hr_cols: Span) -> _Ready:
        scale = self.fitted.scale
        rows, cols = (
            (max(0, low // scale - HALO), min(size, -(-high // scale) + HALO))
            for (low, high), size in zip((hr_rows, hr_cols), self.lr.shape[1:], strict=True)
        )
        lr, valid = self.lr.read(slice(None), slice(*rows), slice(*cols))
        lr = fill_invalid(lr, valid, HALO)
        sums = [np.zeros(lr.shape[1:], lr.dtype) for _ in range(2)]
        shares = [_share(self.fitted.confidence, size) for size in (self.fitted.laplacian, self.fitted.step)]
        group = max(1, GROUP_BYTES // max(1, lr[0].nbytes))
        for at in (slice(first, first + group) for first in range(0, len(lr), group)):
            for which, found in enumerate(_roughness(lr[at])):
                sums[which] += np.tensordot(shares[which][at].astype(lr.dtype), np.sqrt(found), axes=1)
        return _Ready(lr, valid, (_smooth(sums[0][None])[0], sums[1]), (rows[0], cols[0]))


def _enlarge(planes: Values, span: Span, start: int, scale: int, axis: int) -> Values:
    """Bilinear enlargement along an axis to the HR pixels of a span; `planes` start at the LR pixel `start`."""
    at = (np.arange(*span) + 0.5) / scale - 0.5 - start
    low = np.floor(at).astype(np.intp)
    part = (at - low).astype(planes.dtype)
    last = planes.shape[axis] - 1
    one, other = (np.take(planes, np.clip(low + step, 0, last), axis=axis) for step in (0, 1))
    shape = [1, 1, 1]
    shape[axis] = -1
    other -= one
    other *= part.reshape(shape)
    other += one
    return other
