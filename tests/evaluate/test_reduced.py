"""The reduced-resolution test against cases whose answer is known, and the noise that it must not be led by."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hypersharp.cube import Cube
from hypersharp.degrade.psf import parse_psf
from hypersharp.degrade.wald import degrade
from hypersharp.evaluate import NotRun, Reduced, reduced, reduced_test
from hypersharp.operators import bicubic_enlarge

PSF = parse_psf("gaussian")


def scene(rows=96, cols=96, bands=6, seed=0):
    rng = np.random.default_rng(seed)
    fine = ndimage.gaussian_filter(rng.normal(size=(bands, rows, cols)), (0, 1.5, 1.5))
    return fine / fine.std(axis=(1, 2), keepdims=True) * 300 + 2000


def bicubic(cube):
    values, valid = cube.read()
    assert valid.all()
    return Cube.from_array(bicubic_enlarge(cube.shape[1:], 2).apply(values))


def nearest(cube):
    return Cube.from_array(cube.read()[0].repeat(2, axis=1).repeat(2, axis=2))


def always(values):
    return lambda cube: Cube.from_array(values)


def of(method, lr, noise=0.0, **how):
    lr = lr if isinstance(lr, Cube) else Cube.from_array(lr)
    sigma = np.broadcast_to(np.asarray(noise, dtype=float), lr.shape[:1])
    return reduced_test(method, lr, scale=2, psf=PSF, bicubic=bicubic, noise=sigma, seed=how.pop("seed", 0), **how)


def test_bicubic_against_itself_is_nothing():
    found = of(bicubic, scene(), noise=20.0)
    assert (found.gain_db, found.low_db, found.high_db, found.sign) == (0.0, 0.0, 0.0, "undecided")


def test_the_truth_is_better_and_the_nearest_pixel_worse():
    true = scene()
    noisy = true + np.random.default_rng(1).normal(size=true.shape) * 30
    assert of(always(true), noisy, noise=30.0).sign == "better"
    worse = of(nearest, noisy, noise=30.0)
    assert worse.sign == "worse"
    assert worse.low_db < worse.gain_db < worse.high_db < 0


def test_half_the_error_is_six_decibels():
    true = scene()
    seen = []

    def halved(cube):
        seen.append(cube.shape)
        return Cube.from_array((bicubic(cube).read()[0] + true) / 2)

    found = of(halved, true)
    assert found.gain_db == pytest.approx(20 * np.log10(2), abs=1e-9)
    assert found.low_db == pytest.approx(found.high_db)
    np.testing.assert_allclose(found.gain_of_band, found.gain_db)
    assert seen == [found.input_shape] == [(6, 48, 48)]
    assert (found.bands, found.bands_left_out, found.block, found.blocks) == (6, 0, 8, 144)


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_noise_neither_hides_nor_makes_a_gain(strength):
    """Against errors measured on the truth, which the test does not see; scored naively it is off by half a decibel."""
    true = scene(192, 192, bands=8)
    sigma = 60.0
    noisy = true + np.random.default_rng(3).normal(size=true.shape) * sigma
    kept = []

    def sharpened(cube):
        plain = bicubic(cube).read()[0]
        made = plain + strength * (plain - ndimage.gaussian_filter(plain, (0, 1, 1)))
        kept.extend([plain, made])
        return Cube.from_array(made)

    found = of(sharpened, noisy, noise=sigma)
    errors = [np.square(estimate - true).mean(axis=(1, 2)) for estimate in kept]
    truth = np.mean(10 * np.log10(errors[0] / errors[1]))
    naive = [np.square(estimate - noisy).mean(axis=(1, 2)) - sigma**2 for estimate in kept]
    assert found.gain_db == pytest.approx(truth, abs=0.06)
    assert abs(np.mean(10 * np.log10(naive[0] / naive[1])) - truth) > 3 * abs(found.gain_db - truth)


def test_the_input_is_as_noisy_as_lr():
    """A flat scene: whatever varies in the input is noise."""
    sigma = np.array([5.0, 20.0, 80.0])
    flat = 1000 + np.random.default_rng(5).normal(size=(3, 256, 256)) * sigma[:, None, None]
    seen = []

    def look(cube):
        seen.append(cube.read()[0])
        return bicubic(cube)

    of(look, flat, noise=sigma)
    np.testing.assert_allclose(seen[0].std(axis=(1, 2)), sigma, rtol=0.03)


@pytest.mark.parametrize("text", ["gaussian", "bicubic", "mtf:0.3", "gaussian:sigma=2,1,angle=30"])
def test_weight_energy_is_what_a_blur_leaves_of_white_noise(text):
    operator = parse_psf(text).operator((600, 600), 2)
    white = np.random.default_rng(0).normal(size=(600, 600))
    left = operator.apply(white)[10:-10, 10:-10]
    assert reduced.weight_energy(operator) == pytest.approx(left.var(), rel=0.05)


def test_a_small_input_is_not_tried():
    assert of(bicubic, scene(47, 96)) == NotRun(
        "its input would be 23 x 48 pixels, below 24 on a side; lr needs 48 pixels a side at scale 2"
    )
    assert isinstance(of(bicubic, scene(48, 96)), Reduced)


def test_errors_below_the_noise_are_no_case():
    found = of(bicubic, scene(), noise=2000.0)
    assert isinstance(found, NotRun)
    assert "less than the noise" in found.reason


def test_bands_without_a_case_are_left_out():
    values = scene()
    values[1] = 5.0
    values[3] = np.nan
    lr = Cube.from_array(values)
    noise = np.where(np.arange(6) == 3, np.nan, 1.0)

    def filled(cube):
        return Cube.from_array(bicubic_enlarge(cube.shape[1:], 2).apply(np.nan_to_num(cube.read()[0])))

    found = reduced_test(filled, lr, scale=2, psf=PSF, bicubic=filled, noise=noise, seed=0)
    assert (found.bands, found.bands_left_out) == (4, 2)
    assert list(np.flatnonzero(np.isnan(found.gain_of_band))) == [1, 3]
    assert found.to_dict()["gain_db_of_band"][1] is None


def test_pixels_that_do_not_divide_are_cropped():
    found = of(bicubic, scene(97, 99))
    assert found.input_shape == (6, 48, 49)


def test_a_seed_repeats(monkeypatch):
    lr = scene(seed=8)
    first = of(nearest, lr, noise=40.0)
    monkeypatch.setattr(reduced, "_CORE", 16)
    calls = []
    again = of(nearest, lr, noise=40.0, progress=lambda done, total: calls.append((done, total)))
    assert again.gain_db == pytest.approx(first.gain_db, rel=1e-12)
    assert again.low_db == pytest.approx(first.low_db, rel=1e-9)
    assert calls[-1] == (36, 36)
    assert of(nearest, lr, noise=40.0, seed=1).gain_db != first.gain_db


def test_blocks_are_no_more_than_a_thousand():
    assert reduced.block_side((96, 96), 2) == 8
    assert reduced.block_side((10_000, 10_000), 4) == 512


def test_the_scene_is_degraded_by_the_declared_psf():
    lr = scene()
    seen = []

    def look(cube):
        seen.append(cube.read()[0])
        return bicubic(cube)

    of(look, lr)
    np.testing.assert_array_equal(seen[0], degrade(Cube.from_array(lr), scale=2, psf=PSF).read()[0])
