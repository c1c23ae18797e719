"""A picture of how few singular values hold most of a matrix: cumulative sums, and the ranks for given shares."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hypersharp._require import require
from hypersharp.errors import UsageError, WriteError

_DPI = 150
_SIZE = (6.4, 4.2)  # inches


@dataclass(frozen=True, eq=False)
class Cumulative:
    """One curve.

    Attributes:
        name: in the legend.
        shares: `(n,)` sum of the 1, 2, …, n largest singular values over the sum of all; rises to 1.
    """

    name: str
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, name: str, shares: ArrayLike) -> Cumulative:
        """Check and keep a curve.

        Raises:
            UsageError: not a curve that rises to 1.
        """
        values = np.asarray(shares, dtype=np.float64)
        if values.ndim != 1 or not values.size or (np.diff(values) < -1e-9).any() or abs(values[-1] - 1) > 1e-6:
            raise UsageError(f"{name}: expected cumulative shares that rise to 1, got shape {values.shape}")
        return cls(name, values)

    def rank(self, share: float) -> int:
        """Fewest singular values whose sum is that share of all."""
        return int(np.searchsorted(self.shares, share - 1e-12)) + 1


def draw_singular_values(
    curves: Sequence[Cumulative], path: str | os.PathLike[str], *, shares: Sequence[float], title: str
) -> Path:
    """Draw cumulative normalised singular values over the rank, and mark the ranks for some shares.

    Args:
        curves: at least one.
        path: PNG file to write; replaced where it exists.
        shares: between 0 and 1; each becomes a dotted line, and a point on every curve with its rank beside it.
        title: above the axes.

    Returns:
        The path written.

    Raises:
        UsageError: no curve, or another ending.
        WriteError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    target = Path(path)
    if not curves:
        raise UsageError("a picture of singular values needs at least one matrix, got none")
    if target.suffix.lower() != ".png":
        raise UsageError(f"expected a picture file ending in .png, got {target.name!r}")
    figure_of = require("matplotlib.figure", "figures", "drawing a picture").Figure
    canvas_of = require("matplotlib.backends.backend_agg", "figures", "drawing a picture").FigureCanvasAgg
    figure = figure_of(figsize=_SIZE, dpi=_DPI, facecolor="white", layout="constrained")
    canvas_of(figure)
    axes = figure.add_subplot()
    for share in shares:
        axes.axhline(share, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
        axes.text(1.01, share, f"{share:.0%}", transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    for at, curve in enumerate(curves):
        ranks = np.arange(1, curve.shares.size + 1)
        said = ", ".join(f"{curve.rank(share)} for {share:.0%}" for share in shares)
        axes.plot(ranks, curve.shares, color=f"C{at}", linewidth=1.5, label=f"{curve.name}: rank {said}")
        marked = np.array([curve.rank(share) for share in shares], dtype=np.intp)
        axes.plot(marked, curve.shares[marked - 1], "o", color=f"C{at}", markersize=4)
    longest = max(curve.shares.size for curve in curves)
    axes.set(xlim=(0, longest), ylim=(0, 1.02), title=title)
    axes.set_xlabel("number of singular values")
    axes.set_ylabel("cumulative share of their sum")
    axes.legend(loc="lower right", fontsize=8)
    try:
        figure.savefig(target, dpi=_DPI, metadata={"Software": None})
    except OSError as error:
        raise WriteError(f"{target.name}: the picture cannot be written ({error.strerror or error})") from None
    return target
