"""The scale of error: laws it must keep, and a case by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hypersharp.cube import Cube, Storage
from hypersharp.degrade.psf import parse_psf
from hypersharp.errors import NoDataError
from hypersharp.infer import uncertainty
from hypersharp.infer.fit import SceneFit
from hypersharp.infer.uncertainty import ErrorScale, Fitted, Law, law_for
from hypersharp.pipeline import prepare, uncertainty_of

from .made import scene


def lr_values(shape=(6, 24, 20), seed=3) -> np.ndarray:
    return scene(shape, seed=seed, noise=4.0).astype(np.float32)


def b_of(values: np.ndarray, *, scale: int = 2, storage: Storage | None = None) -> tuple[np.ndarray, np.ndarray]:
    cube = Cube.from_array(values, storage=storage)
    return uncertainty_of(prepare(cube, scale=scale, method="bicubic", degradation="mtf:0.3")).read()


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_proportional_to_the_values(factor):
    values = lr_values().astype(np.float64)
    np.testing.assert_allclose(b_of(values * factor)[0], b_of(values)[0] * factor, rtol=1e-4)


def test_an_offset_of_the_values_changes_nothing():
    values = lr_values().astype(np.float64)
    np.testing.assert_allclose(b_of(values + 5000)[0], b_of(values)[0], rtol=1e-4)


def test_turning_the_scene_turns_b():
    values = lr_values((5, 20, 20))
    turned = np.ascontiguousarray(values.transpose(0, 2, 1))
    np.testing.assert_allclose(b_of(turned)[0], b_of(values)[0].transpose(0, 2, 1), rtol=1e-4)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_any_region_equals_the_whole(scale):
    values = lr_values()
    values[:, 5:8, 6:9] = np.nan
    cube = Cube.from_array(values)
    b = uncertainty_of(prepare(cube, scale=scale, method="bicubic"))
    whole, valid = b.read()
    assert whole.shape == (6, 24 * scale, 20 * scale)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(valid, np.isfinite(values).repeat(scale, 1).repeat(scale, 2))
    assert np.isnan(whole[~valid]).all()
    assert (whole[valid] > 0).all()
    for rows in (slice(0, 7), slice(7, 31), slice(31, 24 * scale)):
        part, known = b.read([4, 1], rows, slice(11, 33))
        np.testing.assert_array_equal(known, valid[[4, 1], rows, 11:33])
        np.testing.assert_array_equal(part, whole[[4, 1], rows, 11:33])


def test_larger_at_an_edge_than_in_a_field():
    values = np.full((4, 16, 16), 100.0, np.float32)
    values[:, :, 8:] = 300.0
    b, _ = b_of(values + np.random.default_rng(0).normal(0, 0.5, values.shape).astype(np.float32))
    assert b[:, 8:24, 15:17].min() > 5 * b[:, 8:24, 4:8].max()


def test_roughness_by_hand():
    """One pixel of 8 in a plane of zeros: it differs by 8 from the mean of its neighbours, they by 2 from theirs."""
    plane = np.zeros((1, 5, 5))
    plane[0, 2, 2] = 8.0
    laplacian, step = uncertainty._roughness(plane)
    assert laplacian[0, 2, 1:4].tolist() == [4.0, 64.0, 4.0]
    assert step[0, 2, 1:4].tolist() == [16.0, 64.0, 16.0]
    assert laplacian.sum() == 80.0


def test_constant_weights_by_hand():
    """Only noise counts: three times its standard deviation everywhere, whatever the scene."""
    law = Law((3.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), 0.5)
    some = np.full(2, 10.0)
    fitted = Fitted(law, np.array([1.5, 0.0]), some, some, some, 0.1, 2)
    b, _ = ErrorScale(Cube.from_array(lr_values((2, 8, 8))).values, fitted, (8, 8)).read(
        slice(None), slice(3, 9), slice(0, 16)
    )
    np.testing.assert_allclose(b, np.broadcast_to(np.array([4.5, 0.0])[:, None, None], (2, 6, 16)), rtol=1e-6)


def test_errors_of_a_known_law_are_held_by_the_interval():
    """Weights aside: 90 % of Laplace errors of scale b lie within ±NINETY·b, and their mean size is b."""
    errors = np.abs(np.random.default_rng(1).laplace(scale=2.0, size=200_000))
    assert abs((errors <= uncertainty.NINETY * 2.0).mean() - 0.9) < 0.003
    assert abs(errors.mean() - 2.0) < 0.02


def test_a_truth_is_covered():
    """Made scenes, smooth but for sharp borders, are not what the weights were fitted on: the bounds are wide."""
    hr = scene((12, 96, 96), seed=5, noise=2.0, detail=6.0)
    lr = parse_psf("mtf:0.3").operator((96, 96), 2).apply(hr)
    ready = prepare(Cube.from_array(lr), scale=2, method="bicubic", degradation="mtf:0.3")
    error, b = np.abs(ready.cube.read()[0] - hr), uncertainty_of(ready).read()[0]
    assert (error <= uncertainty.NINETY * b).mean() > 0.7
    assert b.mean() < 4 * error.mean()
    rank = [np.argsort(np.argsort(v.ravel())) for v in (error, b)]
    assert np.corrcoef(*rank)[0, 1] > 0.3


def test_what_the_cube_says_of_itself():
    cube = replace(Cube.from_array(lr_values()), units="W/m2", quantity="radiance")
    b = uncertainty_of(prepare(cube, scale=2, method="bicubic"))
    assert b.units == "W/m2"
    assert b.bands.name is not None
    assert b.bands.name[2] == "expected error of band 3"
    assert "Laplace scale b" in b.history[-1]
    assert "Laplace scale b" in b.attrs["description"]


def test_dead_band_and_stored_integers():
    values = np.rint(lr_values()).astype(np.int16)
    values[2] = 7
    b, valid = b_of(values, storage=Storage(np.dtype(np.int16), scale=0.5))
    assert valid.all()
    assert (b[2] == 0).all()
    assert np.isfinite(b).all()
    assert (b[[0, 1, 3, 4, 5]] > 0).all()


def test_too_small_a_scene_is_a_clear_line():
    with pytest.raises(NoDataError, match="at least 4 x 4 pixels, got 3 x 9; leave out"):
        b_of(lr_values((3, 3, 9)))


def test_law_of_the_nearest_scale():
    fitted = sorted(scale for kind, scale in uncertainty.LAWS if kind == "network")
    assert law_for(8, network=True) is uncertainty.LAWS["network", fitted[-1]]
    assert law_for(2, network=True) is uncertainty.LAWS["network", fitted[0]]


def test_the_sample_measures_what_is_there():
    draw = np.random.default_rng(0)
    values = draw.normal(50, 2.0, (3, 64, 64))
    ready = SceneFit([((0, 0), values, np.ones(values.shape, bool))], [])
    laplacian, step, spread = uncertainty._sizes(ready.windows)
    np.testing.assert_allclose(laplacian, 2.0 * np.sqrt(1.25), rtol=0.05)
    np.testing.assert_allclose(step, 2.0 * np.sqrt(2.0), rtol=0.05)
    np.testing.assert_allclose(spread, 2.0, rtol=0.05)
