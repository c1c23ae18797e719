"""Named operators: kernels worked out by hand, scipy as a second opinion, widths by their own definition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage, stats

from hypersharp.errors import UsageError
from hypersharp.operators import (
    Separable,
    block_support,
    gaussian_kernel,
    gaussian_shrink,
    kernel_shrink,
    sigma_from_fwhm,
    sigma_from_mtf,
)


def _taps(op: Separable) -> np.ndarray:
    rows, _ = op.terms[0]
    return rows.weight[0]


def _edlgfs(scale: int) -> Separable:
    shape = (20 * scale, 20 * scale)
    return gaussian_shrink(shape, scale, sigma=sigma_from_fwhm(scale), support=block_support(scale))


def test_the_edlgfs_kernel_by_hand() -> None:
    # exp(-4 ln2 d²/s²) is 2^(-d²) at s = 2: 2^(-1/4) and 2^(-9/4), a ratio of 4, hence 0.4 and 0.1
    np.testing.assert_allclose(_taps(_edlgfs(2)), [0.1, 0.4, 0.4, 0.1], rtol=0, atol=1e-15)
    # at s = 3 it is 2^(-4d²/9) at d = -3 … 3
    values = np.array([2**-4, 2 ** (-16 / 9), 2 ** (-4 / 9), 1, 2 ** (-4 / 9), 2 ** (-16 / 9), 2**-4])
    np.testing.assert_allclose(_taps(_edlgfs(3)), values / values.sum(), rtol=1e-13)


@pytest.mark.parametrize("scale", range(2, 9))
def test_the_edlgfs_support_lies_on_the_block(scale: int) -> None:
    op = _edlgfs(scale)
    (top, bottom), _ = op.support((10, 11), (10, 11))
    assert bottom - top == (2 * scale if scale % 2 == 0 else 2 * scale + 1)
    assert top + bottom - 1 == 2 * 10 * scale + scale - 1  # as far above the block's centre as below


@pytest.mark.parametrize("scale", range(2, 9))
def test_every_kernel_is_centred_on_the_block(scale: int) -> None:
    shape = (40 * scale, 30 * scale)
    ramp = np.add.outer(2.0 * np.arange(shape[0]), -np.arange(shape[1], dtype=float))
    place = scale * np.arange(40) + (scale - 1) / 2
    expected = np.add.outer(2 * place, -place[:30])
    turned = gaussian_kernel(0.3 * scale, 0.6 * scale, 40, scale=scale)
    for op in (
        gaussian_shrink(shape, scale, sigma=0.5 * scale),
        kernel_shrink(shape, scale, turned),
        kernel_shrink(shape, scale, np.ones((3, 4))),
        kernel_shrink(shape, scale, np.ones((4, 3))),
    ):
        inside = (slice(op.halo, -op.halo),) * 2
        np.testing.assert_allclose(op.apply(ramp)[inside], expected[inside], rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [3, 5])
def test_a_gaussian_equals_that_of_scipy(scale: int) -> None:
    x = np.random.default_rng(0).random((9 * scale, 7 * scale))
    sigma = 0.61 * scale
    ours = gaussian_shrink(x.shape, scale, sigma=sigma).apply(x)
    blurred = ndimage.gaussian_filter(x, sigma, mode="reflect", radius=int(np.ceil(4 * sigma)))
    np.testing.assert_allclose(ours, blurred[scale // 2 :: scale, scale // 2 :: scale], rtol=0, atol=1e-13)


@pytest.mark.parametrize(("scale", "size"), [(2, (4, 6)), (3, (5, 3)), (4, (8, 2)), (1, (3, 3)), (3, (41, 41))])
def test_any_kernel_equals_a_direct_correlation(scale: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.random((6 * scale, 5 * scale)), rng.random(size)
    ours = kernel_shrink(x.shape, scale, kernel)
    assert ours.rank == min(size)
    direct = ndimage.correlate(x, kernel / kernel.sum(), mode="reflect")
    np.testing.assert_allclose(ours.apply(x), direct[scale // 2 :: scale, scale // 2 :: scale], rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_turned_gaussian_equals_a_direct_convolution(scale: int) -> None:
    kernel = gaussian_kernel(0.4 * scale, 0.8 * scale, 25, scale=scale)
    x = np.random.default_rng(0).random((12 * scale, 15 * scale))
    ours = kernel_shrink(x.shape, scale, kernel)
    assert 1 < ours.rank < len(kernel)
    direct = ndimage.correlate(x, kernel, mode="reflect")[scale // 2 :: scale, scale // 2 :: scale]
    np.testing.assert_allclose(ours.apply(x), direct, rtol=0, atol=1e-6)


def test_a_gaussian_turns_anticlockwise_on_the_screen() -> None:
    lying = gaussian_kernel(1, 3, 0, scale=3)
    centre = len(lying) // 2
    assert lying[centre, -1] > lying[-1, centre]
    np.testing.assert_allclose(gaussian_kernel(1, 3, 90, scale=3), lying.T, rtol=0, atol=1e-15)
    rising = gaussian_kernel(1, 3, 45, scale=3)
    assert rising[centre - 3, centre + 3] > 10 * rising[centre + 3, centre + 3]


def test_a_straight_gaussian_is_the_product_of_two_densities() -> None:
    d = np.arange(18) - 8.5  # the least even number that reaches 4 · 2 pixels each side
    expected = np.outer(stats.norm.pdf(d, scale=1), stats.norm.pdf(d, scale=2))
    ours = gaussian_kernel(1, 2, scale=2)
    np.testing.assert_allclose(ours, expected / expected.sum(), rtol=0, atol=1e-15)


@pytest.mark.parametrize("angle_deg", [0, 30, 75, 120])
def test_a_turned_gaussian_has_the_turned_covariance(angle_deg: float) -> None:
    kernel = gaussian_kernel(1.5, 3, angle_deg, scale=2)
    d = np.arange(len(kernel)) - (len(kernel) - 1) / 2
    y, x = np.meshgrid(-d, d, indexing="ij")  # y upwards
    angle = np.radians(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    covariance = turn @ np.diag([9, 2.25]) @ turn.T
    moments = [(kernel * a * b).sum() for a, b in ((x, x), (x, y), (y, y))]
    # cutting at 4 sigma costs 0.1 %
    np.testing.assert_allclose(moments, [covariance[0, 0], covariance[0, 1], covariance[1, 1]], rtol=0.003, atol=0.01)


@pytest.mark.parametrize("scale", range(2, 9))
@pytest.mark.parametrize("gain", [0.05, 0.2, 0.3, 0.5])
def test_the_mtf_is_met_by_the_sampled_kernel(scale: int, gain: float) -> None:
    taps = _taps(gaussian_shrink((scale, scale), scale, sigma=sigma_from_mtf(gain, scale)))
    d = np.arange(len(taps)) - (len(taps) - 1) / 2
    assert (taps * np.cos(2 * np.pi * d / (2 * scale))).sum() == pytest.approx(gain, abs=3e-3)
    assert d[-1] >= 4 * sigma_from_mtf(gain, scale)


def test_widths_by_their_definition() -> None:
    assert np.exp(-(1.5**2) / (2 * sigma_from_fwhm(3.0) ** 2)) == pytest.approx(0.5, abs=1e-14)
    assert sigma_from_mtf(0.3, 4) == pytest.approx(0.494 * 4, rel=1e-3)
    assert sigma_from_mtf(0.2, 1) == pytest.approx(0.571, rel=1e-3)


def test_a_kernel_half_a_pixel_off_keeps_sum_centre_and_width() -> None:
    kernel = np.outer([1.0, 2, 4, 2, 1], [1.0, 3, 1])  # odd on a block of four
    rows, cols = kernel_shrink((80, 80), 4, kernel).terms[0]
    for axis, taps in ((rows, np.array([1, 2, 4, 2, 1]) / 10), (cols, np.array([1, 3, 1]) / 5)):
        shape = axis.matrix((10, 11))[0]
        shape /= shape.sum()
        at = np.arange(80)
        centre = (shape * at).sum()
        old = np.arange(len(taps)) - len(taps) // 2
        assert centre == pytest.approx(41.5, abs=1e-10)
        assert (shape * (at - centre) ** 2).sum() == pytest.approx((taps * old**2).sum(), abs=1e-10)


def test_a_very_narrow_gaussian_is_a_point() -> None:
    odd = gaussian_shrink((9, 9), 3, sigma=1e-200)
    assert odd.terms[0][0].matrix((1, 2)).tolist() == [[0, 0, 0, 0, 1, 0, 0, 0, 0]]
    even = gaussian_shrink((4, 4), 2, sigma=1e-200)
    assert even.terms[0][0].matrix((1, 2)).tolist() == [[0, 0, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gaussian_shrink((8, 8), 2, sigma=0), "finite and above 0, got 0"),
        (lambda: gaussian_shrink((8, 8), 2, sigma=(1, float("nan"))), "finite and above 0, got nan"),
        (lambda: gaussian_shrink((8, 8), 2, sigma=1e6), "in HR pixels, is at most 128"),
        (lambda: gaussian_shrink((8, 8), 2, sigma=1, support=5), "positive even number, got 5"),
        (lambda: gaussian_shrink((9, 9), 3, sigma=1, support=0), "positive odd number, got 0"),
        (lambda: gaussian_shrink((8, 9), 2, sigma=1), "multiple of scale 2, got 9"),
        (lambda: gaussian_kernel(1, -1, scale=2), "above 0, got -1"),
        (lambda: gaussian_kernel(1, 2, float("inf"), scale=2), "number of degrees"),
        (lambda: kernel_shrink((8, 8), 2, np.ones(4)), "2-D kernel"),
        (lambda: kernel_shrink((8, 8), 2, np.ones((2, 2), complex)), "real weights"),
        (lambda: kernel_shrink((8, 8), 2, np.array([[1, -1], [1, -1]])), "positive sum, got sum 0"),
        (lambda: kernel_shrink((8, 8), 2, np.array([[1, np.inf], [1, 1]])), "finite weights"),
        (lambda: sigma_from_mtf(1.0, 2), "between 0 and 1, got 1.0"),
        (lambda: sigma_from_mtf(0.0, 2), "between 0 and 1, got 0.0"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()
