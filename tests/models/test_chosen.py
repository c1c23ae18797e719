"""The two networks whose dimensions are ours: their special parts by hand."""

from __future__ import annotations

import torch

from hypersharp.models.grdn import gradient
from hypersharp.models.ln_atten_cnn import NonLocal


def test_the_gradient_of_a_plane_is_its_slope():
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    found = gradient((3 * rows + 4 * columns)[None, None])
    assert torch.allclose(found[:, :, 1:-1, 1:-1], torch.tensor(5.0), rtol=1e-5)
    assert torch.allclose(found[0, 0, 0, 2], torch.tensor((1.5**2 + 4**2) ** 0.5), rtol=1e-5)  # the edge is repeated


def test_non_local_attention_is_the_one_with_the_matrix_between_all_voxels():
    torch.manual_seed(0)
    layer, x = NonLocal(4).double(), torch.randn(2, 4, 3, 2, 2, dtype=torch.float64)
    weight, bias = layer.query_key_value.weight.flatten(1), layer.query_key_value.bias
    with torch.no_grad():
        out = layer(x)
        for sample, found in zip(x, out, strict=True):
            voxels = sample.flatten(1).T  # (V, F)
            query, key, value = (voxels @ weight.T + bias).split(2, dim=1)
            asks = query.exp() / query.exp().sum(1, keepdim=True)
            answers = key.exp() / key.exp().sum(0, keepdim=True)
            matrix = torch.stack([(ask * answers).sum(1) for ask in asks])  # (V, V), rows that sum to one
            assert torch.allclose(matrix.sum(1), torch.ones(12, dtype=torch.float64))
            expected = voxels + matrix @ value @ layer.project.weight.flatten(1).T + layer.project.bias
            assert torch.allclose(found.flatten(1).T, expected, rtol=0, atol=1e-12)
