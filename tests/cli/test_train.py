"""`hypersharp train` and `hypersharp distill` from recipe to table."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import hypersharp
from hypersharp.cli import run

RECIPE = """
[model]
name = "lkca_net"
config = {{ features = 8, blocks = 1, reduction = 4 }}
[data]
root = "{root}"
train = ["a"]
block = {{ side = "left", size = 16, gap = 2 }}
scale = 2
patch = 8
per_epoch = 8
[train]
epochs = 1
batch = 4
device = "cpu"
"""


@pytest.fixture
def recipe(tmp_path):
    torch.set_num_threads(1)
    values = np.random.default_rng(0).uniform(10, 90, (4, 24, 48)).astype(np.float32)
    hypersharp.write(hypersharp.Cube.from_array(values), tmp_path / "a.h5")
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(root=tmp_path))
    return path


def test_train_then_distil_then_sharpen(recipe, tmp_path, capsys):
    out = tmp_path / "teacher"
    assert run(["train", str(recipe), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "best.safetensors: 2 steps in" in shown
    rows = [line.split("  ")[0] for line in shown.splitlines()[3:]]
    assert rows == ["bicubic", "bicubic + consistency", "lkca_net", "lkca_net + consistency"]

    teacher, student = str(out / "best.safetensors"), str(tmp_path / "student")
    arguments = ["distill", str(recipe), "--teacher", teacher, "--out", student, "--precision", "bf16-mixed", "--json"]
    assert run([*arguments, "--set", "train.epochs=2", "--device", "cpu"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["steps"] == 4
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert config["objective"]["teacher"] == teacher
    assert config["train"]["precision"] == "bf16-mixed"

    sharp = str(tmp_path / "sharp.h5")
    assert run(["sharpen", str(tmp_path / "a.h5"), sharp, "--scale", "2", "--model", said["best"]]) == 0
    assert hypersharp.open(sharp).shape == (4, 48, 96)


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ("train.epoch=2", 2, "did you mean 'epochs'"),
        ("data.train=['b']", 1, "no scene 'b'"),
        ("data.patch=40", 2, "less than a patch of 40"),
        ("objective.kind=distilled", 2, "hypersharp distill RECIPE --teacher CHECKPOINT"),
    ],
)
def test_one_line_for_what_is_wrong(recipe, tmp_path, capsys, change, status, said):
    assert run(["train", str(recipe), "--out", str(tmp_path / "run"), "--set", change]) == status
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_a_recipe_that_is_not_there(tmp_path, capsys):
    assert run(["train", str(tmp_path / "none.toml")]) == 1
    assert "cannot be read" in capsys.readouterr().err
