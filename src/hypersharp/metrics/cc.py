"""CC: the mean over the bands of Pearson's correlation."""

from __future__ import annotations

import numpy as np

from hypersharp.metrics._accumulate import value
from hypersharp.metrics._moments import Moments, gather_moments
from hypersharp.metrics._spec import Array, Extent, Floats, Mask, MetricSpec, Score, band_mean
from hypersharp.metrics.protocol import Record


def cc(reference: Array, estimate: Array, *, valid: Mask | None = None) -> float:
    """Mean over the bands of Pearson's correlation of reference and estimate.

    Bands that are constant in either cube have no correlation and are left out.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        valid: `(H, W)` or `(C, H, W)` bool, True where a pixel counts.

    Raises:
        UsageError: shapes differ or a valid value is not finite.
        NoDataError: no valid pixel, or every band is constant.
    """
    return value(METRIC, Record(METRIC.name), reference, estimate, valid=valid)


def correlation(moments: Moments, record: Record, extent: Extent) -> Score:
    """Mean over the bands of the correlation in `moments`."""
    sums = moments.table()
    spread: Floats = np.sqrt(sums.variance) * np.sqrt(sums.variance_estimate)
    keep = (np.nan_to_num(spread) > 0) & ~extent.constant & ~extent.constant_estimate
    per_band = np.divide(sums.covariance, spread, out=np.full(keep.shape, np.nan), where=keep)
    return band_mean(record, per_band, keep, {"values": int(sums.count[keep].sum())})


METRIC = MetricSpec(
    name="cc",
    units="",
    better="higher",
    perfect=1.0,
    reduction="mean over bands of Pearson's r",
    source="SSPSR family's code; Loncan et al. 2015",
    gather=gather_moments,
    finish=correlation,
)
