"""`sharpen --uncertainty`: both files, or none and one clear line."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hypersharp
from hypersharp import Save
from hypersharp.cli import run
from hypersharp.cube import Bands, Cube, Grid, Storage, array_source
from hypersharp.errors import UsageError
from hypersharp.io import open_cube, write_cube
from hypersharp.io.crs import to_wkt2

from ..infer.made import scene


@pytest.fixture
def lr(tmp_path):
    stored = np.rint(scene((4, 20, 16), noise=5.0)).astype(np.int16)
    stored[:, 3:6, 4:8] = -9999
    grid = Grid((20, 16), (30.0, 0.0, 5e5, 0.0, -30.0, 4e6), to_wkt2("EPSG:32633"))
    bands = Bands(4, wavelength_nm=np.array([450.0, 550.0, 650.0, 850.0]))
    source = array_source(stored, Storage(np.dtype(np.int16), scale=0.5, nodata=-9999))
    cube = Cube(source, bands, grid, quantity="radiance", units="W")
    folder = tmp_path / "in"
    folder.mkdir()
    return write_cube(cube, folder / "lr.tif")


def sharpen(lr, *rest: str) -> int:
    return run(["sharpen", str(lr), *rest, "--scale", "2", "--method", "bicubic"])


@pytest.mark.parametrize("ending", [".tif", ".img", ".h5"])
def test_both_files_on_the_same_grid(lr, tmp_path, ending, capsys):
    out, b = tmp_path / "sharp.tif", tmp_path / f"b{ending}"
    assert sharpen(lr, str(out), "--uncertainty", str(b)) == 0
    assert str(b) in capsys.readouterr().out
    sharp, error = open_cube(out), open_cube(b)
    assert error.shape == sharp.shape == (4, 40, 32)
    assert error.values.dtype == np.float32
    assert error.units == "W"
    np.testing.assert_allclose(error.bands.wavelength_nm, sharp.bands.wavelength_nm)
    np.testing.assert_allclose(error.grid.affine, sharp.grid.affine)
    values, valid = error.read()
    np.testing.assert_array_equal(valid, sharp.read()[1])
    assert not valid[:, 6:12, 8:16].any()
    assert (values[valid] > 0).all()
    assert any("Laplace scale b" in line for line in error.history)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_sharpened_file_is_the_same_with_and_without(lr, tmp_path):
    assert sharpen(lr, str(tmp_path / "one.tif")) == 0
    assert sharpen(lr, str(tmp_path / "two.tif"), "--uncertainty", str(tmp_path / "b.tif")) == 0
    np.testing.assert_array_equal(*(open_cube(tmp_path / name).read()[0] for name in ("one.tif", "two.tif")))


def test_tiles_make_no_difference(lr, tmp_path):
    for name, tile in (("one", "64"), ("two", "5")):
        given = (str(tmp_path / f"{name}.img"), "--uncertainty", str(tmp_path / f"b_{name}.img"), "--tile", tile)
        assert sharpen(lr, *given) == 0
    np.testing.assert_array_equal(*(open_cube(tmp_path / name).read()[0] for name in ("b_one.img", "b_two.img")))


@pytest.mark.parametrize(
    ("out", "b", "said"),
    [
        ("sharp.tif", "sharp.tif", "expected two outputs with files of their own"),
        ("sharp.tif", "./sharp.tif", "expected two outputs with files of their own"),
        ("sharp.tif", "b.jpg", "expected an output ending"),
        ("sharp.tif", "missing/b.tif", "expected an existing output folder"),
        ("sharp.tif", "folder.tif", "expected a file name, got the folder"),
        ("sharp.tif", "old.tif", "exists; say overwrite"),
        ("sharp.tif", "in/lr.tif", "is an input of this very operation"),
    ],
)
def test_bad_targets(lr, tmp_path, monkeypatch, capsys, out, b, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "old.tif").write_bytes(b"old")
    before = sorted(p.name for p in tmp_path.rglob("*"))
    assert sharpen(lr, out, "--uncertainty", b) != 0
    err = capsys.readouterr().err.strip()
    assert said in err
    assert "\n" not in err
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    assert (tmp_path / "old.tif").read_bytes() == b"old"


@pytest.mark.parametrize("failing", ["sharp.tif", "b.tif"])
def test_a_full_disk_leaves_neither(lr, tmp_path, monkeypatch, capsys, failing):
    """The writing of one of the two fails half-way."""
    from hypersharp.io import writing

    whole = writing._write_blocks

    def full(cube, storage, sink, *rest):
        if (failing == "b.tif") == (storage.dtype == np.float32):
            raise OSError(28, "No space left on device")
        return whole(cube, storage, sink, *rest)

    monkeypatch.setattr(writing, "_write_blocks", full)
    assert sharpen(lr, str(tmp_path / "sharp.tif"), "--uncertainty", str(tmp_path / "b.tif")) != 0
    err = capsys.readouterr().err.strip()
    assert failing in err
    assert "No space left" in err
    assert "\n" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_dry_run_names_it_and_writes_nothing(lr, tmp_path, capsys):
    given = (str(tmp_path / "s.tif"), "--uncertainty", str(tmp_path / "b.tif"), "--dry-run", "--json")
    assert sharpen(lr, *given) == 0
    assert json.loads(capsys.readouterr().out)["uncertainty"] == str(tmp_path / "b.tif")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_from_python(lr, tmp_path):
    save = Save(uncertainty=tmp_path / "b.npz")
    hypersharp.sharpen(lr, tmp_path / "sharp.npz", scale=3, method="bicubic", save=save)
    assert open_cube(tmp_path / "b.npz").shape == open_cube(tmp_path / "sharp.npz").shape == (4, 60, 48)
    with pytest.raises(UsageError, match="goes beside an output file"):
        hypersharp.sharpen(lr, scale=2, save=save)
