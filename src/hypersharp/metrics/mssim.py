"""MSSIM: the mean over the bands of the structural similarity index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypersharp.errors import UsageError
from hypersharp.metrics._accumulate import value
from hypersharp.metrics._spec import (
    Array,
    Extent,
    Floats,
    Mask,
    MetricSpec,
    Recipe,
    Score,
    Tile,
    peak_of,
    window_of,
)
from hypersharp.metrics._windows import Index, LocalIndex, LocalSums, Window, local_pixel_map
from hypersharp.metrics.protocol import Record

K1, K2 = 0.01, 0.03


def mssim(reference: Array, estimate: Array, *, data_range: float, window: str, valid: Mask | None = None) -> float:
    """Mean over the bands of SSIM with K1 = 0.01 and K2 = 0.03.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        data_range: the peak L of the constants (K L)², in the unit of the cubes.
        window: ``"uniform_7"``, with sample covariances (scikit-image's default, the LKCA line), or ``"gaussian_11"``,
            sigma 1.5 with population covariances (Wang's MATLAB code), or ``"gaussian_11_mirrored"``, the same with
            windows over the scene's edge, where the scene is mirrored (torchmetrics).
        valid: `(H, W)` or `(C, H, W)` bool; a window with a False in it does not count.

    Raises:
        UsageError: shapes differ, a valid value is not finite, `data_range` or `window` is not one of those.
        NoDataError: no window fits.
    """
    record = Record(METRIC.name, "given", data_range, window=window)
    return value(METRIC, record, reference, estimate, valid=valid)


@dataclass(frozen=True)
class Ssim(Index):
    """SSIM of each window.

    Attributes:
        peak: the peak L.
        correction: factor that turns the window's population covariances into those wanted.
    """

    peak: float
    correction: float

    def of(self, sums: LocalSums) -> Floats:
        """Wang et al. 2004, equation 13, multiplied out by twice the square of the weight."""
        s, d, ss, dd, k = sums.s, sums.d, sums.ss, sums.dd, sums.weight
        c1 = 2.0 * k * k * (K1 * self.peak) ** 2
        c2 = 2.0 * k * k * (K2 * self.peak) ** 2 / self.correction
        np.square(s, out=s)
        np.square(d, out=d)
        means = np.subtract(s, d, out=sums.spare)  # 4 k² · product of the means
        energy = np.add(s, d, out=s)  # 2 k² · sum of the squared means
        covariance = np.subtract(ss, dd, out=d)
        variance = np.add(ss, dd, out=ss)
        for second, first in ((covariance, means), (variance, energy)):
            second *= k
            second -= first
            second += c2
            first += c1
        means *= covariance
        energy *= variance
        return np.divide(means, energy, out=energy)


def _index(record: Record) -> tuple[Window, Ssim]:
    kind, size, mirrored = window_of(record, ("uniform_N", "gaussian_11", "gaussian_11_mirrored"))
    if isinstance(record.peak_value, tuple):
        raise UsageError(f"{record.metric} takes one data_range; got one per band; use a protocol with one")
    correction = size**2 / (size**2 - 1) if kind == "uniform" else 1.0
    return Window(kind, size, mirrored), Ssim(centred=False, peak=float(peak_of(record, 1)[0]), correction=correction)


def _gather(record: Record) -> Recipe:
    return (LocalIndex, *_index(record))


def _finish(statistics: LocalIndex, record: Record, extent: Extent) -> Score:
    return statistics.score(record, extent)


def _pixel_ssim(tile: Tile, record: Record) -> Floats:
    return local_pixel_map(tile, *_index(record))


METRIC = MetricSpec(
    name="mssim",
    units="",
    better="higher",
    perfect=1.0,
    reduction="mean over bands of the mean over windows",
    source="Wang, Bovik, Sheikh, Simoncelli 2004, equation 13",
    gather=_gather,
    finish=_finish,
    pixel_map=_pixel_ssim,
)
