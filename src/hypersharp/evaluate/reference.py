"""Score an estimate against a reference: the same pixels, the same bands, one pass, bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube, all_valid
from hypersharp.cube.source import Mask, Values
from hypersharp.errors import NoDataError, UsageError
from hypersharp.metrics import Evaluation, Peaks, Protocol, Tile, evaluate_tiles, halo_of, pixel_map, reference_peaks

TILE = 256
"""Side of a tile's core in pixels."""
_SAME_NM = 1.0  # wavelengths further apart than this are not the same band


def evaluate(
    reference: Cube,
    estimate: Cube,
    protocols: Sequence[Protocol],
    *,
    scale: int,
    border: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Evaluation]:
    """Score a cube under one or several protocols.

    Args:
        reference: what is true; its valid pixels are those that count.
        estimate: a cube of the same shape with the same bands.
        protocols: presets, whole or some of their metrics.
        scale: HR/LR ratio that the estimate was made with.
        border: HR pixels left out on each side.
        workers: threads.
        progress: called with tiles done and tiles in all.

    Raises:
        UsageError: shapes, bands or grids differ, or the estimate is invalid where the reference is valid.
        NoDataError: no valid pixel.
    """
    check_pair(reference, estimate)
    rows, cols = reference.shape[1:]
    if not 0 <= border < (min(rows, cols) + 1) // 2:
        raise UsageError(f"border must leave a pixel of {rows} x {cols}, got {border}; cut less")
    tiles = _tiles(reference, estimate, halo_of(protocols), border, progress)
    return evaluate_tiles(
        tiles, protocols, scale=scale, peaks=peaks_of(reference, protocols), border=border, workers=workers
    )


def peaks_of(reference: Cube, protocols: Sequence[Protocol]) -> Peaks | None:
    """Range of a whole reference, by a pass of its own, where a protocol asks for it."""
    if not any(protocol.needs_peaks for protocol in protocols):
        return None

    def blocks() -> Iterator[tuple[Values, Mask | None]]:
        for rows, cols in cores(reference.shape[1:], 0):
            values, valid = reference.read(rows=slice(*rows), cols=slice(*cols))
            yield values, None if all_valid(valid) else valid

    return reference_peaks(blocks, quantile=any(protocol.needs_quantile for protocol in protocols))


def check_pair(reference: Cube, estimate: Cube, *, names: tuple[str, str] = ("the reference", "the estimate")) -> None:
    """Refuse two cubes that are not of the same pixels and bands.

    Args:
        reference: one of them.
        estimate: the other.
        names: how a message calls them.

    Raises:
        UsageError: they differ; both sides are printed.
    """
    one, other = names
    if reference.shape != estimate.shape:
        raise UsageError(
            f"expected {other} of the shape of {one} {_size(reference)}, got {_size(estimate)}; "
            "choose bands and window so that both cover the same"
        )
    here, there = reference.bands.wavelength_nm, estimate.bands.wavelength_nm
    if here is not None and there is not None:
        apart = np.abs(here - there)
        if (apart > _SAME_NM).any():
            band = int(np.nanargmax(apart))
            raise UsageError(
                f"bands do not match by wavelength: band {band + 1} is {here[band]:g} nm in {one} and "
                f"{there[band]:g} nm in {other}; choose the same bands"
            )
    if reference.grid is not None and estimate.grid is not None:
        pixel = max(reference.grid.gsd_m)
        shift = max(abs(a - b) for a, b in zip(reference.grid.affine, estimate.grid.affine, strict=True))
        if shift > 0.01 * pixel:
            raise UsageError(
                f"expected the grid of {one} {reference.grid.affine}, got {estimate.grid.affine} in {other}; "
                "they do not lie in the same place"
            )


def error_map(
    metric: str, reference: Cube, estimate: Cube, protocol: Protocol, *, scale: int
) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    """Map of one metric, tile by tile: first row, first column and values `(h, w)`, NaN where not defined.

    Args:
        metric: result name, for example ``"sam_deg"``.
        reference: what is true.
        estimate: a cube of the same shape.
        protocol: says how.
        scale: HR/LR ratio.

    Raises:
        UsageError: the metric has no map, or the cubes differ.
    """
    check_pair(reference, estimate)
    record = protocol.only([metric]).resolve(peaks=peaks_of(reference, [protocol]), scale=scale).records[0]
    for tile in _tiles(reference, estimate, halo_of([protocol.only([metric])]), 0, None):
        row, col = tile.origin[0] + tile.core[0].start, tile.origin[1] + tile.core[1].start
        yield row, col, pixel_map(metric, tile, record)


def _tiles(
    reference: Cube, estimate: Cube, halo: int, border: int, progress: Callable[[int, int], None] | None
) -> Iterator[Tile]:
    """Windows of both cubes whose cores partition what the border leaves."""
    height, width = reference.shape[1:]
    parts = list(cores((height, width), border))
    for done, ((r0, r1), (c0, c1)) in enumerate(parts):
        top, bottom = max(border, r0 - halo), min(height - border, r1 + halo)
        left, right = max(border, c0 - halo), min(width - border, c1 + halo)
        window = {"rows": slice(top, bottom), "cols": slice(left, right)}
        (true, valid), (guess, known) = reference.read(**window), estimate.read(**window)
        if not all_valid(known):
            missing = int((valid & ~known).sum())
            if missing:
                raise UsageError(
                    f"the estimate is invalid at {missing} values where the reference is valid "
                    f"(rows {top} to {bottom - 1}, columns {left} to {right - 1}); mask them in both"
                )
        yield Tile(
            true,
            guess,
            None if all_valid(valid) else valid,
            core=(slice(r0 - top, r1 - top), slice(c0 - left, c1 - left)),
            origin=(top - border, left - border),
            scene=(height - 2 * border, width - 2 * border),
        )
        if progress is not None:
            progress(done + 1, len(parts))
    if not parts:
        raise NoDataError("nothing is left to score")


def cores(shape: tuple[int, int], border: int, side: int = TILE) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Rows and columns of the squares that partition what a border leaves of a scene."""
    height, width = shape
    for row in range(border, height - border, side):
        for col in range(border, width - border, side):
            yield (row, min(row + side, height - border)), (col, min(col + side, width - border))


def _size(cube: Cube) -> str:
    return f"{cube.shape[0]} bands x {cube.shape[1]} rows x {cube.shape[2]} columns"
