"""Shared blocks by hand: groups of bands, their average, mirrored margins."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from hypersharp.models import lkca
from hypersharp.models._blocks import (
    DepthwiseConv,
    PlanesShuffle,
    VolumeConv,
    average_groups,
    band_groups,
    mirror_pad,
)


@pytest.mark.parametrize(("bands", "number"), [(128, 21), (48, 8), (102, 17), (8, 1), (9, 2), (3, 1), (1, 1)])
def test_groups_of_eight_that_overlap_by_two(bands, number):
    """21, 8 and 17 groups are what SSPSR's and MSDformer's counts hold for the three data sets."""
    groups = band_groups(bands, 8, 2)
    assert len(groups) == number
    assert {at.stop - at.start for at in groups} == {min(8, bands)}
    assert {band for at in groups for band in range(at.start, at.stop)} == set(range(bands))
    assert groups[-1].stop == bands
    assert all(after.start == before.start + 6 for before, after in itertools.pairwise(groups[:-1]))


def test_bands_that_groups_share_are_averaged():
    groups = band_groups(5, 4, 2)  # bands 0-3 and 1-4
    parts = [torch.full((1, 4, 1, 1), 1.0), torch.full((1, 4, 1, 1), 4.0)]
    assert average_groups(parts, groups).flatten().tolist() == [1.0, 2.5, 2.5, 2.5, 4.0]
    x = torch.rand(2, 11, 3, 2)
    groups = band_groups(11, 4, 1)
    assert torch.allclose(average_groups([x[:, at] for at in groups], groups), x)


def test_margins_are_mirrored_with_the_edge_repeated():
    x = torch.tensor([[1.0, 2.0, 3.0]])
    assert mirror_pad(x, 1, 2, 1).tolist() == [[2, 1, 1, 2, 3, 3]]
    assert mirror_pad(x, 1, 0, 5).tolist() == [[1, 2, 3, 3, 2, 1, 1, 2]]
    assert mirror_pad(x[:, :1], 1, 2, 2).tolist() == [[1, 1, 1, 1, 1]]


@pytest.mark.parametrize(("side", "dilation"), [(5, 1), (7, 3), (5, 2), (9, 1)])
@pytest.mark.parametrize("size", [(9, 7), (16, 16), (2, 3)])
def test_depthwise_convolution_and_its_gradients_are_those_of_torch(side, dilation, size):
    torch.manual_seed(0)
    padding = dilation * (side // 2)
    plain = nn.Conv2d(6, 6, side, padding=padding, dilation=dilation, groups=6).double()
    same_values_and_gradients(plain, DepthwiseConv(6, side, dilation).double(), torch.randn(2, 6, *size))


@pytest.mark.parametrize("kernel", [(1, 3, 5), (3, 1, 1), (1, 1, 1), (3, 3, 3)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("batch", [1, 2])
def test_convolution_of_volumes_and_its_gradients_are_those_of_torch(kernel, layout, batch):
    torch.manual_seed(0)
    plain = nn.Conv3d(4, 6, kernel, padding=tuple(side // 2 for side in kernel)).double()
    x = torch.randn(batch, 4, 5, 3, 7).contiguous(memory_format=layout)
    same_values_and_gradients(plain, VolumeConv(4, 6, kernel).double(), x)


def same_values_and_gradients(plain: nn.Module, ours: nn.Module, start: torch.Tensor) -> None:
    """Both modules, with the weights of `plain`, give one result and one gradient of everything."""
    ours.load_state_dict(plain.state_dict())
    x = start.double().requires_grad_()
    y = x.detach().clone().requires_grad_()
    weight = torch.randn(plain(x).shape, dtype=torch.float64)
    (plain(x) * weight).sum().backward()
    (ours(y) * weight).sum().backward()
    assert torch.allclose(plain(x), ours(y), atol=1e-12)
    assert torch.allclose(x.grad, y.grad, atol=1e-12)
    for one, other in zip(plain.parameters(), ours.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-11)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_planes_are_those_of_pixel_shuffle_and_lie_band_by_band(layout):
    x = torch.rand(2, 18, 3, 5).to(memory_format=layout)
    planes = PlanesShuffle(3)(x)
    assert torch.equal(planes, nn.PixelShuffle(3)(x))
    assert planes.is_contiguous()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_channel_weights_folded_into_the_mix_are_those_applied_to_the_channels(layout):
    """Without gradients one window takes the folded way; with them, the written one."""
    torch.manual_seed(0)
    block = lkca.LargeKernelBlock(lkca.Config(features=16, reduction=4)).double()
    x = torch.randn(1, 16, 7, 5, dtype=torch.float64).to(memory_format=layout)
    with torch.no_grad():
        folded = block(x)
    assert torch.allclose(folded, block(x), rtol=0, atol=1e-12)
