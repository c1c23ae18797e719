"""Tables from rows made by hand: order, what is best and second, digits, spread."""

from __future__ import annotations

import csv
import io
import math

import pytest

from hypersharp.bench.rows import Row
from hypersharp.bench.tables import as_csv, latex, markdown


def means(mpsnr_db, sam_deg, rmse=100.0):
    scores = {"mpsnr_db": mpsnr_db, "mssim": 0.9, "sam_deg": sam_deg, "cc": 0.95, "rmse": rmse, "ergas": 3.0}
    return {"validation": scores, "test": {**scores, "mpsnr_db": mpsnr_db - 1}}


ROWS = [
    Row("bicubic", False, (means(30, 3),), seconds=0.5),
    Row("bicubic", True, (means(30.5, 2.5, 91.4),), seconds=1),
    Row("net_a", False, (means(31, 2), means(31.2, 2.2)), 1_234_567, 2_500_000_000, 12.3456, (160, 160)),
    Row("net_a", True, (means(31.5, 1), means(31.7, 1)), 1_234_567, 2_500_000_000, 13, (160, 160)),
    Row("net_b", False, (means(30.50001, math.nan, 12345.6),), 1000, 2000, 3, (32,), ("stopped after 32 patches",)),
    Row("net_b", True, (means(29, 2.5),), 1000, 2000, 4, (32,), ("stopped after 32 patches",)),
]


def cells(text, title, name):
    """Cells of a row in the table below a title."""
    after = text.split(f"**{title}**")[1]
    line = next(line for line in after.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


PLAIN = "Mean over the validation scenes, networks without consistency"
WITH = "Mean over the validation scenes, networks with consistency"


def test_columns_are_in_the_order_of_the_papers():
    header = next(line for line in markdown(ROWS).splitlines() if line.startswith("| Method"))
    names = [cell.strip(" ↑↓") for cell in header.strip("|").split("|")]
    assert names == [
        *("Method", "Params (M)", "MACs (G)", "MPSNR (dB)", "MSSIM", "SAM (°)", "CC", "RMSE", "ERGAS", "s / Mpixel")
    ]


def test_the_best_is_bold_and_the_second_underlined():
    text = markdown(ROWS)
    assert cells(text, PLAIN, "net_a")[1:4] == ["1.235", "2.500", "**31.1000** ± 0.1414"]
    assert cells(text, PLAIN, "net_a")[5] == "**2.1000** ± 0.1414", "the lowest angle is the best"
    assert cells(text, PLAIN, "bicubic + consistency")[5] == "<u>2.5000</u>"
    assert cells(text, PLAIN, "bicubic")[3] == "30.0000"


def test_what_prints_alike_is_marked_alike_and_what_is_not_known_is_not_marked():
    text = markdown(ROWS)
    assert cells(text, PLAIN, "bicubic + consistency")[3] == cells(text, PLAIN, "net_b")[3] == "<u>30.5000</u>"
    assert cells(text, PLAIN, "net_b")[5] == "-"


def test_a_seed_without_a_value_leaves_no_spread():
    row = Row("net", False, (means(31, math.nan), means(32, 2)), 1, 1)
    text = markdown([*ROWS[:2], row])
    assert cells(text, PLAIN, "net")[3] == "**31.5000** ± 0.7071"
    assert cells(text, PLAIN, "net")[5] == "-"
    (line,) = [one for one in csv.DictReader(io.StringIO(as_csv([row]))) if one["group"] == "test"]
    assert (line["sam_deg"], line["sam_deg_spread"]) == ("nan", "nan")


def test_rmse_has_four_digits_in_any_unit():
    text = markdown(ROWS)
    assert [cells(text, PLAIN, name)[7].strip("*<u>/") for name in ("bicubic", "bicubic + consistency", "net_b")] == [
        *("100.0", "91.40", "12346")
    ]


def test_bicubic_heads_every_table_and_consistency_has_its_own():
    text = markdown(ROWS, about=["One thing."])
    assert text.startswith("One thing.\n\n**Mean over the validation")
    assert cells(text, WITH, "net_a + consistency")[3] == "**31.6000** ± 0.1414"
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    for table in tables:
        assert [line.split("|")[1].strip() for line in table.splitlines()[2:4]] == ["bicubic", "bicubic + consistency"]
    assert text.count("- net_b: stopped after 32 patches") == 1


def test_latex_says_the_same():
    text = latex(ROWS, about=["Made by `x`."])
    assert "% Made by x." in text
    assert r"net\_a & 1.235 & 2.500 & \textbf{31.1000} $\pm$ 0.1414 &" in text
    assert r"\underline{30.5000}" in text
    assert text.count(r"\begin{tabular}{lrrrrrrrrr}") == 4
    assert all(line.count("&") == 9 for line in text.splitlines() if line.endswith(r"\\"))


def test_a_name_with_signs_of_the_markup_is_shown_as_it_is():
    row = Row("SAM\\ &%$#{}~^_|\nx", False, (means(31, 2),), 1, 1, notes=("one\ntwo",))
    (line,) = [
        line for line in latex([*ROWS[:2], row]).splitlines() if line.startswith("SAM") and "validation" not in line
    ][:1]
    name = r"SAM\textbackslash{} \&\%\$\#\{\}\textasciitilde{}\textasciicircum{}\_| x"
    assert line.startswith(f"{name} & ")
    text = markdown([*ROWS[:2], row])
    assert "\n| SAM\\ &%$#{}~^_\\| x | 0.000 | " in text
    assert text.endswith(" x: one two\n")


def test_csv_holds_every_number_in_full():
    lines = list(csv.DictReader(io.StringIO(as_csv(ROWS))))
    assert len(lines) == 12
    (one,) = [
        line for line in lines if (line["group"], line["method"], line["consistency"]) == ("test", "net_a", "False")
    ]
    assert float(one["mpsnr_db"]) == 30.1
    assert float(one["mpsnr_db_spread"]) == pytest.approx(math.sqrt(0.02))
    assert (one["parameters"], one["patches"], one["seeds"]) == ("1234567", "160 160", "2")
    assert float(one["seconds_per_megapixel"]) == 12.3456
