"""The main job through real files: place, bands, no-data, metadata, and how well the result agrees with its input."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

import hypersharp
from hypersharp import Cube, Save, Tiling
from hypersharp.cube import Bands, Grid, Storage, array_source
from hypersharp.degrade.psf import parse_psf
from hypersharp.errors import UsageError
from hypersharp.io import WriteOptions
from hypersharp.io.crs import same_crs, to_wkt2
from hypersharp.metrics import mpsnr, sam
from hypersharp.pipeline import prepare

from .infer.made import cube_of, holes, scene


def marked(shape=(5, 11, 14)) -> np.ndarray:
    """int16 with distinct bands and marks without any symmetry: corners, a bar, a spot, all of their own strength."""
    values = scene(shape, detail=2.3)
    rows, cols = shape[1:]
    values[:, 0, 0] += 900
    values[:, 0, cols - 1] -= 400
    values[:, rows - 1, 0] += 400
    values[:, 2:6, 3] += 700
    values[:, rows // 2 + 1, cols // 3 : cols - 2] -= 500
    values[:, rows - 3, cols - 5] += 1200
    for band in range(shape[0]):
        values[band] += 350 * band * (-1) ** band
        values[band, (band * 3 + 1) % rows, (band * 5 + 2) % cols] += 800
    return np.rint(values).astype(np.int16)


def block_mean(values: np.ndarray, scale: int) -> np.ndarray:
    """The simplest sensor: each LR pixel is the mean of the HR pixels that it covers."""
    bands, rows, cols = values.shape
    return values.reshape(bands, rows // scale, scale, cols // scale, scale).mean(axis=(2, 4))


def placed(transform, col: float, row: float) -> tuple[float, float]:
    """Coordinates of a pixel corner."""
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * col + b * row + c, d * col + e * row + f


# ---- place -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "output"),
    [("in.img", "out.tif"), ("in.tif", "out.img"), ("in.h5", "out.h5"), ("in.h5", "out.tif"), ("in.npz", "out.npz")],
)
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("consistency", ["off", "noise"])
def test_pixels_and_bands_stay_in_place(tmp_path, source, output, scale, consistency):
    """The result fits the input better than itself shifted by one HR pixel in any direction, or by one band."""
    lr = marked()
    hypersharp.write(cube_of(lr), tmp_path / source)
    options = {"method": "bicubic", "consistency": consistency}
    hypersharp.sharpen(tmp_path / source, tmp_path / output, scale=scale, **options)
    sr, valid = hypersharp.open(tmp_path / output).read()
    assert valid.all()

    def misfit(values):
        return float(np.mean((block_mean(values.astype(np.float64), scale) - lr) ** 2))

    own = misfit(sr)
    for down, right in [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]:
        assert own < 0.8 * misfit(np.roll(sr, (down, right), axis=(1, 2)))
    for order in (np.roll(sr, 1, axis=0), np.roll(sr, -1, axis=0), sr[::-1]):
        assert own < 0.2 * misfit(order)
    for turned in (sr[:, ::-1], sr[:, :, ::-1], sr[:, ::-1, ::-1]):
        assert own < 0.2 * misfit(turned)


@pytest.mark.parametrize("ending", [".tif", ".img"])
@pytest.mark.parametrize("affine", [(30.0, 0.0, 5e5, 0.0, -30.0, 4.2e6), (24.0, 18.0, 5e5, 18.0, -24.0, 4.2e6)])
@pytest.mark.parametrize("scale", [2, 3, 8])
def test_the_ground_stays_in_place(tmp_path, ending, affine, scale):
    """By rasterio: the corner stays, and a LR pixel's centre is the mean of the centres of its HR pixels."""
    cube = cube_of(marked((2, 5, 7)))
    cube = Cube(cube.values, cube.bands, Grid((5, 7), affine, to_wkt2(32633)))
    hypersharp.write(cube, tmp_path / f"in{ending}")
    hypersharp.sharpen(tmp_path / f"in{ending}", tmp_path / f"out{ending}", scale=scale)
    with rasterio.open(tmp_path / f"in{ending}") as lr, rasterio.open(tmp_path / f"out{ending}") as hr:
        assert (hr.height, hr.width, hr.count) == (5 * scale, 7 * scale, 2)
        assert hr.crs == lr.crs == rasterio.CRS.from_epsg(32633)
        for corner in ((0, 0), (7, 0), (0, 5), (7, 5)):
            at = placed(hr.transform, corner[0] * scale, corner[1] * scale)
            np.testing.assert_allclose(at, placed(lr.transform, *corner), atol=1e-6)
        for row, col in ((0, 0), (4, 6), (2, 3)):
            inside = np.mgrid[row * scale : (row + 1) * scale, col * scale : (col + 1) * scale].reshape(2, -1)
            xs, ys = hr.xy(*inside)
            np.testing.assert_allclose((np.mean(xs), np.mean(ys)), lr.xy(row, col), atol=1e-6)


def test_a_window_lies_where_it_was_cut(tmp_path):
    hypersharp.write(cube_of(marked()), tmp_path / "in.tif")
    part = hypersharp.open(tmp_path / "in.tif").crop(slice(3, 9), slice(4, 12))
    hypersharp.sharpen(part, tmp_path / "out.tif", scale=2)
    with rasterio.open(tmp_path / "in.tif") as lr, rasterio.open(tmp_path / "out.tif") as hr:
        np.testing.assert_allclose(placed(hr.transform, 0, 0), placed(lr.transform, 4, 3))
        np.testing.assert_allclose(placed(hr.transform, 16, 12), placed(lr.transform, 12, 9))


def test_without_a_grid_there_is_none(tmp_path):
    made = hypersharp.sharpen(Cube.from_array(marked()), scale=2)
    assert made.grid is None


# ---- what the cube says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "output"), [("in.img", "out.tif"), ("in.tif", "out.img"), ("in.h5", "out.npz")])
def test_everything_else_stays_as_it_was(tmp_path, source, output):
    numbers = marked((4, 9, 9))
    numbers[:, 4, 4] = -9999
    storage = Storage(np.dtype(np.int16), np.array([0.5, 0.25, 2.0, 1.0]), np.array([10.0, 0, -3, 0.5]), -9999)
    cube = Cube(
        array_source(numbers, storage),
        Bands(4, np.array([1000.125, 450.5, 2200.0625, np.nan]), np.arange(4) + 5.5, [True, True, False, True], "abcd"),
        Grid((9, 9), (24.0, 18.0, 5e5, 18.0, -24.0, 4.2e6), to_wkt2(32633)),
        quantity="radiance",
        units="W/(m^2 sr um)",
        attrs={"acquisition_time": "2024-02-29T12:34:56Z", "default_bands": "3,2,1"},
        history=("made by hand",),
    )
    hypersharp.write(cube, tmp_path / source)
    hypersharp.sharpen(tmp_path / source, tmp_path / output, scale=2)
    made = hypersharp.open(tmp_path / output)
    assert made.bands == cube.bands
    assert (made.quantity, made.units, dict(made.attrs)) == (cube.quantity, cube.units, dict(cube.attrs))
    assert made.storage.dtype == np.int16
    assert made.storage.nodata == -9999
    np.testing.assert_array_equal(made.storage.scale, storage.scale)
    np.testing.assert_array_equal(made.storage.offset, storage.offset)
    assert same_crs(made.grid.crs, cube.grid.crs)
    assert made.history[0] == "made by hand"
    line = made.history[-1]
    for word in (f"hypersharp {hypersharp.__version__}", "scale 2", "method ", "mtf:0.3 (default)", "noise"):
        assert word in line
    np.testing.assert_array_equal(made.read()[1], cube.read()[1].repeat(2, axis=1).repeat(2, axis=2))


def test_dead_bands_pass_through_flagged_in_the_file(tmp_path):
    numbers = marked((6, 12, 12))
    numbers[1] = 321
    numbers[4] = -9999
    storage = Storage(np.dtype(np.int16), nodata=-9999)
    hypersharp.write(Cube(array_source(numbers, storage), Bands(6)), tmp_path / "in.img")
    hypersharp.sharpen(tmp_path / "in.img", tmp_path / "out.img", scale=3)
    assert "bbl = {1, 0, 1, 1, 0, 1}" in (tmp_path / "out.hdr").read_text()
    stored = np.fromfile(tmp_path / "out.img", "<i2").reshape(6, 36, 36)
    assert (stored[1] == 321).all()
    assert (stored[4] == -9999).all()
    assert (stored[[0, 2, 3, 5]] != -9999).all()


def test_whatever_is_stored_under_nodata(tmp_path):
    """Two files that differ only under their masks give the same valid numbers."""
    numbers, mask = marked((3, 12, 13)), holes(12, 13)
    results = []
    for marker in (-9999, 30000, 0):
        numbers[:, mask] = marker
        hypersharp.write(
            Cube(array_source(numbers, Storage(np.dtype(np.int16), nodata=marker)), Bands(3)),
            tmp_path / f"{marker}.img",
        )
        out = tmp_path / f"out{marker}.img"
        hypersharp.sharpen(tmp_path / f"{marker}.img", out, scale=2)
        stored = np.fromfile(out, "<i2").reshape(3, 24, 26)
        bad = mask.repeat(2, axis=0).repeat(2, axis=1)
        assert (stored[:, bad] == marker).all()
        assert (stored[:, ~bad] != marker).all()
        results.append(stored[:, ~bad])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_types_on_request_hold_the_values(tmp_path, dtype):
    """Scaled integers leave room for what sharpening adds beyond the range of the input."""
    values = scene((3, 14, 15), noise=2.0) / 1e4
    values[:, holes(14, 15)] = np.nan
    exact = hypersharp.sharpen(cube_of(values), scale=2).read()[0]
    save = Save(options=WriteOptions(dtype=dtype))
    hypersharp.sharpen(cube_of(values), tmp_path / "out.tif", scale=2, save=save)
    made = hypersharp.open(tmp_path / "out.tif")
    got, valid = made.read()
    np.testing.assert_array_equal(valid, np.isfinite(exact))
    assert made.storage.dtype == dtype
    step = np.broadcast_to(made.storage.scale, 3)[:, None, None] if made.storage.is_scaled else 0.0
    assert (np.abs(got - exact)[valid] <= np.broadcast_to(0.51 * step + 1e-6, got.shape)[valid]).all()


# ---- what is asked of it ---------------------------------------------------------------------------------------------


def test_it_answers_in_kind(tmp_path):
    cube = cube_of(marked())
    hypersharp.write(cube, tmp_path / "in.tif")
    assert isinstance(hypersharp.sharpen(cube, scale=2), Cube)
    assert isinstance(hypersharp.sharpen(tmp_path / "in.tif", scale=2), Cube)
    assert isinstance(hypersharp.sharpen(str(tmp_path / "in.tif"), str(tmp_path / "o.tif"), scale=2), Path)
    array = cube.to_xarray()
    sharp = hypersharp.sharpen(array, scale=2)
    assert type(sharp) is type(array)
    np.testing.assert_allclose(sharp.values, hypersharp.sharpen(cube, scale=2).read()[0], rtol=1e-6)
    assert float(sharp.x[1] - sharp.x[0]) == 15.0
    assert float(sharp.x[:2].mean()) == float(array.x[0])


def test_tiles_of_files_give_the_whole(tmp_path):
    values = scene((3, 70, 30), noise=1.0).astype(np.float32)
    values[:, holes(70, 30, share=0.02)] = np.nan
    hypersharp.write(cube_of(values), tmp_path / "in.img")
    for name, tile in (("one.tif", 70), ("many.tif", 9)):
        hypersharp.sharpen(tmp_path / "in.img", tmp_path / name, scale=2, tiling=Tiling(tile=tile))
    one, many = (hypersharp.open(tmp_path / name).read()[0] for name in ("one.tif", "many.tif"))
    np.testing.assert_array_equal(np.isnan(one), np.isnan(many))
    assert np.nanmax(np.abs(one - many)) < 2e-6 * (np.nanmax(values) - np.nanmin(values))


def test_wrong_words_are_told():
    cube = cube_of(marked())
    for options, words in (
        ({"method": "bicubik"}, "did you mean 'bicubic'"),
        ({"consistency": "exakt"}, "noise, exact, off"),
        ({"degradation": "gausian"}, "gaussian"),
        ({"tiling": Tiling(tile=0)}, "at least 1"),
    ):
        with pytest.raises(UsageError, match=words):
            hypersharp.sharpen(cube, scale=2, **options)


# ---- how well it agrees with its input -------------------------------------------------------------------------------

SCENES = [
    "aviris_jasper_ridge_224",
    "aviris_abu_urban_3",
    "aviris_moffett_189",
    "aviris_sandiego_a_224",
    "rosis_pavia_centre_crop100",
]


def real(data_dir, name) -> np.ndarray:
    """`(C, H, W)` float64 without dead bands."""
    with h5py.File(data_dir / "scenes" / f"{name}.h5") as file:
        values = file["cube"][()].transpose(2, 0, 1).astype(np.float64)
    return values[values.reshape(len(values), -1).std(axis=1) > 0]


def wald(reference, psf, scale, snr_db=None, seed=0):
    """The reference cut to a multiple of the scale, and the LR cube that a sensor would have seen."""
    rows, cols = (n // scale * scale for n in reference.shape[1:])
    hr = reference[:, :rows, :cols]
    lr = parse_psf(psf).operator((rows, cols), scale).apply(hr)
    if snr_db is not None:
        spread = np.sqrt((lr**2).mean(axis=(1, 2)) * 10 ** (-snr_db / 10))
        lr = lr + np.random.default_rng(seed).normal(size=lr.shape) * spread[:, None, None]
    return hr, lr


def gains(reference, psf, scale, snr_db=None):
    """What consistency gains over bicubic: mean PSNR in dB, and the change of SAM in per cent."""
    hr, lr = wald(reference, psf, scale, snr_db)
    cube = Cube.from_array(lr.astype(np.float32))
    plain, ours = (
        prepare(cube, scale=scale, method="bicubic", degradation=psf, consistency=mode)
        .cube.read()[0]
        .astype(np.float64)
        for mode in ("off", "noise")
    )
    peak = hr.max(axis=(1, 2))
    decibels = mpsnr(hr, ours, data_range=peak) - mpsnr(hr, plain, data_range=peak)
    return decibels, 100 * (sam(hr, ours) / sam(hr, plain) - 1)


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize(("psf", "scale"), [("mtf:0.3", 2), ("mtf:0.3", 4), ("gaussian", 2), ("bicubic", 2)])
def test_at_25_db_it_never_falls_below_bicubic(data_dir, name, psf, scale):
    """By more than 0.05 dB or 2 % of SAM. Moffett at scale 4 has 144 pixels for its 189 bands."""
    decibels, more_sam = gains(real(data_dir, name), psf, scale, snr_db=25)
    assert decibels > -0.05
    assert more_sam < 2.0


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("snr_db", [15, 25, 40])
def test_noise_never_costs_on_a_made_scene(scale, snr_db):
    decibels, more_sam = gains(scene((20, 60, 60), detail=4.0), "mtf:0.3", scale, snr_db=snr_db)
    assert decibels > -0.05
    assert more_sam < 2.0


# Issue A hoped for 2 dB. What a linear correction can give depends on the scene: these are measured, less 0.1 dB.
CLEAN = [
    ("aviris_jasper_ridge_224", 1.95),
    ("aviris_abu_urban_3", 1.85),
    ("aviris_moffett_189", 2.05),
    ("rosis_pavia_centre_crop100", 1.55),
    ("aviris_sandiego_a_224", 1.3),
]


@pytest.mark.parametrize(("name", "least"), CLEAN)
def test_what_the_true_psf_gains_on_a_clean_scene(data_dir, name, least):
    """Gaussian of FWHM = scale, twice finer."""
    decibels, more_sam = gains(real(data_dir, name), "gaussian", 2)
    assert decibels > least
    assert more_sam < -4


@pytest.mark.parametrize("name", SCENES[:2])
def test_the_result_degrades_to_the_input(data_dir, name):
    """Exactly: to a thousandth of what bicubic leaves. Within the noise: to the noise and no further."""
    scale, psf = 2, "mtf:0.3"
    hr, lr = wald(real(data_dir, name), psf, scale, snr_db=25)
    degrade = parse_psf(psf).operator(hr.shape[1:], scale)
    made = {
        mode: prepare(Cube.from_array(lr), scale=scale, method="bicubic", consistency=mode)
        for mode in ("off", "noise", "exact")
    }
    left = {mode: degrade.apply(ready.cube.read()[0]) - lr for mode, ready in made.items()}
    spread = {mode: np.sqrt((residual**2).mean(axis=(1, 2))) for mode, residual in left.items()}
    assert (spread["exact"] < 1e-3 * spread["off"]).all()
    assert (spread["noise"] < 1.1 * made["noise"].scene.noise).mean() > 0.95
    assert (spread["noise"] > 0.3 * made["noise"].scene.noise).all(), "the noise itself must not be fitted"
    assert np.median(spread["noise"] / spread["off"]) < 0.9


def test_nothing_is_darker_than_its_surroundings_allow(data_dir):
    """Beside dark water a linear correction alone would ring far into negative radiance."""
    _, lr = wald(real(data_dir, "aviris_moffett_189"), "mtf:0.3", 2)
    made = prepare(Cube.from_array(lr), scale=2, method="bicubic").cube.read()[0]
    low = np.pad(lr, ((0, 0), (1, 1), (1, 1)), mode="edge")
    lowest = np.min([low[:, r : r + lr.shape[1], c : c + lr.shape[2]] for r in range(3) for c in range(3)], axis=0)
    floor = (lowest - 0.25 * np.abs(lowest)).repeat(2, axis=1).repeat(2, axis=2)
    assert (made >= floor - 1e-6 * np.abs(lr).max()).all()
