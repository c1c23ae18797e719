"""`hypersharp lowrank --plot`: a picture beside the words."""

from __future__ import annotations

import json

import pytest
import torch
from matplotlib.image import imread

from hypersharp import models
from hypersharp.cli import run
from hypersharp.models import lkca
from hypersharp.models._card import Card, config_to_dict
from hypersharp.train.checkpoint import save_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    config = lkca.Config(features=8, blocks=1, reduction=4)
    torch.manual_seed(0)
    net = models.build("lkca_net", bands=6, scale=2, config=config)
    plain = json.loads(json.dumps(config_to_dict(config)))
    save_checkpoint(tmp_path / "net.safetensors", net.state_dict(), Card("lkca_net", 2, 6, config=plain))
    return str(tmp_path / "net.safetensors")


def test_the_plot_is_written_once(checkpoint, tmp_path, capsys):
    picture = str(tmp_path / "ranks.png")
    assert run(["lowrank", checkpoint, "--plot", picture]) == 0
    assert f"{picture}: the cumulative sums as a picture" in capsys.readouterr().out
    assert imread(picture).shape[0] > 300
    assert run(["lowrank", checkpoint, "--plot", picture]) == 1
    assert "say --overwrite" in capsys.readouterr().err
    assert run(["lowrank", checkpoint, "--plot", picture, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plot"] == picture


def test_another_kind_of_picture_is_refused(checkpoint, tmp_path, capsys):
    assert run(["lowrank", checkpoint, "--plot", str(tmp_path / "ranks.pdf")]) == 2
    assert "ending in .png" in capsys.readouterr().err
