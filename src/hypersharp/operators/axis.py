"""A banded linear map along one axis of a scene: blur with decimation, or interpolation.

Sizes, taps and weights only; products live in `product.py`. LR pixel i covers exactly HR pixels
s·i … s·i+s-1. The border is mirrored with the edge pixel repeated (… 1 0 0 1 …), as often as a small
scene needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import UsageError

__all__ = ["Axis", "enlarge_bicubic", "shrink_bicubic", "shrink_kernel"]

_KEYS_A = -0.5  # MATLAB's imresize; torch enlarges with -0.75
_KEYS_REACH = 2  # half width of the cubic


@dataclass(frozen=True, eq=False, repr=False)
class Axis:
    """Outputs along one axis, each a weighted sum of `k` inputs.

    Attributes:
        n_in: number of inputs.
        n_out: number of outputs.
        index: `(n_out, k)` int64, the inputs read; border folded already, so an input may occur twice.
        weight: `(n_out, k)` float64, their weights.
        offset: for shrinking, where the first tap lies from the block's first input before folding
            (output i reads s·i + offset …); None for enlarging.
    """

    n_in: int
    n_out: int
    index: NDArray[np.int64]
    weight: NDArray[np.float64]
    offset: int | None = None

    def __post_init__(self) -> None:
        """Refuse taps that do not fit the sizes."""
        assert self.index.shape == self.weight.shape
        assert len(self.index) == self.n_out > 0
        assert self.index.min() >= 0
        assert self.index.max() < self.n_in

    def __repr__(self) -> str:
        """Sizes, not the taps."""
        return f"Axis(n_in={self.n_in}, n_out={self.n_out}, taps={self.index.shape[1]})"

    @cached_property
    def _first(self) -> NDArray[np.int64]:
        return np.asarray(self.index.min(axis=1), dtype=np.int64)

    @cached_property
    def _last(self) -> NDArray[np.int64]:
        return np.asarray(self.index.max(axis=1), dtype=np.int64)

    @property
    def bandwidth(self) -> int:
        """Widest contiguous run of inputs that one output spans."""
        return int((self._last - self._first).max()) + 1

    @property
    def halo(self) -> int:
        """LR pixels beyond its own that the HR pixels of an LR pixel, or that LR pixel itself, read."""
        if self.n_out > self.n_in:
            own = np.arange(self.n_out) // (self.n_out // self.n_in)
            return int(max((own - self._first).max(), (self._last - own).max()))
        scale = self.n_in // self.n_out
        block = scale * np.arange(self.n_out)
        beyond = max((block - self._first).max(), (self._last - block - scale + 1).max(), 0)
        return -(-int(beyond) // scale)

    def after(self, inner: Axis) -> Axis:
        """One map in place of two: `inner` first, then this one."""
        index = inner.index[self.index].reshape(self.n_out, -1)
        weight = (self.weight[:, :, None] * inner.weight[self.index]).reshape(self.n_out, -1)
        width = int((index.max(axis=1) - index.min(axis=1)).max()) + 1
        first = np.minimum(index.min(axis=1), inner.n_in - width)[:, None]
        summed = np.zeros((self.n_out, width))
        np.add.at(summed, (np.arange(self.n_out)[:, None], index - first), weight)
        return Axis(inner.n_in, self.n_out, first + np.arange(width), summed)

    def support(self, start: int, stop: int) -> tuple[int, int]:
        """The contiguous inputs `lo … hi-1` that outputs `start … stop-1` read; `(0, 0)` for no output."""
        if start >= stop:
            return 0, 0
        return int(self._first[start:stop].min()), int(self._last[start:stop].max()) + 1

    def reach_back(self, start: int, stop: int) -> tuple[int, int]:
        """The contiguous outputs `lo … hi-1` that inputs `start … stop-1` influence; `(0, 0)` for none."""
        touched = np.flatnonzero((self._last >= start) & (self._first < stop))
        if start >= stop or touched.size == 0:
            return 0, 0
        return int(touched[0]), int(touched[-1]) + 1

    def matrix(self, out: tuple[int, int] | None = None, into: tuple[int, int] | None = None) -> NDArray[np.float64]:
        """The dense map from inputs `into` to outputs `out`, at the cost of that window only.

        Args:
            out: outputs `(a, b)`, half open; all by default.
            into: inputs `(lo, hi)`, half open; all by default. Taps outside are left out.

        Returns:
            `(b - a, hi - lo)` float64; taps on the same input are summed.
        """
        a, b = (0, self.n_out) if out is None else out
        lo, hi = (0, self.n_in) if into is None else into
        index = self.index[a:b] - lo
        inside = (index >= 0) & (index < hi - lo)
        flat = (np.arange(b - a)[:, None] * (hi - lo) + index)[inside]
        dense = np.bincount(flat, self.weight[a:b][inside], minlength=(b - a) * (hi - lo))
        return dense.reshape(b - a, hi - lo).astype(np.float64, copy=False)

    def gram_matrix(self, out: tuple[int, int] | None = None) -> NDArray[np.float64]:
        """Rows and columns `out` of W·Wᵀ, `(b - a, b - a)` float64, with every input counted."""
        a, b = (0, self.n_out) if out is None else out
        rows = self.matrix((a, b), self.support(a, b))
        return rows @ rows.T


def shrink_bicubic(n_hr: int, scale: int) -> Axis:
    """Antialiased bicubic shrinking, as MATLAB's `imresize`.

    Keys' cubic (IEEE TASSP 29, 1981, a = -0.5) stretched by `scale`, weights normalised.

    Args:
        n_hr: HR size in pixels, a multiple of `scale`.
        scale: integer HR/LR ratio.

    Raises:
        UsageError: where the sizes do not fit.
    """
    check_scale(scale)
    offset = (scale + 1) // 2 - _KEYS_REACH * scale
    taps = _keys((np.arange(offset, scale - offset) - (scale - 1) / 2) / scale)
    return shrink_kernel(n_hr, scale, taps=taps / taps.sum(), offset=offset)


def enlarge_bicubic(n_lr: int, scale: int) -> Axis:
    """Centre-aligned bicubic enlargement, as MATLAB's `imresize` (Keys' cubic, a = -0.5).

    Args:
        n_lr: LR size in pixels.
        scale: integer HR/LR ratio.

    Raises:
        UsageError: where the sizes do not fit.
    """
    check_scale(scale)
    check_size(n_lr)
    hr = np.arange(n_lr * scale)
    # 2·s·centre, in integers so that equal phases get equal weights to the last bit
    twice = 2 * hr + 1 - scale
    left = twice // (2 * scale)
    steps = np.arange(1 - _KEYS_REACH, 1 + _KEYS_REACH)
    weight = _keys((twice - 2 * scale * left)[:, None] / (2 * scale) - steps)
    weight /= weight.sum(axis=1, keepdims=True)
    return Axis(n_lr, n_lr * scale, _mirror(left[:, None] + steps, n_lr), weight)


def reduce_bicubic(n_in: int, n_out: int) -> Axis:
    """Antialiased bicubic resizing to fewer pixels by any ratio, as MATLAB's `imresize` (Keys' cubic, a = -0.5).

    Args:
        n_in: size in pixels.
        n_out: size of the result, not larger.

    Raises:
        UsageError: where the sizes do not fit.
    """
    check_size(n_in)
    check_size(n_out)
    if n_out > n_in:
        raise UsageError(f"expected at most {n_in} pixels, got {n_out}")
    ratio = n_in / n_out
    centre = (np.arange(n_out) + 0.5) * ratio - 0.5
    reach = int(np.ceil(_KEYS_REACH * ratio))
    index = np.floor(centre).astype(np.int64)[:, None] + np.arange(1 - reach, 1 + reach)
    weight = _keys((centre[:, None] - index) / ratio)
    return Axis(n_in, n_out, _mirror(index, n_in), weight / weight.sum(axis=1, keepdims=True))


def shrink_kernel(n_hr: int, scale: int, *, taps: NDArray[np.float64], offset: int | None = None) -> Axis:
    """Blur with any sampled kernel and keep one value per block of `scale` pixels.

    Args:
        n_hr: HR size in pixels, a multiple of `scale`.
        scale: integer HR/LR ratio.
        taps: `(k,)` weights, laid over the scene as they are; not normalised here.
        offset: where the first tap lies from the block's first pixel; by default the kernel is centred on the
            block, which needs `k` odd for an odd scale and even for an even one.

    Raises:
        UsageError: where the sizes do not fit, or the kernel cannot be centred.
    """
    check_scale(scale)
    check_size(n_hr)
    if n_hr % scale:
        raise UsageError(f"the HR size must be a multiple of scale {scale}, got {n_hr}: crop it first")
    weight = np.asarray(taps, dtype=np.float64)
    if weight.ndim != 1 or weight.size == 0 or not np.isfinite(weight).all():
        raise UsageError(f"expected a 1-D kernel of finite weights, got shape {weight.shape}")
    if offset is None:
        if (scale - weight.size) % 2:
            raise UsageError(
                f"{weight.size} taps cannot be centred on a block of {scale} pixels: give a number of taps"
                f" that is {'odd' if scale % 2 else 'even'}"
            )
        offset = (scale - weight.size) // 2
    n_lr = n_hr // scale
    index = scale * np.arange(n_lr)[:, None] + offset + np.arange(weight.size)
    return Axis(n_hr, n_lr, _mirror(index, n_hr), np.broadcast_to(weight, index.shape), offset)


def check_scale(scale: int) -> None:
    """Refuse a scale that is no positive integer.

    Raises:
        UsageError: if so.
    """
    if isinstance(scale, bool) or not isinstance(scale, int | np.integer) or scale < 1:
        raise UsageError(f"scale must be a positive integer, got {scale!r}")


def check_size(size: int) -> None:
    """Refuse a size that is no positive integer.

    Raises:
        UsageError: if so.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise UsageError(f"a scene needs at least one row and one column, got a size of {size!r}")


def _mirror(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Fold indices of any size into `0 … n-1`, edge pixel repeated."""
    folded = index % (2 * n)
    return np.minimum(folded, 2 * n - 1 - folded).astype(np.int64)


def _keys(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5."""
    a, t = _KEYS_A, np.abs(distance)
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * (t**3 - 5 * t**2 + 8 * t - 4)
    return np.where(t <= 1, near, np.where(t < _KEYS_REACH, far, 0.0))
