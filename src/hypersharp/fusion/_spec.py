"""What a fusion method is: data that a module of `fuse.methods` hands over as `METHOD`, and the arrays it works on.

The model of all of them: `lr = blur(hr) + noise` and `msi = srf · hr + offset + noise`. A method is fitted once per
scene on windows of it, then fuses any window by itself; what lies farther than its halo from a pixel does not reach it.

Letters: C bands of the cube, B bands of the MSI, h w rows and columns of LR, s scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hypersharp.degrade.psf import Psf
from hypersharp.operators import Separable

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What is known of a pair, stated or estimated; the same for every window.

    Attributes:
        scale: LR pixel over MSI pixel along a side.
        psf: blur from the MSI's grid to the cube's.
        shift_yx: how far down and right of its block an LR pixel looks in the MSI, in HR pixels.
        srf: `(B, C)` response with the radiometric gain in it, so that `srf · hr + offset` is in the MSI's units.
        offset: `(B,)` in the MSI's units.
        noise_lr: `(C,)` standard deviation, physical units.
        noise_msi: `(B,)` standard deviation, the MSI's units.
        supported: `(C,)` bands that some MSI band sees; the others are extrapolated. All where that is unknown.
    """

    scale: int
    psf: Psf
    shift_yx: tuple[float, float]
    srf: NDArray[np.float64]
    offset: NDArray[np.float64]
    noise_lr: NDArray[np.float64]
    noise_msi: NDArray[np.float64]
    supported: NDArray[np.bool_]

    def blur(self, shape_hr: tuple[int, int]) -> Separable:
        """The degradation of a window of this shape, its borders mirrored."""
        return self.psf.operator(shape_hr, self.scale, shift_yx=self.shift_yx)


@dataclass(frozen=True, eq=False)
class Window:
    """A piece of a pair; finite everywhere, invalid pixels filled.

    Attributes:
        lr: `(C, h, w)` physical.
        msi: `(B, s·h, s·w)` in the MSI's units.
        valid: `(h, w)` LR pixels at which both were valid before filling; what is fitted uses no others.
    """

    lr: Floats
    msi: Floats
    valid: NDArray[np.bool_]


Fuse = Callable[[Window], Floats]
"""From a window to its `(C, s·h, s·w)`, in physical units."""


@dataclass(frozen=True)
class FusionSpec:
    """A fusion method.

    Attributes:
        fit: everything that is decided once per scene, on sampled windows; gives what fuses any window. Deterministic.
        halo: LR pixels around a core that a window needs; the result of the core depends on nothing beyond it, or by
            less than 1e-3 of a band's range; a method for which no halo does that says so, and by how much.
        title: what it is, in a few words.
        source: paper.
        iterative: takes many passes over each pixel; `auto` leaves these out unless asked.
    """

    fit: Callable[[Sequence[Window], Calibration], Fuse]
    halo: Callable[[Calibration], int]
    title: str
    source: str
    iterative: bool = False
