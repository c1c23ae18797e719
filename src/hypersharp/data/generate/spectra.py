"""Spectra of materials: real ones sampled from given scenes, or smooth random ones where none are given.

Only the scenes that are passed in are looked at, so that nothing of a held-back scene can get into training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hypersharp.data.generate.fields import smooth_curves
from hypersharp.data.scenes import Scene

_ENDMEMBERS = 16
_PIXELS = 4000  # of one scene that are looked at: enough for every material, cheap to project
_NEIGHBOURS = 5  # pixels that are averaged to one spectrum, against noise
_PURITY = (0.25, 1.0)  # of materials, the rest being the mean spectrum
_TWO_SCENES = 0.3  # share of draws that mix the materials of two scenes


def endmembers(pixels: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """The pixels whose spectra span most: the successive projection algorithm.

    Again and again the pixel of largest norm is taken and all others are projected onto the complement of its
    spectrum (Araújo et al. 2001, Chemometr. Intell. Lab. 57, 65; Gillis and Vavasis 2014, IEEE TPAMI 36, 698).

    Args:
        pixels: `(n, C)` spectra.
        count: how many; fewer come back where the spectra span less.

    Returns:
        Indices of pixels in the order found, none twice.
    """
    rest = pixels.astype(np.float64)
    found: list[int] = []
    first = 0.0
    for _ in range(min(count, *pixels.shape)):
        norm = np.einsum("nc,nc->n", rest, rest)
        best = int(norm.argmax())
        first = max(first, float(norm[best]))
        if norm[best] <= 1e-12 * first:
            break
        found.append(best)
        axis = rest[best] / np.sqrt(norm[best])
        rest -= np.outer(rest @ axis, axis)
    return np.array(found, np.intp)


@dataclass(frozen=True, eq=False)
class Library:
    """Spectra of one scene.

    Attributes:
        name: of the scene.
        spectra: `(n, C)` in parts of the scene's mean value: extreme ones first, then random ones.
    """

    name: str
    spectra: NDArray[np.float32]

    @classmethod
    def of(cls, scene: Scene, *, seed: int = 0) -> Library:
        """Sample a scene: endmembers and as many and more random pixels, each averaged with those most like it."""
        draw = np.random.default_rng(seed)
        pixels = scene.hr[:, scene.valid].T  # (n, C)
        if len(pixels) > _PIXELS:
            pixels = pixels[draw.choice(len(pixels), _PIXELS, replace=False)]
        pixels = pixels / max(float(np.abs(pixels).mean()), 1e-30)
        level = np.sqrt(np.mean(pixels**2, axis=0))
        scaled = (pixels / np.maximum(level, 1e-12)).astype(np.float32)  # a bright band must not decide alone
        chosen = endmembers(scaled, _ENDMEMBERS)
        others = draw.choice(len(pixels), min(4 * _ENDMEMBERS, len(pixels)), replace=False)
        chosen = np.concatenate([chosen, np.setdiff1d(others, chosen)])
        norm = np.einsum("nc,nc->n", scaled, scaled)
        distance = norm[None, :] + norm[chosen, None] - 2 * scaled[chosen] @ scaled.T
        count = min(_NEIGHBOURS, len(pixels))
        nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
        return cls(scene.name, pixels[nearest].mean(axis=1).astype(np.float32))

    def take(self, count: int, draw: np.random.Generator) -> NDArray[np.float32]:
        """`(count, C)` spectra, none twice while there are enough."""
        return self.spectra[draw.choice(len(self.spectra), count, replace=count > len(self.spectra))]


def material_spectra(
    libraries: Sequence[Library], *, count: int, bands: int, draw: np.random.Generator
) -> NDArray[np.float32]:
    """Spectra for the materials of one generated scene.

    Bands are a random subset of those of the scene that the spectra come from, in order, the same for all of them;
    where more are asked for than it has, spectra are interpolated between its bands. Materials of two scenes are
    matched by the relative place of a band.

    Args:
        libraries: to take from; synthetic spectra where there are none.
        count: how many.
        bands: of each.
        draw: source of randomness.

    Returns:
        `(count, C)` of about 1 on the average.
    """
    if not libraries:
        return synthetic_spectra(count, bands, draw)
    number = 2 if len(libraries) > 1 and draw.random() < _TWO_SCENES else 1
    sources = [libraries[i] for i in draw.choice(len(libraries), number, replace=False)]
    have = sources[0].spectra.shape[1]
    at = (
        np.linspace(0, 1, bands)
        if bands > have
        else np.sort(draw.choice(have, bands, replace=False)) / max(have - 1, 1)
    )
    parts = []
    for index, source in enumerate(sources):
        part = source.take(count // number + (count % number if index == 0 else 0), draw)
        places = np.linspace(0, 1, part.shape[1])
        parts += [np.interp(at, places, spectrum) for spectrum in part]
    pure = np.stack(parts).astype(np.float32)
    # pixels of a scene are mixtures: as they are, extreme spectra would give far more colour than scenes have
    grey = (
        np.abs(pure).mean(axis=1, keepdims=True)
        * pure.mean(axis=0)
        / max(float(np.abs(pure.mean(axis=0)).mean()), 1e-30)
    )
    part = np.float32(draw.uniform(*_PURITY))
    mixed = part * pure + (1 - part) * grey
    return np.asarray(mixed / max(float(np.abs(mixed).mean()), 1e-30), np.float32)


def synthetic_spectra(count: int, bands: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """Smooth positive random spectra: a slope, bumps, a few absorption lines, under one light for all of them.

    Args:
        count: how many.
        bands: of each.
        draw: source of randomness.

    Returns:
        `(count, C)` positive, of mean 1.
    """
    x = np.linspace(0, 1, bands)
    light = np.exp(0.5 * smooth_curves(1, bands, draw, length=0.3))
    reflectance = np.exp(draw.uniform(0.15, 0.6, (count, 1)) * smooth_curves(count, bands, draw))
    reflectance = reflectance * np.exp(draw.normal(0, 0.6, (count, 1)) * (x - 0.5))
    for spectrum in reflectance:
        for _ in range(draw.integers(0, 4)):
            centre, width, depth = draw.random(), draw.uniform(0.01, 0.08), draw.uniform(0.1, 0.6)
            spectrum *= 1 - depth * np.exp(-(((x - centre) / width) ** 2) / 2)
    spectra = light * reflectance * draw.lognormal(0, 0.4, (count, 1))
    return np.asarray(spectra / spectra.mean(), np.float32)
