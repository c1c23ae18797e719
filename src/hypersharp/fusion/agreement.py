"""How far a fused cube agrees with both images that it was made of: necessary for a good one, far from sufficient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.fusion._spec import Calibration, Fuse, Window

__all__ = ["agreement"]


def agreement(windows: Sequence[Window], fuse: Fuse, calibration: Calibration) -> dict[str, Any]:
    """Degrade what is made of a few windows, in space and in spectrum, and compare.

    Args:
        windows: of the pair.
        fuse: the method, fitted.
        calibration: of the pair.

    Returns:
        Plain values for JSON: of the cube, RMSE over the noise (median band) and the mean spectral angle in degrees;
        of the MSI, RMSE over the spread of each band. None where no pixel counts.
    """
    ratios, angles, missed, spread, count = [], [], 0.0, 0.0, 0
    for window in windows:
        fused = fuse(window)
        operator = calibration.blur(window.msi.shape[1:])
        away = np.zeros_like(window.valid)  # from borders, beyond which the window does not know the scene
        halo = operator.halo
        away[halo : away.shape[0] - halo, halo : away.shape[1] - halo] = True
        at = window.valid & away
        if not at.any():
            continue
        again = operator.apply(fused)[:, at].astype(np.float64)
        given = window.lr[:, at].astype(np.float64)
        ratios.append(((again - given) ** 2).mean(axis=1))
        angles.append(_angle(again, given))
        fine = np.kron(at, np.ones((calibration.scale,) * 2, dtype=bool))
        seen = window.msi[:, fine].astype(np.float64)
        made = calibration.srf @ fused[:, fine].astype(np.float64) + calibration.offset[:, None]
        missed, spread, count = missed + ((made - seen) ** 2).sum(axis=1), spread + seen.var(axis=1) * fine.sum(), 1
    if not count:
        return {"cube": None, "msi": None}
    rmse = np.sqrt(np.mean(ratios, axis=0))
    noisy = calibration.noise_lr > 0
    over = float(np.median(rmse[noisy] / calibration.noise_lr[noisy])) if noisy.any() else None
    relative = np.sqrt(np.divide(missed, spread, out=np.zeros_like(calibration.offset), where=np.asarray(spread) > 0))
    return {
        "cube": {
            "rmse_over_noise": None if over is None else float(f"{over:.4g}"),
            "sam_deg": float(f"{np.concatenate(angles).mean():.4g}"),
        },
        "msi": {"rmse_over_spread_of_band": [float(f"{v:.4g}") for v in relative]},
        "windows": len(windows),
    }


def _angle(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(n,)` spectral angles in degrees; pixels of length 0 left out."""
    length = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    kept = length > 0
    cosine = (one * other).sum(axis=0)[kept] / length[kept]
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
