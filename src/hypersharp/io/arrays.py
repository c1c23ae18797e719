"""What the readers of array files (MATLAB, HDF5, NumPy) share.

Which variable is the cube, which of its axes is which, and lazy windows in any axis order. No format is known here.
"""

from __future__ import annotations

import difflib
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube.source import BandIndex
from hypersharp.errors import AmbiguousError, CubeError, FileFormatError, HypersharpError, UsageError

Index3 = tuple[slice, slice, slice]
FILE_AXES = {"bsq": "chw", "bil": "hcw", "bip": "hwc"}

# What a damaged or hostile file makes h5py, zipfile, zlib, numpy and struct raise.
_BROKEN = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    EOFError,
    SyntaxError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
_WINDOW_BYTES = 1 << 26
_WORDS = {
    "c": "c b band bands channel channels spectral wavelength wavelengths wavelength_nm",
    "h": "h y row rows line lines height downtrack along_track lat latitude northing",
    "w": "w x col cols column columns sample samples width crosstrack across_track lon longitude easting",
}
_AXIS_OF_WORD = {word: axis for axis, words in _WORDS.items() for word in words.split()}


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn what libraries raise on a damaged file into one line.

    Raises:
        FileFormatError: in place of their errors; ours pass through, those about a cube with the file's name.
    """
    try:
        yield
    except CubeError as error:
        raise FileFormatError(f"{path.name}: {error}") from None
    except HypersharpError:
        raise
    except _BROKEN as error:
        why = " ".join(clean(str(error)).split())[:200] or type(error).__name__
        raise FileFormatError(f"{path.name}: cannot be read ({why}); the file is damaged or cut off") from None


def clean(text: str) -> str:
    """The text without what cannot be printed or stored: lone surrogates and NULs."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


@dataclass(frozen=True)
class Entry:
    """One array of a file.

    Attributes:
        name: full name inside the file, without a leading slash.
        shape: its sizes.
        kind: what it holds instead of real numbers (``"complex128"``, ``"struct"``); empty for real numbers.
    """

    name: str
    shape: tuple[int, ...]
    kind: str = ""

    @property
    def is_cube(self) -> bool:
        """Whether it has three axes and real numbers."""
        return len(self.shape) == 3 and not self.kind

    def __str__(self) -> str:
        """Name and shape, for messages."""
        size = " x ".join(map(str, self.shape)) or "one value"
        return f"{clean(self.name)} ({self.kind}{', ' if self.kind else ''}{size})"


def listed(entries: Sequence[Entry]) -> str:
    """Some entries as text, not more than a line can hold."""
    more = f" and {len(entries) - 12} more" if len(entries) > 12 else ""
    return (", ".join(map(str, entries[:12])) or "nothing") + more


def choose(path: Path, entries: Sequence[Entry], wanted: str | None) -> Entry:
    """The array that is the cube: the one `wanted`, else the only one with three axes and real numbers.

    Args:
        path: the file, for messages.
        entries: what it holds.
        wanted: full name or unique last part of it.

    Raises:
        UsageError: nothing has the wanted name; the nearest one is offered.
        AmbiguousError: several fit; all are named with their shapes.
        FileFormatError: nothing fits, or what is wanted is no array of real numbers with three axes.
    """
    if wanted is None:
        fitting = [entry for entry in entries if entry.is_cube]
        if not fitting:
            raise FileFormatError(
                f"{path.name}: a cube needs 3 axes of real numbers; this file holds {listed(entries)}"
            )
        if len(fitting) > 1:
            raise AmbiguousError(f"{path.name}: holds several cubes: {listed(fitting)}; choose one with --dataset")
        return _usable(path, fitting[0])
    name = wanted.strip("/")
    found = [entry for entry in entries if entry.name == name]
    found = found or [entry for entry in entries if entry.name.rsplit("/", 1)[-1] == name]
    if len(found) > 1:
        raise AmbiguousError(f"{path.name}: {wanted!r} could be {listed(found)}; give --dataset the full name")
    if not found:
        near = difflib.get_close_matches(name, [entry.name for entry in entries], n=1, cutoff=0.5)
        hint = f"did you mean {clean(near[0])!r}?" if near else f"it holds {listed(entries)}"
        raise UsageError(f"{path.name}: has nothing named {wanted!r}; {hint}")
    return _usable(path, found[0])


def _usable(path: Path, entry: Entry) -> Entry:
    if entry.kind:
        raise FileFormatError(f"{path.name}: a cube needs an array of real numbers, got {entry}")
    if len(entry.shape) != 3:
        raise FileFormatError(f"{path.name}: a cube needs 3 axes, got {entry}")
    if 0 in entry.shape:
        raise FileFormatError(f"{path.name}: a cube needs pixels, got the empty array {entry}")
    return entry


def stored_type(path: Path, entry: Entry, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Native type in which the numbers of an array come out: its own; logicals as uint8, half floats as float32.

    Raises:
        FileFormatError: floats of more than 64 bits, which would lose digits.
    """
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        if dtype.itemsize == 2:
            return np.dtype(np.float32)
        raise FileFormatError(f"{path.name}: {entry} is {dtype}; store it as float64 first")
    return dtype.newbyteorder("=")


def kind_of(dtype: np.dtype[Any]) -> str:
    """What `Entry.kind` is for a NumPy type."""
    return "" if dtype.kind in "iufb" else clean(dtype.name if dtype.names is None else "records")


def axes_from_words(words: Sequence[str]) -> str | None:
    """Axis order said in words, such as ``("rows", "cols", "bands")`` -> ``"hwc"``; None if they do not say it."""
    order = "".join(_AXIS_OF_WORD.get(word.strip().lower(), "?") for word in words)
    return order if sorted(order) == ["c", "h", "w"] else None


def checked_axes(text: str) -> str:
    """A stated axis order in lower case.

    Raises:
        UsageError: it is not a permutation of ``"chw"``.
    """
    order = text.strip().lower()
    if sorted(order) != ["c", "h", "w"]:
        raise UsageError(f"axes must be a permutation of chw (c bands, h rows, w columns), got {text!r}")
    return order


def decide_axes(
    path: Path, shape: tuple[int, ...], *, stated: str | None, own: str | None, wavelengths: int | None
) -> tuple[str, str]:
    """Which axis is which, and how that is known.

    In this order: what the user states, what the file says, the only axis that the number of wavelengths fits, and
    ``"hwc"``, the custom of the field's files.

    Args:
        path: the file, for the note.
        shape: sizes of the array.
        stated: axis order given by the user.
        own: axis order that the file states.
        wavelengths: how many wavelengths the file has, if any.

    Returns:
        The order and a note for the cube's attribute ``axes``.

    Raises:
        UsageError: `stated` is not a permutation of ``"chw"``.
    """
    fitting = [axis for axis, size in enumerate(shape) if size == wavelengths]
    if stated is not None:
        order, how = checked_axes(stated), f"stated for {path.name}"
    elif own is not None:
        order, how = own, f"as {path.name} says"
    elif len(fitting) == 1:
        order = ("chw", "hcw", "hwc")[fitting[0]]
        how = f"from the {wavelengths} wavelengths of {path.name}"
    else:
        order, how = "hwc", f"assumed for {path.name}; --axes says otherwise"
    return order, f"{order} ({clean(how)})"


class Windowed(Protocol):
    """An array of three axes in file order that can be read in parts."""

    def __call__(self, index: Index3) -> NDArray[Any]:
        """The part with the given slices, all with start and stop within the array and of step 1."""
        ...


@dataclass(frozen=True)
class Mapped:
    """An uncompressed C-ordered array in a file. A Fortran-ordered one is the same with its axes reversed.

    No mapping outlives a call, and none spans more than 64 MiB plus one plane: mapped pages count as memory.
    """

    path: Path
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __call__(self, index: Index3) -> NDArray[Any]:
        """The part with the given slices."""
        slow = index[0]
        out = np.empty([part.stop - part.start for part in index], dtype=self.dtype)
        plane = self.shape[1] * self.shape[2] * self.dtype.itemsize
        step = max(1, _WINDOW_BYTES // plane)
        for start in range(slow.start, slow.stop, step):
            stop = min(start + step, slow.stop)
            shape = (stop - start, *self.shape[1:])
            with guarded(self.path):
                mapped = np.memmap(self.path, self.dtype, "r", self.offset + start * plane, shape)
                out[start - slow.start : stop - slow.start] = mapped[:, index[1], index[2]]
                del mapped
        return out


@dataclass(frozen=True)
class Held:
    """A compressed array that can only be read whole: loaded at the first window, then kept with its cube."""

    path: Path
    load: Callable[[], NDArray[Any]]
    _kept: list[NDArray[Any]] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.Lock)

    def __call__(self, index: Index3) -> NDArray[Any]:
        """The part with the given slices."""
        with self._lock:
            if not self._kept:
                with guarded(self.path):
                    self._kept.append(self.load())
            return self._kept[0][index]


@dataclass(frozen=True)
class Fetch:
    """Fetch function of a `StoredSource` over an array in any axis order.

    Attributes:
        read: the array in file order.
        shape: `(C, H, W)`.
        axes: which letter of ``"chw"`` each axis in file order is.
        dtype: native type of what comes out.
    """

    read: Windowed
    shape: tuple[int, int, int]
    axes: str
    dtype: np.dtype[Any]

    def __call__(self, bands: BandIndex, rows: slice, cols: slice) -> NDArray[Any]:
        """Stored numbers `(c, h, w)` of a window; bands in any order."""
        at = np.arange(self.shape[0])[bands if isinstance(bands, slice) else list(bands)]
        h, w = (slice(*part.indices(size)[:2]) for part, size in zip((rows, cols), self.shape[1:], strict=True))
        out = np.empty((len(at), max(0, h.stop - h.start), max(0, w.stop - w.start)), dtype=self.dtype)
        if out.size == 0:
            return out
        order = [self.axes.index(letter) for letter in "chw"]
        breaks = np.flatnonzero(np.diff(at) != 1) + 1
        for first, last in zip([0, *breaks], [*breaks, len(at)], strict=True):  # runs of neighbouring bands
            window = {"c": slice(int(at[first]), int(at[last - 1]) + 1), "h": h, "w": w}
            part = self.read((window[self.axes[0]], window[self.axes[1]], window[self.axes[2]]))
            out[first:last] = part.transpose(order)
        return out
