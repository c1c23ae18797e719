"""`hypersharp fuse`: files in, a fused file, a report, a picture and a mask out."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hypersharp
from hypersharp.cli import run

from ..fusion.cubes import cubes_of, elsewhere
from ..fusion.made import synthetic


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A cube, its MSI on the same zone's grid with a cloud, and the same MSI in the neighbouring zone."""
    folder = tmp_path_factory.mktemp("fuse")
    lr, msi = cubes_of(synthetic(scale=3, sigma=1.3, shape_lr=(34, 32), noise_db=40, msi_noise_db=45))
    hypersharp.write(lr, folder / "lr.img")
    hypersharp.write(elsewhere(msi, 32632, gsd=10.0), folder / "zone32.tif")
    values = msi.read()[0]
    values[:, 30:36, 33:42] = np.nan
    hypersharp.write(hypersharp.Cube.from_array(values, grid=msi.grid), folder / "msi.tif")
    return folder


def fuse(room, *options, msi="msi.tif", out="out.tif"):
    return run(["fuse", str(room / "lr.img"), str(room / msi), str(out), *options])


def test_everything_that_can_be_written(room, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    names = {name: tmp_path / name for name in ("out.tif", "report.json", "picture.png", "mask.tif")}
    extra = ("--report", str(names["report.json"]), "--figure", str(names["picture.png"]))
    assert fuse(room, *extra, "--mask", str(names["mask.tif"]), out=names["out.tif"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    for word in ("out.tif: 20 bands, 102 x 96 pixels, scale 3", "best of", "estimate", "agrees", "glp:"):
        assert word in said.out
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    made = hypersharp.open(names["out.tif"])
    assert made.grid == hypersharp.open(room / "lr.img").grid.zoom(3)
    assert made.read()[1].all()
    mask = hypersharp.open(names["mask.tif"])
    assert mask.storage.dtype == np.uint8
    assert mask.read()[0].mean() == pytest.approx(1 - 12 * 15 / (102 * 96))
    report = json.loads(names["report.json"].read_text())
    assert report["calibration"]["fit"]["sigma"] == pytest.approx(1.3, abs=0.05)
    assert report["method"] in made.history[-1]
    assert report["consistency"]["cube"]["rmse_over_noise"] > 0
    assert names["picture.png"].read_bytes().startswith(b"\x89PNG")


def test_json_and_a_named_method(room, tmp_path, capsys):
    options = ("--method", "gsa", "--degradation", "gaussian:sigma=1.3", "--json", "--dtype", "int16")
    assert fuse(room, *options, msi="zone32.tif", out=tmp_path / "out.img") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["method"], facts["scale"], facts["msi_resampling"]) == ("gsa", 3, "cubic")
    assert facts["calibration"]["psf_from"] == "stated"
    assert facts["output_shape"] == [20, 102, 96]
    assert facts["seconds"] > 0
    assert hypersharp.open(tmp_path / "out.img").storage.dtype == np.int16


def test_bands_and_candidates(room, tmp_path, capsys):
    options = ("--bands", "1-10", "--msi-bands", "1,2", "--candidates", "gsa, glp", "--json", "--tile", "10")
    assert fuse(room, *options, out=tmp_path / "out.tif") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["output_shape"] == [10, 102, 96]
    assert facts["msi_bands"] == 2
    assert set(facts["choice"]["reduced_test"]["gain_db_over_enlarged"]) == {"gsa", "glp"}


def test_aligned_arrays_without_georeferencing(tmp_path, capsys):
    pair = synthetic(scale=2, sigma=0.9, shape_lr=(30, 28))
    np.save(tmp_path / "lr.npy", pair.window.lr)
    np.save(tmp_path / "msi.npy", pair.window.msi)
    files = [str(tmp_path / name) for name in ("lr.npy", "msi.npy", "out.npy")]
    assert run(["fuse", *files, "--assume-aligned", "--axes", "chw", "--msi-axes", "chw", "--method", "glp"]) == 0
    assert np.load(tmp_path / "out.npy").shape == (60, 56, 20)
    assert "scale 2" in capsys.readouterr().out
