"""Q2n against the numbers it generalises: real, complex and quaternion arithmetic written out."""

import numpy as np
import pytest

from hypersharp import metrics
from hypersharp.metrics.q2n import hypercomplex_quality, signed_components

RNG = np.random.default_rng(7)


def pair(bands, size=8, noise=0.3):
    reference = RNG.normal(2.0, 1.0, (bands, size, size))
    return reference, reference * 0.9 + 0.2 + noise * RNG.normal(size=reference.shape)


def quality(covariance, mean_r, mean_e, spread):
    """The index from the modulus of a covariance, two moduli of means, and the sum of the variances."""
    return 4 * covariance * mean_r * mean_e / (spread * (mean_r**2 + mean_e**2))


def test_one_band_is_uiqi_of_the_block():
    reference, estimate = pair(1)
    assert metrics.q2n(reference, estimate, window="block_8") == pytest.approx(
        metrics.uiqi(reference, estimate, window="uniform_8")
    )


def test_two_bands_are_complex_numbers():
    reference, estimate = pair(2)
    z, w = (cube[0].ravel() + 1j * cube[1].ravel() for cube in (reference, estimate))
    covariance = abs(np.mean((z - z.mean()) * np.conj(w - w.mean())))
    expected = quality(covariance, abs(z.mean()), abs(w.mean()), z.var() + w.var())
    assert metrics.q2n(reference, estimate, window="block_8") == pytest.approx(expected)


def hamilton(p, q):
    """Quaternion product, as in Hamilton's i² = j² = k² = ijk = -1."""
    a, b, c, d = p
    e, f, g, h = q
    return np.array(
        [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ]
    )


def test_four_bands_are_quaternions():
    reference, estimate = pair(4)
    z, w = (cube.reshape(4, -1) for cube in (reference, estimate))
    centred_z, centred_w = (part - part.mean(axis=1, keepdims=True) for part in (z, w))
    conjugate = centred_w * np.array([1, -1, -1, -1])[:, None]
    covariance = np.linalg.norm(hamilton(centred_z, conjugate).mean(axis=1))
    spread = z.var(axis=1).sum() + w.var(axis=1).sum()
    expected = quality(covariance, np.linalg.norm(z.mean(axis=1)), np.linalg.norm(w.mean(axis=1)), spread)
    assert metrics.q2n(reference, estimate, window="block_8") == pytest.approx(expected)


def test_three_bands_are_quaternions_with_a_zero():
    reference, estimate = pair(3)
    padded = [np.concatenate([cube, np.zeros((1, 8, 8))]) for cube in (reference, estimate)]
    assert metrics.q2n(reference, estimate, window="block_8") == pytest.approx(metrics.q2n(*padded, window="block_8"))


def test_octonions_multiply_their_norms():
    """Only algebras of 1, 2, 4 and 8 components do (Hurwitz): a wrong sign anywhere breaks it."""
    signs, components = signed_components(8)
    x, y = RNG.normal(size=8), RNG.normal(size=8)
    product = np.bincount(components.ravel(), weights=(np.outer(x, y) * signs).ravel())
    assert np.linalg.norm(product) == pytest.approx(np.linalg.norm(x) * np.linalg.norm(y))


@pytest.mark.parametrize("bands", [5, 16, 37, 200])
def test_a_number_times_its_own_conjugate_is_real(bands):
    signs, components = signed_components(bands)
    x = RNG.normal(size=bands)
    product = np.bincount(components.ravel(), weights=(np.outer(x, x) * signs).ravel())
    np.testing.assert_allclose(product[0], x @ x)
    np.testing.assert_allclose(product[1:], 0, atol=1e-12)


def test_spectral_distortion_costs_what_band_by_band_quality_does_not_see():
    """Two bands exchanged keep each band's own statistics alike, but not the spectra."""
    base = RNG.normal(2.0, 1.0, 64)
    other = RNG.normal(2.0, 1.0, 64)
    straight = np.stack([base, other])
    assert hypercomplex_quality(straight, straight) == pytest.approx(1)
    assert hypercomplex_quality(straight, straight[::-1].copy()) < 0.5


def test_blocks_that_do_not_fit_are_left_out():
    reference, estimate = pair(3, size=11)
    whole = metrics.q2n(reference[:, :8, :8], estimate[:, :8, :8], window="block_8")
    assert metrics.q2n(reference, estimate, window="block_8") == pytest.approx(whole)


def test_a_dead_band_adds_nothing_and_an_invalid_pixel_costs_its_block():
    reference, estimate = pair(3, size=16)
    valid = np.ones((3, 16, 16), dtype=bool)
    valid[1] = False
    valid[0, 0, 0] = False
    zeroed = np.array([1.0, 0.0, 1.0])[:, None, None]
    corners = [(slice(0, 8), slice(8, 16)), (slice(8, 16), slice(0, 8)), (slice(8, 16), slice(8, 16))]
    expected = [
        metrics.q2n((reference * zeroed)[:, rows, cols], (estimate * zeroed)[:, rows, cols], window="block_8")
        for rows, cols in corners
    ]
    assert metrics.q2n(reference, estimate, window="block_8", valid=valid) == pytest.approx(np.mean(expected))
