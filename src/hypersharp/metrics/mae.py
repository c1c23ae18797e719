"""MAE: mean absolute error over the whole cube."""

from __future__ import annotations

import numpy as np

from hypersharp.metrics._accumulate import value
from hypersharp.metrics._moments import Moments, cube_mean, error_map, gather_moments
from hypersharp.metrics._spec import Array, Extent, Floats, Mask, MetricSpec, Score, Tile
from hypersharp.metrics.protocol import Record


def mae(reference: Array, estimate: Array, *, valid: Mask | None = None) -> float:
    """Mean absolute error over all valid values, in the unit of the cubes.

    Bands without a valid pixel, and constant ones beside others that vary, are left out.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        valid: `(H, W)` or `(C, H, W)` bool, True where a pixel counts.

    Raises:
        UsageError: shapes differ or a valid value is not finite.
        NoDataError: no valid pixel.
    """
    return value(METRIC, Record(METRIC.name), reference, estimate, valid=valid)


def _finish(moments: Moments, record: Record, extent: Extent) -> Score:
    sums = moments.table()
    return cube_mean(record, sums.mae, sums, extent)


def _pixel_mae(tile: Tile, _: Record) -> Floats:
    return error_map(tile, np.abs)


METRIC = MetricSpec(
    name="mae",
    units="unit of the cubes after normalisation",
    better="lower",
    perfect=0.0,
    reduction="mean absolute error over all values",
    source="mean absolute error, as in scikit-learn and torchmetrics",
    gather=gather_moments,
    finish=_finish,
    pixel_map=_pixel_mae,
)
