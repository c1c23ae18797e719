"""Make a sharpened cube agree with its input: degrade(sr) = lr, as far as the noise of lr lets it be known.

The change with the least energy is sought: min ‖sr - sr₀‖² + ‖A·sr - lr‖²/λ, with A the degradation. Its solution is
sr = sr₀ + Aᵀ·z with (A·Aᵀ + λ)·z = lr - A·sr₀, a system of LR size. Forcing the residual to zero copies the noise of lr
into sr. So the residual's bands are divided by their noise and rotated to their principal components, of which each
has noise of spread 1; λ is chosen once per scene and component so that the residual that is left, λ·z, has just that
spread (Morozov's discrepancy principle), and components that hold no more than noise are left alone. What is true in
the residual is in a few components, what is noise is in all of them.

A linear correction rings beside dark water and shadows, down to negative radiance, and the spectral angle suffers. So
in the mode ``noise`` it takes no band lower than a tenth below the darkest of its nine LR neighbours; what is lifted
there is taken from the rest of the LR pixel (`infer/undershoot.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import all_valid
from hypersharp.errors import UsageError
from hypersharp.operators import Axis, Separable

Span = tuple[int, int]
Floats = NDArray[np.floating[Any]]
MODES = ("noise", "exact", "off")

_FLOOR = {"noise": 1e-4, "exact": 1e-6}  # smallest λ, relative to the largest eigenvalue of A·Aᵀ
_TAIL = 1e-7  # part of the correction's weights that may lie outside of the halo
_LARGEST_HALO = 96
_MOST_COMPONENTS = 64
_TOLERANCE = 1e-7  # of the iterative solver, relative to the residual
_MOST_STEPS = 400
_GROUP_BYTES = 1 << 21  # components are iterated in groups of about this size, which stay in the processor's cache
_NOISE_EDGE = 0.8  # of that power: the degraded estimate takes part of the noise with it out of the residual


@dataclass(frozen=True, eq=False)
class Consistency:
    """What is decided once per scene about consistency.

    Attributes:
        operator: the degradation of the whole scene, HR to LR.
        lam: `(K,)` λ of each component that is corrected.
        project: `(K, C)` from bands to components.
        expand: `(C, K)` from components to bands.
        noise: `(C,)` standard deviation of each band.
        guarded: whether undershoot is limited afterwards.
        needed: `(C,)` bands that must be valid for a pixel to be evidence.
        halo: LR pixels around a region whose residual matters for the correction inside it.
        steps: number of steps of the iterative solver, the same for every tile.
        eigenvalues: lowest and highest eigenvalue of A·Aᵀ.
    """

    operator: Separable
    lam: NDArray[np.float64]
    project: NDArray[np.float64]
    expand: NDArray[np.float64]
    noise: NDArray[np.float64]
    guarded: bool
    needed: NDArray[np.bool_]
    halo: int
    steps: int
    eigenvalues: tuple[float, float]

    def solve(self, residual: Floats, valid: NDArray[np.bool_], rows: Span, cols: Span) -> Floats:
        """Solve (M·A·Aᵀ·M + λ)·z = M·residual on a window of the LR plane, M being the valid mask.

        Args:
            residual: `(K, h, w)` lr minus degraded sr₀; 0 where not valid.
            valid: `(h, w)`.
            rows: rows of the LR plane that the window covers.
            cols: columns of the LR plane that the window covers.

        Returns:
            `(K, h, w)` z.
        """
        if self.operator.rank == 1 and all_valid(valid):
            return self._solve_direct(residual, rows, cols)
        return self._solve_iteratively(residual, valid, rows, cols)

    def _solve_direct(self, residual: Floats, rows: Span, cols: Span) -> Floats:
        """By the eigenvectors of the two factors of A·Aᵀ = Gy ⊗ Gx."""
        (gy, qy), (gx, qx) = self._factors(rows, cols)
        qy, qx = qy.astype(residual.dtype), qx.astype(residual.dtype)
        z = np.matmul(qy.T, residual)
        z = np.matmul(z.reshape(-1, len(gx)), qx).reshape(residual.shape)
        energy = np.outer(gy, gx).astype(residual.dtype)
        for band in range(len(z)):
            z[band] /= energy + residual.dtype.type(self.lam[band])
        z = np.matmul(z.reshape(-1, len(gx)), qx.T).reshape(residual.shape)
        whole: Floats = np.matmul(qy, z)
        return whole

    def _factors(self, rows: Span, cols: Span) -> tuple[Any, Any]:
        (along_rows, along_cols) = self.operator.terms[0]
        return _eigen(along_rows.gram_matrix(rows).tobytes()), _eigen(along_cols.gram_matrix(cols).tobytes())

    def _solve_iteratively(self, residual: Floats, valid: NDArray[np.bool_], rows: Span, cols: Span) -> Floats:
        """Chebyshev's iteration with a fixed number of steps (Golub and Van Loan, section 11.2.8)."""
        kept, gram, z = valid.astype(residual.dtype), self._gram(rows, cols), np.zeros_like(residual)
        group = max(1, _GROUP_BYTES // max(1, kept.nbytes))
        for at in (slice(first, first + group) for first in range(0, len(z), group)):
            weight = self.lam[at].astype(z.dtype)[:, None, None]
            low, high = (np.asarray(v + self.lam[at], dtype=z.dtype)[:, None, None] for v in self.eigenvalues)
            middle, half = (high + low) / 2, (high - low) / 2
            left = residual[at] * kept
            alpha, step = 1 / middle, left.copy()
            for count in range(self.steps):
                if count:
                    beta = (half * alpha) ** 2 * (0.5 if count == 1 else 0.25)
                    alpha = 1 / (middle - beta / alpha)
                    step *= beta
                    step += left
                z[at] += alpha * step
                change = gram(step)
                change *= kept
                change += weight * step
                change *= alpha
                left -= change
        return z

    def _gram(self, rows: Span, cols: Span) -> Callable[[Floats], Floats]:
        """The map A·Aᵀ of a window of the LR plane, what it is given being 0 outside of it."""
        if self.operator.rank == 1:
            along_rows, along_cols = self.operator.terms[0]
            return Separable(((_banded(along_rows.gram_matrix(rows)), _banded(along_cols.gram_matrix(cols))),)).apply
        hr_rows, hr_cols = self.operator.support(rows, cols)

        def through_the_sharp_plane(z: Floats) -> Floats:
            sharp = self.operator.adjoint_window(z, hr_rows, hr_cols, (rows[0], cols[0]))
            return self.operator.apply_window(sharp, rows, cols, (hr_rows[0], hr_cols[0]))

        return through_the_sharp_plane


@dataclass(frozen=True, eq=False)
class Residual:
    """lr minus the degraded estimate on a window of the LR plane.

    Attributes:
        values: `(C, h, w)`, 0 where not valid.
        valid: `(h, w)` pixels that are evidence.
        spans: rows and columns of the LR plane that it covers.
    """

    values: Floats
    valid: NDArray[np.bool_]
    spans: tuple[Span, Span]


def _banded(matrix: NDArray[np.float64]) -> Axis:
    """A square matrix with zeros away from its diagonal as a map along an axis, which takes no time over the zeros."""
    row, col = np.nonzero(matrix)
    reach = int(np.abs(row - col).max(initial=0))
    index = np.arange(len(matrix))[:, None] + np.arange(-reach, reach + 1)
    inside = (index >= 0) & (index < len(matrix))
    index = np.clip(index, 0, len(matrix) - 1)
    return Axis(len(matrix), len(matrix), index, np.take_along_axis(matrix, index, axis=1) * inside)


@lru_cache(maxsize=64)
def _eigen(gram: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    matrix = np.frombuffer(gram)
    side = round(len(matrix) ** 0.5)
    values, vectors = np.linalg.eigh(matrix.reshape(side, side))
    return np.maximum(values, 0.0), vectors


def eigenvalue_range(operator: Separable) -> tuple[float, float]:
    """Bounds of the eigenvalues of A·Aᵀ, between which the iterative solver converges.

    Where the kernel is symmetric along both axes the mirrored border leaves the eigenvalues of the endless plane, its
    cosines being those of the border. A turned kernel gains at the border: there the largest sum of a row of A·Aᵀ is
    the bound (Gershgorin).
    """
    spectrum = _spectrum(operator, 48)
    low, high = float(spectrum.min()), float(spectrum.max()) * 1.05
    taps = [axis.weight[0] for axis in operator.terms[0]]
    if operator.rank == 1 and all(np.allclose(one, one[::-1], rtol=0, atol=1e-9) for one in taps):
        return low, high
    ends = [sorted({(0, m), (n - m, n)}) for n in operator.shape_out for m in [min(n, 6 * operator.halo + 4)]]
    for rows, cols in product(*ends):
        support = operator.support(rows, cols)
        ones = np.ones((rows[1] - rows[0], cols[1] - cols[0]))
        spread = operator.adjoint_window(ones, *support, (rows[0], cols[0]))
        sums = operator.apply_window(spread, rows, cols, (support[0][0], support[1][0]))
        high = max(high, float(sums.max()) * _negativity(operator) ** 2)
    return low, high


def _kernel(operator: Separable) -> NDArray[np.float64]:
    return np.asarray(sum(np.outer(y.weight[0], x.weight[0]) for y, x in operator.terms))


def _negativity(operator: Separable) -> float:
    """Sum of the magnitudes of the kernel's weights over their sum: 1 unless some are negative."""
    kernel = _kernel(operator)
    return float(np.abs(kernel).sum() / abs(kernel.sum()))


def _spectrum(operator: Separable, side: int) -> NDArray[np.float64]:
    """`(side, side)` eigenvalues of A·Aᵀ on an endless plane, sampled in frequency."""
    kernel = _kernel(operator)
    scale = operator.shape_in[0] // operator.shape_out[0]
    full = [2 * n - 1 for n in kernel.shape]
    lags = np.fft.fftshift(np.fft.irfft2(np.abs(np.fft.rfft2(kernel, full)) ** 2, full))  # of the autocorrelation
    (top, left), plane = ((n - 1) % scale for n in kernel.shape), np.zeros((side, side))
    lags = lags[top::scale, left::scale]
    at = [(np.arange(n) - n // 2) % side for n in lags.shape]
    np.add.at(plane, np.ix_(*at), lags)
    return np.maximum(np.fft.fft2(plane).real, 0.0)


def make(
    operator: Separable,
    *,
    mode: str,
    noise: NDArray[np.float64],
    residuals: Sequence[Residual],
) -> Consistency | None:
    """Decide components, λ, halo and steps for a scene.

    Args:
        operator: the degradation of the whole scene, HR to LR.
        mode: ``"noise"`` stops at the noise, ``"exact"`` does not, ``"off"`` does nothing.
        noise: `(C,)` standard deviation of each band's noise; NaN for bands that are to be left alone.
        residuals: lr - A·sr₀ of sampled LR windows.

    Returns:
        None where nothing is to be done.

    Raises:
        UsageError: an unknown mode.
    """
    if mode not in MODES:
        raise UsageError(f"consistency must be one of {', '.join(MODES)}, got {mode!r}")
    alive = np.isfinite(noise)
    if mode == "off" or not residuals or not alive.any():
        return None
    low, high = eigenvalue_range(operator)
    floor = _FLOOR[mode] * high
    if mode == "noise":
        project, expand = _components(noise, residuals)
        lam = _at_the_noise(operator, project, residuals, floor, high)
        kept = np.isfinite(lam)
        lam, project, expand = lam[kept], project[kept], expand[:, kept]
    else:
        project = np.eye(len(noise))[alive]
        expand = project.T
        lam = np.full(len(project), floor)
    if not len(lam):
        return None
    # A λ that the iteration could not reach in its steps would leave tiles that differ from the whole.
    rate = (_TOLERANCE / 2) ** (1 / _MOST_STEPS)
    ratio = ((1 + rate) / (1 - rate)) ** 2
    lam = np.maximum(lam, (high - ratio * low) / (ratio - 1))
    smallest = float(lam.min())
    ratio = (high + smallest) / (low + smallest)
    rate = (ratio**0.5 - 1) / (ratio**0.5 + 1)
    steps = 1 if rate <= 0 else int(np.ceil(np.log(_TOLERANCE / 2) / np.log(rate)))
    halo = _halo(operator, smallest)
    return Consistency(
        operator,
        lam,
        project,
        expand,
        noise,
        mode == "noise",
        alive,
        halo,
        min(max(1, steps), _MOST_STEPS),
        (low, high),
    )


def _components(
    noise: NDArray[np.float64], residuals: Sequence[Residual]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`(K, C)` and `(C, K)`: principal components of the residual in units of the noise, strongest first."""
    spread = np.where(np.isfinite(noise), noise, 0.0)
    stacked = np.concatenate([r.values[:, r.valid] for r in residuals], axis=1).astype(np.float64)
    # Bands without any noise at all would rule every component.
    spread = np.maximum(spread, 1e-3 * stacked.std(axis=1)) * np.isfinite(noise)
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    white = stacked * inverse[:, None]
    covariance = white @ white.T / max(1, white.shape[1])
    count = min(len(noise), _MOST_COMPONENTS)
    vectors = np.linalg.eigh(covariance)[1][:, ::-1][:, :count]
    return vectors.T * inverse, vectors * spread[:, None]


def _at_the_noise(
    operator: Separable,
    project: NDArray[np.float64],
    residuals: Sequence[Residual],
    floor: float,
    high: float,
) -> NDArray[np.float64]:
    """λ of each component at which the residual's mean square is 1, by bisection; infinite where it holds noise only.

    Of pure noise, the strongest of C principal components of n pixels has the power (1 + √(C/n))² (Marchenko and
    Pastur, Math. USSR-Sbornik 1, 1967): of few pixels, far more than 1.
    """
    spectra, energies, pixels = [], [], 0
    for residual in residuals:
        left = np.tensordot(project, residual.values * residual.valid, axes=1)
        # A rotated blur is not separable; its leading pair stands in for it in the choice of λ.
        (gy, qy), (gx, qx) = (
            _eigen(axis.gram_matrix(span).tobytes())
            for axis, span in zip(operator.terms[0], residual.spans, strict=True)
        )
        spectra.append((np.matmul(np.matmul(qy.T, left), qx) ** 2).reshape(len(project), -1))
        energies.append(np.outer(gy, gx).ravel())
        pixels += int(residual.valid.sum())
    power, energy = np.concatenate(spectra, axis=1), np.concatenate(energies)

    def left_over(lam: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([(p * (v / (energy + v)) ** 2).sum() for p, v in zip(power, lam, strict=True)])

    below, above = np.full(len(project), np.log(floor)), np.full(len(project), np.log(high * 1e4))
    for _ in range(30):
        middle = (below + above) / 2
        too_much = left_over(np.exp(middle)) > pixels
        above = np.where(too_much, middle, above)
        below = np.where(too_much, below, middle)
    lam: NDArray[np.float64] = np.maximum(np.exp(below), floor)
    bands = np.count_nonzero(project.any(axis=0))
    strongest = max(1.0, _NOISE_EDGE * (1 + (bands / pixels) ** 0.5) ** 2)
    lam[power.sum(axis=1) <= strongest * pixels] = np.inf
    return lam


def _halo(operator: Separable, lam: float) -> int:
    """LR pixels beyond which the weights of (A·Aᵀ + λ)⁻¹ sum to less than the tail."""
    side = 2 * _LARGEST_HALO + 1
    weights = np.abs(np.fft.ifft2(1 / (_spectrum(operator, side) + lam)))
    away = np.minimum(np.arange(side), side - np.arange(side))
    beyond = np.bincount(np.maximum.outer(away, away).ravel(), weights.ravel())
    tail = beyond[::-1].cumsum()[::-1] / weights.sum()
    inside = np.flatnonzero(tail < _TAIL)
    return int(inside[0]) if inside.size else _LARGEST_HALO
