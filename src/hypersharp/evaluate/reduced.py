"""The reduced-resolution test: degrade lr once more, run the same method on that, and score it against lr.

Done naively it misleads. Degrading averages the noise of lr away, so the method meets less noise than it will; lr's
noise counts as error of the estimate; and a part of that same noise is in the test's input, which flatters methods that
copy it. So noise b of lr's own level σ is added before degrading, input from lr + b, and taken off again in the
reference, lr - b: the noise of both, variance 2 σ², is then independent (the coupled bootstrap of Oliveira, Lei and
Tibshirani, 2021). More is added to the input until it is as noisy as lr, and σ² is subtracted from the score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube
from hypersharp.degrade.noise_models import Layer
from hypersharp.degrade.noisy import Noisy
from hypersharp.degrade.psf import Psf
from hypersharp.degrade.wald import degrade
from hypersharp.evaluate.reference import cores
from hypersharp.operators import Separable

LEAST_SIDE = 24
"""Pixels below which a side of the test's input says nothing: too few edges, too few blocks."""

Method = Callable[[Cube], Cube]
Floats = NDArray[np.float64]

_HARM_SIDE = 48  # pixels of the input of the test for harm: half a second, and blocks enough
_LEVEL = 0.9
_DRAWS = 2000
_MOST_BLOCKS = 1024
_CORE = 256  # pixels of lr
_STREAM = 7  # of the seed, apart from those of a simulation
_LEAST_ALPHA = 0.1  # a PSF that hardly averages leaves the input a little noisier than lr
_DROWNED = 0.5  # of the noise variance; a band whose bicubic error without the noise is smaller has nothing to tell
_UNSEEN, _NONE = 0.1, 1e-3  # of the noise variance, and of bicubic's error; what counts as no error


@dataclass(frozen=True, eq=False)
class Reduced:
    """What the test says of a method against bicubic: an indication, not a measurement of the gain.

    Attributes:
        gain_db: 10 log10 of bicubic's error over the method's, noise subtracted from both, mean over bands.
        low_db: lower end of the interval by bootstrap over blocks.
        high_db: its upper end.
        input_shape: `(C, h, w)` of what the method was given.
        bands: how many entered the mean.
        bands_left_out: constant, invalid, or with an error that is mostly the noise of lr.
        blocks: how many were drawn from.
        block: their side in pixels of lr.
        gain_of_band: `(C,)`, NaN where a band was left out.
    """

    gain_db: float
    low_db: float
    high_db: float
    input_shape: tuple[int, int, int]
    bands: int
    bands_left_out: int
    blocks: int
    block: int
    gain_of_band: Floats

    @property
    def sign(self) -> Literal["better", "worse", "undecided"]:
        """Whether the interval lies above 0, below, or around it."""
        return "better" if self.low_db > 0 else "worse" if self.high_db < 0 else "undecided"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "run": True,
            "sign": self.sign,
            "gain_db": self.gain_db,
            "interval_db": [self.low_db, self.high_db],
            "interval": "90 % by bootstrap over blocks",
            "input_shape": list(self.input_shape),
            "bands": self.bands,
            "bands_left_out": self.bands_left_out,
            "blocks": self.blocks,
            "block_pixels": self.block,
            "gain_db_of_band": [float(f"{v:.5g}") if np.isfinite(v) else None for v in self.gain_of_band],
        }


@dataclass(frozen=True)
class NotRun:
    """Why the test was not run."""

    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"run": False, "reason": self.reason}


def reduced_test(
    method: Method,
    lr: Cube,
    *,
    scale: int,
    psf: Psf,
    bicubic: Method,
    noise: Floats,
    seed: int,
    shift_yx: tuple[float, float] = (0.0, 0.0),
    least_side: int = LEAST_SIDE,
    progress: Callable[[int, int], None] | None = None,
) -> Reduced | NotRun:
    """Run a method one scale down and compare it with bicubic.

    Args:
        method: makes an estimate of `scale` times as many pixels from a cube; may be lazy.
        lr: what is to be sharpened.
        scale: HR pixels per LR pixel along a side.
        psf: the declared degradation.
        bicubic: the same for bicubic enlargement.
        noise: `(C,)` standard deviation of each band's noise in lr; bands with NaN are left out.
        seed: of the noise that is added, and of the bootstrap.
        shift_yx: how far down and right of its block a pixel of the input looks, in pixels of lr.
        least_side: pixels below which a side of its input says nothing; fewer will do where methods are only compared.
        progress: called with tiles done and tiles in all.

    Returns:
        The comparison, or why there is none.

    Raises:
        UsageError: the PSF cannot be used.
    """
    rows, cols = (size // scale for size in lr.shape[1:])
    if min(rows, cols) < least_side:
        return NotRun(
            f"its input would be {rows} x {cols} pixels, below {least_side} on a side; "
            f"lr needs {least_side * scale} pixels a side at scale {scale}"
        )
    known = np.nan_to_num(noise)
    reference = lr.crop(slice(0, rows * scale), slice(0, cols * scale))
    left = weight_energy(psf.operator(reference.shape[1:], scale))
    # b has variance α·σ² in the input and σ²/α in the reference; less than 1 only where a PSF hardly averages
    alpha = min(1.0, max(_LEAST_ALPHA, 1 / left - 1))
    shaken = _noisier(reference, np.sqrt(alpha) * known, seed, 0)
    clean = degrade(shaken, scale=scale, psf=psf, shift_yx=shift_yx)
    test = _noisier(clean, np.sqrt(max(0.0, 1 - (1 + alpha) * left)) * known, seed, 1)
    side = block_side(reference.shape[1:], scale)
    sums, count = _block_errors(reference, shaken, alpha, (bicubic(test), method(test)), side, progress)
    return _compare(sums, count, noise**2, test.shape, side, seed)


def harm_test(
    method: Method, plain: Method, lr: Cube, *, scale: int, psf: Psf, noise: Floats, seed: int = 0
) -> Reduced | NotRun:
    """`reduced_test` on the middle of a scene, of a method against what would be done without it.

    Args:
        method: whose harm is in question.
        plain: what it must not be worse than.
        lr: what is to be sharpened.
        scale: HR pixels per LR pixel along a side.
        psf: the declared degradation.
        noise: `(C,)` standard deviation of each band's noise in lr; bands with NaN are left out.
        seed: of the noise that is added, and of the bootstrap.
    """
    side = _HARM_SIDE * scale
    starts = [max(0, (n - side) // 2) for n in lr.shape[1:]]
    rows, cols = (slice(at, min(n, at + side)) for at, n in zip(starts, lr.shape[1:], strict=True))
    return reduced_test(method, lr.crop(rows, cols), scale=scale, psf=psf, bicubic=plain, noise=noise, seed=seed)


def _noisier(cube: Cube, sigma: Floats, seed: int, stream: int) -> Cube:
    layer = Layer("gaussian", sigma, np.zeros_like(sigma))
    return replace(cube, values=Noisy(cube.values, (layer,), seed, _STREAM + stream))


def weight_energy(operator: Separable) -> float:
    """Sum of the squared weights of a blur: what it leaves of the variance of white noise."""
    kernel = np.asarray(sum(np.outer(y.weight[0], x.weight[0]) for y, x in operator.terms))
    return float((kernel**2).sum())


def block_side(shape: tuple[int, int], scale: int) -> int:
    """Side of the bootstrap's blocks: longer than errors are alike, and not so short that there are too many."""
    side = 4 * scale
    while -(-shape[0] // side) * -(-shape[1] // side) > _MOST_BLOCKS:
        side *= 2
    return side


def _block_errors(
    reference: Cube,
    shaken: Cube,
    alpha: float,
    estimates: tuple[Cube, Cube],
    side: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[Floats, Floats]:
    """Sums of the squared errors of both estimates `(2, blocks, C)`, and numbers of values `(blocks, C)`.

    With e = estimate - lr and b' = (shaken - lr) / α, what is summed is (e + b')² - b'² = e·(e + 2 b').
    """
    height, width = reference.shape[1:]
    across = -(-width // side)
    blocks = -(-height // side) * across
    sums = np.zeros((2, blocks, reference.shape[0]))
    count = np.zeros((blocks, reference.shape[0]))
    parts = list(cores((height, width), 0, max(side, _CORE // side * side)))
    for done, (rows, cols) in enumerate(parts):
        window = {"rows": slice(*rows), "cols": slice(*cols)}
        (true, valid), (moved, _) = reference.read(**window), shaken.read(**window)
        read = [estimate.read(**window) for estimate in estimates]
        both = valid & read[0][1] & read[1][1]
        index = (np.arange(*rows) // side)[:, None] * across + np.arange(*cols) // side
        for band, kept in enumerate(both):
            at, known = index[kept], true[band][kept].astype(np.float64)
            twice = 2 * (moved[band][kept] - known) / alpha
            count[:, band] += np.bincount(at, minlength=blocks)
            for which, (values, _) in enumerate(read):
                error = values[band][kept] - known
                sums[which, :, band] += np.bincount(at, error * (error + twice), minlength=blocks)
        if progress is not None:
            progress(done + 1, len(parts))
    return sums, count


def _compare(
    sums: Floats, count: Floats, variance: Floats, shape: tuple[int, int, int], side: int, seed: int
) -> Reduced | NotRun:
    blocks = np.flatnonzero(count.any(axis=1))
    sums, count = sums[:, blocks], count[blocks]
    total = count.sum(axis=0)
    error = np.divide(sums.sum(axis=1), total, out=np.zeros_like(sums[:, 0]), where=total > 0) - variance
    kept = np.flatnonzero(error[0] > _DROWNED * variance)  # NaN is not
    if not kept.size:
        return NotRun("in every band what bicubic gets wrong is less than the noise of lr, or nothing")
    # an error below this cannot be told from none
    floor = np.maximum(_NONE * error[0, kept], _UNSEEN * variance[kept])

    def gain(found: Floats) -> Floats:
        first, second = np.maximum(found, floor)
        return np.asarray(10 * np.log10(first / second))

    of_band = np.full(len(variance), np.nan)
    of_band[kept] = gain(error[:, kept])
    chance = np.full(len(blocks), 1 / len(blocks))
    draws = np.random.default_rng((seed, _STREAM)).multinomial(len(blocks), chance, _DRAWS)
    number = np.maximum(draws @ count[:, kept], 1)
    again = gain(np.array([draws @ part[:, kept] / number - variance[kept] for part in sums])).mean(axis=1)
    low, high = np.quantile(again, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Reduced(
        gain_db=float(np.mean(of_band[kept])),
        low_db=float(low),
        high_db=float(high),
        input_shape=shape,
        bands=len(kept),
        bands_left_out=len(of_band) - len(kept),
        blocks=len(blocks),
        block=side,
        gain_of_band=of_band,
    )
