"""Scales between those of the networks: the reduction is MATLAB's, and tiles agree with the whole."""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp import Cube, Using
from hypersharp.operators.axis import reduce_bicubic, shrink_bicubic
from hypersharp.pipeline import Tiling, prepare
from hypersharp.weights import serving, shipped_scales


@pytest.mark.parametrize(("n_in", "n_out"), [(24, 12), (30, 10), (32, 8)])
def test_a_whole_ratio_is_the_shrinking_of_the_papers(n_in, n_out):
    ours, known = reduce_bicubic(n_in, n_out), shrink_bicubic(n_in, n_in // n_out)
    assert np.allclose(ours.matrix(), known.matrix(), atol=1e-12)


@pytest.mark.parametrize(("n_in", "n_out"), [(40, 25), (32, 24), (56, 49)])
def test_a_ramp_stays_the_ramp_of_its_centres(n_in, n_out):
    """Centres of pixels are kept, so a straight line is, but near the mirrored ends."""
    ramp = (np.arange(n_in) + 0.5) / n_in
    reduced = reduce_bicubic(n_in, n_out).matrix() @ ramp
    assert np.allclose(reduced[4:-4], ((np.arange(n_out) + 0.5) / n_out)[4:-4], atol=1e-3)


def test_a_scale_without_a_network_of_its_own_is_served_by_the_next_larger():
    between = [scale for scale in range(2, max(shipped_scales())) if scale not in shipped_scales()]
    assert between, "every scale up to the largest has its own network now"
    scale = between[0]
    path = serving(scale)
    assert path is not None
    assert int(path.stem[1:]) == min(own for own in shipped_scales() if own > scale)
    smooth = np.cumsum(np.cumsum(np.random.default_rng(0).normal(size=(6, 40, 36)), axis=1), axis=2)
    cube = Cube.from_array((smooth + 500).astype(np.float32))
    using = Using(force=True)
    whole = prepare(cube, scale=scale, using=using).cube
    tiled = prepare(cube, scale=scale, using=using, tiling=Tiling(tile=16)).cube
    assert f"reduced from {path.stem}" in whole.history[-1]
    assert whole.shape == (6, 40 * scale, 36 * scale)
    one, other = whole.read()[0], tiled.read()[0]
    assert np.abs(one - other).max() < 1e-4 * np.ptp(one)


def test_nothing_serves_a_scale_beyond_the_largest():
    assert serving(max(shipped_scales()) + 1) is None
