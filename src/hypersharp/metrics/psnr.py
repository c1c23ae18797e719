"""PSNR of the whole cube: one mean squared error over every valid value."""

from __future__ import annotations

import math

import numpy as np

from hypersharp.errors import UsageError
from hypersharp.metrics._accumulate import value
from hypersharp.metrics._moments import Moments, cube_mean, gather_moments
from hypersharp.metrics._spec import Array, Extent, Mask, MetricSpec, Score, peak_of
from hypersharp.metrics.mpsnr import pixel_psnr
from hypersharp.metrics.protocol import Record


def psnr(reference: Array, estimate: Array, *, data_range: float, valid: Mask | None = None) -> float:
    """PSNR of the cube, `10 log10(L² / MSE)` with one MSE over all valid values, in dB.

    By Jensen's inequality never above `mpsnr`. Bands are left out as there.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        data_range: the peak L, in the unit of the cubes.
        valid: `(H, W)` or `(C, H, W)` bool, True where a pixel counts.

    Raises:
        UsageError: shapes differ, a valid value is not finite, or `data_range` is not positive.
        NoDataError: no valid pixel.
    """
    return value(METRIC, Record(METRIC.name, "given", data_range), reference, estimate, valid=valid)


def _finish(moments: Moments, record: Record, extent: Extent) -> Score:
    sums = moments.table()
    if isinstance(record.peak_value, tuple):
        raise UsageError(f"{record.metric} has one MSE and takes one data_range; got {len(record.peak_value)}")
    peak = float(peak_of(record, 1)[0])
    found = cube_mean(record, sums.mse, sums, extent)
    assert found.value is not None
    return Score(math.inf if found.value == 0 else 10.0 * math.log10(peak * peak / found.value), counts=found.counts)


METRIC = MetricSpec(
    name="psnr_db",
    units="dB",
    better="higher",
    perfect=np.inf,
    reduction="10 log10(peak² / MSE over all values)",
    source="whole-cube PSNR of the MCNet family's code and of scikit-image",
    gather=gather_moments,
    finish=_finish,
    pixel_map=pixel_psnr,
)
