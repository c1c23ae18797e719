"""Header text by hand on one side, parsed fields on the other; map info against GDAL and against its definition."""

from __future__ import annotations

import contextlib
import math
import random
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS

from hypersharp.cube import Grid
from hypersharp.errors import AmbiguousError, CubeError, FileFormatError, HypersharpError
from hypersharp.io.crs import from_envi_map_info, same_crs, to_envi_map_info, to_esri_wkt, to_wkt2
from hypersharp.io.envi_header import (
    DTYPES,
    format_header,
    from_json,
    integer,
    number,
    numbers,
    parse_header,
    plain_name,
    survives,
    text_list,
    to_json,
)

HEADER = """ENVI
; made by hand
description = {
  first line
  second = line }
Samples  = 3
LINES=2
bands   = 2
sensor type =
;lens = 23 mm
wavelength units = um
wavelength = {
  0.4261234567890123
 ,0.5,
}
; a comment
map info = {UTM, 1, 1, 5, 6, 1, 1, 33, North,
 WGS-84}
A  Vendor_Key = {nested {braces} stay}
no value here
"""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_parse_takes_a_header_apart(end: str, mark: str) -> None:
    fields = parse_header(mark + HEADER.replace("\n", end))
    assert fields == {
        "description": "first line\nsecond = line",
        "samples": "3",
        "lines": "2",
        "bands": "2",
        "sensor type": "",
        "wavelength units": "um",
        "wavelength": "0.4261234567890123\n,0.5,",
        "map info": "UTM, 1, 1, 5, 6, 1, 1, 33, North,\nWGS-84",
        "a vendor_key": "nested {braces} stay",
    }


def test_comment_lines_inside_braces_are_passed_over() -> None:
    assert parse_header("ENVI\nfwhm = {1,\n; not this\n2}\n")["fwhm"] == "1,\n2"


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", FileFormatError, "first line is 'ENVI'"),
        ("BYTEORDER I\n", FileFormatError, "first line is 'ENVI'"),
        ("ENVIRONMENT\n", FileFormatError, "first line is 'ENVI'"),
        ("ENVI\nwavelength = {1, 2\nbands = 2\n", FileFormatError, "brace of 'wavelength' is never closed"),
        ("ENVI\nwavelength = {1, 2\nband names = {a, b}\n", FileFormatError, "brace of 'wavelength' is never closed"),
        ("ENVI\nbands = 2\nBands = 3\n", AmbiguousError, "'bands' is given twice"),
    ],
)
def test_parse_refuses(text: str, kind: type[HypersharpError], words: str) -> None:
    with pytest.raises(kind, match=words):
        parse_header(text)


def test_a_key_given_twice_with_the_same_value_is_one() -> None:
    assert parse_header("ENVI\nbands = 2\nbands = 2\n") == {"bands": "2"}


def test_numbers_are_written_in_full_and_read_back_the_same() -> None:
    rng = np.random.default_rng(1)
    for values in (rng.uniform(350, 2500, 224), 10.0 ** rng.integers(-300, 300, 40), np.array([math.nan, 0.1, -0.0])):
        fields = parse_header(format_header({"wavelength": values}))
        back = numbers(fields, "wavelength", len(values))
        assert back is not None
        assert np.array_equal(back, values, equal_nan=True)


def test_format_is_what_the_format_says() -> None:
    text = format_header({
        "description": "one\ntwo", "samples": 3, "wavelength": np.array([400.5, 0.1]), "bbl": np.array([1, 0]),
        "band names": ["red", "near red"], "sensor type": "AVIRIS", "scale": np.float32(0.5), "geo points": "1, 2",
        "big": np.uint64(2**64 - 1), "list": np.arange(10),
    })  # fmt: skip
    assert text == (
        "ENVI\ndescription = {one\ntwo}\nsamples = 3\nwavelength = {400.5, 0.1}\nbbl = {1, 0}\n"
        "band names = {red, near red}\nsensor type = AVIRIS\nscale = 0.5\ngeo points = {1, 2}\n"
        "big = 18446744073709551615\nlist = {0, 1, 2, 3, 4, 5, 6, 7,\n 8, 9}\n"
    )


@pytest.mark.parametrize("text", ["", "plain", "a, b", "two\nlines", "a = b", "ünï", "x;y", '"quoted"'])
def test_texts_that_survive(text: str) -> None:
    assert survives("key", text)
    assert parse_header(format_header({"key": text})) == {"key": text}


@pytest.mark.parametrize("text", [" blank first", "a\n; b", "{", "}", "a {b} c", "a\tb", "a\rb", "a\x00", "x\u2028y"])
def test_texts_that_do_not_survive_are_told(text: str) -> None:
    assert not survives("key", text)


@pytest.mark.parametrize(
    "texts", [["a {b}", '"', "line\nbreak", "\\u007b", "ünï"], [], [""], "one {text}, with commas"]
)
def test_json_of_ours_holds_any_text_and_no_brace(texts: list[str] | str) -> None:
    coded = to_json(texts)
    assert "{" not in coded
    assert "}" not in coded
    back = from_json(parse_header(format_header({"hypersharp history": coded})), "hypersharp history")
    assert back == ([texts] if isinstance(texts, str) else texts)


@pytest.mark.parametrize("text", ["", "[", "3", "[1]", '["a"', "null", "[" * 100_000])
def test_damaged_json_is_said(text: str) -> None:
    with pytest.raises(FileFormatError, match="'hypersharp history' is damaged"):
        from_json({"hypersharp history": text}, "hypersharp history")


def test_lists_with_loose_commas() -> None:
    for text in ("1, 2, 3", ",1,2,3", "1,2,3,", "\n1\n,2\n,3", "1 2 3", "1\n2\n3"):
        found = numbers({"k": text}, "k", 3)
        assert found is not None
        assert found.tolist() == [1, 2, 3]
    assert numbers({"k": " , "}, "k", 3) is None
    assert numbers({}, "k", 3) is None
    assert text_list("a, b ,,c") == ["a", "b", "", "c"]
    assert text_list("  ") == []


@pytest.mark.parametrize("text", ["1,2", "1,,2", "1,2,3,4"])
def test_lists_of_another_count_are_refused(text: str) -> None:
    with pytest.raises(FileFormatError, match=r"expected 3 values in 'k'.*got [24]"):
        numbers({"k": text}, "k", 3)


@pytest.mark.parametrize("text", ["x", "1_0", "1.0.0", "0x10", "1d5", ""])
def test_not_numbers_are_refused(text: str) -> None:
    with pytest.raises(FileFormatError, match="expected a number in 'k'"):
        number(text, "k")


@pytest.mark.parametrize("text", ["0", "-1", "2.0", "2e3", "two", "1_0", "९", "9" * 5000, "2 3"])
def test_not_whole_numbers_are_refused(text: str) -> None:
    with pytest.raises(FileFormatError, match="whole number of at least 1 as 'bands'") as caught:
        integer({"bands": text}, "bands", least=1)
    assert len(str(caught.value)) < 150
    assert "\n" not in str(caught.value)


def test_whole_numbers() -> None:
    assert integer({"bands": "+12"}, "bands", least=1) == 12
    assert integer({"byte order": ""}, "byte order", least=0, default=0) == 0
    with pytest.raises(FileFormatError, match="no 'bands'; add the line"):
        integer({}, "bands", least=1)


def test_data_types_are_those_of_the_format_description() -> None:
    sizes = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 12: 2, 13: 4, 14: 8, 15: 8}
    kinds = {1: "u", 2: "i", 3: "i", 4: "f", 5: "f", 12: "u", 13: "u", 14: "i", 15: "u"}
    assert {code: np.dtype(name).itemsize for code, name in DTYPES.items()} == sizes
    assert {code: np.dtype(name).kind for code, name in DTYPES.items()} == kinds


def test_plain_names() -> None:
    assert plain_name(" a, b {c}; d\n ") == "a_ b _c__ d_"
    assert plain_name("376.44 Nanometers") == "376.44 Nanometers"


def test_fuzzed_headers_give_fields_or_our_error() -> None:
    rng = random.Random(7)
    for _ in range(400):
        text = list(HEADER)
        for _ in range(rng.randint(1, 12)):
            at = rng.randrange(len(text))
            text[at : at + rng.choice([0, 1, 1, 5])] = rng.choice("{}=\n,;\x00é9")
        with contextlib.suppress(HypersharpError):
            fields = parse_header("".join(text))
            assert all(key == " ".join(key.lower().split()) for key in fields)


# --- coordinate reference systems -------------------------------------------------------------------------------------

CODES = [32633, 32733, 4326, 3857, 3035, 26911, 26711, 5514, 2193, 28992, 27700, 2227, 5041]


@pytest.mark.parametrize("code", CODES)
def test_crs_texts_mean_the_same(code: int) -> None:
    registry = CRS.from_epsg(code)
    wkt2 = to_wkt2(code)
    assert CRS.from_wkt(wkt2) == registry
    assert wkt2.startswith(("PROJCRS[", "GEOGCRS["))
    for text in (f"EPSG:{code}", registry.to_wkt(), registry.to_wkt(version="WKT1_ESRI"), wkt2):
        assert to_wkt2(text) == wkt2
    esri = to_esri_wkt(wkt2)
    assert esri is not None
    assert esri.startswith(("PROJCS[", "GEOGCS["))
    assert same_crs(esri, wkt2)
    assert not same_crs(esri, to_wkt2(32632))


def test_no_crs_is_only_the_same_as_no_crs() -> None:
    assert same_crs(None, None)
    assert not same_crs(None, to_wkt2(4326))


@pytest.mark.parametrize("text", ["", "nonsense", "EPSG:999999", "PROJCS[", "é", 0, "x" * 1000])
def test_what_is_no_crs_is_refused_quietly(text: str | int, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CubeError, match="expected a coordinate reference system") as caught:
        to_wkt2(text)
    assert len(str(caught.value)) < 150
    assert capfd.readouterr().err == ""  # GDAL's own complaints do not reach the terminal


def _gdal(folder: Path, map_info: str, string: str | None = None) -> tuple[tuple[float, ...], CRS | None]:
    (folder / "g.img").write_bytes(bytes(12))
    lines = ["ENVI", "samples = 4", "lines = 3", "bands = 1", "data type = 1", "interleave = bsq", "byte order = 0"]
    lines += [f"map info = {{{map_info}}}"] + ([f"coordinate system string = {{{string}}}"] if string else [])
    (folder / "g.hdr").write_text("\n".join(lines) + "\n")
    with rasterio.open(folder / "g.img") as file:
        return tuple(file.transform)[:6], file.crs


WGS84 = to_esri_wkt(to_wkt2(4326))
AGREED = [
    ("UTM, 1, 1, 500000, 4000000, 10, 10, 11, North, WGS-84, units=Meters", None),
    ("UTM, 3.5, 2, 500000, 4000000, 10, 20, 11, North, WGS-84, units=Meters", None),
    ("UTM, 1.000, 1.000, 353128.751647949, 3813729.76806641, 15, 15, 11, South,WGS-84", None),
    ("UTM, 1, 1, 500000, 4000000, 1.1e+00, 1.1e+00, 12, North, WGS-84, units=Meters, rotation=75.00000000", None),
    ("UTM, 1, 1, 500000, 4000000, 10, 10, 11, North, WGS-84, units=Meters, rotation=-30", None),
    ("UTM, 1, 1, 500000, 4000000, 10, 10, 11, North, WGS-84, units=Meters, rotation=90", None),
    ("UTM, 1, 1, 500000, 4000000, 10, -10, 11, North, WGS-84", None),
    ("UTM, 1, 1, 500000, 4000000, 10, 10, 11, North, WGS-84, rotation=180", None),
    ("UTM, 1, 1, 500000, 4000000, 10, 10, 11, North, North America 1983", None),
    ("UTM, 1, 1, 500000, 4000000, 10, 10, 11, North, North America 1927, units=Meters", None),
    ("UTM, 1, 1, 500000, 4000000, 10, 10, 11, North, North America 1983, units=Feet", None),
    ("UTM, 1, 1, 500000, 4000000, 10, 10, 11, South, WGS-84, units=Feet", None),
    ("Geographic Lat/Lon, 1, 1, 10.25, 50.5, 0.001, 0.002, WGS-84, units=Degrees", None),
    ("Geographic Lat/Lon, 1.5, 1.5, 10.25, 50.5, 0.001, 0.001, WGS-84", None),
    ("Geographic Lat/Lon, 1, 1, 36000, 180000, 3, 3, WGS-84, units=Seconds", None),
    ("Geographic Lat/Lon, 1, 1, 600, 3000, 3, 3, WGS-84, units=Minutes", WGS84),
    ("Geographic Lat/Lon, 1, 1, 10, 50, 0.001, 0.001, North America 1983, units=Degrees", None),
    ("Lambert Azimuthal Equal Area, 1, 1, 4321000, 3210000, 10, 10", to_esri_wkt(to_wkt2(3035))),
]


@pytest.mark.parametrize(("map_info", "string"), AGREED)
def test_map_info_is_read_as_gdal_reads_it(tmp_path: Path, map_info: str, string: str | None) -> None:
    affine, crs = _gdal(tmp_path, map_info, string)
    ours = from_envi_map_info(map_info.split(","), string)
    assert ours.affine == pytest.approx(affine, rel=1e-14, abs=1e-12)
    assert crs is not None
    assert same_crs(ours.crs, crs.to_wkt())
    assert len(ours.notes) == ("rotation=180" in map_info)


def test_the_reference_pixel_of_a_turned_image_lies_where_it_is_said_to() -> None:
    fields = ["UTM", " 3", " 2", " 500000", " 4000000", " 10", " 20", " 11", " North", " WGS-84", " rotation = 30"]
    a, b, c, d, e, f = from_envi_map_info(fields, None).affine
    assert (a * 2 + b * 1 + c, d * 2 + e * 1 + f) == pytest.approx((500000, 4000000), abs=1e-6)
    assert math.hypot(a, d) == pytest.approx(10)  # the sizes of a pixel, along its own axes
    assert math.hypot(b, e) == pytest.approx(20)
    assert a * b + d * e == pytest.approx(0, abs=1e-9)  # which stay at right angles
    assert math.degrees(math.atan2(d, a)) == pytest.approx(30)  # counter-clockwise
    assert any("GDAL places such an image elsewhere" in note for note in from_envi_map_info(fields, None).notes)


def test_geographic_in_radians_becomes_degrees() -> None:
    fields = ["Geographic Lat/Lon", " 1", " 1", " 0.5", " 1.0", " 0.001", " 0.001", " WGS-84", " units=Radians"]
    found = from_envi_map_info(fields, None)
    assert found.affine == pytest.approx([math.degrees(v) for v in (0.001, 0, 0.5, 0, -0.001, 1.0)])
    assert same_crs(found.crs, to_wkt2(4326))


def test_arbitrary_is_a_position_without_crs() -> None:
    found = from_envi_map_info(["Arbitrary", " 1.5", " 1.5", " 10", " 20", " 2", " 2", " 0", " North"], None)
    assert found == ((2.0, 0.0, 9.0, 0.0, -2.0, 21.0), None, ())


@pytest.mark.parametrize(
    "map_info",
    [
        "UTM, 1, 1, 5, 6, 1, 1, 11, North, Atlantis 1927",  # GDAL says WGS 84 here
        "UTM, 1, 1, 5, 6, 1, 1, 11, North",
        "UTM, 1, 1, 5, 6, 1, 1, -11, North, WGS-84",
        "UTM, 1, 1, 5, 6, 1, 1, 61, North, WGS-84",
        "UTM, 1, 1, 5, 6, 1, 1, 11, , WGS-84",
        "UTM, 1, 1, 5, 6, 1, 1, 59, South, North America 1983",
        "UTM, 1, 1, 5, 6, 1, 1, 11, North, WGS-84, units=Miles",
        "Geographic Lat/Lon, 1, 1, 5, 6, 1, 1",
        "Geographic Lat/Lon, 1, 1, 5, 6, 1, 1, WGS-84, units=Meters",
        "Albers, 1, 1, 5, 6, 1, 1, North America 1983, units=Meters",
    ],
)
def test_geography_is_never_assumed(map_info: str) -> None:
    found = from_envi_map_info(map_info.split(","), None)
    assert found.crs is None
    assert found.affine == (1.0, 0.0, 5.0, 0.0, -1.0, 6.0)
    assert [note[:6] for note in found.notes] == ["no CRS"]


def test_a_damaged_coordinate_system_string_gives_way_to_the_names() -> None:
    found = from_envi_map_info(["UTM", " 1", " 1", " 5", " 6", " 1", " 1", " 11", " North", " WGS-84"], "PROJCS[")
    assert same_crs(found.crs, to_wkt2(32611))
    assert found.notes == ("ENVI coordinate system string cannot be read",)


@pytest.mark.parametrize(
    ("map_info", "words"),
    [
        ("UTM, 1, 1", "at least 7 fields"),
        ("UTM, 1, x, 5, 6, 1, 1", "number in 'map info', got 'x'"),
        ("UTM, 1, 1, 5, nan, 1, 1", "number in 'map info'"),
        ("UTM, 1, 1, 5, 6, 0, 1", "pixel size in 'map info' is 0"),
        ("UTM, 1, 1, 5, 6, 1, 1, 11, North, WGS-84, rotation=up", "got 'up'"),
    ],
)
def test_damaged_map_info_is_refused(map_info: str, words: str) -> None:
    with pytest.raises(FileFormatError, match=words):
        from_envi_map_info([field.strip() for field in map_info.split(",")], None)


COS, SIN = math.cos(math.radians(20)), math.sin(math.radians(20))
FITTING = {
    "north up": (10.0, 0.0, 500000.125, 0.0, -10.0, 4000000.3),
    "oblong": (1 / 3, 0.0, 1e-7, 0.0, -0.1, 5.0),
    "south up": (10.0, 0.0, 500000.0, 0.0, 10.0, 4000000.0),
    "upside down": (-10.0, 0.0, 500000.0, 0.0, 10.0, 4000000.0),
    "turned": (10 * COS, 10 * SIN, 500000.0, 10 * SIN, -10 * COS, 4000000.0),
    "turned back": (10 * COS, -10 * SIN, 500000.0, -10 * SIN, -10 * COS, 4000000.0),
}


@pytest.mark.parametrize("affine", FITTING.values(), ids=FITTING)
@pytest.mark.parametrize("code", [None, 32633, 32733, 26911, 4326, 4258, 3035, 2227])
def test_grids_are_written_so_that_gdal_and_we_read_them(
    tmp_path: Path, affine: tuple[float, ...], code: int | None
) -> None:
    grid = Grid((3, 4), affine, None if code is None else to_wkt2(code))  # type: ignore[arg-type]
    fields, string = to_envi_map_info(grid)
    assert fields is not None
    ours = from_envi_map_info(fields, string)
    assert ours.affine == pytest.approx(affine, rel=1e-14)
    assert same_crs(ours.crs, grid.crs)
    assert ours.notes == ()
    theirs, crs = _gdal(tmp_path, ", ".join(fields), string)
    assert theirs == pytest.approx(affine, rel=1e-14)
    if code is not None:
        assert crs == CRS.from_epsg(code)


@pytest.mark.parametrize(
    "affine",
    [
        (10.0, 1.0, 0.0, 0.0, -10.0, 0.0),
        (10 * COS, 20 * SIN, 0.0, 10 * SIN, -20 * COS, 0.0),
        (0.0, 3.0, 0.0, 4.0, 0.0, 0.0),
    ],
    ids=["sheared", "turned oblong", "transposed oblong"],
)
def test_grids_that_map_info_cannot_hold_are_not_bent_into_it(affine: tuple[float, ...]) -> None:
    fields, string = to_envi_map_info(Grid((3, 4), affine, to_wkt2(32633)))  # type: ignore[arg-type]
    assert fields is None
    assert same_crs(string, to_wkt2(32633))


def test_names_of_what_is_written() -> None:
    affine = (10.0, 0.0, 5.5, 0.0, -10.0, 6.5)

    def fields(code: int) -> list[str] | None:
        return to_envi_map_info(Grid((1, 1), affine, to_wkt2(code))).map_info

    place = ["1", "1", "5.5", "6.5", "10.0", "10.0"]
    assert fields(32633) == ["UTM", *place, "33", "North", "WGS-84", "units=Meters"]
    assert fields(32701) == ["UTM", *place, "1", "South", "WGS-84", "units=Meters"]
    assert fields(26711) == ["UTM", *place, "11", "North", "North America 1927", "units=Meters"]
    assert fields(4326) == ["Geographic Lat/Lon", *place, "WGS-84"]
    assert fields(4258) == ["Geographic Lat/Lon", *place]
    assert fields(3035) == ["ETRS89-extended / LAEA Europe", *place, "units=Meters"]
    assert fields(2227) == ["NAD83 / California zone 3 (ftUS)", *place]
