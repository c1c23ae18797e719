"""Pictures: which bands, which pixels, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from hypersharp import Bands, Cube, MissingExtraError, NoDataError, UsageError, WriteError
from hypersharp.figures import FALSE_COLOUR_NM, NATURAL_NM, colour_bands, side_by_side

WAVELENGTH_NM = [450.0, 550.0, 650.0, 660.0, 860.0]
GAP, TITLE = 8, 24


def cube_of(values, good=None):
    return Cube.from_array(values, bands=Bands(len(values), wavelength_nm=WAVELENGTH_NM[: len(values)], good=good))


def random_cube(rows, cols, seed=0):
    return cube_of(np.random.default_rng(seed).uniform(0, 100, (5, rows, cols)).astype(np.float32))


def test_bands_are_the_nearest_good_ones():
    bands = Bands(5, wavelength_nm=WAVELENGTH_NM)
    assert colour_bands(bands, NATURAL_NM) == (2, 1, 0)
    assert colour_bands(bands, FALSE_COLOUR_NM) == (4, 2, 1)
    assert colour_bands(bands.flagged([2]), NATURAL_NM) == (3, 1, 0)


def test_bands_without_a_wavelength_are_passed_over():
    assert colour_bands(Bands(3, wavelength_nm=[np.nan, 550.0, np.nan]), NATURAL_NM) == (1, 1, 1)


@pytest.mark.parametrize("bands", [Bands(5), Bands(2, wavelength_nm=[450.0, 550.0], good=[False, False])])
def test_no_wavelength_no_guess(bands):
    with pytest.raises(UsageError, match="wavelength"):
        colour_bands(bands, NATURAL_NM)


def test_every_pixel_is_a_whole_square_in_its_place(tmp_path):
    """A coarse cube and one twice as fine, drawn beside each other at the same size."""
    coarse, fine = random_cube(4, 6), random_cube(8, 12, seed=1)
    path = side_by_side([("coarse", coarse), ("fine", fine)], tmp_path / "a.png", least_width_px=100)
    picture = imread(path)[..., :3]
    column = 48  # twelve fine pixels enlarged four times, the least whole number that reaches 100 pixels in all
    assert picture.shape[:2] == (TITLE + 32 + GAP, GAP + 2 * (column + GAP))
    for at, (cube, side) in enumerate([(coarse, 8), (fine, 4)]):
        left = GAP + at * (column + GAP)
        part = picture[TITLE : TITLE + 32, left : left + column]
        squares = part.reshape(32 // side, side, column // side, side, 3)
        assert (squares == squares[:, :1, :, :1]).all()
        shown = squares[:, 0, :, 0]
        values, _ = cube.read([2, 1, 0])
        low, high = np.percentile(coarse.read([2, 1, 0])[0].reshape(3, -1), [1, 99], axis=1)
        expected = np.clip((np.moveaxis(values, 0, -1) - low) / (high - low), 0, 1) ** (1 / 1.4)
        assert np.abs(shown - expected).max() < 1.5 / 255


def test_equal_cubes_look_equal_and_a_view_is_a_part(tmp_path):
    cube = random_cube(12, 12)
    part = (slice(4, 8), slice(2, 8))
    path = side_by_side([("a", cube), ("b", cube)], tmp_path / "a.png", views=[(slice(None), slice(None)), part])
    picture = imread(path)[..., :3]
    height, width = picture.shape[:2]
    assert width >= 600
    column = (width - 3 * GAP) // 2
    left, right = picture[TITLE:, GAP : GAP + column], picture[TITLE:, 2 * GAP + column : -GAP]
    whole = column  # the scene is square
    np.testing.assert_array_equal(left[:whole], right[:whole])
    detail = left[whole + GAP + TITLE : height - GAP - TITLE]
    zoom, fine = column // 6, column // 12
    np.testing.assert_array_equal(detail[::zoom, ::zoom], left[:whole:fine, ::fine][4:8, 2:8])


def test_invalid_pixels_are_grey(tmp_path):
    values = np.random.default_rng(0).uniform(0, 100, (5, 4, 4)).astype(np.float32)
    values[1, 0, 0] = np.nan  # one colour of one pixel
    picture = imread(side_by_side([("a", cube_of(values))], tmp_path / "a.png"))[..., :3]
    np.testing.assert_allclose(picture[TITLE + 1, GAP + 1], 0.5, atol=1 / 255)


@pytest.mark.parametrize(
    ("panels", "error", "said"),
    [
        ([], UsageError, "at least one cube"),
        ([("a", random_cube(4, 4)), ("b", random_cube(6, 8))], UsageError, "b: expected a whole multiple of 4 x 4"),
        ([("a", random_cube(4, 4)), ("b", random_cube(2, 2))], UsageError, "whole multiple"),
        ([("a", cube_of(np.full((5, 4, 4), np.nan, np.float32)))], NoDataError, "valid pixel"),
    ],
)
def test_what_cannot_be_drawn_is_said(panels, error, said, tmp_path):
    with pytest.raises(error, match=said):
        side_by_side(panels, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_bad_targets_and_views_are_said(tmp_path):
    panels = [("a", random_cube(4, 4))]
    with pytest.raises(UsageError, match=r"\.png"):
        side_by_side(panels, tmp_path / "a.jpg")
    with pytest.raises(WriteError, match="cannot be written"):
        side_by_side(panels, tmp_path / "missing" / "a.png")
    with pytest.raises(UsageError, match="at least one pixel"):
        side_by_side(panels, tmp_path / "a.png", views=[(slice(9, 12), slice(None))])


def test_nothing_global_is_touched(tmp_path):
    """No pyplot, so no backend is chosen, no screen is looked for and no figure is kept."""
    code = f"""
import sys, numpy as np
from hypersharp import Bands, Cube
from hypersharp.figures import side_by_side
cube = Cube.from_array(np.eye(4)[None], bands=Bands(1, wavelength_nm=[550.0]))
side_by_side([("a", cube)], {str(tmp_path / "a.png")!r})
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env={"PATH": ""})


def test_without_matplotlib_the_pip_line_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hypersharp\[figures\]'"):
        side_by_side([("a", random_cube(4, 4))], tmp_path / "a.png")
