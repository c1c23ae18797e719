"""The sub-pixel shift of a PSF: its sign, and its numbers against sums by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hypersharp.degrade.psf import parse_psf
from hypersharp.errors import UsageError

FORMS = ["bicubic", "gaussian", "mtf:0.3", "gaussian:sigma=1.2,0.8", "gaussian:sigma=2,1,angle=30"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_positive_shift_looks_further_down_and_right(form: str, scale: int) -> None:
    shape = (16 * scale, 16 * scale)
    rows, cols = np.mgrid[: shape[0], : shape[1]].astype(float)
    still = parse_psf(form).operator(shape, scale)
    moved = parse_psf(form).operator(shape, scale, shift_yx=(0.75, -0.4))
    inside = np.s_[6:10, 6:10]
    # on a ramp the value is the place; a cut Gaussian between samples is off its centre by a little
    off = 0.06 if form == "gaussian" else 2e-3
    np.testing.assert_allclose((moved.apply(rows) - still.apply(rows))[inside], 0.75, atol=off)
    np.testing.assert_allclose((moved.apply(cols) - still.apply(cols))[inside], -0.4, atol=off)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [3, 4])
def test_a_whole_shift_is_a_moved_scene(form: str, scale: int) -> None:
    x = np.random.default_rng(1).random((16 * scale, 16 * scale))
    moved = parse_psf(form).operator(x.shape, scale, shift_yx=(2.0, -5.0)).apply(x)
    still = parse_psf(form).operator(x.shape, scale).apply(np.roll(x, (-2, 5), (0, 1)))
    np.testing.assert_allclose(moved[6:10, 6:10], still[6:10, 6:10], atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3])
def test_a_shifted_gaussian_is_the_sum_over_samples_of_the_shifted_gaussian(scale: int) -> None:
    x = np.random.default_rng(2).random((24 * scale, 24 * scale))
    sigma_y, sigma_x, dy, dx = 1.5, 0.9, 0.3, -1.6
    got = parse_psf("gaussian:sigma=1.5,0.9").operator(x.shape, scale, shift_yx=(dy, dx)).apply(x)[12, 11]
    at_y, at_x = scale * 12 + (scale - 1) / 2 + dy, scale * 11 + (scale - 1) / 2 + dx
    rows, cols = np.mgrid[: x.shape[0], : x.shape[1]]
    kernel = np.exp(-((rows - at_y) ** 2) / (2 * sigma_y**2) - (cols - at_x) ** 2 / (2 * sigma_x**2))
    assert got == pytest.approx((kernel * x).sum() / kernel.sum(), abs=2e-4)


@pytest.mark.parametrize("form", FORMS)
def test_every_shift_keeps_a_constant_scene(form: str) -> None:
    for shift in ((0.5, 0.5), (-0.1, 3.9), (0.0, 1e-9)):
        operator = parse_psf(form).operator((24, 32), 4, shift_yx=shift)
        np.testing.assert_allclose(operator.apply(np.ones((24, 32))), 1.0, atol=1e-12)


def test_half_a_pixel_of_a_kernel_file_is_the_usual_interpolation(tmp_path: Path) -> None:
    np.save(tmp_path / "point.npy", np.ones((1, 1)))
    x = np.random.default_rng(3).random((1, 33))
    got = parse_psf(f"kernel:{tmp_path / 'point.npy'}").operator((1, 33), 1, shift_yx=(0, 0.5)).apply(x)
    six = np.array([3, -25, 150, 150, -25, 3]) / 256  # Lagrange's weights half-way between samples
    assert got[0, 10] == pytest.approx(six @ x[0, 8:14], abs=1e-12)


@pytest.mark.parametrize("shift", [(np.nan, 0), (0, np.inf), (0, 65), (-65, 0)])
def test_a_shift_out_of_range_is_refused(shift: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="the shift, in HR pixels, is at most 64 at scale 4"):
        parse_psf("mtf:0.3").operator((16, 16), 4, shift_yx=shift)
