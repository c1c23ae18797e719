"""Per-band sums that most metrics share: errors, means, variances and the covariance of reference and estimate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hypersharp.errors import NoDataError
from hypersharp.metrics._accumulate import each
from hypersharp.metrics._spec import Extent, Floats, Recipe, Score, Scratch, Statistics, Tile, row_blocks
from hypersharp.metrics.protocol import Record

# one row of the table of sums: n, mean_r, mean_e, m2_r, m2_e, c_re, squared error, absolute error, absolute reference
Sums = tuple[float, float, float, float, float, float, float, float, float]
NONE: Sums = (0.0,) * 9


@dataclass(frozen=True)
class BandSums:
    """What `Moments` found, each `(C,)`.

    Attributes:
        count: valid pixels.
        mean: mean of the reference; NaN where count is 0, like every mean below.
        mse: mean squared error.
        mae: mean absolute error.
        mean_absolute: mean of the reference's absolute value.
        variance: population variance of the reference.
        variance_estimate: population variance of the estimate.
        covariance: population covariance of the two.
    """

    count: Floats
    mean: Floats
    mse: Floats
    mae: Floats
    mean_absolute: Floats
    variance: Floats
    variance_estimate: Floats
    covariance: Floats


class Moments(Statistics):
    """Sums over the valid pixels of each band, centred block by block so that large offsets do not cancel.

    Blocks are merged by the pairwise update of Chan, Golub and LeVeque (1983).
    """

    def __init__(self, bands: int) -> None:
        self._sums: list[Sums] = [NONE] * bands

    def update(self, tile: Tile, *, workers: int) -> None:
        """Add the core of `tile`."""

        def add(band: int, scratch: Scratch) -> Sums:
            sums = self._sums[band]
            for reference, estimate, spare in self.vectors(tile, band, scratch):
                sums = merge(sums, block_sums(reference, estimate, spare))
            return sums

        self._sums = each(add, range(len(self._sums)), workers)

    def vectors(self, tile: Tile, band: int, scratch: Scratch) -> Iterator[tuple[Floats, Floats, Floats]]:
        """Blocks of valid values `(n,)` of one band: reference, estimate, scratch; the memory is reused."""
        rows, cols = tile.core
        blocks = row_blocks(rows, cols.stop - cols.start)
        size = (blocks[0].stop - blocks[0].start) * (cols.stop - cols.start)
        *out, spare = scratch.vectors(3, size)
        for block in blocks:
            reference, estimate, ok = tile.load(band, block, cols, out)
            if ok is None:
                yield reference.ravel(), estimate.ravel(), spare[: reference.size]
            else:
                yield reference[ok], estimate[ok], spare[: int(ok.sum())]

    def table(self) -> BandSums:
        """The sums so far, as means."""
        n, mean, _, m2_r, m2_e, c_re, squared, absolute, magnitude = np.array(self._sums).T
        count = np.where(n > 0, n, np.nan)
        return BandSums(
            count=n,
            mean=np.where(n > 0, mean, np.nan),
            mse=squared / count,
            mae=absolute / count,
            mean_absolute=magnitude / count,
            variance=m2_r / count,
            variance_estimate=m2_e / count,
            covariance=c_re / count,
        )


def block_sums(reference: Floats, estimate: Floats, spare: Floats) -> Sums:
    """Sums of one block `(n,)`; overwrites all three arguments."""
    n = reference.size
    if n == 0:
        return NONE
    np.subtract(reference, estimate, out=spare)
    squared = _dot(spare, spare)
    absolute = float(np.abs(spare, out=spare).sum())
    magnitude = float(np.abs(reference, out=spare).sum())
    mean_r, mean_e = float(reference.mean()), float(estimate.mean())
    reference -= mean_r
    estimate -= mean_e
    m2_r, m2_e = _dot(reference, reference), _dot(estimate, estimate)
    return float(n), mean_r, mean_e, m2_r, m2_e, _dot(reference, estimate), squared, absolute, magnitude


def _dot(a: Floats, b: Floats) -> float:
    """Inner product without BLAS, whose own threads would wait for ours."""
    return float(np.einsum("i,i->", a, b))


def merge(a: Sums, b: Sums) -> Sums:
    """The sums of two disjoint sets of pixels (Chan, Golub, LeVeque 1983, and its covariance)."""
    n = a[0] + b[0]
    if n == 0:
        return a
    step_r, step_e, weight = b[1] - a[1], b[2] - a[2], a[0] * b[0] / n
    return (
        n,
        a[1] + step_r * b[0] / n,
        a[2] + step_e * b[0] / n,
        a[3] + b[3] + step_r * step_r * weight,
        a[4] + b[4] + step_e * step_e * weight,
        a[5] + b[5] + step_r * step_e * weight,
        a[6] + b[6],
        a[7] + b[7],
        a[8] + b[8],
    )


def cube_mean(record: Record, per_band: Floats, sums: BandSums, extent: Extent) -> Score:
    """Mean of a per-band mean over every valid value of the live bands.

    A dead band beside live ones would dilute the error of the whole cube, as it would a mean over bands.

    Raises:
        NoDataError: nothing was counted.
    """
    keep = extent.live
    total = float(sums.count[keep].sum())
    if total == 0:
        raise NoDataError(f"{record.metric} is not defined: no valid value in {per_band.size} bands")
    mean = math.fsum(per_band[keep] * sums.count[keep]) / total
    counts = {"values": int(total), "bands": int(keep.sum()), "bands_excluded": int((~keep).sum())}
    return Score(mean, per_band=np.where(keep, per_band, np.nan), counts=counts)


def gather_moments(_: Record) -> Recipe:
    """The recipe of every metric that is a function of `BandSums`."""
    return (Moments,)


def error_map(tile: Tile, error: Callable[[Floats], Floats]) -> Floats:
    """Mean over the valid bands of `error(reference - estimate)` at each core pixel `(h, w)`, NaN without one."""
    rows, cols = tile.core
    shape = (rows.stop - rows.start, cols.stop - cols.start)
    total, bands = np.zeros(shape), np.zeros(shape)
    for band in range(tile.reference.shape[0]):
        reference, estimate, ok = tile.load(band, rows, cols)
        total += error(reference - estimate)
        bands += 1 if ok is None else ok
    return np.divide(total, bands, out=np.full(shape, np.nan), where=bands > 0)


def decibels(mse: Floats, peak: Floats | float) -> Floats:
    """`10 log10(peak² / mse)`; infinite where `mse` is 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(10.0 * np.log10(peak * peak / mse))
