"""All generated scenes of a recipe, one after the other: drawn ones, then photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hypersharp.data.generate.dead_leaves import draw_scene
from hypersharp.data.generate.lift import lift
from hypersharp.data.generate.photographs import Photograph, Pixels, list_photographs
from hypersharp.data.generate.spectra import Library, material_spectra, synthetic_spectra
from hypersharp.data.scenes import Scene
from hypersharp.errors import UsageError

_DRAWN, _PHOTOGRAPH = 1, 2  # kinds of scenes, part of their seeds
_SMALLEST = 48  # side of a scene below which it teaches next to nothing


@dataclass(frozen=True)
class GenerateConfig:
    """What is generated.

    Attributes:
        dead_leaves: number of scenes drawn by procedure.
        photographs: lift the photographs of all packages that are installed (True), of these packages, or none.
        shrink: photograph pixels per scene pixel along a side, each 2 at least; each photograph is used at each.
        windows: most scenes that are cut from one photograph at one size.
        bands: of each scene.
        side: rows and columns of a drawn scene, and most of a lifted one.
        synthetic: share of scenes whose spectra are synthetic although real ones are at hand.
        snr_db: lowest and highest ratio of signal to white noise, drawn for each scene and band by band.
    """

    dead_leaves: int = 24
    photographs: bool | tuple[str, ...] = True
    shrink: tuple[int, ...] = (2, 4, 6)
    windows: int = 6
    bands: int = 48
    side: int = 256
    synthetic: float = 0.25
    snr_db: tuple[float, float] = (40.0, 60.0)

    def __post_init__(self) -> None:
        if self.dead_leaves < 0 or self.windows < 1 or self.bands < 1 or self.side < _SMALLEST:
            raise UsageError(
                f"expected dead_leaves from 0, windows and bands from 1 and side from {_SMALLEST}, "
                f"got {self.dead_leaves}, {self.windows}, {self.bands}, {self.side}"
            )
        if min(self.shrink, default=2) < 2 or not self.shrink:
            raise UsageError(f"expected shrink to hold integers from 2, got {self.shrink}")
        if not 0 <= self.synthetic <= 1 or self.snr_db[0] > self.snr_db[1]:
            raise UsageError(
                f"expected synthetic between 0 and 1 and snr_db as (low, high), got {self.synthetic}, {self.snr_db}"
            )


def generate(config: GenerateConfig, scenes: Sequence[Scene] = (), *, seed: int) -> list[Scene]:
    """All generated scenes at once; see `iterate`."""
    return list(iterate(config, scenes, seed=seed))


def iterate(config: GenerateConfig, scenes: Sequence[Scene] = (), *, seed: int) -> Iterator[Scene]:
    """Generate scene after scene.

    Each scene depends on the seed, its own number and the spectra alone: asking for more scenes changes none.

    Args:
        config: what is generated.
        scenes: training scenes whose spectra materials are given; synthetic spectra where there are none.
        seed: of the run.

    Yields:
        Scenes of `bands` bands, all pixels valid, wavelengths unknown, in arbitrary positive units.

    Raises:
        UsageError: photographs of a package that is not installed were asked for, or none is installed.
    """
    libraries = [Library.of(scene, seed=seed) for scene in scenes]
    for index in range(config.dead_leaves):
        draw = np.random.default_rng([seed, _DRAWN, index])
        spectra = _spectra(libraries, int(draw.integers(6, 25)), config, draw)
        hr = draw_scene(spectra, draw, shape=(config.side, config.side))
        yield _scene(f"dead_leaves_{index}", hr, config, draw)
    if config.photographs is False:
        return
    photographs = list_photographs(None if config.photographs is True else config.photographs)
    if not photographs:
        raise UsageError(
            "no photograph is installed: pip install 'hypersharp[photographs]', or set photographs = false"
        )
    for photograph in photographs:
        yield from _lifted(photograph, libraries, config, seed)


def _lifted(photograph: Photograph, libraries: Sequence[Library], config: GenerateConfig, seed: int) -> Iterator[Scene]:
    """The scenes of one photograph, at each size."""
    pixels = photograph.load()
    for shrink in config.shrink:
        draw = np.random.default_rng([seed, _PHOTOGRAPH, shrink, *photograph.name.encode()])
        for number, (rows, cols) in enumerate(_windows(pixels, shrink, config, draw)):
            spectra = _spectra(libraries, int(draw.integers(4, 9)), config, draw)
            hr = lift(pixels.part(rows, cols), spectra, draw, shrink=shrink)
            yield _scene(f"{photograph.name}_{shrink}_{number}", hr, config, draw)


def _windows(
    pixels: Pixels, shrink: int, config: GenerateConfig, draw: np.random.Generator
) -> list[tuple[slice, slice]]:
    """Windows of a photograph that do not overlap, those with more detail more often; none without data."""
    spans = []
    for size in pixels.values.shape[1:]:
        side = min(config.side, size // shrink) * shrink
        number = size // side if side >= _SMALLEST * shrink else 0
        spans.append([slice(at, at + side) for at in np.linspace(0, size - side, number).astype(int).tolist()])
    found = [(rows, cols) for rows in spans[0] for cols in spans[1] if not pixels.missing[rows, cols].any()]
    if len(found) <= config.windows:
        return found
    detail = np.array([_detail(pixels.part(*window), shrink) for window in found]) ** 2
    order = draw.choice(len(found), config.windows, replace=False, p=detail / detail.sum())
    return [found[i] for i in sorted(order)]


def _detail(part: NDArray[np.float32], shrink: int) -> float:
    """Mean difference of neighbours that are one scene pixel apart: oceans and night skies have little."""
    return float(np.abs(np.diff(part.mean(axis=0)[::shrink, ::shrink])).mean()) + 1e-6


def _spectra(
    libraries: Sequence[Library], count: int, config: GenerateConfig, draw: np.random.Generator
) -> NDArray[np.float32]:
    if draw.random() < config.synthetic:
        return synthetic_spectra(count, config.bands, draw)
    return material_spectra(libraries, count=count, bands=config.bands, draw=draw)


def _scene(name: str, hr: NDArray[np.float32], config: GenerateConfig, draw: np.random.Generator) -> Scene:
    """With a little noise: a scene of exactly a few dimensions is one that noise estimates never meet."""
    snr_db = draw.uniform(*config.snr_db) + draw.normal(0, 2, len(hr))
    level = hr.std(axis=(1, 2)) * 10 ** (-snr_db / 20)
    hr += level.astype(np.float32)[:, None, None] * draw.standard_normal(hr.shape, np.float32)
    return Scene(f"generated_{name}", hr, np.ones(hr.shape[1:], bool), np.arange(len(hr)), None)
