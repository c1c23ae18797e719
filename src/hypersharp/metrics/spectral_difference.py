"""The spectral difference curve: mean absolute and relative difference of each band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypersharp.metrics._accumulate import measure
from hypersharp.metrics._moments import Moments, gather_moments
from hypersharp.metrics._spec import Array, Extent, Floats, Mask, MetricSpec, Score, band_mean
from hypersharp.metrics.mae import METRIC as MAE
from hypersharp.metrics.protocol import Record


@dataclass(frozen=True)
class DifferenceCurve:
    """Difference of each band, against which wavelengths can be drawn.

    Attributes:
        absolute: mean absolute difference, `(C,)`, unit of the cubes; NaN for a band
            without a valid pixel or constant beside others that vary.
        relative: the same divided by the mean absolute reference, `(C,)`; NaN also where that is 0.
    """

    absolute: Floats
    relative: Floats


def spectral_difference(reference: Array, estimate: Array, *, valid: Mask | None = None) -> DifferenceCurve:
    """Mean absolute difference of each band, and the same relative to the band's mean absolute reference.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        valid: `(H, W)` or `(C, H, W)` bool, True where a pixel counts.

    Raises:
        UsageError: shapes differ or a valid value is not finite.
        NoDataError: no valid pixel, or every band is zero.
    """
    absolute = measure(MAE, Record(MAE.name), reference, estimate, valid=valid).per_band
    relative = measure(METRIC, Record(METRIC.name), reference, estimate, valid=valid).per_band
    assert absolute is not None
    assert relative is not None
    return DifferenceCurve(absolute=absolute, relative=relative)


def _finish(moments: Moments, record: Record, extent: Extent) -> Score:
    sums = moments.table()
    keep = extent.live & (np.nan_to_num(sums.mean_absolute) > 0)
    per_band = np.divide(sums.mae, sums.mean_absolute, out=np.full(keep.shape, np.nan), where=keep)
    return band_mean(record, per_band, keep, {"values": int(sums.count[keep].sum())})


METRIC = MetricSpec(
    name="spectral_difference",
    units="",
    better="lower",
    perfect=0.0,
    reduction="mean over bands of mean |difference| / mean |reference|",
    source="ours",
    gather=gather_moments,
    finish=_finish,
)
