"""MATLAB files: v5 (up to ``-v7``) and v7.3, which is HDF5 with the axes reversed.

Axis orders are as MATLAB sees them for both, so that a variable saved either way gives the same cube. A v5 variable
that is not compressed is read by windows; a compressed one can only be read whole, which happens at the first
window. The layout of v5 is that of MathWorks' "MAT-File Format" (1999-2019). It is parsed here because scipy tells
neither that a variable is complex nor that a file is cut off before it has read all of its pixels.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube
from hypersharp.errors import FileFormatError, UsageError
from hypersharp.io.about import WAVELENGTHS, About, Found, Lookup, add_bands, build, first, text_of
from hypersharp.io.arrays import (
    Entry,
    Held,
    Mapped,
    Windowed,
    checked_axes,
    choose,
    decide_axes,
    guarded,
    stored_type,
)
from hypersharp.io.contract import Reader, ReadOptions
from hypersharp.io.readers.hdf5 import Hyperslab, entries_of, has_magic, opened

_HEADER = 128
_HEAD = 4096  # enough of a variable to hold its class, sizes and name
_MATRIX, _COMPRESSED, _OPAQUE = 14, 15, 17
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASS_NAMES = (
    "cell struct object char sparse double single int8 uint8 int16 uint16 int32 uint32 int64 uint64 function object"
)
_CLASSES = dict(enumerate(_CLASS_NAMES.split(), start=1))
_DTYPES = {"double": "f8", "single": "f4", "logical": "u1"} | {
    f"{sign}int{bits}": f"{kind}{bits // 8}" for sign, kind in (("", "i"), ("u", "u")) for bits in (8, 16, 32, 64)
}
_SMALL = 1 << 17  # longest list that is read on opening
_SIDES = ("nrow", "ncol")


def _sniff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(19)
    except OSError:
        return False
    if head.startswith((b"MATLAB 5.0 MAT-file", b"MATLAB 7.3")):
        return True
    return path.suffix.lower() == ".mat" and not has_magic(path)


@dataclass(frozen=True)
class _Variable:
    """A variable of a file, of any class; only those of real numbers can be read.

    Attributes:
        entry: name, shape as MATLAB sees it, and class where that is not real numbers.
        dtype: type of the numbers of its class.
        whole: reads all of it, in file order, in which MATLAB's axes are reversed.
        windows: the same by windows, given three sizes in file order.
    """

    entry: Entry
    dtype: str = ""
    whole: Callable[[], NDArray[Any]] | None = None
    windows: Callable[[tuple[int, ...]], Windowed] | None = None


def _read(path: Path, options: ReadOptions) -> Cube:
    stated = None if options.axes is None else checked_axes(options.axes)
    with guarded(path):
        variables = _variables(path)
        by_name = {variable.entry.name.lower(): variable for variable in variables}

        def small(name: str) -> Found | None:
            found = by_name.get(name)
            if found is None or found.whole is None or not 0 < math.prod(found.entry.shape) <= _SMALL:
                return None
            return Found(found.whole())

        variables, own = _unfold(variables, small, stated)
        entry = choose(path, [variable.entry for variable in variables], options.dataset)
        chosen = next(variable for variable in variables if variable.entry is entry)
        lines = first(WAVELENGTHS, small)
        count = None if lines is None else lines.values.size
        axes, note = decide_axes(path, entry.shape, stated=stated, own=own.get(entry.name), wavelengths=count)
        about = About(attrs={"axes": note})
        add_bands(about, small, entry.shape[axes.index("c")])
        assert chosen.windows is not None
        read = chosen.windows(entry.shape[::-1])
        return build(read, entry.shape[::-1], axes[::-1], dtype=np.dtype(chosen.dtype), about=about)


def _unfold(variables: list[_Variable], lookup: Lookup, stated: str | None) -> tuple[list[_Variable], dict[str, str]]:
    """See a matrix of bands and pixels as the cube it was, where `nRow` and `nCol` tell its sides.

    Pixels are taken in MATLAB's order, down the columns first, as `reshape` lays them out; of a stated axis order
    the places of h and w say otherwise. Only done where the file has no variable of three axes.

    Returns:
        The variables with such matrices given three axes, and the axis order of each of these by name.
    """
    sides = [lookup(name) for name in _SIDES]
    if any(variable.entry.is_cube for variable in variables) or None in sides:
        return variables, {}
    rows, cols = (int(side.values.reshape(-1)[0]) for side in sides if side is not None)
    seen, orders = [], {}
    for variable in variables:
        entry = variable.entry
        if not entry.kind and len(entry.shape) == 2 and entry.shape.count(rows * cols) == 1:
            order, count = ("chw", entry.shape[0]) if entry.shape[1] == rows * cols else ("hwc", entry.shape[1])
            if stated is not None and stated.index("c") != order.index("c"):
                raise UsageError(f"axes of {entry} must {'start' if order == 'chw' else 'end'} with c, got {stated!r}")
            orders[entry.name] = order
            size = {"c": count, "h": rows, "w": cols}
            entry = replace(entry, shape=tuple(size[letter] for letter in stated or order))
        seen.append(replace(variable, entry=entry))
    return seen, orders


def _variables(path: Path) -> list[_Variable]:
    if has_magic(path):
        with opened(path) as file:
            return [_of_hdf5(path, file, entry) for entry in entries_of(file) if "#" not in entry.name]
    with path.open("rb") as file:
        if not file.read(19).startswith(b"MATLAB 5.0 MAT-file"):
            raise FileFormatError(
                f"{path.name}: expected a MATLAB file of v5 or v7.3, got another (v4?); save it with -v7 or -v7.3"
            )
        return list(_elements(path, file))


def _of_hdf5(path: Path, file: h5py.File, entry: Entry) -> _Variable:
    """A dataset of a v7.3 file; its attribute `MATLAB_class` says what is inside."""
    dataset = file[entry.name]
    name = text_of(dataset.attrs.get("MATLAB_class", b""))
    shape = entry.shape[::-1]
    if entry.kind or (name and name not in _DTYPES) or "MATLAB_empty" in dataset.attrs:
        empty = "empty " if "MATLAB_empty" in dataset.attrs else ""
        kind = "complex " if dataset.dtype.names == ("real", "imag") else ""
        return _Variable(replace(entry, shape=shape, kind=f"{empty}{kind}{name or entry.kind}"))

    def whole() -> NDArray[Any]:
        with opened(path) as again:
            return np.asarray(again[entry.name][()])

    def windows(sizes: tuple[int, ...]) -> Windowed:
        if sizes == entry.shape:
            return Hyperslab(path, entry.name)
        return Held(path, lambda: whole().reshape(sizes))

    seen = replace(entry, shape=shape)
    dtype = _DTYPES.get(name) or stored_type(path, seen, dataset.dtype).str
    return _Variable(seen, dtype, whole, windows)


def _elements(path: Path, file: IO[bytes]) -> Iterator[_Variable]:
    """The variables of a v5 file, by the tags at their starts; no numbers are read."""
    file.seek(_HEADER - 2)
    order = {b"IM": "<", b"MI": ">"}.get(file.read(2))
    if order is None:
        raise ValueError("its header does not tell the byte order")
    size, at = path.stat().st_size, _HEADER
    while at < size:
        file.seek(at)
        kind, length = struct.unpack(f"{order}II", file.read(8))
        if at + 8 + length > size:
            raise FileFormatError(
                f"{path.name}: a variable of {length} bytes is announced where {size - at - 8} are left; it is cut off"
            )
        head, packed = file.read(min(length, _HEAD)), 0
        if kind == _COMPRESSED:
            packed = length
            head = zlib.decompressobj().decompress(head, _HEAD)
            kind, room = struct.unpack(f"{order}II", head[:8])
            head = head[8:]
        else:
            room = length
        if kind != _MATRIX:
            raise ValueError(f"expected a matrix at byte {at}, got an element of type {kind}")
        found = _matrix(path, order, head, at=at + 8, room=room, packed=packed)
        if found.entry.name:  # what has no name is MATLAB's own
            yield found
        at += 8 + length


def _matrix(path: Path, order: str, head: bytes, *, at: int, room: int, packed: int) -> _Variable:
    """One variable, from the first bytes of its element.

    Args:
        path: the file.
        order: ``"<"`` or ``">"``.
        head: first bytes of the element's content, unpacked.
        at: where the content starts in the file.
        room: length of the content, unpacked.
        packed: its length in the file where it is compressed, else 0.
    """

    def part(start: int) -> tuple[int, int, int, int]:
        """Type, start and length of the part whose tag is at `start`, and where the next one is."""
        first, second = struct.unpack_from(f"{order}II", head, start)
        if first >> 16:
            return first & 0xFFFF, start + 4, first >> 16, start + 8
        return first, start + 8, second, start + 8 + second + -second % 8

    _, start, _, after = part(0)
    (flags,) = struct.unpack_from(f"{order}I", head, start)
    kind = _CLASSES.get(flags & 0xFF, "an unknown class")
    kind = "logical" if kind == "uint8" and flags & 0x200 else kind
    shape: tuple[int, ...] = ()
    if flags & 0xFF != _OPAQUE:  # these have a name only
        _, start, length, after = part(after)
        shape = struct.unpack_from(f"{order}{length // 4}i", head, start)
    _, start, length, after = part(after)
    name = head[start : start + length].decode("latin-1")
    if kind not in _DTYPES or flags & 0x800:
        return _Variable(Entry(name, shape, f"{'complex ' if flags & 0x800 else ''}{kind}"))
    code, start, length, _ = part(after)
    if code not in _TYPES:
        raise ValueError(f"{name!r} has numbers of the unknown type {code}")
    stored = np.dtype(f"{order}{_TYPES[code]}")
    if min(shape) < 0 or math.prod(shape) * stored.itemsize != length or start + length > room:
        raise ValueError(f"{name!r} announces {shape} numbers in {length} bytes")

    def whole() -> NDArray[Any]:
        with path.open("rb") as file:
            file.seek(at if packed else at + start)
            data = file.read(packed or length)
        numbers = zlib.decompress(data)[8 + start :] if packed else data
        return np.frombuffer(numbers, stored, math.prod(shape)).reshape(shape[::-1])

    def windows(sizes: tuple[int, ...]) -> Windowed:
        if packed:
            return Held(path, lambda: whole().reshape(sizes))
        return Mapped(path, at + start, stored, sizes)

    return _Variable(Entry(name, shape), _DTYPES[kind], whole, windows)


READER = Reader(
    name="MATLAB",
    about="a variable of three axes of a .mat file, v5 or v7.3, by name",
    suffixes=(".mat",),
    sniff=_sniff,
    read=_read,
)
