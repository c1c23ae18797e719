"""Indices with an MSI: by hand on one window, by laws, against least squares, and in tiles as on the whole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hypersharp.cube import Cube, Grid
from hypersharp.degrade.psf import parse_psf
from hypersharp.degrade.wald import degrade
from hypersharp.errors import NoDataError, UsageError
from hypersharp.evaluate import check_guide, guide, guide_indices
from hypersharp.evaluate.moments import CrossMoments
from hypersharp.metrics import q2n

PSF = parse_psf("gaussian:sigma=1.0")


def scene(rows=64, cols=80, bands=9, seed=0):
    """Mixtures of four smooth maps, so that bands are related as those of a scene are."""
    rng = np.random.default_rng(seed)
    maps = ndimage.gaussian_filter(rng.normal(size=(4, rows, cols)), (0, 1.5, 1.5)) * 1000
    return np.tensordot(rng.uniform(0, 1, (bands, 4)), maps, 1) + 3000


def mixed(hr, rows=3, seed=1):
    weights = np.random.default_rng(seed).uniform(0, 1, (rows, len(hr)))
    return np.tensordot(weights / weights.sum(axis=1, keepdims=True), hr, 1)


def degraded(values):
    return degrade(Cube.from_array(values), scale=2, psf=PSF).read()[0]


def of(lr, sr, msi, seed=0, bands=None):
    lr, sr, msi = (part if isinstance(part, Cube) else Cube.from_array(part) for part in (lr, sr, msi))
    chosen = range(lr.shape[0]) if bands is None else bands
    return guide_indices(lr, sr, msi, scale=2, psf=PSF, bands=list(chosen), seed=seed)


def q(x, y):
    """Wang and Bovik 2002 on one window, with numpy's covariance."""
    c = np.cov(x.ravel(), y.ravel())
    mx, my = x.mean(), y.mean()
    return 4 * c[0, 1] * mx * my / ((c[0, 0] + c[1, 1]) * (mx**2 + my**2))


def test_one_window_by_hand():
    rng = np.random.default_rng(4)
    low = rng.uniform(50, 150, (2, 8, 8))
    low[1] += 0.5 * low[0]
    high = rng.uniform(50, 150, (2, 16, 16))
    msi = (high[0] + 2 * rng.uniform(0, 50, (16, 16)))[None]
    found = of(low, high, msi)
    assert found.d_lambda == pytest.approx(abs(q(high[0], high[1]) - q(low[0], low[1])), rel=1e-9)
    seen = PSF.operator((16, 16), 2).apply(msi)[0]
    distance = []
    for fine, coarse in zip(high, low, strict=True):
        slope, offset = np.polyfit(seen.ravel(), coarse.ravel(), 1)
        distance.append(abs(q(fine, slope * msi[0] + offset) - q(coarse, slope * seen + offset)))
    assert found.d_s == pytest.approx(np.mean(distance), rel=1e-9)
    assert found.qnr == pytest.approx((1 - found.d_lambda) * (1 - found.d_s))


def test_what_lr_was_made_of_has_no_distortion_of_khan():
    hr = scene()
    found = of(degraded(hr), hr, mixed(hr))
    assert found.d_lambda_khan == pytest.approx(0, abs=1e-12)
    assert found.d_s_regression == pytest.approx(0, abs=1e-9)
    assert found.rqnr == pytest.approx(1, abs=1e-9)
    assert found.hqnr == pytest.approx(1 - found.d_s)
    assert found.block == 32


def test_regression_is_that_of_least_squares():
    hr = scene()
    rng = np.random.default_rng(0)
    msi = mixed(hr) + rng.normal(size=(3, *hr.shape[1:])) * 100
    design = np.column_stack([hr.reshape(9, -1).T, np.ones(hr[0].size)])
    flat = msi.reshape(3, -1).T
    left = flat - design @ np.linalg.lstsq(design, flat, rcond=None)[0]
    expected = (left**2).sum(axis=0) / ((flat - flat.mean(axis=0)) ** 2).sum(axis=0)
    assert of(degraded(hr), hr, msi).d_s_regression == pytest.approx(expected.mean(), rel=1e-6)


def test_units_of_the_msi_do_not_matter():
    hr = scene()
    msi = mixed(hr)
    lr, sr = degraded(hr), ndimage.gaussian_filter(hr, (0, 1, 1))
    one, other = of(lr, sr, msi), of(lr, sr, -1e-4 * msi + 0.7)
    for name in ("d_lambda", "d_s", "d_lambda_khan", "d_s_regression"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-7)


def test_a_displaced_estimate_is_worse():
    hr = scene()
    msi, lr = mixed(hr), degraded(hr)
    right, wrong = of(lr, hr, msi), of(lr, np.roll(hr, 6, axis=2), msi)
    assert wrong.d_s > right.d_s + 0.2
    assert wrong.d_lambda_khan > 0.1
    assert wrong.rqnr < right.rqnr - 0.2


def test_each_band_is_compared_with_the_one_it_correlates_with():
    hr = scene()
    msi = hr[[7, 2, 5]]
    pairs = dict(of(degraded(hr), hr, msi).guide_of_band)
    assert (pairs[7], pairs[2], pairs[5]) == (0, 1, 2)
    assert of(degraded(hr), hr, msi).to_dict()["msi_band_of_band"]["8"] == 1


def test_many_bands_are_sampled_and_it_is_said():
    hr = scene(32, 32, bands=30)
    first, again, other = (of(degraded(hr), hr, mixed(hr), seed=seed) for seed in (3, 3, 4))
    assert (first.pairs, first.pairs_in_all) == (200, 435)
    assert first.d_lambda == again.d_lambda != other.d_lambda
    one, two = guide._pairs(30, 3)
    assert len(set(zip(one, two, strict=True))) == 200
    assert all(a < b for a, b in zip(one, two, strict=True))
    few = of(degraded(hr), hr, mixed(hr), bands=range(20))
    assert (few.pairs, few.pairs_in_all, few.bands) == (190, 190, 20)


def test_tiles_give_the_numbers_of_the_whole(monkeypatch):
    """By reading window by window what is otherwise read at once, blocks of Q2n included."""
    hr = scene(96, 128)
    rng = np.random.default_rng(0)
    lr, sr = degraded(hr), hr + rng.normal(size=hr.shape) * 50
    sr[:, 20:23, 30] = np.nan
    msi = mixed(hr)
    monkeypatch.setattr(guide, "_BLOCK", 8)
    whole = of(lr, sr, msi)
    monkeypatch.setattr(guide, "_TILE_BYTES", 1 << 17)
    monkeypatch.setattr(guide, "_BLOCKS", 1)
    monkeypatch.setattr("hypersharp.evaluate.moments._TILE_BYTES", 1 << 14)
    tiled = of(lr, sr, msi)
    assert whole.block == 8
    for name in ("d_lambda", "d_s", "d_lambda_khan", "d_s_regression"):
        assert getattr(tiled, name) == pytest.approx(getattr(whole, name), rel=1e-9)
    valid = np.isfinite(degraded(sr))
    assert 1 - whole.d_lambda_khan == pytest.approx(q2n(lr, np.nan_to_num(degraded(sr)), window="block_8", valid=valid))


def test_moments_are_those_of_numpy_on_valid_pixels(monkeypatch):
    monkeypatch.setattr("hypersharp.evaluate.moments._TILE_BYTES", 1 << 13)
    hr = scene(40, 50, bands=4) + 1e5
    hr[2, 5, 6] = np.nan
    msi = scene(40, 50, bands=2, seed=9)
    msi[0, 30, :9] = np.nan
    kept = np.isfinite(hr).all(axis=0) & np.isfinite(msi).all(axis=0)
    found = CrossMoments.of(Cube.from_array(hr), Cube.from_array(msi))
    expected = np.cov(np.concatenate([hr[:, kept], msi[:, kept]]), bias=True)
    np.testing.assert_allclose(found.within, expected[:4, :4], rtol=1e-9)
    np.testing.assert_allclose(found.between, expected[:4, 4:], rtol=1e-9)
    np.testing.assert_allclose(found.within_guide, expected[4:, 4:], rtol=1e-9)
    np.testing.assert_allclose(found.mean, hr[:, kept].mean(axis=1), rtol=1e-12)


def test_what_is_not_defined_is_none():
    hr = scene(12, 14, bands=1)
    found = of(degraded(hr), hr, mixed(hr, rows=1))
    assert found.d_lambda is None  # one band has no pairs
    assert found.d_s is None  # no window of 8 LR pixels
    assert found.qnr is None
    assert found.block == 6
    assert found.to_dict()["qnr"] is None


def test_what_does_not_fit_is_refused():
    hr = scene()
    lr, msi = degraded(hr), mixed(hr)
    with pytest.raises(UsageError, match="MSI of SR's 64 x 80 pixels, got 63 x 80"):
        of(lr, hr, msi[:, 1:])
    grids = [Grid((64, 80), (10.0, 0, x, 0, -10.0, 0.0)) for x in (0.0, 10.0)]
    with pytest.raises(UsageError, match=r"MSI on SR's grid.*10.0, 0.0, 10.0"):
        check_guide(Cube.from_array(hr, grid=grids[0]), Cube.from_array(msi, grid=grids[1]))
    with pytest.raises(UsageError, match="at least one band that varies"):
        of(lr, hr, msi, bands=[])
    with pytest.raises(NoDataError, match="no pixel is valid in every band"):
        of(lr, hr, np.full_like(msi, np.nan))
