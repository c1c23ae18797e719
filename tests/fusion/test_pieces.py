"""The pieces that the methods share: enlargement with a shift, moments, the basis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hypersharp.errors import NoDataError
from hypersharp.fusion._basis import LEAST_NOISE, fit_basis
from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion._regression import lowered, moments, trusted
from hypersharp.operators import bicubic_enlarge

from .made import stated, synthetic


def shifted(pair, *shift):
    return stated(pair, shift_yx=shift).calibration


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlargement_by_whole_lr_pixels_is_bicubic_moved(scale):
    pair = synthetic(scale=scale, shape_lr=(9, 11))
    plain = bicubic_enlarge((9, 11), scale).apply(pair.window.lr.astype(float))
    np.testing.assert_array_equal(enlarge((9, 11), pair.calibration).apply(pair.window.lr.astype(float)), plain)
    moved = enlarge((9, 11), shifted(pair, scale, -2 * scale)).apply(pair.window.lr.astype(float))
    np.testing.assert_allclose(moved[:, scale:, : -2 * scale], plain[:, :-scale, 2 * scale :], atol=1e-12)


@pytest.mark.parametrize("shift", [(0.5, 0.0), (-1.3, 2.2)])
def test_enlargement_puts_a_degraded_ramp_back(shift):
    pair = synthetic(scale=3, sigma=1.4, shape_lr=(14, 14), shift=shift)
    ramp = 0.7 * np.arange(42.0)[:, None] - 0.3 * np.arange(42.0)
    lr = pair.calibration.blur((42, 42)).apply(ramp)
    inner = np.s_[15:-15, 15:-15]
    np.testing.assert_allclose(enlarge((14, 14), pair.calibration).apply(lr)[inner], ramp[inner], atol=1e-3)


def test_moments_are_those_of_numpy():
    pair = synthetic(noise_db=30.0, shape_lr=(7, 9))
    rng = np.random.default_rng(1)
    masks = [rng.random((7, 9)) > 0.4 for _ in range(2)]
    low = lowered([pair.window], pair.calibration)[0]
    pieces = [(low, pair.window.lr, masks[0]), (low[:, ::-1], pair.window.lr, masks[1])]
    x, y = (np.concatenate([piece[at][:, piece[2]] for piece in pieces], axis=1).astype(float) for at in (0, 1))
    check(moments(pieces), x, y)
    up = bicubic_enlarge((7, 9), 2)
    wide = [mask.repeat(2, axis=0).repeat(2, axis=1) for mask in masks]
    x, y = (
        np.concatenate(
            [up.apply(piece[at].astype(float))[:, mask] for piece, mask in zip(pieces, wide, strict=True)], axis=1
        )
        for at in (0, 1)
    )
    check(moments(pieces, enlarged=pair.calibration), x, y)


def check(found, x, y):
    both = np.cov(np.concatenate([x, y]), bias=True)
    np.testing.assert_allclose(found.mean_x, x.mean(axis=1))
    np.testing.assert_allclose(found.mean_y, y.mean(axis=1))
    np.testing.assert_allclose(found.xx, both[: len(x), : len(x)], atol=1e-12)
    np.testing.assert_allclose(found.xy, both[: len(x), len(x) :], atol=1e-12)


def test_regression_shares_collinear_predictors():
    y = np.random.default_rng(0).random((1, 5, 5))
    x = np.concatenate([y, y, 0 * y + 3]).astype(np.float32)
    found = moments([(x, 4 * y.astype(np.float32), np.ones((5, 5), bool))]).regress()
    np.testing.assert_allclose(found, [[2], [2], [0]], atol=1e-5)


def test_closest_band():
    rng = np.random.default_rng(0)
    x = rng.random((3, 8, 8)).astype(np.float32)
    y = np.concatenate([x[2:] * 5, 0.1 * x[:1] - 9, np.full((1, 8, 8), 0.3, np.float32), -x[1:2]])
    chosen = moments([(x, y, np.ones((8, 8), bool))]).closest()
    assert chosen[:3].tolist() == [2, 0, -1]
    assert chosen[3] != 1


def test_trusted_pixels_keep_away_from_filled_ones():
    pair = synthetic(shape_lr=(30, 30))
    valid = np.ones((30, 30), dtype=bool)
    valid[4, 4] = False
    (mask,) = trusted([replace(pair.window, valid=valid)], pair.calibration)
    assert not mask[:9, :9].any()
    assert mask[12:, 12:].all()
    (mask,) = trusted([pair.window], shifted(pair, 3.0, 0.0))
    assert not mask[:2].any()
    assert not mask[-2:].any()
    assert mask[2:-2, 2:-2].all()
    speckled = np.indices((30, 30)).sum(axis=0) % 2 == 0
    (mask,) = trusted([replace(pair.window, valid=speckled)], pair.calibration)
    np.testing.assert_array_equal(mask, speckled)
    holes = np.ones((30, 30), dtype=bool)
    holes[4::8, 4::8] = False
    holes[4, 4] = True  # all but a few pixels in this corner are near one
    (mask,) = trusted([replace(pair.window, valid=holes)], pair.calibration)
    np.testing.assert_array_equal(mask, holes)


def test_noise_of_the_coordinates_is_white():
    pair = synthetic(rank=6, noise_db=25.0)
    basis = fit_basis([pair.window], pair.calibration.noise_lr, count=5)
    assert basis.vectors.shape == (20, 5)
    np.testing.assert_allclose(basis.noise, pair.calibration.noise_lr)
    np.testing.assert_allclose(basis.project @ np.diag(basis.noise**2) @ basis.project.T, np.eye(5), atol=1e-9)
    np.testing.assert_allclose(basis.project @ basis.vectors, np.eye(5), atol=1e-9)
    u = basis.encode(pair.window.lr)
    np.testing.assert_allclose(
        np.cov(u.reshape(5, -1), bias=True), np.diag(basis.variance), atol=1e-4 * basis.variance[0]
    )
    assert (np.diff(basis.variance) < 0).all()


def test_basis_holds_a_cube_of_its_rank():
    pair = synthetic(rank=4, bands=24)
    basis = fit_basis([pair.window], pair.calibration.noise_lr)
    np.testing.assert_allclose(basis.decode(basis.encode(pair.window.lr)), pair.window.lr, atol=1e-5)
    np.testing.assert_allclose(basis.noise, LEAST_NOISE * pair.window.lr.std(axis=(1, 2)), rtol=1e-4)


def test_basis_of_few_or_constant_bands():
    pair = synthetic(bands=3, rank=3, msi_bands=1)
    assert fit_basis([pair.window], np.full(3, np.nan)).count == 3
    lr = pair.window.lr.copy()
    lr[1] = 0.3
    basis = fit_basis([replace(pair.window, lr=lr)], np.array([0.1, 0.0, 0.1]))
    assert basis.count == 2
    assert (basis.vectors[1] == 0).all()
    assert basis.mean[1] == pytest.approx(0.3)
    lr[:] = 7
    basis = fit_basis([replace(pair.window, lr=lr)], np.zeros(3))
    assert basis.count == 0
    np.testing.assert_array_equal(basis.decode(basis.encode(lr)), lr)


def test_basis_without_pixels():
    pair = synthetic()
    with pytest.raises(NoDataError):
        fit_basis([replace(pair.window, valid=np.zeros((12, 12), bool))], pair.calibration.noise_lr)
