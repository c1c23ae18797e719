"""The spectral description of a cube, and every check of it."""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp.cube import Bands
from hypersharp.errors import CubeError

NAN = float("nan")


def bands(**changes):
    fields = {
        "count": 3,
        "wavelength_nm": [500.0, 700.5, 600.0],  # detectors overlap: not increasing
        "fwhm_nm": [10.0, NAN, 12.0],
        "good": [True, False, True],
        "name": ("green", "", "red"),
    }
    return Bands(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"count": 0}, "at least one band"),
        ({"wavelength_nm": [500.0, 600.0]}, "3 values of wavelength_nm"),
        ({"wavelength_nm": [[500.0, 600.0, 700.0]]}, "3 values of wavelength_nm"),
        ({"wavelength_nm": [500.0, -1.0, 700.0]}, "wavelengths must be finite"),
        ({"wavelength_nm": [500.0, np.inf, 700.0]}, "wavelengths must be finite"),
        ({"fwhm_nm": [10.0]}, "3 values of fwhm_nm"),
        ({"fwhm_nm": [10.0, -10.0, 1.0]}, "FWHM must be finite"),
        ({"fwhm_nm": [10.0, np.inf, 1.0]}, "FWHM must be finite"),
        ({"good": [True, True]}, "3 values of good"),
        ({"name": ("a", "b")}, "3 band names, got 2"),
    ],
)
def test_what_is_refused(changes, match):
    with pytest.raises(CubeError, match=match):
        bands(**changes)


def test_what_no_band_has_is_none():
    assert bands(wavelength_nm=[NAN] * 3).wavelength_nm is None
    assert bands(fwhm_nm=[NAN] * 3).fwhm_nm is None
    plain = Bands(4)
    assert (plain.wavelength_nm, plain.fwhm_nm, plain.name) == (None, None, None)
    assert plain.good.tolist() == [True] * 4
    assert len(plain) == 4


def test_nothing_can_be_changed_from_outside():
    given = np.array([500.0, 600.0, 700.0])
    held = bands(wavelength_nm=given)
    given[0] = 1
    assert held.wavelength_nm[0] == 500
    for array in (held.wavelength_nm, held.fwhm_nm, held.good):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        held.count = 4


def test_equality_counts_nan_as_equal():
    assert bands() == bands()
    for change in (
        {"wavelength_nm": [500.0, 700.5, 600.0000001]},
        {"wavelength_nm": None},
        {"fwhm_nm": [10.0, 1.0, 12.0]},
        {"good": [True, True, True]},
        {"name": None},
    ):
        assert bands() != bands(**change)
    assert Bands(3) != Bands(4)
    assert Bands(3) != 3
    with pytest.raises(TypeError):
        hash(bands())


@pytest.mark.parametrize("index", [[2, 0, 0], np.array([1]), slice(1, None), slice(None, None, -1)])
def test_taking_bands(index):
    taken = bands().take(index)
    at = np.arange(3)[index]
    np.testing.assert_array_equal(taken.wavelength_nm, np.array([500.0, 700.5, 600.0])[at])
    assert taken.good.tolist() == np.array([True, False, True])[at].tolist()
    assert taken.name == tuple(np.array(["green", "", "red"])[at])
    assert taken.count == len(at)
    if at.tolist() != [1]:
        np.testing.assert_array_equal(taken.fwhm_nm, np.array([10.0, NAN, 12.0])[at])
    else:
        assert taken.fwhm_nm is None


def test_taking_no_band_is_refused():
    with pytest.raises(CubeError, match="at least one band"):
        bands().take([])


def test_flagging_keeps_what_was_flagged():
    assert bands().flagged([0]).good.tolist() == [False, False, True]
    assert bands().good.tolist() == [True, False, True]
    assert bands().flagged([]) == bands()


def test_labels():
    held = bands()
    assert [held.label(band) for band in range(3)] == ["green", "700.50 nm", "red"]
    assert bands(wavelength_nm=[500.0, NAN, 600.0]).label(1) == "band 2"
    assert Bands(2).label(0) == "band 1"
