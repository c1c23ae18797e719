"""Which pixels are computed together: integers only, never pixel values.

The cores of a plan partition the LR scene exactly. A window is a core and its halo, moved inwards at the scene's
edge so that all windows of a plan have the same size (once padded, where that must be a multiple of something).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

from hypersharp.errors import UsageError

Span = tuple[int, int]

_MOST_PIXELS = 1 << 18  # HR pixels of the core of a strip; more brings nothing


@dataclass(frozen=True)
class Tile:
    """One piece of a plan, in LR pixels, half-open.

    Attributes:
        rows: rows of the core, the part that is kept.
        cols: columns of the core.
        window_rows: rows that are read: the core and its halo.
        window_cols: columns that are read.
    """

    rows: Span
    cols: Span
    window_rows: Span
    window_cols: Span


@dataclass(frozen=True)
class TilePlan:
    """The tiles of a scene.

    Attributes:
        shape: `(H, W)` of the LR scene.
        scale: HR pixels per LR pixel along a side.
        row_spans: cores and windows along the rows.
        col_spans: cores and windows along the columns.
    """

    shape: tuple[int, int]
    scale: int
    row_spans: tuple[tuple[Span, Span], ...]
    col_spans: tuple[tuple[Span, Span], ...]

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.row_spans) * len(self.col_spans)

    @property
    def core(self) -> tuple[int, int]:
        """Rows and columns of the first, full-sized core in LR pixels."""
        (rows, _), (cols, _) = self.row_spans[0], self.col_spans[0]
        return rows[1] - rows[0], cols[1] - cols[0]

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of every window in LR pixels."""
        (_, rows), (_, cols) = self.row_spans[0], self.col_spans[0]
        return rows[1] - rows[0], cols[1] - cols[0]

    def tiles(self) -> Iterator[Tile]:
        """Every tile, row by row."""
        return self.touching((0, self.shape[0] * self.scale), (0, self.shape[1] * self.scale))

    def touching(self, hr_rows: Span, hr_cols: Span) -> Iterator[Tile]:
        """The tiles whose cores hold part of a region given in HR pixels, row by row."""
        for rows, window_rows in self.row_spans:
            if rows[1] * self.scale <= hr_rows[0] or rows[0] * self.scale >= hr_rows[1]:
                continue
            for cols, window_cols in self.col_spans:
                if cols[1] * self.scale <= hr_cols[0] or cols[0] * self.scale >= hr_cols[1]:
                    continue
                yield Tile(rows, cols, window_rows, window_cols)


def plan(
    shape: tuple[int, int], *, tile: int | tuple[int, int], halo: int, scale: int, multiple_of: int = 1
) -> TilePlan:
    """Partition a scene into tiles.

    Args:
        shape: `(H, W)` of the LR scene.
        tile: side, or rows and columns, of a core in LR pixels; the last row and column of tiles may be smaller.
        halo: LR pixels read around a core.
        scale: HR pixels per LR pixel along a side.
        multiple_of: windows start at multiples of this and have sides that are; what the last ones lack at the
            scene's far edges is for the method to pad. A network that pools sees the same pixels together in each.

    Raises:
        UsageError: a tile below 1 pixel, or a negative halo.
    """
    rows, cols = (tile, tile) if isinstance(tile, int) else tile
    if min(rows, cols) < 1 or halo < 0 or multiple_of < 1:
        raise UsageError(f"a tile needs at least 1 pixel and no negative halo, got tile {tile} and halo {halo}")
    return TilePlan(
        shape,
        scale,
        _spans(shape[0], rows, halo, multiple_of),
        _spans(shape[1], cols, halo, multiple_of),
    )


def _spans(size: int, tile: int, halo: int, step: int) -> tuple[tuple[Span, Span], ...]:
    core = min(tile, size)
    padded = -(-size // step) * step
    window = min(-(-(core + 2 * halo + step - 1) // step) * step, padded)
    spans = []
    for start in range(0, size, core):
        stop = min(start + core, size)
        low = min(max(0, start - halo) // step * step, padded - window)
        spans.append(((start, stop), (low, min(low + window, size))))
    return tuple(spans)


def tile_for_memory(
    memory_bytes: int, *, window_bytes: int, core_bytes: int, halo: int, scale: int, block: int = 256
) -> int:
    """Side of the largest core that fits a budget, so that HR cores are whole blocks of the output.

    Args:
        memory_bytes: budget for one tile.
        window_bytes: what one LR pixel of a window takes.
        core_bytes: what the HR pixels and their copies take for one LR pixel of a core.
        halo: LR pixels around a core.
        scale: HR pixels per LR pixel along a side.
        block: side of an output block in HR pixels.

    Returns:
        LR pixels: a multiple of `block / gcd(block, scale)` whose HR core is at most twice a block wide (or one step),
        or less than a step where the budget does not hold even that.
    """
    step = block // gcd(block, scale)

    def fits(tile: int) -> bool:
        return (tile + 2 * halo) ** 2 * window_bytes + tile**2 * core_bytes <= memory_bytes

    tile = step
    while tile > 8 and not fits(tile):
        tile //= 2
    while tile >= step and (tile + step) * scale <= 2 * block and fits(tile + step):
        tile += step
    return tile


def strip_for_memory(
    memory_bytes: int, width: int, *, window_bytes: int, core_bytes: int, halo: int, scale: int, block: int = 256
) -> tuple[int, int]:
    """Rows and columns of a core as wide as a budget allows: most files hold rows in one piece.

    Args:
        memory_bytes: see `tile_for_memory`, as for all that follow.
        width: columns of the LR scene.
        window_bytes: what one LR pixel of a window takes.
        core_bytes: what one LR pixel of a core takes.
        halo: LR pixels around a core.
        scale: HR pixels per LR pixel along a side.
        block: side of an output block in HR pixels.

    Returns:
        Rows that make up whole blocks, and columns of which equal parts make up the scene, each whole blocks too; a
        square where the budget or `_MOST_PIXELS` do not hold more than one of those.
    """
    rows = block // gcd(block, scale)

    def fits(cols: int) -> bool:
        taken = (rows + 2 * halo) * min(cols + 2 * halo, width) * window_bytes + rows * cols * core_bytes
        return taken <= memory_bytes and rows * cols * scale**2 <= _MOST_PIXELS

    most = rows
    while most < width and fits(most + rows):
        most += rows
    if most == rows:
        side = tile_for_memory(
            memory_bytes, window_bytes=window_bytes, core_bytes=core_bytes, halo=halo, scale=scale, block=block
        )
        return side, side
    parts = -(-width // most)
    return rows, -(-width // (parts * rows)) * rows
