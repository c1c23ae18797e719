"""Two georeferenced images in, one fused cube out: in the right place, with the right words about it."""

from __future__ import annotations

import html
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

import hypersharp
from hypersharp import fusing
from hypersharp.cube import Bands, Cube
from hypersharp.errors import MissingExtraError, UsageError, WriteError
from hypersharp.fusing import prepare_fusion
from hypersharp.fusion.auto import CANDIDATES
from hypersharp.fusion.methods import get_fusion_method
from hypersharp.fusion.report import write_report

from .fusion.cubes import cubes_of, elsewhere, moved
from .fusion.made import jasper, mpsnr_db, synthetic


@pytest.fixture(scope="module")
def pair():
    return synthetic(scale=3, sigma=1.3, shape_lr=(36, 40), noise_db=40, msi_noise_db=45)


@pytest.fixture(scope="module")
def cubes(pair):
    return cubes_of(pair)


def test_file_to_file(pair, cubes, tmp_path):
    for cube, name in zip(cubes, ("lr.tif", "msi.img"), strict=True):
        hypersharp.write(cube, tmp_path / name)
    report = tmp_path / "report.json"
    files = [tmp_path / name for name in ("lr.tif", "msi.img")]
    out = hypersharp.fuse(*files, output=tmp_path / "out.tif", method="glp", report=report)
    assert out == tmp_path / "out.tif"
    assert json.loads(report.read_text())["method"] == "glp"
    found, lr = hypersharp.open(out), cubes[0]
    assert found.shape == (20, 108, 120)
    assert found.grid == lr.grid.zoom(3)
    np.testing.assert_array_equal(found.bands.wavelength_nm, lr.bands.wavelength_nm)
    assert found.quantity == "reflectance"
    assert "method glp (asked for)" in found.history[-1]
    assert "msi.img" in found.history[-1]
    assert "shift" in found.history[-1]
    exp = prepare_fusion(*cubes, method="exp").cube.read()[0]
    assert mpsnr_db(pair.hr, found.read()[0]) > mpsnr_db(pair.hr, exp) + 6


def test_the_result_in_hand_is_lazy_and_answers_in_kind(cubes, monkeypatch):
    read = []
    spec = get_fusion_method("glp")

    def fit(windows, calibration):
        inner = spec.fit(windows, calibration)

        def fuse(window):
            read.append(window.lr.shape[1:])
            return inner(window)

        return fuse

    monkeypatch.setattr(fusing, "get_fusion_method", lambda name: replace(spec, fit=fit))
    made = hypersharp.fuse(*cubes, method="glp", tiling=hypersharp.Tiling(tile=12))
    assert isinstance(made, Cube)
    read.clear()  # what the report's consistency needed
    made.read(rows=slice(0, 4), cols=slice(0, 4))
    assert len(read) == 1
    xarray = pytest.importorskip("xarray")
    array = hypersharp.fuse(cubes[0].to_xarray(), cubes[1], method="exp")
    assert isinstance(array, xarray.DataArray)


def test_auto_says_what_it_chose_and_why(cubes):
    ready = prepare_fusion(*cubes)
    choice = ready.report["choice"]
    assert set(choice["methods"].values()) <= {"glp", "fuse", "hysure"}
    assert set(choice["reduced_test"]["gain_db_over_enlarged"]) == set(CANDIDATES)
    assert choice["reason"] in ready.cube.history[-1]
    assert ready.report["consistency"]["cube"]["rmse_over_noise"] < 3
    assert max(ready.report["consistency"]["msi"]["rmse_over_spread_of_band"]) < 0.1
    json.dumps(ready.report)


def test_auto_fuses_where_no_pixel_is_left_one_scale_down(pair):
    """Every band with a dead column of its own: one scale down their shadows meet everywhere."""
    values = pair.window.lr.copy()
    for band, plane in enumerate(values):
        plane[:, 2 * band] = np.nan
    ready = prepare_fusion(*cubes_of(replace(pair, window=replace(pair.window, lr=values))))
    assert "too small or too noisy" in ready.report["choice"]["reason"]
    got, valid = ready.cube.read(rows=slice(0, 12), cols=slice(0, 12))
    assert valid.any()
    assert np.isfinite(got[valid]).all()


class TestReport:
    """JSON for programs, a page for people: the same facts."""

    def test_a_page_has_the_facts_of_the_json(self, cubes, tmp_path):
        pytest.importorskip("matplotlib")
        page, plain = tmp_path / "report.html", tmp_path / "report.json"
        for report in (page, plain):
            hypersharp.fuse(*cubes, method="glp", report=report)
        text, facts = page.read_text(encoding="utf-8"), json.loads(plain.read_text())
        (held,) = re.findall("<pre>(.*)</pre>", text, flags=re.DOTALL)
        assert json.loads(html.unescape(held)) == facts
        assert text.count("data:image/png;base64,") == 2
        assert facts["cube"] is None  # it has no file
        assert facts["history"] == prepare_fusion(*cubes, method="glp").cube.history[-1]
        assert facts["fused_wavelength_nm"] == list(cubes[0].bands.wavelength_nm)
        assert sorted(tmp_path.iterdir()) == [page, plain]

    def test_what_cannot_be_written_is_refused_before_any_work(self, cubes, tmp_path, monkeypatch):
        def work(*_, **__):
            raise AssertionError("nothing was to be done")

        monkeypatch.setattr(fusing, "prepare_fusion", work)
        (tmp_path / "old.html").touch()
        for name, error, said in (
            ("report.htm", UsageError, r"writes a \.json or \.html file, got 'report\.htm'"),
            ("no/report.html", WriteError, "expected an existing folder"),
            ("old.html", WriteError, "exists; say overwrite"),
        ):
            with pytest.raises(error, match=said):
                hypersharp.fuse(*cubes, report=tmp_path / name)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(MissingExtraError, match=r"^a report with pictures needs .*'hypersharp\[figures\]'$"):
            hypersharp.fuse(*cubes, report=tmp_path / "report.html")
        with pytest.raises(AssertionError):  # JSON needs none
            hypersharp.fuse(*cubes, report=tmp_path / "report.json")

    @pytest.mark.parametrize("name", ["report.json", "report.html"])
    def test_one_that_fails_late_names_the_cube_that_stays(self, name, tmp_path):
        (tmp_path / name).mkdir()
        with pytest.raises(WriteError, match=rf"^{name}: the report cannot be written \(.+\); out\.tif is written$"):
            write_report(tmp_path / name, {"output": "out.tif"}, page=lambda: "<html></html>")
        assert [path.name for path in tmp_path.iterdir()] == [name]


class TestPlace:
    """The MSI of another file, grid and CRS."""

    def test_another_zone(self, pair, cubes):
        lr, msi = cubes
        ready = prepare_fusion(lr, elsewhere(msi, 32632, gsd=10.0), method="glp")
        assert ready.cube.grid == lr.grid.zoom(3)
        assert ready.nested.resampling == "cubic"
        assert any("do not nest" in note for note in ready.notes)
        assert "MSI resampled (cubic)" in ready.cube.history[-1]
        inner = np.s_[:, 6:-6, 6:-6]
        values, valid = ready.cube.read()
        assert valid.all()
        # two resamplings have cost the MSI its sharpest edges; a pixel's misplacement would cost all of the gain
        enlarged = mpsnr_db(pair.hr[inner], prepare_fusion(lr, msi, method="exp").cube.read()[0][inner])
        assert mpsnr_db(pair.hr[inner], values[inner]) > enlarged + 8

    def test_georeferencing_that_is_off_is_found_out(self, pair, cubes):
        """The MSI's file says 40 m too far east and 20 m too far south: 4 and 2 HR pixels."""
        lr, msi = cubes
        ready = prepare_fusion(lr, moved(msi, right=40.0, down=20.0), method="glp")
        np.testing.assert_allclose(ready.calibrated.calibration.shift_yx, (2, 4), atol=0.1)
        values, valid = ready.cube.read()
        assert valid.all()
        # the result lies where the MSI says: what the truth shows is seen there 2 rows and 4 columns further on
        # of the result, which begins with LR column 1: the MSI's extent begins inside of it
        assert ready.nested.cols == (1, 40)
        assert mpsnr_db(pair.hr[:, 9:93, 9:105], values[:, 11:95, 10:106]) > 30
        assert any("HR pixels apart" in note for note in ready.notes)

    def test_an_edge_taken_for_a_centre_is_said_and_measured(self, cubes):
        """The MSI's file is half an HR pixel off along both sides; the pair itself says so."""
        lr, msi = cubes
        ready = prepare_fusion(lr, moved(msi, right=5.0, down=5.0), method="glp")
        assert any("half an HR pixel apart" in note for note in ready.notes)
        assert any("calibration finds +0.5" in note for note in ready.notes)
        np.testing.assert_allclose(ready.calibrated.calibration.shift_yx, 0.5, atol=0.05)

    def test_a_part_only(self, cubes):
        lr, msi = cubes
        part = Cube(msi.values, msi.bands, msi.grid).crop(slice(9, 108), slice(0, 78))
        ready = prepare_fusion(lr, part, method="exp")
        assert (ready.report["cube_rows"], ready.report["cube_cols"]) == ([3, 36], [0, 26])
        assert ready.cube.grid == lr.grid.crop(slice(3, 36), slice(0, 26)).zoom(3)

    def test_aligned_because_it_is_said(self, cubes):
        lr, msi = (Cube(cube.values, cube.bands) for cube in cubes)
        ready = prepare_fusion(lr, msi, method="exp", assume_aligned=True)
        assert ready.cube.grid is None
        assert ready.cube.shape == (20, 108, 120)


class TestMissing:
    def test_flags_and_no_hole(self, cubes):
        lr, msi = cubes
        values = msi.read()[0]
        values[:, 40:60, 50:71] = np.nan
        ready = prepare_fusion(lr, Cube.from_array(values, grid=msi.grid), method="glp")
        assert ready.cube.read()[1].all()
        used, _ = ready.coverage.read()
        assert used[0, 37:63, 47:74].max() == 0
        assert used.mean() == pytest.approx(1 - 26 * 27 / used.size)
        assert ready.coverage.grid == ready.cube.grid

    def test_dead_and_bad_bands_are_named(self, cubes):
        lr, msi = cubes
        values = lr.read()[0]
        values[7] = 0
        bands = Bands(20, lr.bands.wavelength_nm, good=np.arange(20) != 2)
        ready = prepare_fusion(Cube.from_array(values, bands=bands, grid=lr.grid), msi, method="glp")
        assert ready.report["bands_enlarged_only"] == [3, 8]
        assert "bands only enlarged: 3, 8" in ready.cube.history[-1]
        np.testing.assert_allclose(ready.cube.read([7])[0], 0, atol=1e-6)


class TestSpectrum:
    def test_bands_that_the_msi_does_not_see_are_flagged(self, cubes):
        ready = prepare_fusion(*cubes, method="glp", srf="gaussian:650/150,1150/150,1650/150,1900/150")
        beyond = ready.report["bands_extrapolated"]
        assert {1, 20} <= set(beyond)
        assert not {3, 13} & set(beyond)
        assert "bands extrapolated: 1" in ready.cube.history[-1]
        assert [zone.name for zone in ready.choice.zones] == [
            "VNIR seen",
            "VNIR extrapolated",
            "SWIR seen",
            "SWIR extrapolated",
        ]

    def test_without_wavelengths_nothing_is(self, pair):
        ready = prepare_fusion(*cubes_of(pair, wavelengths=False), method="glp")
        assert ready.report["bands_extrapolated"] == []
        assert "not known" in ready.report["calibration"]["response_from"]
        assert [zone.name for zone in ready.choice.zones] == ["all bands"]

    def test_a_panchromatic_image(self, pair, cubes):
        lr, msi = cubes
        one = Cube.from_array(msi.read()[0].mean(axis=0, keepdims=True), grid=msi.grid)
        ready = prepare_fusion(lr, one)
        exp = mpsnr_db(pair.hr, prepare_fusion(lr, one, method="exp").cube.read()[0])
        assert mpsnr_db(pair.hr, ready.cube.read()[0]) > exp + 0.5
        assert ready.report["msi_bands"] == 1


class TestStatedBlur:
    def test_auto_overrules_what_the_pair_contradicts_and_says_so(self, cubes):
        ready = prepare_fusion(*cubes, degradation="gaussian:sigma=2.4")
        assert ready.calibrated.psf_from == "estimate"
        assert any("gaussian:sigma=2.4" in note and "auto takes the latter" in note for note in ready.notes)

    def test_a_named_method_takes_it_as_stated(self, cubes):
        ready = prepare_fusion(*cubes, method="glp", degradation="gaussian:sigma=2.4")
        assert (str(ready.calibrated.calibration.psf), ready.calibrated.psf_from) == ("gaussian:sigma=2.4", "stated")
        assert any("taken as stated" in note for note in ready.notes)

    def test_one_that_fits_is_taken(self, cubes):
        ready = prepare_fusion(*cubes, degradation="gaussian:sigma=1.4")
        assert ready.calibrated.psf_from == "stated"


def test_unknown_names_are_refused_before_any_work(cubes):
    with pytest.raises(UsageError, match="'gpl'; did you mean 'glp'"):
        prepare_fusion(*cubes, method="gpl")
    with pytest.raises(UsageError, match="'nothing'"):
        prepare_fusion(*cubes, candidates=("glp", "nothing"))


def test_tile_size_does_not_matter(cubes):
    once = prepare_fusion(*cubes, method="fuse").cube.read()[0]
    tiled = prepare_fusion(*cubes, method="fuse", tiling=hypersharp.Tiling(tile=9)).cube.read()[0]
    assert np.abs(tiled - once).max() < 1e-3 * np.ptp(once, axis=(1, 2)).max()


def test_on_a_real_scene_the_blind_chain_is_as_good_as_knowing(data_dir):
    """What is estimated instead of known costs less than 0.3 dB, also where the two are half a pixel apart."""
    for shift in ((0.0, 0.0), (0.6, -0.4)):
        pair = jasper(data_dir, shift=shift)
        oracle = get_fusion_method("fuse").fit([pair.window], pair.calibration)(pair.window)
        blind = prepare_fusion(*cubes_of(pair), method="fuse").cube.read()[0]
        assert mpsnr_db(pair.hr, blind) > mpsnr_db(pair.hr, oracle) - 0.3
