"""3×3 neighbourhoods of the core pixels of a tile: Laplacian and Sobel, inside the scene and the mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hypersharp.metrics._spec import Floats, Mask, Scratch, Tile, row_blocks

MARGIN = 1
ROUNDING = 1e-14


def neighbourhoods(tile: Tile, band: int, scratch: Scratch) -> Iterator[tuple[Floats, Floats, Mask | None]]:
    """Blocks of core pixels with one pixel around them.

    Pixels on the scene's own edge have no full neighbourhood and are left out.

    Yields:
        Reference and estimate `(rows + 2, cols + 2)`, valid until the next block is asked for, and the inner pixels
        `(rows, cols)` whose neighbourhood is all valid, or None for all of them.
    """
    (top, bottom), (left, right) = (
        (max(core.start, MARGIN), min(core.stop, length - MARGIN))
        for core, length in zip(tile.core, tile.reference.shape[1:], strict=True)
    )
    if bottom <= top or right <= left:
        return
    cols = slice(left - MARGIN, right + MARGIN)
    width = cols.stop - cols.start
    blocks = row_blocks(slice(top, bottom), width, margin=2 * MARGIN)
    out = scratch.vectors(2, (blocks[0].stop - blocks[0].start + 2 * MARGIN) * width)
    for block in blocks:
        reference, estimate, ok = tile.load(band, slice(block.start - MARGIN, block.stop + MARGIN), cols, out)
        yield reference, estimate, None if ok is None else _all_nine(ok)


def _all_nine(ok: Mask) -> Mask:
    rows = ok[:-2] & ok[1:-1] & ok[2:]
    return np.asarray(rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:])


def laplacian(values: Floats) -> Floats:
    """`8 · centre - sum of the eight neighbours` of the inner pixels of `(h, w)`."""
    rows = values[:-2] + values[1:-1] + values[2:]
    found: Floats = 9.0 * values[1:-1, 1:-1] - (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:])
    found[np.abs(found) <= ROUNDING * np.abs(values).max()] = 0.0  # a ramp has no Laplacian to correlate
    return found


def sobel(values: Floats) -> Floats:
    """Magnitude `sqrt(gx² + gy²)` of the Sobel gradient, smoothing weights 1 2 1, of the inner pixels of `(h, w)`."""
    down = values[:-2] + 2.0 * values[1:-1] + values[2:]
    across = values[:, :-2] + 2.0 * values[:, 1:-1] + values[:, 2:]
    return np.hypot(down[:, 2:] - down[:, :-2], across[2:] - across[:-2])
