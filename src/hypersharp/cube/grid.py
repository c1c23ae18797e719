"""Where pixels lie on the ground: integers and an affine, never pixel values.

The one pixel convention of the whole package: a pixel is an area, and LR pixel ``(i, j)`` covers exactly the HR
rows ``s·i … s·i+s-1`` and columns ``s·j … s·j+s-1``. The affine maps pixel *corners*, ``(column, row)`` to
``(x, y)``, so that ``(0, 0)`` is the outer corner of the first pixel; coordinates of pixels are those of centres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hypersharp.errors import CubeError

Affine6 = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Grid:
    """Shape, affine and coordinate reference system of a cube's pixels.

    Attributes:
        shape: ``(rows, columns)``.
        affine: ``(a, b, c, d, e, f)`` with ``x = a·col + b·row + c`` and ``y = d·col + e·row + f``, of corners.
        crs: the coordinate reference system as WKT2 text, or None where it is not known.
    """

    shape: tuple[int, int]
    affine: Affine6
    crs: str | None = None

    def __post_init__(self) -> None:
        """Check shape and affine."""
        if len(self.shape) != 2 or any(n < 1 or int(n) != n for n in self.shape):
            raise CubeError(f"a grid needs two whole sizes of at least 1, got {self.shape}")
        if len(self.affine) != 6 or not all(math.isfinite(v) for v in self.affine):
            raise CubeError(f"a grid's affine needs six finite numbers, got {self.affine}")
        a, b, _, d, e, _ = self.affine
        if a * e - b * d == 0:
            raise CubeError(f"a grid's affine must not be degenerate, got {self.affine}")
        object.__setattr__(self, "shape", (int(self.shape[0]), int(self.shape[1])))
        object.__setattr__(self, "affine", tuple(float(v) for v in self.affine))

    @property
    def gsd_m(self) -> tuple[float, float]:
        """Pixel height and width in units of the CRS (metres for a projected one)."""
        a, b, _, d, e, _ = self.affine
        return math.hypot(b, e), math.hypot(a, d)

    def zoom(self, scale: int) -> Grid:
        """The grid whose pixels are `scale` times smaller and nest exactly in this one's.

        Raises:
            CubeError: when `scale` is not a whole number of at least 1.
        """
        _check_scale(scale)
        a, b, c, d, e, f = self.affine
        rows, cols = self.shape
        return replace(
            self,
            shape=(rows * scale, cols * scale),
            affine=(a / scale, b / scale, c, d / scale, e / scale, f),
        )

    def shrink(self, scale: int) -> Grid:
        """The grid whose pixels each cover `scale` × `scale` pixels of this one; undoes `zoom`.

        Raises:
            CubeError: when the shape is not a multiple of `scale`, or that is not a whole number of at least 1.
        """
        _check_scale(scale)
        rows, cols = self.shape
        if rows % scale or cols % scale:
            raise CubeError(f"a grid of {rows} x {cols} pixels does not divide by {scale}; crop it first")
        a, b, c, d, e, f = self.affine
        return replace(
            self,
            shape=(rows // scale, cols // scale),
            affine=(a * scale, b * scale, c, d * scale, e * scale, f),
        )

    def crop(self, rows: slice, cols: slice) -> Grid:
        """The part of the grid with the given rows and columns (steps of one)."""
        r0, r1, rstep = rows.indices(self.shape[0])
        c0, c1, cstep = cols.indices(self.shape[1])
        if rstep != 1 or cstep != 1 or r1 <= r0 or c1 <= c0:
            raise CubeError(f"a crop needs non-empty slices of step 1, got rows {rows} and columns {cols}")
        return replace(self, shape=(r1 - r0, c1 - c0), affine=self._moved(r0, c0))

    def pad(self, top: int, left: int, bottom: int, right: int) -> Grid:
        """The grid with so many more pixels on each side."""
        rows, cols = self.shape
        return replace(self, shape=(rows + top + bottom, cols + left + right), affine=self._moved(-top, -left))

    def xy(self, row: float, col: float) -> tuple[float, float]:
        """Coordinates of the *centre* of pixel ``(row, col)``; fractions move within the pixel."""
        a, b, c, d, e, f = self.affine
        u, v = col + 0.5, row + 0.5
        return a * u + b * v + c, d * u + e * v + f

    def _moved(self, rows: int, cols: int) -> Affine6:
        a, b, c, d, e, f = self.affine
        return (a, b, c + a * cols + b * rows, d, e, f + d * cols + e * rows)


def _check_scale(scale: int) -> None:
    if scale < 1 or int(scale) != scale:
        raise CubeError(f"the scale of a grid must be a whole number of at least 1, got {scale}")
