"""Maps along one axis: weights known by hand, borders, windows and the Gram matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hypersharp.errors import UsageError
from hypersharp.operators import Axis
from hypersharp.operators.axis import enlarge_bicubic, shrink_bicubic, shrink_kernel

# Keys' cubic with a = -0.5 at 1/4, 3/4, 5/4, 7/4, worked out by hand:
# |t| <= 1: 3/2 t^3 - 5/2 t^2 + 1;  1 < |t| < 2: -1/2 t^3 + 5/2 t^2 - 4 t + 2
K1, K3, K5, K7 = 0.8671875, 0.2265625, -0.0703125, -0.0234375

AXES = [
    *(enlarge_bicubic(n, s) for n in (1, 2, 3, 7, 20) for s in (2, 3, 4, 5, 8)),
    *(shrink_bicubic(n * s, s) for n in (1, 2, 3, 7, 20) for s in (1, 2, 3, 4, 5, 8)),
    shrink_kernel(20, 2, taps=np.array([0.1, 0.4, 0.4, 0.1])),
    shrink_kernel(21, 3, taps=np.array([1.0])),
    shrink_kernel(4, 4, taps=np.linspace(1, 2, 30), offset=-11),
]


def test_enlarging_by_two_has_the_weights_worked_out_by_hand() -> None:
    dense = enlarge_bicubic(10, 2).matrix()
    assert dense[8, 2:6].tolist() == [K7, K3, K1, K5]  # HR pixel 2i, LR pixels i-2 … i+1
    assert dense[9, 3:7].tolist() == [K5, K1, K3, K7]  # HR pixel 2i+1, LR pixels i-1 … i+2
    assert np.count_nonzero(dense[8]) == np.count_nonzero(dense[9]) == 4


def test_enlarging_by_three_has_the_weights_worked_out_by_hand() -> None:
    dense = enlarge_bicubic(10, 3).matrix()
    np.testing.assert_allclose(dense[12, 2:6], [-1 / 27, 1 / 3, 7 / 9, -2 / 27], rtol=0, atol=1e-15)
    np.testing.assert_allclose(dense[14, 3:7], [-2 / 27, 7 / 9, 1 / 3, -1 / 27], rtol=0, atol=1e-15)
    assert dense[13].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]  # the centre of an odd block is copied


def test_shrinking_by_two_has_the_stretched_weights() -> None:
    dense = shrink_bicubic(20, 2).matrix()
    expected = np.array([K7, K5, K3, K1, K1, K3, K5, K7]) / 2
    np.testing.assert_allclose(dense[5, 7:15], expected, rtol=0, atol=1e-16)
    assert np.count_nonzero(dense[5]) == 8


def test_the_border_repeats_the_edge_pixel() -> None:
    top = enlarge_bicubic(10, 2).matrix()[0]  # reads 1 0 | 0 1
    np.testing.assert_allclose(top[:2], [K3 + K1, K7 + K5], rtol=0, atol=1e-16)
    assert not top[2:].any()
    bottom = shrink_kernel(6, 2, taps=np.array([1.0, 2, 4, 8, 16, 32])).matrix()[-1]
    assert bottom.tolist() == [0, 0, 1, 2, 4 + 32, 8 + 16]  # reads 2 3 4 5 | 5 4


def test_the_mirror_repeats_in_a_scene_smaller_than_the_kernel() -> None:
    # indices -3 … 4 on two pixels read 1 1 0 | 0 1 | 1 0 0
    axis = shrink_kernel(2, 2, taps=2.0 ** np.arange(8))
    assert axis.index.tolist() == [[1, 1, 0, 0, 1, 1, 0, 0]]
    assert axis.matrix().tolist() == [[4 + 8 + 64 + 128, 1 + 2 + 16 + 32]]
    np.testing.assert_allclose(enlarge_bicubic(1, 4).matrix(), np.ones((4, 1)), rtol=0, atol=1e-15)
    np.testing.assert_allclose(shrink_bicubic(4, 4).matrix().sum(axis=1), 1, rtol=0, atol=1e-15)


@pytest.mark.parametrize("scale", range(2, 9))
def test_a_ramp_keeps_its_place(scale: int) -> None:
    centre_hr = np.arange(20 * scale)
    centre_lr = scale * np.arange(20) + (scale - 1) / 2  # LR pixel i covers HR pixels s·i … s·i+s-1
    small = shrink_bicubic(20 * scale, scale).matrix() @ centre_hr
    np.testing.assert_allclose(small[2:-2], centre_lr[2:-2], rtol=0, atol=1e-11)
    large = enlarge_bicubic(20, scale).matrix() @ centre_lr
    inside = slice(2 * scale, -2 * scale)
    np.testing.assert_allclose(large[inside], centre_hr[inside], rtol=0, atol=1e-11)


@pytest.mark.parametrize("axis", AXES, ids=repr)
def test_windows_of_the_matrix_and_of_its_gram(axis: Axis) -> None:
    dense = np.zeros((axis.n_out, axis.n_in))
    for i in range(axis.n_out):
        for j, weight in zip(axis.index[i], axis.weight[i], strict=True):
            dense[i, j] += weight
    np.testing.assert_allclose(axis.matrix(), dense, rtol=0, atol=1e-14)
    rng = np.random.default_rng(0)
    for _ in range(10):
        a, b = np.sort(rng.integers(0, axis.n_out + 1, 2)).tolist()
        lo, hi = np.sort(rng.integers(0, axis.n_in + 1, 2)).tolist()
        np.testing.assert_allclose(axis.matrix((a, b), (lo, hi)), dense[a:b, lo:hi], rtol=0, atol=1e-14)
        gram = (dense @ dense.T)[a:b, a:b]
        np.testing.assert_allclose(axis.gram_matrix((a, b)), gram, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("axis", AXES, ids=repr)
def test_support_and_reach_back_hold_every_weight_and_no_more(axis: Axis) -> None:
    read = np.zeros((axis.n_out, axis.n_in), dtype=bool)
    read[np.arange(axis.n_out)[:, None], axis.index] = True
    for start in range(axis.n_out):
        for stop in {start, start + 1, min(start + 5, axis.n_out)}:
            used = np.flatnonzero(read[start:stop].any(axis=0))
            assert axis.support(start, stop) == ((used[0], used[-1] + 1) if used.size else (0, 0))
    for start in range(axis.n_in):
        for stop in {start, start + 1, min(start + 5, axis.n_in)}:
            lo, hi = axis.reach_back(start, stop)
            used = np.flatnonzero(read[:, start:stop].any(axis=1))
            assert set(used) <= set(range(lo, hi))
            assert hi - lo <= used.size + 2  # an output may span an input without reading it
    spans = [np.flatnonzero(row) for row in read]
    assert axis.bandwidth == max(span[-1] - span[0] + 1 for span in spans)


def test_a_window_of_a_long_axis_costs_a_window() -> None:
    axis = shrink_bicubic(4_000_000, 4)  # the whole matrix would be 32 TB
    assert axis.matrix((500_000, 500_064), axis.support(500_000, 500_064)).shape == (64, 268)
    assert axis.gram_matrix((500_000, 500_032)).shape == (32, 32)
    assert axis.reach_back(2_000_000, 2_000_004) == (499_998, 500_003)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: shrink_bicubic(9, 2), "multiple of scale 2, got 9"),
        (lambda: shrink_bicubic(8, 0), "scale must be a positive integer, got 0"),
        (lambda: enlarge_bicubic(8, 2.5), "scale must be a positive integer, got 2.5"),
        (lambda: enlarge_bicubic(8, True), "scale must be a positive integer, got True"),
        (lambda: enlarge_bicubic(0, 2), "at least one row"),
        (lambda: shrink_kernel(8, 2, taps=np.ones(3)), "3 taps cannot be centred on a block of 2"),
        (lambda: shrink_kernel(9, 3, taps=np.ones(4)), "that is odd"),
        (lambda: shrink_kernel(8, 2, taps=np.ones((2, 2))), "1-D kernel"),
        (lambda: shrink_kernel(8, 2, taps=np.array([1.0, np.nan])), "finite"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()
