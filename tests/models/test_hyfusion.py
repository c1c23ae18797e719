"""HyFusion: each pixel's attention worked out on its own, and the sizes of a block by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from hypersharp import models
from hypersharp.models import hyfusion
from hypersharp.models._count import count_parameters

SMALL = hyfusion.Config(features=8, growth=4, blocks=1, heads=2, window=4)


@pytest.mark.parametrize("shift", [0, 2])
def test_windows_equal_a_sum_for_each_pixel(shift):
    torch.manual_seed(0)
    side, heads, features, (height, width) = 4, 2, 6, (8, 4)
    layer = hyfusion.WindowAttention(features, heads, side, shift=shift).double()
    x = torch.randn(2, height, width, features, dtype=torch.float64)
    pixels = [(i, j) for i in range(height) for j in range(width)]
    with torch.no_grad():
        layer.bias.mul_(50)
        out = layer(x)
        for sample in range(2):
            three = torch.nn.functional.linear(x[sample], layer.query_key_value.weight, layer.query_key_value.bias)
            query, key, value = three.split(features, dim=-1)
            for i, j in pixels:
                mates = [
                    p
                    for p in pixels
                    if all((a - shift) // side == (b - shift) // side for a, b in zip(p, (i, j), strict=True))
                ]
                mixed = torch.zeros(features, dtype=torch.float64)
                for head, part in enumerate((slice(0, 3), slice(3, 6))):
                    scores = []
                    for k, m in mates:
                        offset = (i - k + side - 1) * (2 * side - 1) + j - m + side - 1
                        scores.append(query[i, j, part] @ key[k, m, part] / 3**0.5 + layer.bias[offset, head])
                    weights = torch.softmax(torch.stack(scores), 0)
                    mixed[part] = sum(w * value[k, m, part] for w, (k, m) in zip(weights, mates, strict=True))
                wanted = layer.project.weight @ mixed + layer.project.bias
                assert torch.allclose(out[sample, i, j], wanted, rtol=0, atol=1e-12)


def test_a_block_has_the_weights_of_its_parts():
    """Swin: 4·f² + 4·f of attention, 15² biases for each head, 4·f of norms, 2·e·f² + e·f + f of the feed-forward."""
    widths, heads, expansion = (96, 128, 160, 192, 224), (6, 4, 5, 6, 4), (2, 2, 2, 1, 1)
    swin = sum(
        4 * f * f + 4 * f + 225 * h + 4 * f + 2 * e * f * f + e * f + f
        for f, h, e in zip(widths, heads, expansion, strict=True)
    )
    narrow = sum((f + 1) * to for f, to in zip(widths, (32, 32, 32, 32, 96), strict=True))
    with torch.device("meta"):
        block = hyfusion.ReceptionBlock(hyfusion.Config())
        net = models.build("hyfusion", bands=172, scale=4, msi_bands=4)
    assert tuple(layer.attention.heads for layer in block.layers) == heads
    assert [layer.attention.shift for layer in block.layers] == [0, 4, 0, 4, 0]
    assert count_parameters(block) == swin + narrow
    convolutions = 2 * (9 * 176 + 1) * 96 + 3 * (9 * 192 + 1) * 96 + (9 * 96 + 1) * 172
    assert count_parameters(net) == 13 * (swin + narrow) + convolutions


def test_a_block_that_gives_a_constant():
    """x + 0.2 · 5, whatever the other layers say."""
    block, x = hyfusion.ReceptionBlock(SMALL), torch.rand(1, 4, 8, 8)
    with torch.no_grad():
        block.narrow[-1].weight.zero_()
        block.narrow[-1].bias.fill_(5)
        assert torch.allclose(block(x), x + 1, atol=1e-6)


@pytest.mark.parametrize("growth", [0, 1, 2, 3])
def test_every_layer_sees_what_those_before_it_found(growth):
    """A change of the features that layer `growth` adds reaches the block's end through the last layer's own input."""
    torch.manual_seed(0)
    block, seen = hyfusion.ReceptionBlock(SMALL).eval(), []
    block.layers[-1].register_forward_hook(lambda module, args, out: seen.append(args[0]))
    x = torch.rand(1, 4, 4, 8)
    with torch.no_grad():
        block(x)
        block.narrow[growth].bias.add_(3)  # well above zero, where the leaky ReLU has a slope of one
        block(x)
    before, after = seen
    first = 8 + 4 * growth
    assert torch.equal(before[..., :first], after[..., :first])
    assert (after[..., first : first + 4] - before[..., first : first + 4]).mean() > 2


def test_sides_are_mirrored_up_to_whole_windows_and_cut_again():
    torch.manual_seed(0)
    blocks = hyfusion.Blocks(1, SMALL).eval()
    x = torch.rand(1, 8, 6, 5)
    mirrored = torch.cat([x, x.flip(2)[:, :, :2]], dim=2)
    mirrored = torch.cat([mirrored, mirrored.flip(3)[..., :3]], dim=3)
    with torch.no_grad():
        assert torch.equal(blocks(x), blocks(mirrored)[:, :, :6, :5])


def test_both_trunks_and_both_images_count():
    torch.manual_seed(0)
    net = models.build("hyfusion", bands=4, scale=2, config=dataclasses.replace(SMALL, blocks=2), msi_bands=2).eval()
    lr, msi = torch.rand(1, 4, 4, 4), torch.rand(1, 2, 8, 8)
    with torch.no_grad():
        whole = net(lr, msi)
        for other in (net(torch.rand_like(lr), msi), net(lr, torch.rand_like(msi))):
            assert (other - whole).abs().max() > 1e-2 * whole.std()
