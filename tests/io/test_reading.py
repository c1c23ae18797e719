"""Opening: finding the reader, what the user says about a file, and what cannot be opened."""

from __future__ import annotations

import os

import numpy as np
import pytest

from hypersharp.errors import AmbiguousError, FileFormatError, HypersharpError, UsageError
from hypersharp.io import list_readers, open_cube
from hypersharp.io.reading import reader_of

from .table import MARKER, ROWS, WAVELENGTHS, stored_numbers


@pytest.fixture
def envi(tmp_path):
    return ROWS["envi"].write(tmp_path, stored_numbers())


@pytest.fixture
def npy(tmp_path):
    path = tmp_path / "cube.npy"
    np.save(path, stored_numbers().transpose(1, 2, 0))
    return path


def test_every_reader_describes_itself():
    for name, reader in list_readers().items():
        assert reader.name
        assert reader.about
        assert "\n" not in reader.about
        assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in reader.suffixes), name
        assert reader.mtf is None or 0 < reader.mtf < 1


def test_what_cannot_be_opened(tmp_path):
    empty = tmp_path / "empty.tif"
    empty.touch()
    text = tmp_path / "text.txt"
    text.write_text("nothing to see here")
    loop = tmp_path / "loop.tif"
    loop.symlink_to(loop)
    for path, words in (
        (tmp_path / "missing.tif", "existing file"),
        (tmp_path, "folder"),
        ("", "folder"),
        (empty, "empty"),
        (text, "known format"),
        (loop, "loop.tif"),
        (tmp_path / ("x" * 300), "cannot be read"),
        (text / "below.tif", "below.tif"),
        ("nul\0byte.tif", "nul"),
    ):
        for call in (open_cube, reader_of):
            with pytest.raises(FileFormatError, match=words) as caught:
                call(path)
            assert "\n" not in str(caught.value)


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(FileFormatError):
        open_cube(tmp_path / "pipe.tif")


def test_a_reader_can_be_named(npy, envi):
    assert open_cube(npy, reader="numpy").shape == (4, 3, 5)
    with pytest.raises(UsageError, match=r"out of .*envi.*got 'nonsense'"):
        open_cube(npy, reader="nonsense")
    for reader in list_readers():
        if reader != "envi":
            with pytest.raises(HypersharpError):
                open_cube(envi, reader=reader).read()


def test_two_readers_that_fit_are_ambiguous(npy, monkeypatch):
    both = list_readers() | {"other": list_readers()["numpy"]}
    monkeypatch.setattr("hypersharp.io.reading.list_readers", lambda: both)
    with pytest.raises(AmbiguousError, match="numpy, other"):
        open_cube(npy)


def test_the_files_behind_a_cube_are_known(npy, envi):
    assert open_cube(npy).values.files == (npy,)
    assert set(open_cube(envi).values.files) == {envi, envi.with_suffix(".hdr")}
    part = open_cube(envi).select([2]).crop(slice(1, 2), slice(0, 3))
    assert set(part.values.files) == {envi, envi.with_suffix(".hdr")}


# ---- no-data ---------------------------------------------------------------------------------------------------------


def test_nodata_in_place_of_the_files_own(envi):
    stored = stored_numbers()
    stored[0, 1, 1] = MARKER
    ROWS["envi"].write(envi.parent, stored)
    assert not open_cube(envi).read()[1][0, 1, 1]
    other = int(stored[3, 2, 2])
    cube = open_cube(envi, nodata=other)
    assert cube.storage.nodata == other
    np.testing.assert_array_equal(cube.read()[1], stored != other)
    assert open_cube(envi, nodata=str(other)).storage.nodata == other
    for none in ("none", " None "):
        assert open_cube(envi, nodata=none).read()[1].all()


def test_large_markers_stay_exact(tmp_path):
    big = np.array([[[2**64 - 1, 2**63 + 1, 5]]], dtype=np.uint64)
    np.save(tmp_path / "big.npy", big)
    cube = open_cube(tmp_path / "big.npy", axes="chw", nodata="18446744073709551615")
    assert cube.storage.nodata == 2**64 - 1
    np.testing.assert_array_equal(cube.read()[1].ravel(), [False, True, True])


@pytest.mark.parametrize("marker", ["abc", "", "1e5", "70000", "0.5", "nan", "inf", "1e400"])
def test_markers_that_int16_cannot_hold_are_refused(envi, marker):
    with pytest.raises(UsageError, match="nodata must be a number"):
        open_cube(envi, nodata=marker)


@pytest.mark.parametrize("marker", ["nan", "-9999", "1e20", "-inf"])
def test_markers_of_floats(tmp_path, marker):
    values = np.ones((2, 2, 2), dtype=np.float32)
    values[0, 0, 0] = float(marker)
    np.save(tmp_path / "f.npy", values)
    valid = open_cube(tmp_path / "f.npy", axes="chw", nodata=marker).read()[1]
    assert not valid[0, 0, 0]
    assert valid.sum() == 7


# ---- wavelengths, quantity, axes -------------------------------------------------------------------------------------


def test_wavelengths_from_a_file(npy, tmp_path):
    table = tmp_path / "bands.csv"
    table.write_text("\ufeff# centre, width\n\n400.5, 10\n500;11.5\n600.25\t12\n 700 , 13 \n")
    bands = open_cube(npy, wavelengths=table).bands
    np.testing.assert_array_equal(bands.wavelength_nm, [400.5, 500, 600.25, 700])
    np.testing.assert_array_equal(bands.fwhm_nm, [10, 11.5, 12, 13])
    table.write_text("400\n500\n600\n700\n")
    assert open_cube(npy, wavelengths=table).bands.fwhm_nm is None


def test_wavelengths_replace_those_of_the_file(envi, tmp_path):
    table = tmp_path / "bands.txt"
    table.write_text("400\n500\n600\n700\n")
    before, after = open_cube(envi).bands, open_cube(envi, wavelengths=table).bands
    np.testing.assert_allclose(before.wavelength_nm, WAVELENGTHS)
    np.testing.assert_array_equal(after.wavelength_nm, [400, 500, 600, 700])
    np.testing.assert_array_equal(after.fwhm_nm, before.fwhm_nm)
    assert after.name == before.name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("400\n500\n600\n", "expected 4 lines.*got 3"),
        ("400\n500\n600\n700\n800\n", "got 5"),
        ("", "got 0"),
        ("400 1\n500 2\n600\n700 4\n", "one or two numbers"),
        ("400 1 1\n500 2 1\n600 3 1\n700 4 1\n", "one or two numbers"),
        ("wavelength\n400\n500\n600\n", "numbers in nm"),
        ("0.4\n0.5\n0.6\n2.5\n", "look like micrometres"),
        ("400\n-500\n600\n700\n", "positive"),
        ("400\nnan\n600\n700\n", "finite"),
        ("400\ninf\n600\n700\n", "finite"),
    ],
)
def test_wavelength_files_that_are_wrong(npy, tmp_path, text, words):
    table = tmp_path / "bands.txt"
    table.write_text(text)
    with pytest.raises(HypersharpError, match=words) as caught:
        open_cube(npy, wavelengths=table)
    assert "bands.txt" in str(caught.value)


def test_wavelength_files_that_cannot_be_read(npy, tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00 400")
    for path in (tmp_path / "missing.txt", tmp_path, tmp_path / "bytes"):
        with pytest.raises(FileFormatError, match="text file of wavelengths"):
            open_cube(npy, wavelengths=path)


def test_quantity(npy):
    assert open_cube(npy).quantity == "dn"
    assert open_cube(npy, quantity="radiance").quantity == "radiance"
    with pytest.raises(UsageError, match="radiance, reflectance, dn, got 'Radiance'"):
        open_cube(npy, quantity="Radiance")


def test_axes(npy, envi):
    values = stored_numbers().transpose(1, 2, 0)
    for axes in ("chw", "CWH", "hwc", "whc", "hcw", "wch"):
        cube = open_cube(npy, axes=axes)
        order = [axes.lower().index(letter) for letter in "chw"]
        np.testing.assert_array_equal(cube.read()[0], values.transpose(order))
    for axes in ("abc", "hw", "hhc", "hwcc", ""):
        with pytest.raises(UsageError, match="permutation of chw"):
            open_cube(npy, axes=axes)
    with pytest.raises(UsageError, match="states its axes"):
        open_cube(envi, axes="hwc")
