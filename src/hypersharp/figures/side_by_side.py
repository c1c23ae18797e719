"""Several cubes of the same ground side by side in three bands, stretched alike, every pixel a whole square."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp._require import require
from hypersharp.cube import Bands, Cube
from hypersharp.errors import NoDataError, UsageError, WriteError

NATURAL_NM = (650.0, 550.0, 450.0)
"""Red, green and blue as the eye has them."""
FALSE_COLOUR_NM = (860.0, 650.0, 550.0)
"""Near infrared shown as red, red as green, green as blue: vegetation is red."""

_WHOLE = (slice(None), slice(None))
_DPI = 100
_GAP = 8  # pixels between panels and around them
_TITLE = 24  # pixels above a panel
_NOTE = 22  # pixels below the last one
_STRETCH = (1.0, 99.0)  # percentiles of the first cube that become black and full

View = tuple[slice, slice]


def colour_bands(bands: Bands, colours_nm: tuple[float, float, float]) -> tuple[int, int, int]:
    """The good bands nearest to three wavelengths in nm, as indices.

    Raises:
        UsageError: no band has a wavelength.
    """
    if bands.wavelength_nm is None:
        raise UsageError("a colour picture needs wavelengths, the cube has none; give them when opening it")
    known = np.where(bands.good, bands.wavelength_nm, np.nan)
    if np.isnan(known).all():
        raise UsageError("a colour picture needs a good band with a wavelength, the cube has none")
    red, green, blue = (int(np.nanargmin(np.abs(known - wanted))) for wanted in colours_nm)
    return red, green, blue


def side_by_side(
    panels: Sequence[tuple[str, Cube]],
    path: str | os.PathLike[str],
    *,
    colours_nm: tuple[float, float, float] = NATURAL_NM,
    views: Sequence[View] = (_WHOLE,),
    least_width_px: int = 600,
    note: str = "",
) -> Path:
    """Draw cubes beside each other, one row of pictures for each view.

    All are stretched alike, by the 1st and 99th percentile of each colour in the whole first cube, so that a
    difference seen is a difference there. A pixel of any cube is drawn as a whole square, enlarged as far as its column
    allows; invalid pixels are grey.

    Args:
        panels: title and cube of each column. Shapes are whole multiples of the first cube's.
        path: PNG file to write; replaced where it exists.
        colours_nm: wavelengths shown as red, green and blue.
        views: parts of the scene, in rows and columns of the first cube.
        least_width_px: pixels are enlarged by whole numbers until the picture is at least so wide.
        note: one line below.

    Returns:
        The path written.

    Raises:
        UsageError: no panel, shapes that are no multiples, an empty view, or no wavelengths.
        NoDataError: the first cube has no valid pixel in a colour.
        WriteError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    figure_of = require("matplotlib.figure", "figures", "drawing a picture").Figure
    canvas_of = require("matplotlib.backends.backend_agg", "figures", "drawing a picture").FigureCanvasAgg
    columns = [_Column.of(title, cube, panels[0][1], colours_nm) for title, cube in panels]
    if not columns:
        raise UsageError("a picture needs at least one cube, got none")
    black, full = _stretch(columns[0].values)
    finest = max(column.ratio for column in columns)
    sizes = [_size(view, columns[0].values.shape[1:]) for view in views]
    widest = max(cols for _, cols in sizes) * finest
    room = (least_width_px - _GAP) / len(columns) - _GAP
    column_px = widest * max(1, math.ceil(room / widest))
    zooms = [column_px // (cols * finest) * finest for _, cols in sizes]
    width = _GAP + len(columns) * (column_px + _GAP)
    height = sum(_TITLE + rows * zoom + _GAP for (rows, _), zoom in zip(sizes, zooms, strict=True)) + _NOTE * bool(note)
    figure = figure_of(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    canvas_of(figure)
    bottom = height
    for view, (rows, cols), zoom in zip(views, sizes, zooms, strict=True):
        bottom -= _TITLE + rows * zoom
        for at, column in enumerate(columns):
            left = _GAP + at * (column_px + _GAP)
            box = (left / width, bottom / height, cols * zoom / width, rows * zoom / height)
            _draw(figure, box, _coloured(column.part(view), black, full), column.title)
        bottom -= _GAP
    if note:
        figure.text(_GAP / width, 6 / height, note, fontsize=8, color="0.3")
    return _save(figure, Path(path))


@dataclass(frozen=True, eq=False)
class _Column:
    """A cube in three colours: `values` `(3, H, W)`, and how many of its pixels lie along one of the first cube's."""

    title: str
    values: NDArray[Any]
    ratio: int

    @classmethod
    def of(cls, title: str, cube: Cube, first: Cube, colours_nm: tuple[float, float, float]) -> _Column:
        (rows, cols), (base_rows, base_cols) = cube.shape[1:], first.shape[1:]
        ratio = rows // base_rows
        if ratio < 1 or (rows, cols) != (base_rows * ratio, base_cols * ratio):
            raise UsageError(
                f"{title}: expected a whole multiple of {base_rows} x {base_cols} pixels, got {rows} x {cols}; crop it"
            )
        values, _ = cube.read(colour_bands(cube.bands, colours_nm))
        return cls(title, values, ratio)

    def part(self, view: View) -> NDArray[Any]:
        rows, cols = (
            slice(*(None if end is None else end * self.ratio for end in (side.start, side.stop))) for side in view
        )
        return self.values[:, rows, cols]


def _size(view: View, shape: tuple[int, ...]) -> tuple[int, int]:
    rows, cols = (len(range(size)[side]) for side, size in zip(view, shape, strict=True))
    if rows < 1 or cols < 1:
        raise UsageError(f"a view needs at least one pixel of {shape[0]} x {shape[1]}, got {view}")
    return rows, cols


def _stretch(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values of each colour that become black and full, `(3, 1, 1)` each."""
    flat = values.reshape(3, -1)
    if np.isnan(flat).all(axis=1).any():
        raise NoDataError("a picture needs a valid pixel in each of its three bands, the first cube has none in one")
    black, full = np.nanpercentile(flat, _STRETCH, axis=1)[:, :, None, None]
    return black, np.where(full > black, full, black + 1)


def _coloured(values: NDArray[Any], black: NDArray[Any], full: NDArray[Any]) -> NDArray[Any]:
    """`(rows, cols, 3)` between 0 and 1, a little brightened in the shadows; grey where invalid."""
    shown = np.clip((values - black) / (full - black), 0, 1) ** (1 / 1.4)
    shown[:, np.isnan(values).any(axis=0)] = 0.5
    coloured: NDArray[Any] = np.moveaxis(shown, 0, -1)
    return coloured


def _draw(figure: Any, box: tuple[float, float, float, float], picture: NDArray[Any], title: str) -> None:
    axes = figure.add_axes(box)
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9, pad=5)


def _save(figure: Any, path: Path) -> Path:
    if path.suffix.lower() != ".png":
        raise UsageError(f"expected a picture file ending in .png, got {path.name!r}")
    try:
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    except OSError as error:
        raise WriteError(f"{path.name}: the picture cannot be written ({error.strerror or error})") from None
    return path
