"""SID: spectral information divergence, the symmetric Kullback-Leibler divergence of two spectra."""

from __future__ import annotations

import numpy as np

from hypersharp.errors import NoDataError
from hypersharp.metrics._accumulate import each, value
from hypersharp.metrics._spec import (
    Array,
    Extent,
    Floats,
    Mask,
    MetricSpec,
    Recipe,
    Score,
    Scratch,
    Statistics,
    Tile,
    row_blocks,
)
from hypersharp.metrics.protocol import Record


def sid(reference: Array, estimate: Array, *, valid: Mask | None = None) -> float:
    """Mean over pixels of `Σ (p - q) (ln p - ln q)`, p and q the spectra divided by their sums, in nats.

    A logarithm needs positive values: a band counts at a pixel where both spectra are positive, the others are left
    out there and counted; a pixel needs two such bands.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        valid: `(H, W)` or `(C, H, W)` bool, True where a pixel counts.

    Raises:
        UsageError: shapes differ or a valid value is not finite.
        NoDataError: no pixel with two bands that are positive in both cubes.
    """
    return value(METRIC, Record(METRIC.name), reference, estimate, valid=valid)


class Divergences(Statistics):
    """Sum of the divergences, and how many pixels had one."""

    def __init__(self, bands: int) -> None:
        self.total = 0.0
        self.pixels = 0
        self.left_out = 0
        self.not_positive = 0

    def update(self, tile: Tile, *, workers: int) -> None:
        """Add the core of `tile`, block of rows by block of rows."""
        rows, cols = tile.core

        def add(block: slice, _: Scratch) -> tuple[float, int, int, int]:
            divergence, not_positive = _divergences(tile, block, cols)
            found = ~np.isnan(divergence)
            pixels = int(found.sum())
            return float(divergence[found].sum()), pixels, found.size - pixels, not_positive

        for total, pixels, left_out, not_positive in each(add, row_blocks(rows, cols.stop - cols.start), workers):
            self.total += total
            self.pixels += pixels
            self.left_out += left_out
            self.not_positive += not_positive


def _divergences(tile: Tile, rows: slice, cols: slice) -> tuple[Floats, int]:
    """Divergence of each pixel `(rows, cols)`, NaN where there is none, and how many valid values were not positive.

    With R and E the sums of the spectra, `Σ (r/R - e/E) (ln r - ln e)` is the same, as p and q both sum to 1: one pass.
    """
    shape = (rows.stop - rows.start, cols.stop - cols.start)
    sum_r, sum_e, log_r, log_e, bands = (np.zeros(shape) for _ in range(5))
    not_positive = 0
    for band in range(tile.reference.shape[0]):
        reference, estimate, ok = tile.load(band, rows, cols)
        positive = (reference > 0) & (estimate > 0)
        not_positive += int((~positive).sum() if ok is None else (ok & ~positive).sum())
        reference[~positive] = estimate[~positive] = 0.0
        ratio = np.divide(reference, estimate, out=np.ones(shape), where=positive)
        logarithm = np.log(ratio, out=ratio)
        sum_r += reference
        sum_e += estimate
        log_r += reference * logarithm
        log_e += estimate * logarithm
        bands += positive
    enough = bands >= 2
    for weighted, total in ((log_r, sum_r), (log_e, sum_e)):
        np.divide(weighted, total, out=weighted, where=enough)
    return np.where(enough, log_r - log_e, np.nan), not_positive


def _gather(_: Record) -> Recipe:
    return (Divergences,)


def _finish(divergences: Divergences, record: Record, _: Extent) -> Score:
    if divergences.pixels == 0:
        raise NoDataError(f"{record.metric} is not defined: no pixel has two bands that are positive in both cubes")
    counts = {
        "pixels": divergences.pixels,
        "pixels_left_out": divergences.left_out,
        "values_not_positive": divergences.not_positive,
    }
    return Score(divergences.total / divergences.pixels, counts=counts)


def _pixel_sid(tile: Tile, _: Record) -> Floats:
    return _divergences(tile, *tile.core)[0]


METRIC = MetricSpec(
    name="sid",
    units="nats",
    better="lower",
    perfect=0.0,
    reduction="mean over pixels of the divergence",
    source="Chang 2000, 'An information-theoretic approach to spectral variability'",
    gather=_gather,
    finish=_finish,
    pixel_map=_pixel_sid,
)
