"""SCC: spatial correlation coefficient, the correlation of the Laplacians of reference and estimate."""

from __future__ import annotations

from collections.abc import Iterator

from hypersharp.metrics._accumulate import value
from hypersharp.metrics._moments import Moments
from hypersharp.metrics._spec import Array, Floats, Mask, MetricSpec, Recipe, Scratch, Tile
from hypersharp.metrics._stencil import MARGIN, laplacian, neighbourhoods
from hypersharp.metrics.cc import correlation
from hypersharp.metrics.protocol import Record


def scc(reference: Array, estimate: Array, *, valid: Mask | None = None) -> float:
    """Mean over the bands of Pearson's correlation of the two Laplacians, over the pixels with all eight neighbours.

    One correlation per band over the scene, as in the paper; sewar and torchmetrics average the correlations of
    sliding 8×8 windows instead, which is another number.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        valid: `(H, W)` or `(C, H, W)` bool; a pixel counts where it and its neighbours are True.

    Raises:
        UsageError: shapes differ or a valid value is not finite.
        NoDataError: no band with detail in both cubes.
    """
    return value(METRIC, Record(METRIC.name), reference, estimate, valid=valid)


class LaplacianMoments(Moments):
    """`Moments` of the Laplacians."""

    halo = MARGIN

    def vectors(self, tile: Tile, band: int, scratch: Scratch) -> Iterator[tuple[Floats, Floats, Floats]]:
        """Blocks of the Laplacians `(n,)` of one band: reference, estimate, and scratch."""
        for reference, estimate, whole in neighbourhoods(tile, band, scratch):
            pair = [laplacian(part) if whole is None else laplacian(part)[whole] for part in (reference, estimate)]
            yield pair[0].ravel(), pair[1].ravel(), scratch.vectors(3, pair[0].size)[2]


def _gather(_: Record) -> Recipe:
    return (LaplacianMoments,)


METRIC = MetricSpec(
    name="scc",
    units="",
    better="higher",
    perfect=1.0,
    reduction="mean over bands of Pearson's r of the 3×3 Laplacians (8 in the centre, -1 around)",
    source="Zhou, Civco, Silander 1998, 'A wavelet transform method to merge Landsat TM and SPOT panchromatic data'",
    gather=_gather,
    finish=correlation,
)
