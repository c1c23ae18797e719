"""UIQI, the universal image quality index Q: SSIM without its constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypersharp.metrics._accumulate import value
from hypersharp.metrics._spec import Array, Extent, Floats, Mask, MetricSpec, Recipe, Score, Tile, window_of
from hypersharp.metrics._windows import Index, LocalIndex, LocalSums, Window, local_pixel_map
from hypersharp.metrics.protocol import Record

FLAT = 1e-13  # variance below this share of the mean square is the rounding of a constant window


def uiqi(reference: Array, estimate: Array, *, window: str, valid: Mask | None = None) -> float:
    """Mean over bands and windows of `4 cov(r, e) mean_r mean_e / ((var_r + var_e) (mean_r² + mean_e²))`.

    Where both are constant in a window the index is its luminance part `2 mean_r mean_e / (mean_r² + mean_e²)`, and 1
    where both are zero, as in the authors' own program.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        window: ``"uniform_8"`` as in the paper, or ``"gaussian_11"`` as in torchmetrics.
        valid: `(H, W)` or `(C, H, W)` bool; a window with a False in it does not count.

    Raises:
        UsageError: shapes differ, a valid value is not finite, or `window` is not one of those.
        NoDataError: no window fits.
    """
    return value(METRIC, Record(METRIC.name, window=window), reference, estimate, valid=valid)


@dataclass(frozen=True)
class Uiqi(Index):
    """Q of each window."""

    def of(self, sums: LocalSums) -> Floats:
        """Wang and Bovik 2002, in s = r + e and d = r - e."""
        k = sums.weight
        var_s, var_d = k * sums.ss - sums.s**2, k * sums.dd - sums.d**2
        flat = var_s + var_d <= FLAT * k * (sums.ss + sums.dd)
        mean_s = sums.s + sums.shift * k
        product, energy = mean_s**2 - sums.d**2, mean_s**2 + sums.d**2
        luminance = np.divide(product, energy, out=np.ones_like(product), where=energy > 0)
        structure = np.divide(var_s - var_d, var_s + var_d, out=np.ones_like(product), where=~flat)
        return np.multiply(luminance, structure, out=sums.s)


def _index(record: Record) -> tuple[Window, Uiqi]:
    return Window(*window_of(record, ("uniform_N", "gaussian_11"))), Uiqi(centred=True)


def _gather(record: Record) -> Recipe:
    return (LocalIndex, *_index(record))


def _finish(statistics: LocalIndex, record: Record, extent: Extent) -> Score:
    return statistics.score(record, extent)


def _pixel_uiqi(tile: Tile, record: Record) -> Floats:
    return local_pixel_map(tile, *_index(record))


METRIC = MetricSpec(
    name="uiqi",
    units="",
    better="higher",
    perfect=1.0,
    reduction="mean over bands of the mean over windows inside the scene",
    source="Wang and Bovik 2002, 'A universal image quality index'",
    gather=_gather,
    finish=_finish,
    pixel_map=_pixel_uiqi,
)
