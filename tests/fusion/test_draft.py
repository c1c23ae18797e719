"""The draft: Wiener's estimate against its formula, and what noise and its absence make of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp.fusion.draft import fit_draft, wiener
from hypersharp.fusion.methods.glp import fit_glp
from hypersharp.infer import subspace

from .made import mpsnr_db, synthetic


def covariance(count, seed):
    parts = np.random.default_rng(seed).normal(size=(count, 3 * count))
    return parts @ parts.T


def test_wiener_is_signal_over_signal_and_noise():
    signal, noise = covariance(4, 0), 0.3 * covariance(4, 1)
    wanted = signal @ np.linalg.inv(signal + noise)
    np.testing.assert_allclose(wiener(signal + noise, noise), wanted, atol=1e-9)


def test_what_has_no_noise_stays_and_what_is_nothing_else_goes():
    total = covariance(3, 2)
    np.testing.assert_allclose(wiener(total, np.zeros((3, 3))), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(wiener(total, 1.5 * total), 0, atol=1e-12)
    kept = wiener(np.diag([4.0, 1.0, 0.0]), np.diag([1.0, 2.0, 0.0]))
    np.testing.assert_allclose(kept, np.diag([0.75, 0, 0]), atol=1e-12)


def through(pair, count=4):
    """The scene that a draft alone gives."""
    window = pair.window
    space = subspace.fit(
        [(window.lr, np.broadcast_to(window.valid, window.lr.shape))], pair.calibration.noise_lr, count=count
    )
    draft = fit_draft([window], pair.calibration, space)
    u = draft(space.encode(window.lr), window.msi)
    return space.mean[:, None, None] + np.tensordot(space.basis, u, axes=1)


def test_an_exact_pair_without_noise_is_exact():
    """As many MSI bands as dimensions; the scene is rough all over, which is not to be taken for noise."""
    pair = synthetic(scale=4, sigma=1.7, rank=4, shape_lr=(24, 26))
    assert mpsnr_db(pair.hr, through(pair)) > 100


@pytest.mark.parametrize(("noise_db", "msi_noise_db", "least"), [(60, 60, 0.5), (60, 25, 0.2), (15, 25, 4.0)])
def test_with_noise_it_is_ahead_of_the_pyramid(noise_db, msi_noise_db, least):
    pair = synthetic(scale=4, sigma=1.7, rank=4, shape_lr=(24, 26), noise_db=noise_db, msi_noise_db=msi_noise_db)
    pyramid = fit_glp([pair.window], pair.calibration)(pair.window)
    assert mpsnr_db(pair.hr, through(pair)) > mpsnr_db(pair.hr, pyramid) + least
