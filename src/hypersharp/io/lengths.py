"""Units of wavelength as files write them, and what to make of wavelengths without one. Every reader asks here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NANOMETRES = {
    **dict.fromkeys(("nanometers", "nanometer", "nanometres", "nanometre", "nm"), 1.0),
    **dict.fromkeys(("micrometers", "micrometer", "micrometres", "micrometre", "microns", "micron", "um"), 1e3),
    **dict.fromkeys(("µm", "μm"), 1e3),  # the micro sign and the Greek letter
    **dict.fromkeys(("millimeters", "millimetres", "mm"), 1e6),
    **dict.fromkeys(("centimeters", "centimetres", "cm"), 1e7),
    **dict.fromkeys(("meters", "metres", "m"), 1e9),
    **dict.fromkeys(("angstroms", "angstrom"), 0.1),
}
"""Nanometres per unit, by the unit's name in lower case."""


def factor_by_size(values: NDArray[np.float64]) -> float | None:
    """Nanometres per unit, told from the size of wavelengths; a reader that uses it says so in the history.

    Args:
        values: `(C,)` wavelengths, NaN where a band has none.

    Returns:
        1 where all lie within 200 to 20000, 1000 where all lie within 0.2 to 20; None where neither is so, or where
        they merely count the bands.
    """
    known = values[~np.isnan(values)]
    if known.size == 0 or any(np.array_equal(values, np.arange(first, first + len(values))) for first in (0, 1)):
        return None
    if known.min() >= 200 and known.max() <= 20000:
        return 1.0
    return 1e3 if known.min() >= 0.2 and known.max() <= 20 else None
