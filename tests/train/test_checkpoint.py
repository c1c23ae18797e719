"""Checkpoints: written whole, read by `sharpen` and nothing else needed, exported, and bad ones refused."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import hypersharp
from hypersharp import models
from hypersharp.cli import run
from hypersharp.errors import FileFormatError, HypersharpError, UsageError, WriteError
from hypersharp.infer.session import OnnxSession
from hypersharp.infer.torch_session import TorchSession, read_card
from hypersharp.models import edlgfs, lkca
from hypersharp.models._card import Card, config_to_dict
from hypersharp.train.checkpoint import save_checkpoint, save_state, write_text
from hypersharp.train.export import SIZES, export

LKCA = lkca.Config(features=8, blocks=1, reduction=4)
EDGE = edlgfs.Config(features=24, stages=1, layers=1, heads=2)
WAVES = (450.0, 540.0, 630.0, 720.0, 810.0, 900.0)


def checkpoint(path, name="lkca_net", config=LKCA, scale=2, **facts):
    """A network with fresh weights made louder, so that what it adds to bicubic is seen."""
    torch.manual_seed(0)
    bands = facts.pop("bands", 6)
    net = models.build(name, bands=bands, scale=scale, config=config).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    card = Card(name, scale, bands, None, config=json.loads(json.dumps(config_to_dict(config))), **facts)
    save_checkpoint(path, net.state_dict(), card)
    return net


@pytest.fixture
def cube():
    values = np.random.default_rng(0).uniform(100, 3000, (6, 20, 23)).astype(np.float32)
    return hypersharp.Cube.from_array(values, bands=hypersharp.Bands(6, np.array(WAVES)))


def test_the_card_is_in_the_file_and_beside_it(tmp_path):
    checkpoint(tmp_path / "net.safetensors", about={"seed": 3})
    beside = json.loads((tmp_path / "net.card.json").read_text())
    card = read_card(tmp_path / "net.safetensors")
    assert json.loads(card.to_json()) == beside
    (tmp_path / "net.card.json").unlink()
    assert read_card(tmp_path / "net.safetensors") == card
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.safetensors"]


def test_sharpen_gives_what_the_network_gives(tmp_path, cube):
    """Without consistency: normalised by the 99.9 % quantile, through the network, and back."""
    net = checkpoint(tmp_path / "net.safetensors")
    sharp = hypersharp.sharpen(cube, scale=2, model=tmp_path / "net.safetensors", consistency="off").read()[0]
    lr = cube.read()[0]
    divisor = np.quantile(np.abs(lr), 0.999)
    with torch.no_grad():
        wanted = net(torch.from_numpy(lr / np.float32(divisor))[None])[0].numpy() * divisor
    assert np.abs(sharp - wanted).max() < 1e-4 * wanted.std()


@pytest.mark.parametrize("domain", ["bands", "subspace"])
def test_the_exported_file_gives_the_same_scene(tmp_path, cube, domain):
    checkpoint(tmp_path / "net.safetensors", domain=domain, bands=6 if domain == "bands" else 4)
    export(tmp_path / "net.safetensors", tmp_path / "net.onnx")
    one, other = (
        hypersharp.sharpen(cube, scale=2, model=tmp_path / name, consistency="off").read()[0]
        for name in ("net.safetensors", "net.onnx")
    )
    assert np.abs(one - other).max() < 1e-4 * other.std()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("lkca_net", LKCA),
        ("lkca_net", dataclasses.replace(LKCA, upsampler=lkca.Upsampler("rank", rank=3))),
        ("edlgfs", EDGE),
    ],
)
def test_every_network_is_exported_with_any_size_and_its_check_inside(tmp_path, name, config):
    net = checkpoint(tmp_path / "net.safetensors", name, config, scale=4)
    found = export(tmp_path / "net.safetensors", tmp_path / "net.onnx")
    session = OnnxSession(tmp_path / "net.onnx")
    assert session.card.about["export"] == json.loads(json.dumps(found))
    assert list(found["largest_difference_over_spread"]) == [f"{rows}x{cols}" for rows, cols in SIZES]
    assert any(rows % 2 and cols % 2 for rows, cols in SIZES)
    lr = np.random.default_rng(1).random((3, 6, 11, 6), dtype=np.float32)
    with torch.no_grad():
        wanted = net(torch.from_numpy(lr)).numpy()
    assert np.abs(session(lr) - wanted).max() < 1e-4 * wanted.std()


def test_an_export_that_differs_is_not_kept(tmp_path, monkeypatch):
    checkpoint(tmp_path / "net.safetensors")
    monkeypatch.setattr(
        OnnxSession, "__call__", lambda self, lr: np.zeros((*lr.shape[:2], *(2 * n for n in lr.shape[2:])))
    )
    with pytest.raises(FileFormatError, match="differs from torch"):
        export(tmp_path / "net.safetensors", tmp_path / "net.onnx")
    assert not list(tmp_path.glob("*.onnx")) + list(tmp_path.glob(".*"))


def test_bands_are_found_by_wavelength_whatever_their_order(tmp_path, cube):
    """The cube's bands turned round and two more among them: the same planes, and bicubic for the others."""
    checkpoint(tmp_path / "net.safetensors", wavelength_nm=WAVES)
    lr = cube.read()[0]
    order = [5, 4, 3, 2, 1, 0]
    more = np.concatenate([lr[order], 1 + lr[:2]])
    bands = hypersharp.Bands(8, np.array([WAVES[i] for i in order] + [1200.0, 1300.0]))
    options = {"scale": 2, "model": tmp_path / "net.safetensors", "consistency": "off"}
    plain = hypersharp.sharpen(cube, **options).read()[0]
    turned = hypersharp.sharpen(hypersharp.Cube.from_array(more, bands=bands), **options)
    assert np.abs(turned.read()[0][:6] - plain[order]).max() < 1e-4 * plain.std()
    two = hypersharp.Cube.from_array(1 + lr[:2])
    bicubic = hypersharp.sharpen(two, scale=2, method="bicubic", consistency="off").read()[0]
    assert np.array_equal(turned.read()[0][6:], bicubic)
    assert "6 bands, the others bicubic" in turned.history[-1]


def refusals(tmp_path):
    """File name to what makes it, and what is said of it."""

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "trapped"),))

    def plain(path):
        checkpoint(path)

    def no_card(path):
        save_file({"x": torch.zeros(2)}, path)

    def other_weights(path):
        save_file({"x": torch.zeros(2)}, path, metadata={"hypersharp_card": Card("lkca_net", 2, 6).to_json()})

    def cut(path):
        checkpoint(path)
        path.write_bytes(path.read_bytes()[:500])

    def trap(path):
        path.write_bytes(pickle.dumps({"x": Trap()}))
        (path.parent / f"{path.stem}.card.json").write_text(Card("lkca_net", 2, 6).to_json())

    def torch_trap(path):
        torch.save({"x": Trap()}, path)
        (path.parent / f"{path.stem}.card.json").write_text(Card("lkca_net", 2, 6).to_json())

    return {
        "scale.safetensors": (lambda path: checkpoint(path, scale=4), "was made for scale 4, got scale 2"),
        "bands.safetensors": (lambda path: checkpoint(path, bands=5), "takes 5 bands, the cube has 6"),
        "waves.safetensors": (
            lambda path: checkpoint(path, wavelength_nm=(*WAVES[:5], 1000.0)),
            "trained on a band at 1000.0 nm; the nearest of the cube is at 900.0 nm",
        ),
        "none.safetensors": (lambda path: None, "expected an existing model file"),
        "folder": (lambda path: path.mkdir(), "name the weights in it"),
        "nocard.safetensors": (no_card, "carries no card; write nocard.card.json beside it"),
        "other.safetensors": (other_weights, "expected the weights of lkca_net as its card says"),
        "cut.safetensors": (cut, "not a checkpoint that can be read"),
        "text.safetensors": (lambda path: path.write_text("weights"), "not a checkpoint that can be read"),
        "trap.pth": (trap, "nothing in it was run"),
        "trap.pt": (torch_trap, "nothing in it was run"),
    }


@pytest.mark.parametrize("name", list(refusals(Path("unused"))))
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, cube, name):
    table = refusals(tmp_path)
    make, said = table[name]
    make(tmp_path / name)
    with pytest.raises((UsageError, FileFormatError)) as caught:
        hypersharp.sharpen(cube, scale=2, model=tmp_path / name, consistency="off").read()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "trapped").exists()


def test_foreign_weights_run_with_a_card_beside_them(tmp_path, cube):
    net = checkpoint(tmp_path / "ours.safetensors")
    torch.save({"state_dict": net.state_dict()}, tmp_path / "theirs.pth")
    (tmp_path / "theirs.card.json").write_text((tmp_path / "ours.card.json").read_text())
    lr = cube.read()[0][None] / 3000
    assert np.array_equal(TorchSession(tmp_path / "theirs.pth")(lr), TorchSession(tmp_path / "ours.safetensors")(lr))


def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path, monkeypatch):
    checkpoint(tmp_path / "net.safetensors")
    before = (tmp_path / "net.safetensors").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hypersharp.train.checkpoint.save_file", full)
    with pytest.raises(WriteError, match="No space left"):
        checkpoint(tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.card.json", "net.safetensors"]


def test_an_output_that_cannot_be_is_known_before_the_tracing(tmp_path, monkeypatch):
    checkpoint(tmp_path / "net.safetensors")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.onnx").mkdir()
    monkeypatch.setattr(torch.onnx, "export", None)
    before = sorted(tmp_path.iterdir())
    for name in ("file/net.onnx", "none/net.onnx", f"{'x' * 300}.onnx", "folder.onnx"):
        with pytest.raises(WriteError, match="choose another name") as caught:
            export(tmp_path / "net.safetensors", tmp_path / name, overwrite=True)
        assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_checkpoint_below_a_file_or_of_too_long_a_name(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("file/net.safetensors", f"{'x' * 300}.safetensors"):
        with pytest.raises(WriteError, match="writing failed"):
            checkpoint(tmp_path / name)
        for write in (lambda path: save_state(path, {}), lambda path: write_text(path, "")):
            with pytest.raises(WriteError, match="writing failed"):
                write(tmp_path / name)


def test_a_checkpoint_without_torch_is_answered_with_the_line_that_brings_it(tmp_path, cube, monkeypatch):
    checkpoint(tmp_path / "net.safetensors")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(HypersharpError, match=r"pip install 'hypersharp\[train\]'"):
        hypersharp.sharpen(cube, scale=2, model=tmp_path / "net.safetensors", consistency="off").read()


def test_a_damaged_card(tmp_path):
    for text in (
        "{",
        "[]",
        '{"model": "x"}',
        '{"model": "x", "scale": "two"}',
        '{"model": "x", "scale": 2, "domain": "y"}',
    ):
        with pytest.raises(FileFormatError, match="its card is damaged"):
            Card.from_json(text, "file")


def test_export_and_sharpen_from_the_command_line(tmp_path, cube, capsys):
    checkpoint(tmp_path / "net.safetensors", about={"seed": 1})
    hypersharp.write(cube, tmp_path / "in.img")
    assert run(["export", str(tmp_path / "net.safetensors"), str(tmp_path / "net.onnx")]) == 0
    assert "equals torch at 16x16, 9x13, 24x7" in capsys.readouterr().out
    assert run(["export", str(tmp_path / "net.safetensors"), str(tmp_path / "net.onnx")]) == 1
    assert "exists; say --overwrite" in capsys.readouterr().err
    assert run(["export", str(tmp_path / "net.safetensors"), str(tmp_path / "net.bin")]) == 2
    for ending in ("onnx", "safetensors"):
        arguments = ["sharpen", str(tmp_path / "in.img"), str(tmp_path / f"{ending}.img"), "--scale", "2"]
        assert run([*arguments, "--model", str(tmp_path / f"net.{ending}")]) == 0
    written = hypersharp.open(tmp_path / "onnx.img")
    assert written.shape == (6, 40, 46)
    assert "lkca_net (weights " in written.history[-1]
