"""ESSAformer: the sum over pixels made first is the product with the T×T matrix."""

from __future__ import annotations

import torch

from hypersharp.models.essaformer import SpectralCorrelationAttention


def test_the_linear_form_is_the_one_with_the_matrix_between_all_pixels():
    torch.manual_seed(0)
    layer = SpectralCorrelationAttention(4).double()
    x = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    weight, bias = layer.query_key_value.weight, layer.query_key_value.bias
    with torch.no_grad():
        out = layer(x)
        for sample, found in zip(x, out, strict=True):
            q, k, v = (weight @ sample.flatten(1) + bias[:, None]).T.split(4, dim=1)  # (T, F)
            for part in (q, k):
                part -= part.mean(1, keepdim=True)
                part.square_()
                part /= part.sum(1, keepdim=True) + 1e-7
            q, k = q / q.norm(dim=1, keepdim=True), k / k.norm(dim=0, keepdim=True)
            matrix = torch.tensor([[float(a @ b) for b in k] for a in q], dtype=torch.float64)  # (T, T)
            expected = (v + matrix @ v / 15**0.5) @ layer.project.weight.T + layer.project.bias
            assert torch.allclose(found.flatten(1).T, expected, rtol=0, atol=1e-12)
