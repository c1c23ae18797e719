"""What a conditioned network is told besides the scene: how the sensor blurs, and how noisy its eigenimages are.

One network then serves every sensor without averaging over their blurs (as SRMD does with maps of degradation; Zhang,
Zuo and Zhang, CVPR 2018). Training and inference make the numbers by this code alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hypersharp.models._card import PSF_NUMBERS
from hypersharp.operators import Separable

_FREQUENCIES = (0.25, 0.5)  # cycles per LR pixel: half the Nyquist frequency, and it
_QUIETEST = 1e-3  # of the first eigenimage's spread; noise below it is none
_MIDDLE = 1.5  # decades above that; so the numbers lie around 0


def conditions_of(operator: Separable, noise: NDArray[np.float64], project: NDArray[np.float64]) -> NDArray[np.float32]:
    """The numbers for one scene.

    Args:
        operator: the degradation, HR to LR.
        noise: `(C,)` standard deviation of each band's noise; what is not finite counts as none.
        project: `(K, C)` from bands to eigenimages.

    Returns:
        `(2 + K,)`: the MTF at half and at the whole Nyquist frequency of LR, mean over rows and columns, each less a
        half; and the decades of each eigenimage's noise.
    """
    kernel = sum(np.outer(y.weight[len(y.weight) // 2], x.weight[len(x.weight) // 2]) for y, x in operator.terms)
    scale = operator.shape_in[0] // operator.shape_out[0]
    assert len(_FREQUENCIES) == PSF_NUMBERS
    gains = [np.mean([_gain(np.sum(kernel, axis=axis), at / scale) for axis in (0, 1)]) for at in _FREQUENCIES]
    spread = np.sqrt((project**2) @ np.nan_to_num(noise, posinf=0.0) ** 2)
    decades = np.log10(_QUIETEST + spread) + _MIDDLE
    return np.concatenate([np.array(gains) - 0.5, decades]).astype(np.float32)


def _gain(profile: NDArray[np.float64], frequency: float) -> float:
    """Magnitude of a kernel's response at a frequency in cycles per HR pixel, over that at 0."""
    wave = np.exp(-2j * np.pi * frequency * np.arange(len(profile)))
    return float(abs(profile @ wave) / abs(profile.sum()))
