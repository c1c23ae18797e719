"""RMSE: root of one mean squared error over the whole cube."""

from __future__ import annotations

import math

import numpy as np

from hypersharp.metrics._accumulate import value
from hypersharp.metrics._moments import Moments, cube_mean, error_map, gather_moments
from hypersharp.metrics._spec import Array, Extent, Floats, Mask, MetricSpec, Score, Tile
from hypersharp.metrics.protocol import Record


def rmse(reference: Array, estimate: Array, *, valid: Mask | None = None) -> float:
    """Global root mean squared error over all valid values, in the unit of the cubes.

    Not the mean of the bands' RMSEs, which is smaller or equal. Bands without a valid pixel, and constant ones beside
    others that vary, are left out.

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
    found = cube_mean(record, sums.mse, sums, extent)
    assert found.value is not None
    assert found.per_band is not None
    return Score(math.sqrt(found.value), per_band=np.sqrt(found.per_band), counts=found.counts)


def _pixel_rmse(tile: Tile, _: Record) -> Floats:
    return np.sqrt(error_map(tile, np.square))


METRIC = MetricSpec(
    name="rmse",
    units="unit of the cubes after normalisation",
    better="lower",
    perfect=0.0,
    reduction="root of one MSE over all values",
    source="SSPSR family's code",
    gather=gather_moments,
    finish=_finish,
    pixel_map=_pixel_rmse,
)
