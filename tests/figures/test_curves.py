"""Curves: where the lines run, in which colours, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from hypersharp import NoDataError, UsageError, WriteError
from hypersharp.figures.curves import Curve, Panel, draw_curves

BLACK, ORANGE = (0, 0, 0), (230, 159, 0)  # the first two of Okabe and Ito that are seen on white


def curve(name="one", y=(1.0, 2.0, 4.0), **how):
    return Curve.of(name, [15, 30, 45], y, **how)


def drawn(panels, path):
    return imread(draw_curves(panels, path, title="t", x_label="SNR (dB)"))[..., :3]


def where(picture, colour):
    """Rows and columns of the pixels of exactly one colour."""
    return np.nonzero((np.abs(picture - np.array(colour) / 255) < 0.01).all(axis=2))


def test_a_line_rises_where_its_values_do_and_a_strong_one_is_thicker(tmp_path):
    names = ("thin", "thick")
    for name, strong in zip(names, (False, True), strict=True):
        # An invisible first line leaves orange, which nothing else in a picture is drawn in, to the second.
        blank = curve("blank", [np.nan] * 3)
        drawn([Panel("y", (blank, curve(strong=strong)))], tmp_path / f"{name}.png")
    thin, thick = (where(imread(tmp_path / f"{name}.png")[..., :3], ORANGE) for name in names)
    for rows, cols in (thin, thick):
        on_axes = cols < 4.6 * 150  # the legend lies right of that
        rows, cols = rows[on_axes], cols[on_axes]
        left, right = rows[cols < np.quantile(cols, 0.05)].mean(), rows[cols > np.quantile(cols, 0.95)].mean()
        assert left - right > 200, "rows count downwards, the curve rises"
    assert len(thick[0]) > 1.5 * len(thin[0])


def test_one_name_is_one_colour_in_all_panels(tmp_path):
    """The second panel has only what is the second line of the first."""
    panels = [Panel("a", (curve("one"), curve("two", [3, 2, 1]))), Panel("b", (curve("two"),))]
    _, cols = where(drawn(panels, tmp_path / "a.png"), ORANGE)
    split = 4.6 * 150
    assert (cols < split).sum() > 200
    assert ((cols > split) & (cols < 2 * split)).sum() > 200


def test_a_value_that_is_not_known_is_left_out(tmp_path):
    blank = curve("blank", [np.nan] * 3)
    (_, whole), (_, gap) = (
        where(drawn([Panel("y", (blank, curve(y=y)))], tmp_path / "a.png"), ORANGE) for y in ([1, 1, 1], [1, 1, np.nan])
    )
    on_axes = [cols[cols < 4.6 * 150] for cols in (whole, gap)]
    reach = [cols.max() - cols.min() for cols in on_axes]
    assert reach[1] < 0.9 * reach[0] or on_axes[1].max() < on_axes[0].max() - 50


def test_the_same_curves_give_the_same_bytes(tmp_path):
    panels = [Panel("a", (curve(), curve("two", [3, 2, 1], strong=True)))]
    one, two = (draw_curves(panels, tmp_path / name, title="t", x_label="x") for name in ("a.png", "b.png"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ([1, 2], [1.0], "one value for each place"),
        ([], [], "one value for each place"),
        ([2, 1], [1.0, 2.0], "places that rise, got 2, 1"),
        ([1, np.inf], [1.0, 2.0], "finite places"),
    ],
)
def test_what_is_no_line_is_refused(x, y, said):
    with pytest.raises(UsageError, match=said):
        Curve.of("one", x, y)


@pytest.mark.parametrize(
    ("panels", "name", "error", "said"),
    [
        ([], "a.png", UsageError, "at least one panel"),
        ([Panel("y", ())], "a.png", UsageError, "got none"),
        ([Panel("y", (curve(), curve()))], "a.png", UsageError, "different names, got one, one"),
        ([Panel("y", (curve(),))], "a.pdf", UsageError, "ending in .png"),
        ([Panel("y", (curve(y=[np.nan] * 3),))], "a.png", NoDataError, "no curve has a value"),
        ([Panel("y", (curve(),))], "no/such/a.png", WriteError, "cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, panels, name, error, said):
    with pytest.raises(error, match=said):
        draw_curves(panels, tmp_path / name, title="t", x_label="x")
    assert list(tmp_path.iterdir()) == []


def test_nothing_global_is_touched(tmp_path):
    """No pyplot, so no backend is chosen, no screen is looked for and no figure is kept."""
    code = f"""
import sys
from hypersharp.figures.curves import Curve, Panel, draw_curves
draw_curves([Panel("y", (Curve.of("one", [1, 2], [1, 2]),))], {str(tmp_path / "a.png")!r}, title="t", x_label="x")
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env={"PATH": ""})
