"""Random smooth curves over bands and random fields over pixels, from which generated scenes are mixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage


def smooth_curves(
    count: int, bands: int, draw: np.random.Generator, *, length: float | tuple[float, float] = (0.08, 0.5)
) -> NDArray[np.float32]:
    """Curves over the bands that vary smoothly, each about its own mean.

    Args:
        count: number of curves.
        bands: number of points of each.
        draw: source of randomness.
        length: over what part of all bands a curve keeps its value; a pair is a range to draw from per curve.

    Returns:
        `(count, C)` of mean 0 and spread 1; zeros where there is one band only.
    """
    low, high = length if isinstance(length, tuple) else (length, length)
    curves = np.zeros((count, bands), np.float32)
    margin = bands  # curves are cut from longer ones, so that their ends are as free as their middle
    for curve in curves:
        rough = draw.normal(size=bands + 2 * margin)
        whole = ndimage.gaussian_filter1d(rough, max(draw.uniform(low, high) * bands, 0.5), mode="wrap")
        part = whole[margin : margin + bands]
        curve[:] = (part - part.mean()) / max(float(part.std()), 1e-12) if bands > 1 else 0.0
    return curves


def fractal(shape: tuple[int, int], draw: np.random.Generator, *, slope: float) -> NDArray[np.float32]:
    """A field of which amplitude falls as frequency to the power `-slope`, as textures of natural scenes do.

    About 1 is the slope that photographs show (Field 1987, J. Opt. Soc. Am. A 4, 2379); larger is smoother.

    Args:
        shape: `(H, W)`.
        draw: source of randomness.
        slope: of the amplitude, at least 0.

    Returns:
        `(H, W)` of mean 0 and spread 1. Left and right border fit each other, top and bottom too.
    """
    white = fft.rfft2(draw.normal(size=shape).astype(np.float32))
    frequency = np.hypot(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :])
    frequency[0, 0] = 1.0
    white *= (frequency**-slope).astype(np.float32)
    white[0, 0] = 0
    field = np.asarray(fft.irfft2(white, s=shape), np.float32)
    return field / max(float(field.std()), 1e-12)
