"""EXP: the cube enlarged by bicubic interpolation, nothing from the MSI. What every other method is measured against.

The only thing of the pair that it uses is the calibrated shift.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion._regression import up_halo
from hypersharp.fusion._spec import Calibration, Floats, Fuse, FusionSpec, Window


def _fit(windows: Sequence[Window], calibration: Calibration) -> Fuse:
    def fuse(window: Window) -> Floats:
        return enlarge(window.lr.shape[1:], calibration).apply(window.lr)

    return fuse


METHOD = FusionSpec(
    fit=_fit,
    halo=up_halo,
    title="bicubic enlargement, nothing from the MSI",
    source="Keys, IEEE TASSP 29(6), 1981",
)
