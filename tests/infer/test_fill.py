"""Filling of no-data near valid pixels: means by hand, bounded reach, one answer for every window."""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp.infer.fill import fill_invalid, reach_of

from .made import holes, scene

NAN = np.nan


def filled(values, reach=2):
    values = np.array(values, dtype=np.float64)
    valid = np.isfinite(values)
    return fill_invalid(values, valid, reach)


def test_by_hand():
    """One step: means of the known of the nine around; the second step uses the first."""
    got = filled([[[4.0, NAN, NAN, NAN, NAN], [8.0, NAN, NAN, NAN, NAN], [NAN, NAN, NAN, NAN, NAN]]])
    assert got[0, 0, 1] == (4 + 8) / 2
    assert got[0, 2, 0] == 8.0
    assert got[0, 2, 1] == 8.0
    assert got[0, 0, 2] == (6 + 6) / 2
    assert got[0, 1, 2] == pytest.approx((6 + 6 + 8) / 3)
    assert (got[0, :, 3:] == 0).all()


def test_valid_pixels_stay_and_a_band_without_any_is_zero():
    values = scene((3, 9, 11))
    mask = holes(9, 11)
    values[:2, mask] = NAN
    values[2] = NAN
    got = filled(values.copy())
    np.testing.assert_array_equal(got[:2, ~mask], values[:2, ~mask])
    assert (got[2] == 0).all()
    assert np.isfinite(got).all()


def test_bands_with_their_own_masks_are_filled_alone():
    values = scene((4, 12, 13))
    for band in range(4):
        values[band, holes(12, 13, seed=band // 2)] = NAN
    alone = np.concatenate([filled(values[[band]].copy()) for band in range(4)])
    np.testing.assert_array_equal(filled(values.copy()), alone)


@pytest.mark.parametrize("reach", [1, 3, 6])
def test_nothing_further_away_than_the_reach_counts(reach):
    values = scene((2, 30, 31))
    values[:, holes(30, 31, share=0.6)] = NAN
    whole = filled(values.copy(), reach)
    for row, col in [(0, 0), (7, 12), (25, 30)]:
        near = np.s_[:, max(0, row - reach) : row + reach + 1, max(0, col - reach) : col + reach + 1]
        part = filled(values[near].copy(), reach)
        assert part[0, min(row, reach), min(col, reach)] == whole[0, row, col]


def test_reach_covers_what_is_read():
    assert reach_of(2) == 2
    assert reach_of(2, 3) == 5
    assert reach_of(40, 3) == 11
