"""`hypersharp train` and `hypersharp distill` from recipe to table."""

from __future__ import annotations

import json
import math
import os
import pickle
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import hypersharp
from hypersharp import models
from hypersharp.cli import run
from hypersharp.models import lkca
from hypersharp.models._card import Card, config_to_dict
from hypersharp.train.checkpoint import save_checkpoint
from hypersharp.train.domain import METRICS, Held

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
        ("train.epoch=2", 2, "unknown key 'train.epoch'; did you mean 'epochs'"),
        ("train.epochs=many", 2, "train.epochs: Input should be a valid integer"),
        ("train.minutes=-1", 2, "train.minutes: Input should be greater than or equal to 0, got -1"),
        ("data.train=['b']", 1, "no scene 'b'"),
        ("data.root=/nowhere/at/all", 1, "expected a folder of scenes, got '/nowhere/at/all'"),
        ("data.patch=40", 2, "less than a patch of 40"),
        ("objective.kind=distilled", 2, "hypersharp distill RECIPE --teacher CHECKPOINT"),
        ("model.config.blocks=[]", 2, "model lkca_net: blocks"),
    ],
)
def test_one_line_for_what_is_wrong(recipe, tmp_path, capsys, change, status, said):
    assert run(["train", str(recipe), "--out", str(tmp_path / "run"), "--set", change]) == status
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


@pytest.fixture
def checkpoints(tmp_path):
    """Good and bad checkpoints by name; `touched` is what the code in the foreign ones would make."""

    class Touch:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "touched"),)

    config = lkca.Config(features=8, blocks=1, reduction=4)
    plain = json.loads(json.dumps(config_to_dict(config)))
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name, bands, scale in (("good", 4, 2), ("bands", 5, 2), ("scale", 4, 4)):
        net = models.build("lkca_net", bands=bands, scale=scale, config=config)
        save_checkpoint(folder / f"{name}.safetensors", net.state_dict(), Card("lkca_net", scale, bands, config=plain))
    content = (folder / "good.safetensors").read_bytes()
    (folder / "half.safetensors").write_bytes(content[: len(content) // 2])
    (folder / "noise.safetensors").write_bytes(b"\x00\xff" * 500)
    (folder / "code.safetensors").write_bytes(pickle.dumps(Touch()))
    (folder / "code.pth").write_bytes(pickle.dumps(Touch()))
    shutil.copy(folder / "good.card.json", folder / "code.card.json")
    torch.save({"state_dict": net.state_dict(), "hook": Touch()}, folder / "zipped.pth")
    shutil.copy(folder / "good.card.json", folder / "zipped.card.json")
    torch.save({"conv.weight": torch.zeros(3)}, folder / "other.pth")
    shutil.copy(folder / "good.card.json", folder / "other.card.json")
    return folder


@pytest.mark.parametrize("command", ["distill", "sharpen"])
@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("none.safetensors", 1, "expected an existing model file"),
        ("half.safetensors", 1, "half.safetensors: not a checkpoint that can be read"),
        ("noise.safetensors", 1, "noise.safetensors: not a checkpoint that can be read"),
        ("code.safetensors", 1, "code.safetensors: not a checkpoint that can be read"),
        ("code.pth", 1, "code.pth: not a file of plain weights; nothing in it was run"),
        ("zipped.pth", 1, "zipped.pth: not a file of plain weights; nothing in it was run"),
        ("other.pth", 1, "other.pth: expected the weights of lkca_net as its card says"),
    ],
)
def test_a_checkpoint_that_is_none_is_refused_and_code_in_it_never_run(
    recipe, checkpoints, tmp_path, capsys, command, name, status, said
):
    path, scene = str(checkpoints / name), str(tmp_path / "a.h5")
    arguments = {
        "distill": ["distill", str(recipe), "--teacher", path, "--out", str(tmp_path / "run")],
        "sharpen": ["sharpen", scene, str(tmp_path / "sharp.h5"), "--scale", "2", "--model", path],
    }[command]
    assert run(arguments) == status
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "touched").exists()
    assert not (tmp_path / "sharp.h5").exists()


@pytest.mark.parametrize(
    ("command", "name", "said"),
    [
        ("distill", "scale", "the teacher scale.safetensors has the scale 4, the student 2"),
        ("distill", "bands", "the teacher bands.safetensors has the number of channels 5, the student 4"),
        ("sharpen", "scale", "scale.safetensors was made for scale 4, got scale 2"),
        ("sharpen", "bands", "bands.safetensors takes 5 bands, the cube has 4"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(recipe, checkpoints, tmp_path, capsys, command, name, said):
    path, scene = str(checkpoints / f"{name}.safetensors"), str(tmp_path / "a.h5")
    arguments = {
        "distill": ["distill", str(recipe), "--teacher", path, "--out", str(tmp_path / "run")],
        "sharpen": ["sharpen", scene, str(tmp_path / "sharp.h5"), "--scale", "2", "--model", path],
    }[command]
    assert run(arguments) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("largest", "named"), [(1024, "config.json"), (8192, "best.safetensors"), (32768, "last.state")]
)
def test_no_space_left_is_one_line_and_leaves_no_part_behind(recipe, tmp_path, largest, named):
    """Small files fit, a large one does not. In a process of its own: a limit here would hold for the tests' output."""
    out = tmp_path / "run"
    options = ["--out", str(out), "--set", "model.config.features=16"]
    done = subprocess.run(
        [sys.executable, "-m", "hypersharp", "train", str(recipe), *options],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{named}: writing failed" in done.stderr
    assert not [path.name for path in out.iterdir() if ".part-" in path.name]


@pytest.mark.parametrize(("after", "said"), [(1, "there is no state in"), (3, "the state is kept in")])
def test_ctrl_c_says_how_to_go_on(recipe, tmp_path, capsys, stop_after, after, said):
    """In the first epoch before a state is there, in the second with that of the first."""
    go_on = stop_after(after)
    arguments = ["train", str(recipe), "--out", str(tmp_path / "run"), "--set", "train.epochs=2"]
    assert run(arguments) == 130
    shown = capsys.readouterr().err
    assert f"interrupted; {said}" in shown
    assert "--resume" in shown
    assert shown.count("\n") == 1
    go_on()
    assert run([*arguments, "--resume"]) == 0


def test_ctrl_c_while_a_file_is_written_leaves_no_part_and_old_parts_go(recipe, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    out.mkdir()
    (out / ".last.state.part-1").write_text("of a killed run")
    (out / ".mine.part-1").write_text("of another program")

    def stopped(state, path):
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr("hypersharp.train.checkpoint.torch.save", stopped)
    assert run(["train", str(recipe), "--out", str(out)]) == 130
    assert "interrupted; there is no state" in capsys.readouterr().err
    assert [path.name for path in out.iterdir() if ".part-" in path.name] == [".mine.part-1"]


def test_json_has_null_for_a_score_that_is_none(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Held, "score", lambda self, *_, **__: dict.fromkeys(METRICS, 1.0) | {"cc": math.nan})
    assert run(["train", str(recipe), "--out", str(tmp_path / "run"), "--json"]) == 0

    def refused(name):
        raise AssertionError(name)

    said = json.loads(capsys.readouterr().out, parse_constant=refused)
    assert said["scores"]["bicubic"]["validation"]["mean"]["cc"] is None
    assert said["scores"]["bicubic"]["validation"]["mean"]["rmse"] == 1


def test_a_recipe_that_is_not_there(tmp_path, capsys):
    assert run(["train", str(tmp_path / "none.toml")]) == 1
    assert "cannot be read" in capsys.readouterr().err
