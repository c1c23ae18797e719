"""A map's picture: whole squares, grey where it is not defined, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from hypersharp import MissingExtraError, NoDataError, UsageError, WriteError
from hypersharp.figures import draw_map

LEFT, TOP = 8, 28


def pixels(plane, path, **how):
    return imread(draw_map(plane, path, title="a title", label="degrees", **how))[..., :3]


def test_pixels_are_whole_squares_from_dark_to_bright(tmp_path):
    """Viridis runs from (68, 1, 84) to (253, 231, 37)."""
    picture = pixels(np.array([[0.0, 1.0], [1.0, 0.0]]), tmp_path / "map.png")
    assert picture.shape[0] >= 400 + TOP
    squares = picture[TOP : TOP + 400, LEFT : LEFT + 400]
    for row in (0, 1):
        for col in (0, 1):
            square = squares[row * 200 : row * 200 + 200, col * 200 : col * 200 + 200]
            inner = square[3:-3, 3:-3].reshape(-1, 3)
            expected = np.array([253, 231, 37] if row != col else [68, 1, 84]) / 255
            np.testing.assert_allclose(inner, np.broadcast_to(expected, inner.shape), atol=0.01)


def test_what_is_not_defined_is_grey(tmp_path):
    plane = np.arange(16.0).reshape(4, 4)
    plane[2, 1] = np.nan
    picture = pixels(plane, tmp_path / "map.png")
    np.testing.assert_allclose(picture[TOP + 250, LEFT + 150], 0.5, atol=0.01)
    assert np.ptp(picture[TOP + 150, LEFT + 150]) > 0.1


def test_a_large_map_is_thinned_and_a_flat_one_drawn(tmp_path):
    large = np.random.default_rng(0).normal(size=(30, 4001)).astype(np.float32)
    assert pixels(large, tmp_path / "large.png").shape[1] < 2000
    assert pixels(np.ones((5, 6)), tmp_path / "flat.png").shape[0] >= 200


def test_the_same_map_gives_the_same_bytes(tmp_path):
    plane = np.random.default_rng(1).normal(size=(20, 30))
    one, two = (draw_map(plane, tmp_path / name, title="t", label="l") for name in ("a.png", "b.png"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("plane", "name", "error", "message"),
    [
        (np.zeros((1, 3, 3)), "a.png", UsageError, "got shape"),
        (np.zeros((0, 3)), "a.png", UsageError, "got shape"),
        (np.zeros((3, 3)), "a.jpg", UsageError, "ending in .png"),
        (np.full((3, 3), np.nan), "a.png", NoDataError, "not defined in any pixel"),
        (np.zeros((3, 3)), "no/such/folder/a.png", WriteError, "cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, plane, name, error, message):
    with pytest.raises(error, match=message):
        draw_map(plane, tmp_path / name, title="t", label="l")


def test_without_matplotlib_the_pip_line_is_given():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import numpy as np\n"
        "from hypersharp.figures import draw_map\n"
        "draw_map(np.zeros((3, 3)), 'x.png', title='t', label='l')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert MissingExtraError.__name__ in done.stderr
    assert "pip install 'hypersharp[figures]'" in done.stderr
