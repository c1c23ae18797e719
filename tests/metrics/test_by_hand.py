"""Every metric against numbers worked out with pencil and paper, on 2×2 pixels of 3 bands where that is enough."""

import math

import numpy as np
import pytest

from hypersharp import metrics

REFERENCE = np.array([[[1, 2], [3, 4]], [[2, 2], [4, 4]], [[0, 1], [0, 1]]], dtype=float)
ESTIMATE = np.array([[[1, 2], [3, 6]], [[2, 2], [4, 8]], [[0, 1], [2, 1]]], dtype=float)
# squared errors: band 0 one 4, band 1 one 16, band 2 one 4; band MSEs 1, 4, 1; means of the reference 2.5, 3, 0.5


def test_mpsnr_is_the_mean_of_20_and_13_98_and_20_db():
    assert metrics.mpsnr(REFERENCE, ESTIMATE, data_range=10) == pytest.approx((20 + 10 * math.log10(25) + 20) / 3)


def test_mpsnr_with_a_peak_per_band():
    # 10 log10(16/1), 10 log10(16/4), 10 log10(1/1)
    expected = (40 * math.log10(2) + 20 * math.log10(2) + 0) / 3
    assert metrics.mpsnr(REFERENCE, ESTIMATE, data_range=(4, 4, 1)) == pytest.approx(expected)


def test_psnr_uses_the_one_mse_of_2():
    assert metrics.psnr(REFERENCE, ESTIMATE, data_range=10) == pytest.approx(10 * math.log10(50))


def test_rmse_and_mae():
    assert metrics.rmse(REFERENCE, ESTIMATE) == pytest.approx(math.sqrt(2))
    assert metrics.mae(REFERENCE, ESTIMATE) == pytest.approx(8 / 12)


def test_sam_has_two_right_pixels_and_two_angles():
    first = math.acos(25 / (5 * math.sqrt(29)))  # (3, 4, 0) and (3, 4, 2)
    second = math.acos(57 / math.sqrt(33 * 101))  # (4, 4, 1) and (6, 8, 1)
    assert metrics.sam(REFERENCE, ESTIMATE) == pytest.approx(math.degrees(first + second) / 4)


def test_sam_of_perpendicular_spectra_is_90_degrees():
    assert metrics.sam(np.array([[[1.0]], [[0.0]]]), np.array([[[0.0]], [[7.0]]])) == pytest.approx(90)


def test_cc():
    # deviations: (-1.5 -.5 .5 1.5) (-2 -1 0 3); (-1 -1 1 1) (-2 -2 0 4); (-.5 .5 -.5 .5) (-1 0 1 0)
    assert metrics.cc(REFERENCE, ESTIMATE) == pytest.approx((8 / math.sqrt(70) + 8 / math.sqrt(96) + 0) / 3)


def test_ergas():
    assert metrics.ergas(REFERENCE, ESTIMATE, scale=4) == pytest.approx(
        25 * math.sqrt((1 / 6.25 + 4 / 9 + 1 / 0.25) / 3)
    )


def test_ssim_of_one_window():
    reference, estimate = REFERENCE[:1], ESTIMATE[:1]
    c1, c2 = 0.1**2, 0.3**2
    # sample covariance 8/3, variances 5/3 and 14/3, means 2.5 and 3
    expected = (15 + c1) * (16 / 3 + c2) / ((15.25 + c1) * (19 / 3 + c2))
    assert metrics.mssim(reference, estimate, data_range=10, window="uniform_2") == pytest.approx(expected)


def test_uiqi_of_one_window():
    # covariance 2, variances 1.25 and 3.5, means 2.5 and 3
    expected = 4 * 2 * 7.5 / (4.75 * 15.25)
    assert metrics.uiqi(REFERENCE[:1], ESTIMATE[:1], window="uniform_2") == pytest.approx(expected)


def test_uiqi_of_constant_windows_is_their_luminance():
    one, three, zero = (np.full((1, 8, 8), level) for level in (1.0, 3.0, 0.0))
    assert metrics.uiqi(one, three, window="uniform_8") == pytest.approx(0.6)  # 2·1·3 / (1 + 9)
    assert metrics.uiqi(zero, zero, window="uniform_8") == 1.0
    assert metrics.uiqi(np.full((1, 12, 12), 0.1), np.full((1, 12, 12), 0.1), window="gaussian_11") == pytest.approx(1)


def test_sid_of_halves_against_a_quarter_and_three_quarters():
    reference, estimate = np.array([[[5.0]], [[5.0]]]), np.array([[[1.0]], [[3.0]]])
    assert metrics.sid(reference, estimate) == pytest.approx(math.log(3) / 4)


def test_scc_of_three_laplacians():
    # equal rows: the Laplacian is 3 (2b - a - c): (-3 9 3) against (-6 15 0)
    reference, estimate = (np.tile(np.array(row, dtype=float), (1, 3, 1)) for row in ([0, 1, 3, 2, 0], [0, 1, 4, 2, 0]))
    assert metrics.scc(reference, estimate) == pytest.approx(126 / math.sqrt(72 * 234))


def test_edge_psnr_of_two_pixels():
    # Sobel magnitudes 4 (1 - 0) and 4 (3 - 0), errors 1 and 2: weighted MSE (4·1 + 12·4) / 16
    reference = np.tile(np.array([0.0, 0.0, 1.0, 3.0]), (1, 3, 1))
    estimate = reference + np.array([9.0, 1.0, 2.0, 9.0])
    assert metrics.edge_psnr(reference, estimate, data_range=10) == pytest.approx(10 * math.log10(100 / 3.25))


def test_spectral_difference_curve():
    curve = metrics.spectral_difference(REFERENCE, ESTIMATE)
    np.testing.assert_allclose(curve.absolute, [0.5, 1.0, 0.5])
    np.testing.assert_allclose(curve.relative, [0.5 / 2.5, 1.0 / 3.0, 0.5 / 0.5])


def test_masked_pixel_leaves_three():
    valid = np.array([[True, True], [True, False]])
    # what is left: band 2 errs by 2 at one of three pixels, the others are right
    assert metrics.rmse(REFERENCE, ESTIMATE, valid=valid) == pytest.approx(math.sqrt(4 / 9))
    assert metrics.sam(REFERENCE, ESTIMATE, valid=valid) == pytest.approx(
        math.degrees(math.acos(25 / (5 * math.sqrt(29)))) / 3
    )


def test_mask_per_band_leaves_that_band_out_of_the_spectrum():
    valid = np.ones((3, 2, 2), dtype=bool)
    valid[2] = False
    # without band 2 only the last pixel errs: (4, 4) and (6, 8)
    expected = math.degrees(math.acos(56 / math.sqrt(32 * 100))) / 4
    assert metrics.sam(REFERENCE, ESTIMATE, valid=valid) == pytest.approx(expected)
    assert metrics.rmse(REFERENCE, ESTIMATE, valid=valid) == pytest.approx(math.sqrt(20 / 8))
    assert metrics.mpsnr(REFERENCE, ESTIMATE, data_range=10, valid=valid) == pytest.approx(
        (20 + 10 * math.log10(25)) / 2
    )
