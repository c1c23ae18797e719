"""CSAKD and S3RNet: the attention by hand, the published counts to the last digit, each way of fusing."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from hypersharp import models
from hypersharp.errors import UsageError
from hypersharp.models import csakd
from hypersharp.models._count import THOP, count_macs, count_parameters

SMALL = csakd.Config(features=8, growth=4, depths=(1, 1, 1, 1), inner=6, heads=2)


def at_172_bands(config, msi_bands=4):
    with torch.device("meta"):
        return models.build("csakd_teacher", bands=172, scale=4, config=config, msi_bands=msi_bands)


def attention(**options):
    torch.manual_seed(0)
    layer = csakd.CrossAttention(dataclasses.replace(SMALL, **options)).double()
    branches = [torch.randn(2, 8, 3, 5, dtype=torch.float64) for _ in range(4)]
    return layer, branches


@pytest.mark.parametrize(("config", "live"), [(csakd.Config(), 26_807_686), (csakd.StudentConfig(), 7_449_946)])
def test_live_weights_and_the_temperatures_that_correct_attention_adds(config, live):
    """Layer by layer from the dossier: stems, 20 or 5 groups (4 of them grouped), fusion and head."""
    assert count_parameters(at_172_bands(config)) == live + 4
    assert count_parameters(at_172_bands(dataclasses.replace(config, literal=True))) == live


@pytest.mark.parametrize(
    ("config", "printed", "measured"),
    [(csakd.Config(), 941.77, (235.7, 943.0)), (csakd.StudentConfig(), 144.77, (36.5, 146.0))],
)
def test_multiply_accumulates(config, printed, measured):
    """The printed ones leave the attention out; those measured on the published code hold all that it computes.

    That is: attention contracted over four indices, 16³ for each head and pixel; four products for each value of the
    bilinear enlargement, and one for each of the two enlarged trunks.
    """
    literal = at_172_bands(dataclasses.replace(config, literal=True))
    macs = count_macs(literal, bands=172, lr_size=(64, 64), msi=(4, 4), rules=THOP)
    assert macs / 1e9 == pytest.approx(printed, abs=0.01)
    for side, wanted in zip((32, 64), measured, strict=True):
        more = (16 * side**2) * (4 * 16**3 + 4 * 172 + 2 * 86)
        assert round((count_macs(literal, bands=172, lr_size=(side, side), msi=(4, 4)) + more) / 1e9, 1) == wanted


def test_the_figures_have_longer_stems_and_a_wider_projection():
    """Four 3×3 convolutions of 86 features with biases, and 86 channels of Z more into the last 1×1."""
    drawn = count_parameters(at_172_bands(csakd.Config(drawn=True)))
    assert drawn - count_parameters(at_172_bands(csakd.Config())) == 4 * (9 * 86 + 1) * 86 + 86 * 86


@pytest.mark.parametrize("drawn", [False, True])
def test_attention_equals_a_sum_for_each_channel(drawn):
    layer, (cube, msi, low, high) = attention(drawn=drawn)
    layer.temperature.data = torch.tensor([[[2.0]], [[0.5]]], dtype=torch.float64)
    with torch.no_grad():
        out = layer(cube, msi, low, high)
        for sample in range(2):
            query, key, value = (
                torch.einsum("oi,ip->op", part.weight.flatten(1), x[sample].flatten(1)) + part.bias[:, None]
                for part, x in ((layer.query, cube), (layer.key, msi), (layer.value, low))
            )  # (6, 15), three channels for each head
            mixed = torch.zeros_like(value)
            for head, temperature in enumerate((2.0, 0.5)):
                for asks in range(3 * head, 3 * head + 3):
                    like = [
                        temperature * query[asks] @ key[at] / (query[asks].norm() * key[at].norm())
                        for at in range(3 * head, 3 * head + 3)
                    ]
                    weights = torch.softmax(torch.stack(like), 0)
                    mixed[asks] = sum(weights[at] * value[3 * head + at] for at in range(3))
            mixed, skip = mixed.reshape(6, 3, 5), high[sample]
            both = torch.cat([mixed, skip]) if drawn else mixed
            wanted = torch.einsum("oi,ihw->ohw", layer.project.weight.flatten(1), both)
            wanted = wanted + layer.project.bias[:, None, None] + (0 if drawn else skip)
            assert torch.allclose(out[sample], wanted, rtol=0, atol=1e-12)


def test_the_published_contraction_is_the_plain_sum_of_the_values():
    layer, (cube, msi, low, high) = attention(literal=True)
    out = layer(cube, msi, low, high)
    value = layer.value(low).reshape(2, 2, 3, 3, 5)
    summed = value.sum(2, keepdim=True).expand_as(value).reshape(2, 6, 3, 5)
    assert torch.allclose(out, layer.project(summed) + high, rtol=0, atol=1e-12)
    out.square().sum().backward()
    assert layer.query.weight.grad.abs().max() < 1e-10 * layer.value.weight.grad.abs().max()


def test_correct_attention_asks_and_does_not_depend_on_how_large_the_scene_is():
    """The same scene twice side by side: the same weights, hence the same result in both halves."""
    layer, branches = attention()
    out = layer(*branches)
    twice = layer(*(torch.cat([x, x], dim=3) for x in branches))
    assert torch.allclose(twice, torch.cat([out, out], dim=3), rtol=0, atol=1e-12)
    out.square().sum().backward()
    assert layer.query.weight.grad.abs().max() > 1e-3 * layer.value.weight.grad.abs().max()


def test_a_group_of_blocks_that_give_constants():
    """Blocks add 0.2 · 5 each: x + 0.2 · (x + 3 · 0.2 · 5); as drawn, the last one's 5 stands alone."""
    x = torch.rand(1, 4, 3, 3)
    for drawn, wanted in ((False, 1.2 * x + 0.2 * 3), (True, x + 0.2 * 5)):
        group = csakd.ResidualGroup(4, 2, 1, drawn=drawn)
        with torch.no_grad():
            for block in group.blocks:
                block.layers[-1].weight.zero_()
                block.layers[-1].bias.fill_(5)
            assert torch.allclose(group(x), wanted, atol=1e-6)


def test_each_way_of_fusing_with_weights_of_zero():
    """Gates of zero are a half; attention of zero leaves the pair at HR."""
    branches = [torch.full((1, 8, 2, 2), value) for value in (1.0, 2.0, 4.0, 8.0)]
    wanted = {"sum": 15, "channel_gates": 7.5, "gates": 7.5, "attention": 8, "attention_gates": 7.5}
    for way, value in wanted.items():
        fuse = csakd.Fuse(dataclasses.replace(SMALL, fusion=way))
        with torch.no_grad():
            for weight in fuse.parameters():
                weight.zero_()
            assert torch.allclose(fuse(*branches), torch.tensor(float(value))), way


@pytest.mark.parametrize("way", ["sum", "channel_gates", "gates"])
@pytest.mark.parametrize("scale", [2, 3])
def test_without_attention_a_tile_with_its_halo_is_the_whole(way, scale):
    config = dataclasses.replace(SMALL, fusion=way, depths=(1, 1, 0, 0), drawn=scale == 3, skip="draft")
    halo, cut = csakd.halo(config), 2
    assert halo is not None
    torch.manual_seed(0)
    net = models.build("csakd_teacher", bands=4, scale=scale, config=config, msi_bands=4).eval()
    side = cut + halo + 2
    lr, msi = torch.rand(1, 4, side, side), torch.rand(1, 4, side * scale, side * scale)
    with torch.no_grad():
        for block in net.modules():  # fresh dense blocks give next to nothing
            if isinstance(block, csakd.DenseBlock):
                for layer in block.layers:
                    layer.weight.mul_(10)
        whole, tile = net(lr, msi), net(lr[:, :, cut:, cut:], msi[:, :, cut * scale :, cut * scale :])
    core = tile[:, :, halo * scale :, halo * scale :]
    kept = whole[:, :, (cut + halo) * scale :, (cut + halo) * scale :]
    assert core.shape[2] == 2 * scale
    assert (core - kept).abs().max() < 1e-5 * whole.std()
    off = tile[:, :, : 2 * scale] - whole[:, :, cut * scale : (cut + 2) * scale, cut * scale :]
    assert off.abs().max() > 1e-3 * whole.std(), "without its halo it is not"


@pytest.mark.parametrize("name", ["csakd_teacher", "hyfusion"])
def test_the_skip_is_the_bicubic_of_the_cube(name):
    from hypersharp.operators import bicubic_enlarge

    config = dataclasses.replace(models.get_spec(name).config(), features=8, growth=4, skip="bicubic")
    net = models.build(name, bands=4, scale=2, config=config, msi_bands=2)
    lr, msi = torch.rand(1, 4, 5, 3), torch.rand(1, 2, 10, 6)
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
        wide = torch.from_numpy(bicubic_enlarge((5, 3), 2).apply(lr.double().numpy()))
        assert torch.allclose(net(lr, msi).double(), wide, atol=1e-5)


@pytest.mark.parametrize(("wrong", "message"), [({"heads": 4}, "heads must divide 6"), ({"cube_groups": 3}, "got 3")])
def test_settings_that_do_not_divide(wrong, message):
    with pytest.raises(UsageError, match=message):
        models.build("s3rnet", bands=4, scale=2, config=s3rnet_config(**wrong), msi_bands=2)


def s3rnet_config(**options):
    return models.get_spec("s3rnet").config(**dataclasses.asdict(dataclasses.replace(SMALL, **options)))
