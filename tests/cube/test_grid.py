"""Laws of the grid: where pixels lie, whatever the affine."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import xy

from hypersharp.cube import Grid
from hypersharp.errors import CubeError

sizes = st.integers(1, 40)
scales = st.integers(1, 8)
part = st.floats(-1000, 1000).map(lambda v: round(v, 3))


@st.composite
def grids(draw):
    """Grids with rotated, sheared and flipped pixels of 0.1 to 100 m anywhere on a map."""
    width, height = draw(st.floats(0.1, 100)), draw(st.floats(0.1, 100)) * draw(st.sampled_from([-1, 1]))
    turn, shear = draw(st.floats(-math.pi, math.pi)), draw(st.floats(-0.4, 0.4))
    cos, sin = math.cos(turn), math.sin(turn)
    x, y = draw(st.floats(-1e6, 1e6)), draw(st.floats(-1e7, 1e7))
    affine = (width * cos, shear * width - height * sin, x, width * sin, height * cos, y)
    return Grid((draw(sizes), draw(sizes)), affine, draw(st.sampled_from([None, "WKT"])))


quick = settings(deadline=None, max_examples=60)


def same_place(one, other, pixel=1e-6):
    """Equal shape, CRS and corners, to a millionth of a pixel."""
    assert (one.shape, one.crs) == (other.shape, other.crs)
    size = min(other.gsd_m)
    for row in (-0.5, other.shape[0] - 0.5):
        for col in (-0.5, other.shape[1] - 0.5):
            assert math.dist(one.xy(row, col), other.xy(row, col)) <= pixel * size


@given(grids(), st.floats(-5, 50), st.floats(-5, 50))
@quick
def test_coordinates_are_those_of_rasterio(grid, row, col):
    np.testing.assert_allclose(grid.xy(row, col), xy(Affine(*grid.affine), row, col, offset="center"), rtol=1e-9)


def test_coordinates_by_hand():
    grid = Grid((2, 3), (10, 0, 500, 0, -20, 4000))
    assert grid.xy(0, 0) == (505, 3990)
    assert grid.xy(1, 2) == (525, 3970)
    assert grid.xy(-0.5, -0.5) == (500, 4000)  # the outer corner of the first pixel
    assert grid.gsd_m == (20, 10)
    turned = Grid((2, 3), (0, 3, 0, 4, 0, 0))
    assert turned.xy(0, 1) == (1.5, 6)
    assert turned.gsd_m == (3, 4)


@given(grids(), scales)
@quick
def test_zoom_then_shrink_is_the_identity(grid, scale):
    same_place(grid.zoom(scale).shrink(scale), grid)


@given(grids(), st.integers(1, 5), st.integers(1, 5))
@quick
def test_zooming_twice_is_zooming_by_the_product(grid, one, two):
    same_place(grid.zoom(one).zoom(two), grid.zoom(one * two))


@given(grids(), scales, st.data())
@quick
def test_the_centre_of_an_lr_pixel_is_the_mean_of_the_centres_of_its_hr_pixels(grid, scale, data):
    row, col = data.draw(st.integers(0, grid.shape[0] - 1)), data.draw(st.integers(0, grid.shape[1] - 1))
    hr = grid.zoom(scale)
    assert hr.shape == (grid.shape[0] * scale, grid.shape[1] * scale)
    inside = [hr.xy(scale * row + i, scale * col + j) for i in range(scale) for j in range(scale)]
    assert math.dist(np.mean(inside, axis=0), grid.xy(row, col)) <= 1e-6 * min(grid.gsd_m)


@given(grids(), st.data())
@quick
def test_a_crop_keeps_pixels_where_they_are(grid, data):
    top, left = data.draw(st.integers(0, grid.shape[0] - 1)), data.draw(st.integers(0, grid.shape[1] - 1))
    bottom = data.draw(st.integers(top + 1, grid.shape[0]))
    right = data.draw(st.integers(left + 1, grid.shape[1]))
    crop = grid.crop(slice(top, bottom), slice(left, right))
    assert crop.shape == (bottom - top, right - left)
    assert math.dist(crop.xy(0, 0), grid.xy(top, left)) <= 1e-6 * min(grid.gsd_m)
    # Padding by what was cropped undoes it, and cropping what was padded too.
    same_place(crop.pad(top, left, grid.shape[0] - bottom, grid.shape[1] - right), grid)


@given(grids(), *[st.integers(0, 9)] * 4)
@quick
def test_a_pad_is_undone_by_a_crop(grid, top, left, bottom, right):
    rows, cols = grid.shape
    padded = grid.pad(top, left, bottom, right)
    assert padded.shape == (rows + top + bottom, cols + left + right)
    same_place(padded.crop(slice(top, top + rows), slice(left, left + cols)), grid)


@given(grids(), scales, st.data())
@quick
def test_cropping_and_zooming_commute(grid, scale, data):
    top, left = data.draw(st.integers(0, grid.shape[0] - 1)), data.draw(st.integers(0, grid.shape[1] - 1))
    lr = grid.crop(slice(top, None), slice(left, None))
    hr = grid.zoom(scale).crop(slice(scale * top, None), slice(scale * left, None))
    same_place(lr.zoom(scale), hr)


def test_two_crops_are_one():
    grid = Grid((10, 20), (2, 0.5, 100, -0.25, -3, 50))
    twice = grid.crop(slice(2, 9), slice(3, 18)).crop(slice(1, 4), slice(5, 6))
    assert twice == grid.crop(slice(3, 6), slice(8, 9))


@pytest.mark.parametrize(
    ("shape", "affine", "match"),
    [
        ((0, 3), (1, 0, 0, 0, -1, 0), "sizes of at least 1"),
        ((3, -1), (1, 0, 0, 0, -1, 0), "sizes of at least 1"),
        ((3,), (1, 0, 0, 0, -1, 0), "sizes of at least 1"),
        ((2.5, 3), (1, 0, 0, 0, -1, 0), "sizes of at least 1"),
        ((2, 3), (1, 0, 0, 0, -1), "six finite numbers"),
        ((2, 3), (1, 0, math.nan, 0, -1, 0), "six finite numbers"),
        ((2, 3), (1, 0, math.inf, 0, -1, 0), "six finite numbers"),
        ((2, 3), (1, 0, 0, 0, 0, 0), "degenerate"),
        ((2, 3), (1, 2, 0, 2, 4, 0), "degenerate"),
    ],
)
def test_what_is_no_grid(shape, affine, match):
    with pytest.raises(CubeError, match=match):
        Grid(shape, affine)


@pytest.mark.parametrize("scale", [0, -2, 2.5])
def test_what_is_no_scale(scale):
    grid = Grid((10, 10), (1, 0, 0, 0, -1, 0))
    for change in (grid.zoom, grid.shrink):
        with pytest.raises(CubeError, match="whole number"):
            change(scale)


@pytest.mark.parametrize(("rows", "cols"), [(9, 10), (10, 9)])
def test_only_what_divides_can_be_shrunk(rows, cols):
    with pytest.raises(CubeError, match="does not divide by 2"):
        Grid((rows, cols), (1, 0, 0, 0, -1, 0)).shrink(2)


@pytest.mark.parametrize("rows", [slice(3, 3), slice(5, 2), slice(0, 4, 2), slice(50, 60)])
def test_what_is_no_crop(rows):
    grid = Grid((10, 20), (1, 0, 0, 0, -1, 0))
    with pytest.raises(CubeError, match="non-empty slices of step 1"):
        grid.crop(rows, slice(None))
    with pytest.raises(CubeError, match="non-empty slices of step 1"):
        Grid((20, 10), (1, 0, 0, 0, -1, 0)).crop(slice(None), rows)


def test_a_grid_is_a_value():
    one, other = (Grid((np.int64(2), 3), (1, 0, 0, 0, np.float32(-1), 0), "WKT") for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert type(one.shape[0]) is int
    assert type(one.affine[4]) is float
    with pytest.raises(AttributeError):
        one.crs = "other"
