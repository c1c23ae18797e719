"""SFIM-HS: each band of the cube times the ratio of its most correlated MSI band to the same band seen at LR.

The ratio carries the MSI's detail and keeps the spectrum of the enlarged pixel but for its brightness. Where the
low-pass is not above 0 the ratio is 1, and so it is for constant bands. The MSI's radiometric offset is taken off
first, or it would weaken the ratio.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion._regression import blur_halo, lowered, moments, ratio, trusted, up_halo
from hypersharp.fusion._spec import Calibration, Floats, Fuse, FusionSpec, Window


def _fit(windows: Sequence[Window], calibration: Calibration) -> Fuse:
    pieces = zip(lowered(windows, calibration), (w.lr for w in windows), trusted(windows, calibration), strict=True)
    chosen = moments(pieces).closest()
    offset = calibration.offset.astype(np.float32)

    def fuse(window: Window) -> Floats:
        out = enlarge(window.lr.shape[1:], calibration).apply(window.lr)
        blur = calibration.blur(window.msi.shape[1:])
        up = enlarge(window.lr.shape[1:], calibration)
        for band in np.unique(chosen[chosen >= 0]):
            sharp = window.msi[band] - offset[band]
            factor = ratio(sharp, up.apply(blur.apply(sharp)))
            for at in np.flatnonzero(chosen == band):
                out[at] *= factor
        return out

    return fuse


METHOD = FusionSpec(
    fit=_fit,
    halo=lambda calibration: blur_halo(calibration) + up_halo(calibration),
    title="intensity modulation by the ratio of the most correlated MSI band to its low-pass",
    source="Liu, Int. J. Remote Sensing 21(18), 2000; Yokoya et al., IEEE GRSM 5(2), 2017",
)
