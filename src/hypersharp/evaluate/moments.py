"""Means and covariances of two cubes of the same pixels, gathered tile by tile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube
from hypersharp.errors import NoDataError
from hypersharp.evaluate.reference import cores

Floats = NDArray[np.float64]

_TILE_BYTES = 1 << 26
_CUT = 1e-10  # of the largest eigenvalue; what lies below is rounding


@dataclass(frozen=True, eq=False)
class CrossMoments:
    """Over the pixels valid in every band of both; C bands of the cube, G of the guide.

    Attributes:
        mean: `(C,)`.
        mean_guide: `(G,)`.
        within: `(C, C)` covariance of the cube.
        between: `(C, G)` covariance of cube and guide.
        within_guide: `(G, G)` covariance of the guide.
    """

    mean: Floats
    mean_guide: Floats
    within: Floats
    between: Floats
    within_guide: Floats

    @classmethod
    def of(cls, cube: Cube, guide: Cube) -> Self:
        """Go over two cubes once.

        Raises:
            NoDataError: no pixel is valid in every band of both.
        """
        bands, both = cube.shape[0], cube.shape[0] + guide.shape[0]
        count, mean, spread = 0, np.zeros(both), np.zeros((both, both))
        side = max(16, int(math.sqrt(_TILE_BYTES / (8 * both))))
        for rows, cols in cores(cube.shape[1:], 0, side):
            place = {"rows": slice(*rows), "cols": slice(*cols)}
            (first, valid), (second, known) = cube.read(**place), guide.read(**place)
            kept = valid.all(axis=0) & known.all(axis=0)
            part = np.concatenate([first[:, kept], second[:, kept]]).astype(np.float64)
            number = part.shape[1]
            if not number:
                continue
            own = part.mean(axis=1)
            part -= own[:, None]
            # Chan, Golub and LeVeque 1983: merge centred sums
            step, total = own - mean, count + number
            spread += part @ part.T + np.outer(step, step) * (count * number / total)
            mean += step * (number / total)
            count = total
        if not count:
            raise NoDataError("no pixel is valid in every band of the cube and the MSI: check their masks")
        spread /= count
        return cls(mean[:bands], mean[bands:], spread[:bands, :bands], spread[:bands, bands:], spread[bands:, bands:])

    def unexplained(self) -> Floats:
        """1 - R² of the least-squares fit of each band of the guide by the cube and a constant; `(G,)`, NaN if flat."""
        size, vectors = np.linalg.eigh(self.within)
        kept = size > _CUT * max(float(size[-1]), 0.0)
        along = vectors[:, kept].T @ self.between
        explained = (along**2 / size[kept, None]).sum(axis=0)
        variance = np.diag(self.within_guide)
        share = np.divide(explained, variance, out=np.full_like(variance, np.nan), where=variance > 0)
        left: Floats = np.clip(1 - share, 0.0, 1.0)
        return left
