"""What a network is told of a scene: numbers by hand and from theory."""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp.degrade.psf import parse_psf
from hypersharp.infer.conditions import conditions_of


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("gain", [0.1, 0.3, 0.45])
def test_the_gain_at_nyquist_is_that_of_the_psf_and_a_gaussian_has_its_fourth_root_at_half(scale, gain):
    operator = parse_psf(f"mtf:{gain}").operator((16 * scale, 24 * scale), scale)
    half, whole = conditions_of(operator, np.zeros(3), np.eye(3))[:2]
    assert whole + 0.5 == pytest.approx(gain, abs=0.02)
    assert half + 0.5 == pytest.approx(gain**0.25, abs=0.02)


def test_a_sharper_psf_has_larger_numbers():
    told = [
        conditions_of(parse_psf(text).operator((64, 64), 4), np.zeros(2), np.eye(2))[:2]
        for text in ("mtf:0.1", "mtf:0.4", "bicubic")
    ]
    assert told[0][1] < told[1][1] < told[2][1]


def test_turning_the_scene_changes_nothing():
    one, other = (parse_psf(f"gaussian:sigma={pair}").operator((40, 40), 4) for pair in ("1.2,2.4", "2.4,1.2"))
    np.testing.assert_allclose(
        conditions_of(one, np.ones(2), np.eye(2)), conditions_of(other, np.ones(2), np.eye(2)), atol=1e-6
    )


def test_noise_of_eigenimages_by_hand():
    operator = parse_psf("bicubic").operator((16, 16), 2)
    project = np.array([[3.0, 4.0, 9.0], [0.0, 0.0, 0.0]])
    decades = conditions_of(operator, np.array([0.01, 0.01, np.nan]), project)[2:]
    np.testing.assert_allclose(decades, [np.log10(0.051) + 1.5, -1.5], atol=1e-6)
