"""The few directions that a scene's spectra span, in units of each band's noise: where fusion in a subspace solves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import NoDataError
from hypersharp.fusion._spec import Calibration, Floats, Window
from hypersharp.infer import subspace

COUNT = 10
"""Directions by default: on Jasper Ridge 15 and 20 bring nothing more."""

LEAST_NOISE = 1e-3
"""Of a band's spread: the least noise that a band is taken to have, so that data without any can be fused."""


@dataclass(frozen=True, eq=False)
class Basis:
    """`spectrum ≈ mean + vectors · u`; `vectors / noise` has orthonormal columns.

    Hence the noise of `u = project · (lr - mean)` is white with unit variance, in every direction.

    Attributes:
        mean: `(C,)` mean spectrum of the LR sample, physical units.
        vectors: `(C, p)` physical units per unit of `u`; rows of constant bands are 0. `p` may be less than asked for,
            down to 0 for a scene without any variance.
        project: `(p, C)` with `project · vectors` the identity.
        variance: `(p,)` of each coordinate over the sample, largest first.
        noise: `(C,)` standard deviations as used, physical units; 0 for constant bands only.
    """

    mean: NDArray[np.float64]
    vectors: NDArray[np.float64]
    project: NDArray[np.float64]
    variance: NDArray[np.float64]
    noise: NDArray[np.float64]

    @property
    def count(self) -> int:
        """`p`."""
        return len(self.variance)

    def encode(self, values: Floats) -> Floats:
        """Coordinates `(p, h, w)` float32 of spectra `(C, h, w)`."""
        away = values - self.mean[:, None, None].astype(np.float32)
        flat = self.project.astype(np.float32) @ away.reshape(len(away), -1)
        return flat.reshape(self.count, *values.shape[1:])

    def decode(self, u: Floats) -> Floats:
        """Spectra `(C, H, W)` float32 of coordinates `(p, H, W)`."""
        flat = self.vectors.astype(np.float32) @ u.reshape(self.count, u.shape[1] * u.shape[2])
        flat += self.mean[:, None].astype(np.float32)
        return flat.reshape(-1, *u.shape[1:])


def fit_basis(windows: Sequence[Window], noise: NDArray[np.float64], *, count: int = COUNT) -> Basis:
    """Fit the basis on the valid LR pixels of sampled windows.

    Principal components in noise units (maximum noise fraction; Green et al., IEEE TGRS 26, 1988), as the networks of
    the subspace domain use them.

    Args:
        windows: sampled pieces of one scene.
        noise: `(C,)` standard deviation of each band's noise; NaN counts as none. Taken as at least `LEAST_NOISE` of
            the band's spread.
        count: `p` at most.

    Raises:
        NoDataError: no pixel is valid.
    """
    pixels = np.concatenate([w.lr[:, w.valid] for w in windows], axis=1)
    if not pixels.size:
        raise NoDataError("no pixel is valid in both images, so there is nothing to fit fusion on; check the masks")
    mean = pixels.mean(axis=1, dtype=np.float64)
    moving = np.ptp(pixels, axis=1) > 0  # the standard deviation of a constant is rounding, not 0
    spread = np.where(moving, pixels.std(axis=1, dtype=np.float64), 0.0)
    floored = np.where(moving, np.maximum(np.nan_to_num(noise), LEAST_NOISE * spread), 0.0)
    if not moving.any():
        return Basis(mean, np.zeros((len(mean), 0)), np.zeros((0, len(mean))), np.zeros(0), floored)
    pieces = [(w.lr, np.broadcast_to(w.valid, w.lr.shape)) for w in windows]
    found = subspace.fit(pieces, np.where(moving, floored, np.nan), count=min(count, int(moving.sum())))
    white = np.divide(1.0, floored, out=np.zeros_like(floored), where=moving)
    size = np.linalg.norm(found.basis * white[:, None], axis=0)
    kept = size > 0
    vectors, project = found.basis[:, kept] / size[kept], found.project[kept] * size[kept, None]
    return Basis(mean, vectors, project, (project @ (pixels - mean[:, None])).var(axis=1), floored)


def white_msi(windows: Sequence[Window], calibration: Calibration) -> NDArray[np.float64]:
    """`(B,)` one over the noise of each MSI band, which is at least `LEAST_NOISE` of its spread; 0 for dead bands."""
    s = calibration.scale
    pixels = np.concatenate([w.msi[:, w.valid.repeat(s, axis=0).repeat(s, axis=1)] for w in windows], axis=1)
    noise = np.maximum(np.nan_to_num(calibration.noise_msi), LEAST_NOISE * pixels.std(axis=1, dtype=np.float64))
    live = np.ptp(pixels, axis=1) > 0
    return np.where(live, 1 / np.where(live, noise, 1.0), 0.0)
