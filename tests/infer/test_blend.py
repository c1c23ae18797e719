"""Blending: weights that sum to 1, no step at borders, and no effect on a method that does not need it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypersharp.cube import array_source
from hypersharp.infer.blend import Blended, ramp
from hypersharp.infer.methods import Bicubic
from hypersharp.infer.tiles import plan

from .made import holes, scene


@given(size=st.integers(1, 200), core=st.integers(1, 60), overlap=st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_weights_sum_to_one(size, core, overlap):
    core = max(core, 2 * overlap, 1)
    total = np.zeros(size)
    for start in range(0, size, core):
        (low, high), weights = ramp((start, min(start + core, size)), size, overlap)
        assert len(weights) == high - low
        assert (weights >= 0).all()
        total[low:high] += weights
    np.testing.assert_allclose(total, 1.0, rtol=0, atol=1e-12)


@dataclass(frozen=True)
class AddsWindowMean:
    """A method without bound: nearest neighbour plus the mean of the window it was given."""

    scale: int
    name: str = "fake"
    halo: None = None
    multiple_of: int = 1
    bandwise: bool = False

    def __call__(self, lr, origin, hr_rows, hr_cols):
        assert np.isfinite(lr).all()
        up = lr.repeat(self.scale, axis=1).repeat(self.scale, axis=2) + lr.mean(axis=(1, 2), keepdims=True)
        top, left = origin[0] * self.scale, origin[1] * self.scale
        return up[:, hr_rows[0] - top : hr_rows[1] - top, hr_cols[0] - left : hr_cols[1] - left]


def blended(values, method, *, scale=2, tile=16, halo=16, overlap=8):
    source = array_source(values)
    return Blended(method, source, plan(values.shape[1:], tile=tile, halo=halo, scale=scale), overlap)


def whole(method, values, scale=2):
    rows, cols = values.shape[1] * scale, values.shape[2] * scale
    return method(values, (0, 0), (0, rows), (0, cols))


def test_no_step_where_tiles_disagree():
    """On a ramp the windows' means differ by far more than neighbouring pixels; the blend spreads that evenly."""
    ramp_scene = np.broadcast_to(np.arange(80.0), (2, 21, 80)).copy()
    made = whole(blended(ramp_scene, AddsWindowMean(2)), ramp_scene)
    plain = ramp_scene.repeat(2, axis=1).repeat(2, axis=2)
    added = made - plain  # the blended means: constant inside, rising linearly over the 32 HR pixels of an overlap
    means = {round(float(v), 6) for v in added[0, 0, [0, -1]]}
    assert len(means) == 2, "the fake method must disagree between tiles for this test to say something"
    spread = max(means) - min(means)
    assert np.abs(np.diff(added, axis=2)).max() < spread / 20
    assert np.abs(np.diff(added, axis=1)).max() < 1e-9


def test_a_method_that_needs_no_blending_is_left_alone():
    values = scene((3, 37, 50))
    bicubic = Bicubic.of((37, 50), 2)
    np.testing.assert_allclose(whole(blended(values, bicubic), values), whole(bicubic, values), rtol=0, atol=1e-9)


@pytest.mark.parametrize("region", [((0, 42), (0, 100)), ((5, 6), (30, 71)), ((31, 33), (0, 1)), ((40, 74), (90, 100))])
def test_any_region_is_the_part_of_the_whole(region):
    values = scene((2, 37, 50))
    made = blended(values, AddsWindowMean(2))
    rows, cols = region
    np.testing.assert_allclose(
        made(values, (0, 0), rows, cols), whole(made, values)[:, slice(*rows), slice(*cols)], rtol=0, atol=1e-9
    )


def test_no_data_does_not_reach_the_method():
    values = scene((2, 37, 50))
    values[:, holes(37, 50)] = np.nan
    assert np.isfinite(whole(blended(values, AddsWindowMean(2)), values)).all()
