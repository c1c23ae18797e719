"""The scene of the demo: that it is repaired and named as the original was.

What the original held is known from the tests of Spectral Python, which state one pixel of Purdue's own file
(92AV3C.lan, line 20, sample 20, both from 0) at many wavelengths (left out here is 1273.00 nm: they sort the overlap of
two spectrometers, so that it names the neighbouring band); and from physics.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PURDUE = {
    400.02: 3505, 409.82: 4141, 419.62: 4516, 449.07: 4924, 458.90: 5002, 783.27: 4712, 802.53: 4578, 841.04: 4496,
    860.28: 4424, 879.53: 4423, 994.88: 3979, 1014.09: 3925, 1052.49: 3801, 1244.26: 3026, 1282.96: 2817,
    1541.59: 2206, 1561.44: 2204, 1620.98: 2136, 1630.90: 2124, 2122.78: 1377, 2132.73: 1376, 2172.50: 1333,
    2212.22: 1317, 2222.15: 1312, 2311.35: 1219, 2331.14: 1202, 2360.81: 1162, 2390.46: 1126, 2400.33: 1122,
    2429.95: 1100, 2459.54: 1068,
}  # fmt: skip
CO2_NM = (2009.0, 2060.0)  # centres of the two bands of carbon dioxide that no water vapour hides


@pytest.fixture(scope="module")
def scene_module():
    sys.path.insert(0, str(ROOT / "examples"))
    import indian_pines

    sys.path.remove(str(ROOT / "examples"))
    return indian_pines


@pytest.fixture(scope="module")
def cube(scene_module):
    return scene_module.indian_pines()


def dips(wavelength_nm, spectrum, parts):
    """Centre of gravity of the absorption in parts of a spectrum, below the line through their ends."""
    found = []
    for part in parts:
        x, y = wavelength_nm[part], spectrum[part]
        depth = np.interp(x, x[[0, -1]], y[[0, -1]]) - y
        found.append((x * depth).sum() / depth.sum())
    return np.array(found)


def test_the_pixel_that_others_published(cube):
    values, valid = cube.read(rows=slice(20, 21), cols=slice(20, 21))
    assert valid.all()
    numbers = {
        round(float(w), 2): round(float(v) * 500 + 1000)
        for w, v in zip(cube.bands.wavelength_nm, values[:, 0, 0], strict=True)
    }
    assert {wavelength: numbers[wavelength] for wavelength in PURDUE} == PURDUE


def test_the_table_has_220_bands_that_rise_within_each_spectrometer(scene_module):
    table = scene_module.WAVELENGTH_NM
    assert len(table) == 220
    steps = np.diff(table)
    assert list(np.flatnonzero(steps < 0) + 1) == [31, 31 + 63, 31 + 63 + 63]  # AVIRIS: 31 + 63 + 63 + 63
    assert np.all((steps[steps > 0] > 9.5) & (steps[steps > 0] < 10.1))


def test_carbon_dioxide_lies_where_it_should_and_not_where_the_wheel_says(cube, scene_module):
    spectrum = cube.read()[0].mean(axis=(1, 2))
    ours, wheel = cube.bands.wavelength_nm, np.array(scene_module.load_indian_pines().ticks[1])
    parts = [np.flatnonzero(np.abs(ours - centre) < 31) for centre in CO2_NM]
    np.testing.assert_allclose(dips(ours, spectrum, parts), CO2_NM, atol=3.0)
    assert np.all(dips(wheel, spectrum, parts) - CO2_NM > 6.0)


def test_no_number_is_missing_any_more(cube, scene_module):
    """Before: no high byte 0D anywhere. After: as many as between its neighbours, and nothing else has changed."""
    given = scene_module.load_indian_pines().tensor.transpose(2, 0, 1).astype(np.int64)
    fixed = np.rint(cube.read()[0] * 500 + 1000).astype(np.int64)
    assert not np.any(given // 256 == 0x0D)
    assert not np.any(given % 256 == 0x0D)
    count = np.bincount((fixed // 256).ravel())
    assert min(count[0x0C], count[0x0E]) * 0.8 < count[0x0D] < max(count[0x0C], count[0x0E]) * 1.2
    changed = fixed != given
    assert np.unique(fixed[changed] - given[changed]).tolist() == [768]
    assert np.all(given[changed] // 256 == 0x0A)
    assert changed.mean() == pytest.approx(0.028, abs=0.001)


def test_radiance_and_grid(cube):
    assert (cube.quantity, cube.shape) == ("radiance", (200, 145, 145))
    assert "Synthetic grid" in cube.attrs["description"]
    assert cube.grid.gsd_m == (20.0, 20.0)
    assert "UTM zone 16N" in cube.grid.crs
