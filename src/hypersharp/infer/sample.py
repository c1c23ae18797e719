"""A bounded sample of a scene, from which everything that is fitted once per scene is fitted."""

from __future__ import annotations

import numpy as np

from hypersharp.cube import Source
from hypersharp.cube.source import Mask, Values
from hypersharp.errors import NoDataError

Window = tuple[tuple[int, int], Values, Mask]


def sample_windows(source: Source, *, size: int = 64, count: int = 9, budget_bytes: int = 1 << 27) -> list[Window]:
    """Square windows spread evenly over a scene; always the same ones for the same scene.

    A small scene is one window. Where windows hold no valid pixel, others are tried in between.

    Args:
        source: values of the scene.
        size: side of a window in pixels.
        count: about how many windows.
        budget_bytes: upper bound of what they take together.

    Returns:
        For each window its first `(row, column)`, its values `(C, h, w)` and its mask `(C, h, w)`.

    Raises:
        NoDataError: no valid pixel was found.
    """
    bands, height, width = source.shape
    per_window = bands * size * size * source.dtype.itemsize
    count = max(1, min(count, budget_bytes // max(1, per_window)))
    if height * width <= count * size * size and bands * height * width * source.dtype.itemsize <= budget_bytes:
        whole = source.read(slice(None), slice(0, height), slice(0, width))
        if not whole[1].any():
            raise NoDataError("every pixel of the scene is no-data: nothing to work on")
        return [((0, 0), *whole)]
    side = max(1, round(count**0.5))
    found: list[Window] = []
    for shift in (0.5, 0.25, 0.75, 0.0, 1.0):
        for row in _starts(height, size, side, shift):
            for col in _starts(width, size, side, shift):
                values, valid = source.read(slice(None), slice(row, row + size), slice(col, col + size))
                if valid.any(axis=0).mean() > 0.25:
                    found.append(((row, col), values, valid))
        if found:
            return found[: max(1, count)]
    return _scan(source, size)


def _starts(length: int, size: int, side: int, shift: float) -> list[int]:
    last = max(0, length - size)
    return sorted({min(last, max(0, int(last * (i + shift) / side))) for i in range(side)})


def _scan(source: Source, size: int) -> list[Window]:
    """The first windows with any valid pixel, found by going through the scene."""
    _, height, width = source.shape
    found: list[Window] = []
    for row in range(0, height, size):
        for col in range(0, width, size):
            values, valid = source.read(
                slice(None), slice(row, min(row + size, height)), slice(col, min(col + size, width))
            )
            if valid.any():
                found.append(((row, col), values, valid))
            if len(found) == 4:
                return found
    if not found:
        raise NoDataError("every pixel of the scene is no-data: nothing to work on")
    return found


def dead_bands(windows: list[Window]) -> list[int]:
    """Bands that are constant or without a valid pixel in every window."""
    bands = windows[0][1].shape[0]
    low, high = np.full(bands, np.inf), np.full(bands, -np.inf)
    for _, values, valid in windows:
        low = np.minimum(low, np.where(valid, values, np.inf).min(axis=(1, 2)))
        high = np.maximum(high, np.where(valid, values, -np.inf).max(axis=(1, 2)))
    if all(values.shape[1] * values.shape[2] == 1 for _, values, _ in windows):
        return [int(b) for b in np.flatnonzero(low > high)]  # a single pixel is constant and not dead
    return [int(b) for b in np.flatnonzero(low >= high)]
