"""Edge-PSNR: MPSNR with each squared error weighted by the Sobel edge of the reference at its pixel."""

from __future__ import annotations

import numpy as np

from hypersharp.metrics._accumulate import each, value
from hypersharp.metrics._moments import decibels
from hypersharp.metrics._spec import (
    Array,
    Extent,
    Mask,
    MetricSpec,
    Recipe,
    Score,
    Scratch,
    Statistics,
    Tile,
    band_mean,
    peak_of,
)
from hypersharp.metrics._stencil import MARGIN, neighbourhoods, sobel
from hypersharp.metrics.protocol import Record


def edge_psnr(
    reference: Array, estimate: Array, *, data_range: float | tuple[float, ...], valid: Mask | None = None
) -> float:
    """Mean over bands of `10 log10(L² / MSE_w)`, `MSE_w = Σ w (r - e)² / Σ w`, w the Sobel magnitude of r, in dB.

    Says how well edges are met, which a plain mean over mostly smooth pixels hides.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        data_range: the peak L, one for all bands or one per band, in the unit of the cubes.
        valid: `(H, W)` or `(C, H, W)` bool; a pixel counts where it and its neighbours are True.

    Raises:
        UsageError: shapes differ, a valid value is not finite, or `data_range` is not positive.
        NoDataError: no band has an edge.
    """
    return value(METRIC, Record(METRIC.name, "given", data_range), reference, estimate, valid=valid)


class EdgeErrors(Statistics):
    """Per-band sums of the weights and of the weighted squared errors."""

    halo = MARGIN

    def __init__(self, bands: int) -> None:
        self.sums = np.zeros((bands, 2))

    def update(self, tile: Tile, *, workers: int) -> None:
        """Add the core of `tile`."""

        def add(band: int, scratch: Scratch) -> tuple[float, float]:
            error, weight = 0.0, 0.0
            for reference, estimate, whole in neighbourhoods(tile, band, scratch):
                edges = sobel(reference)
                if whole is not None:
                    edges *= whole
                squared = np.square(reference[1:-1, 1:-1] - estimate[1:-1, 1:-1])
                error += float((edges * squared).sum())
                weight += float(edges.sum())
            return error, weight

        self.sums += np.array(each(add, range(self.sums.shape[0]), workers))


def _gather(_: Record) -> Recipe:
    return (EdgeErrors,)


def _finish(errors: EdgeErrors, record: Record, extent: Extent) -> Score:
    error, weight = errors.sums.T
    peak = peak_of(record, weight.size)
    keep = extent.live & (weight > 0) & (peak > 0)
    per_band = np.full(keep.shape, np.nan)
    per_band[keep] = decibels(error[keep] / weight[keep], peak[keep])
    return band_mean(record, per_band, keep, {})


METRIC = MetricSpec(
    name="edge_psnr_db",
    units="dB",
    better="higher",
    perfect=np.inf,
    reduction="mean over bands of 10 log10(peak² / MSE of the band weighted by the Sobel magnitude of the reference)",
    source="ours; Sobel edges per band as in EDLGFS",
    gather=_gather,
    finish=_finish,
)
