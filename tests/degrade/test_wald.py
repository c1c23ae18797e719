"""The Wald protocol: degraded values against direct sums, no-data, geometry, and windows against the whole."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import ndimage

from hypersharp.cube import Bands, Cube, Grid, Storage
from hypersharp.degrade import wald
from hypersharp.degrade.psf import parse_psf
from hypersharp.degrade.recipe import Recipe
from hypersharp.errors import NoDataError, UsageError


def _cube(values: np.ndarray, **rest: object) -> Cube:
    wavelengths = np.linspace(450, 900, len(values))
    return Cube.from_array(values, bands=Bands(len(values), wavelengths), **rest)  # type: ignore[arg-type]


def _random(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32) + 0.5


def test_an_odd_scale_agrees_with_scipy() -> None:
    hr = _random((2, 30, 36)).astype(np.float64)
    lr, _ = wald.degrade(_cube(hr), scale=3, psf=parse_psf("gaussian:sigma=1.3")).read()
    # scipy cuts at a whole number of samples each side: ours at 2·ceil(4·1.3) + 1 of them, which is 6
    blurred = ndimage.gaussian_filter(hr, (0, 1.3, 1.3), mode="reflect", radius=(0, 6, 6))
    np.testing.assert_allclose(lr, blurred[:, 1::3, 1::3], rtol=1e-12)


def test_an_even_scale_agrees_with_a_direct_sum() -> None:
    hr = _random((1, 16, 24)).astype(np.float64)
    lr, _ = wald.degrade(_cube(hr), scale=4, psf=parse_psf("gaussian")).read()
    d = np.arange(8) - 3.5  # FWHM 4 on 8 samples about the block's centre
    kernel = np.exp(-4 * np.log(2) * (d[:, None] ** 2 + d**2) / 16)
    padded = np.pad(hr[0], 2, mode="symmetric")
    for i, j in np.ndindex(4, 6):
        under = padded[4 * i : 4 * i + 8, 4 * j : 4 * j + 8]
        assert lr[0, i, j] == pytest.approx((under * kernel).sum() / kernel.sum(), rel=1e-12)


@pytest.mark.parametrize("form", ["bicubic", "gaussian", "mtf:0.3", "gaussian:sigma=2,1,angle=30"])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -1.2)])
def test_a_constant_scene_stays_and_a_box_keeps_the_mean(form: str, shift: tuple[float, float], tmp_path: Path) -> None:
    hr = _cube(np.full((3, 24, 32), 7.25, np.float32))
    lr, valid = wald.degrade(hr, scale=4, psf=parse_psf(form), shift_yx=shift).read()
    np.testing.assert_allclose(lr, 7.25, rtol=1e-6)
    assert valid.all()
    np.save(tmp_path / "box.npy", np.ones((4, 4)))
    scene = _random((2, 24, 32))
    low, _ = wald.degrade(_cube(scene), scale=4, psf=parse_psf(f"kernel:{tmp_path / 'box.npy'}")).read()
    np.testing.assert_allclose(low.mean(axis=(1, 2)), scene.mean(axis=(1, 2)), rtol=1e-6)


def test_the_mean_of_a_real_scene_is_kept(data_dir: Path) -> None:
    with h5py.File(data_dir / "scenes" / "aviris_jasper_ridge_224.h5") as file:
        values = np.moveaxis(file["cube"][..., 10:60], 2, 0)
    lr, _ = wald.degrade(Cube.from_array(values), scale=4, psf=parse_psf("mtf:0.3")).read()
    assert np.all(np.abs(lr.mean(axis=(1, 2)) / values.mean(axis=(1, 2)) - 1) < 0.005)


def test_geometry_units_and_history_are_kept_and_the_rest_is_cropped() -> None:
    grid = Grid((11, 14), (2.0, 0.5, 100.0, 0.25, -2.0, 900.0), 'LOCAL_CS["x"]')
    storage = Storage(np.dtype(np.float32), nodata=-1.0, interleave="bil")
    hr = _cube(_random((3, 11, 14)), grid=grid, storage=storage, quantity="radiance", units="W")
    hr = hr.with_history("taken by hand")
    lr = wald.simulate(hr, Recipe(scale=3, degradation="bicubic")).lr
    assert lr.shape == (3, 3, 4)
    assert lr.grid == Grid((3, 4), (6.0, 1.5, 100.0, 0.75, -6.0, 900.0), 'LOCAL_CS["x"]')
    assert lr.bands == hr.bands
    assert (lr.quantity, lr.units, lr.storage.interleave) == ("radiance", "W", "bil")
    assert lr.history[0] == "taken by hand"
    assert lr.history[1] == "HR cropped to a multiple of the scale: last 2 rows and last 2 columns left out"
    assert '"scale":3,"degradation":"bicubic"' in lr.history[2]
    # what was cut off does not reach in
    other = hr.read()[0].copy()
    other[:, 9:], other[:, :, 12:] = 50, 50
    np.testing.assert_array_equal(
        lr.read()[0], wald.simulate(_cube(other), Recipe(scale=3, degradation="bicubic")).lr.read()[0]
    )


@pytest.mark.parametrize("scale", [2, 4])
def test_no_data_is_left_out_of_the_sum_and_its_blocks_are_invalid(scale: int) -> None:
    hr = _random((3, 12 * scale, 12 * scale)).astype(np.float64)
    hidden = np.zeros(hr.shape, dtype=bool)
    hidden[0, 5 * scale, 5 * scale + 1] = True
    hidden[1:, 7 * scale : 9 * scale, :3] = True
    holes = np.where(hidden, np.nan, hr)
    psf = parse_psf("gaussian:sigma=1.7")
    lr, valid = wald.degrade(_cube(holes), scale=scale, psf=psf).read()
    expected = ~hidden.reshape(3, 12, scale, 12, scale).any(axis=(2, 4))
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(np.isnan(lr), ~expected)
    # the sum over the valid pixels, by hand, beside the hole of each band
    rows, cols = np.mgrid[: 12 * scale, : 12 * scale]
    for band, i, j in ((0, 5, 6), (0, 4, 5), (1, 6, 4), (2, 8, 5)):
        centre = scale * i + (scale - 1) / 2, scale * j + (scale - 1) / 2
        kernel = np.exp(-((rows - centre[0]) ** 2 + (cols - centre[1]) ** 2) / (2 * 1.7**2)) * ~hidden[band]
        assert lr[band, i, j] == pytest.approx((kernel * hr[band]).sum() / kernel.sum(), abs=2e-4)


def test_invalid_values_never_leak() -> None:
    hr = _random((2, 24, 24))
    storage = Storage(np.dtype(np.float32), nodata=-9999.0)
    hr[:, 8:12, 8:12] = -9999
    lr, valid = wald.degrade(_cube(hr, storage=storage), scale=4, psf=parse_psf("bicubic")).read()
    assert not valid[:, 2, 2].any()
    assert lr[valid].min() > 0


def test_a_psf_that_sees_no_valid_pixel_gives_none() -> None:
    hr = _random((1, 16, 16))
    hr[:, 8:] = np.nan
    lr, valid = wald.degrade(_cube(hr), scale=2, psf=parse_psf("gaussian:sigma=0.4"), shift_yx=(6.0, 0.0)).read()
    assert valid[0, 0].all()
    assert not valid[0, 3].any()
    assert np.isnan(lr[0, 3]).all()


def _noisy_recipe() -> Recipe:
    noise = ("gaussian:snr_db=30", "poisson:snr_db=30", "stripes:level=0.05,fraction=0.4", "dead-lines:fraction=0.05")
    last = ("impulse:fraction=0.02", "random:fraction=0.02", "dead-bands:count=1")
    return Recipe(
        scale=2,
        degradation="gaussian:sigma=1.1",
        shift_yx=(0.4, -0.2),
        noise=noise + last,
        srf="gaussian:500/60,600/60,700/90",
        msi_noise=("gaussian:snr_db=30", "stripes:level=0.1"),
        seed=7,
    )


@pytest.mark.parametrize("holes", [False, True])
def test_a_window_is_a_slice_of_the_whole_to_the_last_bit(holes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wald, "_TILES", (32,))
    values = _random((12, 150, 202))
    if holes:
        values[np.random.default_rng(5).random(values.shape) < 0.01] = np.nan
    done = wald.simulate(_cube(values), _noisy_recipe())
    assert done.msi is not None
    for cube in (done.lr, done.msi):
        whole, mask = cube.read()
        assert mask.all() != holes
        for rows, cols in (((0, 5), (3, 90)), ((31, 33), (63, 66)), ((40, 75), (0, 101)), ((66, 67), (64, 65))):
            for bands in ([2, 0], slice(1, 3), slice(None)):
                part, valid = cube.read(bands, slice(*rows), slice(*cols))
                np.testing.assert_array_equal(part, whole[bands, rows[0] : rows[1], cols[0] : cols[1]])
                np.testing.assert_array_equal(valid, mask[bands, rows[0] : rows[1], cols[0] : cols[1]])


def test_the_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    values = _random((3, 90, 120))
    values[1, 40:44, 17] = np.nan
    psf = parse_psf("gaussian:sigma=2,1,angle=30")
    read = [wald.degrade(_cube(values), scale=2, psf=psf).read()]
    monkeypatch.setattr(wald, "_TILES", (8,))
    read.append(wald.degrade(_cube(values), scale=2, psf=psf).read())
    np.testing.assert_allclose(read[0][0], read[1][0], rtol=1e-6)
    np.testing.assert_array_equal(read[0][1], read[1][1])


def test_memory_is_that_of_a_tile() -> None:
    # a scene of 10^12 values that is never in memory: only the shapes of what is read of it are
    asked = []

    class Endless:
        shape, dtype, complete, files = (400, 50_000, 50_000), np.dtype(np.float32), True, ()

        def read(self, bands: slice, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
            asked.append((rows.stop - rows.start) * (cols.stop - cols.start) * 400 * 4)
            values = np.ones((400, rows.stop - rows.start, cols.stop - cols.start), np.float32)
            return values, np.ones(values.shape, dtype=bool)

    cube = wald.degrade(Cube(Endless(), Bands(400)), scale=8, psf=parse_psf("mtf:0.3"))
    values, _ = cube.read(slice(None), slice(1000, 1020), slice(3000, 3010))
    np.testing.assert_allclose(values, 1, rtol=1e-6)
    assert max(asked) < 100 << 20


def test_the_msi_is_the_weighted_sum_on_the_cropped_grid() -> None:
    hr = _cube(_random((10, 9, 11)), grid=Grid((9, 11), (1.0, 0, 5.0, 0, -1.0, 7.0)))
    done = wald.simulate(hr, Recipe(scale=4, degradation="bicubic", srf="gaussian:550/80,750/120"))
    assert done.msi is not None
    assert done.msi.grid == Grid((8, 8), (1.0, 0, 5.0, 0, -1.0, 7.0))
    np.testing.assert_allclose(done.msi.bands.wavelength_nm, [550, 750])
    np.testing.assert_allclose(done.msi.bands.fwhm_nm, [80, 120], rtol=1e-3)
    assert done.msi.bands.name == ("550 nm", "750 nm")
    said = done.facts["srf"]["bands"][0]["weights"]
    values, _ = hr.read()
    by_hand = sum(weight * values[int(band) - 1, :8, :8].astype(float) for band, weight in said.items())
    np.testing.assert_allclose(done.msi.read()[0][0], by_hand, rtol=1e-5)


def test_a_flat_spectrum_keeps_its_value_in_the_msi() -> None:
    scene = _random((1, 8, 8)).repeat(40, axis=0)
    hr = Cube.from_array(scene, bands=Bands(40, np.linspace(420, 950, 40)))
    msi = wald.simulate(hr, Recipe(scale=2, srf="worldview2:blue,green,yellow,red")).msi
    assert msi is not None
    np.testing.assert_allclose(msi.read()[0], scene[:4], rtol=1e-6)


def test_an_msi_pixel_needs_all_bands_with_a_weight() -> None:
    values = _random((10, 4, 4))
    values[2, 0, 0] = np.nan  # 550 nm: in the first response, not in the second
    msi = wald.simulate(_cube(values), Recipe(scale=2, srf="gaussian:550/40,800/40")).msi
    assert msi is not None
    got, valid = msi.read()
    assert not valid[0, 0, 0]
    assert np.isnan(got[0, 0, 0])
    assert valid.sum() == 31
    assert np.isfinite(got[valid]).all()


def test_a_scene_too_small_or_without_a_valid_pixel_is_refused() -> None:
    with pytest.raises(UsageError, match="one LR pixel is 8 x 8 pixels, and the scene has 6 x 20"):
        wald.simulate(_cube(_random((2, 6, 20))), Recipe(scale=8))
    nothing = _cube(np.full((2, 8, 8), np.nan, np.float32))
    with pytest.raises(NoDataError, match="no pixel of the degraded scene is valid"):
        wald.simulate(nothing, Recipe(scale=2, noise=("gaussian:snr_db=30",)))
