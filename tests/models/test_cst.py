"""CST: each pixel's attention worked out on its own, in plain and in shifted windows."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hypersharp.models.cst import CrossScopeAttention


@pytest.mark.parametrize("shifted", [False, True])
def test_windows_equal_a_sum_for_each_pixel(shifted):
    torch.manual_seed(0)
    (tall, wide), heads, features = (2, 4), 2, 8
    layer = CrossScopeAttention((tall, wide), 3, heads, shifted=shifted).double()
    x = torch.randn(2, 3 * features, 4, 8, dtype=torch.float64)
    up, left = (1, 2) if shifted else (0, 0)
    with torch.no_grad():
        out = layer(x)
        for sample in range(2):
            query, key, value = x[sample].split(features)
            rolled = torch.roll(query, (-up, -left), (1, 2))
            asks = torch.cat(
                [
                    functional.adaptive_avg_pool2d(rolled[:4], (tall, wide)),
                    functional.adaptive_max_pool2d(rolled[4:], (tall, wide)),
                ]
            )  # (features, tall, wide), one for the whole image
            pixels = [(i, j) for i in range(4) for j in range(8)]

            def cell(i, j):
                return (i - up) // tall, (j - left) // wide

            for i, j in pixels:
                mates = [p for p in pixels if cell(*p) == cell(i, j)]
                ask = asks[:, (i - up) % tall, (j - left) % wide]
                for head, part in enumerate((slice(0, 4), slice(4, 8))):
                    scores = []
                    for k, m in mates:
                        offset = torch.tensor([float(i - k), float(j - m)], dtype=torch.float64)
                        bias = layer.bias.steps(layer.bias.start(offset))[head]
                        scores.append(ask[part] @ key[part, k, m] / 2 + bias)
                    weights = torch.softmax(torch.stack(scores), 0)
                    expected = sum(w * value[part, k, m] for w, (k, m) in zip(weights, mates, strict=True))
                    assert torch.allclose(out[sample, part, i, j], expected, rtol=0, atol=1e-12)
