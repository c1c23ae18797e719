"""Lines of one or more metrics over a setting, one line for each method: over noise, over the share of training data.

Colours are those of Okabe and Ito, "Color Universal Design" (2008), which people with any colour vision tell apart;
the mark changes with every line besides, so that a grey print can be read, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hypersharp._require import require
from hypersharp.errors import NoDataError, UsageError, WriteError

_DPI = 150
_PANEL = (4.6, 4.0)  # inches
_LEGEND = 1.9  # inches right of the panels
# Without the palette's yellow, which is lost on white; black comes first.
_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")  # of another number than colours: 63 lines until both repeat


@dataclass(frozen=True, eq=False)
class Curve:
    """One line.

    Attributes:
        name: in the legend; lines of one name look alike in all panels.
        x: `(n,)` finite, rising.
        y: `(n,)`, NaN where nothing is known.
        strong: drawn whole and thick, others dashed and thin.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    strong: bool = False

    @classmethod
    def of(cls, name: str, x: ArrayLike, y: ArrayLike, *, strong: bool = False) -> Curve:
        """Check and keep a line.

        Raises:
            UsageError: not as many values as places, none, or places that do not rise.
        """
        at, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if at.ndim != 1 or not at.size or at.shape != values.shape:
            raise UsageError(f"{name}: expected one value for each place, got shapes {values.shape} and {at.shape}")
        if not np.isfinite(at).all() or (np.diff(at) <= 0).any():
            raise UsageError(f"{name}: expected finite places that rise, got {', '.join(f'{v:g}' for v in at)}")
        return cls(name, at, values, strong)


@dataclass(frozen=True, eq=False)
class Panel:
    """A pair of axes.

    Attributes:
        label: of the vertical axis: what is drawn, with its unit.
        curves: at least one, each of another name.
    """

    label: str
    curves: tuple[Curve, ...]


def draw_curves(panels: Sequence[Panel], path: str | os.PathLike[str], *, title: str, x_label: str) -> Path:
    """Draw panels beside each other over the same setting, with one legend right of them.

    Args:
        panels: at least one.
        path: PNG file to write; replaced where it exists.
        title: above the panels.
        x_label: of the horizontal axes: the setting, with its unit.

    Returns:
        The path written.

    Raises:
        UsageError: no panel, one without a line or with two of one name, or another ending.
        NoDataError: a panel has no finite value.
        WriteError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    target = Path(path)
    _check(panels, target)
    figure_of = require("matplotlib.figure", "figures", "drawing a picture").Figure
    canvas_of = require("matplotlib.backends.backend_agg", "figures", "drawing a picture").FigureCanvasAgg
    figure = figure_of(
        figsize=(_PANEL[0] * len(panels) + _LEGEND, _PANEL[1]), dpi=_DPI, facecolor="white", layout="constrained"
    )
    canvas_of(figure)
    names = list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves))
    lines = {}
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for curve in panel.curves:
            at = names.index(curve.name)
            (lines[curve.name],) = axes.plot(
                curve.x,
                curve.y,
                color=_COLOURS[at % len(_COLOURS)],
                marker=_MARKS[at % len(_MARKS)],
                markersize=5,
                linewidth=2.0 if curve.strong else 1.0,
                linestyle="-" if curve.strong else "--",
            )
        ticks = np.unique(np.concatenate([curve.x for curve in panel.curves]))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xlabel(x_label)
        axes.set_ylabel(panel.label)
        axes.grid(color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
    figure.suptitle(title, fontsize=11)
    figure.legend([lines[name] for name in names], names, loc="outside right upper", fontsize=8, handlelength=3.0)
    try:
        figure.savefig(target, dpi=_DPI, metadata={"Software": None})
    except OSError as error:
        raise WriteError(f"{target.name}: the picture cannot be written ({error.strerror or error})") from None
    return target


def _check(panels: Sequence[Panel], target: Path) -> None:
    """Refuse what cannot be drawn, before matplotlib is loaded."""
    if not panels:
        raise UsageError("a picture of curves needs at least one panel, got none")
    if target.suffix.lower() != ".png":
        raise UsageError(f"expected a picture file ending in .png, got {target.name!r}")
    for panel in panels:
        names = [curve.name for curve in panel.curves]
        if len(set(names)) != len(names) or not names:
            raise UsageError(f"{panel.label}: expected curves of different names, got {', '.join(names) or 'none'}")
        if not any(np.isfinite(curve.y).any() for curve in panel.curves):
            raise NoDataError(f"{panel.label}: no curve has a value")
