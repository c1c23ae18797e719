"""Invalid LR pixels near valid ones, filled from these, so that interpolation never sees no-data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import all_valid

_FURTHEST = 8


def reach_of(method_halo: int, operator_halo: int = 0) -> int:
    """LR pixels into no-data that must be filled: as far as what is computed for a valid pixel reads.

    Args:
        method_halo: LR pixels that the estimate reads around its own; of a network's, eight are filled.
        operator_halo: LR pixels that the degradation reads around its own; 0 where none follows the estimate.
    """
    return min(method_halo, _FURTHEST) + operator_halo


def fill_invalid(values: NDArray[Any], valid: NDArray[np.bool_], reach: int) -> NDArray[Any]:
    """Replace invalid pixels by the mean of the known ones in their 3 × 3 neighbourhood, `reach` times over.

    The result at a pixel depends on no pixel further away than `reach`, so tiles agree. Pixels that are still out of
    reach become the mean of nothing, 0.

    Args:
        values: `(C, h, w)`; overwritten.
        valid: `(C, h, w)`.
        reach: how often the valid region grows by one pixel.

    Returns:
        `values`, finite everywhere.
    """
    if all_valid(valid):
        return values
    for bands in _of_one_mask(valid):
        known = np.array(valid[bands.start])
        if known.all():
            continue
        planes = values[bands]
        planes[:, ~known] = 0
        for _ in range(reach if known.any() else 0):
            grown = _grown(known)
            rows, cols = np.nonzero(grown & ~known)
            planes[:, rows, cols] = _mean_around(planes, known, rows, cols)
            known = grown
    return values


def _of_one_mask(valid: NDArray[np.bool_]) -> Iterator[slice]:
    """Runs of neighbouring bands with the same mask."""
    first = 0
    for band in range(1, len(valid) + 1):
        if band == len(valid) or not np.array_equal(valid[band], valid[first]):
            yield slice(first, band)
            first = band


def _grown(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The known pixels and their neighbours on all eight sides."""
    held = np.pad(known, 1)
    rows = held[:-2] | held[1:-1] | held[2:]
    whole: NDArray[np.bool_] = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return whole


def _mean_around(
    planes: NDArray[Any], known: NDArray[np.bool_], rows: NDArray[np.intp], cols: NDArray[np.intp]
) -> NDArray[Any]:
    """`(C, n)` means of the known neighbours of `n` pixels, each of which has one."""
    height, width = known.shape
    total = np.zeros((len(planes), len(rows)), planes.dtype)
    count = np.zeros(len(rows), planes.dtype)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            row, col = rows + down, cols + right
            inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
            row, col = np.where(inside, row, rows), np.where(inside, col, cols)
            used = known[row, col]  # outside of the window the pixel itself stands in, which is not known
            total += planes[:, row, col] * used
            count += used
    mean: NDArray[Any] = total / count
    return mean
