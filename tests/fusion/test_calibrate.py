"""Calibration from the pair itself: what it was made with is found again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hypersharp.cube import Bands
from hypersharp.degrade.psf import Psf
from hypersharp.errors import NoDataError, UsageError
from hypersharp.fusion import calibrate as module
from hypersharp.fusion.calibrate import calibrate
from hypersharp.fusion.register import phase_shift
from hypersharp.fusion.support import seen_bands

from .made import jasper, synthetic

CASES = ((1.70, (0.0, 0.0)), (1.70, (0.6, -0.4)), (2.40, (-1.3, 0.8)))
"""Width and shift in HR pixels: the dossier's three cases, found there to 0.05."""


def reading(pair, *, hidden=None):
    """Windows of a pair with the MSI looked up elsewhere, as `calibrate` asks for them."""
    lr, msi = pair.window.lr, pair.window.msi

    def read(move):
        down, right = move
        there = np.full_like(msi, np.nan)
        rows = slice(max(0, -down), msi.shape[1] - max(0, down)), slice(max(0, down), msi.shape[1] + min(0, down))
        cols = slice(max(0, -right), msi.shape[2] - max(0, right)), slice(max(0, right), msi.shape[2] + min(0, right))
        there[:, rows[0], cols[0]] = msi[:, rows[1], cols[1]]
        if hidden is not None:
            there[:, *hidden] = np.nan
        return [((lr.copy(), np.isfinite(lr)), (there, np.isfinite(there)))]

    return read


@pytest.fixture(scope="module")
def simple():
    return synthetic(scale=4, sigma=1.7, shape_lr=(30, 30), noise_db=40, msi_noise_db=45)


@pytest.mark.parametrize(("sigma", "shift"), CASES)
@pytest.mark.parametrize("msi_bands", [4, 6])
def test_the_three_cases_on_a_real_scene(data_dir, sigma, shift, msi_bands):
    pair = jasper(data_dir, msi_bands=msi_bands)
    hr = pair.hr.astype(np.float64)
    lr = Psf("sigma", (sigma, sigma)).operator(hr.shape[1:], 4, shift_yx=shift).apply(hr)
    lr += pair.calibration.noise_lr[:, None, None] * np.random.default_rng(3).standard_normal(lr.shape)
    changed = replace(pair, window=replace(pair.window, lr=lr.astype(np.float32)))
    found = calibrate(reading(changed), scale=4)
    assert found.blur.sigma == pytest.approx(sigma, abs=0.05)
    np.testing.assert_allclose(found.calibration.shift_yx, shift, atol=0.05)
    assert found.notes == ()
    assert found.psf_from == "estimate"
    assert found.calibration.supported.all()


@pytest.mark.parametrize("shift", [(9.3, -6.4), (-14.0, 11.6)])
def test_several_lr_pixels_apart(data_dir, shift):
    """Farther than the joint fit reaches, so phase correlation has to find it first."""
    pair = jasper(data_dir, shift=shift)
    found = calibrate(reading(pair), scale=4)
    assert max(abs(a - b) for a, b in zip(found.coarse_yx, shift, strict=True)) <= 1.5
    np.testing.assert_allclose(found.calibration.shift_yx, shift, atol=0.1)
    assert found.blur.sigma == pytest.approx(4 / 2.355, abs=0.05)


def test_phase_correlation_of_unrelated_images_finds_nothing(simple):
    other = np.random.default_rng(5).normal(size=simple.window.msi.shape)
    lr = simple.window.lr
    assert phase_shift([((lr, np.isfinite(lr)), (other, np.isfinite(other)))], scale=4) is None


def test_a_constant_band_of_the_msi_says_nothing(simple):
    """An alpha band of 255, whose blur differs from it by rounding alone."""
    alone = calibrate(reading(simple), scale=4)
    msi = np.concatenate([simple.window.msi, np.full_like(simple.window.msi[:1], 255)])
    found = calibrate(reading(replace(simple, window=replace(simple.window, msi=msi))), scale=4)
    assert found.blur.sigma == pytest.approx(alone.blur.sigma, abs=1e-3)
    np.testing.assert_allclose(found.calibration.shift_yx, alone.calibration.shift_yx, atol=1e-2)


def test_an_msi_band_that_may_see_constant_bands_alone_has_no_response(simple):
    lr = simple.window.lr.copy()
    lr[5] = 0
    support = np.ones((len(simple.window.msi), len(lr)), dtype=bool)
    support[0] = np.arange(len(lr)) == 5
    found = calibrate(reading(replace(simple, window=replace(simple.window, lr=lr))), scale=4, support=support)
    assert not found.calibration.srf[0].any()
    assert found.calibration.srf[1].any()
    assert found.residual[0] == pytest.approx(1)


def test_clouds_do_not_spoil_it(simple):
    found = calibrate(reading(simple, hidden=(slice(10, 40), slice(60, 95))), scale=4)
    assert found.blur.sigma == pytest.approx(1.7, abs=0.05)
    np.testing.assert_allclose(found.calibration.shift_yx, 0, atol=0.05)


def test_a_large_window_is_cut_up_and_the_clear_parts_are_used(monkeypatch):
    given = []
    fit = module.blur_of_pair
    monkeypatch.setattr(module, "blur_of_pair", lambda pairs, *, scale: given.extend(pairs) or fit(pairs, scale=scale))
    pair = synthetic(scale=2, sigma=0.9, shape_lr=(130, 100), bands=8, msi_bands=3, rank=3, noise_db=40)
    found = calibrate(reading(pair, hidden=(slice(0, 90), slice(0, 100))), scale=2)
    assert [low.shape[1:] for (low, _), _ in given] == [(43, 50), (43, 50), (44, 50), (44, 50)]
    assert all(known.all() for _, (_, known) in given)
    assert found.blur.sigma == pytest.approx(0.9, abs=0.05)


def test_gain_and_offset_of_another_unit(simple):
    """An MSI in counts, 5000 per reflectance and 120 above: the response explains it to within its noise."""
    counts = replace(simple.window, msi=(simple.window.msi * 5000 + 120).astype(np.float32))
    found = calibrate(reading(replace(simple, window=counts)), scale=4)
    np.testing.assert_allclose(found.gain, 5000, rtol=0.2)
    assert (found.calibration.srf >= 0).all()
    assert found.residual.max() < 0.05
    hr = simple.hr.reshape(len(simple.hr), -1).astype(np.float64)
    made = found.calibration.srf @ hr + found.calibration.offset[:, None]
    truth = counts.msi.reshape(len(made), -1)
    assert np.sqrt(((made - truth) ** 2).mean(axis=1) / truth.var(axis=1)).max() < 0.05


def test_noise_of_both_is_told(data_dir):
    pair = jasper(data_dir, noise_db=25, msi_noise_db=25)
    found = calibrate(reading(pair), scale=4).calibration
    assert np.median(found.noise_lr / pair.calibration.noise_lr) == pytest.approx(1, abs=0.25)
    ratio = found.noise_msi / pair.calibration.noise_msi
    assert (ratio > 0.85).all()
    assert (ratio < 1.25).all()


@pytest.mark.parametrize("side", [12, 14])
def test_noise_of_the_msi_on_a_scene_that_its_response_could_fit_by_heart(data_dir, side):
    """Of 198 bands more than enough fit some hundred pixels, noise and all: no sign that the MSI has none."""
    pair = jasper(data_dir, noise_db=20, msi_noise_db=30)
    found = calibrate(reading(replace(pair, window=pair.part((4, 4 + side), (5, 5 + side)))), scale=4).calibration
    ratio = found.noise_msi / pair.calibration.noise_msi
    assert (ratio > 0.7).all()
    assert (ratio < 1.5).all()


def test_a_scene_hardly_larger_than_its_psf(data_dir):
    """With sigma = 4.8, no more than 16 pixels have no mirrored border in what they saw."""
    pair = jasper(data_dir)
    part = replace(pair, window=pair.part((4, 18), (5, 19)))
    found = calibrate(reading(part), scale=4, psf=(Psf("sigma", (4.8, 4.8)), "stated"))
    assert np.isfinite(found.residual).all()


def test_a_stated_blur_is_kept_and_doubted(simple):
    stated = Psf("sigma", (2.55, 2.55))
    found = calibrate(reading(simple), scale=4, psf=(stated, "stated"))
    assert found.calibration.psf == stated
    assert found.measured.sigma_yx(4)[0] == pytest.approx(1.7, abs=0.05)
    (note,) = (note for note in found.notes if "stated PSF" in note)
    assert "wider" in note
    assert "sigma 1.70" in note
    near = calibrate(reading(simple), scale=4, psf=(Psf("sigma", (1.8, 1.8)), "stated"))
    assert near.notes == ()


def test_a_high_residual_is_said(simple):
    other = synthetic(scale=4, sigma=1.7, shape_lr=(30, 30), seed=9).window.msi
    found = calibrate(reading(replace(simple, window=replace(simple.window, msi=other))), scale=4)
    assert np.median(found.residual) > 0.15
    assert any("badly" in note and "residual" in note for note in found.notes)
    assert found.calibration.shift_yx == (0.0, 0.0) or found.blur.reason


@pytest.mark.parametrize("side", [12, 16])
def test_a_small_scene_tells_its_blur_too(data_dir, side):
    """A part of a scene, so that what lies beyond its border is not its mirror image."""
    pair = jasper(data_dir, shift=(1.0, -0.7))
    found = calibrate(reading(replace(pair, window=pair.part((4, 4 + side), (5, 5 + side)))), scale=4)
    assert found.psf_from == "estimate"
    assert found.blur.sigma == pytest.approx(4 / 2.355, abs=0.1)
    np.testing.assert_allclose(found.calibration.shift_yx, (1.0, -0.7), atol=0.1)


def test_too_small_for_a_fit_of_the_blur():
    pair = synthetic(scale=4, sigma=1.7, shape_lr=(11, 11))
    found = calibrate(reading(pair), scale=4)
    assert (found.blur, found.psf_from, str(found.calibration.psf)) == (None, "default", "mtf:0.3")
    assert any("could not be estimated" in note for note in found.notes)
    assert any("--degradation" in note for note in found.notes)


def test_nothing_in_common_is_refused(simple):
    with pytest.raises(NoDataError, match="valid in cube and MSI, got 0"):
        calibrate(reading(simple, hidden=(slice(None), slice(None))), scale=4)


class TestSupport:
    """Which bands of the cube an MSI band may see."""

    cube = Bands(20, np.linspace(400, 2300, 20))

    def test_a_stated_response_restricts_the_fit(self, simple):
        seen, words = seen_bands(self.cube, Bands(4), "gaussian:600/90,1000/90,1500/90,2000/90")
        found = calibrate(reading(simple), scale=4, support=seen, response_from=words)
        assert not found.calibration.srf[~seen].any()
        assert "gaussian" in found.response_from
        np.testing.assert_array_equal(found.calibration.supported, seen.any(axis=0))
        assert not found.calibration.supported[0]  # 400 nm

    def test_the_wavelengths_of_the_msi_do_too(self):
        msi = Bands(2, np.array([600.0, 1500.0]), np.array([120.0, 120.0]))
        seen, words = seen_bands(self.cube, msi, None)
        # cells of 100 nm: 550 to 650 and 1450 to 1550, and what the flanks of the filters reach
        assert seen[0, 2]
        assert seen[1, 11]
        assert seen.sum() <= 6
        assert "own wavelengths" in words

    @pytest.mark.parametrize("msi", [Bands(2), Bands(2, np.array([600.0, 1500.0]))])
    def test_without_widths_nothing_is_flagged(self, msi):
        assert seen_bands(self.cube, msi, None)[0] is None
        assert seen_bands(Bands(20), Bands(1, np.array([600.0]), np.array([90.0])), None)[0] is None

    def test_as_many_responses_as_bands(self):
        with pytest.raises(UsageError, match="has 1 bands and the MSI 2"):
            seen_bands(self.cube, Bands(2), "gaussian:600/200")


def test_the_record_is_json(simple):
    plain = json.loads(json.dumps(calibrate(reading(simple), scale=4).to_dict()))
    assert plain["psf_from"] == "estimate"
    assert plain["fit"]["sigma"] == pytest.approx(1.7, abs=0.05)
    assert len(plain["response"]) == 4
