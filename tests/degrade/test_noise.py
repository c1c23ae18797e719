"""The noise estimator on real scenes to which a known noise was added."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hypersharp.degrade.noise import estimate_noise
from hypersharp.errors import NoDataError


def _scene(data_dir: Path, name: str) -> np.ndarray:
    with h5py.File(data_dir / "scenes" / f"{name}.h5") as file:
        values = np.moveaxis(file["cube"][:80, :80].astype(np.float64), 2, 0)
    return values[np.isfinite(values).all(axis=(1, 2)) & (np.nan_to_num(values).std(axis=(1, 2)) > 0)]


@pytest.mark.parametrize("name", ["aviris_jasper_ridge_224", "aviris_abu_airport_4", "aviris_salton_sea_roi_224"])
@pytest.mark.parametrize("snr_db", [25])
def test_known_noise_on_a_real_scene_is_found_within_15_percent(data_dir: Path, name: str, snr_db: float) -> None:
    scene = _scene(data_dir, name)
    sigma = np.sqrt((scene**2).mean(axis=(1, 2)) / 10 ** (snr_db / 10))
    noisy = scene + sigma[:, None, None] * np.random.default_rng(0).standard_normal(scene.shape)
    valid = np.ones(scene.shape, dtype=bool)
    own = estimate_noise([(scene, valid)])
    ratio = estimate_noise([(noisy, valid)]) / np.hypot(sigma, own)
    assert abs(np.median(ratio) - 1) < 0.05
    assert np.mean(np.abs(ratio - 1) < 0.15) > 0.95


def test_the_noise_of_each_band_is_its_own() -> None:
    rng = np.random.default_rng(1)
    smooth = np.cumsum(np.cumsum(rng.standard_normal((3, 60, 60)), axis=1), axis=2)
    sigma = rng.permutation(np.geomspace(0.5, 8, 40))
    clean = np.tensordot(rng.random((40, 3)), smooth, 1)
    values = clean + sigma[:, None, None] * rng.standard_normal(clean.shape)
    found = estimate_noise([(values, np.ones(values.shape, bool))])
    # the other bands predict a band only to within their own noise, so the quietest ones come out high
    assert np.abs(found / sigma - 1)[sigma > 1].max() < 0.15
    assert -0.1 < (found / sigma - 1).min() <= (found / sigma - 1).max() < 0.4


def test_a_single_band_of_pure_noise_and_bands_that_say_nothing() -> None:
    rng = np.random.default_rng(2)
    alone = rng.standard_normal((1, 100, 100)) * 3
    np.testing.assert_allclose(estimate_noise([(alone, np.ones(alone.shape, bool))]), 3, rtol=0.05)
    values = np.concatenate([rng.standard_normal((3, 40, 40)), np.full((1, 40, 40), 5.0), rng.random((1, 40, 40))])
    valid = np.ones(values.shape, bool)
    valid[4] = False
    found = estimate_noise([(values, valid)])
    np.testing.assert_allclose(found[:3], 1, rtol=0.1)
    assert found[3] == 0
    assert np.isnan(found[4])
    with pytest.raises(NoDataError):
        estimate_noise([])


@pytest.mark.parametrize("name", ["aviris_jasper_ridge_224", "aviris_abu_airport_4", "aviris_salton_sea_roi_224"])
@pytest.mark.parametrize("bands", [1, 4])
def test_known_noise_of_a_few_broad_bands(data_dir: Path, name: str, bands: int) -> None:
    """Regression alone gives up to twice the noise here, as a few bands leave the scene in each other."""
    parts = np.array_split(_scene(data_dir, name), 8)[:bands]
    scene = np.stack([part.mean(axis=0) for part in parts])
    sigma = np.sqrt((scene**2).mean(axis=(1, 2)) / 1e3)
    noisy = scene + sigma[:, None, None] * np.random.default_rng(0).standard_normal(scene.shape)
    ratio = estimate_noise([(noisy, np.ones(scene.shape, dtype=bool))]) / sigma
    assert ratio.min() > 0.85
    assert ratio.max() < 1.25


@pytest.mark.parametrize("bands", [1, 3])
def test_smooth_places_are_not_chosen_for_their_noise_nor_for_being_filled(bands: int) -> None:
    values = np.random.default_rng(3).standard_normal((bands, 120, 120)) * 3
    values[:, :60] = 7.0
    valid = np.ones(values.shape, bool)
    np.testing.assert_allclose(estimate_noise([(values, valid)]), 3, rtol=0.1)
    valid[0, 60:90] = False
    np.testing.assert_allclose(estimate_noise([(values, valid)]), 3, rtol=0.1)
    tiny = values[:, 60:75, :15]  # four places: the differences of all of them have to do
    np.testing.assert_allclose(estimate_noise([(tiny, np.ones(tiny.shape, bool))]), 3, rtol=0.2)


@pytest.mark.parametrize(("bands", "side"), [(190, 25), (50, 25), (190, 37), (12, 20), (190, 10)])
def test_many_bands_on_few_pixels_do_not_hide_noise(bands: int, side: int) -> None:
    """Differences of one pixel are not independent, so that bands predict more of each other's noise."""
    noise = np.random.default_rng(3).standard_normal((bands, side, side))
    found = estimate_noise([(noise, np.ones(noise.shape, bool))])
    assert np.sqrt((found**2).mean()) == pytest.approx(1, abs=0.04)
