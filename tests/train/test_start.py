"""Starting from bicubic enlargement: which networks can, and that they learn from there."""

from __future__ import annotations

import pytest
import torch

from hypersharp import models
from hypersharp.errors import UsageError
from hypersharp.models import edlgfs, lean, lkca
from hypersharp.operators import bicubic_enlarge
from hypersharp.train.start import leading_axes, start_from_bicubic

SMALL = {
    "lkca_lr": lkca.LowRankConfig(features=16, blocks=1),
    "lean": lean.Config(features=8, blocks=1),
    "edlgfs": edlgfs.Config(features=48, stages=1),
}


@pytest.mark.parametrize("name", SMALL)
def test_the_network_gives_bicubic_and_every_weight_that_could_leave_it_gets_gradient(name):
    model = models.build(name, bands=4, scale=2, config=SMALL[name])
    start_from_bicubic(model, channels=4, scale=2)
    lr = torch.rand(2, 4, 12, 10)
    sharp = model(lr)
    wide = torch.from_numpy(bicubic_enlarge((12, 10), 2).apply(lr.double().numpy()))
    assert (sharp - wide).abs().max() < 1e-4
    sharp.square().sum().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in model.upsample.parameters())


def test_fewer_features_than_channels_carry_what_the_scenes_are_mostly_made_of():
    torch.manual_seed(0)
    spectra = torch.linalg.qr(torch.randn(24, 24)).Q[:, :16]
    lr = torch.einsum("ck,kp->cp", spectra, torch.rand(16, 80) + 0.5).reshape(1, 24, 8, 10)
    model = models.build("edlgfs", bands=24, scale=2, config=edlgfs.Config(features=16, stages=1, heads=2))
    start_from_bicubic(model, channels=24, scale=2, axes=leading_axes([lr[0], 0.1 * lr[0].flip(1)], 24))
    wide = torch.from_numpy(bicubic_enlarge((8, 10), 2).apply(lr.double().numpy()))
    assert (model(lr) - wide).abs().max() < 1e-4
    start_from_bicubic(model, channels=24, scale=2)
    assert (model(lr) - wide).abs().max() > 0.1


def test_a_network_of_changes_starts_at_none():
    model = models.build("lean", bands=3, scale=4, config=lean.Config(8, 1, describing=5, skip=False))
    start_from_bicubic(model, channels=3, scale=4, described=5)
    assert not model(torch.rand(1, 8, 6, 6)).any()


def test_a_network_without_skip_is_refused():
    model = models.build("essaformer", bands=3, scale=2)
    with pytest.raises(UsageError, match="bicubic skip"):
        start_from_bicubic(model, channels=3, scale=2)
