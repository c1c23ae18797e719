"""Splits and patches: no validation pixel in a training patch, every place on the grid, epochs that repeat."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hypersharp.data.patches import Pair, Patches
from hypersharp.data.split import split_block
from hypersharp.errors import UsageError
from hypersharp.operators import bicubic_shrink

SIDES = ["top", "bottom", "left", "right"]


def pair(hr: np.ndarray, scale: int = 2, valid: np.ndarray | None = None) -> Pair:
    held = torch.from_numpy(hr)
    lr = bicubic_shrink(hr.shape[1:], scale).apply(held)
    return Pair("scene", lr, held, np.ones(hr.shape[1:], bool) if valid is None else valid)


@pytest.mark.parametrize("side", SIDES)
def test_no_validation_pixel_lies_in_a_training_patch(side):
    """Every pixel holds its own number; the numbers of all patches of an epoch and of the block never meet."""
    height, width, size, gap = 40, 44, 12, 4
    numbers = np.arange(height * width, dtype=np.float64).reshape(1, height, width)
    training, validation = split_block((height, width), side=side, size=size, gap=gap)
    block = numbers[:, slice(*validation.rows), slice(*validation.cols)]
    part = numbers[:, slice(*training.rows), slice(*training.cols)]
    patches = Patches([pair(part)], scale=2, patch=8, stride=2)
    seen = set()
    for rows in np.array_split(patches.plan(0), 10):
        seen |= set(patches.batch(rows).hr.flatten().tolist())
    assert seen == set(part.flatten().tolist())
    assert not seen & set(block.flatten().tolist())
    ys, xs = (np.array(sorted(seen)).astype(int) // width, np.array(sorted(seen)).astype(int) % width)
    by, bx = (block.flatten().astype(int) // width, block.flatten().astype(int) % width)
    nearest = max(max(by.min() - ys.max(), ys.min() - by.max()), max(bx.min() - xs.max(), xs.min() - bx.max()))
    assert nearest == gap + 1


@pytest.mark.parametrize(("size", "gap"), [(40, 0), (30, 10), (0, 0), (10, -1)])
def test_a_block_that_leaves_nothing_is_refused(size, gap):
    with pytest.raises(UsageError, match="leaves nothing"):
        split_block((40, 100), side="top", size=size, gap=gap)


def test_places_of_a_stride_are_those_of_the_paper():
    """64-pixel patches at stride 20 in 601 x 2384 pixels: 27 x 117 by (n - 64) // 20 + 1."""
    held = np.zeros((1, 600, 2384), np.float32)
    patches = Patches(
        [Pair("x", torch.zeros(1, 150, 596), torch.from_numpy(held), held[0] == 0)], scale=4, patch=64, stride=20
    )
    assert len(patches) == 27 * 117


def test_lr_patches_lie_under_their_hr_patches():
    hr = np.random.default_rng(0).random((3, 24, 20))
    whole = pair(hr)
    patches = Patches([whole], scale=2, patch=8, per_epoch=40, augment="none")
    plan = patches.plan(3)
    batch = patches.batch(plan)
    for (_, row, col, _, _), low, high in zip(plan.tolist(), batch.lr, batch.hr, strict=True):
        assert torch.equal(high, whole.hr[:, row : row + 8, col : col + 8])
        assert torch.equal(low, whole.lr[:, row // 2 : row // 2 + 4, col // 2 : col // 2 + 4])


def test_crop_then_degrade_mirrors_at_the_patch():
    """As the papers do: the patch's LR is that of the patch alone, so it differs from the scene's near its border."""
    hr = np.random.default_rng(0).random((3, 24, 20))
    patches = Patches([pair(hr)], scale=2, patch=8, per_epoch=5, degrade=bicubic_shrink((8, 8), 2))
    batch = patches.batch(patches.plan(0))
    alone = bicubic_shrink((8, 8), 2).apply(batch.hr.numpy())
    assert np.allclose(batch.lr.numpy(), alone, atol=1e-12)


@pytest.mark.parametrize(("augment", "kinds"), [("none", 1), ("rotations", 4), ("all", 8)])
def test_turns_are_the_same_in_lr_and_hr_and_all_occur(augment, kinds):
    hr = np.random.default_rng(0).random((1, 8, 8))
    patches = Patches([pair(hr)], scale=2, patch=8, per_epoch=200, augment=augment)
    batch = patches.batch(patches.plan(0))
    assert len({tuple(high.flatten().tolist()) for high in batch.hr}) == kinds
    shrink = bicubic_shrink((8, 8), 2)
    assert torch.allclose(shrink.apply(batch.hr), batch.lr, atol=1e-12)


def test_gains_are_those_of_a_patch_in_lr_and_hr():
    hr = np.random.default_rng(0).random((6, 24, 20)) + 1
    plain, varied = (Patches([pair(hr)], scale=2, patch=8, per_epoch=9, augment="none", gain=g) for g in (0, 0.3))
    plan = plain.plan(0)
    assert np.array_equal(plan, varied.plan(0))
    one, other = plain.batch(plan), varied.batch(plan)
    gains = (other.hr / one.hr).numpy()
    assert np.allclose(gains, gains[:, :, :1, :1], rtol=1e-6)
    assert np.allclose((other.lr / one.lr).numpy(), gains[:, :, :4, :4], rtol=1e-6)
    spread = np.log(gains[:, :, 0, 0])
    assert len(np.unique(spread[:, 0])) == 9
    assert 0.15 < spread.std() < 0.6
    again = varied.batch(plan[3:4])
    assert torch.equal(again.hr[0], other.hr[3])


def test_epochs_repeat_and_differ_and_go_through_all_places():
    patches = Patches([pair(np.zeros((1, 24, 20))), pair(np.zeros((1, 16, 16)))], scale=2, patch=8, per_epoch=500)
    assert np.array_equal(patches.plan(4), patches.plan(4))
    assert not np.array_equal(patches.plan(4), patches.plan(5))
    assert len({tuple(row[:3]) for row in patches.plan(0).tolist()}) == len(patches.places) == 9 * 7 + 5 * 5


def test_patches_keep_away_from_invalid_pixels():
    valid = np.ones((24, 20), bool)
    valid[10, 9] = False
    places = Patches([pair(np.zeros((1, 24, 20)), valid=valid)], scale=2, patch=8).places
    expected = {(r, c) for r in range(0, 17, 2) for c in range(0, 13, 2) if not (r <= 10 < r + 8 and c <= 9 < c + 8)}
    assert {(r, c) for _, r, c in places.tolist()} == expected


@pytest.mark.parametrize(("size", "said"), [((24, 6), "less than a patch of 8"), ((8, 8), "holds an invalid pixel")])
def test_scenes_that_hold_no_patch_are_refused(size, said):
    valid = np.ones(size, bool)
    valid[3, 3] = False
    with pytest.raises(UsageError, match=said):
        Patches([pair(np.zeros((1, *size)), valid=valid)], scale=2, patch=8)
