"""The fast depthwise convolution is torch's: values, gradients, names; and it is put where it fits only."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hypersharp import models
from hypersharp.models import lkca
from hypersharp.train.depthwise import Depthwise, accelerate


@pytest.mark.parametrize(("side", "dilation"), [(5, 1), (7, 3), (5, 2), (9, 1)])
@pytest.mark.parametrize("size", [(9, 7), (16, 16), (2, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_torch(side, dilation, size, bias):
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, side, padding=dilation * (side // 2), dilation=dilation, groups=6, bias=bias).double()
    fast = copy.deepcopy(plain)
    assert accelerate(fast) == 1
    x = torch.randn(2, 6, *size, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    weight = torch.randn(2, 6, *size, dtype=torch.float64)
    (plain(x) * weight).sum().backward()
    (fast(y) * weight).sum().backward()
    assert torch.allclose(plain(x), fast(y), atol=1e-12)
    assert torch.allclose(x.grad, y.grad, atol=1e-12)
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-11)


@pytest.mark.parametrize(
    "part",
    [
        nn.Conv2d(6, 12, 5, padding=2, groups=6),
        nn.Conv2d(6, 6, 5, padding=2),
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.Conv2d(6, 6, 2, stride=2, groups=6),
        nn.Conv2d(6, 6, 5, groups=6),
        nn.Conv2d(6, 6, (5, 1), padding=(2, 0), groups=6),
    ],
)
def test_other_convolutions_are_left_alone(part):
    assert accelerate(part) == 0
    assert type(part) is nn.Conv2d


def test_networks_keep_their_weights_and_values():
    config = lkca.Config(features=8, blocks=2, reduction=4)
    plain = models.build("lkca_net", bands=4, scale=2, config=config)
    fast = copy.deepcopy(plain)
    assert accelerate(fast) == 4
    assert list(fast.state_dict()) == list(plain.state_dict())
    lr = torch.rand(1, 4, 7, 6)
    assert torch.allclose(plain(lr), fast(lr), atol=1e-5)
    assert isinstance(copy.deepcopy(fast).blocks[0].far, Depthwise)
