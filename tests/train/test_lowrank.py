"""Ranks of upsampling layers of known rank, and students that are what was kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hypersharp import models
from hypersharp.cli import run
from hypersharp.errors import UsageError
from hypersharp.infer.torch_session import load_model, read_card
from hypersharp.models import edlgfs, lkca
from hypersharp.models._card import Card, config_to_dict
from hypersharp.models._upsample import Upsampler
from hypersharp.train.checkpoint import save_checkpoint
from hypersharp.train.lowrank import spectra, student

CONFIG = lkca.Config(features=8, blocks=1, reduction=4)


def trained(path, matrix=None, name="lkca_net", config=CONFIG):
    """A checkpoint with bands 6 at scale 2, whose upsampling layer is `matrix (24, 72)`."""
    torch.manual_seed(0)
    net = models.build(name, bands=6, scale=2, config=config)
    if matrix is not None:
        with torch.no_grad():
            net.upsample[0].weight.copy_(torch.as_tensor(matrix).reshape(24, 8, 3, 3))
    plain = json.loads(json.dumps(config_to_dict(config)))
    save_checkpoint(path, net.state_dict(), Card(name, 2, 6, config=plain))
    return net


def of_values(values):
    """A matrix with these singular values."""
    draw = np.random.default_rng(0)
    left, right = (np.linalg.qr(draw.normal(size=(n, len(values))))[0] for n in (24, 72))
    return left * values @ right.T


def test_shares_by_hand(tmp_path):
    """Singular values 6, 3, 0.5, 0.5: sums 0.6, 0.9, 0.95 and 1 of all."""
    trained(tmp_path / "net.safetensors", of_values([6, 3, 0.5, 0.5]))
    (found,) = spectra(tmp_path / "net.safetensors")
    assert found.shape == (24, 72)
    assert found.cumulative[:4] == pytest.approx([0.6, 0.9, 0.95, 1.0], abs=1e-6)
    assert (found.rank(0.85), found.rank(0.93), found.rank(0.97)) == (2, 3, 4)


def test_a_truncated_student_of_full_rank_is_the_teacher(tmp_path):
    net = trained(tmp_path / "net.safetensors", of_values([6, 3, 0.5, 0.5]))
    kept = student(tmp_path / "net.safetensors", tmp_path / "student.safetensors", how=Upsampler("rank", rank=4))
    assert kept["upsample"] == pytest.approx(1)
    lr = torch.rand(1, 6, 7, 5)
    with torch.no_grad():
        assert torch.allclose(load_model(tmp_path / "student.safetensors")(lr), net(lr), atol=1e-5)
    card = read_card(tmp_path / "student.safetensors")
    assert card.config["upsampler"]["rank"] == 4
    assert card.about["student_of"] == "net.safetensors"


def test_energy_that_truncation_keeps_by_hand(tmp_path):
    trained(tmp_path / "net.safetensors", of_values([6, 3, 0.5, 0.5]))
    kept = student(tmp_path / "net.safetensors", tmp_path / "student.safetensors", how=Upsampler("rank", rank=1))
    assert kept["upsample"] == pytest.approx(36 / 45.5, rel=1e-5)


def test_a_grouped_student_of_a_block_diagonal_layer_is_the_teacher(tmp_path):
    matrix = np.zeros((24, 8, 3, 3))
    matrix[:12, :4] = np.random.default_rng(0).normal(size=(12, 4, 3, 3))
    matrix[12:, 4:] = np.random.default_rng(1).normal(size=(12, 4, 3, 3))
    net = trained(tmp_path / "net.safetensors", matrix)
    kept = student(tmp_path / "net.safetensors", tmp_path / "student.safetensors", how=Upsampler("grouped", groups=2))
    assert kept["upsample"] == pytest.approx(1)
    lr = torch.rand(1, 6, 7, 5)
    with torch.no_grad():
        assert torch.allclose(load_model(tmp_path / "student.safetensors")(lr), net(lr), atol=1e-5)


def test_edlgfs_has_one_layer_per_step(tmp_path):
    config = edlgfs.Config(features=24, stages=1, layers=1, heads=2)
    trained(tmp_path / "net.safetensors", None, "edlgfs", config)
    assert [one.shape for one in spectra(tmp_path / "net.safetensors")] == [(96, 216)]
    student(tmp_path / "net.safetensors", tmp_path / "student.safetensors", how=Upsampler("rank", rank=20))
    assert load_model(tmp_path / "student.safetensors")(torch.rand(1, 6, 5, 4)).shape == (1, 6, 10, 8)


def test_a_network_that_is_factorised_already_is_refused(tmp_path):
    config = lkca.Config(features=8, blocks=1, reduction=4, upsampler=Upsampler("grouped", groups=2))
    trained(tmp_path / "net.safetensors", None, "lkca_net", config)
    with pytest.raises(UsageError, match="no dense upsampling convolution"):
        spectra(tmp_path / "net.safetensors")


def test_the_command(tmp_path, capsys):
    trained(tmp_path / "net.safetensors", of_values([6, 3, 0.5, 0.5]))
    assert run(["lowrank", str(tmp_path / "net.safetensors")]) == 0
    shown = capsys.readouterr().out
    assert "24 x 72, 24 singular values; 90% at rank" in shown
    assert shown.count("\n 1") <= 12
    out = str(tmp_path / "student.safetensors")
    assert run(["lowrank", str(tmp_path / "net.safetensors"), "--out", out, "--rank", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["energy_kept"]["upsample"] == pytest.approx(1)
    assert run(["lowrank", str(tmp_path / "net.safetensors"), "--out", out, "--rank", "4"]) == 1
    assert run(["lowrank", str(tmp_path / "net.safetensors"), "--rank", "4"]) == 2
    assert run(["lowrank", str(tmp_path / "net.safetensors"), "--out", out, "--groups", "5", "--overwrite"]) == 2
