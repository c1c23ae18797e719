"""What is fitted once per scene: the sample, dead bands, noise."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hypersharp.cube import array_source
from hypersharp.degrade.noise import estimate_noise
from hypersharp.errors import NoDataError
from hypersharp.infer import sample
from hypersharp.infer.fit import fit_scene
from hypersharp.pipeline import prepare

from .made import cube_of, holes, scene


def test_a_small_scene_is_its_own_sample():
    values = scene((3, 9, 7))
    ((origin, found, valid),) = sample.sample_windows(array_source(values))
    assert origin == (0, 0)
    np.testing.assert_array_equal(found, values)
    assert valid.all()


def test_the_sample_of_a_large_scene_is_bounded_and_repeats():
    values = np.arange(2 * 700 * 650, dtype=np.float32).reshape(2, 700, 650)
    one, two = (sample.sample_windows(array_source(values), budget_bytes=1 << 18) for _ in range(2))
    assert sum(found.nbytes for _, found, _ in one) <= 1 << 18
    assert [origin for origin, _, _ in one] == [origin for origin, _, _ in two]
    for (row, col), found, _ in one:
        np.testing.assert_array_equal(found, values[:, row : row + 64, col : col + 64])


def test_the_sample_finds_the_only_valid_corner():
    values = np.full((2, 700, 650), np.nan, dtype=np.float32)
    values[:, 640:, :20] = 7.0
    found = sample.sample_windows(array_source(values))
    assert sum(int(valid.sum()) for _, _, valid in found) > 0


def test_nothing_valid_is_an_error():
    for shape in [(2, 5, 5), (1, 700, 650)]:
        with pytest.raises(NoDataError, match="every pixel"):
            fit_scene(array_source(np.full(shape, np.nan, dtype=np.float32)))


def test_dead_bands_are_constant_or_without_data():
    values = scene((6, 12, 12))
    values[1] = 77.0
    values[3] = np.nan
    values[4, 2:, :] = np.nan
    values[5, 3:6] = 5.0
    assert fit_scene(array_source(values)).dead == [1, 3]


def test_a_single_pixel_is_not_dead():
    values = np.array([3.0, np.nan]).reshape(2, 1, 1)
    assert fit_scene(array_source(values)).dead == [1]


SCENES = [
    ("aviris_jasper_ridge_224", 0.15),
    ("aviris_abu_urban_3", 0.15),
    ("aviris_abu_beach_2", 0.15),
    ("rosis_pavia_centre_crop100", 0.4),  # few materials at 1.3 m: neighbouring pixels differ by more than noise
]


@pytest.mark.parametrize(("name", "worst"), SCENES)
def test_noise_of_known_spread_is_found_on_real_scenes(name, worst, data_dir):
    """White noise at 25 dB is added to the scene's own, which is estimated before: the two add up in squares."""
    with h5py.File(data_dir / "scenes" / f"{name}.h5") as file:
        values = file["cube"][()].transpose(2, 0, 1).astype(np.float64)
    values = values[values.reshape(len(values), -1).std(axis=1) > 0]
    valid = np.ones(values.shape, dtype=bool)
    spread = np.sqrt((values**2).mean(axis=(1, 2)) * 10**-2.5)
    noisy = values + np.random.default_rng(7).normal(size=values.shape) * spread[:, None, None]
    ratio = estimate_noise([(noisy, valid)]) / np.hypot(spread, estimate_noise([(values, valid)]))
    assert abs(np.median(ratio) - 1) < 0.15
    assert np.abs(ratio - 1).max() < worst


@pytest.mark.parametrize("gaps", [False, True])
def test_noise_of_a_made_scene(gaps):
    spread = np.linspace(12.0, 20.0, 30)  # like spreads: a band is no cleaner than what the others predict of it
    values = scene((30, 40, 40)) + np.random.default_rng(1).normal(size=(30, 40, 40)) * spread[:, None, None]
    if gaps:
        values[:, holes(40, 40)] = np.nan
        values[3, :5] = np.nan
    found = fit_scene(array_source(values)).noise
    assert abs(np.median(found / spread) - 1) < 0.1
    assert (found > 0.9 * spread).all()  # too little would copy noise into the result, too much corrects less
    assert (found < 1.25 * spread).all()


def test_noise_of_one_band_of_few_pixels_and_of_none():
    rng = np.random.default_rng(1)
    one = fit_scene(array_source(100 + rng.normal(size=(1, 60, 60)) * 3.0)).noise
    np.testing.assert_allclose(one, [3.0], rtol=0.15)
    assert np.isnan(fit_scene(array_source(rng.normal(size=(5, 3, 3)))).noise).all()
    assert np.isnan(fit_scene(array_source(rng.normal(size=(1, 2, 3)))).noise).all()
    values = rng.normal(size=(4, 30, 30))
    values[2] = np.nan
    values[3] = 5.0
    found = fit_scene(array_source(values)).noise
    assert np.isnan(found[2])
    assert np.isfinite(found[:2]).all()
    assert found[3] == 0


def test_exact_needs_no_noise():
    """A scene of too few pixels to tell its noise is corrected all the same when that is asked for."""
    values = scene((2, 4, 5))
    for mode, corrected in (("exact", True), ("noise", False)):
        assert (
            prepare(cube_of(values), scale=2, method="bicubic", consistency=mode).consistency is not None
        ) == corrected
