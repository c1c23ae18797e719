"""`hypersharp bench`: options to a table, and one line for what is wrong."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

import hypersharp
from hypersharp.cli import run

SMALL = ["--scale", "2", "--components", "3", "--patches", "16", "--cap-minutes", "0", "--no-speed"]
SMALL += ["--set", "data.patch=8", "--set", "train.batch=4", "--set", "train.device=cpu"]
SMALL += ["--set", "vdsr_lr:model.config.features=4", "--set", "vdsr_lr:model.config.depth=3"]


@pytest.fixture
def scenes(tmp_path):
    """Options that name two small scenes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for seed, name in enumerate(("one", "held")):
        blocks = np.kron(np.random.default_rng(seed).uniform(500, 4000, (5, 6, 6)), np.ones((1, 4, 4)))
        hypersharp.write(hypersharp.Cube.from_array(blocks.astype(np.float32)), tmp_path / f"{name}.h5")
    yield ["--root", str(tmp_path), "--scenes", "one", "--validation", "held"]
    torch.set_num_threads(before)


def test_networks_to_tables_and_back(scenes, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["bench", "--models", "bicubic,vdsr_lr", *scenes, *SMALL, "--out", str(out)]
    assert run(arguments) == 0
    shown = capsys.readouterr()
    assert "vdsr_lr, seed 0: 16 patches in" in shown.err
    rows = [line.split("|")[1].strip() for line in shown.out.splitlines() if line.startswith("| ")]
    assert rows[2:5] == ["bicubic", "bicubic + consistency", "vdsr_lr"]
    assert (out / "table.tex").is_file()
    with (out / "table.csv").open() as file:
        first = list(csv.DictReader(file))

    assert run(arguments) == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert run([*arguments, "--resume", "--json"]) == 0
    shown = capsys.readouterr()
    assert "vdsr_lr, seed 0: finished before" in shown.err
    said = json.loads(shown.out)
    assert (said["rows"], said["failed"], said["output"]) == (4, {}, str(out))

    table = tmp_path / "again"
    assert run(["bench", "--from", f"other={out}/vdsr_lr_seed0", "--no-speed", "--out", str(table)]) == 0
    assert "| other + consistency |" in capsys.readouterr().out
    with (table / "table.csv").open() as file:
        again = list(csv.DictReader(file))
    assert [float(line["mpsnr_db"]) for line in again] == pytest.approx([float(line["mpsnr_db"]) for line in first])


def test_a_network_without_a_row_is_named_and_the_status_says_so(scenes, tmp_path, capsys):
    arguments = ["bench", "--models", "vdsr_lr", *scenes, *SMALL, "--set", "train.lr=1e30", "--set", "train.clip=0"]
    assert run([*arguments, "--out", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr().out
    assert "\nNo row: vdsr_lr, seed 0: " in shown
    assert "finite" in shown
    assert "| bicubic + consistency |" in shown


def test_the_protocol_of_a_recipe_changed_by_options(scenes, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[model]\nname = "vdsr"\n[data]\nroot = "' + str(tmp_path) + '"\ntrain = ["one"]\nvalidation = ["held"]\n'
        'scale = 4\npatch = 8\ndegradation = "gaussian"\n[train]\nepochs = 1\n'
    )
    arguments = ["bench", "--models", "bicubic", "--recipe", str(recipe), "--scale", "2", "--no-speed"]
    arguments += ["--set", "data.share=0.5"]
    assert run([*arguments, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "scale 2, degradation gaussian" in shown
    assert "Changed: data.share=0.5." in shown
    assert "networks see the bands themselves; patches of 8 x 8" in shown


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--models", "vdsr", "--out", "o"], 2, "bench needs scenes: --scenes NAMES"),
        (["--models", "vdsr", "--from", "x"], 2, "one of --models NAMES, --from DIR,… and --published NAME=FILE"),
        ([], 2, "one of --models NAMES"),
        (["SCENES", "--models", "vdrs", "--out", "o"], 2, "got 'vdrs'; did you mean 'vdsr'"),
        (["SCENES", "--models", "vdsr"], 2, "needs --out DIR"),
        (["SCENES", "--models", "vdsr", "--out", "o", "--scale", "9"], 2, "data.scale: Input should be less than"),
        (["SCENES", "--models", "vdsr", "--out", "o", "--domain", "band"], 2, "data.domain: Input should be 'bands'"),
        (["SCENES", "--models", "vdsr", "--out", "o", "--set", "data.pach=8"], 2, "did you mean 'patch'"),
        (["SCENES", "--models", "vdsr", "--out", "o", "--set", "train.epochs=8"], 2, "say it with --patches"),
        (["SCENES", "--models", "vdsr", "--out", "o", "--scenes", "two"], 1, "no scene 'two'"),
        (["SCENES", "--models", "vdsr", "--out", "o", "--scenes", "held"], 2, "held is under data.train"),
        (["SCENES", "--models", "bicubic", "--out", "o", "--root", "$NOWHERE_AT_ALL"], 1, "variable that is not set"),
        (["--models", "bicubic", "--out", "o", "--recipe", "none.toml"], 1, "none.toml: cannot be read"),
        (["SCENES", "--models", "", "--out", "o"], 2, "expected networks with commas"),
        (["SCENES", "--models", "bicubic", "--out", "o", "--cap-minutes", "inf"], 2, "0 minutes are no limit"),
        (["SCENES", "--models", "vdsr", "--out", "o", "--set", "data.per_epoch=8"], 2, "say it with --patches"),
        (["SCENES", "--models", "vdsr", "--out", "o", "--set", "train={epochs=8}"], 2, "got a whole table"),
        (["--from", "x", "--scale", "4"], 2, "bench --from does not take --scale; leave it out"),
        (["--from", "x", "--set", "train.lr=1"], 2, "does not take --set"),
        (["--from", "x", "--patches", "16000"], 2, "does not take --patches"),
        (["--from", "x", "--resume"], 2, "does not take --resume"),
        (["--published", "pavia=x.h5", "--no-speed"], 2, "bench --published does not take --speed"),
        (["--from", ","], 2, "folders of finished runs"),
        (["--from", "no_folder"], 1, "expected the folder of a training run"),
        (["--published", "pavia"], 2, "NAME=FILE"),
        (["--published", "paiva=x.h5"], 2, "did you mean 'pavia'"),
    ],
)
def test_one_line_for_what_is_wrong(scenes, tmp_path, capsys, monkeypatch, arguments, status, said):
    monkeypatch.chdir(tmp_path)
    filled = [part for one in arguments for part in (scenes if one == "SCENES" else [one])]
    assert run(["bench", *filled]) == status
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_ctrl_c_says_how_to_go_on(scenes, tmp_path, capsys, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hypersharp.bench.running.train", stopped)
    out = tmp_path / "out"
    arguments = ["bench", "--models", "vdsr_lr", *scenes, *SMALL, "--out", str(out)]
    assert run(arguments) == 130
    assert "interrupted; there is no state in" in capsys.readouterr().err
    (out / "vdsr_lr_seed0").mkdir()
    (out / "vdsr_lr_seed0" / "last.state").write_text("")
    assert run([*arguments, "--resume"]) == 130
    assert f"kept in {out}; go on with --resume" in capsys.readouterr().err
