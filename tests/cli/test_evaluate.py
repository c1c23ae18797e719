"""`hypersharp evaluate` from files: table, JSON, CSV, maps, and refusals."""

from __future__ import annotations

import csv
import io
import json
import sys

import numpy as np
import pytest

from hypersharp.cli import run
from hypersharp.cube import Bands, Cube, Grid
from hypersharp.io import open_cube, write_cube
from hypersharp.metrics import PROTOCOLS, list_metrics, mpsnr, rmse, sam

NM = np.linspace(450, 900, 6)
GRID = Grid((40, 44), (10.0, 0, 600_000, 0, -10.0, 5_800_000))


def values(seed=0):
    rng = np.random.default_rng(seed)
    true = rng.uniform(100, 4000, (6, 40, 44)).astype(np.float32)
    true[4] = 9.0
    return true, (true + rng.normal(0, 50, true.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    bands = Bands(6, wavelength_nm=NM)
    return tuple(
        str(write_cube(Cube.from_array(part, bands=bands, grid=GRID), folder / name))
        for part, name in zip(values(), ("ref.tif", "est.tif"), strict=True)
    )


def said(capsys, *arguments):
    capsys.readouterr()
    assert run(["evaluate", *arguments]) == 0
    return capsys.readouterr().out


def test_json_has_protocol_and_metrics(pair, capsys):
    found = json.loads(said(capsys, *pair, "--scale", "4", "--json"))
    assert {"protocol", "metrics"} <= set(found)
    true, guess = values()
    live = [0, 1, 2, 3, 5]
    peak = float(np.quantile(true, 0.999))
    assert found["metrics"]["mpsnr_db"] == pytest.approx(mpsnr(true[live], guess[live], data_range=peak), rel=1e-6)
    assert found["metrics"]["sam_deg"] == pytest.approx(sam(true, guess), rel=1e-9)
    assert found["metrics"]["rmse"] == pytest.approx(rmse(true[live], guess[live]), rel=1e-9)
    assert set(found["metrics"]) == set(list_metrics())
    assert found["protocol"]["name"] == "ours"
    assert found["protocol"]["records"]["ergas"]["scale"] == 4
    per_band = found["details"]["mpsnr_db"]["per_band"]
    assert len(per_band) == 6
    assert per_band[4] is None
    assert found["details"]["mpsnr_db"]["counts"]["bands_excluded"] == 1


def test_the_table_says_what_was_left_out(pair, capsys):
    text = said(capsys, *pair, "--scale", "4")
    assert "mpsnr_db" in text
    assert "1 bands excluded (mpsnr_db" in text
    assert "peak quantile_99.9" in text


def test_csv_has_a_row_for_each_band(pair, capsys):
    rows = list(
        csv.DictReader(io.StringIO(said(capsys, *pair, "--scale", "4", "--csv", "--metrics", "mpsnr_db,sam_deg")))
    )
    assert [row["metric"] for row in rows] == ["mpsnr_db"] * 7 + ["sam_deg"]
    assert [row["band"] for row in rows[:7]] == ["", "1", "2", "3", "4", "5", "6"]
    assert rows[1]["wavelength_nm"] == "450"
    assert rows[5]["value"] == ""
    kept = [float(row["value"]) for row in rows[1:7] if row["value"]]
    assert float(rows[0]["value"]) == pytest.approx(np.mean(kept))
    assert {row["peak"] for row in rows[:7]} == {"quantile_99.9"}


def test_every_protocol_side_by_side(pair, capsys):
    found = json.loads(said(capsys, *pair, "--scale", "4", "--compare-protocols", "--json"))
    assert [each["protocol"]["name"] for each in found["protocols"]] == list(PROTOCOLS)
    text = said(capsys, *pair, "--scale", "4", "--compare-protocols")
    assert all(name in text.splitlines()[0] for name in PROTOCOLS)


def test_a_border_and_a_choice_of_bands_count(pair, capsys):
    found = json.loads(said(capsys, *pair, "--scale", "4", "--border", "3", "--bands", "2-4", "--json"))
    true, guess = (part[1:4, 3:-3, 3:-3] for part in values())
    assert found["metrics"]["rmse"] == pytest.approx(rmse(true, guess), rel=1e-9)


def test_maps_are_georeferenced_and_drawn(pair, tmp_path, capsys):
    said(capsys, *pair, "--scale", "4", "--maps", str(tmp_path / "maps"), "--metrics", "sam_deg,rmse,ergas")
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {
        "sam_deg.tif",
        "sam_deg.png",
        "rmse.tif",
        "rmse.png",
    }
    plane = open_cube(tmp_path / "maps" / "sam_deg.tif")
    assert plane.grid is not None
    assert plane.grid.affine == GRID.affine
    assert plane.read()[0].mean() == pytest.approx(sam(*values()), rel=1e-6)


def test_maps_of_every_protocol_do_not_overwrite_each_other(pair, tmp_path, capsys):
    folder = str(tmp_path / "maps")
    said(capsys, *pair, "--scale", "4", "--maps", folder, "--metrics", "sam_deg", "--compare-protocols")
    assert len(list((tmp_path / "maps").glob("*_sam_deg.tif"))) == len(PROTOCOLS)


def test_without_matplotlib_the_maps_are_written_and_it_is_said(pair, tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    folder = tmp_path / "maps"
    assert run(["evaluate", *pair, "--scale", "4", "--maps", str(folder), "--metrics", "sam_deg"]) == 0
    assert [path.name for path in folder.iterdir()] == ["sam_deg.tif"]
    assert "pictures are not" in capsys.readouterr().err


def refused(capsys, *arguments):
    capsys.readouterr()
    status = run(["evaluate", *arguments])
    error = capsys.readouterr().err
    assert error.startswith("hypersharp: error: ")
    assert error.count("\n") == 1
    return status, error


def test_bad_input_is_one_line_with_both_sides(pair, tmp_path, capsys):
    true, guess = values()
    bands = Bands(6, wavelength_nm=NM)
    hole = guess.copy()
    hole[0, 3, 3] = np.nan
    made = {
        "small": Cube.from_array(guess[:, :-1], bands=bands),
        "few": Cube.from_array(guess[:5], bands=bands.take(slice(0, 5))),
        "other": Cube.from_array(guess, bands=Bands(6, wavelength_nm=NM + 7)),
        "hole": Cube.from_array(hole, bands=bands),
        "void": Cube.from_array(np.full_like(true, np.nan), bands=bands),
    }
    paths = {name: str(write_cube(cube, tmp_path / f"{name}.tif")) for name, cube in made.items()}
    cases = {
        (pair[0], paths["small"], "--scale", "4"): "6 bands x 40 rows x 44 columns, got 6 bands x 39 rows x 44 columns",
        (pair[0], paths["few"], "--scale", "4"): "6 bands x 40 rows x 44 columns, got 5 bands",
        (pair[0], paths["other"], "--scale", "4"): "band 1 is 450 nm in the reference and 457 nm in the estimate",
        (pair[0], paths["hole"], "--scale", "4"): "invalid at 1 values where the reference is valid",
        (pair[0], pair[1]): "--scale",
        (*pair, "--scale", "1.5"): "scale must be a whole number from 2 to 8, got 1.5",
        (*pair, "--scale", "4", "--protocol", "our"): "did you mean 'ours'?",
        (*pair, "--scale", "4", "--metrics", "psnr"): "got 'psnr'",
        (*pair, "--scale", "4", "--border", "20"): "border must leave a pixel of 40 x 44, got 20",
        (*pair, "--scale", "4", "--json", "--csv"): "choose one of --json and --csv",
    }
    for arguments, message in cases.items():
        status, error = refused(capsys, *arguments)
        assert status == 2, error
        assert message in error
    status, error = refused(capsys, paths["void"], pair[1], "--scale", "4")
    assert status == 1
    assert "valid" in error
