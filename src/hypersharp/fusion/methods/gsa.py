"""GSA-HS: adaptive Gram-Schmidt, band by band, with the most correlated MSI band.

The bands of the cube are shared out among the MSI's; each group makes, by regression at LR, the intensity that its MSI
band would have seen. What the MSI band has beyond the enlarged intensity is added with the gain
`cov(up(lr_b), up(I)) / var(up(I))`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion._regression import Doubles, Moments, inject, lowered, moments, trusted, up_halo
from hypersharp.fusion._spec import Calibration, Floats, Fuse, FusionSpec, Window

_RIDGE = 1e-3  # of a band's variance: many bands of a group are near copies of each other


def _fit(windows: Sequence[Window], calibration: Calibration) -> Fuse:
    lows, masks, cubes = lowered(windows, calibration), trusted(windows, calibration), [w.lr for w in windows]
    chosen = moments(zip(lows, cubes, masks, strict=True)).closest()
    weights, constant = _intensities(moments(zip(cubes, lows, masks, strict=True)), chosen)

    def intensity(lr: Floats) -> Floats:
        flat = weights.astype(np.float32) @ lr.reshape(len(lr), -1) + constant[:, None].astype(np.float32)
        return flat.reshape(-1, *lr.shape[1:])

    wide = moments(zip(map(intensity, cubes), cubes, masks, strict=True), enlarged=calibration)
    gains = np.where(chosen[:, None] == np.arange(len(weights)), (wide.white[:, None] ** 2 * wide.xy).T, 0.0)

    def fuse(window: Window) -> Floats:
        low = enlarge(window.lr.shape[1:], calibration).apply(intensity(window.lr))
        return inject(window.lr, window.msi - low, gains, calibration)

    return fuse


def _intensities(cube_to_msi: Moments, chosen: NDArray[np.intp]) -> tuple[Doubles, Doubles]:
    """Weights `(B, C)` and constants `(B,)` that make each MSI band of the cube's bands that chose it."""
    weights = np.zeros(cube_to_msi.xy.T.shape)
    for band in np.unique(chosen[chosen >= 0]):
        group = np.flatnonzero(chosen == band)
        part = Moments(
            cube_to_msi.mean_x[group],
            cube_to_msi.mean_y[[band]],
            cube_to_msi.xx[np.ix_(group, group)],
            cube_to_msi.xy[np.ix_(group, [band])],
        )
        weights[band, group] = part.regress(ridge=_RIDGE)[:, 0]
    return weights, cube_to_msi.mean_y - weights @ cube_to_msi.mean_x


METHOD = FusionSpec(
    fit=_fit,
    halo=up_halo,
    title="adaptive Gram-Schmidt with the most correlated MSI band",
    source="Aiazzi et al., IEEE TGRS 45(10), 2007; Yokoya et al., IEEE GRSM 5(2), 2017",
)
