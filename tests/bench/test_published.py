"""The check of the published bicubic rows, on a small scene of the same layout."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hypersharp
from hypersharp.bench.published import IMAGES, TOLERANCE, Images, check
from hypersharp.cli import run
from hypersharp.data.catalogue import DATASETS
from hypersharp.errors import FileFormatError, UsageError
from hypersharp.train.domain import METRICS

SIDE = 32


@pytest.fixture
def scene(tmp_path):
    """Two test images beside each other, and below them the scene's maximum, which divides all."""
    draw = np.random.default_rng(0)
    values = np.kron(draw.uniform(100, 900, (4, 10, 18)), np.ones((1, 4, 4))).astype(np.float32)
    values[1, 38, 3] = 2000
    hypersharp.write(hypersharp.Cube.from_array(values), tmp_path / "scene.h5")
    return tmp_path / "scene.h5", values


def test_an_image_is_degraded_alone_and_scores_are_averaged(scene, tmp_path, capsys):
    """Each image through the commands that users have: simulate, sharpen and evaluate with the scene's maximum."""
    path, values = scene
    expected = []
    for at in (0, 1):
        name = str(tmp_path / f"image{at}.h5")
        image = values[:, :SIDE, at * SIDE : (at + 1) * SIDE].copy() / 2000
        hypersharp.write(hypersharp.Cube.from_array(image), name)
        lr, sr = str(tmp_path / f"lr{at}.h5"), str(tmp_path / f"sr{at}.h5")
        assert run(["simulate", name, lr, "--scale", "4", "--degradation", "bicubic"]) == 0
        assert run(["sharpen", lr, sr, "--scale", "4", "--method", "bicubic", "--consistency", "off"]) == 0
        read, mine = hypersharp.open(sr).read()[0], image.astype(float)
        mse = np.square(read - mine).mean(axis=(1, 2))
        expected.append((10 * np.log10(1 / mse)).mean())
    images = {"chikusei": Images(SIDE, 1, 2, {4: (np.mean(expected), 0, 0, 0, 0, 0)})}
    (row,) = check("chikusei", path, images=images)
    assert row.ours["mpsnr_db"] == pytest.approx(np.mean(expected), abs=1e-4)
    assert row.apart == ["mssim", "sam_deg", "cc", "rmse", "ergas"]
    assert "mpsnr_db" in row.line()
    right = {"chikusei": Images(SIDE, 1, 2, {4: tuple(row.ours[name] for name in METRICS)})}
    assert check("chikusei", path, images=right)[0].agrees
    assert row.line().startswith("chikusei x4 bicubic, ours (published): mpsnr_db ")


def test_the_rows_are_for_every_public_scene_and_its_test_images_fit():
    assert set(IMAGES) == set(DATASETS)
    assert set(TOLERANCE) == set(METRICS)
    sizes = {"chikusei": (2304, 2048), "houston2018": (4172, 1202), "pavia": (1096, 715)}
    for name, (height, width) in sizes.items():
        test = IMAGES[name]
        assert test.side * test.down <= height
        assert test.side * test.across <= width
        assert set(test.rows) == {4, 8}


def test_what_is_absent_or_too_small_is_refused_in_one_line(scene, tmp_path, capsys):
    path, _ = scene
    with pytest.raises(
        FileFormatError, match=r"not found; get Pavia Centre .* from https.*hypersharp data prepare pavia"
    ):
        check("pavia", tmp_path / "none.h5")
    with pytest.raises(UsageError, match=r"expected at least 224 x 672 pixels .* got 40 x 72"):
        check("pavia", path)
    with pytest.raises(UsageError, match="got 'paiva'; did you mean 'pavia'"):
        check("paiva", path)
    assert run(["bench", "--published", f"pavia={tmp_path / 'none.h5'}"]) == 1
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "hypersharp data prepare pavia" in shown.err


def test_the_command_says_by_its_status_whether_they_agree(scene, monkeypatch, capsys):
    path, _ = scene
    monkeypatch.setitem(IMAGES, "pavia", Images(SIDE, 1, 2, {4: (1, 1, 1, 1, 1, 1)}))
    assert run(["bench", "--published", f"pavia={path}", "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["data_set"], row["scale"], row["agrees"]) == ("pavia", 4, False)
