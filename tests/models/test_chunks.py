"""Networks that take a large cube in runs of bands give what they give in one piece."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from hypersharp import models
from hypersharp.errors import UsageError
from hypersharp.models import fcnn3d, mcnet

SMALL = {"fcnn3d": fcnn3d.Config(features=(6, 5, 4)), "mcnet": mcnet.Config(features=4, modules=1)}


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("voxels", [1, 200, 600])
def test_runs_of_bands_are_exact(name, voxels):
    torch.manual_seed(0)
    whole = models.build(name, bands=9, scale=2, config=SMALL[name]).double().eval()
    config = dataclasses.replace(SMALL[name], voxels=voxels)  # 1, 2 and 6 bands of 10×10 HR pixels at once
    parts = models.build(name, bands=9, scale=2, config=config).double().eval()
    parts.load_state_dict(whole.state_dict())
    lr = torch.rand(1, 9, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        one, other = whole(lr), parts(lr)
    assert (one - other).abs().max() < 1e-12 * one.abs().max()


def test_band_means_leave_and_come_back():
    config = mcnet.Config(features=4, modules=1, band_means=(1.0, 2.0))
    net = models.build("mcnet", bands=2, scale=2, config=config)
    with torch.no_grad():
        net.tail.bias.zero_()
        net.tail.parametrizations.weight.original0.zero_()  # the lengths of the weights: the network gives nothing
        assert net(torch.rand(1, 2, 3, 3)).mean(dim=(0, 2, 3)).tolist() == [1.0, 2.0]
    with pytest.raises(UsageError, match="one value for each of 3 bands, got 2"):
        models.build("mcnet", bands=3, scale=2, config=config)
