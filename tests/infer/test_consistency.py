"""The correction against dense linear algebra, its bounds and its reach."""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp.degrade.psf import parse_psf
from hypersharp.errors import UsageError
from hypersharp.infer.consistency import MODES, Residual, eigenvalue_range, make
from hypersharp.operators import Separable, kernel_shrink

PSFS = ["mtf:0.3", "mtf:0.15,0.5", "bicubic", "gaussian", "gaussian:fwhm=6", "gaussian:sigma=0.2"]
TURNED = ["gaussian:sigma=0.7,1.4,angle=40", "gaussian:sigma=0.3,3,angle=60", "gaussian:sigma=1.2,2.4,angle=30"]


def operator_of(psf: str, shape: tuple[int, int], scale: int) -> Separable:
    return parse_psf(psf).operator((shape[0] * scale, shape[1] * scale), scale)


def dense(operator: Separable) -> np.ndarray:
    """`(h·w, H·W)` matrix of the whole operator, from the matrices of its axes."""
    return sum(np.kron(rows.matrix(), cols.matrix()) for rows, cols in operator.terms)


def fitted(operator: Separable, *, mode: str = "exact", bands: int = 2, seed: int = 0):
    """A consistency for `bands` bands, and the residual `(C, h, w)` that it was fitted on."""
    height, width = operator.shape_out
    residual = np.random.default_rng(seed).normal(size=(bands, height, width)) * [[[3.0]], [[0.7]]][:bands]
    spans = ((0, height), (0, width))
    seen = Residual(residual, np.ones((height, width), dtype=bool), spans)
    return make(operator, mode=mode, noise=np.full(bands, 0.1), residuals=[seen]), residual


@pytest.mark.parametrize("psf", PSFS + TURNED)
@pytest.mark.parametrize(("scale", "shape"), [(2, (1, 1)), (2, (1, 9)), (3, (8, 7)), (2, (3, 20))])
def test_eigenvalue_bounds_hold(psf, scale, shape):
    """The iteration diverges when an eigenvalue of A·Aᵀ lies above its bounds."""
    operator = operator_of(psf, shape, scale)
    matrix = dense(operator)
    found = np.linalg.eigvalsh(matrix @ matrix.T)
    low, high = eigenvalue_range(operator)
    assert found[-1] <= high * (1 + 1e-9)
    assert low <= found[0] * (1 + 1e-6) + 1e-12
    assert high <= 1.6 * max(found[-1], low), "a bound that is too wide costs steps"


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (9, 8)])
def test_eigenvalue_bounds_hold_for_any_kernel(shape):
    rng = np.random.default_rng(4)
    for _ in range(6):
        kernel = rng.random((5, 7)) - 0.1
        operator = kernel_shrink((shape[0] * 2, shape[1] * 2), 2, kernel)
        matrix = dense(operator)
        assert np.linalg.eigvalsh(matrix @ matrix.T)[-1] <= eigenvalue_range(operator)[1] * (1 + 1e-9)


@pytest.mark.parametrize("psf", ["mtf:0.3", "bicubic", "mtf:0.1", TURNED[0]])
@pytest.mark.parametrize("mode", ["exact", "noise"])
@pytest.mark.parametrize("masked", [False, True])
def test_the_solver_equals_dense_linear_algebra(psf, mode, masked):
    """(M·A·Aᵀ·M + λ)·z = M·residual, solved by numpy.linalg."""
    shape, scale = (7, 9), 2
    operator = operator_of(psf, shape, scale)
    follow, residual = fitted(operator, mode=mode)
    parts = np.tensordot(follow.project, residual, axes=1)
    valid = np.ones(shape, dtype=bool)
    if masked:
        valid[2:5, 3] = valid[0, 0] = valid[6, 5:] = False
    matrix = dense(operator) * valid.reshape(-1, 1)
    got = follow.solve(parts * valid, valid, (0, 7), (0, 9))
    for component, lam in enumerate(follow.lam):
        normal = matrix @ matrix.T + lam * np.eye(matrix.shape[0])
        wanted = np.linalg.solve(normal, (parts[component] * valid).ravel())
        change, golden = matrix.T @ got[component].ravel(), matrix.T @ wanted
        assert np.abs(change - golden).max() <= 1e-6 * np.abs(parts[component]).max()


@pytest.mark.parametrize("psf", ["mtf:0.3", TURNED[0]])
def test_the_correction_is_the_least_change(psf):
    """sr₀ + correction minimises ‖sr - sr₀‖² + ‖A·sr - lr‖²/λ, by numpy.linalg.lstsq of the stacked system."""
    shape, scale = (5, 6), 2
    operator = operator_of(psf, shape, scale)
    follow, _ = fitted(operator, bands=1)
    rng = np.random.default_rng(1)
    lr, sharp = rng.normal(size=(1, 5, 6)), rng.normal(size=(1, 10, 12))
    residual = lr - operator.apply(sharp)
    change = operator.adjoint(follow.solve(residual, np.ones(shape, dtype=bool), (0, 5), (0, 6)))
    matrix = dense(operator)
    weight = 1 / np.sqrt(follow.lam[0])
    stacked = np.vstack([np.eye(120), weight * matrix])
    wanted = np.linalg.lstsq(stacked, np.concatenate([sharp.ravel(), weight * lr.ravel()]), rcond=None)[0]
    np.testing.assert_allclose((sharp + change).ravel(), wanted, atol=2e-5)


@pytest.mark.parametrize("psf", ["mtf:0.3", "bicubic", TURNED[0]])
def test_pixels_beyond_the_halo_do_not_count(psf):
    operator = operator_of(psf, (1, 150), 2)
    follow, residual = fitted(operator)
    valid = np.ones((1, 150), dtype=bool)
    other = residual.copy()
    core = (70, 75)
    reach = operator.adjoint_support((0, 2), (140, 150))[1]
    low, high = reach[0] - follow.halo, reach[1] + follow.halo
    assert low > 5
    other[:, :, :low] += 1000.0
    other[:, :, high:] -= 1000.0
    one, two = (
        operator.adjoint_window(follow.solve(values, valid, (0, 1), (0, 150)), (0, 2), (2 * core[0], 2 * core[1]))
        for values in (residual, other)
    )
    assert np.abs(one - two).max() < 1e-6 * 1000


def test_lambda_leaves_the_noise_and_no_more():
    """Residual = white noise of known spread plus strong detail: what is left has the noise's mean square."""
    operator = operator_of("mtf:0.3", (40, 40), 2)
    rng = np.random.default_rng(2)
    noise = 0.5
    y, x = np.mgrid[0:40, 0:40]
    detail = 6 * np.sin(x / 1.7) * np.cos(y / 2.1)
    residual = np.stack([detail, 0.6 * detail, -detail, 0.3 * detail]) + rng.normal(size=(4, 40, 40)) * noise
    seen = Residual(residual, np.ones((40, 40), dtype=bool), ((0, 40), (0, 40)))
    follow = make(operator, mode="noise", noise=np.full(4, noise), residuals=[seen])
    assert 1 <= len(follow.lam) < 4, "the detail is in one component, the others hold noise only"
    parts = np.tensordot(follow.project, residual, axes=1)
    z = follow.solve(parts, seen.valid, *seen.spans)
    left = follow.lam[:, None, None] * z
    np.testing.assert_allclose((left**2).mean(axis=(1, 2)), 1.0, rtol=0.02)


def test_pure_noise_is_left_alone():
    operator = operator_of("mtf:0.3", (40, 40), 2)
    residual = np.random.default_rng(3).normal(size=(5, 40, 40)) * 0.9
    seen = Residual(residual, np.ones((40, 40), dtype=bool), ((0, 40), (0, 40)))
    assert make(operator, mode="noise", noise=np.ones(5), residuals=[seen]) is None


def test_modes():
    operator = operator_of("mtf:0.3", (5, 5), 2)
    seen = [Residual(np.ones((1, 5, 5)), np.ones((5, 5), dtype=bool), ((0, 5), (0, 5)))]
    assert make(operator, mode="off", noise=np.ones(1), residuals=seen) is None
    assert make(operator, mode="exact", noise=np.array([np.nan]), residuals=seen) is None
    assert make(operator, mode="exact", noise=np.ones(1), residuals=[]) is None
    with pytest.raises(UsageError, match="noise, exact, off"):
        make(operator, mode="exakt", noise=np.ones(1), residuals=seen)
    assert MODES == ("noise", "exact", "off")
