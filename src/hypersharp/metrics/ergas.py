"""ERGAS: relative global error, each band's MSE against the square of its mean."""

from __future__ import annotations

import math

import numpy as np

from hypersharp.errors import NoDataError, UsageError
from hypersharp.metrics._accumulate import value
from hypersharp.metrics._moments import Moments, gather_moments
from hypersharp.metrics._spec import Array, Extent, Mask, MetricSpec, Score
from hypersharp.metrics.protocol import Record


def ergas(reference: Array, estimate: Array, *, scale: int, valid: Mask | None = None) -> float:
    """`100/scale · sqrt(1/C Σ_b MSE_b / mean_b²)`, with the means of the reference.

    Bands whose reference has a mean of zero, no valid pixel, or one value beside others that vary are left out.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        scale: HR/LR ratio, 4 for a cube sharpened four times (sewar's `r` is its inverse).
        valid: `(H, W)` or `(C, H, W)` bool, True where a pixel counts.

    Raises:
        UsageError: shapes differ, a valid value is not finite, or `scale` is below 1.
        NoDataError: no valid pixel, or no band with a mean.
    """
    return value(METRIC, Record(METRIC.name, ratio="100/scale", scale=scale), reference, estimate, valid=valid)


def _finish(moments: Moments, record: Record, extent: Extent) -> Score:
    scale = 4 if record.ratio == "100/4" else record.scale
    if scale is None or not scale >= 1:
        raise UsageError(
            f"{record.metric} needs the scale, the HR/LR ratio, of 1 or more; got {scale}; sewar's r is 1/scale"
        )
    sums = moments.table()
    keep = extent.live & (np.nan_to_num(sums.mean) != 0)
    if not keep.any():
        raise NoDataError(f"{record.metric} is not defined: none of {keep.size} bands varies about a mean other than 0")
    relative = np.divide(sums.mse, sums.mean**2, out=np.full(keep.shape, np.nan), where=keep)
    counts = {"bands": int(keep.sum()), "bands_excluded": int((~keep).sum())}
    per_band = 100.0 / scale * np.sqrt(relative)
    return Score(100.0 / scale * math.sqrt(float(np.mean(relative[keep]))), per_band=per_band, counts=counts)


METRIC = MetricSpec(
    name="ergas",
    units="",
    better="lower",
    perfect=0.0,
    reduction="ratio · root of the mean over bands of MSE / mean²",
    source="Wald 2000, 'Quality of high resolution synthesised images: is there a simple criterion?'",
    gather=gather_moments,
    finish=_finish,
)
