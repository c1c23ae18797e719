"""The page of a fusion: valid, alone, in the digits of its facts; and the piece that it shows."""

from __future__ import annotations

import base64
import io
import json
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from hypersharp import Bands, Cube, MissingExtraError
from hypersharp.degrade.psf import parse_psf
from hypersharp.figures import NATURAL_NM, FusionPanels, fusion_page, fusion_panels
from hypersharp.fusion._spec import Calibration
from hypersharp.fusion.calibrate import Calibrated
from hypersharp.io.warp import Nested

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Elements in order, rows of cells by table, and pictures; elements that are not closed in order are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.seen, self.rows, self.pictures, self.text = [], [], [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag == "img":
            kind, held = dict(attrs)["src"].split(",")
            assert kind == "data:image/png;base64"
            self.pictures.append(imread(io.BytesIO(base64.b64decode(held, validate=True))))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        self.text[inside] = self.text.get(inside, "") + data
        if inside in ("th", "td"):
            self.rows[-1][-1] += data

    def row(self, first):
        (found,) = [row[1:] for row in self.rows if row[0] == first]
        return found


def facts_of(**changes):
    """What a report holds of six bands, of which the first is dead, and an MSI of two."""
    facts = {
        "cube": 'a folder/<b>"lr" & more.img',
        "msi": "msi's.tif",
        "output": "<script>alert(1)</script>.tif",
        "hypersharp": "0.1.0",
        "scale": 2,
        "cube_rows": [3, 7],
        "cube_cols": [0, 6],
        "output_shape": [6, 8, 12],
        "msi_bands": 2,
        "msi_resampling": "cubic",
        "msi_offset_yx": [0.25, -0.5],
        "calibration": {
            "scale": 2,
            "psf": "gaussian:sigma=1.1",
            "psf_from": "estimate",
            "psf_text": "Gaussian, sigma 1.10 HR pixels",
            "shift_yx": [0.1234, -1.5],
            "coarse_shift_yx": [0, -1],
            "fit": {"sigma": 1.1004, "misfit": 0.0213, "misfit_without_shift": 0.3141, "doubt": "too <flat>"},
            "response_from": "all bands",
            "response": [[0.5, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 1.25, 0.75, 0.0]],
            "gain": [1.0, 2.0],
            "offset": [-8.1034, 1e-05],
            "response_residual": [0.029287, 0.031],
            "noise_cube": [5.0, 1.5, 4.0, 2.25, 3.0],
            "noise_msi": [13.535, 2.0],
        },
        "method": "exp for far, glp for near",
        "choice": {
            "methods": {"near": "glp", "far": "exp"},
            "bands_of_zone": {"near": 4, "far": 1},
            "reason": "best of gsa, glp one scale down",
            "reduced_test": {
                "ratio": 2,
                "gain_db_over_enlarged": {"gsa": {"near": 1.5, "far": None}, "glp": {"near": 3.217, "far": -0.1}},
            },
        },
        "bands_fused": 5,
        "fused_wavelength_nm": [450.0, 550.0, 650.0, 850.0, 1050.0],
        "bands_enlarged_only": [1],
        "bands_extrapolated": [6],
        "notes": ["cube & MSI lie <far> apart"],
        "history": "hypersharp 0.1.0 fuse: scale 2; method 'glp'",
        "consistency": {
            "cube": {"rmse_over_noise": 1.169, "sam_deg": 4.653},
            "msi": {"rmse_over_spread_of_band": [0.04418, 0.03107]},
            "windows": 1,
        },
        "seconds": 1.234,
    }
    return {**facts, **changes}


def panels_of(value=None):
    rng = np.random.default_rng(0)
    bands = Bands(3, wavelength_nm=np.array(NATURAL_NM))
    shapes = (4, 6), (8, 12), (8, 12)
    arrays = [rng.random((3, *shape)) if value is None else np.full((3, *shape), value) for shape in shapes]
    titles = ("cube", "MSI", "fused: <glp>")
    return FusionPanels(
        tuple((title, Cube.from_array(held, bands=bands)) for title, held in zip(titles, arrays, strict=True)),
        "natural colours",
    )


class TestPage:
    @pytest.fixture(scope="class")
    @staticmethod
    def page():
        return Page(fusion_page(facts_of(), panels_of()))

    def test_it_stands_alone_and_is_whole(self):
        text = fusion_page(facts_of(), panels_of())
        assert text.startswith("<!DOCTYPE html>\n")
        page = Page(text)
        tags = [tag for tag, _ in page.seen]
        assert {"html", "head", "title", "body", "h1"} <= {tag for tag in tags if tags.count(tag) == 1}
        assert not {"script", "link", "iframe", "b", "flat", "far"} & set(tags)
        assert "http:" not in text
        assert "https:" not in text
        assert all(attrs.get("alt") for tag, attrs in page.seen if tag == "img")

    def test_names_are_said_as_they_are(self, page):
        assert page.text["title"] == 'Fusion of <b>"lr" & more.img and msi\'s.tif'
        assert page.row("Result") == ["<script>alert(1)</script>.tif"]
        assert page.row("Doubt") == ["too <flat>"]
        assert page.text["li"] == "cube & MSI lie <far> apart"
        assert page.text["code"] == "hypersharp 0.1.0 fuse: scale 2; method 'glp'"

    def test_the_chosen_are_marked_and_what_is_unknown_is_said(self, page):
        assert page.row("method") == ["near (4 bands)", "far (1 bands)"]
        assert page.row("gsa") == ["1.5", "unknown"]
        assert page.row("glp") == ["3.217 ◄ chosen", "-0.1"]
        assert page.row("exp") == ["0", "0 ◄ chosen"]

    def test_numbers_are_those_of_the_facts(self, page):
        assert page.row("1") == ["1.0", "-8.1034", "0.029287", "13.535"]
        assert page.row("2") == ["2.0", "1e-05", "0.031", "2.0"]
        assert page.row("RMSE over its spread") == ["0.04418", "0.03107"]
        assert page.row("Noise of the cube's bands") == ["1.5 to 5.0, middle one 3.0, in its units"]
        assert "0.1234 down, -1.5 right" in page.row("Shift")[0]
        assert "0.25 down and -0.5 right" in page.row("Grids")[0]
        assert "rows 4 to 7 and columns 1 to 6" in page.row("Grids")[0]
        assert page.row("Extrapolated, as no band of the MSI sees them") == ["1: 6"]
        assert json.loads(page.text["pre"]) == facts_of()

    def test_pictures_are_inside(self, page):
        columns, plot = page.pictures
        assert columns.shape[1] > 900
        assert plot[..., :3].min() < 0.1
        np.testing.assert_allclose(plot[..., :3].max(axis=2), plot[..., :3].min(axis=2))  # nothing is said by colour


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cube": None, "msi": None, "output": None}, "in memory, no file"),
        ({"notes": []}, "Nothing to warn of"),
        ({"consistency": {"cube": None, "msi": None}}, "Not tested"),
        ({"fused_wavelength_nm": None}, "All facts"),
        ({"fused_wavelength_nm": [450.0, None, 650.0, 850.0, 1050.0]}, "All facts"),
        ({"msi_offset_yx": None}, "from place to place"),
        ({"calibration": {**facts_of()["calibration"], "fit": None}}, "not possible"),
        ({"choice": {**facts_of()["choice"], "reduced_test": None}}, "No candidates were compared"),
    ],
)
def test_what_is_not_there_is_said(changes, said):
    text = fusion_page(facts_of(**changes), panels_of())
    assert said in text
    assert len(Page(text).pictures) == 2


def test_a_piece_without_data_is_no_picture_and_no_error():
    page = Page(fusion_page(facts_of(), panels_of(np.nan)))
    assert len(page.pictures) == 1
    assert any("There is no picture" in text for text in page.text.values())


def test_without_matplotlib_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hypersharp\[figures\]'"):
        fusion_page(facts_of(), panels_of())


def related(lr, msi, srf, offset):
    """A pair of scale 2 with nothing estimated."""
    bands, count = lr.shape[0], len(srf)
    found = Calibration(
        scale=2,
        psf=parse_psf("gaussian:sigma=1"),
        shift_yx=(0.0, 0.0),
        srf=srf,
        offset=offset,
        noise_lr=np.ones(bands),
        noise_msi=np.ones(count),
        supported=np.ones(bands, dtype=bool),
    )
    made = Calibrated(found, "stated", (0, 0), None, np.zeros(count), srf.sum(axis=1), "all bands", ())
    return Nested(lr, msi, 2, (0, lr.shape[1]), (0, lr.shape[2]), "none", (0.0, 0.0)), made


def shown(wavelength_nm, *, live=None, most_px=100, values=None):
    """Panels of a cube whose every pixel of a band is its number, seen by an MSI of twice each band plus its number."""
    count = 6
    held = np.tile(np.arange(1.0, count + 1)[:, None, None], (1, 6, 8)) if values is None else values
    bands = Bands(count, wavelength_nm=None if wavelength_nm is None else np.array(wavelength_nm))
    lr = Cube.from_array(held, bands=bands)
    fine = held.repeat(2, axis=1).repeat(2, axis=2)
    live = np.arange(count) if live is None else np.array(live)
    own = np.arange(1.0, len(live) + 1)
    pair = related(lr, Cube.from_array(2 * fine[live] + own[:, None, None]), 2 * np.eye(len(live)), own)
    return fusion_panels(*pair, fused=Cube.from_array(fine), live=live, title="fused", most_px=most_px)


WAVES = [450.0, 550.0, 650.0, 750.0, 860.0, 950.0]


@pytest.mark.parametrize(
    ("wavelength_nm", "live", "numbers", "words"),
    [
        (WAVES, None, (3, 2, 1), "natural"),
        (WAVES[::-1], None, (4, 5, 6), "natural"),
        (WAVES, [1, 2, 3, 4, 5], (5, 3, 2), "false"),  # no blue is fused
        (None, None, (6, 4, 2), "spread"),
        ([1500.0, 1600, 1700, 1800, 1900, 2000], None, (6, 4, 2), "spread"),
        (WAVES, [5], (6, 6, 6), "spread"),
    ],
)
def test_all_show_the_same_bands_in_the_same_units(wavelength_nm, live, numbers, words):
    panels = shown(wavelength_nm, live=live)
    assert words in panels.words
    assert f"bands {', '.join(map(str, numbers))} as red" in panels.words
    for (_, cube), side in zip(panels.columns, ((6, 8), (12, 16), (12, 16)), strict=True):
        assert cube.shape == (3, *side)
        for plane, number in zip(cube.read()[0], numbers, strict=True):
            np.testing.assert_allclose(plane, number)


def test_the_piece_is_that_of_most_contrast_else_the_middle():
    assert "rows 3 to 10 and columns 5 to 12 of" in shown(WAVES, most_px=8).words
    flat = np.ones((6, 6, 8))
    flat[:, 5, 7] = 9
    panels = shown(WAVES, most_px=8, values=flat)
    assert "rows 5 to 12 and columns 9 to 16 of" in panels.words
    assert panels.columns[0][1].shape == (3, 4, 4)
    assert panels.columns[2][1].read()[0].max() == 9
    flat[:, :3, :5] = np.nan  # what is valid counts
    assert "rows 5 to 12" in shown(WAVES, most_px=8, values=flat).words
