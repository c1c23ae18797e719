"""How noisy each band of a real cube is, estimated from the cube itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import NoDataError

Window = tuple[NDArray[np.floating], NDArray[np.bool_]]
_NEIGHBOURS = 24  # bands that may predict a band where samples are few
_MIN_SAMPLES = 64


def estimate_noise(windows: Sequence[Window]) -> NDArray[np.float64]:
    """Standard deviation of the white noise of each band.

    Horizontal and vertical differences of neighbouring pixels hold twice the noise variance and little of the scene;
    what little they hold is the same in many bands and is removed by regressing each band on the others. The variance
    that the regression leaves is that of the noise (Roger and Arnold, Int. J. Remote Sensing 17, 1996; Bioucas-Dias
    and Nascimento, IEEE TGRS 46, 2008, eq. 14, applied to differences). With one band nothing can be removed: the
    median absolute second difference is used, which texture inflates.

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
    if bands == 1:
        return np.array([_texture_noise(windows)])
    usable = np.array([sum(int(valid[b].sum()) for _, valid in windows) >= _MIN_SAMPLES for b in range(bands)])
    sigma = np.full(bands, np.nan)
    steps = _differences(windows, usable)
    if steps.shape[1] < _MIN_SAMPLES:
        return sigma
    spread = steps.std(axis=1)
    moving = spread > 0
    found = np.zeros(int(usable.sum()))
    found[moving] = _residual_spread(steps[moving] / spread[moving, None]) * spread[moving] / np.sqrt(2.0)
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
        return np.asarray(np.sqrt(left * samples / max(1, samples - bands + 1)))
    count = max(1, min(_NEIGHBOURS, samples // 8, bands - 1))
    spread = np.empty(bands)
    for band in range(bands):
        near = np.argsort(np.abs(np.arange(bands) - band), kind="stable")[1 : count + 1]
        weights, *_ = np.linalg.lstsq(steps[near].T, steps[band], rcond=None)
        left = steps[band] - weights @ steps[near]
        spread[band] = np.sqrt((left**2).sum() / max(1, samples - count))
    return spread


def _texture_noise(windows: Sequence[Window]) -> float:
    """Median absolute second mixed difference of a single band, scaled to a standard deviation."""
    seconds = []
    for values, valid in windows:
        plane, good = np.asarray(values[0], dtype=np.float64), valid[0]
        mixed = plane[1:, 1:] - plane[1:, :-1] - plane[:-1, 1:] + plane[:-1, :-1]
        seconds.append(mixed[good[1:, 1:] & good[1:, :-1] & good[:-1, 1:] & good[:-1, :-1]])
    all_of_it = np.concatenate(seconds)
    if all_of_it.size < _MIN_SAMPLES:
        return float("nan")
    return float(np.median(np.abs(all_of_it)) / 0.67448975 / 2.0)
