"""`hypersharp sharpen --adapt`: what is said, what is kept, and what is refused before any work."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import hypersharp
from hypersharp import _require, models
from hypersharp.cli import run
from hypersharp.cube import Cube
from hypersharp.infer.torch_session import read_card
from hypersharp.models import lean
from hypersharp.models._card import Card, config_to_dict
from hypersharp.train import adapt as adapting
from hypersharp.train.checkpoint import save_checkpoint
from hypersharp.train.start import start_from_bicubic


@pytest.fixture
def scene(tmp_path):
    """`scene.h5`: 6 bands of 96 x 40 pixels of slanting stripes."""
    y, x = np.mgrid[0:96, 0:40]
    planes = np.stack([np.sign(np.sin((a * y + b * x) / 2.2)) for a, b in ((1, 0.3), (0.2, 1))])
    draw = np.random.default_rng(0)
    values = 2000 + np.tensordot(draw.uniform(-300, 300, (6, 2)), planes, axes=1) + draw.normal(0, 3, (6, 96, 40))
    return hypersharp.write(Cube.from_array(values.round().astype(np.int16)), tmp_path / "scene.h5")


@pytest.fixture
def network(tmp_path):
    """A network that gives no change yet."""
    before = torch.get_num_threads()
    torch.manual_seed(0)
    config = lean.Config(features=8, blocks=1, describing=4, skip=False)
    module = models.build("lean", bands=2, scale=2, config=config)
    start_from_bicubic(module, channels=2, scale=2, described=4)
    card = Card("lean", 2, 2, 4, domain="subspace", gives="change", described=True, config=config_to_dict(config))
    save_checkpoint(tmp_path / "net.safetensors", module.state_dict(), card)
    yield tmp_path / "net.safetensors"
    torch.set_num_threads(before)


@pytest.fixture
def quick(monkeypatch):
    """A fixed number of steps in place of seconds, at a rate for weights that know nothing."""
    true = adapting.Effort
    monkeypatch.setattr(adapting, "_RATE", 1e-2)
    monkeypatch.setattr(adapting, "Effort", lambda seconds, threads: true(seconds, steps=60, threads=threads))


def called(scene, *options, scale=2):
    out = scene.with_name("sharp.h5")
    return run(["sharpen", str(scene), str(out), "--scale", str(scale), "--threads", "1", *map(str, options)]), out


def test_adapted_weights_sharpen_the_scene_and_can_be_kept(scene, network, quick, capsys):
    kept = scene.with_name("kept.safetensors")
    status, out = called(scene, "--model", network, "--adapt", 5, "--save-adapted", kept, "--json")
    said = json.loads(capsys.readouterr().out)
    assert status == 0
    assert said["adapted"]["kept"]
    assert said["adapted"]["gain_db"] > 0
    assert said["adapted"]["interval_db"][0] > 0
    assert said["adapted"]["saved"] == str(kept)
    assert read_card(kept).about["adapted"]["scene"] == "scene.h5"

    sharp = hypersharp.open(out)
    adapted, sharpened = sharp.history[-2:]
    assert said["adapted"]["note"] in adapted
    assert said["method"].startswith("lean (weights ")
    assert said["method"] in sharpened

    again = scene.with_name("again.h5")
    assert run(["sharpen", str(scene), str(again), "--scale", "2", "--model", str(kept), "--threads", "1"]) == 0
    np.testing.assert_array_equal(hypersharp.open(again).read()[0], sharp.read()[0])
    assert run(["sharpen", str(scene), str(again), "--scale", "2", "--model", str(network), "--overwrite"]) == 0
    assert (hypersharp.open(again).read()[0] != sharp.read()[0]).any()


def test_the_gain_is_said(scene, network, quick, capsys):
    status, out = called(scene, "--model", network, "--adapt", 5)
    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    assert f"{out}: adapted to the scene in 60 steps, +" in printed.out
    assert sorted(path.name for path in scene.parent.iterdir()) == [
        "net.card.json",
        "net.safetensors",
        "scene.h5",
        "sharp.h5",
    ]


def test_where_nothing_is_gained_the_network_stays_as_it_is(scene, network, quick, monkeypatch, capsys):
    monkeypatch.setattr(adapting, "_RATE", 0.0)
    kept = scene.with_name("kept.safetensors")
    status, out = called(scene, "--model", network, "--adapt", 5, "--save-adapted", kept)
    printed = capsys.readouterr()
    assert status == 0
    assert "not adapted to the scene: no sure gain" in printed.err
    assert "kept.safetensors was not written" in printed.err
    assert not kept.exists()
    plain = scene.with_name("plain.h5")
    assert run(["sharpen", str(scene), str(plain), "--scale", "2", "--threads", "1", "--model", str(network)]) == 0
    np.testing.assert_array_equal(hypersharp.open(plain).read()[0], hypersharp.open(out).read()[0])
    assert not any(" adapt: " in line for line in hypersharp.open(out).history)


def test_a_scene_too_small_is_sharpened_all_the_same(scene, network, capsys):
    status, out = called(scene, "--model", network, "--adapt", 5, "--window", "0,0,30,30")
    assert status == 0
    assert "30 x 30 pixels are too few" in capsys.readouterr().err
    assert hypersharp.open(out).shape == (6, 60, 60)


def test_the_default_network_is_left_where_even_adapted_it_does_harm(scene, network, quick, monkeypatch, capsys):
    """Its `.onnx` is what would be shipped; the checkpoint beside it is what is adapted."""
    from hypersharp import pipeline
    from hypersharp.cli import sharpen
    from hypersharp.train.export import export

    onnx = network.with_suffix(".onnx")
    export(network, onnx)
    for module, name in ((sharpen, "shipped"), (pipeline, "serving")):
        monkeypatch.setattr(module, name, lambda scale: onnx)
    status, out = called(scene, "--adapt", 5)
    assert status == 0
    assert "adapted to the scene" in capsys.readouterr().out
    assert " adapt: " in hypersharp.open(out).history[-2]

    monkeypatch.setattr(adapting.Adapted, "harmful", True)
    status, out = called(scene, "--adapt", 5, "--overwrite")
    assert status == 0
    assert "even so it is worse than no network" in capsys.readouterr().err
    assert " adapt: " not in "".join(hypersharp.open(out).history)


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--save-adapted", "a.safetensors"], 2, "got no --adapt"),
        (["--adapt", "5", "--method", "bicubic"], 2, "got none for scale 2 and method bicubic"),
        (["--adapt", "5", "--model", "nowhere.safetensors"], 2, "expected 'nowhere.safetensors', got no such file"),
        (["--adapt", "5", "--model", "net.onnx"], 2, "expected 'net.safetensors', got no such file"),
        (["--adapt", "0", "--model", "NET"], 2, "a time above 0 seconds, got 0"),
        (["--adapt", "5", "--model", "NET", "--save-adapted", "a.onnx"], 2, "ends in .safetensors, got 'a.onnx'"),
        (["--adapt", "5", "--model", "NET", "--save-adapted", "no/a.safetensors"], 1, "existing folder, got 'no'"),
        (["--adapt", "5", "--model", "NET", "--save-adapted", "NET"], 1, "exists already; give --overwrite"),
    ],
)
def test_what_is_refused(scene, network, capsys, options, status, said):
    got, out = called(scene, *(str(network) if part == "NET" else part for part in options))
    error = capsys.readouterr().err
    assert (got, error.count("\n")) == (status, 1)
    assert said in error
    assert not out.exists()


def test_without_torch_the_line_that_helps_is_said(scene, network, monkeypatch, capsys):
    true = _require.importlib.import_module

    def absent(name):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return true(name)

    monkeypatch.setattr(_require.importlib, "import_module", absent)
    assert called(scene, "--model", network, "--adapt", 5)[0] == 1
    assert "--adapt needs the package 'torch', which is not installed: pip install 'hypersharp[train]'" in (
        capsys.readouterr().err
    )


def test_a_dry_run_adapts_nothing(scene, network, capsys):
    status, out = called(scene, "--model", network, "--adapt", 3600, "--dry-run", "--json")
    assert status == 0
    assert json.loads(capsys.readouterr().out)["adapted"] is None
    assert not out.exists()


def test_torch_is_not_loaded_where_nothing_is_adapted(scene):
    arguments = ["sharpen", str(scene), str(scene.with_name("sharp.h5")), "--scale", "2", "--method", "bicubic"]
    code = (
        f"import sys; from hypersharp.cli import run; assert run({arguments!r}) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
