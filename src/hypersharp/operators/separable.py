"""The operator of the package: blur with decimation, or interpolation, as a sum of separable pairs.

`y = Σ_k Wy_k · x · Wx_kᵀ` for every band, on whole scenes and on windows of them, with an exact adjoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import UsageError
from hypersharp.operators.axis import Axis
from hypersharp.operators.product import ArrayT, Pass, multiply

__all__ = ["Separable", "Window"]

Window = tuple[int, int]
"""Half open range `(start, stop)` of rows or columns."""


@dataclass(frozen=True, eq=False)
class Separable:
    """A linear map of planes `(H, W)`, applied to each band of `(..., H, W)`.

    Arrays may be numpy float32 or float64, or floating torch tensors; the result has their type, and torch
    keeps the gradient. Any other dtype is a `UsageError`. They must be finite: a NaN spreads beyond its own
    neighbours.

    Attributes:
        terms: the pairs (map along rows, map along columns); all of the same sizes.
    """

    terms: tuple[tuple[Axis, Axis], ...]

    def __post_init__(self) -> None:
        """Refuse pairs of different sizes."""
        assert self.terms
        assert len({(y.n_in, x.n_in, y.n_out, x.n_out) for y, x in self.terms}) == 1

    @property
    def shape_in(self) -> tuple[int, int]:
        """Rows and columns of the argument of `apply`."""
        rows, cols = self.terms[0]
        return rows.n_in, cols.n_in

    @property
    def shape_out(self) -> tuple[int, int]:
        """Rows and columns of the result of `apply`."""
        rows, cols = self.terms[0]
        return rows.n_out, cols.n_out

    @property
    def rank(self) -> int:
        """Number of separable pairs."""
        return len(self.terms)

    @property
    def halo(self) -> int:
        """LR pixels around a window of LR pixels on which the result inside of it depends."""
        return max(axis.halo for term in self.terms for axis in term)

    def after(self, inner: Separable) -> Separable:
        """One map in place of two, without the plane between them: `inner` first, then this one."""
        pairs = product(self.terms, inner.terms)
        return Separable(tuple((y.after(first_y), x.after(first_x)) for (y, x), (first_y, first_x) in pairs))

    def apply(self, x: ArrayT) -> ArrayT:
        """The map of whole planes.

        Args:
            x: `(..., H, W)` with `H, W = shape_in`.

        Returns:
            `(..., h, w)` with `h, w = shape_out`.

        Raises:
            UsageError: for another shape.
        """
        _check_whole(x, self.shape_in)
        n_rows, n_cols = self.shape_out
        return self.apply_window(x, (0, n_rows), (0, n_cols))

    def adjoint(self, y: ArrayT) -> ArrayT:
        """The transposed map of whole planes: ⟨A x, y⟩ = ⟨x, Aᵀ y⟩.

        Args:
            y: `(..., h, w)` with `h, w = shape_out`.

        Returns:
            `(..., H, W)` with `H, W = shape_in`.

        Raises:
            UsageError: for another shape.
        """
        _check_whole(y, self.shape_out)
        n_rows, n_cols = self.shape_in
        return self.adjoint_window(y, (0, n_rows), (0, n_cols))

    def apply_window(self, x: ArrayT, rows: Window, cols: Window, origin: tuple[int, int] = (0, 0)) -> ArrayT:
        """A window of `apply` of the whole scene, from the part of the scene that it reads.

        Args:
            x: `(..., H, W)`, a window of the input plane that covers `support(rows, cols)`.
            rows: output rows wanted.
            cols: output columns wanted.
            origin: row and column of the input plane at which `x` starts.

        Returns:
            `(..., rows, columns)`.

        Raises:
            UsageError: where the window leaves the plane or `x` does not cover its support.
        """
        _check_window((rows, cols), self.shape_out)
        held = _held(x, origin, self.shape_in)
        needed = self.support(rows, cols)
        for (lo, hi), (have_lo, have_hi) in zip(needed, held, strict=True):
            if lo < hi and (lo < have_lo or hi > have_hi):
                raise UsageError(f"this window reads inputs {lo}…{hi - 1}, got {have_lo}…{have_hi - 1}")
        return self._multiply(x, held, needed, (rows, cols), transposed=False)

    def adjoint_window(self, y: ArrayT, rows: Window, cols: Window, origin: tuple[int, int] = (0, 0)) -> ArrayT:
        """A window of `adjoint`; outputs that are not at hand count as zero.

        Args:
            y: `(..., h, w)`, a window of the output plane. The result is that of the whole plane where it
                covers `adjoint_support(rows, cols)`.
            rows: rows of the input plane wanted.
            cols: columns of the input plane wanted.
            origin: row and column of the output plane at which `y` starts.

        Returns:
            `(..., rows, columns)`.

        Raises:
            UsageError: where the window or `y` leaves its plane.
        """
        _check_window((rows, cols), self.shape_in)
        needed = self.adjoint_support(rows, cols)
        return self._multiply(y, _held(y, origin, self.shape_out), needed, (rows, cols), transposed=True)

    def support(self, rows: Window, cols: Window) -> tuple[Window, Window]:
        """Rows and columns of the input plane that a window of the output plane reads."""
        return (
            _union([y.support(*rows) for y, _ in self.terms]),
            _union([x.support(*cols) for _, x in self.terms]),
        )

    def adjoint_support(self, rows: Window, cols: Window) -> tuple[Window, Window]:
        """Rows and columns of the output plane that a window of the input plane influences."""
        return (
            _union([y.reach_back(*rows) for y, _ in self.terms]),
            _union([x.reach_back(*cols) for _, x in self.terms]),
        )

    def otf(self, shape: tuple[int, int]) -> NDArray[np.complex128]:
        """Transfer function of the blur that precedes decimation, on a periodic HR grid.

        Phase: with `blurred = ifft2(fft2(x) * otf(x.shape))`, `blurred[s·i, s·j]` is `apply(x)[i, j]` away
        from the border; the shift from the block's first pixel to its centre is in the phase. Where the
        kernel is larger than the grid it wraps.

        Args:
            shape: `(H, W)` of the grid in HR pixels.

        Returns:
            `(H, W)` complex128, frequencies in the order of `numpy.fft.fftfreq`.

        Raises:
            UsageError: for an enlargement, which has no single blur.
        """
        total = np.zeros(shape, dtype=np.complex128)
        for rows, cols in self.terms:
            total += np.outer(_otf_1d(rows, shape[0]), _otf_1d(cols, shape[1]))
        return total

    def _multiply(
        self,
        array: ArrayT,
        held: tuple[Window, Window],
        needed: tuple[Window, Window],
        wanted: tuple[Window, Window],
        *,
        transposed: bool,
    ) -> ArrayT:
        """Cut `array` from what is held to what is needed, then multiply."""
        (r0, r1), (c0, c1) = (_clip(n, h) for n, h in zip(needed, held, strict=True))
        array = array[..., r0 - held[0][0] : r1 - held[0][0], c0 - held[1][0] : c1 - held[1][0]]
        terms = [
            (Pass(y, (r0, r1), wanted[0], transposed), Pass(x, (c0, c1), wanted[1], transposed)) for y, x in self.terms
        ]
        return multiply(array, terms)


def _otf_1d(axis: Axis, n: int) -> NDArray[np.complex128]:
    if axis.offset is None:
        raise UsageError("an enlargement has no transfer function of a blur: ask the shrinking operator")
    taps = axis.weight[0]
    at = axis.offset + np.arange(taps.size)
    return np.asarray(np.exp(2j * np.pi * np.outer(np.fft.fftfreq(n), at)) @ taps)


def _clip(window: Window, held: Window) -> Window:
    lo = min(max(window[0], held[0]), held[1])
    return lo, max(lo, min(window[1], held[1]))


def _union(windows: list[Window]) -> Window:
    filled = [(lo, hi) for lo, hi in windows if lo < hi]
    if not filled:
        return 0, 0
    return min(lo for lo, _ in filled), max(hi for _, hi in filled)


def _held(x: ArrayT, origin: tuple[int, int], shape: tuple[int, int]) -> tuple[Window, Window]:
    if len(x.shape) < 2:
        raise UsageError(f"expected an array (..., rows, columns), got shape {tuple(x.shape)}")
    rows, cols = ((at, at + n) for at, n in zip(origin, x.shape[-2:], strict=True))
    _check_window((rows, cols), shape)
    return rows, cols


def _check_whole(x: ArrayT, shape: tuple[int, int]) -> None:
    if tuple(x.shape[-2:]) != shape:
        raise UsageError(f"expected an array (..., {shape[0]}, {shape[1]}), got shape {tuple(x.shape)}")


def _check_window(window: tuple[Window, Window], shape: tuple[int, int]) -> None:
    for (start, stop), n in zip(window, shape, strict=True):
        if not 0 <= start <= stop <= n:
            raise UsageError(f"window {start}:{stop} leaves the plane of {shape[0]} rows, {shape[1]} columns")
