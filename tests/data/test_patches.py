"""A share of the ground: how much is seen, that less is part of more, and that instances of a scene share theirs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from hypersharp.data.patches import Pair, Patches
from hypersharp.errors import UsageError

SIDE = 64  # 8 x 8 blocks of a patch


def pair(name: str = "a", *, side: int = SIDE, first: int = 0, valid: np.ndarray | None = None) -> Pair:
    """Every HR pixel holds its own number."""
    hr = first + torch.arange(side * side, dtype=torch.float64).reshape(1, side, side)
    return Pair(name, hr[:, ::2, ::2], hr, np.ones((side, side), bool) if valid is None else valid)


def patches(*pairs: Pair, share: float = 1.0, seed: int = 0, patch: int = 8, stride: int = 0) -> Patches:
    return Patches(pairs, scale=2, patch=patch, stride=stride, per_epoch=100, seed=seed, share=share)


def seen(of: Patches) -> set[float]:
    """The pixels of all its patches."""
    rows = np.concatenate([of.places, np.zeros((len(of.places), 2), int)], axis=1)
    return set(of.batch(rows).hr.flatten().tolist())


def places(of: Patches) -> set[tuple[int, ...]]:
    return {tuple(row) for row in of.places.tolist()}


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_so_much_of_the_ground_is_seen_and_no_more(share):
    """Of 64 blocks of 8 x 8 pixels each, 3 (3.2), 16 and 32; places in between that touch others are left out."""
    assert len(seen(patches(pair(), share=share))) == round(64 * share) * 64


def test_less_is_part_of_more_and_all_is_what_no_share_gives():
    scenes = [pair("a"), pair("b", first=SIDE**2)]
    shares = [patches(*scenes, share=share) for share in (0.02, 0.05, 0.25, 0.5, 0.999, 1.0)]
    for less, more in pairwise(shares):
        assert places(less) <= places(more)
        assert seen(less) <= seen(more)
    assert len(seen(shares[0])) < len(seen(shares[1])) < len(seen(shares[2]))
    np.testing.assert_array_equal(shares[-1].places, patches(*scenes).places)


def test_it_is_chosen_once_for_a_seed():
    one, same, other = (patches(pair(), share=0.25, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.places, same.places)
    assert places(one) != places(other)


def test_instances_of_a_scene_show_the_same_ground():
    """Else sixteen of them would show most of it, each another part; and their order does not matter."""
    many = patches(pair("a#0"), pair("b#1", first=SIDE**2), pair("a#2"), pair("a#3"), share=0.1)
    held = [{tuple(row[1:]) for row in many.places.tolist() if row[0] == at} for at in range(4)]
    assert held[0] == held[2] == held[3]
    assert held[0] != held[1]
    turned = patches(pair("b#0", first=SIDE**2), pair("a#1"), share=0.1)
    assert seen(turned) == seen(many)


def test_an_epoch_is_as_long_and_stays_on_the_share():
    few = patches(pair(), share=0.05)
    plan = few.plan(3)
    assert len(few) == len(plan) == 100
    assert {tuple(row[:3]) for row in plan.tolist()} <= places(few)


def test_the_smallest_share_is_a_block():
    assert len(seen(patches(pair(), share=1e-6))) == 64


def test_blocks_hold_a_place_of_the_grid_whatever_its_stride():
    """Patches of 8 at every sixth pixel: blocks of 12 pixels, 25 of them, the rest at the end with the last."""
    few = patches(pair(), share=0.2, stride=6)
    blocks = {(min(row // 12, 4), min(col // 12, 4)) for _, row, col in few.places.tolist()}
    assert len(blocks) == 5
    assert all(row % 6 == col % 6 == 0 for _, row, col in few.places.tolist())


def test_what_is_left_over_at_the_end_belongs_to_the_last_block():
    """20 pixels are two blocks of 8; the last one goes on to the end, so half the scene is 2 of 4 blocks."""
    sizes = {len(seen(patches(pair(side=20), share=0.25, seed=seed))) for seed in range(12)}
    assert sizes == {8 * 8, 8 * 12, 12 * 12}


def test_blocks_without_a_whole_patch_do_not_count():
    """Only the left upper quarter is valid: its 16 blocks are the ground."""
    valid = np.zeros((SIDE, SIDE), bool)
    valid[:32, :32] = True
    few = patches(pair(valid=valid), share=0.25)
    assert len(seen(few)) == 4 * 64
    assert few.places[:, 1:].max() <= 32 - 8


def test_no_block_free_of_invalid_pixels_is_said():
    """A patch fits only where four blocks meet."""
    valid = np.zeros((32, 32), bool)
    valid[4:12, 4:12] = True
    assert len(patches(pair(side=32, valid=valid)).places) == 1
    with pytest.raises(UsageError, match="every block of 8 pixels holds an invalid one"):
        patches(pair(side=32, valid=valid), share=0.5)
