"""`make demo` as it is run, in a folder of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
import rasterio
from matplotlib.image import imread

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    for name in ("indian_pines.img", "indian_pines.hdr", "indian_pines_x2.tif", "indian_pines_x2.png"):
        (folder / name).write_text("of an earlier run, to be replaced")
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "demo.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": ""})  # no DISPLAY
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_geotiff_has_every_band_in_its_place(demo):
    folder, _ = demo
    with rasterio.open(folder / "indian_pines_x2.tif") as file:
        assert (file.count, file.height, file.width) == (200, 290, 290)
        assert file.crs.to_epsg() == 32616
        assert file.res == (10.0, 10.0)
        assert (file.bounds.left, file.bounds.top) == (496_800.0, 4_478_000.0)
        assert [float(file.tags(band)["wavelength"]) for band in (1, 31, 32, 200)] == [400.02, 696.5, 686.91, 2489.11]
        assert (file.scales[0], file.offsets[0]) == (0.002, -2.0)
        sharp = file.read(100)
    with rasterio.open(folder / "indian_pines.img") as file:
        assert abs(sharp.mean() / file.read(100).mean() - 1) < 0.002
        assert "Synthetic grid" in (folder / "indian_pines.hdr").read_text()


def test_the_picture_is_wide_enough_and_not_empty(demo):
    picture = imread(demo[0] / "indian_pines_x2.png")
    assert picture.shape[1] >= 600
    assert picture[..., :3].std() > 0.1


def test_the_scores_are_printed_and_say_that_it_gained(demo):
    folder, printed = demo
    rows = {
        line[:24].strip(): [float(x) for x in line[24:].split()]
        for line in printed.splitlines()
        if line[:24].strip() in ("bicubic", "bicubic + consistency", "hypersharp")
    }
    (psnr, ssim, sam, ergas), (psnr_2, ssim_2, sam_2, ergas_2) = rows["bicubic"], rows["bicubic + consistency"]
    assert psnr_2 > psnr + 1.5
    assert ssim_2 > ssim
    assert sam_2 < sam
    assert ergas_2 < ergas
    assert rows["hypersharp"][0] > psnr_2 + 0.4
    assert rows["hypersharp"][2] < sam_2
    assert (folder / "scores.txt").read_text().strip() in printed


def test_it_says_where_things_are(demo):
    folder, printed = demo
    for name in ("indian_pines.img", "indian_pines_x2.tif", "indian_pines_x2.png", "scores.txt"):
        assert (folder / name).stat().st_size > 0
        assert str(folder / name) in printed
