"""Spectral responses: published centres, the laws of the matrix, and what is refused."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from hypersharp.cube import Bands
from hypersharp.degrade.srf import Response, Srf, parse_srf, sensors, srf_matrix, super_gaussian
from hypersharp.errors import FileFormatError, HypersharpError, UsageError

# Central wavelengths as ESA publishes them for its response functions, and NASA's of OLI (centre, FWHM).
SENTINEL2A = (442.7, 492.4, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 945.1, 1373.5, 1613.7, 2202.4)
SENTINEL2B = (442.2, 492.1, 559.0, 664.9, 703.8, 739.1, 779.7, 832.9, 864.0, 943.2, 1376.9, 1610.4, 2185.7)
OLI = ((442.96, 15.98), (482.04, 60.04), (561.41, 57.33), (654.59, 37.47), (864.67, 28.25), (1608.86, 84.72),
       (2200.73, 186.66))  # fmt: skip
ALL_S2 = "B1,B2,B3,B4,B5,B6,B7,B8,B8A,B9,B10,B11,B12"


def _bands(*wavelengths: float, **rest: object) -> Bands:
    return Bands(len(wavelengths), np.array(wavelengths, dtype=float), **rest)  # type: ignore[arg-type]


def _dense(low: float, high: float, step: float) -> Bands:
    return _bands(*np.arange(low, high + step / 2, step))


@pytest.mark.parametrize(("name", "centres"), [("sentinel2a", SENTINEL2A), ("sentinel2b", SENTINEL2B)])
def test_sentinel_2_has_the_published_centres(name: str, centres: tuple[float, ...]) -> None:
    found = parse_srf(f"{name}:{ALL_S2}").responses
    np.testing.assert_allclose([response.centre_nm for response in found], centres, atol=0.15)


def test_landsat_8_has_the_published_centres_and_widths() -> None:
    found = parse_srf("landsat8").responses
    np.testing.assert_allclose([response.centre_nm for response in found], [c for c, _ in OLI], atol=0.8)
    np.testing.assert_allclose([response.fwhm_nm for response in found], [w for _, w in OLI], atol=0.8)


def test_worldview_and_ali_lie_inside_their_nominal_ranges() -> None:
    # DigitalGlobe's and USGS's tables of band edges
    nominal = {
        "worldview2": ((400, 450), (450, 510), (510, 580), (585, 625), (630, 690), (705, 745), (770, 895), (860, 1040)),
        "worldview3": ((400, 450), (450, 510), (510, 580), (585, 625), (630, 690), (705, 745), (770, 895), (860, 1040)),
        "ali": ((433, 453), (450, 515), (525, 605), (630, 690), (775, 805), (845, 890), (1200, 1300), (1550, 1750),
                (2080, 2350)),
    }  # fmt: skip
    for name, edges in nominal.items():
        for response, (low, high) in zip(parse_srf(name).responses, edges, strict=True):
            assert low < response.centre_nm < high
            assert response.fwhm_nm < 1.1 * (high - low)


def test_every_table_names_its_source_and_licence_and_all_are_small() -> None:
    assert set(sensors()) == {
        "sentinel2a", "sentinel2b", "landsat8", "landsat9", "worldview2", "worldview3", "ali"
    }  # fmt: skip
    total = 0
    for name in sensors():
        text = files("hypersharp.degrade").joinpath("srf_tables", f"{name}.json").read_text("utf-8")
        table = json.loads(text)
        total += len(text)
        for part in ("title", "kind", "source", "through", "licence", "default"):
            assert table[part], (name, part)
        every = ",".join(band["name"] for band in table["bands"])
        assert len(parse_srf(f"{name}:{every}").responses) == len(table["bands"])
        assert parse_srf(name).source.startswith(table["source"])
    assert total < 300_000
    assert str(parse_srf("sentinel2")) == str(parse_srf("Sentinel2A"))


@pytest.mark.parametrize("name", ["sentinel2b", "landsat9", "worldview3", "ali", "gaussian:500/30,900/80,2100/100"])
@pytest.mark.parametrize("step", [2.5, 10.0])
def test_rows_sum_to_one_and_a_flat_spectrum_keeps_its_value(name: str, step: float) -> None:
    matrix = srf_matrix(parse_srf(name), _dense(380, 2500, step))
    np.testing.assert_allclose(matrix.weights.sum(axis=1), 1, rtol=1e-12)
    assert (matrix.weights >= 0).all()
    np.testing.assert_allclose(matrix.coverage, 1, atol=1e-9)


def test_a_linear_spectrum_gives_its_value_at_the_centre() -> None:
    srf = parse_srf("sentinel2a:B2,B5,B11")
    bands = _dense(400, 2500, 2.0)
    assert bands.wavelength_nm is not None
    got = srf_matrix(srf, bands).weights @ bands.wavelength_nm
    np.testing.assert_allclose(got, [response.centre_nm for response in srf.responses], atol=0.05)


def test_weights_by_hand_on_a_box() -> None:
    # response 1 between 100 and 200 nm; bands at 90, 110, 140, 190 nm: cells end at 100, 125, 165 and 205
    box = Srf("box", "by hand", (Response("box", np.array([100.0, 200.0]), np.array([1.0, 1.0])),))
    matrix = srf_matrix(box, _bands(140, 90, 190, 110))
    np.testing.assert_allclose(matrix.weights, [[0.40, 0.0, 0.35, 0.25]])
    np.testing.assert_allclose(matrix.coverage, [1.0])


def test_order_does_not_matter_and_overlapping_detectors_share() -> None:
    one, two = np.arange(900, 1000, 6.5), np.arange(905, 1100, 10.0)
    joined = np.concatenate([one, two])
    shuffled = np.random.default_rng(0).permutation(len(joined))
    srf = parse_srf("gaussian:960/60")
    plain = srf_matrix(srf, _bands(*joined)).weights
    np.testing.assert_allclose(srf_matrix(srf, _bands(*joined[shuffled])).weights, plain[:, shuffled], atol=1e-15)
    # a second look at the same wavelengths does not change what is measured
    doubled = srf_matrix(srf, _bands(*two, *two)).weights
    alone = srf_matrix(srf, _bands(*two)).weights
    np.testing.assert_allclose(doubled[:, : len(two)] + doubled[:, len(two) :], alone, atol=1e-12)


def test_bad_bands_and_bands_without_wavelength_get_nothing() -> None:
    wavelengths = np.arange(400.0, 700, 10)
    good = np.ones(30, dtype=bool)
    good[10] = False
    wavelengths[12] = np.nan
    matrix = srf_matrix(parse_srf("gaussian:510/60"), Bands(30, wavelengths, good=good))
    assert matrix.weights[0, 10] == matrix.weights[0, 12] == 0
    assert matrix.weights[0, 11] > 0
    assert matrix.weights.sum() == pytest.approx(1)


def test_what_lies_in_a_wide_gap_is_not_covered() -> None:
    away = np.concatenate([np.arange(400, 801, 10), np.arange(1000, 1401, 10)]).astype(float)
    with pytest.raises(UsageError, match=r"hold less than 50% of the response of 900 nm \(900 nm, 0%\)"):
        srf_matrix(parse_srf("gaussian:900/40"), _bands(*away))
    edge = srf_matrix(parse_srf("gaussian:800/40"), _bands(*away)).coverage
    assert edge[0] == pytest.approx(0.722, abs=2e-3)  # up to 10 nm past the centre: Phi(10 / 16.99)


def test_a_band_without_support_is_named_with_what_is_left() -> None:
    with pytest.raises(UsageError) as caught:
        srf_matrix(parse_srf("sentinel2a"), _dense(430, 860, 4))
    message = str(caught.value)
    assert "430 to 858 nm" in message
    assert "B8A (865 nm, 27%), B11 (1614 nm, 0%), B12 (2202 nm, 0%)" in message
    assert message.endswith("choose sentinel2a:B2,B3,B4,B5,B6,B7,B8")


def test_no_wavelengths_or_no_good_band_is_refused() -> None:
    srf = parse_srf("gaussian:500/50")
    with pytest.raises(UsageError, match="--wavelengths FILE"):
        srf_matrix(srf, Bands(4))
    with pytest.raises(UsageError, match="needs good bands"):
        srf_matrix(srf, _bands(490, 500, good=np.array([False, False])))


def test_a_super_gaussian_is_half_at_half_its_width() -> None:
    for order in (2.0, 6.0):
        response = super_gaussian("x", 600, 40, order)
        at = np.interp([580, 600, 620], response.wavelength_nm, response.response)
        np.testing.assert_allclose(at, [0.5, 1, 0.5], atol=2e-3)
        assert response.fwhm_nm == pytest.approx(40, rel=1e-3)
        assert response.centre_nm == pytest.approx(600)


def test_a_table_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("# mine\nnm, blue, red\n400,0,0\n450,1,0\n500,0,0\n600,0,0\n650,0,2\n700,0,0\n")
    srf = parse_srf(str(tmp_path / "a.csv"))
    assert srf.file == str(srf) == str(tmp_path / "a.csv")
    assert [(r.name, r.centre_nm) for r in srf.responses] == [("blue", pytest.approx(450)), ("red", pytest.approx(650))]
    assert [r.fwhm_nm for r in srf.responses] == [pytest.approx(50), pytest.approx(50)]
    (tmp_path / "b.txt").write_text("nm green\n500 0\n550 1\n600 0\n")
    assert parse_srf(str(tmp_path / "b.txt")).responses[0].name == "green"
    entry = {"name": "g", "start_nm": 500, "step_nm": 50, "response": [0, 1, 0]}
    (tmp_path / "c.json").write_text(json.dumps({"bands": [entry]}))
    np.testing.assert_array_equal(parse_srf(str(tmp_path / "c.json")).responses[0].wavelength_nm, [500, 550, 600])


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("missing.csv", None, FileFormatError, "readable SRF table"),
        ("a.csv", "", FileFormatError, "one row of names|a row of names"),
        ("a.csv", "nm,b\n400,x\n410,1\n", FileFormatError, "rows of numbers"),
        ("a.csv", "nm,b\n400,1\n410\n", FileFormatError, "one length"),
        ("a.csv", "nm\n400\n410\n", FileFormatError, "a row of names"),
        ("a.csv", "um,b\n0.4,1\n0.5,1\n", UsageError, "must be in nm"),
        ("a.csv", "nm,b\n500,1\n400,1\n", UsageError, "increasing"),
        ("a.csv", "nm,b\n400,-1\n500,1\n", UsageError, "at least 0"),
        ("a.csv", "nm,b\n400,0\n500,0\n", UsageError, "at least 0"),
        ("a.csv", "nm,b\n400,nan\n500,1\n", UsageError, "finite"),
        ("a.json", "{", FileFormatError, "expected JSON"),
        ("a.json", "[]", FileFormatError, "JSON object"),
        ("a.json", '{"bands": [{"name": "x"}]}', FileFormatError, "named bands"),
    ],
)
def test_a_bad_table_is_one_clear_line(
    tmp_path: Path, name: str, content: str | None, error: type[HypersharpError], words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(error, match=words) as caught:
        parse_srf(str(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sentinel3", "did you mean 'sentinel2'"),
        ("", "expected an SRF as"),
        ("sentinel2a:B99", "has the bands B1, B2"),
        ("gaussian:", "such as gaussian:490/65"),
        ("gaussian:490", "got '490'"),
        ("gaussian:490/0", "above 0"),
        ("gaussian:490/nan", "above 0"),
        ("supergaussian:a/b", "such as supergaussian:490/65"),
    ],
)
def test_bad_text_is_one_clear_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_srf(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
