"""Registration to whole pixels by phase correlation: how far cube and MSI lie apart before anything finer is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from hypersharp.operators import bicubic_enlarge

__all__ = ["phase_shift"]

Floats = NDArray[np.float64]
Image = tuple[NDArray[Any], NDArray[np.bool_]]

_COMPONENTS = 4  # of the cube; which of them looks like an MSI band is not known beforehand
_FURTHEST = 12  # LR pixels
_CLEAR = 2.0  # how many times the highest peak elsewhere a peak must be to be believed


def phase_shift(pairs: Sequence[tuple[Image, Image]], *, scale: int) -> tuple[int, int] | None:
    """How far down and right of its block an LR pixel looks in the MSI, in whole HR pixels.

    Each leading component of the cube, enlarged, is correlated with each MSI band by phase alone (Kuglin and Hines,
    1975), below the LR Nyquist frequency. The squares of the correlations are added, as a component may be like a band
    or like its negative. Invalid pixels count as the mean.

    Args:
        pairs: windows of the same ground, `(values, valid)` of the cube `(C, h, w)` and of the MSI `(B, s·h, s·w)`.
        scale: LR pixel over HR pixel along a side.

    Returns:
        Rows and columns; None where no peak stands out.
    """
    turn = _components([low for low, _ in pairs])
    if turn is None:
        return None
    total: Floats | None = None
    shape = max(high.shape[1:] for _, (high, _) in pairs)
    size = (fft.next_fast_len(int(shape[0])), fft.next_fast_len(int(shape[1])))
    for (low, low_valid), (high, high_valid) in pairs:
        known = low_valid.all(axis=0)
        flat = np.tensordot(turn, np.where(known, low, 0.0), 1)
        flat = bicubic_enlarge(known.shape, scale).apply(_centred(flat, np.broadcast_to(known, flat.shape)))
        one, other = _spectra(_centred(high.astype(np.float64), high_valid), size), _spectra(flat, size)
        surface = _surface(one, other, size, scale)
        total = surface if total is None else total + surface
    assert total is not None
    return _peak(total, scale)


def _components(lows: Sequence[Image]) -> Floats | None:
    """`(K, C)` weights of the leading principal components of bands of unit spread."""
    flat = np.concatenate([values[:, valid.all(axis=0)] for values, valid in lows], axis=1).astype(np.float64)
    if flat.shape[1] < 16:
        return None
    flat -= flat.mean(axis=1, keepdims=True)
    spread = flat.std(axis=1)
    if not spread.any():
        return None
    unit = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    flat *= unit[:, None]
    vectors = np.linalg.eigh(flat @ flat.T)[1][:, ::-1]
    return np.asarray(vectors[:, : min(_COMPONENTS, len(unit))].T * unit)


def _centred(values: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Each plane less its mean, 0 where it is invalid."""
    out = np.zeros(values.shape)
    for plane, ok, target in zip(values, valid, out, strict=True):
        if ok.any():
            target[ok] = plane[ok] - plane[ok].mean()
    return out


def _spectra(planes: Floats, size: tuple[int, int]) -> NDArray[np.complex128]:
    """Spectra of planes that fade out towards their borders, where two windows differ most."""
    rows, cols = (np.hanning(n + 2)[1:-1] for n in planes.shape[1:])
    return np.asarray(fft.rfft2(planes * rows[:, None] * cols, s=size))


def _surface(
    one: NDArray[np.complex128], other: NDArray[np.complex128], size: tuple[int, int], scale: int
) -> NDArray[np.float64]:
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])) * 2 * scale
    weight = np.exp(-2 * frequency**2)  # 0.14 at the LR Nyquist frequency
    total = np.zeros(size)
    for band in one:
        for component in other:
            cross = band * component.conj()
            length = np.abs(cross)
            cross = np.divide(cross, length, out=np.zeros_like(cross), where=length > 0)
            total += fft.irfft2(cross * weight, s=size) ** 2
    return total


def _peak(surface: Floats, scale: int) -> tuple[int, int] | None:
    """Place of the highest value within reach, if it stands out."""
    reach = tuple(min(_FURTHEST * scale, n // 4) for n in surface.shape)
    near = np.roll(surface, reach, axis=(0, 1))[: 2 * reach[0] + 1, : 2 * reach[1] + 1]
    row, col = (int(v) for v in np.unravel_index(int(near.argmax()), near.shape))
    elsewhere = near.copy()
    wide = 2 * scale  # a peak is about an LR pixel wide
    elsewhere[max(0, row - wide) : row + wide + 1, max(0, col - wide) : col + wide + 1] = 0
    if near[row, col] < _CLEAR * elsewhere.max():
        return None
    return row - reach[0], col - reach[1]
