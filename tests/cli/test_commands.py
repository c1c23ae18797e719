"""The commands of the main job: info, sharpen, convert, doctor, as a user runs them."""

from __future__ import annotations

import json
import math
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from hypersharp import __version__
from hypersharp.cli import run
from hypersharp.cube import Bands, Cube, Grid, Storage, array_source
from hypersharp.io import open_cube, write_cube
from hypersharp.io.crs import same_crs, to_wkt2

from ..infer.made import holes, save_network, scene


@pytest.fixture
def source(tmp_path) -> Path:
    """`in/scene.img`: 6 bands of 14 × 17 pixels, int16 reflectance, holes, a bad and a dead band."""
    numbers = np.rint(scene((6, 14, 17), noise=3.0)).astype(np.int16)
    numbers[:, holes(14, 17)] = -9999
    numbers[4] = 77
    (tmp_path / "in").mkdir()
    cube = Cube(
        array_source(numbers, Storage(np.dtype(np.int16), 1e-4, nodata=-9999)),
        Bands(6, np.array([450.123456, 550, 650.5, 850, 1650, 2200]), np.full(6, 9.75), [True, False] + [True] * 4),
        Grid((14, 17), (30.0, 0.0, 5e5, 0.0, -30.0, 4.2e6), to_wkt2(32633)),
        quantity="reflectance",
        attrs={"acquisition_time": "2024-02-29T12:34:56Z"},
        history=("made by hand",),
    )
    return write_cube(cube, tmp_path / "in" / "scene.img")


def ran(capfd, *arguments: object, tiny: bool = False) -> str:
    """Standard output of a command that succeeds without a word on standard error; of a tiny scene it may say one."""
    status = run([str(argument) for argument in arguments])
    printed = capfd.readouterr()
    said = printed.err
    if tiny and said.startswith("hypersharp: default network not used: too few pixels"):
        said = said.partition("\n")[2]
    assert (status, said) == (0, "")
    return printed.out


# ---- info ------------------------------------------------------------------------------------------------------------


def test_info_as_json(source, capfd):
    facts = json.loads(ran(capfd, "info", source, "--json"))
    assert facts["format"] == "ENVI"
    assert (facts["bands"], facts["rows"], facts["columns"]) == (6, 14, 17)
    assert (facts["dtype"], facts["scale"], facts["nodata"], facts["quantity"]) == ("int16", 1e-4, -9999, "reflectance")
    assert facts["wavelength_nm"] == [450.123456, 550, 650.5, 850, 1650, 2200]
    assert facts["bad_bands"] == [2]
    assert facts["dead_bands"] == [5]
    values, valid = open_cube(source).read()
    dead = valid.mean(axis=(1, 2))
    assert facts["nodata_share"] == pytest.approx(1 - valid.mean())
    assert facts["nodata_share_any_band"] == pytest.approx(1 - dead.min())
    assert facts["minimum"] == pytest.approx(np.nanmin(values))
    assert facts["maximum"] == pytest.approx(np.nanmax(values))
    assert facts["affine"] == [30.0, 0.0, 5e5, 0.0, -30.0, 4.2e6]
    assert same_crs(facts["crs"], to_wkt2(32633))
    assert facts["attrs"]["acquisition_time"] == "2024-02-29T12:34:56Z"
    assert facts["history"] == ["made by hand"]


def test_info_as_text(source, capfd):
    text = ran(capfd, "info", source)
    for words in ("scene.img (ENVI)", "6, 450.123 to 2200 nm", "14 rows x 17 columns", "int16", "reflectance", "UTM"):
        assert words in text
    assert all(len(line) < 200 for line in text.splitlines())


def test_info_of_a_part(source, capfd):
    facts = json.loads(ran(capfd, "info", source, "--json", "--bands", "5-6,1", "--window", "3,2,4,5"))
    assert (facts["bands"], facts["rows"], facts["columns"]) == (3, 5, 4)
    assert facts["wavelength_nm"] == [1650, 2200, 450.123456]
    assert facts["dead_bands"] == [1]
    assert facts["affine"][2:6:3] == [5e5 + 3 * 30, 4.2e6 - 2 * 30]


REAL = {
    "envi_bsq_avirisng/ang20160910t185702_2rdn_img": {"format": "ENVI", "bands": 425},
    "envi_bsq_gamsberg/cubus_gamsberg_subset": {"format": "ENVI"},
    "envi_bsq_fpi_raw/house_crop_4b_RAW.dat": {"format": "ENVI", "dtype": "uint16"},
    "envi_bil_headwall/corn-kernel-hyperspectral.raw": {"format": "ENVI", "bands": 580, "interleave": "bil"},
    "envi_bil_headwall/darkReference": {"format": "ENVI", "bands": 978, "rows": 1},
    "envi_bip_hyspex/wheat_grain0.img": {"format": "ENVI", "dtype": "float64", "interleave": "bip"},
    "geotiff_enmap/enmap_potsdam_tile_64_0.tif": {"format": "GeoTIFF", "bands": 224, "nodata": -32768},
    "geotiff_enmap/enmap_potsdam_tile_64_32.tif": {"format": "GeoTIFF", "bands": 224},
    "geotiff_neon/OSBS_reflectance_crop.tif": {"format": "GeoTIFF", "dtype": "int16", "bands": 426, "crs": None},
    "mat/jasper_ridge_224.mat": {"format": "MATLAB", "bands": 224, "rows": 100, "columns": 100},
    "mat/Sandiego_v73.mat": {"format": "MATLAB", "bands": 189, "rows": 100, "columns": 100},
    "mat/pavia.mat": {"format": "MATLAB", "bands": 102, "rows": 100, "columns": 100},
}


@pytest.mark.parametrize("name", sorted(REAL))
def test_info_of_every_real_file(data_dir, name, capfd):
    path = data_dir / "formats" / name
    before = sorted(os.listdir(path.parent))
    facts = json.loads(ran(capfd, "info", path, "--json"))
    for key, value in REAL[name].items():
        assert facts[key] == value, key
    assert facts["bands"] > 3
    assert math.isfinite(facts["minimum"])
    assert facts["minimum"] < facts["maximum"]
    assert 0 <= facts["nodata_share"] < 0.5
    known = [value for value in facts["wavelength_nm"] or [] if value is not None]
    assert len(known) in (0, facts["bands"])
    assert all(300 < value < 2600 for value in known)
    assert all(0 < value < 60 for value in facts["fwhm_nm"] or [])
    assert len(facts["dead_bands"]) < facts["bands"] / 2 or facts["rows"] == 1
    assert ran(capfd, "info", path)
    assert sorted(os.listdir(path.parent)) == before


@pytest.mark.parametrize("ending", [".tif", ".img"])
@pytest.mark.parametrize("name", sorted(REAL))
def test_sharpening_a_corner_of_every_real_file(data_dir, tmp_path, name, ending, capfd):
    """All of its bands; what it says besides the pixels arrives, and its numbers stay near."""
    path = data_dir / "formats" / name
    lr = open_cube(path)
    rows, cols = (min(12, size) for size in lr.shape[1:])
    out = tmp_path / f"out{ending}"
    plain = ["--method", "bicubic", "--window", f"0,0,{cols},{rows}"]
    ran(capfd, "sharpen", path, out, "--scale", 2, *plain)
    hr = open_cube(out)
    assert hr.shape == (lr.shape[0], rows * 2, cols * 2)
    assert hr.storage.dtype == lr.storage.dtype
    np.testing.assert_array_equal(hr.bands.wavelength_nm, lr.bands.wavelength_nm)
    np.testing.assert_array_equal(hr.bands.fwhm_nm, lr.bands.fwhm_nm)
    assert (hr.quantity, hr.units) == (lr.quantity, lr.units)
    assert hr.history[: len(lr.history)] == lr.history
    assert (hr.grid is None) == (lr.grid is None)
    if lr.grid is not None:
        assert same_crs(hr.grid.crs, lr.grid.crs)
        np.testing.assert_allclose(hr.grid.xy(0.5, 0.5), lr.grid.xy(0, 0), rtol=1e-12)
    values, valid = lr.read(slice(None), slice(0, rows), slice(0, cols))
    sharp, mask = hr.read()
    np.testing.assert_array_equal(mask, valid.repeat(2, axis=1).repeat(2, axis=2))
    means = np.where(mask, sharp, 0).reshape(len(sharp), rows, 2, cols, 2).mean(axis=(2, 4))
    away = np.abs(means - np.where(valid, values, 0))[valid]
    assert np.median(away) <= 0.25 * np.nanstd(values)  # one is the raw mosaic of a filter array


@pytest.mark.parametrize("name", ["OBS", "MASK"])
def test_files_that_hold_no_spectra_say_so(data_dir, name, capfd):
    (path,) = (data_dir / "formats" / "netcdf_emit").glob(f"*{name}*")
    assert run(["info", str(path)]) == 1
    assert "holds no radiance or reflectance" in capfd.readouterr().err


# ---- sharpen ---------------------------------------------------------------------------------------------------------


def test_sharpen_says_one_line_and_is_quiet_when_piped(source, tmp_path, capfd):
    text = ran(capfd, "sharpen", source, tmp_path / "out.tif", "--scale", 2)
    assert len(text.splitlines()) == 1
    assert "28 x 34" in text
    assert open_cube(tmp_path / "out.tif").shape == (6, 28, 34)


def test_sharpen_as_json(source, tmp_path, capfd):
    facts = json.loads(ran(capfd, "sharpen", source, tmp_path / "out.tif", "--scale", 3, "--tile", 6, "--json"))
    assert facts["output_shape"] == [6, 42, 51]
    assert (facts["scale"], facts["tiles"], facts["tile"]) == (3, 9, [6, 6])
    assert facts["degradation"] == "mtf:0.3"
    assert facts["dead_bands"] == [5]
    assert facts["output_bytes"] == 6 * 42 * 51 * 2
    assert facts["seconds"] > 0


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_dry_run_writes_nothing(source, tmp_path, capfd, flags):
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    options = ["--dtype", "int16", "--memory", "2GiB"]
    text = ran(capfd, "sharpen", source, tmp_path / "out.tif", "--scale", 4, "--dry-run", *options, *flags)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    if flags:
        assert json.loads(text)["output_shape"] == [6, 56, 68]
    else:
        for words in ("bands", "units", "scale", "PSF", "mtf:0.3 (default)", "tiles", "memory", "output"):
            assert words in text


def test_unknown_wavelengths_are_valid_json(tmp_path, capfd):
    """NaN is no JSON: a band without a wavelength must not bring it in."""
    cube = Cube(array_source(scene((3, 5, 5)).astype(np.float32)), Bands(3, np.array([400.0, np.nan, 600.0])))
    path = write_cube(cube, tmp_path / "in.h5")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    text = ran(capfd, "sharpen", path, tmp_path / "out.tif", "--scale", 2, "--json", "--dry-run", tiny=True)
    assert json.loads(text, parse_constant=refuse)["wavelength_nm"] == [400, 600]
    facts = json.loads(ran(capfd, "info", path, "--json"), parse_constant=refuse)
    assert facts["wavelength_nm"] == [400, None, 600]


def test_sharpen_some_bands_of_a_window(source, tmp_path, capfd):
    whole, part = tmp_path / "whole.tif", tmp_path / "part.tif"
    plain = ["--method", "bicubic", "--consistency", "off", "--dtype", "float32"]
    ran(capfd, "sharpen", source, whole, "--scale", 2, *plain)
    options = ["--bands", "3,1-2", "--window", "5,4,9,8", *plain]
    ran(capfd, "sharpen", source, part, "--scale", 2, *options)
    one, other = open_cube(whole), open_cube(part)
    np.testing.assert_array_equal(other.bands.wavelength_nm, one.bands.wavelength_nm[[2, 0, 1]])
    inside = np.s_[:, 4:-4, 4:-4]  # bicubic sees two LR pixels beyond the window only in the whole
    values = one.read([2, 0, 1], slice(8, 24), slice(10, 28))[0]
    np.testing.assert_allclose(other.read()[0][inside], values[inside], rtol=1e-6, equal_nan=True)
    assert other.grid.xy(0, 0) == one.grid.xy(8, 10)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float64", "int32"])
@pytest.mark.parametrize("ending", [".tif", ".img"])
def test_types(source, tmp_path, capfd, dtype, ending):
    exact, other = tmp_path / "exact.tif", tmp_path / f"out{ending}"
    ran(capfd, "sharpen", source, exact, "--scale", 2, "--dtype", "float64")
    ran(capfd, "sharpen", source, other, "--scale", 2, "--dtype", dtype)
    one, two = open_cube(exact), open_cube(other)
    assert two.storage.dtype == dtype
    values, valid = one.read()
    got, mask = two.read()
    np.testing.assert_array_equal(mask, valid)
    step = np.broadcast_to(two.storage.scale, 6)[:, None, None] if two.storage.is_scaled else 0.0
    assert np.nanmax(np.abs(got - values) - 0.51 * step) < 1e-6
    assert two.bands == one.bands
    assert (two.quantity, two.grid.affine) == (one.quantity, one.grid.affine)


@pytest.mark.parametrize("compress", ["deflate", "zstd"])
@pytest.mark.parametrize("cog", [False, True])
def test_compressed_and_cog(source, tmp_path, capfd, compress, cog):
    plain, packed = tmp_path / "plain.tif", tmp_path / "packed.tif"
    ran(capfd, "sharpen", source, plain, "--scale", 2)
    ran(capfd, "sharpen", source, packed, "--scale", 2, "--compress", compress, *["--cog"] * cog)
    one, other = open_cube(plain), open_cube(packed)
    np.testing.assert_array_equal(one.read()[0], other.read()[0])
    assert other.bands == one.bands
    assert (other.quantity, other.grid, other.attrs, other.history) == (one.quantity, one.grid, one.attrs, one.history)
    with rasterio.open(packed) as file:
        structure = file.tags(ns="IMAGE_STRUCTURE")
        assert structure["COMPRESSION"].lower() == compress
        assert (structure.get("LAYOUT") == "COG") == cog


def test_nodata_by_option(source, tmp_path, capfd):
    ran(capfd, "sharpen", source, tmp_path / "none.tif", "--scale", 2, "--nodata", "none")
    assert open_cube(tmp_path / "none.tif").read()[1].all()
    ran(capfd, "sharpen", source, tmp_path / "77.tif", "--scale", 2, "--nodata", "77")
    valid = open_cube(tmp_path / "77.tif").read()[1]
    assert not valid[4].any()
    assert valid[0].all()


def test_what_the_user_says_of_a_bare_array(tmp_path, capfd):
    values = scene((3, 6, 7)).astype(np.float32)
    np.save(tmp_path / "in.npy", values.transpose(1, 0, 2))
    (tmp_path / "bands.txt").write_text("450 10\n550 11\n650 12\n")
    options = ["--axes", "hcw", "--wavelengths", tmp_path / "bands.txt", "--quantity", "radiance"]
    ran(
        capfd,
        "sharpen",
        tmp_path / "in.npy",
        tmp_path / "out.h5",
        "--scale",
        2,
        "--method",
        "bicubic",
        "--consistency",
        "off",
        *options,
    )
    made = open_cube(tmp_path / "out.h5")
    assert made.shape == (3, 12, 14)
    assert made.quantity == "radiance"
    np.testing.assert_array_equal(made.bands.wavelength_nm, [450, 550, 650])
    np.testing.assert_array_equal(made.bands.fwhm_nm, [10, 11, 12])
    assert np.corrcoef(made.read()[0][:, ::2, ::2].ravel(), values.ravel())[0, 1] > 0.9


def test_datasets_by_name(tmp_path, capfd):
    for name in ("one", "other"):
        numbers = np.full((3, 4, 5), 7 if name == "one" else 9, np.int16)
        numbers[0, 0, 0] = 1
        np.savez(tmp_path / f"{name}.npz", **{name: numbers.transpose(1, 2, 0), "flat": numbers[0]})
    ran(capfd, "convert", tmp_path / "other.npz", tmp_path / "out.h5", "--dataset", "other")
    assert json.loads(ran(capfd, "info", tmp_path / "out.h5", "--json"))["maximum"] == 9


def test_a_network_from_the_command_line(tmp_path, capfd):
    model = save_network(
        tmp_path / "n.onnx", scale=2, bands=2, card={"model": "nearest", "scale": 2, "bands": 2, "halo": 0}
    )
    values = scene((2, 5, 6)).astype(np.float32)
    write_cube(Cube.from_array(values), tmp_path / "in.h5")
    options = ["--model", model, "--consistency", "off", "--threads", 1]
    text = ran(capfd, "sharpen", tmp_path / "in.h5", tmp_path / "out.h5", "--scale", 2, *options)
    assert text
    made = open_cube(tmp_path / "out.h5")
    np.testing.assert_allclose(made.read()[0], values.repeat(2, axis=1).repeat(2, axis=2), rtol=1e-5)
    assert "nearest (weights" in made.history[-1]


def test_overwrite(source, tmp_path, capfd):
    out = tmp_path / "out.tif"
    out.write_text("somebody's")
    assert run(["sharpen", str(source), str(out), "--scale", "2"]) == 1
    assert "exists" in capfd.readouterr().err
    assert out.read_text() == "somebody's"
    ran(capfd, "sharpen", source, out, "--scale", 2, "--overwrite")
    assert open_cube(out).shape == (6, 28, 34)


# ---- convert and the rest --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".tif", ".img", ".h5", ".npz"])
def test_convert_keeps_everything(source, tmp_path, capfd, ending):
    ran(capfd, "convert", source, tmp_path / f"out{ending}")
    one, other = open_cube(source), open_cube(tmp_path / f"out{ending}")
    whole = (slice(None),) * 3
    assert other.values.fetch(*whole).tobytes() == one.values.fetch(*whole).tobytes()
    assert other.bands == one.bands
    assert other.storage.nodata == -9999
    assert other.history[:-1] == one.history
    assert "convert" in other.history[-1]


def test_convert_a_part(source, tmp_path, capfd):
    facts = json.loads(
        ran(capfd, "convert", source, tmp_path / "o.tif", "--bands", "2,6", "--window", "1,2,3,4", "--json")
    )
    assert facts["shape"] == [2, 4, 3]
    assert "bands 2,6; window 1,2,3,4" in open_cube(tmp_path / "o.tif").history[-1]


def test_doctor(capfd):
    text = ran(capfd, "doctor")
    assert __version__ in text
    facts = json.loads(ran(capfd, "doctor", "--json"))
    assert facts["tiers"]["core"]["complete"] is True
    assert facts["tiers"]["core"]["packages"]["numpy"] == np.__version__


def test_version_and_help(capfd):
    assert ran(capfd, "--version").strip() == __version__
    for arguments in ([], ["--help"], ["sharpen", "--help"]):
        assert "Usage: hypersharp" in ran(capfd, *arguments)


def test_as_a_module(source, tmp_path):
    """`python -m hypersharp` is `hypersharp`."""
    command = [sys.executable, "-m", "hypersharp", "sharpen", str(source), str(tmp_path / "out.tif"), "--scale", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert open_cube(tmp_path / "out.tif").shape == (6, 28, 34)


def test_a_terminal_sees_progress(source, tmp_path):
    """And a pipe does not."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "hypersharp", "sharpen", str(source), str(tmp_path / "out.tif"), "--scale", "2"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, env=os.environ | {"TERM": "xterm"})
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(leader)
    running.communicate()
    assert running.returncode == 0
    assert b"sharpening" in shown
