"""MPSNR: the mean over the bands of each band's PSNR."""

from __future__ import annotations

import numpy as np

from hypersharp.errors import UsageError
from hypersharp.metrics._accumulate import value
from hypersharp.metrics._moments import Moments, decibels, error_map, gather_moments
from hypersharp.metrics._spec import Array, Extent, Floats, Mask, MetricSpec, Score, Tile, band_mean, peak_of
from hypersharp.metrics.protocol import Record


def mpsnr(
    reference: Array, estimate: Array, *, data_range: float | tuple[float, ...], valid: Mask | None = None
) -> float:
    """Mean of the band PSNRs, `1/C Σ_b 10 log10(L² / MSE_b)`, in dB.

    Bands without a valid pixel, and constant ones beside others that vary, are left out.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        data_range: the peak L, one for all bands or one per band, in the unit of the cubes.
        valid: `(H, W)` or `(C, H, W)` bool, True where a pixel counts.

    Raises:
        UsageError: shapes differ, a valid value is not finite, or `data_range` is not positive.
        NoDataError: no valid pixel.
    """
    return value(METRIC, Record(METRIC.name, "given", data_range), reference, estimate, valid=valid)


def _finish(moments: Moments, record: Record, extent: Extent) -> Score:
    sums = moments.table()
    peak = peak_of(record, sums.mse.size)
    keep = extent.live & (peak > 0)
    per_band = np.full(keep.shape, np.nan)
    per_band[keep] = decibels(sums.mse[keep], peak[keep])
    return band_mean(record, per_band, keep, {"values": int(sums.count[keep].sum())})


def pixel_psnr(tile: Tile, record: Record) -> Floats:
    """PSNR of each pixel's spectrum, `10 log10(L² / mean over bands of the squared error)`, `(h, w)`."""
    peak = peak_of(record, tile.reference.shape[0])
    if peak.min() != peak.max():
        raise UsageError(f"a map of {record.metric} takes one data_range; got one per band; use a protocol with one")
    return decibels(error_map(tile, np.square), peak[0])


METRIC = MetricSpec(
    name="mpsnr_db",
    units="dB",
    better="higher",
    perfect=np.inf,
    reduction="mean over bands of 10 log10(peak² / MSE of the band)",
    source="per-band mean of the SSPSR family's code and of LKCA",
    gather=gather_moments,
    finish=_finish,
    pixel_map=pixel_psnr,
)
