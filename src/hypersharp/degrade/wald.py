"""The Wald protocol: an HR cube degraded to the LR cube and the MSI that two sensors would have taken of it.

Both are lazy sources. They compute on a fixed lattice of tiles, so a region holds the same numbers to the last bit
whoever reads it, and memory does not grow with the scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Bands, Cube, Source, Storage, all_valid, trivial_mask
from hypersharp.cube.source import BandIndex, Mask, Values
from hypersharp.degrade.noise_models import Noise, measure, parse_noise, resolve
from hypersharp.degrade.noisy import Noisy
from hypersharp.degrade.psf import DEFAULT, Psf, parse_psf
from hypersharp.degrade.recipe import Recipe, check_scale, file_hashes
from hypersharp.degrade.srf import Srf, SrfMatrix, parse_srf, srf_matrix
from hypersharp.errors import UsageError
from hypersharp.operators import Separable

__all__ = ["Degraded", "Mixed", "Simulated", "degrade", "simulate"]

Span = tuple[int, int]

_TILE_BYTES = 1 << 26  # HR values that one tile may read
_TILES = (256, 128, 64, 32, 16, 8)  # sides in pixels; powers of two, so that the blocks of files nest
_LEAST_WEIGHT = 0.01  # of the PSF that must lie on valid pixels; only PSFs far off their block can have less


@dataclass(frozen=True, eq=False)
class Degraded:
    """Source of blurred and decimated values.

    An LR pixel is valid where every HR pixel of its block is. Where other pixels under the PSF are invalid, the PSF's
    weights on the valid ones are scaled up to sum 1 (normalised convolution).

    Attributes:
        hr: what is degraded; sizes are multiples of `scale`.
        operator: blur and decimation of the whole scene.
        scale: HR pixels per LR pixel along a side.
    """

    hr: Source
    operator: Separable
    scale: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C, H / scale, W / scale)`."""
        return self.hr.shape[0], *self.operator.shape_out

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float type of the HR values."""
        return self.hr.dtype

    @property
    def complete(self) -> bool:
        """Degrading makes no pixel invalid where none was."""
        return self.hr.complete

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the HR source."""
        return self.hr.files

    @property
    def block(self) -> tuple[int, int, int]:
        """Bands, rows and columns in which to read: all bands of a tile."""
        return self.hr.shape[0], *_tile(self.hr, self.scale, 2 * self.operator.halo, self.operator.shape_out)

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """Degraded values and valid mask of an LR window; see `Source.read`."""
        return _assemble(self, self._compute, bands, rows, cols)

    def _compute(self, bands: BandIndex, rows: Span, cols: Span) -> tuple[Values, Mask]:
        scale, support = self.scale, self.operator.support(rows, cols)
        blocks = tuple((low * scale, high * scale) for low, high in (rows, cols))
        (top, bottom), (left, right) = ((min(a, c), max(b, d)) for (a, b), (c, d) in zip(support, blocks, strict=True))
        values, valid = self.hr.read(bands, slice(top, bottom), slice(left, right))
        if all_valid(valid):
            out = self.operator.apply_window(values, rows, cols, (top, left))
            return out, trivial_mask(out.shape)
        out = np.empty((len(values), rows[1] - rows[0], cols[1] - cols[0]), dtype=self.dtype)
        good = np.empty(out.shape, dtype=bool)
        known: Mask | None = None
        for band, (plane, mask) in enumerate(zip(values, valid, strict=True)):
            if known is None or not np.array_equal(mask, known):  # most cubes have one mask for all bands
                known = mask
                weight = self.operator.apply_window(mask.astype(self.dtype), rows, cols, (top, left))
                block = mask[blocks[0][0] - top : blocks[0][1] - top, blocks[1][0] - left : blocks[1][1] - left]
                whole = block.reshape(rows[1] - rows[0], scale, cols[1] - cols[0], scale).all(axis=(1, 3))
                whole &= weight > _LEAST_WEIGHT
            plane[~mask] = 0
            blurred = self.operator.apply_window(plane, rows, cols, (top, left))
            out[band] = np.divide(blurred, weight, out=np.full_like(blurred, np.nan), where=whole)
            good[band] = whole
        return out, good


@dataclass(frozen=True, eq=False)
class Mixed:
    """Source of weighted sums of bands; a pixel is valid where every band with a weight is.

    Attributes:
        hr: what is mixed.
        weights: `(C_msi, C_hsi)`.
    """

    hr: Source
    weights: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C_msi, H, W)`."""
        return len(self.weights), *self.hr.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float type of the HR values."""
        return self.hr.dtype

    @property
    def complete(self) -> bool:
        """Mixing makes no pixel invalid where none was."""
        return self.hr.complete

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the HR source."""
        return self.hr.files

    @property
    def block(self) -> tuple[int, int, int]:
        """Bands, rows and columns in which to read: all bands of a tile."""
        return len(self.weights), *_tile(self.hr, 1, 0, self.hr.shape[1:])

    def read(self, bands: BandIndex, rows: slice, cols: slice) -> tuple[Values, Mask]:
        """Mixed values and valid mask of a window; see `Source.read`."""
        return _assemble(self, self._compute, bands, rows, cols)

    def _compute(self, bands: BandIndex, rows: Span, cols: Span) -> tuple[Values, Mask]:
        wanted = self.weights[bands if isinstance(bands, slice) else list(bands)]
        used = np.flatnonzero((self.weights != 0).any(axis=0))
        near = len(used) == used[-1] - used[0] + 1
        index: BandIndex = slice(int(used[0]), int(used[-1]) + 1) if near else [int(band) for band in used]
        values, valid = self.hr.read(index, slice(*rows), slice(*cols))
        weights = wanted[:, used]
        good = trivial_mask((len(wanted), *values.shape[1:]))
        if not all_valid(valid):
            values[~valid] = 0
            good = np.array([valid[row != 0].all(axis=0) for row in weights])
        flat = np.ascontiguousarray(values).reshape(len(values), -1)
        out: Values = (weights.astype(self.dtype) @ flat).reshape(len(wanted), *values.shape[1:])
        if not all_valid(good):
            out[~good] = np.nan
        return out, good


def _tile(hr: Source, scale: int, halo: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Sides of a tile: the largest whose HR window stays small; the scene where that is smaller."""
    room = _TILE_BYTES / (hr.shape[0] * hr.dtype.itemsize)
    side = next((side for side in _TILES if ((side + halo) * scale) ** 2 <= room), _TILES[-1])
    return min(side, shape[0]), min(side, shape[1])


def _assemble(
    source: Degraded | Mixed,
    compute: Callable[[BandIndex, Span, Span], tuple[Values, Mask]],
    bands: BandIndex,
    rows: slice,
    cols: slice,
) -> tuple[Values, Mask]:
    """A window out of whole tiles."""
    count, height, width = source.shape
    (r0, r1, _), (c0, c1, _) = rows.indices(height), cols.indices(width)
    _, tall, wide = source.block
    chosen = np.arange(count)[bands if isinstance(bands, slice) else list(bands)]
    out = np.empty((len(chosen), r1 - r0, c1 - c0), dtype=source.dtype)
    mask: Mask = trivial_mask(out.shape)
    for top in range(r0 // tall * tall, r1, tall):
        for left in range(c0 // wide * wide, c1, wide):
            tile = (top, min(top + tall, height)), (left, min(left + wide, width))
            values, valid = compute(bands, *tile)
            (a, b), (c, d) = (max(top, r0), min(tile[0][1], r1)), (max(left, c0), min(tile[1][1], c1))
            here, there = np.s_[:, a - r0 : b - r0, c - c0 : d - c0], np.s_[:, a - top : b - top, c - left : d - left]
            out[here] = values[there]
            if not all_valid(valid):
                mask = mask if mask.flags.writeable else np.ones(out.shape, dtype=bool)
                mask[here] = valid[there]
    return out, mask


@dataclass(frozen=True, eq=False)
class Simulated:
    """What a recipe makes of an HR cube; nothing of it is computed before it is read.

    Attributes:
        lr: the LR cube.
        msi: the MSI on the (cropped) HR grid, or None.
        recipe: what was done, with the hashes of the files it uses.
        facts: numbers that follow from recipe and scene, as JSON knows them: cropping, PSF, noise of each band,
            coverage and weights of the SRF.
    """

    lr: Cube
    msi: Cube | None
    recipe: Recipe
    facts: dict[str, Any]


def degrade(hr: Cube, *, scale: int, psf: Psf, shift_yx: tuple[float, float] = (0.0, 0.0)) -> Cube:
    """The LR cube without noise, on the grid that shares the HR grid's first corner; lazy, without history.

    Args:
        hr: sizes that are no multiple of `scale` are cropped at the bottom and right.
        scale: HR pixels per LR pixel along a side.
        psf: the sensor's spatial response.
        shift_yx: how far down and right of its block an LR pixel looks, in HR pixels; the grid does not move.

    Raises:
        UsageError: the scene is smaller than one LR pixel, or the PSF cannot be used.
    """
    hr = _cropped(hr, scale)
    operator = psf.operator(hr.shape[1:], scale, shift_yx=shift_yx)
    grid = None if hr.grid is None else hr.grid.shrink(scale)
    return replace(hr, values=Degraded(hr.values, operator, scale), grid=grid, attrs=hr.lasting_attrs)


def simulate(hr: Cube, recipe: Recipe) -> Simulated:
    """Degrade a cube as a recipe says.

    Args:
        hr: the cube as acquired; it becomes the reference.
        recipe: PSF, noise and SRF.

    Returns:
        Lazy cubes. Where noise is relative to the power or range of a band, one pass over the degraded scene was made.

    Raises:
        UsageError: a part of the recipe cannot be followed with this cube.
        NoDataError: nothing valid is left after degrading, and noise is relative to it.
    """
    psf = DEFAULT if recipe.degradation is None else parse_psf(recipe.degradation)
    srf = None if recipe.srf is None else parse_srf(recipe.srf)
    noises, msi_noises = ([parse_noise(text) for text in texts] for texts in (recipe.noise, recipe.msi_noise))
    cropped = _cropped(hr, recipe.scale)
    clean = degrade(cropped, scale=recipe.scale, psf=psf, shift_yx=recipe.shift_yx)
    used = [name for name in (psf.path, None if srf is None else srf.file) if name is not None]
    recipe = file_hashes(
        replace(
            recipe,
            degradation=str(psf),
            srf=None if srf is None else str(srf),
            noise=tuple(map(str, noises)),
            msi_noise=tuple(map(str, msi_noises)),
        ),
        used,
    )
    lines = (*hr.history, *_crop_line(hr, cropped), recipe.line())
    lr, noise_facts = _with_noise(replace(clean, history=lines), noises, recipe.seed, stream=0)
    facts: dict[str, Any] = {
        "hr_shape": list(cropped.shape),
        "cropped": [hr.shape[1] - cropped.shape[1], hr.shape[2] - cropped.shape[2]],
        "psf": psf.describe(recipe.scale),
        "noise": noise_facts,
    }
    if srf is None:
        return Simulated(lr, None, recipe, facts)
    matrix = srf_matrix(srf, cropped.bands)
    mixed = _mixed(cropped, srf, matrix, lines)
    msi, facts["msi_noise"] = _with_noise(mixed, msi_noises, recipe.seed, stream=1)
    facts["srf"] = _srf_facts(srf, matrix)
    return Simulated(lr, msi, recipe, facts)


def _cropped(hr: Cube, scale: int) -> Cube:
    check_scale(scale)
    rows, cols = (size // scale * scale for size in hr.shape[1:])
    if not (rows and cols):
        raise UsageError(f"one LR pixel is {scale} x {scale} pixels, and the scene has {hr.shape[1]} x {hr.shape[2]}")
    return hr if (rows, cols) == hr.shape[1:] else hr.crop(slice(0, rows), slice(0, cols))


def _crop_line(hr: Cube, cropped: Cube) -> tuple[str, ...]:
    rows, cols = hr.shape[1] - cropped.shape[1], hr.shape[2] - cropped.shape[2]
    if not (rows or cols):
        return ()
    return (f"HR cropped to a multiple of the scale: last {rows} rows and last {cols} columns left out",)


def _with_noise(cube: Cube, noises: list[Noise], seed: int, *, stream: int) -> tuple[Cube, list[dict[str, Any]]]:
    if not noises:
        return cube, []
    statistics = measure(cube.values) if any(noise.needs_statistics for noise in noises) else None
    layers = resolve(noises, statistics, bands=cube.shape[0], seed=seed, stream=stream)
    noisy = replace(cube, values=Noisy(cube.values, tuple(layers), seed, stream))
    return noisy, [{"noise": str(noise), **layer.facts()} for noise, layer in zip(noises, layers, strict=True)]


def _mixed(hr: Cube, srf: Srf, matrix: SrfMatrix, history: tuple[str, ...]) -> Cube:
    bands = Bands(
        count=len(srf.responses),
        wavelength_nm=np.array([response.centre_nm for response in srf.responses]),
        fwhm_nm=np.array([response.fwhm_nm for response in srf.responses]),
        name=tuple(response.name for response in srf.responses),
    )
    return replace(
        hr,
        values=Mixed(hr.values, matrix.weights),
        bands=bands,
        attrs={name: text for name, text in hr.attrs.items() if name != "default_bands"},
        storage=_common_storage(hr.storage, hr.values.dtype),
        history=history,
    )


def _common_storage(storage: Storage, dtype: np.dtype[Any]) -> Storage:
    """The HR cube's storage where one scale holds for all of its bands, else plain floats."""
    if np.ndim(storage.scale) or np.ndim(storage.offset):
        return Storage(dtype, interleave=storage.interleave)
    return storage


def _srf_facts(srf: Srf, matrix: SrfMatrix) -> dict[str, Any]:
    parts = zip(srf.responses, matrix.coverage, matrix.weights, strict=True)
    return {
        "source": srf.source,
        "bands": [
            {
                "name": response.name,
                "centre_nm": float(f"{response.centre_nm:.7g}"),
                "fwhm_nm": float(f"{response.fwhm_nm:.7g}"),
                "coverage": round(float(share), 4),
                "weights": {str(at + 1): float(f"{row[at]:.7g}") for at in np.flatnonzero(row)},
            }
            for response, share, row in parts
        ],
    }
