"""The lazy sharpened source: tiles equal the whole, any window equals its slice, no-data stays where it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hypersharp.cube import Storage, array_source
from hypersharp.errors import NoDataError, UsageError
from hypersharp.pipeline import Prepared, Tiling, prepare

from .made import cube_of, holes, scene

TURNED = "gaussian:sigma=0.7,1.1,angle=40"  # rank above 1


def ready(values, *, tile=None, scale=2, **options) -> Prepared:
    cube = values if not isinstance(values, np.ndarray) else cube_of(values)
    return prepare(cube, scale=scale, method="bicubic", tiling=Tiling(tile=tile), **options)


def holed(values, **options):
    values = values.astype(np.float64 if values.dtype == np.float64 else np.float32)
    values[:, holes(*values.shape[1:], **options)] = np.nan
    return values


def spread(values) -> float:
    return float(np.nanmax(values) - np.nanmin(values))


def close(one, other, values, atol=1e-6):
    """Equal where valid to a millionth of the range of values, and valid at the same places."""
    np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
    assert np.nanmax(np.abs(one - other), initial=0) <= atol * spread(values)


@pytest.mark.parametrize("consistency", ["off", "noise", "exact"])
@pytest.mark.parametrize("gaps", [False, True])
def test_every_tile_size_gives_the_whole(consistency, gaps):
    """Long and narrow, so that the windows of most tiles do not hold the scene."""
    values = scene((6, 3, 47), noise=0.2, detail=2.2)
    values = holed(values, share=0.03) if gaps else values
    options = {"degradation": "gaussian:sigma=0.6", "consistency": consistency}
    whole = ready(values, tile=47, **options)
    expected = whole.cube.read()[0]
    assert (whole.consistency is None) == (consistency == "off"), "nothing is corrected: this would test nothing"
    parts = 0
    for tile in range(1, 47):
        made = ready(values, tile=tile, **options)
        parts += made.plan.window[1] < 47
        close(made.cube.read()[0], expected, values)
    assert parts > 15


@pytest.mark.parametrize(
    ("scale", "psf"), [(2, "mtf:0.3"), (3, "bicubic"), (5, "gaussian"), (8, "mtf:0.3"), (2, TURNED), (3, TURNED)]
)
@pytest.mark.parametrize("consistency", ["noise", "exact"])
@pytest.mark.parametrize("gaps", [False, True])
def test_tiles_give_the_whole_for_every_scale_and_psf(scale, psf, consistency, gaps):
    values = scene((3, 70, 6), noise=1.0, detail=2.2)
    values = holed(values, share=0.03) if gaps else values
    options = {"scale": scale, "degradation": psf, "consistency": consistency}
    whole = ready(values, tile=70, **options)
    expected = whole.cube.read()[0]
    assert whole.consistency is not None
    for tile in (7, 32):
        close(ready(values, tile=tile, **options).cube.read()[0], expected, values)


@pytest.mark.parametrize("psf", ["mtf:0.12", "gaussian:fwhm=6"])
def test_tiles_give_the_whole_where_the_blur_is_wide(psf):
    """Wide blurs need many steps of the iteration and a wide halo."""
    values = holed(scene((1, 2, 170), noise=1.0, detail=2.2), share=0.02)
    options = {"degradation": psf, "consistency": "exact"}
    expected = ready(values, tile=170, **options).cube.read()[0]
    made = ready(values, tile=40, **options)
    assert made.plan.window[1] < 170
    close(made.cube.read()[0], expected, values)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_tiles_give_the_whole_for_every_type(dtype):
    values = scene((4, 50, 7), noise=1.0, detail=2.2).astype(dtype)
    for consistency in ("noise", "exact"):
        expected = ready(values, tile=50, consistency=consistency).cube.read()[0]
        got = ready(values, tile=11, consistency=consistency).cube.read()[0]
        close(got, expected, values, atol=2e-6 if expected.dtype == np.float32 else 1e-6)
        assert expected.dtype == (np.float64 if dtype == "float64" else np.float32)


@pytest.mark.parametrize("consistency", ["off", "noise"])
@pytest.mark.parametrize("gaps", [False, True])
def test_any_window_is_the_slice_of_the_whole(consistency, gaps):
    values = scene((5, 14, 17), noise=1.0)
    values = holed(values) if gaps else values
    cube = ready(values, tile=6, scale=3, consistency=consistency).cube
    whole, valid = cube.read()
    rng = np.random.default_rng(0)
    for _ in range(25):
        rows, cols = (slice(*sorted(rng.choice(n + 1, 2, replace=False).tolist())) for n in whole.shape[1:])
        bands = [slice(None), slice(1, 4), [4, 0, 0], [2]][rng.integers(4)]
        part, mask = cube.read(bands, rows, cols)
        np.testing.assert_allclose(part, whole[bands][:, rows, cols], rtol=1e-12, equal_nan=True)
        np.testing.assert_array_equal(mask, valid[bands][:, rows, cols])
        part[...] = -1  # what was given belongs to the caller
    np.testing.assert_array_equal(cube.read()[0], whole)


def test_an_empty_window_is_empty():
    cube = ready(scene((2, 4, 5))).cube
    assert cube.read(slice(None), slice(3, 3), slice(0, 2))[0].shape == (2, 0, 2)
    assert cube.read([], slice(0, 2), slice(0, 2))[0].shape == (0, 2, 2)


def test_threads_get_what_one_gets():
    values = holed(scene((4, 20, 22), noise=1.0))
    cube = ready(values, tile=7).cube
    whole = cube.read()[0]
    at = [(slice(r, r + 9), slice(c, c + 13)) for r in range(0, 30, 5) for c in range(0, 30, 7)]
    with ThreadPoolExecutor(4) as pool:
        for (rows, cols), (part, _) in zip(at, pool.map(lambda spot: cube.read(slice(1, 3), *spot), at), strict=True):
            np.testing.assert_allclose(part, whole[1:3, rows, cols], rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (2, 1, 40), (1, 33, 1), (1, 20, 20), (2000, 3, 4)])
@pytest.mark.parametrize("consistency", ["off", "noise", "exact"])
def test_scenes_of_every_size(shape, consistency):
    values = scene(shape, noise=1.0)
    made = ready(values, scale=3, consistency=consistency).cube
    sharp, valid = made.read()
    assert made.shape == sharp.shape == (shape[0], shape[1] * 3, shape[2] * 3)
    assert np.isfinite(sharp).all()
    assert valid.all()
    low, high = values.min(axis=(1, 2)), values.max(axis=(1, 2))
    room = np.maximum(high - low, 1.0)
    assert (sharp.min(axis=(1, 2)) > low - room).all()
    assert (sharp.max(axis=(1, 2)) < high + room).all()


def test_one_pixel_stays_its_value():
    sharp = ready(np.array([[[7.0]], [[-3.0]]]), scale=8).cube.read()[0]
    np.testing.assert_allclose(sharp, np.broadcast_to([[[7.0]], [[-3.0]]], (2, 8, 8)), rtol=1e-12)


@pytest.mark.parametrize("scale", [1, 9, 0, -2, 2.5, "2", True, None, float("nan")])
def test_other_scales_are_refused(scale):
    with pytest.raises(UsageError, match="2 to 8"):
        ready(scene((1, 3, 3)), scale=scale)


# ---- no-data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("consistency", ["off", "noise", "exact"])
@pytest.mark.parametrize("psf", ["mtf:0.3", TURNED])
def test_numbers_under_nodata_change_nothing(consistency, psf):
    """The same scene with other numbers stored where its mask says invalid: the same result, bit for bit."""
    values = scene((4, 16, 18), noise=1.0)
    mask = np.broadcast_to(~holes(16, 18), values.shape)
    results = []
    for under in (0.0, 1e6, -32768.0):
        stored = np.where(mask, values, under)
        source = array_source(stored)
        hidden = type(source)(source.shape, source.storage, source.fetch, lambda b, r, c: mask[b][:, r, c])
        cube = cube_of(values)
        cube = type(cube)(hidden, cube.bands, cube.grid)
        results.append(ready(cube, consistency=consistency, degradation=psf, tile=9).cube.read())
    for got, valid in results[1:]:
        np.testing.assert_array_equal(got, results[0][0])
        np.testing.assert_array_equal(valid, results[0][1])


@pytest.mark.parametrize("consistency", ["off", "noise", "exact"])
def test_valid_is_the_input_repeated_and_nodata_never_a_number(consistency):
    values = scene((3, 12, 13), noise=1.0)
    values[0, holes(12, 13, seed=1)] = np.nan
    values[1, holes(12, 13, seed=2)] = np.inf
    values[2, 4, 4] = -np.inf
    sharp, valid = ready(values, scale=4, consistency=consistency, tile=5).cube.read()
    np.testing.assert_array_equal(valid, np.isfinite(values).repeat(4, axis=1).repeat(4, axis=2))
    np.testing.assert_array_equal(np.isnan(sharp), ~valid)
    assert not np.isinf(sharp).any()


@pytest.mark.parametrize("psf", ["mtf:0.3", "mtf:0.15", "bicubic", TURNED])
@pytest.mark.parametrize("scale", [2, 4])
def test_holes_bring_no_level_of_their_own(psf, scale):
    """A scene that is brighter by a constant gives a result that is: what fills the holes leaks no absolute number."""
    values = holed(scene((2, 20, 21), noise=1.0))
    one, two = (
        ready(values + level, scale=scale, degradation=psf, consistency="exact").cube.read()[0] - level
        for level in (0.0, 50_000.0)
    )
    assert np.nanmax(np.abs(one - two)) < 1e-8 * spread(values)


def test_a_constant_scene_with_holes_stays_constant():
    values = np.full((2, 15, 16), 1234.5)
    values[1] = scene((1, 15, 16))[0]
    values[:, holes(15, 16)] = np.nan
    sharp, valid = ready(values, consistency="exact").cube.read()
    np.testing.assert_allclose(sharp[0][valid[0]], 1234.5, rtol=1e-12)


def test_the_hole_of_one_band_is_not_that_of_another():
    values = scene((5, 18, 18), noise=1.0)
    whole = ready(values, consistency="off").cube.read()[0]
    values[2, 5:9, 5:9] = np.nan
    sharp, valid = ready(values, consistency="off").cube.read()
    assert valid[[0, 1, 3, 4]].all()
    np.testing.assert_array_equal(sharp[[0, 1, 3, 4]], whole[[0, 1, 3, 4]])


@pytest.mark.parametrize("consistency", ["noise", "exact"])
def test_a_band_without_data_and_a_constant_one_pass_through_flagged(consistency):
    values = scene((6, 18, 18), noise=1.0)
    values[1] = np.nan
    values[4] = 250.0
    made = ready(values, consistency=consistency)
    sharp, valid = made.cube.read()
    assert not valid[1].any()
    np.testing.assert_allclose(sharp[4], 250.0, rtol=1e-12)
    np.testing.assert_array_equal(made.cube.bands.good, [True, False, True, True, False, True])
    assert "2, 5" in made.cube.history[-1]
    alive = [0, 2, 3, 5]
    rest = ready(values[alive], consistency=consistency).cube.read()[0]
    np.testing.assert_allclose(sharp[alive], rest, atol=1e-6 * spread(values))


def test_nothing_valid_is_an_error():
    with pytest.raises(NoDataError, match="every pixel"):
        ready(np.full((2, 5, 5), np.nan))


def test_a_marker_is_never_read_as_a_value():
    """int16 with a marker: the same as the float scene with NaN in its place."""
    values = np.rint(scene((3, 14, 15), noise=1.0)).astype(np.int16)
    mask = holes(14, 15)
    marked = values.copy()
    marked[:, mask] = -9999
    plain = values.astype(np.float32)
    plain[:, mask] = np.nan
    cube = cube_of(plain)
    stored = array_source(marked, Storage(np.dtype(np.int16), nodata=-9999))
    one = ready(type(cube)(stored, cube.bands, cube.grid)).cube.read()[0]
    two = ready(cube).cube.read()[0]
    np.testing.assert_array_equal(one, two)


# ---- bands -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bands", [[0], [5, 1], [2, 2, 3], [1, 2, 3, 4]])
def test_band_subsets_of_bicubic_are_the_bands_of_the_whole(bands):
    values = scene((6, 10, 11), noise=1.0)
    cube = cube_of(values)
    whole = ready(cube, consistency="exact").cube
    part = ready(cube.select(bands), consistency="exact").cube
    np.testing.assert_allclose(part.read()[0], whole.read(bands)[0], atol=1e-5 * spread(values))
    np.testing.assert_array_equal(part.bands.wavelength_nm, cube.bands.wavelength_nm[bands])


# ---- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("consistency", ["noise", "exact"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factor", [2.0**-60, 2.0**-20, 2.0**40, 2.0**80])
def test_other_units_give_the_same_picture(consistency, dtype, factor):
    """Radiance in other units: powers of 2, so that rounding is the same."""
    values = holed(scene((4, 20, 21), noise=1.0)).astype(dtype)
    one = ready(values, consistency=consistency)
    other = ready(values * np.asarray(factor, dtype), consistency=consistency)
    assert (one.consistency is None) == (other.consistency is None)
    got = other.cube.read()[0] / np.asarray(factor, dtype)
    close(got, one.cube.read()[0], values, atol=1e-5 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("consistency", ["off", "noise", "exact"])
def test_strange_values_bring_no_surprise(consistency):
    """Zeros, negative values, one huge outlier, a band of two values: finite where valid, quietly."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 16, 17)).astype(np.float32)
    values[1] = 0
    values[2] -= 1e6
    values[3, 4, 4] = 1e30
    values[4] = values[4] > 0
    values[5] *= 1e-40  # below the normal numbers of float32
    sharp, valid = ready(values, consistency=consistency).cube.read()
    assert valid.all()
    assert np.isfinite(sharp).all()
    assert (sharp[1] == 0).all()
