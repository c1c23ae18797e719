"""A picture of one map, such as the spectral angle of each pixel, with its scale beside it."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp._require import require
from hypersharp.errors import NoDataError, UsageError, WriteError

_DPI = 100
_TITLE, _BAR, _GAP = 28, 110, 8  # pixels: above the map, right of it, around it
_LEAST, _MOST = 400, 2000  # pixels that the longer side of a map is drawn with
_STRETCH = (1.0, 99.0)  # percentiles at the ends of the colours


def draw_map(plane: NDArray[Any], path: str | os.PathLike[str], *, title: str, label: str) -> Path:
    """Draw a map with a bar of its colours, which run from its 1st to its 99th percentile.

    A pixel is a whole square; a map of more than 2000 pixels a side is thinned. Where the map is not defined it is
    grey.

    Args:
        plane: `(H, W)`, NaN where it is not defined.
        path: PNG file to write; replaced where it exists.
        title: above the map.
        label: of the bar: what is drawn, with its unit.

    Returns:
        The path written.

    Raises:
        UsageError: no map, or another ending.
        NoDataError: the map is not defined anywhere.
        WriteError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    target = Path(path)
    if plane.ndim != 2 or not plane.size:
        raise UsageError(f"expected a map (rows, columns), got shape {plane.shape}")
    if target.suffix.lower() != ".png":
        raise UsageError(f"expected a picture file ending in .png, got {target.name!r}")
    if not np.isfinite(plane).any():
        raise NoDataError(f"{title}: the map is not defined in any pixel")
    figure_of = require("matplotlib.figure", "figures", "drawing a picture").Figure
    canvas_of = require("matplotlib.backends.backend_agg", "figures", "drawing a picture").FigureCanvasAgg
    colours = require("matplotlib", "figures", "drawing a picture").colormaps["viridis"].with_extremes(bad="0.5")
    thin = math.ceil(max(plane.shape) / _MOST)
    shown = plane[::thin, ::thin]
    zoom = max(1, math.ceil(_LEAST / max(shown.shape)))
    rows, cols = (n * zoom for n in shown.shape)
    width, height = cols + 2 * _GAP + _BAR, max(rows, _LEAST // 2) + _TITLE + _GAP
    figure = figure_of(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    canvas_of(figure)
    top = (height - _TITLE - rows) / height
    axes = figure.add_axes((_GAP / width, top, cols / width, rows / height))
    low, high = np.nanpercentile(np.where(np.isfinite(shown), shown, np.nan), _STRETCH)
    picture = axes.imshow(
        np.ma.masked_invalid(shown), cmap=colours, vmin=low, vmax=high, interpolation="nearest", aspect="auto"
    )
    axes.set_axis_off()
    figure.text(_GAP / width, 1 - 18 / height, title, fontsize=10)
    bar = figure.add_axes(
        ((cols + 2 * _GAP) / width, (_GAP + 4) / height, 14 / width, 1 - (_TITLE + _GAP + 8) / height)
    )
    figure.colorbar(picture, cax=bar, extend="both").set_label(label, fontsize=8)
    bar.tick_params(labelsize=8)
    try:
        figure.savefig(target, dpi=_DPI, metadata={"Software": None})
    except OSError as error:
        raise WriteError(f"{target.name}: the picture cannot be written ({error.strerror or error})") from None
    return target
