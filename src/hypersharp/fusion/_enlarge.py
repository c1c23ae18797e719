"""Up-sampling for fusion: the package's bicubic, put back where the MSI's pixels are."""

from __future__ import annotations

import numpy as np

from hypersharp.fusion._spec import Calibration, Floats
from hypersharp.operators import Axis, Separable, bicubic_enlarge

# Keys' cubic with a = -0.5, as the weights of four neighbours in powers of the distance after the second of them.
_CUBIC = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2


def enlarge(shape_lr: tuple[int, int], calibration: Calibration) -> Separable:
    """Bicubic enlargement of an LR window that undoes the calibrated shift.

    LR pixel i looks at the centre of its block displaced by `shift_yx`; its value is put there. One interpolation does
    both, so a shifted cube loses nothing more than a cube without shift.

    Args:
        shape_lr: `(h, w)`.
        calibration: scale and shift.

    Returns:
        The operator from `(h, w)` to `(s·h, s·w)`; borders mirrored.
    """
    if not any(calibration.shift_yx):
        return bicubic_enlarge(shape_lr, calibration.scale)
    dy, dx = calibration.shift_yx
    return Separable(((_axis(shape_lr[0], calibration.scale, dy), _axis(shape_lr[1], calibration.scale, dx)),))


def realign(lr: Floats, calibration: Calibration, *, beyond: float) -> Floats:
    """An LR window `(C, h, w)` with the calibrated shift undone by cubic interpolation, if above `beyond` HR pixels."""
    if max(map(abs, calibration.shift_yx)) <= beyond:
        return lr
    dy, dx = (shift / calibration.scale for shift in calibration.shift_yx)
    return Separable(((_axis(lr.shape[1], 1, dy), _axis(lr.shape[2], 1, dx)),)).apply(lr)


def _axis(n_lr: int, scale: int, shift: float) -> Axis:
    at = (np.arange(n_lr * scale) - (scale - 1) / 2 - shift) / scale
    second = np.floor(at).astype(np.int64)
    weight = np.vander(at - second, 4, increasing=True) @ _CUBIC
    folded = (second[:, None] + np.arange(-1, 3)) % (2 * n_lr)
    return Axis(n_lr, n_lr * scale, np.minimum(folded, 2 * n_lr - 1 - folded), weight)
