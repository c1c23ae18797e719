"""FUSE: maximum a posteriori in the subspace of the cube's spectra, in closed form.

`hr = mean + E U`; U minimises
`|E'(lr - mean) - blur(U)|² + |msi - offset - srf·(mean + E U)|²/noise_msi² + |U - prior|²_(Σ⁻¹)`
with E orthonormal in units of the cube's noise and E' its projection, which makes the first term white (Wei et al.,
IEEE TIP 24(11), 2015). Its normal equation is a Sylvester equation, `C₁ U + U BSS'B' = C₃`; the eigenvectors of the
small `C₁` part it into one equation per direction, `(λ + A'A) x = …` with A the degradation. Wei et al. solve each by
Fourier transforms of HR planes. Here the matrix inversion lemma goes further: with `x = prior + δ`,
`(λ + A'A) δ = A'r + g` is solved by `δ = g/λ + A'w`, `(λ + AA') w = r - A g/λ`, and AA' is a convolution of the small
LR plane. The result is the same.

The border is mirrored, exactly so for a PSF that is symmetric and not shifted: the Fourier transform is taken of an LR
plane padded by its mirror image so far that its ends do not feel each other.

The prior is the subspace part of GLP-HS, or of the enlarged cube.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from hypersharp.fusion._basis import COUNT, Basis, fit_basis, white_msi
from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion._regression import blur_halo, inject, up_halo
from hypersharp.fusion._spec import Calibration, Floats, Fuse, FusionSpec, Window
from hypersharp.fusion.methods.glp import detail, fit_synthesis

Doubles = NDArray[np.float64]
Prior = Literal["glp", "exp"]

_PRIOR_VARIANCE = 0.25  # of each coordinate's variance at LR, as Wei et al. choose
# LR pixels beyond the PSF. Measured on a scene without noise to speak of (60 dB), sigma 0.64 of an LR pixel and one MSI
# band: 1e-4 of a band's range is left after 6 in all, a tenth of it after every further 2 or 3.
_RINGING = 6


@dataclass(frozen=True, eq=False)
class Solver:
    """The equation of one scene, with the eigenvectors of C₁.

    Attributes:
        calibration: of the pair.
        basis: of the spectra.
        eigenvalues: `(p,)` λ, above 0.
        eigenvectors: `(p, p)`, in columns.
        weigh: `(p, B)` from the residual of the MSI to `g/λ`.
        response: `(B, p)` srf·E.
        constant: `(B,)` srf·mean + offset.
        injection: `(p, B)` from the MSI's detail to the prior.
    """

    calibration: Calibration
    basis: Basis
    eigenvalues: Doubles
    eigenvectors: Doubles
    weigh: Doubles
    response: Doubles
    constant: Doubles
    injection: Doubles

    def solve(self, window: Window) -> Floats:
        """The coordinates `(p, s·h, s·w)` float32 of a window."""
        u = self.basis.encode(window.lr)
        prior = inject(u, detail(window, self.calibration), self.injection, self.calibration)
        blur = self.calibration.blur(window.msi.shape[1:])
        beyond = window.msi - _mix(self.response, prior) - self.constant[:, None, None].astype(np.float32)
        change = _mix(self.weigh, beyond)
        left = _mix(self.eigenvectors.T, u - blur.apply(prior)) - blur.apply(change)
        change += self._back(left)
        prior += _mix(self.eigenvectors, change)
        return prior

    def _back(self, left: Floats) -> Floats:
        """`A'w` with `(λ + AA') w = left`, `(p, s·h, s·w)` of `(p, h, w)`."""
        scale, pad = self.calibration.scale, reach(self.calibration)
        sides = [(pad, fft.next_fast_len(n + 2 * pad, real=True) - n - pad) for n in left.shape[1:]]
        wide = np.pad(left, ((0, 0), *sides), mode="symmetric")
        symbol = _symbol(self.calibration, wide.shape[1:])
        spectrum = fft.rfft2(wide)
        spectrum /= (self.eigenvalues[:, None, None] + symbol).astype(np.float32)
        wide = fft.irfft2(spectrum, s=wide.shape[1:], overwrite_x=True)
        rows, cols = ((scale * pad, scale * (pad + n)) for n in left.shape[1:])
        blur = self.calibration.blur((scale * wide.shape[1], scale * wide.shape[2]))
        return blur.adjoint_window(wide, rows, cols)


def fit_fuse(
    windows: Sequence[Window],
    calibration: Calibration,
    *,
    prior: Prior = "glp",
    count: int = COUNT,
) -> Fuse:
    """The method with a choice of priors and of the number of directions.

    Raises:
        NoDataError: no pixel is valid.
    """
    basis = fit_basis(windows, calibration.noise_lr, count=count)
    if not basis.count:  # nothing varies, so there is nothing to solve for
        return lambda window: enlarge(window.lr.shape[1:], calibration).apply(window.lr)
    solver = fit_solver(windows, calibration, basis, prior)
    return lambda window: basis.decode(solver.solve(window))


def fit_solver(windows: Sequence[Window], calibration: Calibration, basis: Basis, prior: Prior) -> Solver:
    """Set up the equation of a scene.

    An MSI band that is constant in the sample is dead and gets no weight.
    """
    white = white_msi(windows, calibration)
    response = calibration.srf @ basis.vectors
    seen = white[:, None] * response
    eigenvalues, eigenvectors = np.linalg.eigh(seen.T @ seen + np.diag(1 / (_PRIOR_VARIANCE * basis.variance)))
    # no eigenvalue is below the least of the prior's; what is, is rounding
    eigenvalues = np.maximum(eigenvalues, 1 / (_PRIOR_VARIANCE * basis.variance.max()))
    injection = np.zeros(response.T.shape)
    if prior == "glp":
        injection = basis.project @ fit_synthesis(windows, calibration).injection
    return Solver(
        calibration,
        basis,
        eigenvalues,
        eigenvectors,
        (seen @ eigenvectors / eigenvalues).T * white,
        response,
        calibration.srf @ basis.mean + calibration.offset,
        injection,
    )


def reach(calibration: Calibration) -> int:
    """LR pixels over which the data of the equation are felt: those under the PSF, and where its inversion rings."""
    return blur_halo(calibration) + _RINGING


def _symbol(calibration: Calibration, shape: tuple[int, ...]) -> Doubles:
    """`(h, w // 2 + 1)` transfer function of AA' on a periodic LR plane, from its answer to a single pixel."""
    reach = blur_halo(calibration)
    size, centre = 4 * reach + 3, 2 * reach + 1
    point = np.zeros((size, size))
    point[centre, centre] = 1
    blur = calibration.blur((size * calibration.scale,) * 2)
    kernel = blur.apply(blur.adjoint(point))
    plane = np.zeros(shape)
    rows, cols = ((np.arange(size) - centre) % n for n in shape)
    np.add.at(plane, np.ix_(rows, cols), kernel)
    return np.maximum(fft.rfft2(plane).real, 0)


def _mix(matrix: Doubles, planes: Floats) -> Floats:
    """`(m, H, W)` float32 combinations of `(n, H, W)`."""
    flat = matrix.astype(np.float32) @ planes.reshape(len(planes), -1)
    return flat.reshape(-1, *planes.shape[1:])


METHOD = FusionSpec(
    fit=fit_fuse,
    halo=lambda calibration: reach(calibration) + up_halo(calibration),
    title="maximum a posteriori in the spectral subspace, closed form",
    source="Wei et al., IEEE TIP 24(11), 2015",
)
