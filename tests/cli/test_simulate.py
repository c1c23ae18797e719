"""`hypersharp simulate` from file to file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from hypersharp.cli import run
from hypersharp.cube import Bands, Cube, Grid, Storage
from hypersharp.io import open_cube, write_cube


@pytest.fixture
def hr(tmp_path: Path) -> Path:
    """An ENVI scene of integers with a hole, a bad band and a dead one."""
    values = np.random.default_rng(0).integers(100, 4000, (12, 27, 34)).astype(np.int16)
    values = ndimage.uniform_filter(values, (0, 3, 3))
    values[11] = 77
    values[:, 4:6, 7] = -1
    good = np.ones(12, dtype=bool)
    good[3] = False
    cube = Cube.from_array(
        values,
        bands=Bands(12, np.linspace(450, 1000, 12), good=good),
        grid=Grid((27, 34), (10.0, 0, 600_000, 0, -10.0, 5_800_000)),
        storage=Storage(np.dtype(np.int16), scale=1e-4, nodata=-1),
        quantity="reflectance",
    )
    return write_cube(cube, tmp_path / "hr.img")


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("ending", ["img", "tif"])
def test_the_sidecar_gives_the_same_bytes(hr: Path, tmp_path: Path, ending: str) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first = [str(hr), str(folders[0] / f"lr.{ending}"), "--msi", str(folders[0] / f"msi.{ending}"), "--scale", "2"]
    first += ["--degradation", "gaussian:sigma=1.1", "--shift=-0.5,0.25", "--srf", "worldview2:blue,green,red"]
    first += ["--noise-snr-db", "30", "--noise", "stripes:level=0.05", "--noise", "impulse:fraction=0.02"]
    first += ["--msi-noise", "poisson:snr_db=40", "--seed", "11", "--bands", "1-11", "--window", "0,0,34,25"]
    first += ["--dtype", "float64", "--interleave", "bip"]
    assert run(["simulate", *first]) == 0
    again = [str(hr), str(folders[1] / f"lr.{ending}"), "--msi", str(folders[1] / f"msi.{ending}")]
    assert run(["simulate", *again, "--recipe", str(folders[0] / f"lr.{ending}.recipe.json")]) == 0
    names = _files(folders[0])
    assert names == _files(folders[1])
    assert {f"lr.{ending}", f"msi.{ending}", f"lr.{ending}.recipe.json"} <= names
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_the_files_say_what_was_done(hr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, msi = tmp_path / "lr.tif", tmp_path / "msi.tif"
    options = ["--scale", "4", "--msi", str(msi), "--srf", "gaussian:600/60,850/90"]
    assert run(["simulate", str(hr), str(out), *options]) == 0
    said = capsys.readouterr().out
    assert "PSF mtf:0.3" in said
    assert "last 3 rows and 2 columns left out" in said
    assert "850 nm: 850.0 nm, coverage 100.0%" in said
    lr, high = open_cube(out), open_cube(msi)
    assert lr.shape == (12, 6, 8)
    assert high.shape == (2, 24, 32)
    assert lr.grid is not None
    assert high.grid is not None
    assert lr.grid.affine == (40.0, 0, 600_000, 0, -40.0, 5_800_000)
    assert high.grid.affine == (10.0, 0, 600_000, 0, -10.0, 5_800_000)
    assert lr.storage.dtype == np.float32
    assert lr.quantity == "reflectance"
    assert list(np.flatnonzero(~lr.bands.good)) == [3, 11]
    values, valid = lr.read()
    assert not valid[:, 1, 1].any()
    assert valid.sum() == 12 * (6 * 8 - 1)
    assert 0.01 < values[:11][valid[:11]].min() < values[valid].max() < 0.4
    assert any("bands constant or without data: 12" in line for line in lr.history)
    assert any("HR cropped" in line for line in lr.history)
    kept = json.loads((tmp_path / "lr.tif.recipe.json").read_text())
    assert kept["recipe"]["degradation"] == "mtf:0.3"
    assert json.dumps(kept["recipe"], separators=(",", ":")) in lr.history[-1]
    weights = kept["facts"]["srf"]["bands"][0]["weights"]
    assert sum(weights.values()) == pytest.approx(1, abs=1e-6)
    assert "4" not in weights  # the bad band lies at 600 nm


def test_json_and_the_type_of_the_input(hr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, whole = tmp_path / "a.img", tmp_path / "b.img"
    assert run(["simulate", str(hr), str(plain), "--scale", "3", "--degradation", "bicubic", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["shape"] == [12, 9, 11]
    assert facts["recipe"]["scale"] == 3
    assert run(["simulate", str(hr), str(whole), "--scale", "3", "--degradation", "bicubic", "--dtype", "same"]) == 0
    one, two = open_cube(plain), open_cube(whole)
    assert two.storage.dtype == np.int16
    # rounded to the stored step of 1e-4, no more
    np.testing.assert_allclose(one.read()[0], two.read()[0], atol=0.51e-4)


def test_a_recipe_of_another_version_is_noted(hr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.json").write_text(json.dumps({"hypersharp": "0.0.1", "recipe": {"scale": 2}}))
    assert run(["simulate", str(hr), str(tmp_path / "lr.img"), "--recipe", str(tmp_path / "old.json")]) == 0
    assert "the recipe is of version 0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words", "status"),
    [
        ([], "needs --scale", 2),
        (["--scale", "9"], "from 2 to 8", 2),
        (["--scale", "2.5"], "from 2 to 8", 2),
        (["--scale", "2", "--degradation", "box"], "expected a PSF", 2),
        (["--scale", "2", "--shift", "1"], "DY,DX", 2),
        (["--scale", "2", "--shift", "1,99"], "is at most 32", 2),
        (["--scale", "2", "--noise", "loud"], "expected noise as one of", 2),
        (["--scale", "2", "--noise-snr-db", "nan"], "out of range", 2),
        (["--scale", "2", "--seed", "-1"], "seed must be", 2),
        (["--scale", "2", "--srf", "sentinel2a"], "--msi FILE", 2),
        (["--scale", "2", "--msi", "{out}/m.img"], "needs an SRF", 2),
        (["--scale", "2", "--msi", "{out}/m.img", "--msi-noise", "gaussian:sigma=1"], "needs an SRF", 2),
        (["--scale", "2", "--msi", "{out}/m.img", "--srf", "sentinel2a:B11"], "hold less than 50%", 2),
        (["--scale", "2", "--msi", "{out}/lr.img", "--srf", "sentinel2a:B2"], "of another name", 2),
        (["--scale", "2", "--msi", "{out}/no/m.img", "--srf", "sentinel2a:B2"], "existing output folder", 1),
        (["--scale", "2", "--recipe", "{out}/r.json"], "leave out --scale", 2),
        (["--recipe", "{out}/r.json"], "cannot be read", 1),
        (["--scale", "2", "--window", "0,0,1,1"], "one LR pixel is 2 x 2", 2),
        (["--scale", "2", "--degradation", "kernel:{out}/k.npy"], "does not exist", 2),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    hr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str, status: int
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    given = [option.format(out=out) for option in options]
    assert run(["simulate", str(hr), str(out / "lr.img"), *given]) == status
    err = capsys.readouterr().err
    assert words in err
    assert err.startswith("hypersharp: error: ")
    assert err.count("\n") == 1
    assert _files(out) == set()


def test_scenes_without_wavelengths_or_valid_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    bare = write_cube(Cube.from_array(values), tmp_path / "bare.img")
    msi = ["--msi", str(tmp_path / "m.img"), "--srf", "sentinel2a:B2"]
    assert run(["simulate", str(bare), str(tmp_path / "lr.img"), "--scale", "2", *msi]) == 2
    assert "--wavelengths FILE" in capsys.readouterr().err
    values[:, ::2] = np.nan
    holed = write_cube(Cube.from_array(values), tmp_path / "holed.img")
    assert run(["simulate", str(holed), str(tmp_path / "lr.img"), "--scale", "2"]) == 1
    assert "no-data" in capsys.readouterr().err
    assert not (tmp_path / "lr.img").exists()


def test_nothing_is_replaced_unasked(hr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lr.img"
    (tmp_path / "lr.img.recipe.json").write_text("mine")
    assert run(["simulate", str(hr), str(out), "--scale", "2"]) == 1
    assert "lr.img.recipe.json' exists" in capsys.readouterr().err
    assert not out.exists()
    assert run(["simulate", str(hr), str(out), "--scale", "2", "--overwrite"]) == 0
    assert json.loads((tmp_path / "lr.img.recipe.json").read_text())["recipe"]["scale"] == 2
    assert run(["simulate", str(hr), str(hr), "--scale", "2", "--overwrite"]) == 2
    assert "is an input" in capsys.readouterr().err


def test_a_real_scene_through_every_step(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "formats" / "geotiff_enmap" / "enmap_potsdam_tile_64_0.tif"
    out, msi = tmp_path / "lr.tif", tmp_path / "msi.tif"
    arguments = [str(source), str(out), "--scale", "4", "--noise-snr-db", "40", "--msi", str(msi)]
    assert run(["simulate", *arguments, "--srf", "landsat8"]) == 0
    hr, lr, high = open_cube(source), open_cube(out), open_cube(msi)
    assert lr.shape[1:] == tuple(size // 4 for size in hr.shape[1:])
    assert high.shape == (7, *hr.shape[1:])
    values, valid = hr.read()
    low, kept = lr.read()
    some = valid.all(axis=(1, 2))
    assert (kept.all(axis=(1, 2)) == some).all()
    np.testing.assert_allclose(low[some].mean(axis=(1, 2)), values[some].mean(axis=(1, 2)), rtol=0.05)
    # a Landsat band lies between the lowest and highest band that it is made of
    at = hr.bands.wavelength_nm
    assert at is not None
    green = values[(at > 515) & (at < 605)].mean(axis=(1, 2))
    assert green.min() < high.read()[0][2].mean() < green.max()
