"""The closed-form methods against dense solutions, other formulae and cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp.fusion._basis import fit_basis
from hypersharp.fusion.methods import fuse, get_fusion_method, glp
from hypersharp.operators import bicubic_enlarge

from .made import mpsnr_db, stated, synthetic

NOISY = {"noise_db": 30.0, "msi_noise_db": 35.0}


def dense(operator):
    """The matrix of an operator on flattened planes."""
    height, width = operator.shape_in
    return operator.apply(np.eye(height * width).reshape(-1, height, width)).reshape(height * width, -1).T


@pytest.mark.parametrize(("bands", "msi_bands", "rank", "scale"), [(3, 1, 2, 2), (5, 2, 3, 2), (4, 3, 2, 3)])
def test_fuse_is_the_minimiser_that_a_dense_solver_finds(bands, msi_bands, rank, scale):
    pair = synthetic(
        bands=bands, msi_bands=msi_bands, rank=rank, shape_lr=(3, 4), scale=scale, sigma=0.5 * scale, **NOISY
    )
    known, window = pair.calibration, pair.window
    basis = fit_basis([window], known.noise_lr, count=rank)
    found = fuse.fit_fuse([window], known, prior="exp", count=rank)(window)

    # the objective in physical units, unknowns ordered (direction, pixel)
    lr, msi = window.lr.astype(float).reshape(bands, -1), window.msi.astype(float).reshape(msi_bands, -1)
    blur, wide = dense(known.blur(pair.hr.shape[1:])), dense(bicubic_enlarge((3, 4), scale))
    u_lr = np.linalg.lstsq(
        basis.vectors / basis.noise[:, None], (lr - lr.mean(1, keepdims=True)) / basis.noise[:, None]
    )[0]
    prior = (u_lr @ wide.T).ravel()
    precision = np.linalg.inv(0.25 * np.cov(u_lr, bias=True).reshape(rank, rank))
    pixels = blur.shape[1]
    rows = [
        (np.kron(basis.vectors / basis.noise[:, None], blur), (lr - lr.mean(1, keepdims=True)) / basis.noise[:, None]),
        (
            np.kron(known.srf @ basis.vectors / known.noise_msi[:, None], np.eye(pixels)),
            (msi - (known.srf @ lr.mean(1))[:, None]) / known.noise_msi[:, None],
        ),
        (np.kron(np.linalg.cholesky(precision).T, np.eye(pixels)), None),
    ]
    matrix = np.concatenate([block for block, _ in rows])
    right = np.concatenate([rows[0][1].ravel(), rows[1][1].ravel(), rows[2][0] @ prior])
    solution = np.linalg.lstsq(matrix, right)[0].reshape(rank, pixels)
    expected = (basis.vectors @ solution + lr.mean(1, keepdims=True)).reshape(pair.hr.shape)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.ptp(expected))


def test_fuse_solves_the_sylvester_equation_of_the_paper():
    pair = synthetic(shape_lr=(20, 20), rank=4, msi_bands=2, **NOISY)
    window, known = pair.window, pair.calibration
    basis = fit_basis([window], known.noise_lr, count=4)
    u = fuse.fit_solver([window], known, basis, "exp").solve(window).astype(float)
    blur = known.blur(pair.hr.shape[1:])
    seen = known.srf @ basis.vectors / known.noise_msi[:, None]
    prior_precision = np.diag(1 / (0.25 * basis.variance))
    prior = bicubic_enlarge((20, 20), 2).apply(basis.encode(window.lr)).astype(float)
    beyond = (window.msi - (known.srf @ basis.mean)[:, None, None]) / known.noise_msi[:, None, None]

    def mixed(matrix, planes):
        return np.tensordot(matrix, planes, axes=1)

    left = mixed(seen.T @ seen + prior_precision, u) + blur.adjoint(blur.apply(u))
    right = blur.adjoint(basis.encode(window.lr).astype(float)) + mixed(seen.T, beyond) + mixed(prior_precision, prior)
    assert np.abs(left - right).max() < 1e-4 * np.abs(right).max()


@pytest.mark.parametrize("prior", ["glp", "exp"])
def test_fuse_recovers_a_cube_of_known_rank(prior):
    pair = synthetic(rank=4, msi_bands=6, bands=24, shape_lr=(24, 24))
    assert mpsnr_db(pair.hr, fuse.fit_fuse([pair.window], pair.calibration, prior=prior)(pair.window)) > 70


@pytest.mark.parametrize("gain", ["cbd", "one", "hpm"])
def test_glp_recovers_a_cube_of_known_rank(gain):
    pair = synthetic(rank=4, msi_bands=6, bands=24, shape_lr=(24, 24))
    assert mpsnr_db(pair.hr, glp.fit_glp([pair.window], pair.calibration, gain=gain)(pair.window)) > 100


def test_fuse_takes_offset_and_gain_of_the_msi():
    pair = synthetic(**NOISY)
    offset, gain = np.array([0.3, -0.1, 2.0, 0.0]), np.array([2.0, 0.5, 1.0, 3.0])
    plain = fuse.fit_fuse([pair.window], pair.calibration)(pair.window)
    changed = stated(
        pair,
        offset=offset,
        srf=pair.calibration.srf * gain[:, None],
        noise_msi=pair.calibration.noise_msi * gain,
    )
    msi = (pair.window.msi * gain[:, None, None] + offset[:, None, None]).astype(np.float32)
    window = type(pair.window)(pair.window.lr, msi, pair.window.valid)
    np.testing.assert_allclose(fuse.fit_fuse([window], changed.calibration)(window), plain, atol=1e-4)


def test_glp_with_gain_one_is_regression_plus_residual():
    pair = synthetic(rank=6, msi_bands=3, shape_lr=(9, 14), **NOISY)
    lr, msi = pair.window.lr.astype(float), pair.window.msi.astype(float)
    down = pair.calibration.blur(pair.hr.shape[1:])
    low = down.apply(msi)
    predictors = np.concatenate([low, np.ones_like(low[:1])]).reshape(4, -1).T
    weights = np.linalg.lstsq(predictors, lr.reshape(len(lr), -1).T)[0]
    regression = np.tensordot(weights.T, np.concatenate([msi, np.ones_like(msi[:1])]), axes=1)
    expected = regression + bicubic_enlarge((9, 14), 2).apply(lr - down.apply(regression))
    found = glp.fit_glp([pair.window], pair.calibration, gain="one")(pair.window)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_cbd_gain_is_the_one_of_the_enlarged_planes():
    pair = synthetic(rank=6, msi_bands=2, shape_lr=(9, 14), **NOISY)
    synthesis = glp.fit_synthesis([pair.window], pair.calibration)
    up = bicubic_enlarge((9, 14), 2)
    low = up.apply(pair.calibration.blur(pair.hr.shape[1:]).apply(pair.window.msi.astype(float)))
    synthesised = np.tensordot(synthesis.coefficients.T, low, axes=1)
    for band, wide in enumerate(up.apply(pair.window.lr.astype(float))):
        both = np.cov(wide.ravel(), synthesised[band].ravel(), bias=True)
        assert synthesis.gain[band] == pytest.approx(both[0, 1] / both[1, 1], rel=1e-6)
    assert np.ptp(synthesis.gain) > 1e-3


@pytest.mark.parametrize("method", ["sfim", "glp", "glp hpm"])
def test_bands_proportional_to_the_msi_come_back(method):
    pair = synthetic(bands=5, msi_bands=1, rank=1, shape_lr=(12, 12))
    window, known = pair.window, pair.calibration
    if method == "glp hpm":
        found = glp.fit_glp([window], known, gain="hpm")(window)
    else:
        found = get_fusion_method(method).fit([window], known)(window)
    np.testing.assert_allclose(found, pair.hr, rtol=2e-5)


def test_sfim_ratio_by_hand():
    pair = synthetic(bands=2, msi_bands=1, rank=2, shape_lr=(8, 8))
    lr, msi = pair.window.lr, pair.window.msi
    up = bicubic_enlarge((8, 8), 2)
    low = up.apply(pair.calibration.blur((16, 16)).apply(msi))
    found = get_fusion_method("sfim").fit([pair.window], pair.calibration)(pair.window)
    np.testing.assert_allclose(found, up.apply(lr) * msi / low, rtol=1e-5)


def test_sfim_where_the_low_pass_is_not_positive():
    pair = synthetic(bands=3, msi_bands=1, rank=2, shape_lr=(8, 8))
    window = type(pair.window)(pair.window.lr, pair.window.msi - 1.0, pair.window.valid)
    low = bicubic_enlarge((8, 8), 2).apply(pair.calibration.blur((16, 16)).apply(window.msi))[0]
    plain = bicubic_enlarge((8, 8), 2).apply(window.lr)
    found = get_fusion_method("sfim").fit([window], pair.calibration)(window)
    assert (low < 0).any()
    np.testing.assert_array_equal(found[:, low < 0], plain[:, low < 0])
    assert (found <= 10 * np.abs(plain) + 1e-6).all()


def test_gsa_of_a_single_proportional_band_is_the_msi():
    pair = synthetic(bands=1, msi_bands=1, rank=1, shape_lr=(12, 12))
    found = get_fusion_method("gsa").fit([pair.window], pair.calibration)(pair.window)
    np.testing.assert_allclose(found, pair.hr, rtol=5e-3)  # but for the ridge of 1e-3


def test_gsa_takes_each_band_from_its_own_msi_band():
    pair = synthetic(bands=20, msi_bands=4, rank=6, shape_lr=(14, 14))
    changed = pair.window.msi.copy()
    changed[3, 10, 10] += 1
    fused = get_fusion_method("gsa").fit([pair.window], pair.calibration)
    moved = np.abs(fused(type(pair.window)(pair.window.lr, changed, pair.window.valid)) - fused(pair.window))
    assert (moved[:3, 10, 10] == 0).all()
    assert (moved[17:, 10, 10] > 0.5).all()
    assert np.count_nonzero(moved.max(axis=0)) == 1
