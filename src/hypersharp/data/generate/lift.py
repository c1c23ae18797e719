"""A photograph of one or three channels lifted to many bands that look as if a spectrometer had taken them.

A photograph brings what no procedure draws, true edges and textures at every size, and no spectra. Bands are mixed from
maps that are computed of the photograph pixel by pixel: powers of its channels, products of them, and how much a pixel
belongs to each of a few clusters of colour, each of which is given a spectrum. Maps are computed before the photograph
is shrunk, so that an edge pixel of the scene is a linear mixture of what lies on both sides, as in a real cube.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hypersharp.data.generate.fields import fractal, smooth_curves
from hypersharp.errors import UsageError
from hypersharp.operators import bicubic_shrink

_FLOOR = 0.015  # of linear light, below which powers and ratios show the steps of bytes
_SAMPLE = 3000  # pixels that clusters are fitted to
_ROUNDS = 8
Floats = NDArray[np.float32]


def lift(
    photograph: NDArray[np.float32], spectra: NDArray[np.float32], draw: np.random.Generator, *, shrink: int
) -> NDArray[np.float32]:
    """Lift a photograph to the bands of given spectra.

    Args:
        photograph: `(3 or 1, H, W)` linear light.
        spectra: `(K, C)`, one of each cluster of colours.
        draw: source of randomness.
        shrink: photograph pixels per scene pixel; rows and columns that do not fill one are left out.

    Returns:
        `(C, H / shrink, W / shrink)` float32 of mean 1.

    Raises:
        UsageError: the photograph is not of 1 or 3 channels, or smaller than one pixel of the scene.
    """
    channels, height, width = photograph.shape
    if channels not in (1, 3) or min(height, width) < shrink:
        raise UsageError(f"expected a photograph of 1 or 3 channels and a side of {shrink}, got {photograph.shape}")
    height, width = height // shrink * shrink, width // shrink * shrink
    light = np.maximum(photograph[:, :height, :width], 0) + np.float32(_FLOOR)
    light = (light / light.mean()) ** np.float32(draw.uniform(0.45, 1.0))  # photographs contrast more than cubes
    operator = bicubic_shrink((height, width), shrink)
    bands = spectra.shape[1]

    clusters = _belonging(light, len(spectra), draw)
    brightness = light.mean(axis=0) ** np.float32(draw.uniform(0.3, 0.9))
    shares = np.stack([operator.apply(cluster * brightness) for cluster in clusters])
    scene = np.tensordot(spectra, shares, axes=(0, 0))
    for _ in range(2):  # places of one material differ, as they do in nature
        own = fractal(shares.shape[1:], draw, slope=draw.uniform(0.5, 1.5))
        turned = spectra * smooth_curves(len(spectra), bands, draw) * np.float32(draw.uniform(0.02, 0.12))
        scene += np.tensordot(turned, shares * own, axes=(0, 0))
    scene /= scene.mean()

    powers, weights = _powers(light, bands, draw)
    mixed = np.tensordot(weights, np.stack([operator.apply(power) for power in powers]), axes=(0, 0))
    mixed *= spectra.mean(axis=0)[:, None, None]
    mixed /= mixed.mean()
    share = np.float32(draw.uniform(0.1, 0.7))
    scene = share * mixed + (1 - share) * scene
    return np.asarray(scene / scene.mean(), np.float32)


def _powers(light: Floats, bands: int, draw: np.random.Generator) -> tuple[list[Floats], Floats]:
    """Powers and products of channels, and the weight `(n, C)` of each in each band, smooth over the bands."""
    powers: list[Floats] = []
    for channel in light:
        powers += [channel ** np.float32(draw.uniform(0.5, 0.9)), channel ** np.float32(draw.uniform(0.9, 1.4))]
    one, other = (light[int(i)] for i in draw.integers(len(light), size=2))
    products = [np.sqrt(one * other), one / (one + other.mean() + light.mean(axis=0))]
    powers = [power / power.mean() for power in [*powers, *products]]
    scores = draw.uniform(1.5, 4) * smooth_curves(len(powers), bands, draw, length=(0.1, 0.4))
    weights = np.exp(scores - scores.max(axis=0))
    weights /= weights.sum(axis=0)
    # a little of each with either sign: one thing may be bright in some bands and dark in others
    weights += draw.uniform(0, 0.12) * smooth_curves(len(powers), bands, draw, length=(0.05, 0.3))
    return powers, weights.astype(np.float32)


def _belonging(light: Floats, count: int, draw: np.random.Generator) -> list[Floats]:
    """How much each pixel belongs to each cluster: `count` maps `(H, W)` that sum to 1.

    Colours are told apart by the logarithms of the channels (differences count for more than brightness); where there
    is one channel only, by its brightness and by place, in regions of no sharp border.
    """
    logs = np.stack([_toggled(channel) for channel in np.log(light)])
    brightness = logs.mean(axis=0)
    if len(light) == 3:
        features = [0.5 * brightness, 2 * (logs[0] - logs[1]), 2 * (logs[2] - logs[1])]
    else:
        features = [brightness, 0.4 * fractal(brightness.shape, draw, slope=2.5)]
    points = np.stack(features)
    flat = points.reshape(len(points), -1).T
    sample = flat[draw.choice(len(flat), min(_SAMPLE, len(flat)), replace=False)]
    centres = sample[draw.choice(len(sample), count, replace=count > len(sample))]
    for _ in range(_ROUNDS):  # k-means
        distance = ((sample[:, None] - centres[None]) ** 2).sum(axis=2)
        near = distance.argmin(axis=1)
        centres = np.stack([sample[near == k].mean(axis=0) if (near == k).any() else centres[k] for k in range(count)])
    soft = np.float32(draw.uniform(2, 8) / max(float(distance.min(axis=1).mean()), 1e-6))
    maps = [np.exp(-soft / 2 * ((points - centre[:, None, None]) ** 2).sum(axis=0)) + 1e-6 for centre in centres]
    total = np.sum(maps, axis=0)
    return [np.asarray(one / total, np.float32) for one in maps]


def _toggled(channel: Floats) -> Floats:
    """Each pixel takes the darkest or the brightest value around it, whichever is nearer (Kramer and Bruckner 1975).

    An edge of a photograph is a ramp of two or three pixels, whose middle would be taken for a material of its own.
    """
    low, high = ndimage.minimum_filter(channel, 5), ndimage.maximum_filter(channel, 5)
    return np.where(channel - low < high - channel, low, high)
