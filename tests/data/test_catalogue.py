"""`hypersharp data prepare` on small stand-ins with the layout of the published files."""

from __future__ import annotations

import dataclasses
import json

import h5py
import numpy as np
import pytest
from scipy import io as scipy_io

import hypersharp
from hypersharp.cli import run
from hypersharp.data import catalogue


@pytest.fixture
def smaller(monkeypatch):
    """The catalogue with each scene a hundredth of its size or so; the layout is that of the published file."""
    small = {
        "chikusei": dataclasses.replace(catalogue.DATASETS["chikusei"], shapes=((25, 23),), crop=(3, 20, 2, 21)),
        "houston2018": dataclasses.replace(catalogue.DATASETS["houston2018"], shapes=((12, 16),)),
        "pavia": dataclasses.replace(catalogue.DATASETS["pavia"], shapes=((21, 14),)),
    }
    monkeypatch.setattr(catalogue, "DATASETS", small)


def distinct(rows, cols, bands):
    return np.arange(rows * cols * bands, dtype=np.int16 if rows * cols * bands < 32768 else np.int32).reshape(
        rows, cols, bands
    )


def test_pavia_is_a_matlab_file_of_rows_columns_bands(smaller, tmp_path):
    cube = distinct(21, 14, 102)
    scipy_io.savemat(tmp_path / "Pavia.mat", {"pavia": cube})
    assert run(["data", "prepare", "pavia", str(tmp_path / "Pavia.mat"), str(tmp_path / "out.h5")]) == 0
    written = hypersharp.open(tmp_path / "out.h5")
    assert np.array_equal(written.read()[0], cube.transpose(2, 0, 1))
    assert "hypersharp data prepare pavia" in written.history[-1]


def test_chikusei_is_matlab_7_3_with_reversed_axes_and_is_cut(smaller, tmp_path):
    cube = distinct(25, 23, 128)
    path = tmp_path / "HyperspecVNIR_Chikusei_20140729.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["chikusei"] = cube.transpose(2, 1, 0)
        file["chikusei"].attrs["MATLAB_class"] = np.bytes_(b"int32")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(116) + b" " * 8 + b"\x00\x02IM")
    assert run(["data", "prepare", "chikusei", str(path), str(tmp_path / "out.h5"), "--json"]) == 0
    written = hypersharp.open(tmp_path / "out.h5")
    assert np.array_equal(written.read()[0], cube[2:20, 1:21].transpose(2, 0, 1))


def test_houston_keeps_48_bands_of_an_envi_file(smaller, tmp_path):
    cube = hypersharp.Cube.from_array(distinct(12, 16, 50).transpose(2, 0, 1).astype(np.uint16))
    hypersharp.write(cube, tmp_path / "houston.img")
    assert run(["data", "prepare", "houston2018", str(tmp_path / "houston.img"), str(tmp_path / "out.h5")]) == 0
    written = hypersharp.open(tmp_path / "out.h5")
    assert written.shape == (48, 12, 16)
    assert "the first 48 of 50 bands" in written.history[-1]


def test_published_shapes_and_crops():
    """From the papers: Chikusei 2304 x 2048 after the crop, Pavia 1096 x 715, Houston's strip 601 x 2384."""
    top, bottom, left, right = catalogue.DATASETS["chikusei"].crop
    assert (bottom - top + 1, right - left + 1) == (2304, 2048)
    assert catalogue.DATASETS["pavia"].shapes == ((1096, 715),)
    assert (601, 2384) in catalogue.DATASETS["houston2018"].shapes


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("pavia", 1, "ehu.eus"),
        ("chikusei", 1, "naotoyokoya.com"),
        ("houston2018", 1, "uh.edu"),
        ("pavja", 2, "'pavia'"),
    ],
)
def test_an_absent_file_is_answered_with_the_place_to_get_it(tmp_path, capsys, name, status, said):
    assert run(["data", "prepare", name, str(tmp_path / "none.mat"), str(tmp_path / "out.h5")]) == status
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_shape_is_refused(tmp_path, capsys):
    scipy_io.savemat(tmp_path / "Pavia.mat", {"pavia": distinct(20, 14, 102)})
    assert run(["data", "prepare", "pavia", str(tmp_path / "Pavia.mat"), str(tmp_path / "out.h5")]) == 2
    assert "expected 1096 x 715 pixels and 102 bands" in capsys.readouterr().err
    assert not (tmp_path / "out.h5").exists()


def test_json_says_what_was_written(smaller, tmp_path, capsys):
    scipy_io.savemat(tmp_path / "Pavia.mat", {"pavia": distinct(21, 14, 102)})
    assert run(["data", "prepare", "pavia", str(tmp_path / "Pavia.mat"), str(tmp_path / "out.h5"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [102, 21, 14]
