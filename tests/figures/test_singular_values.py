"""The picture of singular values: ranks by hand, where the curve runs, and what is refused."""

import numpy as np
import pytest
from matplotlib.image import imread

from hypersharp import UsageError, WriteError
from hypersharp.figures import Cumulative, draw_singular_values

SHARES = (0.9, 0.95, 0.99)


def test_ranks_by_hand():
    """Singular values 6, 3, 0.5, 0.5: sums 0.6, 0.9, 0.95 and 1 of all."""
    curve = Cumulative.of("layer", [0.6, 0.9, 0.95, 1.0])
    assert [curve.rank(share) for share in (0.5, *SHARES, 1.0)] == [1, 2, 3, 4, 4]


def test_the_curve_is_drawn_in_its_colour(tmp_path):
    curve = Cumulative.of("layer", np.linspace(0.5, 1, 20))
    picture = imread(draw_singular_values([curve], tmp_path / "ranks.png", shares=SHARES, title="t"))[..., :3]
    blue = (np.abs(picture - np.array([0x1F, 0x77, 0xB4]) / 255) < 0.02).all(axis=2)
    columns = np.flatnonzero(blue[: int(0.75 * blue.shape[0])].any(axis=0))
    heights = [int(np.flatnonzero(blue[:, col])[0]) for col in columns[[5, len(columns) // 2, -5]]]
    assert heights[0] > heights[1] > heights[2], "rows count downwards, the curve rises"


def test_the_same_curves_give_the_same_bytes(tmp_path):
    curves = [Cumulative.of("one", [0.5, 1.0]), Cumulative.of("two", [0.7, 0.9, 1.0])]
    one, two = (draw_singular_values(curves, tmp_path / name, shares=SHARES, title="t") for name in ("a.png", "b.png"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("shares", [[], [0.5, 0.4, 1.0], [0.5, 0.9], [[0.5, 1.0]]])
def test_what_is_no_cumulative_curve_is_refused(shares):
    with pytest.raises(UsageError, match="rise to 1"):
        Cumulative.of("layer", shares)


@pytest.mark.parametrize(
    ("curves", "name", "error", "message"),
    [
        ([], "a.png", UsageError, "at least one matrix"),
        ([Cumulative.of("layer", [1.0])], "a.jpg", UsageError, "ending in .png"),
        ([Cumulative.of("layer", [1.0])], "no/such/a.png", WriteError, "cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, curves, name, error, message):
    with pytest.raises(error, match=message):
        draw_singular_values(curves, tmp_path / name, shares=SHARES, title="t")
