"""The scene of the demo: AVIRIS Indian Pines as a cube, from the array in tensorly's wheel.

Baumgardner, Biehl and Landgrebe, "220 Band AVIRIS Hyperspectral Image Data Set: June 12, 1992 Indian Pine Test Site 3",
Purdue University Research Repository, 2015, doi:10.4231/R7RX991C, licensed CC BY 3.0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorly.datasets import load_indian_pines

from hypersharp import Bands, Cube, Grid, Storage
from hypersharp.cube import array_source
from hypersharp.io.crs import to_wkt2

# Centres of the 220 bands in nm, as Purdue publishes them with the scene (Larry Biehl, "Information on 220 Channel
# AVIRIS Data Set", engineering.purdue.edu/~biehl/MultiSpec/aviris_documentation.html). Four spectrometers overlap, so
# they do not only rise. Copies of the table misprint bands 191 and 192 as 2260.22 and 2270.15; the scene's own
# calibration file 92AV3C.spc has the values below.
_TABLE = """
400.02 409.82 419.62 429.43 439.25 449.07 458.90 468.73 478.57 488.41 498.26 508.12 517.98 527.85 537.72 547.60
557.49 567.38 577.28 587.18 597.09 607.01 616.93 626.85 636.78 646.72 656.67 666.61 676.57 686.53 696.50
686.91 696.55 706.19 715.83 725.47 735.11 744.74 754.38 764.01 773.64 783.27 792.91 802.53 812.21 821.79 831.41
841.04 850.66 860.28 869.91 879.53 889.14 898.76 908.38 917.99 927.61 937.22 946.83 956.45 966.06 975.66 985.27
994.88 1004.48 1014.09 1023.69 1033.29 1042.89 1052.49 1062.09 1071.69 1081.29 1090.88 1100.48 1110.07 1119.66
1129.25 1138.84 1148.43 1158.02 1167.61 1177.19 1186.77 1196.36 1205.94 1215.52 1225.10 1234.68 1244.26 1253.83
1263.41 1272.98 1282.55
1273.00 1282.96 1292.93 1302.89 1312.85 1322.81 1332.77 1342.73 1352.68 1362.64 1372.59 1382.54 1392.49 1402.44
1412.39 1422.34 1432.28 1442.23 1452.17 1462.11 1472.05 1481.99 1491.92 1501.86 1511.79 1521.73 1531.66 1541.59
1551.52 1561.44 1571.37 1581.30 1591.22 1601.14 1611.06 1620.98 1630.90 1640.81 1650.73 1660.64 1670.56 1680.47
1690.38 1700.28 1710.19 1720.10 1730.00 1739.90 1749.81 1759.71 1769.60 1779.50 1789.40 1799.29 1809.19 1819.08
1828.97 1838.86 1848.75 1858.63 1868.52 1878.40 1888.28
1883.24 1893.25 1903.26 1913.26 1923.27 1933.27 1943.27 1953.26 1963.25 1973.24 1983.23 1993.22 2003.20 2013.18
2023.16 2033.13 2043.10 2053.07 2063.04 2073.00 2082.97 2092.92 2102.88 2112.83 2122.78 2132.73 2142.68 2152.62
2162.56 2172.50 2182.43 2192.37 2202.30 2212.22 2222.15 2232.07 2241.99 2251.90 2261.82 2271.73 2281.64 2291.54
2301.45 2311.35 2321.25 2331.14 2341.03 2350.92 2360.81 2370.70 2380.58 2390.46 2400.33 2410.21 2420.08 2429.95
2439.81 2449.68 2459.54 2469.40 2479.25 2489.11 2498.96"""
WAVELENGTH_NM = np.array(_TABLE.split(), dtype=np.float64)
DROPPED = (*range(104, 109), *range(150, 164), 220)
"""Bands, counted from 1, that the array of 200 bands leaves out: water vapour, and the last one."""

# Radiance = (number - 1000) / 500 (same page). The page prints W for its unit; the sun is not that bright: it is µW.
STORAGE = Storage(np.dtype(np.uint16), scale=1 / 500, offset=-1000 / 500, interleave="bil")
UNITS = "uW cm-2 nm-1 sr-1"
DESCRIPTION = (
    "Synthetic grid: 20 m pixels laid near the scene's place in Indiana, which was published without a grid. "
    "AVIRIS Indian Pines, 12 June 1992, 200 of 220 bands, doi:10.4231/R7RX991C, CC BY 3.0"
)


def indian_pines() -> Cube:
    """The scene `(200, 145, 145)` as radiance, repaired, with the published wavelengths and a synthetic grid.

    The package's own list of wavelengths is not used: it leaves out band 109 and keeps band 220, so that bands 109
    to 219 are named one band too long, and it has the two misprints. docs/beware.md has the proofs.
    """
    stored = repaired(load_indian_pines().tensor.transpose(2, 0, 1))
    number = np.setdiff1d(np.arange(1, 221), DROPPED)
    return Cube(
        array_source(stored, STORAGE),
        Bands(
            count=len(stored), wavelength_nm=WAVELENGTH_NM[number - 1], name=tuple(f"AVIRIS band {n}" for n in number)
        ),
        Grid((145, 145), (20.0, 0.0, 496_800.0, 0.0, -20.0, 4_478_000.0), to_wkt2(32616)),
        STORAGE,
        "radiance",
        UNITS,
        {"description": DESCRIPTION, "acquisition_time": "1992-06-12", "default_bands": "27,17,7"},
        ("Indian Pines: numbers 3328 to 3583, which a transfer as text had lowered by 768, restored",),
    )


def repaired(numbers: NDArray[Any]) -> NDArray[np.uint16]:
    """Undo what a transfer as text once did to the file: every byte 0D (carriage return) became 0A (line feed).

    In the high byte that took 768 off each number from 3328 to 3583: 2.8 % of all, in patches with hard edges. So a
    number from 2560 to 2815 is in doubt; it is raised by 768 where that lies nearer to what the pixel's other bands
    predict by linear regression: at first those never in doubt, then the eight nearest. A low byte is off by 3, below
    the noise, and is left.

    Args:
        numbers: `(C, H, W)` as in the wheel.
    """
    given = np.ascontiguousarray(numbers, dtype=np.float64).reshape(len(numbers), -1)
    doubt = given // 256 == 0x0A
    never = np.flatnonzero(doubt.mean(axis=1) < 0.001)[::4]
    value = given.copy()
    for first in (True, False):
        for band in np.flatnonzero(doubt.any(axis=1)):
            near = never if first else np.delete(np.arange(len(value)), band)[max(0, band - 4) : band + 4]
            known = ~doubt[band] if first else np.ones_like(doubt[band])
            expected = _predicted(value[near], value[band], known)
            value[band] = given[band] + 768 * (doubt[band] & (expected > given[band] + 384))
    return value.reshape(numbers.shape).astype(np.uint16)


def _predicted(others: NDArray[np.float64], band: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """One band `(n,)` from others `(k, n)`, by least squares over the known pixels."""
    count = known.sum()
    mean, level = (others @ known / count)[:, None], band @ known / count
    centred = (others - mean) * known
    covariance = centred @ centred.T / count
    covariance += 1e-6 * np.trace(covariance) * np.eye(len(others))
    weights = np.linalg.solve(covariance, centred @ (band - level) / count)
    predicted: NDArray[np.float64] = level + weights @ (others - mean)
    return predicted
