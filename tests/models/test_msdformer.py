"""MSDformer: deformable sampling against a sum over pixels, and a convolution where nothing is moved."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from hypersharp.models.msdformer import DeformableConv


def fresh(features):
    torch.manual_seed(0)
    return DeformableConv(features).double()


def test_offsets_start_at_zero_where_it_is_a_plain_convolution():
    layer, x = fresh(3), torch.randn(2, 3, 5, 4, dtype=torch.float64)
    kernel = layer.taps.weight.reshape(3, 3, 3, 3)
    assert torch.allclose(layer(x), functional.conv2d(x, kernel, padding=1), rtol=0, atol=1e-12)


def test_positions_are_exact_in_bfloat16_beyond_column_256():
    layer, x = fresh(2).float(), torch.randn(1, 2, 3, 400)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
        wanted = functional.conv2d(x, layer.taps.weight.reshape(2, 2, 3, 3), padding=1)
    assert (found - wanted).abs().max() < 0.05 * wanted.std()


def test_taps_that_are_moved_equal_a_direct_sum():
    layer, x = fresh(2), torch.randn(2, 2, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        layer.offsets.weight.normal_()
        layer.offsets.bias.normal_()
        out, offsets = layer(x), layer.offsets(x)
    assert offsets.abs().max() > 3, "some taps should leave the image"
    kernel = layer.taps.weight.detach().reshape(2, 2, 9)
    for n, i, j in ((n, i, j) for n in range(2) for i in range(4) for j in range(5)):
        total = [0.0, 0.0]
        for tap in range(9):
            row = i + tap // 3 - 1 + offsets[n, 2 * tap, i, j].item()
            column = j + tap % 3 - 1 + offsets[n, 2 * tap + 1, i, j].item()
            for r in (math.floor(row), math.floor(row) + 1):
                for c in (math.floor(column), math.floor(column) + 1):
                    if 0 <= r < 4 and 0 <= c < 5:
                        share = (1 - abs(row - r)) * (1 - abs(column - c))
                        for channel in range(2):
                            value = share * x[n, channel, r, c].item()
                            total[0] += kernel[0, channel, tap].item() * value
                            total[1] += kernel[1, channel, tap].item() * value
        assert torch.allclose(out[n, :, i, j], torch.tensor(total, dtype=torch.float64), rtol=0, atol=1e-12)
