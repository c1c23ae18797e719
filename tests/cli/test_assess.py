"""`hypersharp assess` from files: what it prints and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

from hypersharp.cli import run
from hypersharp.cube import Bands, Cube, Grid
from hypersharp.io import write_cube

NM = np.linspace(450, 950, 12)


def hr_values(rows=104, cols=100, seed=0):
    rng = np.random.default_rng(seed)
    maps = ndimage.gaussian_filter(rng.normal(size=(4, rows, cols)), (0, 1.2, 1.2))
    mixed = np.tensordot(rng.uniform(0, 1, (12, 4)), maps / maps.std(axis=(1, 2), keepdims=True), 1)
    return (mixed * 400 + 3000 + rng.normal(size=mixed.shape) * 5).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An HR scene, the LR cube and MSI simulated from it, and the LR cube sharpened."""
    folder = tmp_path_factory.mktemp("assess")
    grid = Grid((104, 100), (10.0, 0, 600_000, 0, -10.0, 5_800_000))
    write_cube(Cube.from_array(hr_values(), bands=Bands(12, wavelength_nm=NM), grid=grid), folder / "hr.tif")
    names = {name: str(folder / f"{name}.tif") for name in ("hr", "lr", "msi", "sr", "part")}
    psf, plain = ["--degradation", "gaussian:sigma=1.1"], ["--method", "bicubic"]
    srf = ["--msi", names["msi"], "--srf", "gaussian:500/60,650/60,850/90"]
    assert run(["simulate", names["hr"], names["lr"], "--scale", "2", *psf, *srf, "--noise-snr-db", "40"]) == 0
    assert run(["sharpen", names["lr"], names["sr"], "--scale", "2", *psf, *plain]) == 0
    part = ["--window", "1,2,49,50", "--bands", "2-12"]
    assert run(["sharpen", names["lr"], names["part"], "--scale", "2", *psf, *plain, *part]) == 0
    return names


def said(capsys, *arguments):
    capsys.readouterr()
    assert run(["assess", *arguments]) == 0
    return capsys.readouterr().out


def test_text_names_the_psf_the_figures_and_how_they_are_fooled(files, capsys):
    text = said(capsys, files["lr"], files["sr"], "--msi", files["msi"])
    assert "scale 2; PSF gaussian:sigma=1.1: Gaussian" in text
    assert "(SR's history)" in text
    assert "times the noise of LR" in text
    assert "D_lambda" in text
    assert "66 of 66 band pairs, 12 bands, Q over 8 x 8 LR pixels, Q2n over blocks of 32" in text
    assert "reduced test of bicubic, consistency noise" in text
    assert "indication: better than bicubic" in text
    assert "90 % interval" in text
    assert "input 26 x 25 pixels, 12 bands (0 left out)" in text
    assert text.count("fooled: ") == 5


def test_json_is_one_object_with_the_same_numbers(files, capsys):
    found = json.loads(said(capsys, files["lr"], files["sr"], "--msi", files["msi"], "--json"))
    assert set(found) == {
        "scale",
        "degradation",
        "consistency",
        "with_msi",
        "reduced_test",
        "notes",
        "caveats",
    }
    assert found["scale"] == 2
    assert len(found["consistency"]["rmse_of_band"]) == 12
    assert found["consistency"]["rmse_over_noise"] == pytest.approx(1, abs=0.3)
    assert 0 < found["with_msi"]["rqnr"] <= 1
    low, high = found["reduced_test"]["interval_db"]
    assert low < found["reduced_test"]["gain_db"] < high
    assert found["reduced_test"]["sign"] == "better"
    without = json.loads(said(capsys, files["lr"], files["sr"], "--json"))
    assert without["with_msi"] is None
    assert set(without["caveats"]) == {"consistency", "reduced test"}


def test_a_part_of_lr_is_judged_as_it_was_sharpened(files, capsys):
    text = said(capsys, files["lr"], files["part"], "--window", "1,2,49,50", "--bands", "2-12")
    assert "11 bands" in text


def test_an_estimate_is_called_so(files, capsys):
    text = said(capsys, files["lr"], files["sr"], "--msi", files["msi"], "--degradation", "estimate")
    assert "PSF an estimate: gaussian:sigma=1." in text
    assert "estimate from cube and MSI, residual 0.0" in text


def test_sharpen_says_that_its_psf_is_an_estimate(data_dir, tmp_path, capsys):
    import h5py

    with h5py.File(data_dir / "scenes" / "aviris_abu_airport_4.h5") as file:
        values = np.moveaxis(file["cube"][:], -1, 0)[::6]
    lr = str(write_cube(Cube.from_array(values), tmp_path / "lr.tif"))
    assert run(["sharpen", lr, str(tmp_path / "sr.tif"), "--scale", "2", "--degradation", "estimate"]) == 0
    assert "(estimate, 90 % interval of sigma " in capsys.readouterr().out
    found = json.loads(said(capsys, lr, str(tmp_path / "sr.tif"), "--json"))
    assert found["degradation"]["from"] == "SR's history"


def refused(capsys, *arguments):
    capsys.readouterr()
    status = run(["assess", *arguments])
    error = capsys.readouterr().err
    assert error.startswith("hypersharp: error: ")
    assert error.count("\n") == 1
    return status, error


def test_bad_input_is_one_line_with_both_sides(files, capsys):
    cases = {
        (files["lr"], files["lr"]): "LR 52 x 50 and SR 52 x 50",
        (files["sr"], files["lr"]): "LR 104 x 100 and SR 52 x 50",
        (files["lr"], files["part"]): "LR 52 x 50 and SR 100 x 98",
        (files["lr"], files["part"], "--window", "1,2,49,50"): "12 bands x 50 rows",
        (files["lr"], files["sr"], "--scale", "3"): "scale 3 does not fit the shapes, which say 2",
        (files["lr"], files["sr"], "--scale", "2.5"): "scale must be a whole number from 2 to 8, got 2.5",
        (files["lr"], files["sr"], "--degradation", "mtf:2"): "MTF gain must lie between 0 and 1, got 2",
        (files["lr"], files["sr"], "--msi", files["lr"]): "MSI of SR's 104 x 100 pixels, got 52 x 50",
        (files["lr"], files["sr"], "--method", "bicubik"): "bicubik",
    }
    for arguments, message in cases.items():
        status, error = refused(capsys, *arguments)
        assert status == 2, error
        assert message in error
    assert refused(capsys, files["lr"], files["sr"] + "x")[0] == 1
    assert refused(capsys, files["lr"])[0] == 2


def test_an_estimate_that_is_not_identifiable_is_refused(files, capsys):
    arguments = (files["lr"], files["part"], "--window", "1,2,49,50", "--bands", "2-12", "--degradation", "estimate")
    status, error = refused(capsys, *arguments)
    assert status == 2
    assert "not identifiable" in error
    assert "state the PSF" in error


def test_a_file_made_by_the_shipped_network_is_judged_without_being_told_of_it(files, tmp_path, capsys):
    sr = str(tmp_path / "sr.tif")
    assert run(["sharpen", files["lr"], sr, "--scale", "2", "--degradation", "gaussian:sigma=1.1"]) == 0
    assert "reduced test of lean" in said(capsys, files["lr"], sr)
