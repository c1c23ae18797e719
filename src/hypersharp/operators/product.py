"""Products of a stack of bands with banded maps along rows and columns, in the array type that came in.

A banded map is cut into small dense blocks, each multiplied with just the inputs it reads: BLAS speed, at a
cost that is linear in the scene. Rows go first: the last product then writes the result in one piece.
A call with a numpy array keeps one core busy and frees the interpreter: to use more, give each thread a window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from types import EllipsisType
from typing import NamedTuple, Protocol, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import UsageError
from hypersharp.operators.axis import Axis

__all__ = ["Array", "ArrayT", "Pass", "multiply"]

# Finer-grid pixels per block. Smaller wastes BLAS, larger multiplies zeros (measured: 32 is best for scales
# 2 to 8). In torch each block is one more node of the gradient, hence fewer of them.
_BLOCK_NUMPY = 32
_BLOCK_TORCH = 256
# Rows or columns per product. With blocks of 32 a product stays below the size (2^18 multiplications) at which
# OpenBLAS wakes its threads: measured, they gain a seventh on an idle machine and cost a factor of ten on a busy one.
_STRIP = 256
# Bands are taken in groups whose half-done result stays in the processor's cache.
_GROUP_BYTES = 1 << 20


class Array(Protocol):
    """What a product needs of its argument; numpy arrays and torch tensors have it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes, rows and columns last."""

    def __getitem__(self, key: tuple[EllipsisType, slice, slice], /) -> Self:
        """A window of it."""


ArrayT = TypeVar("ArrayT", bound=Array)


class _Tensor(Array, Protocol):
    """The part of a torch tensor used here; torch itself is not imported."""

    dtype: object

    def is_floating_point(self) -> bool: ...
    def element_size(self) -> int: ...
    def float(self) -> Self: ...
    def to(self, dtype: object) -> Self: ...
    def new_tensor(self, data: object) -> Self: ...
    def new_empty(self, size: tuple[int, ...]) -> Self: ...
    def __getitem__(self, key: object) -> Self: ...
    def __setitem__(self, key: object, value: Self) -> None: ...
    def __matmul__(self, other: Self) -> Self: ...
    def __add__(self, other: Self) -> Self: ...


class Block(NamedTuple):
    """One dense block: outputs `start … stop-1` from inputs `lo … hi-1`, both counted from the windows."""

    start: int
    stop: int
    lo: int
    hi: int
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Pass:
    """One map along one axis, for one window.

    Attributes:
        axis: the map.
        held: `(lo, hi)`, the inputs at hand.
        wanted: `(start, stop)`, the outputs to compute.
        transposed: whether the adjoint map is meant; inputs not at hand then count as zero.
    """

    axis: Axis
    held: tuple[int, int]
    wanted: tuple[int, int]
    transposed: bool

    def blocks(self, finer: int) -> Iterator[Block]:
        """Cut the map into dense blocks of about `finer` pixels of its finer side."""
        n_out, n_in = self.axis.n_out, self.axis.n_in
        if self.transposed:
            n_out, n_in = n_in, n_out
        step = max(1, finer * n_out // max(n_out, n_in))
        for start in range(*self.wanted, step):
            stop = min(start + step, self.wanted[1])
            lo, hi = self._reads(start, stop)
            if self.transposed:
                weight = self.axis.matrix((lo, hi), (start, stop)).T
            else:
                weight = self.axis.matrix((start, stop), (lo, hi))
            first, base = self.wanted[0], self.held[0]
            yield Block(start - first, stop - first, lo - base, hi - base, weight)

    def _reads(self, start: int, stop: int) -> tuple[int, int]:
        if not self.transposed:
            return self.axis.support(start, stop)
        lo, hi = self.axis.reach_back(start, stop)
        lo = min(max(lo, self.held[0]), self.held[1])
        return lo, max(lo, min(hi, self.held[1]))


def multiply(x: ArrayT, terms: list[tuple[Pass, Pass]]) -> ArrayT:
    """Σ over terms of (row map) · x · (column map)ᵀ for each band.

    Args:
        x: `(..., H, W)` numpy float32 or float64, or a floating torch tensor. Finite: a NaN would spread over
            its block. Tensors of half precision are computed in float32 and rounded once.
        terms: row and column pass of each term; all terms hold and want the same windows.

    Returns:
        `(..., rows, columns)` in the type of `x`; torch keeps the gradient.

    Raises:
        UsageError: for any other dtype.
    """
    if isinstance(x, np.ndarray):
        if x.dtype not in (np.float32, np.float64):
            raise UsageError(f"expected float32 or float64 values, got {x.dtype}: convert them first")
        return cast(ArrayT, _multiply_numpy(x, terms))
    return cast(ArrayT, _multiply_torch(cast(_Tensor, x), terms))


def _multiply_numpy(x: NDArray[np.floating], terms: list[tuple[Pass, Pass]]) -> NDArray[np.floating]:
    *lead, height, width = x.shape
    n_rows, n_cols = (p.wanted[1] - p.wanted[0] for p in terms[0])
    bands = x.reshape(math.prod(lead), height, width)
    out = np.empty((len(bands), n_rows, n_cols), x.dtype)
    dense = [[_cast(p, x.dtype) for p in term] for term in terms]
    group = max(1, _GROUP_BYTES // max(1, n_rows * width * x.itemsize))
    half = np.empty((min(group, len(bands)), n_rows, width), x.dtype)
    for first in range(0, len(bands), group):
        some = bands[first : first + group]
        if some.strides[2] != x.itemsize or some.strides[1] < width * x.itemsize:  # no fast path in matmul
            some = np.ascontiguousarray(some)
        part, target = half[: len(some)], out[first : first + group]
        for k, (row_blocks, col_blocks) in enumerate(dense):
            for b, c in product(row_blocks, _strips(width)):
                np.matmul(b.weight, some[:, b.lo : b.hi, c], out=part[:, b.start : b.stop, c])
            for r, b in product(_strips(n_rows), col_blocks):
                if k == 0:
                    np.matmul(part[:, r, b.lo : b.hi], b.weight.T, out=target[:, r, b.start : b.stop])
                else:
                    target[:, r, b.start : b.stop] += part[:, r, b.lo : b.hi] @ b.weight.T
    return out.reshape(*lead, n_rows, n_cols)


def _strips(n: int) -> list[slice]:
    return [slice(at, min(at + _STRIP, n)) for at in range(0, n, _STRIP)]


@lru_cache(maxsize=16)  # a scene is worked on a few bands at a time, again and again with the same weights
def _cast(p: Pass, dtype: np.dtype[np.floating]) -> list[Block]:
    return [b._replace(weight=np.ascontiguousarray(b.weight, dtype)) for b in p.blocks(_BLOCK_NUMPY)]


def _multiply_torch(x: _Tensor, terms: list[tuple[Pass, Pass]]) -> _Tensor:
    if not x.is_floating_point():
        raise UsageError(f"expected a floating tensor, got {x.dtype}: convert it first")
    dtype = x.dtype
    if x.element_size() < 4:
        x = x.float()
    total: _Tensor | None = None
    for rows, cols in terms:
        term = _along_columns(_along_rows(x, rows), cols)
        total = term if total is None else total + term
    assert total is not None
    return total.to(dtype)


def _along_rows(x: _Tensor, p: Pass) -> _Tensor:
    blocks = list(p.blocks(_BLOCK_TORCH))
    if len(blocks) == 1:
        (b,) = blocks
        return x.new_tensor(b.weight) @ x[..., b.lo : b.hi, :]
    out = x.new_empty((*x.shape[:-2], p.wanted[1] - p.wanted[0], x.shape[-1]))
    for b in blocks:
        out[..., b.start : b.stop, :] = x.new_tensor(b.weight) @ x[..., b.lo : b.hi, :]
    return out


def _along_columns(x: _Tensor, p: Pass) -> _Tensor:
    blocks = list(p.blocks(_BLOCK_TORCH))
    if len(blocks) == 1:
        (b,) = blocks
        return x[..., b.lo : b.hi] @ x.new_tensor(b.weight.T)
    out = x.new_empty((*x.shape[:-1], p.wanted[1] - p.wanted[0]))
    for b in blocks:
        out[..., b.start : b.stop] = x[..., b.lo : b.hi] @ x.new_tensor(b.weight.T)
    return out
