"""How large a tile of a fusion may be, and what memory the process will take."""

from __future__ import annotations

from hypersharp.errors import UsageError
from hypersharp.infer.tiles import tile_for_memory
from hypersharp.io.warp import Nested

__all__ = ["tile_of"]

_BASE_BYTES = 256 << 20  # the interpreter, its libraries, the sample and GDAL's blocks
_PLANES = 3  # times the bands of HR values that a method holds of a window at once
_COMPONENTS = 24  # HR planes of a subspace that a method holds besides


def tile_of(nested: Nested, live: int, *, halo: int, tile: int | None, most_bytes: int) -> tuple[tuple[int, int], int]:
    """Rows and columns of a tile's core in LR pixels, and the memory that the process is expected to take.

    Args:
        nested: the pair.
        live: bands that are fused.
        halo: of the method, in LR pixels.
        tile: side that was asked for; None for what memory allows.
        most_bytes: about what the process may take.

    Raises:
        UsageError: a tile below 1 pixel.
    """
    bands, stored, scale = nested.lr.shape[0], nested.lr.storage.dtype.itemsize, nested.scale
    planes = _PLANES * live + _COMPONENTS + 4 * nested.msi.shape[0]
    window_bytes = 4 * scale**2 * planes + 3 * 4 * bands
    core_bytes = scale**2 * bands * (2 * 4 + 2 * stored)
    budget = max(most_bytes - _BASE_BYTES, most_bytes // 4)
    height, width = nested.lr.shape[1:]
    if tile is not None:
        if tile < 1:
            raise UsageError(f"tile must be at least 1 LR pixel, got {tile}")
        side = tile
    else:
        side = tile_for_memory(budget, window_bytes=window_bytes, core_bytes=core_bytes, halo=halo + 1, scale=scale)
    window = min(side + 2 * halo + 2, height) * min(side + 2 * halo + 2, width)
    return (side, side), _BASE_BYTES + window * window_bytes + min(side, height) * min(side, width) * core_bytes
