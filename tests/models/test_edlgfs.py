"""EDLGFS: the attention without the T×T matrix is the attention with it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from hypersharp import models
from hypersharp.models import edlgfs
from hypersharp.models._count import count_parameters

SMALL = edlgfs.Config(features=24, stages=1, layers=2, heads=2)


@pytest.mark.parametrize("size", [(8, 8), (7, 13), (32, 20)])
def test_fused_attention_equals_the_naive_form(size):
    torch.manual_seed(0)
    fused = models.build("edlgfs", bands=5, scale=2, config=SMALL).double().eval()
    naive = models.build("edlgfs", bands=5, scale=2, config=dataclasses.replace(SMALL, fused=False)).double().eval()
    naive.load_state_dict(fused.state_dict())
    lr = torch.rand(2, 5, *size, dtype=torch.float64)
    with torch.no_grad():
        one, other = fused(lr), naive(lr)
    assert (one - other).abs().max() < 1e-10 * other.abs().max()


def test_attention_by_hand():
    """Two pixels, one feature: out = x + softmax(q kᵀ) v, worked out with plain numbers."""
    import math

    layer = edlgfs.LocalGlobal(edlgfs.Config(features=1, kernels=(1, 1, 1)))
    with torch.no_grad():
        for conv, weight in ((layer.query, 2.0), (layer.key, 0.5), (layer.value, 3.0)):
            conv.weight.fill_(weight)
            conv.bias.zero_()
    out = layer(torch.tensor([[[[1.0, 2.0]]]])).flatten().tolist()
    for x, value in zip((1.0, 2.0), out, strict=True):
        a, b = math.exp(2 * x * 0.5), math.exp(2 * x * 1.0)
        assert value == pytest.approx(x + (a * 3 + b * 6) / (a + b), rel=1e-6)


def test_the_text_with_3x3_stage_ends_is_a_switch():
    """The counts demand 1x1; with 3x3 the dossier's sketch has 8.60 M at 48 bands and 4 stages."""
    net = models.build("edlgfs", bands=48, scale=4, config=edlgfs.Config(stage_kernel=3))
    assert round((count_parameters(net) + 768 * 4) / 1e6, 2) == 8.60
