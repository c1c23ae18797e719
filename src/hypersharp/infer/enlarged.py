"""What sources of computed HR values share: their shape, in which pieces they are best read, and what they keep."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Source
from hypersharp.cube.source import BandIndex

GROUP_BYTES = 1 << 22
"""Bands are best read in groups of about this many bytes of HR values."""

Pick = slice | NDArray[np.intp]
"""Bands as an array is indexed with them."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class Latest(Generic[Key, Value]):
    """What was asked for last, so that what many reads share is computed once; threads wait for each other."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, make: Callable[[], Value], *, keep: int) -> Value:
        """The value of a key: kept, or made and kept in place of the oldest where there are `keep` already."""
        with self._lock:
            if key not in self._kept:
                while len(self._kept) >= max(1, keep):
                    self._kept.popitem(last=False)  # first, so that no more than `keep` are in memory
                self._kept[key] = make()
            self._kept.move_to_end(key)
            return self._kept[key]


class Enlarged(ABC):
    """A `Source` of values on finer pixels than those of `lr`; each kind has a `read` of its own.

    Attributes:
        lr: the source that they are made of.
    """

    lr: Source

    @property
    @abstractmethod
    def _pieces(self) -> tuple[int, tuple[int, int]]:
        """HR pixels per LR pixel along a side, and the LR rows and columns in which it is best read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(C, s·h, s·w)`."""
        (bands, rows, cols), (scale, _) = self.lr.shape, self._pieces
        return bands, rows * scale, cols * scale

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, whatever `lr` has."""
        return np.dtype(np.float32)

    @property
    def complete(self) -> bool:
        """No pixel becomes invalid that is not so in `lr`."""
        return self.lr.complete

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of `lr`."""
        return self.lr.files

    @property
    def block(self) -> tuple[int, int, int]:
        """Bands, HR rows and HR columns in which to read: all bands of a tile a few at a time, then the next tile."""
        scale, core = self._pieces
        rows, cols = (n * scale for n in core)
        return max(1, GROUP_BYTES // (rows * cols * self.dtype.itemsize)), rows, cols

    def _picked(self, bands: BandIndex) -> tuple[Pick, int]:
        """Bands that are asked for, and how many they are."""
        index = np.arange(self.lr.shape[0])[bands if isinstance(bands, slice) else list(bands)]
        return (bands if isinstance(bands, slice) else index), len(index)
