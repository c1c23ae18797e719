"""Which parts of a scene are for training and which for validation; integers only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hypersharp.errors import UsageError

Side = Literal["top", "bottom", "left", "right"]
Span = tuple[int, int]


@dataclass(frozen=True)
class Rectangle:
    """Rows and columns of a scene, half-open."""

    rows: Span
    cols: Span

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows[1] - self.rows[0], self.cols[1] - self.cols[0]


def split_block(shape: tuple[int, int], *, side: Side, size: int, gap: int) -> tuple[Rectangle, Rectangle]:
    """Split a scene into a training part and a validation block at one edge.

    Each part is then treated as a scene of its own, degraded included, so nothing of one reaches the other.

    Args:
        shape: `(H, W)` in HR pixels.
        side: edge at which the validation block lies.
        size: its rows or columns.
        gap: rows or columns between both that are in neither.

    Returns:
        Training part and validation block.

    Raises:
        UsageError: nothing is left for training.
    """
    height, width = shape
    length = height if side in ("top", "bottom") else width
    if size < 1 or gap < 0 or size + gap >= length:
        raise UsageError(
            f"a validation block of {size} with a gap of {gap} leaves nothing of {length} pixels to train on; take less"
        )
    near = side in ("top", "left")
    held: Span = (0, size) if near else (length - size, length)
    rest: Span = (size + gap, length) if near else (0, length - size - gap)
    if side in ("top", "bottom"):
        return Rectangle(rest, (0, width)), Rectangle(held, (0, width))
    return Rectangle((0, height), rest), Rectangle((0, height), held)
