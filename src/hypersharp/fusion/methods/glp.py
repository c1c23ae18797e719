"""GLP-HS: hypersharpening by regression, with the detail of a generalised Laplacian pyramid.

Each band of the cube has an MSI band of its own synthesised, by regression on all of them at LR. Its detail, what
degrading and enlarging again takes from it, is added to the enlarged band with a context-based gain (CBD), or the
enlarged band is multiplied with the ratio (HPM). Needs neither response nor radiometric match.

As `P = coefficientsᵀ · msi + constant`, all that is linear in the synthesised bands P is done on the B bands of the
MSI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion._regression import blur_halo, inject, lowered, moments, ratio, trusted, up_halo
from hypersharp.fusion._spec import Calibration, Floats, Fuse, FusionSpec, Window

Gain = Literal["cbd", "hpm", "one"]


@dataclass(frozen=True, eq=False)
class Synthesis:
    """MSI bands for each band of the cube: `coefficientsᵀ · msi + constant`.

    Attributes:
        coefficients: `(B, C)`.
        constant: `(C,)` physical units.
        gain: `(C,)` CBD gain of each band's detail; 1 for bands that have none.
    """

    coefficients: NDArray[np.float64]
    constant: NDArray[np.float64]
    gain: NDArray[np.float64]

    @property
    def injection(self) -> NDArray[np.float64]:
        """`(C, B)` weights of the MSI's detail in each band."""
        return self.gain[:, None] * self.coefficients.T


def fit_synthesis(windows: Sequence[Window], calibration: Calibration) -> Synthesis:
    """Regress the cube's bands on the MSI at LR, then find the gains.

    Gain of band b: `cov(up(lr_b), up(down(P_b))) / var(up(down(P_b)))`; Aiazzi et al., IEEE TGRS 40(10), 2002.

    Raises:
        NoDataError: no pixel is valid.
    """
    lows, masks = lowered(windows, calibration), trusted(windows, calibration)
    pieces = [(low, w.lr, mask) for low, w, mask in zip(lows, windows, masks, strict=True)]
    at_lr = moments(pieces)
    coefficients = at_lr.regress()
    wide = moments(pieces, enlarged=calibration)
    both = (coefficients * wide.xy).sum(axis=0)
    own = (coefficients * (wide.xx @ coefficients)).sum(axis=0)
    live = own > 0
    gain = np.where(live, both / np.where(live, own, 1.0), 1.0)
    return Synthesis(coefficients, at_lr.mean_y - at_lr.mean_x @ coefficients, gain)


def detail(window: Window, calibration: Calibration) -> Floats:
    """`(B, s·h, s·w)`: what degrading and enlarging again takes from the MSI."""
    return window.msi - _low_pass(window, calibration)


def fit_glp(windows: Sequence[Window], calibration: Calibration, *, gain: Gain = "cbd") -> Fuse:
    """The method with a choice of gains; 1 makes it regression plus residual.

    Raises:
        NoDataError: no pixel is valid.
    """
    synthesis = fit_synthesis(windows, calibration)
    weights = synthesis.injection if gain == "cbd" else synthesis.coefficients.T

    def add(window: Window) -> Floats:
        return inject(window.lr, detail(window, calibration), weights, calibration)

    def multiply(window: Window) -> Floats:
        out = enlarge(window.lr.shape[1:], calibration).apply(window.lr)
        low = _low_pass(window, calibration)
        for band, (weight, constant) in enumerate(zip(weights.astype(np.float32), synthesis.constant, strict=True)):
            shift = np.float32(constant)
            sharp, smooth = (np.tensordot(weight, bands, axes=1) + shift for bands in (window.msi, low))
            out[band] *= ratio(sharp, smooth)
        return out

    return multiply if gain == "hpm" else add


def _low_pass(window: Window, calibration: Calibration) -> Floats:
    low = calibration.blur(window.msi.shape[1:]).apply(window.msi)
    return enlarge(window.lr.shape[1:], calibration).apply(low)


METHOD = FusionSpec(
    fit=fit_glp,
    halo=lambda calibration: blur_halo(calibration) + up_halo(calibration),
    title="regression-based hypersharpening with Laplacian-pyramid detail",
    source="Selva et al., IEEE JSTARS 8(6), 2015; Aiazzi et al., IEEE TGRS 40(10), 2002",
)
