"""SNLSR: attention within a pixel by plain numbers, and abundances that sum to one."""

from __future__ import annotations

import math

import pytest
import torch

from hypersharp.models import snlsr


def test_attention_within_a_pixel_by_hand():
    layer = snlsr.SpectralNonLocal(2)
    with torch.no_grad():
        layer.query_key_value.weight.copy_(torch.tensor([[1, 0], [0, 1]] * 3).float()[..., None, None])
        layer.query_key_value.bias.zero_()
        out = layer(torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1)).flatten().tolist()
    q = k = (0.6, 0.8)  # (3, 4) at length 1; the values are 3 and 4
    for query, found in zip(q, out, strict=True):
        a, b = (math.exp(query * key) for key in k)
        assert found == pytest.approx((3 * a + 4 * b) / (a + b), rel=1e-6)


def test_abundances_are_shares():
    torch.manual_seed(0)
    shares = snlsr.Encoder(7, snlsr.Config())(torch.rand(2, 7, 5, 6))
    assert shares.shape == (2, 30, 5, 6)
    assert shares.min() >= 0
    assert torch.allclose(shares.sum(1), torch.ones(2, 5, 6), rtol=0, atol=1e-6)
