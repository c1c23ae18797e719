"""The laws of a plan: integers that partition a scene, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypersharp.errors import UsageError
from hypersharp.infer.tiles import plan, tile_for_memory

SIZES = st.integers(1, 70)


@given(shape=st.tuples(SIZES, SIZES), tile=st.integers(1, 80), halo=st.integers(0, 40), scale=st.integers(2, 8))
@settings(max_examples=150, deadline=None)
def test_cores_partition_and_windows_hold_their_halo(shape, tile, halo, scale):
    made = plan(shape, tile=tile, halo=halo, scale=scale)
    seen = np.zeros(shape, dtype=int)
    tiles = list(made.tiles())
    for one in tiles:
        seen[slice(*one.rows), slice(*one.cols)] += 1
        for core, window, size in ((one.rows, one.window_rows, shape[0]), (one.cols, one.window_cols, shape[1])):
            assert 0 <= window[0] <= core[0] < core[1] <= window[1] <= size
            assert core[0] - window[0] >= min(halo, core[0])
            assert window[1] - core[1] >= min(halo, size - core[1])
    assert (seen == 1).all()
    sizes = {(one.window_rows[1] - one.window_rows[0], one.window_cols[1] - one.window_cols[0]) for one in tiles}
    assert sizes == {made.window}
    assert len(tiles) == len(made)
    assert made.core == (min(tile, shape[0]), min(tile, shape[1]))


@given(shape=st.tuples(SIZES, SIZES), tile=st.integers(1, 80), halo=st.integers(0, 20), step=st.integers(1, 9))
@settings(max_examples=150, deadline=None)
def test_windows_start_at_multiples_and_are_multiples_once_padded(shape, tile, halo, step):
    made = plan(shape, tile=tile, halo=halo, scale=2, multiple_of=step)
    padded = set()
    for one in made.tiles():
        for core, window, size in ((one.rows, one.window_rows, shape[0]), (one.cols, one.window_cols, shape[1])):
            assert window[0] % step == 0
            assert window[1] % step == 0 or window[1] == size
            assert window[0] <= max(0, core[0] - halo)
            assert window[1] >= min(size, core[1] + halo)
        spans = (one.window_rows, one.window_cols)
        padded.add(tuple(-(-(stop - start) // step) * step for start, stop in spans))
    assert len(padded) == 1


@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    tile=st.integers(1, 12),
    scale=st.integers(2, 5),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_the_tiles_that_touch_a_region_are_those_that_meet_it(shape, tile, scale, data):
    made = plan(shape, tile=tile, halo=1, scale=scale)
    rows = sorted(data.draw(st.tuples(*[st.integers(0, shape[0] * scale)] * 2)))
    cols = sorted(data.draw(st.tuples(*[st.integers(0, shape[1] * scale)] * 2)))
    meets = [
        one
        for one in made.tiles()
        if max(one.rows[0] * scale, rows[0]) < min(one.rows[1] * scale, rows[1])
        and max(one.cols[0] * scale, cols[0]) < min(one.cols[1] * scale, cols[1])
    ]
    if rows[0] < rows[1] and cols[0] < cols[1]:
        assert list(made.touching(tuple(rows), tuple(cols))) == meets


@pytest.mark.parametrize(("tile", "halo"), [(0, 1), (-3, 1), (4, -1)])
def test_impossible_tiles_are_refused(tile, halo):
    with pytest.raises(UsageError, match="at least 1 pixel"):
        plan((9, 9), tile=tile, halo=halo, scale=2)


@given(
    memory=st.integers(1 << 16, 1 << 36),
    window=st.integers(1, 10_000),
    core=st.integers(1, 1_000_000),
    halo=st.integers(0, 60),
    scale=st.integers(2, 8),
)
@settings(max_examples=200, deadline=None)
def test_a_tile_fits_its_memory_or_is_small(memory, window, core, halo, scale):
    tile = tile_for_memory(memory, window_bytes=window, core_bytes=core, halo=halo, scale=scale)
    assert tile >= 1
    taken = (tile + 2 * halo) ** 2 * window + tile**2 * core
    assert taken <= memory or tile <= 8
    more = tile_for_memory(memory * 4, window_bytes=window, core_bytes=core, halo=halo, scale=scale)
    assert more >= tile
