"""Undershoot: how low a correction may take a band, and lifting what it took lower."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hypersharp.infer.methods import Floats

_UNDERSHOOT = 0.1
_GIVEN_BACK = 0.6  # of a band's noise; more flattens dark water further, and moves its mean


def undershoot_limit(lr: Floats, noise: NDArray[np.float64]) -> Floats:
    """The lowest value that a correction may give inside each LR pixel: a tenth below its darkest neighbour.

    The lowest of nine noisy pixels lies about 1.5 standard deviations below that of the nine true ones; some of that is
    given back.

    Args:
        lr: `(C, h, w)` finite; pixels at its border count as their own neighbours beyond it.
        noise: `(C,)` standard deviation of each band; what is not finite counts as none.

    Returns:
        `(C, h, w)`.
    """
    lowest = _lowest_of_three(_lowest_of_three(lr, 1), 2)
    back = (_GIVEN_BACK * np.nan_to_num(noise, posinf=0.0)).astype(lr.dtype)
    limit: Floats = lowest - _UNDERSHOOT * np.abs(lowest) + back[:, None, None]
    return limit


def lift(sharp: Floats, limit: Floats, scale: int, *, least: Floats | None = None) -> None:
    """Lift HR values to a limit, in place, keeping the mean over each LR pixel.

    What is lifted is taken from the rest of the LR pixel in proportion to its height above the limit. Where an LR pixel
    lies below the limit in the mean, all of it comes to lie on it. Whole planes are computed, as one pixel in six is in
    a block that needs it: cheaper than picking those out.

    Args:
        sharp: `(C, s·h, s·w)`, contiguous.
        limit: `(C, h, w)` of each LR pixel.
        scale: `s`.
        least: `(C, s·h, s·w)` heights below which none is taken to lie; the limit is lower there.
    """
    bands, height, width = limit.shape
    strips = (bands, height, scale, width * scale)

    def total(heights: Floats) -> Floats:  # over each LR pixel
        columns = heights.sum(axis=2)
        part: Floats = sum((columns[..., at::scale] for at in range(1, scale)), columns[..., ::scale])
        return part

    heights = sharp.reshape(strips) - limit.repeat(scale, axis=2)[:, :, None]
    if least is not None:
        np.maximum(heights, least.reshape(strips), out=heights)
    raised = np.maximum(heights, 0)
    before, after = total(heights), total(raised)
    share = np.divide(np.maximum(before, 0), after, out=np.zeros_like(after), where=after > 0)
    raised *= share.repeat(scale, axis=2)[:, :, None]
    raised -= heights  # exactly 0 where nothing was below
    sharp += raised.reshape(sharp.shape)


def _lowest_of_three(values: Floats, axis: int) -> Floats:
    """Minimum of each value and its two neighbours along an axis; a tenth of the time of a general filter."""
    lowest = values.copy()
    own, other = (np.moveaxis(array, axis, -1) for array in (lowest, values))
    np.minimum(own[..., 1:], other[..., :-1], out=own[..., 1:])
    np.minimum(own[..., :-1], other[..., 1:], out=own[..., :-1])
    return lowest
