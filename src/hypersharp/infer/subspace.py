"""The subspace domain: a scene as a few eigenimages of its own LR cube, so that one network runs on any sensor.

The basis is a principal component analysis in units of each band's noise (maximum noise fraction; Green et al., IEEE
TGRS 26, 1988), so a noisy band cannot rule it. What it does not hold is carried by bicubic enlargement, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import NoDataError
from hypersharp.infer.fit import SceneFit
from hypersharp.infer.methods import Bicubic, Span
from hypersharp.infer.session import Session

Floats = NDArray[np.floating[Any]]
_NOISELESS = 1e-3  # of a band's spread: noise that stands in for less, or such a band would rule the basis
_NOTHING = 1e-9  # of the strongest component's variance: what is below is rounding
_FURTHEST = 1e3  # spreads of the loudest eigenimage; a pixel further out is a defect, and is left to bicubic
# Exponent of an eigenimage's energy in its own spread. At 0 all have unit spread, and the noise of the last ones is as
# loud as the scene in the first; at 1 the network hardly sees any but the first. docs/log.md has what was measured.
_LOUDNESS = 0.7


@dataclass(frozen=True, eq=False)
class Subspace:
    """`spectrum ≈ mean + basis · u` with eigenimages `u` of zero mean over the LR scene, the loudest of unit spread.

    Attributes:
        mean: `(C,)` mean spectrum in physical units.
        basis: `(C, K)` physical units per unit of each eigenimage; columns of zeros pad a scene that has fewer.
        project: `(K, C)` with `project · basis` the identity, but for what is padded.
        deviation: `(C,)` standard deviation of each band, physical units; 0 for bands that the basis leaves out.
        noise: `(C,)` of each band, as it was told; 0 for bands that the basis leaves out.
        keep: `(C, C)` from a spectrum less the mean to the same without what is outside of the eigenimages and no more
            than noise; bands that the basis leaves out stay as they are.
    """

    mean: NDArray[np.float64]
    basis: NDArray[np.float64]
    project: NDArray[np.float64]
    deviation: NDArray[np.float64]
    noise: NDArray[np.float64]
    keep: NDArray[np.float64]

    def encode(self, values: Floats) -> Floats:
        """Eigenimages `(K, h, w)` of `(C, h, w)`, kept within what a network can be asked about."""
        away = values - self.mean[:, None, None].astype(values.dtype)
        u: Floats = np.tensordot(self.project.astype(values.dtype), away, axes=1)
        return np.clip(u, -_FURTHEST, _FURTHEST, out=u)

    def calm(self, values: Floats) -> Floats:
        """Spectra `(C, h, w)` with the same eigenimages, and of what these do not hold little noise."""
        mean = self.mean[:, None, None].astype(values.dtype)
        kept: Floats = mean + np.tensordot(self.keep.astype(values.dtype), values - mean, axes=1)
        return kept

    def spread(self) -> NDArray[np.float64]:
        """`(K,)` what one unit of each eigenimage is in the bands, each band in units of its own deviation."""
        return _energy(self.basis, self.deviation)

    def gram(self) -> NDArray[np.float64]:
        """`(1 + K, 1 + K)` products of mean and basis, over the energy of the mean spectrum."""
        both = np.concatenate([self.mean[:, None], self.basis], axis=1)
        product = both.T @ both
        return np.asarray(product / max(float(np.trace(product)), 1e-300))


def of_scene(scene: SceneFit, *, count: int) -> Subspace:
    """The basis that a network sees of a scene: `fit` without dead bands and without components of noise.

    Raises:
        NoDataError: the scene has no eigenimages.
    """
    return fit(scene.pieces, scene.live_noise, count=count, drop_noise=True)


def fit(
    windows: Sequence[tuple[Floats, NDArray[np.bool_]]],
    noise: NDArray[np.float64],
    *,
    count: int,
    drop_noise: bool = False,
) -> Subspace:
    """Fit the basis of one LR scene.

    Args:
        windows: `(values (C, h, w), valid (C, h, w))` pieces of the LR scene; never of HR.
        noise: `(C,)` standard deviation of each band's noise; NaN for bands that the basis leaves to bicubic.
        count: `K`.
        drop_noise: leave out components that hold no more than noise; their columns are zeros.

    Raises:
        NoDataError: no pixel is valid in all bands that count.
    """
    alive = np.isfinite(noise)
    pixels = np.concatenate(
        [values[:, valid[alive].all(axis=0)].astype(np.float64) for values, valid in windows], axis=1
    )
    if not alive.any():
        raise NoDataError(
            "too few pixels to tell noise from signal, so the scene has no eigenimages; take method bicubic"
        )
    if pixels.shape[1] < 2:
        raise NoDataError("no pixel is valid in all bands, so the scene has no eigenimages; leave out the bad bands")
    pixels[~alive] = 0
    mean = pixels.mean(axis=1)
    away = pixels - mean[:, None]
    floor = np.maximum(np.where(alive, noise, 0.0), _NOISELESS * away.std(axis=1))
    white = np.divide(1.0, floor, out=np.zeros_like(floor), where=floor > 0)
    scaled = away * white[:, None]
    values, vectors = np.linalg.eigh(scaled @ scaled.T / pixels.shape[1])
    order = np.argsort(values)[::-1][:count]
    # Noise has variance 1 here, its strongest component of few pixels more (Marchenko and Pastur, 1967).
    edge = (1 + (alive.sum() / pixels.shape[1]) ** 0.5) ** 2
    least = edge * (np.arange(len(order)) > 0) * drop_noise
    louder = values[order] > np.maximum(least, _NOTHING * max(values.max(), 1e-300))
    order = order[louder]
    # Noise is what most components hold, where that is more than was estimated; those of the basis stay whole.
    loud = max(1.0, float(np.median(values[-alive.sum() :])))  # eigenvalues ascend, those of dead bands are first
    share = np.maximum(0.0, 1 - edge * loud / np.maximum(values, 1e-300))
    share[order] = 1.0
    keep = (vectors * share * floor[:, None]) @ (vectors.T * white) + np.diag(~alive)
    size = np.sqrt(values[order])
    vectors = vectors[:, order]
    vectors = vectors * np.where(vectors.sum(axis=0) < 0, -1.0, 1.0)  # the sign of an eigenvector is anyone's
    deviation = np.where(alive, away.std(axis=1), 0.0)
    energy = _energy(vectors * size * floor[:, None], deviation)
    size = size * (energy.max(initial=0.0) / energy) ** _LOUDNESS
    basis, project = np.zeros((len(mean), count)), np.zeros((count, len(mean)))
    basis[:, : len(order)] = vectors * size * floor[:, None]
    project[: len(order)] = (vectors / size).T * white
    return Subspace(mean, basis, project, deviation, np.where(alive, noise, 0.0), keep)


def _energy(basis: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(K,)` norms of the columns of `(C, K)`; a band counts by its contrast, not by how bright or noisy it is."""
    share = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return np.asarray(np.sqrt(((basis * share[:, None]) ** 2).sum(axis=0)))


@dataclass(frozen=True, eq=False)
class Eigenimages:
    """What a network on eigenimages adds to bicubic enlargement: `net(u) − bicubic(u)`; these are `Images`.

    A network that gives the change is taken as it is.

    Attributes:
        session: the network.
        subspace: fitted on the LR scene.
        bicubic: enlargement of the scene.
        scale: HR pixels per LR pixel along a side.
        multiple_of: as the card says.
        conditions: `(D,)` numbers that it takes as channels after the eigenimages; None for none.
    """

    session: Session
    subspace: Subspace
    bicubic: Bicubic
    scale: int
    multiple_of: int = 1
    conditions: NDArray[np.float32] | None = None

    @property
    def name(self) -> str:
        """Model name, the first digits of the hash of its file, and the number of eigenimages."""
        kept = int((self.subspace.spread() > 0).sum())
        return f"{self.session.card.model} (weights {self.session.sha256[:12]}, {kept} eigenimages)"

    @property
    def halo(self) -> int | None:
        """As the card says, and what bicubic needs."""
        own = self.session.card.halo
        return None if own is None else max(own, self.bicubic.halo)

    def __call__(self, lr: Floats, origin: tuple[int, int], hr_rows: Span, hr_cols: Span) -> Floats:
        """See `Images`."""
        u = self.subspace.encode(lr).astype(np.float32)
        given, (height, width) = u[None], u.shape[1:]
        if self.conditions is not None:
            maps = np.broadcast_to(self.conditions[:, None, None], (len(self.conditions), height, width))
            given = np.concatenate([given, maps[None]], axis=1)
        step = self.session.card.multiple_of
        pad = (-height % step, -width % step)
        if any(pad):
            given = np.pad(given, ((0, 0), (0, 0), (0, pad[0]), (0, pad[1])), mode="symmetric")
        top, left = origin[0] * self.scale, origin[1] * self.scale
        sharp: Floats = self.session(given)[0]
        sharp = sharp[:, hr_rows[0] - top : hr_rows[1] - top, hr_cols[0] - left : hr_cols[1] - left]
        if self.session.card.gives == "image":
            sharp = sharp - self.bicubic(u, origin, hr_rows, hr_cols)
        return sharp
