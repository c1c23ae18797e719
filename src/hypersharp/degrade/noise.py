"""How noisy each band of a real cube is, estimated from the cube itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import NoDataError

Window = tuple[NDArray[np.floating], NDArray[np.bool_]]
_NEIGHBOURS = 24  # bands that may predict a band where samples are few
_MIN_SAMPLES = 64
# Samples that a predictor takes. Each pixel is in four differences, and noise fits noise best along the directions that
# most of it lies in: with L the Laplacian of the grid, tr(L²) / tr(L) = 5 of the 2 that each difference has.
_TAKEN = 2.5
_FEW = 16  # bands up to which regression leaves much of the scene, so that its smoothest places are asked
_BLOCK = 6  # pixels along a side of a place; even
_SMOOTHEST, _LEAST_PLACES = 0.1, 16  # share of all places, and how many at least
# Mixed differences of a place that hold nothing of the means of 2 x 2 pixels: not those of one pixel of each of four.
_APART = (np.indices((_BLOCK - 1, _BLOCK - 1)) % 2 == 0).any(axis=0)


def estimate_noise(windows: Sequence[Window]) -> NDArray[np.float64]:
    """Standard deviation of the white noise of each band.

    Horizontal and vertical differences of neighbouring pixels hold twice the noise variance and little of the scene;
    what little they hold is the same in many bands and is removed by regressing each band on the others. The variance
    that the regression leaves is that of the noise (Roger and Arnold, Int. J. Remote Sensing 17, 1996; Bioucas-Dias
    and Nascimento, IEEE TGRS 46, 2008, eq. 14, applied to differences).

    Up to 16 bands leave much of the scene in each other's differences. There the mixed second differences of the
    smoothest tenth of all places are taken, and regressed where there is more than one band. Smooth are places whose
    means of 2 x 2 pixels vary little; differences that hold nothing of these means are taken, so that no place is
    chosen for its noise. On five AVIRIS scenes seen in 1 or 4 broad bands the result is 1.00 to 1.12 times a
    noise of 30 dB and 1.00 to 1.49 times one of 40 dB, where the differences of all places give up to 13 times
    (`python benchmarks/judgement.py noise`).

    Args:
        windows: pieces of one scene, each `(values (C, h, w), valid (C, h, w))`, all with the same `C`.

    Returns:
        `(C,)` in the units of the values; 0 for constant bands, NaN for bands without enough valid pixels.

    Raises:
        NoDataError: there is no window.
    """
    if not windows:
        raise NoDataError("expected at least one window to estimate the noise from")
    bands = windows[0][0].shape[0]
    usable = np.array([sum(int(valid[b].sum()) for _, valid in windows) >= _MIN_SAMPLES for b in range(bands)])
    sigma = np.full(bands, np.nan)
    steps, terms = _smoothest(windows, usable) if bands <= _FEW else None, 4
    if steps is None:
        steps, terms = _differences(windows, usable), 2
    if steps.shape[1] < _MIN_SAMPLES:
        return sigma
    spread = steps.std(axis=1)
    moving = spread > 0
    found = np.zeros(int(usable.sum()))
    found[moving] = _residual_spread(steps[moving] / spread[moving, None]) * spread[moving] / np.sqrt(terms)
    sigma[usable] = found
    return sigma


def _differences(windows: Sequence[Window], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`(C', n)` differences between horizontal and vertical neighbours that are valid in all usable bands."""
    parts = []
    for values, valid in windows:
        kept = np.asarray(values[usable], dtype=np.float64)
        good = np.asarray(valid[usable].all(axis=0))
        across, both = kept[:, :, 1:] - kept[:, :, :-1], good[:, 1:] & good[:, :-1]
        down, pair = kept[:, 1:] - kept[:, :-1], good[1:] & good[:-1]
        parts += [across[:, both], down[:, pair]]
    return np.concatenate(parts, axis=1) if parts else np.zeros((int(usable.sum()), 0))


def _residual_spread(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread of each row of `(C, n)` that the other rows do not predict; rows have unit spread."""
    bands, samples = steps.shape
    if samples > 4 * bands:
        # The inverse covariance holds the residual variance of every regression at once.
        covariance = steps @ steps.T / samples
        covariance[np.diag_indices(bands)] += 1e-9
        left = 1.0 / np.diag(np.linalg.inv(covariance))
        return np.asarray(np.sqrt(left * samples / max(1.0, samples - _TAKEN * (bands - 1))))
    count = max(1, min(_NEIGHBOURS, samples // 8, bands - 1))
    spread = np.empty(bands)
    for band in range(bands):
        near = np.argsort(np.abs(np.arange(bands) - band), kind="stable")[1 : count + 1]
        weights, *_ = np.linalg.lstsq(steps[near].T, steps[band], rcond=None)
        left = steps[band] - weights @ steps[near]
        spread[band] = np.sqrt((left**2).sum() / max(1.0, samples - _TAKEN * count))
    return spread


def _smoothest(windows: Sequence[Window], usable: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """`(C', n)` mixed second differences of the smoothest places, or None where places are too few.

    A place is a block of `_BLOCK` x `_BLOCK` pixels that are valid in all usable bands. One without any variation in a
    band that varies elsewhere is filled or saturated, and left out.
    """
    if not usable.any():
        return None
    rough, steps = [], []
    for values, valid in windows:
        rows, cols = (size // _BLOCK * _BLOCK for size in values.shape[1:])
        kept = np.asarray(values[usable, :rows, :cols], dtype=np.float64)
        places = _blocks(kept)
        good = _blocks(np.asarray(valid[usable, :rows, :cols].all(axis=0))[None])[0].all(axis=(1, 2))
        places = places[:, good]
        half = _BLOCK // 2
        means = places.reshape(len(kept), -1, half, 2, half, 2).mean(axis=(3, 5))
        mixed = np.diff(np.diff(places, axis=2), axis=3)
        rough.append(means.var(axis=(2, 3)))
        steps.append(mixed[:, :, _APART])
    variance, found = np.concatenate(rough, axis=1), np.concatenate(steps, axis=1)
    live = ((variance > 0) | ~(variance > 0).any(axis=1, keepdims=True)).all(axis=0)
    variance, found = variance[:, live], found[:, live]
    if variance.shape[1] < _LEAST_PLACES:
        return None
    scale = variance.mean(axis=1, keepdims=True)
    share = np.divide(variance, scale, out=np.zeros_like(variance), where=scale > 0).mean(axis=0)
    smooth = np.argsort(share, kind="stable")[: max(_LEAST_PLACES, int(_SMOOTHEST * len(share)))]
    return found[:, smooth].reshape(len(found), -1)


def _blocks(planes: NDArray[Any]) -> NDArray[Any]:
    """`(C, h, w)` as `(C, places, _BLOCK, _BLOCK)`."""
    bands, rows, cols = planes.shape
    cut = planes.reshape(bands, rows // _BLOCK, _BLOCK, cols // _BLOCK, _BLOCK)
    return cut.swapaxes(2, 3).reshape(bands, -1, _BLOCK, _BLOCK)
