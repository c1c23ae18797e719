"""A cube with noise added, as a lazy source.

Every number is drawn by a counter-based generator whose key is the seed and whose counter is the place, so a window
holds the same noise whoever reads it, in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypersharp.cube import Source
from hypersharp.cube.source import BandIndex, Mask, Values
from hypersharp.degrade.noise_models import Layer, block_of, generator

__all__ = ["Noisy"]

_BY_COLUMN = ("stripes", "dead-lines")
_BLOCK = 64  # pixels along a side that one generator draws


@dataclass(frozen=True, eq=False)
class Noisy:
    """Source of a cube with noise added to its valid pixels; what is invalid stays so.

    Attributes:
        clean: what the noise is added to.
        layers: the noise, in the order in which it is added.
        seed: of all noise.
        stream: tells cubes apart that are made from one seed.
    """

    clean: Source
    layers: tuple[Layer, ...]
    seed: int
    stream: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C, H, W)`."""
        return self.clean.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float type of the clean values."""
        return self.clean.dtype

    @property
    def complete(self) -> bool:
        """Noise makes no pixel invalid."""
        return self.clean.complete

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the clean source."""
        return self.clean.files

    @property
    def block(self) -> tuple[int, int, int]:
        """Bands, rows and columns in which to read: those of the clean source."""
        return block_of(self.clean)

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """Noisy values and valid mask of a window; see `Source.read`."""
        values, valid = self.clean.read(bands, rows, cols)
        count, height, width = self.shape
        band_at = np.arange(count)[bands if isinstance(bands, slice) else list(bands)]
        origin = (rows.indices(height)[0], cols.indices(width)[0])
        for at, layer in enumerate(self.layers):
            for plane, band in zip(values, band_at, strict=True):
                _add(plane, layer, int(band), origin, (self.seed, self.stream, at))
        return values, valid


def _add(plane: Values, layer: Layer, band: int, origin: tuple[int, int], key: tuple[int, int, int]) -> None:
    """Add one layer to the `(h, w)` window at `origin` of one band, block by block; NaN stays NaN."""
    if layer.kind == "dead-bands":
        if band in layer.bands:
            plane[~np.isnan(plane)] = layer.first[band]
        return
    height, width = plane.shape
    tall = layer.kind not in _BY_COLUMN
    for row, (top, bottom) in _cut(origin[0], height) if tall else [(0, (0, 1))]:
        first = row * _BLOCK - origin[0]
        lines = slice(first + top, first + bottom) if tall else slice(None)
        for col, (left, right) in _cut(origin[1], width):
            first = col * _BLOCK - origin[1]
            part = plane[lines, first + left : first + right]
            _change(part, layer, band, generator(key, (band, row, col)), np.s_[top:bottom, left:right])


def _cut(start: int, length: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """The blocks that `start … start+length-1` touches, each with the range inside of it."""
    for block in range(start // _BLOCK, (start + length - 1) // _BLOCK + 1):
        yield block, (max(0, start - block * _BLOCK), min(_BLOCK, start + length - block * _BLOCK))


def _change(part: Values, layer: Layer, band: int, draw: np.random.Generator, inside: tuple[slice, slice]) -> None:
    """Change the part of a plane that lies `inside` one block of draws."""
    shape = (1 if layer.kind in _BY_COLUMN else _BLOCK, _BLOCK)
    first, second = layer.first[band], layer.second[band]
    if layer.kind == "gaussian":
        part += first * draw.standard_normal(shape)[inside]
        return
    if layer.kind == "poisson":
        part += np.sqrt(first * np.maximum(part, 0) + second**2) * draw.standard_normal(shape)[inside]
        return
    hit = (draw.random(shape) < layer.fraction)[inside]
    if layer.kind == "stripes":
        part += np.where(hit, first * draw.standard_normal(shape)[inside], 0)
        return
    where = hit & ~np.isnan(part)
    if layer.kind == "dead-lines":
        part[where] = first
        return
    chance = draw.random(shape)[inside]
    new = first + (second - first) * (chance if layer.kind == "random" else np.round(chance))
    part[where] = new[where]
