"""How low a correction may go, by hand."""

from __future__ import annotations

import numpy as np

from hypersharp.infer.undershoot import lift, undershoot_limit


def test_undershoot_limit_by_hand():
    values = np.array([[[10.0, 20, 30], [40, 50, 60], [70, 80, -20]]])
    wanted = np.array([[9.0, 9, 18], [9, -22, -22], [36, -22, -22]])
    np.testing.assert_allclose(undershoot_limit(values, np.array([0.0]))[0], wanted)
    np.testing.assert_allclose(undershoot_limit(values, np.array([np.nan]))[0], wanted)
    np.testing.assert_allclose(undershoot_limit(values, np.array([5.0]))[0], wanted + 3)


def test_lifting_keeps_the_mean_of_a_block_where_it_can():
    limit = np.array([[[10.0, 20, 30]]])
    above = np.array([[[4.0, 2, 1, 1, 1, 2], [-3, 0, -3, 0, 3, 4]]])
    wanted = np.array([[[2.0, 1, 0, 0, 1, 2], [0, 0, 0, 0, 3, 4]]])
    sharp = above + limit.repeat(2, axis=2)
    lift(sharp, limit, 2)
    np.testing.assert_allclose(sharp, wanted + limit.repeat(2, axis=2))


def test_lifting_spares_what_was_below_before():
    sharp, change = np.array([[[4.0, 2], [-3, 0]]]), np.array([[[0.0, 0], [1, 0]]])
    lift(sharp, np.zeros((1, 1, 1)), 2, least=change)
    np.testing.assert_allclose(sharp, [[[4, 2], [-3, 0]]])  # the estimate was -4: the change did not take it lower
