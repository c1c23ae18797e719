"""Noise models: that what was asked for is what is added, and that a place always gets the same numbers."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hypersharp.cube import Source, array_source
from hypersharp.degrade.noise_models import Statistics, measure, parse_noise, resolve
from hypersharp.degrade.noisy import Noisy
from hypersharp.errors import NoDataError, UsageError


def _noisy(clean: np.ndarray, *texts: str, seed: int = 0, stream: int = 0) -> np.ndarray:
    source: Source = array_source(clean)
    noises = [parse_noise(text) for text in texts]
    layers = resolve(noises, measure(source), bands=len(clean), seed=seed, stream=stream)
    return Noisy(source, tuple(layers), seed, stream).read(slice(None), slice(None), slice(None))[0]


def _real(data_dir: Path) -> np.ndarray:
    with h5py.File(data_dir / "scenes" / "aviris_jasper_ridge_224.h5") as file:
        return np.moveaxis(file["cube"][..., 20:100], 2, 0).astype(np.float64)


@pytest.mark.parametrize("snr_db", [20.0, 35.0])
def test_the_snr_of_each_band_is_the_one_asked_for(data_dir: Path, snr_db: float) -> None:
    clean = _real(data_dir)
    added = _noisy(clean, f"gaussian:snr_db={snr_db}") - clean
    got_db = 10 * np.log10((clean**2).mean(axis=(1, 2)) / added.var(axis=(1, 2)))
    # of 10 000 samples the variance is known to 1.4 %, which is 0.06 dB
    assert np.abs(got_db - snr_db).max() < 0.3
    assert abs(got_db.mean() - snr_db) < 0.03
    assert np.abs(added.mean(axis=(1, 2)) / added.std(axis=(1, 2))).max() < 0.05


def test_the_snr_of_the_cube_is_one_sigma_for_all_bands(data_dir: Path) -> None:
    clean = _real(data_dir)
    added = _noisy(clean, "gaussian:snr_db=30,per=cube") - clean
    assert 10 * np.log10((clean**2).mean() / added.var()) == pytest.approx(30, abs=0.05)
    np.testing.assert_allclose(added.std(axis=(1, 2)), added.std(), rtol=0.05)


def test_gaussian_noise_is_normal_and_independent() -> None:
    added = _noisy(np.ones((4, 200, 200)), "gaussian:sigma=2") - 1
    assert added.std() == pytest.approx(2, rel=0.01)
    assert np.mean(np.abs(added) < 2) == pytest.approx(0.6827, abs=0.005)
    assert np.mean(added > 4) == pytest.approx(0.02275, abs=0.002)
    flat = added.reshape(4, -1)
    neighbours = [np.corrcoef(added[:, :, 1:].ravel(), added[:, :, :-1].ravel())[0, 1]]
    neighbours += [np.corrcoef(added[:, 64:].ravel(), added[:, :-64].ravel())[0, 1]]  # block against block
    assert np.abs(np.corrcoef(flat) - np.eye(4)).max() < 0.02
    assert np.abs(neighbours).max() < 0.02


def test_poisson_noise_grows_with_the_signal() -> None:
    clean = np.full((5, 128, 128), 1.0) * np.array([0.0, 10, 100, 1000, -5])[:, None, None]
    added = _noisy(clean, "poisson:gain=0.5,read=2") - clean
    np.testing.assert_allclose(added.var(axis=(1, 2)), [4, 9, 54, 504, 4], rtol=0.05)
    np.testing.assert_allclose(added.mean(axis=(1, 2)), 0, atol=0.6)


def test_poisson_noise_by_snr_has_that_power(data_dir: Path) -> None:
    clean = _real(data_dir)
    added = _noisy(clean, "poisson:snr_db=30") - clean
    got_db = 10 * np.log10((clean**2).mean(axis=(1, 2)) / (added**2).mean(axis=(1, 2)))
    assert np.abs(got_db - 30).max() < 0.5
    bright = clean > np.median(clean, axis=(1, 2), keepdims=True)
    expected = clean[bright].mean() / clean[~bright].mean()
    assert added[bright].var() / added[~bright].var() == pytest.approx(expected, rel=0.15)


def test_stripes_are_constant_along_columns() -> None:
    clean = np.ones((6, 70, 900)) * np.array([1, 2, 4, 8, 16, 32])[:, None, None]
    added = _noisy(clean, "stripes:level=0.1,fraction=0.25") - clean
    assert np.ptp(added, axis=1).max() == 0
    hit = added[:, 0] != 0
    assert hit.mean() == pytest.approx(0.25, abs=0.03)
    assert (hit[0] != hit[1]).any()
    spread = np.array([row[on].std() for row, on in zip(added[:, 0], hit, strict=True)])
    np.testing.assert_allclose(spread / clean[:, 0, 0], 0.1, rtol=0.2)


def test_dead_lines_and_dead_bands() -> None:
    clean = np.ones((10, 70, 1000))
    got = _noisy(clean, "dead-lines:fraction=0.1,value=-3")
    lines = (got == -3).all(axis=1)
    assert ((got == -3) == lines[:, None]).all()
    assert lines.mean() == pytest.approx(0.1, abs=0.02)
    assert (lines[0] != lines[1]).any()
    got = _noisy(clean, "dead-bands:bands=3+10")
    assert [band for band in range(10) if (got[band] == 0).all()] == [2, 9]
    assert (np.delete(got, [2, 9], axis=0) == 1).all()
    assert sum((band == 0).all() for band in _noisy(clean, "dead-bands:count=4", seed=9)) == 4


def test_impulses_are_extremes_and_random_values_lie_between() -> None:
    clean = np.random.default_rng(0).random((3, 300, 300)) + np.arange(3)[:, None, None]
    for text, levels in (("impulse:fraction=0.05", 2), ("random:fraction=0.05", 10_000)):
        got = _noisy(clean, text)
        changed = got != clean
        assert changed.mean() == pytest.approx(0.05, abs=0.002)
        low, high = clean.min(axis=(1, 2)), clean.max(axis=(1, 2))
        for band in range(3):
            values = got[band][changed[band]]
            assert values.min() >= low[band]
            assert values.max() <= high[band]
            assert values.mean() == pytest.approx((low[band] + high[band]) / 2, abs=0.03)
            assert (len(np.unique(values)) == 2) == (levels == 2)


def test_a_seed_repeats_and_another_seed_stream_or_layer_does_not() -> None:
    clean = np.zeros((2, 90, 90))
    first = _noisy(clean, "gaussian:sigma=1", seed=5)
    np.testing.assert_array_equal(first, _noisy(clean, "gaussian:sigma=1", seed=5))
    others = [
        _noisy(clean, "gaussian:sigma=1", seed=6),
        _noisy(clean, "gaussian:sigma=1", seed=5, stream=1),
        _noisy(clean, "gaussian:sigma=1", seed=2**64 - 1),
        _noisy(clean, "gaussian:sigma=0", "gaussian:sigma=1", seed=5),
    ]
    for other in others:
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.03


def test_the_dead_bands_of_lr_and_msi_are_not_the_same_ones() -> None:
    noise = [parse_noise("dead-bands:count=5")]
    chosen = [resolve(noise, None, bands=100, seed=0, stream=stream)[0].bands for stream in (0, 1)]
    assert chosen[0] != chosen[1]
    assert all(len(set(bands)) == 5 for bands in chosen)


def test_invalid_pixels_stay_invalid_and_count_for_nothing() -> None:
    clean = np.ones((2, 50, 50))
    clean[0, :25] = np.nan
    clean[1, 30] = np.nan
    found = measure(array_source(clean))
    np.testing.assert_allclose(found.power, 1)
    added = ("gaussian:snr_db=20", "poisson:gain=1", "stripes:level=1")
    for text in (*added, "dead-lines:fraction=1", "dead-bands:count=2", "impulse:fraction=1", "random:fraction=1"):
        np.testing.assert_array_equal(np.isnan(_noisy(clean, text)), np.isnan(clean))


def test_statistics_by_hand() -> None:
    values = np.array([[[1.0, -2.0], [3.0, np.nan]], [[np.nan, np.nan], [np.nan, np.nan]]])
    found = measure(array_source(values))
    expected = Statistics(*(np.array([v, np.nan]) for v in (14 / 3, 4 / 3, -2.0, 3.0)))
    for name in ("power", "signal", "low", "high"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name))
    with pytest.raises(NoDataError):
        measure(array_source(values[1:]))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("gaussian:snr_db=35", "gaussian:snr_db=35,per=band"),
        (" Gaussian: snr_db = 35 , per = cube ", "gaussian:snr_db=35,per=cube"),
        ("gaussian:sigma=1e-3", "gaussian:sigma=0.001"),
        ("poisson:gain=0.5", "poisson:gain=0.5,read=0"),
        ("poisson:snr_db=30", "poisson:snr_db=30"),
        ("stripes:level=.02", "stripes:level=0.02,fraction=1"),
        ("dead-lines:fraction=0.1", "dead-lines:fraction=0.1,value=0"),
        ("dead-bands:bands=17+3+3", "dead-bands:bands=3+17,value=0"),
        ("dead-bands:count=5", "dead-bands:count=5,value=0"),
        ("impulse:fraction=0.01", "impulse:fraction=0.01"),
        ("random:fraction=1", "random:fraction=1"),
    ],
)
def test_text_reads_back_to_equal_noise(text: str, canonical: str) -> None:
    noise = parse_noise(text)
    assert str(noise) == canonical
    assert parse_noise(canonical) == noise


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("white:snr_db=30", "expected noise as one of gaussian:snr_db=35"),
        ("gausian:snr_db=30", "did you mean 'gaussian'"),
        ("", "got ''"),
        ("gaussian", "got 'gaussian'"),
        ("gaussian:35", "got 'gaussian:35'"),
        ("gaussian:snr_db=loud", "got snr_db=loud"),
        ("gaussian:snr_db=nan", "out of range"),
        ("gaussian:snr_db=30,sigma=1", "expected gaussian noise as"),
        ("gaussian:sigma=1,per=cube", "expected gaussian noise as"),
        ("gaussian:sigma=-1", "out of range"),
        ("gaussian:snr_db=30,per=pixel", "got per=pixel"),
        ("gaussian:snr_db=30,snr_db=31", "expected gaussian noise as"),
        ("poisson:snr_db=30,read=1", "expected poisson noise as"),
        ("stripes:fraction=0.1", "expected stripes noise as"),
        ("impulse:fraction=1.5", "out of range"),
        ("dead-bands:count=1.5", "out of range"),
        ("dead-bands:bands=0", "got bands=0"),
        ("dead-bands:bands=a", "got bands=a"),
    ],
)
def test_bad_text_is_one_clear_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_noise(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["dead-bands:bands=4", "dead-bands:count=4"])
def test_dead_bands_that_are_not_there_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="3"):
        resolve([parse_noise(text)], None, bands=3, seed=0, stream=0)
