"""`hypersharp.assess`: what it takes from the history, what from the shapes, and what it refuses to guess."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest

import hypersharp
from hypersharp import judgement
from hypersharp.cube import Bands, Cube, Grid
from hypersharp.degrade.psf import parse_psf
from hypersharp.errors import NoDataError, UsageError
from hypersharp.evaluate import NotRun, Reduced
from hypersharp.io import open_cube, write_cube
from hypersharp.judgement import Settings, assess, scale_of, settings_of
from hypersharp.pipeline import prepare

from .infer.made import save_network


def scene(rows=100, cols=104, bands=12, seed=0):
    """Mixtures of maps with detail of every size."""
    rng = np.random.default_rng(seed)
    white = np.fft.fft2(rng.normal(size=(5, rows, cols)))
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(cols))
    frequency[0, 0] = np.inf
    maps = np.fft.ifft2(white / frequency**1.3).real
    mixed = np.tensordot(rng.uniform(0, 1, (bands, 5)), maps / maps.std(axis=(1, 2), keepdims=True), 1)
    return (mixed * 300 + 2000).astype(np.float32)


def degraded(hr, scale=2, sigma=1.0, noise=10.0, seed=1):
    operator = parse_psf(f"gaussian:sigma={sigma}").operator(hr.shape[1:], scale)
    lr = operator.apply(hr)
    return Cube.from_array((lr + np.random.default_rng(seed).normal(size=lr.shape) * noise).astype(np.float32))


def sharp(lr, scale=2, **how):
    return prepare(lr, scale=scale, **{"method": "bicubic"} | how).cube


@pytest.fixture(scope="module")
def lr():
    return degraded(scene())


def test_everything_is_taken_from_the_history(lr):
    sr = sharp(lr, degradation="gaussian:sigma=1.0", consistency="exact")
    found = assess(lr, sr)
    assert (str(found.psf), found.psf_from, found.scale) == ("gaussian:sigma=1", "SR's history", 2)
    assert found.method == "bicubic, consistency exact"
    assert found.consistency.rmse.value < 0.1
    assert isinstance(found.reduced, Reduced)
    assert found.guide is None
    assert found.notes == ()
    assert set(found.caveats) == {"consistency", "reduced test"}


def test_it_repeats_and_the_seed_is_used(lr):
    sr = sharp(lr)
    one, two, three = (assess(lr, sr, seed=seed).to_dict()["reduced_test"] for seed in (0, 0, 1))
    assert one == two != three


def test_a_stated_psf_goes_before_the_history_and_the_difference_is_said(lr):
    found = assess(lr, sharp(lr, degradation="gaussian:sigma=1.0"), degradation="bicubic")
    assert (str(found.psf), found.psf_from) == ("bicubic", "stated")
    assert found.notes == ("SR was made for the PSF gaussian:sigma=1, and is judged by bicubic",)


def test_an_estimate_without_history_is_judged_by_the_default(lr):
    sr = Cube.from_array(sharp(lr).read()[0])
    found = assess(lr, sr)
    assert (str(found.psf), found.psf_from) == ("mtf:0.3", "default")
    assert isinstance(found.reduced, NotRun)
    assert "history does not say" in found.reduced.reason
    assert isinstance(assess(lr, sr, method="bicubic").reduced, Reduced)


def test_paths_and_arrays_are_taken(lr, tmp_path):
    one, two = write_cube(lr, tmp_path / "lr.tif"), write_cube(sharp(lr), tmp_path / "sr.tif")
    direct = hypersharp.assess(lr, sharp(lr)).to_dict()
    for given in ((one, str(two)), (open_cube(one).to_xarray(), open_cube(two).to_xarray())):
        found = hypersharp.assess(*given).to_dict()
        assert found["consistency"]["rmse"] == pytest.approx(direct["consistency"]["rmse"], rel=1e-6)
        assert found["reduced_test"]["gain_db"] == pytest.approx(direct["reduced_test"]["gain_db"], rel=1e-4)


def test_too_small_for_the_reduced_test_is_said():
    small = degraded(scene(80, 104))
    found = assess(small, sharp(small)).reduced
    assert found == NotRun(
        "its input would be 20 x 26 pixels, below 24 on a side; lr needs 48 pixels a side at scale 2"
    )


def test_dead_bands_are_left_out_and_said():
    hr = scene()
    values = degraded(hr).read()[0]
    values[3], values[7] = 5.0, np.nan
    low = Cube.from_array(values)
    found = assess(low, sharp(low), msi=Cube.from_array(hr[:2]))
    assert found.notes == ("bands constant or without data, left out: 4, 8",)
    assert found.guide.bands == 10
    assert np.isnan(found.consistency.rmse.per_band[[3, 7]]).all()
    assert found.reduced.bands_left_out == 2


def test_bands_flagged_as_bad_stay_out_of_the_indices():
    hr = scene()
    values = degraded(hr).read()[0]
    low = Cube.from_array(values, bands=Bands(12).flagged([0, 5]))
    assert assess(low, sharp(low), msi=Cube.from_array(hr[:2])).guide.bands == 10


def test_with_an_msi_the_blur_is_found(lr):
    msi = Cube.from_array(scene()[[1, 4, 9]])
    found = assess(lr, sharp(lr), msi=msi, degradation="estimate")
    assert found.psf.sigma_yx(2)[0] == pytest.approx(1.0, rel=0.05)
    assert found.psf_from.startswith("estimate from cube and MSI, residual 0.0")
    assert found.guide.rqnr > 0.5
    assert found.to_dict()["with_msi"]["band_pairs_in_all"] == 66
    assert "D_s" in found.caveats


def test_a_displaced_msi_is_said(lr):
    moved = np.roll(scene(), 2, axis=1)[[1, 4, 9]]
    found = assess(lr, sharp(lr), msi=Cube.from_array(moved), degradation="estimate")
    assert any("LR looks +2.0" in note for note in found.notes), found.notes


def test_an_estimate_of_the_cube_alone_says_its_interval(data_dir):
    with h5py.File(data_dir / "scenes" / "aviris_abu_airport_4.h5") as file:
        hr = np.moveaxis(file["cube"][:], -1, 0)[::3].astype(np.float32)
    low = degraded(hr, sigma=0.9, noise=1.0)
    found = assess(low, sharp(low, degradation="estimate"))
    assert "estimate, 90 % interval of sigma" in sharp(low, degradation="estimate").history[-1]
    assert found.psf.sigma_yx(2)[0] == pytest.approx(0.9, rel=0.25)
    assert assess(low, sharp(low), degradation="estimate").psf_from.startswith("estimate, 90 % interval")


def test_what_is_not_identifiable_is_refused(lr):
    few = Cube.from_array(lr.read()[0][:5])
    for call in (lambda: sharp(few, degradation="estimate"), lambda: assess(few, sharp(few), degradation="estimate")):
        with pytest.raises(UsageError, match=r"not identifiable from this cube: it takes 8 bands.*state the PSF"):
            call()
    other = Cube.from_array(scene(seed=9)[:3])
    with pytest.raises(UsageError, match="not identifiable from cube and MSI"):
        assess(lr, sharp(lr), msi=other, degradation="estimate")


LINES = {
    "hypersharp 0.1.0 sharpen: scale 4; method bicubic; degradation mtf:0.3 (default); consistency noise; 9 components "
    "corrected": Settings(4, "bicubic", None, "mtf:0.3", "noise"),
    "hypersharp 1.2 sharpen: scale 2; method edlgfs (weights 0123456789ab); degradation gaussian:sigma=2,1,angle=30 "
    "(stated); consistency off": Settings(2, "edlgfs", "0123456789ab", "gaussian:sigma=2,1,angle=30", "off"),
    "hypersharp 1.2 sharpen: scale 3; method bicubic; degradation gaussian:sigma=1.7 (estimate, 90 % interval of sigma "
    "1.20 to 2.30); consistency exact; x": Settings(3, "bicubic", None, "gaussian:sigma=1.7", "exact"),
}


@pytest.mark.parametrize("line", list(LINES))
def test_settings_of_a_line_of_history(line, lr):
    cube = lr.with_history("something else").with_history(line).with_history("cut by somebody")
    assert settings_of(cube) == LINES[line]


def test_settings_of_what_sharpening_writes_today(lr):
    for how in ({}, {"degradation": "mtf:0.2,0.3", "consistency": "off"}, {"degradation": "bicubic"}):
        found = settings_of(sharp(lr, **how))
        assert found == Settings(2, "bicubic", None, how.get("degradation", "mtf:0.3"), how.get("consistency", "noise"))
    assert settings_of(lr) is None


def test_a_network_is_not_run_without_its_file(lr):
    line = next(line for line in LINES if "edlgfs" in line)
    sr = Cube.from_array(sharp(lr).read()[0]).with_history(line)
    found = assess(lr, sr).reduced
    assert found == NotRun("SR was made by edlgfs (weights 0123456789ab); give its file with --model")


def test_a_method_that_is_not_at_hand_is_not_run(lr):
    line = next(line for line in LINES if "bicubic; degradation mtf" in line).replace("bicubic", "magic")
    found = assess(lr, Cube.from_array(sharp(lr).read()[0]).with_history(line)).reduced
    assert found == NotRun("SR was made by magic, which is not at hand here; name another with --method")


def network(path, bands, **card):
    known = {"format": 1, "model": "twice", "scale": 2, "bands": bands, "halo": 0, "multiple_of": 1}
    return str(save_network(path, scale=2, bands=bands, card=known | card))


def test_a_network_is_run_from_its_file_and_another_one_is_said(lr, tmp_path):
    first = network(tmp_path / "a.onnx", 12)
    sr = sharp(lr, model=first, consistency="off")
    found = assess(lr, sr, model=first)
    assert found.reduced.sign == "worse"  # nearest neighbour
    assert found.method == f"{first}, consistency off"
    assert found.notes == ()
    second = network(tmp_path / "b.onnx", 12, model="two")
    (note,) = assess(lr, sr, model=second).notes
    assert re.fullmatch(r"SR was made by twice \(weights \w+\), the reduced test ran two \(weights \w+\)", note)
    (note,) = assess(lr, sr, method="bicubic").notes
    assert note.endswith("the reduced test ran bicubic")


@pytest.mark.parametrize(
    ("low", "high", "stated", "message"),
    [
        ((10, 12), (20, 25), None, "whole number of times.*LR 10 x 12 and SR 20 x 25"),
        ((10, 12), (20, 36), None, "LR 10 x 12 and SR 20 x 36"),
        ((10, 12), (10, 12), None, "LR 10 x 12 and SR 10 x 12"),
        ((20, 24), (10, 12), None, "LR 20 x 24 and SR 10 x 12"),
        ((10, 12), (30, 36), 4, "scale 4 does not fit the shapes, which say 3"),
    ],
)
def test_a_scale_that_is_none_is_refused(low, high, stated, message):
    one, two = (Cube.from_array(np.zeros((2, *shape))) for shape in (low, high))
    with pytest.raises(UsageError, match=message):
        scale_of(one, two, stated)


def wrong():
    low, hr = degraded(scene()), scene()
    sr = sharp(low)
    nm = np.linspace(400, 900, 12)
    named = Cube.from_array(low.read()[0], bands=Bands(12, wavelength_nm=nm))
    other = Cube.from_array(sr.read()[0], bands=Bands(12, wavelength_nm=nm + 20))
    void = Cube.from_array(np.full_like(low.read()[0], np.nan))
    placed = Cube.from_array(low.read()[0], grid=Grid((50, 52), (20.0, 0, 0, 0, -20.0, 0)))
    moved = Cube.from_array(sr.read()[0], grid=Grid((100, 104), (10.0, 0, 50.0, 0, -10.0, 0)))
    return {
        "bands": ((low, sr.select(range(11))), {}, UsageError, "12 bands x 50 rows.*got 11 bands"),
        "wavelengths": ((named, other), {}, UsageError, "400 nm in lr and 420 nm"),
        "place": ((placed, moved), {}, UsageError, "expected the grid of lr"),
        "nothing valid": ((void, sr), {}, NoDataError, "no-data"),
        "PSF": ((low, sr), {"degradation": "blurry"}, UsageError, "expected a PSF"),
        "method": ((low, sr), {"method": "magic"}, UsageError, "magic"),
        "both": ((low, sr), {"method": "bicubic", "model": "x.onnx"}, UsageError, "choose one"),
        "MSI": ((low, sr), {"msi": Cube.from_array(hr[:2, 1:])}, UsageError, "MSI of SR's 100 x 104 pixels, got 99"),
    }


@pytest.mark.parametrize("name", ["bands", "wavelengths", "place", "nothing valid", "PSF", "method", "both", "MSI"])
def test_wrong_input_is_refused(name):
    cubes, how, kind, message = wrong()[name]
    with pytest.raises(kind, match=message):
        assess(*cubes, **how)


def test_the_pair_is_sampled_where_the_scene_is_large(monkeypatch):
    hr = scene(160, 160)
    low = degraded(hr)
    monkeypatch.setattr(
        judgement.sample,
        "sample_windows",
        lambda source, **_: [((32, 16), *low.read(rows=slice(32, 80), cols=slice(16, 64)))],
    )
    found = judgement.pair_blur(low, Cube.from_array(hr[:3]), 2)
    assert found.sigma == pytest.approx(1.0, rel=0.05)
    np.testing.assert_allclose(found.shift_yx, 0, atol=0.05)
