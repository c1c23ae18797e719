"""A linear draft of a scene's eigenimages out of cube and MSI: what a network that sees eigenimages starts from.

A regression at LR says what the MSI's bands tell of each eigenimage; the draft is that, and up-sampled what the cube
says otherwise, as in generalised Laplacian pyramids (`methods.glp`). Both parts are weighed by what of them is more
than noise: the detail of the MSI, whose noise has averaged out in the regression and would be let through whole, and
the cube's difference from the regression (Wiener's estimate, from covariances over the scene).

Letters: B bands of the MSI, K eigenimages, h w rows and columns of LR, s scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hypersharp.degrade.noise import estimate_noise
from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion._regression import lowered, moments, noise_left, trusted
from hypersharp.fusion._spec import Calibration, Floats, Window
from hypersharp.infer.subspace import Subspace

__all__ = ["Draft", "fit_draft", "wiener"]

_NOTHING = 1e-9  # of the total power of standardised channels: a direction of less holds nothing but rounding


@dataclass(frozen=True, eq=False)
class Draft:
    """`fine · msi + up(own · u + coarse · blur(msi))`, the MSI less its mean.

    Attributes:
        mean: `(B,)` of the MSI.
        fine: `(K, B)`.
        coarse: `(K, B)`.
        own: `(K,)`.
        calibration: of the pair; its blur and shift.
    """

    mean: NDArray[np.float64]
    fine: NDArray[np.float64]
    coarse: NDArray[np.float64]
    own: NDArray[np.float64]
    calibration: Calibration

    def __call__(self, u: Floats, msi: Floats) -> Floats:
        """`(K, s·h, s·w)` of the cube's eigenimages `(K, h, w)`, not realigned, and the MSI `(B, s·h, s·w)`."""
        away = msi - self.mean.astype(np.float32)[:, None, None]
        low = self.calibration.blur(msi.shape[1:]).apply(away)
        both = self.own.astype(np.float32)[:, None, None] * u + _mixed(self.coarse, low)
        return np.asarray(_mixed(self.fine, away) + enlarge(u.shape[1:], self.calibration).apply(both))


def fit_draft(windows: Sequence[Window], calibration: Calibration, space: Subspace) -> Draft:
    """Fit on a sample of the scene.

    Args:
        windows: the sample.
        calibration: of the pair; its response and the MSI's noise are not asked for.
        space: the eigenimages.

    Raises:
        NoDataError: no pixel is valid.
    """
    scale, low, kept = calibration.scale, lowered(windows, calibration), trusted(windows, calibration)
    eigenimages = [space.encode(window.lr) for window in windows]
    found = moments(zip(low, eigenimages, kept, strict=True))
    told = found.regress().T
    details, pieces, fine_kept = [], [], []
    for window, coarse, at in zip(windows, low, kept, strict=True):
        details.append(window.msi - enlarge(at.shape, calibration).apply(coarse))
        at_hr, known = (mask.repeat(scale, axis=0).repeat(scale, axis=1) for mask in (at, window.valid))
        fine_kept.append(at_hr)
        pieces.append((window.msi, np.broadcast_to(known, window.msi.shape)))
    own_noise = np.nan_to_num(estimate_noise(pieces)) ** 2
    room = _room(_joined(low, kept), _joined(eigenimages, kept))
    room /= noise_left(calibration.blur(windows[0].msi.shape[1:]))
    fine = told @ wiener(_covariance(details, fine_kept), np.diag(np.minimum(own_noise, room)))
    rest = [u - _mixed(told, y) for u, y in zip(eigenimages, low, strict=True)]
    # Each for itself: where the border is not known, a loud eigenimage is off by more than there is in a faint one.
    total, noise = np.diag(_covariance(rest, kept)), (space.project**2) @ space.noise**2
    own = np.maximum(0.0, 1 - np.divide(noise, total, out=np.ones_like(total), where=total > 0))
    return Draft(found.mean_x, fine, told - fine - own[:, None] * told, own, calibration)


def _room(low: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(B,)` variance that the MSI's noise has at most at LR: what the eigenimages do not explain of it.

    Where a scene is rough all over, a few bands cannot tell it from noise; `calibrate` bounds the noise alike.

    Args:
        low: `(B, n)` MSI at LR.
        u: `(K, n)` eigenimages.
    """
    terms = np.concatenate([u, np.ones((1, u.shape[1]))])
    rest = low.T - terms.T @ np.linalg.lstsq(terms.T, low.T, rcond=None)[0]
    free = max(1, low.shape[1] - len(terms))
    return np.asarray((rest**2).sum(axis=0) / free * (1 + 2 * np.sqrt(2 / free)))  # two standard errors up


def wiener(total: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(n, n)` from noisy channels to the linear estimate of them without noise that is best in the mean.

    Args:
        total: `(n, n)` covariance of the noisy channels.
        noise: `(n, n)` of their noise; directions in which it is more than the total give 0.
    """
    spread = np.sqrt(np.diag(total))
    white = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    values, vectors = np.linalg.eigh(white[:, None] * total * white)
    size = np.sqrt(np.maximum(values, _NOTHING * len(total)))
    root, back = spread[:, None] * vectors * size, (vectors / size).T * white
    power, along = np.linalg.eigh(back @ noise @ back.T)
    return np.asarray(root @ (along * np.maximum(0.0, 1 - power)) @ along.T @ back)


def _joined(pieces: Sequence[Floats], kept: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """`(n, pixels)` of the kept ones."""
    return np.concatenate([piece[:, at] for piece, at in zip(pieces, kept, strict=True)], axis=1).astype(np.float64)


def _covariance(pieces: Sequence[Floats], kept: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    return np.atleast_2d(np.cov(_joined(pieces, kept), bias=True))


def _mixed(matrix: NDArray[np.float64], channels: Floats) -> Floats:
    out: Floats = np.tensordot(matrix.astype(np.float32), channels, axes=1)
    return out
