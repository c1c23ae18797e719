"""degrade(sr) against lr: zero where it must be, the noise where that is all there is, in tiles as on the whole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hypersharp.cube import Bands, Cube, Grid
from hypersharp.degrade.psf import parse_psf
from hypersharp.degrade.wald import degrade
from hypersharp.errors import NoDataError, UsageError
from hypersharp.evaluate import agreement, consistency

PSF = parse_psf("gaussian:sigma=1.1")


def scene(rows=48, cols=60, bands=6, seed=0):
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(rng.normal(size=(bands, rows, cols)), (0, 2, 2)) * 2000 + 3000


def of(sr, lr, noise=None, **how):
    sr, lr = (part if isinstance(part, Cube) else Cube.from_array(part) for part in (sr, lr))
    known = np.ones(lr.shape[0]) if noise is None else noise
    return consistency(lr, sr, scale=2, psf=PSF, noise=known, **how)


def degraded(values):
    return degrade(Cube.from_array(values), scale=2, psf=PSF).read()[0]


def test_what_lr_was_made_of_agrees_with_it():
    hr = scene()
    found = of(hr, degraded(hr))
    assert found.rmse.value == pytest.approx(0, abs=1e-9)
    assert found.sam_deg.value == pytest.approx(0, abs=1e-5)
    assert found.unseen == 0


def test_an_offset_is_seen_in_its_band():
    hr = scene()
    lr = degraded(hr)
    hr[2] += 5.0
    found = of(hr, lr)
    np.testing.assert_allclose(found.rmse.per_band, [0, 0, 5, 0, 0, 0], atol=1e-9)


def test_an_angle_is_that_between_the_spectra():
    """A factor on one of two equal bands turns (1, 1) to (1, √3): 15 degrees."""
    lr = np.full((2, 8, 8), 10.0)
    lr += np.indices((8, 8)).sum(axis=0)  # not constant
    sr = np.repeat(np.repeat(lr, 2, axis=1), 2, axis=2)
    same = degraded(sr)
    sr[1] *= np.sqrt(3.0)
    assert of(sr, same).sam_deg.value == pytest.approx(15.0, abs=1e-9)


def test_noise_of_lr_is_what_is_left_of_the_truth():
    hr = scene(160, 160)
    sigma = np.array([3.0, 6, 12, 24, 48, 96])
    lr = degraded(hr) + np.random.default_rng(1).normal(size=(6, 80, 80)) * sigma[:, None, None]
    found = of(hr, lr, sigma)
    np.testing.assert_allclose(found.rmse.per_band, sigma, rtol=0.05)
    assert found.rmse_over_noise == pytest.approx(1, abs=0.03)
    assert of(hr, lr, np.full(6, np.nan)).rmse_over_noise is None


def test_pixels_that_only_lr_has_do_not_count_and_are_counted():
    hr = scene()
    lr = degraded(hr)
    hr[:, 10, 11] = np.nan
    found = of(hr, lr)
    assert found.unseen == 6
    assert found.to_dict()["counts"]["unseen_values"] == 6
    assert found.rmse.value == pytest.approx(0, abs=20)  # normalised weights beside the hole, a whole pixel missing
    assert found.rmse.counts["values"] == 6 * (24 * 30 - 1)


def test_constant_bands_of_lr_are_left_out_and_counted():
    hr = scene()
    lr = degraded(hr)
    lr[4] = 12.0
    found = of(hr, lr)
    assert found.rmse.counts["bands_excluded"] == 1
    assert found.to_dict()["rmse_of_band"][4] is None


def test_tiles_give_the_numbers_of_the_whole(monkeypatch):
    hr = scene(70, 94)
    lr = degraded(hr) + 3.0
    whole = of(hr, lr)
    monkeypatch.setattr(agreement, "_CORE", 16)
    calls = []
    parts = of(hr, lr, progress=lambda done, total: calls.append((done, total)))
    assert parts.rmse.value == pytest.approx(whole.rmse.value, rel=1e-12)
    assert parts.sam_deg.value == pytest.approx(whole.sam_deg.value, rel=1e-12)
    assert calls == [(at, 9) for at in range(1, 10)]


def test_what_does_not_fit_is_refused():
    hr = scene()
    lr = degraded(hr)
    with pytest.raises(
        UsageError, match=r"expected the degraded estimate of the shape of lr 6 bands x 23 rows.* 24 rows"
    ):
        of(hr, lr[:, 1:])
    nm = np.linspace(400, 900, 6)
    low = Cube.from_array(lr, bands=Bands(6, wavelength_nm=nm))
    with pytest.raises(UsageError, match="band 1 is 400 nm in lr and 410 nm in the degraded estimate"):
        of(Cube.from_array(hr, bands=Bands(6, wavelength_nm=nm + 10)), low)
    grids = [Grid(n, (s, 0, 0, 0, -s, x)) for n, s, x in (((24, 30), 20.0, 0.0), ((48, 60), 10.0, 10.0))]
    with pytest.raises(UsageError, match="expected the grid of lr"):
        of(Cube.from_array(hr, grid=grids[1]), Cube.from_array(lr, grid=grids[0]))
    with pytest.raises(NoDataError, match="valid"):
        of(np.full_like(hr, np.nan), lr)
