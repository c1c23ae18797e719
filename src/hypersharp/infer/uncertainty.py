"""How far off a sharpened value may be: a Laplace scale b for every pixel and band, from the LR scene alone.

What a sharper image adds is where the LR scene is rough: at edges and in texture, that is, and in proportion to them. So
b is a sum of local roughness, of the roughness of all bands at the place, and of noise, each with a weight that was
fitted once by Laplace's likelihood on scenes with a known truth (`benchmarks/uncertainty.py`), and a factor for the blur
and for how fine the scene's structure is. Every term is proportional to the values, so b is in their units whatever
these are. Made at LR and enlarged bilinearly: it costs a fraction of sharpening, needs no sharpened value, and a tile
needs three pixels around it. Of an error with density exp(-|e|/b)/2b the mean size is b, and 90 % lie within 2.303·b.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Source, all_valid, trivial_mask
from hypersharp.cube.source import BandIndex, Mask, Values
from hypersharp.errors import NoDataError
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

_GROUP_BYTES = 1 << 22
_LAPLACIAN_NOISE, _STEP_NOISE = 1.25, 2.0  # variance of either map's values on white noise of unit variance
_LEFT = 0.02  # of the roughness squared that stays where noise accounts for all of it
_SMOOTHEST, _ROUGHEST = -1.5, 0.2  # decades are bounded to where there was training: ln of Laplacian over step
_KEPT = 2  # regions


@dataclass(frozen=True)
class Law:
    """Weights of the terms of b for one scale and kind of method; see `Fitted.terms` for what the terms are.

    Attributes:
        weights: of the terms, in their order.
        blur: exponent of `s²·Σ k²`, k the kernel of the PSF: of a wide one, LR is smooth and hides more.
        fineness: exponent of the ratio of Laplacian to step of a band.
    """

    weights: tuple[float, ...]
    blur: float
    fineness: float


# python benchmarks/uncertainty.py --fit, on the train scenes of recipes/default/x4.toml alone.
LAWS: dict[tuple[str, int], Law] = {
    ("network", 4): Law((1.0, 0.1, 0.1, 0.02, 0.4, 0.1, 0.2, 0.1), 0.0, 0.0),
}


def law_for(scale: int, *, network: bool) -> Law:
    """The law of the nearest scale that was fitted, the larger one of two."""
    kind = "network" if network else "bicubic"
    known = [of for name, of in LAWS if name == kind]
    return LAWS[kind, min(known, key=lambda of: (abs(of - scale), -of))]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What is decided once per scene.

    Attributes:
        law: the weights.
        noise: `(C,)` standard deviation of each band's noise, 0 where it is not known.
        laplacian: `(C,)` root mean square of each band's Laplacian, noise included.
        step: `(C,)` that of the steps between neighbours.
        passed: `Σ k²`, the part of white noise's variance that the PSF lets through.
        scale: HR pixels per LR pixel along a side.
    """

    law: Law
    noise: NDArray[np.float64]
    laplacian: NDArray[np.float64]
    step: NDArray[np.float64]
    passed: float
    scale: int

    @property
    def drowned(self) -> NDArray[np.float64]:
        """`(C,)` part of the Laplacian's power that is noise, 0 to 1."""
        return np.minimum(_share(_LAPLACIAN_NOISE * self.noise**2, self.laplacian**2), 1.0)

    @property
    def clean(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`(C,)` Laplacian and step without their noise."""
        return (
            _without(self.laplacian**2, _LAPLACIAN_NOISE * self.noise**2),
            _without(self.step**2, _STEP_NOISE * self.noise**2),
        )

    @property
    def confidence(self) -> NDArray[np.float64]:
        """`(C,)` weights of the bands in what is common to them, sum 1; those with noise hardly count."""
        weight = np.where(self.laplacian > 0, (1 - self.drowned) ** 2 + 1e-3, 0.0)
        return weight / max(float(weight.sum()), 1e-300)

    @property
    def factor(self) -> NDArray[np.float64]:
        """`(C,)` for the blur and the fineness of each band's structure."""
        laplacian, step = self.clean
        fineness = np.log(np.maximum(_share(laplacian, step), 1e-3))
        blur = self.law.blur * np.log(self.passed * self.scale**2)
        return np.exp(blur + self.law.fineness * np.clip(fineness, _SMOOTHEST, _ROUGHEST))

    @property
    def even(self) -> NDArray[np.float64]:
        """`(C, 4)` terms that are the same everywhere in a band.

        Its noise; the noise that HR must have had for what is left of it where a band holds nothing else; that noise
        where it is less than the roughness; the roughness itself.
        """
        rough, _ = self.clean
        sharper = self.noise / np.sqrt(self.passed)
        bounded = sharper * _share(rough, sharper + rough)
        return np.stack([self.noise, self.drowned**2 * sharper, bounded, rough], axis=1)

    def terms(
        self, laplacian: Values, step: Values, common: tuple[Values, Values], bands: slice | NDArray[np.intp]
    ) -> list[Values]:
        """The terms that differ from place to place, `(C', h, w)` each, for the picked bands.

        Args:
            laplacian: `(C', h, w)` mean square over 3 × 3 pixels.
            step: `(C', h, w)` squared.
            common: `(h, w)` each: what all bands say of either, 1 in the mean.
            bands: which of the scene's.

        Returns:
            The band's own Laplacian, that of all bands in its size, its own steps, and those of all bands.
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
    laplacian, step = _mean_squares(scene.windows)
    return Fitted(
        law,
        np.nan_to_num(scene.noise, posinf=0.0),
        np.sqrt(laplacian),
        np.sqrt(step),
        float((np.asarray(kernel) ** 2).sum()),
        operator.shape_in[0] // operator.shape_out[0],
    )


def _mean_squares(windows: list[Window]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`(C,)` means over the valid pixels of a sample: of the squared Laplacian, and of the squared steps."""
    sums, count = np.zeros((2, len(windows[0][1]))), np.zeros(len(windows[0][1]))
    for _, values, valid in windows:
        filled = fill_invalid(values.copy(), valid, HALO)
        for band, plane in enumerate(filled):
            known = valid[band]
            for which, found in enumerate(_roughness(plane[None].astype(np.float64))):
                sums[which, band] += found[0][known].sum()
            count[band] += known.sum()
    return sums[0] / np.maximum(count, 1), sums[1] / np.maximum(count, 1)


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
class ErrorScale:
    """Source of b; computed where it is read, the same whatever region is asked for.

    Attributes:
        lr: the source that is sharpened.
        fitted: of the scene.
        core: rows and columns of LR pixels in which it is best read.
    """

    lr: Source
    fitted: Fitted
    core: tuple[int, int]
    _recent: OrderedDict[tuple[Span, Span], _Ready] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C, s·H, s·W)`."""
        bands, height, width = self.lr.shape
        return bands, height * self.fitted.scale, width * self.fitted.scale

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32: more digits would say nothing."""
        return np.dtype(np.float32)

    @property
    def complete(self) -> bool:
        """As the input."""
        return self.lr.complete

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the LR source."""
        return self.lr.files

    @property
    def block(self) -> tuple[int, int, int]:
        """Bands, HR rows and HR columns in which to read."""
        rows, cols = (n * self.fitted.scale for n in self.core)
        return max(1, _GROUP_BYTES // (rows * cols * self.dtype.itemsize)), rows, cols

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """b and valid mask of an HR window; see `Source.read`."""
        count, height, width = self.shape
        (r0, r1, _), (c0, c1, _) = rows.indices(height), cols.indices(width)
        pick: slice | NDArray[np.intp] = bands if isinstance(bands, slice) else np.arange(count)[list(bands)]
        chosen = len(np.arange(count)[pick])
        if r0 >= r1 or c0 >= c1:
            empty = (chosen, max(0, r1 - r0), max(0, c1 - c0))
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

    def _of_lr(self, ready: _Ready, pick: slice | NDArray[np.intp]) -> Values:
        """`(C', h, w)` b of the picked bands at LR."""
        lr, fitted = ready.lr[pick], self.fitted
        laplacian, step = _roughness(lr)
        weights = fitted.law.weights
        even = (fitted.even[pick] @ np.array(weights[:4])).astype(lr.dtype)
        b = np.broadcast_to(even[:, None, None], lr.shape).copy()
        for weight, term in zip(
            weights[4:], fitted.terms(_smooth(laplacian), step, ready.common, pick), strict=True
        ):
            if weight:
                b += lr.dtype.type(weight) * term
        b *= fitted.factor[pick].astype(lr.dtype)[:, None, None]
        return b

    def _ready(self, hr_rows: Span, hr_cols: Span) -> _Ready:
        """What the bands of a region share; kept for the latest regions."""
        with self._lock:
            if (hr_rows, hr_cols) not in self._recent:
                while len(self._recent) >= _KEPT:
                    self._recent.popitem(last=False)
                self._recent[hr_rows, hr_cols] = self._prepare(hr_rows, hr_cols)
            return self._recent[hr_rows, hr_cols]

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
        group = max(1, _GROUP_BYTES // max(1, lr[0].nbytes))
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
