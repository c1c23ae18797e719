"""One offset and divisor per scene that bring its values to about 0 … 1 for a network; never fitted per tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import NoDataError


@dataclass(frozen=True)
class Normaliser:
    """normalised = (physical - offset) / divisor."""

    offset: float
    divisor: float


def fit(windows: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]], *, quantile: float = 0.999) -> Normaliser:
    """Fit on a sample of a scene.

    Args:
        windows: `(values (C, h, w), valid (C, h, w))` pieces of one LR scene.
        quantile: the valid values' quantile that becomes 1; 0 stays 0.

    Returns:
        Offset 0 and that quantile of the magnitudes; a divisor of 1 for a scene of zeros.

    Raises:
        NoDataError: no valid value.
    """
    kept = [np.abs(values[valid]) for values, valid in windows]
    everything = np.concatenate(kept) if kept else np.zeros(0)
    if everything.size == 0:
        raise NoDataError("no valid value to fit the normalisation on")
    divisor = float(np.quantile(everything, quantile))
    return Normaliser(0.0, divisor if divisor > 0 else 1.0)
