"""Cube and MSI on one grid: shrinking is the operator of the package, enlarging a straight line between centres."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hypersharp.errors import UsageError
from hypersharp.models._fusion_blocks import AddSkip, BicubicShrink, Pairs, enlarge
from hypersharp.operators import bicubic_enlarge, bicubic_shrink


@pytest.mark.parametrize("scale", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("size", [(5, 3), (1, 1)])
def test_shrinking_is_the_operator_of_the_package(scale, size):
    torch.manual_seed(0)
    hr = torch.rand(2, 3, size[0] * scale, size[1] * scale, dtype=torch.float64)
    small = BicubicShrink(scale)(hr).numpy()
    wanted = bicubic_shrink((hr.shape[2], hr.shape[3]), scale).apply(hr.numpy())
    assert small.shape == wanted.shape
    assert np.abs(small - wanted).max() < 1e-6  # the taps are kept in single precision


@pytest.mark.parametrize("scale", [2, 3, 8])
def test_enlarging_interpolates_between_the_centres_of_lr_pixels(scale):
    values = torch.tensor([3.0, 1.0, 7.0, 4.0])
    wide = enlarge(values[None, None, None].expand(1, 1, 2, 4), scale)
    centres = scale * np.arange(4) + (scale - 1) / 2
    wanted = np.interp(np.arange(4 * scale), centres, values.numpy())  # the edge is held outside
    assert wide.shape == (1, 1, 2 * scale, 4 * scale)
    assert np.allclose(wide[0, 0, 0].numpy(), wanted, rtol=0, atol=1e-6)


def test_the_pairs_hold_the_cube_first_and_the_msi_after_it_as_they_are():
    lr, msi = torch.rand(2, 5, 3, 4), torch.rand(2, 2, 9, 12)
    high, low = Pairs(3)(lr, msi)
    assert high.shape == (2, 7, 9, 12)
    assert low.shape == (2, 7, 3, 4)
    assert torch.equal(high[:, 5:], msi)
    assert torch.equal(low[:, :5], lr)
    level = Pairs(3)(torch.full_like(lr, 2.0), torch.full_like(msi, 2.0))
    assert all(torch.allclose(part, torch.tensor(2.0)) for part in level)


@pytest.mark.parametrize("skip", ["none", "bicubic", "draft"])
def test_what_the_result_is_added_to(skip):
    torch.manual_seed(0)
    sr, lr, draft = (torch.rand(2, 3, *size, dtype=torch.float64) for size in ((15, 12), (5, 4), (15, 12)))
    added = {"none": 0, "bicubic": bicubic_enlarge((5, 4), 3).apply(lr.numpy()), "draft": draft.numpy()}
    assert np.abs(AddSkip(skip, 3, 3, 3)(sr, lr, draft).numpy() - sr.numpy() - added[skip]).max() < 1e-6


def test_a_draft_of_other_channels_than_the_cube_is_refused():
    with pytest.raises(UsageError, match="as many channels as the cube, got 2 and 3"):
        AddSkip("draft", 3, 3, 2)
