"""Consistency: degrade(sr) against lr. Necessary for a good estimate, and far from sufficient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube, all_valid
from hypersharp.degrade.psf import Psf
from hypersharp.degrade.wald import degrade
from hypersharp.evaluate.reference import check_pair, cores
from hypersharp.metrics import Protocol, Record, Score, Tile, evaluate_tiles

_PROTOCOL = Protocol("consistency", "hypersharp: docs/metrics.md", (Record("sam_deg"), Record("rmse")))
_CORE = 128  # LR pixels; all bands of scale² as many HR pixels pass through memory for each


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far the degraded estimate agrees with lr.

    Attributes:
        sam_deg: mean spectral angle; no value where it is not defined.
        rmse: one for all values, in units of the cube; `per_band` has each band's, NaN where a band was left out.
        noise: `(C,)` estimated standard deviation of each band's noise in lr, NaN where unknown.
        unseen: LR pixels, band by band, that are valid in lr and not in the degraded estimate; they do not count.
    """

    sam_deg: Score
    rmse: Score
    noise: NDArray[np.float64]
    unseen: int

    @property
    def rmse_over_noise(self) -> float | None:
        """Median over the bands of RMSE / noise: about 1 where the estimate agrees just to within the noise."""
        assert self.rmse.per_band is not None
        noisy = (self.noise > 0) & np.isfinite(self.rmse.per_band)
        return float(np.median(self.rmse.per_band[noisy] / self.noise[noisy])) if noisy.any() else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = self.rmse.to_dict()
        return {
            "sam_deg": self.sam_deg.to_dict()["value"],
            "rmse": plain["value"],
            "rmse_over_noise": self.rmse_over_noise,
            "rmse_of_band": plain["per_band"],
            "noise_of_band": [float(f"{v:.7g}") if np.isfinite(v) else None for v in self.noise],
            "counts": {**self.sam_deg.counts, **self.rmse.counts, "unseen_values": self.unseen},
        }


def consistency(
    lr: Cube,
    sr: Cube,
    *,
    scale: int,
    psf: Psf,
    noise: NDArray[np.float64],
    progress: Callable[[int, int], None] | None = None,
) -> Agreement:
    """Degrade the estimate with the declared PSF and compare it with lr, tile by tile.

    Args:
        lr: what was sharpened.
        sr: the estimate, `scale` times as many rows and columns, the same bands.
        scale: HR pixels per LR pixel along a side.
        psf: the declared degradation.
        noise: `(C,)` standard deviation of the noise of each band of lr.
        progress: called with tiles done and tiles in all.

    Raises:
        UsageError: shapes, bands or grids do not fit.
        NoDataError: no pixel is valid in both.
    """
    degraded = degrade(sr, scale=scale, psf=psf)
    check_pair(lr, degraded, names=("lr", "the degraded estimate"))
    unseen = 0

    def tiles() -> Iterator[Tile]:
        nonlocal unseen
        parts = list(cores(lr.shape[1:], 0, _CORE))
        for done, ((top, bottom), (left, right)) in enumerate(parts):
            window = {"rows": slice(top, bottom), "cols": slice(left, right)}
            (values, valid), (again, known) = lr.read(**window), degraded.read(**window)
            both = None
            if not (all_valid(valid) and all_valid(known)):
                both = valid & known
                unseen += int((valid & ~known).sum())
            core = (slice(0, bottom - top), slice(0, right - left))
            yield Tile(values, again, both, core=core, origin=(top, left), scene=lr.shape[1:])
            if progress is not None:
                progress(done + 1, len(parts))

    (found,) = evaluate_tiles(tiles(), [_PROTOCOL], scale=scale, peaks=None)
    return Agreement(found.scores["sam_deg"], found.scores["rmse"], noise, unseen)
