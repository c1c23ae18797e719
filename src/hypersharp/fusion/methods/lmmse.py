"""LMMSE: the linear estimate from cube and MSI that is best in the mean, in the subspace of the cube's spectra.

Each eigenimage is regressed on the MSI at LR; the detail of what that gives is added to the enlarged eigenimage. Detail
and difference are weighed by what of them is more than noise, and noise that the eigenimages do not hold is left out
(`fusion.draft`, `Subspace.calm`). As cheap as GLP-HS, which it comes to without noise. Means and covariances are the
scene's, as in Hardie et al.'s estimate from an auxiliary sensor; their mixing model and inversion of the blur are not
here. Needs neither response nor radiometric match.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hypersharp.fusion._basis import COUNT
from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion._regression import blur_halo, inject, up_halo
from hypersharp.fusion._spec import Calibration, Floats, Fuse, FusionSpec, Window
from hypersharp.fusion.draft import fit_draft
from hypersharp.infer import subspace


def fit_lmmse(windows: Sequence[Window], calibration: Calibration, *, count: int = COUNT) -> Fuse:
    """The method with a choice of the number of eigenimages; those of no more than noise are not taken.

    Raises:
        NoDataError: no pixel is valid.
    """
    if sum(int(w.valid.sum()) for w in windows) == 1:  # nothing varies
        return lambda window: enlarge(window.lr.shape[1:], calibration).apply(window.lr)
    pieces = [(w.lr, np.broadcast_to(w.valid, w.lr.shape)) for w in windows]
    space = subspace.fit(pieces, calibration.noise_lr, count=count, drop_noise=True)
    draft = fit_draft(windows, calibration, space)

    def fuse(window: Window) -> Floats:
        u = space.encode(window.lr)
        rest = space.calm(window.lr) - np.tensordot(space.basis.astype(np.float32), u, axes=1)
        return inject(rest, draft(u, window.msi), space.basis, calibration)

    return fuse


METHOD = FusionSpec(
    fit=fit_lmmse,
    halo=lambda calibration: blur_halo(calibration) + up_halo(calibration),
    title="linear minimum mean square error in a subspace",
    source="ours, after Hardie, Eismann and Wilson, IEEE TIP 13(9), 2004",
)
