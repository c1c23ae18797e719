"""One network for each channel in turn: alike for all of them, and blind to what it is not shown."""

from __future__ import annotations

import pytest
import torch

from hypersharp import models
from hypersharp.models import lean


@pytest.mark.parametrize("guides", [0, 2])
def test_channels_beyond_the_guides_can_change_places(guides):
    torch.manual_seed(0)
    net = models.build("lean", bands=5, scale=2, config=lean.Config(8, 1, guides=guides, describing=3)).eval()
    lr = torch.rand(2, 8, 6, 7)
    order = [0, 1, 4, 2, 3]
    moved = torch.cat([lr[:, order], lr[:, 5:]], dim=1)
    assert torch.allclose(net(moved), net(lr)[:, order], atol=1e-6)


def test_a_channel_sees_itself_and_its_guides_only():
    torch.manual_seed(0)
    net = models.build("lean", bands=4, scale=2, config=lean.Config(8, 1, guides=1)).eval()
    lr = torch.rand(1, 4, 6, 7)
    for at, seen in ((0, [0, 1, 2, 3]), (2, [2])):
        other = lr.clone()
        other[:, at] += 1
        changed = (net(other) - net(lr)).abs().amax((0, 2, 3)) > 1e-4
        assert changed.nonzero().flatten().tolist() == seen


def test_the_number_of_weights_does_not_depend_on_the_channels():
    sizes = {
        sum(
            weight.numel()
            for weight in models.build("lean", bands=bands, scale=4, config=lean.Config(guides=0)).parameters()
        )
        for bands in (1, 6, 40)
    }
    assert len(sizes) == 1
