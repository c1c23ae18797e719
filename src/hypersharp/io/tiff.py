"""Whether a TIFF file is whole, told from its directories alone: no pixel is read.

GDAL leaves out what it cannot read of a file that is cut short or whose metadata are damaged, wavelengths for example,
with a mere warning; and when a disk is full on closing a file, it says nothing. Hence our own look at what lies where.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import FileFormatError

MAGIC = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
"""First bytes of a file -> byte order; ``+`` is BigTIFF."""

_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_UNSIGNED = (3, 4, 13, 16, 18)  # the types that counts and places come in
_OFFSETS, _COUNTS = (273, 324), (279, 325)  # of strips, of tiles
_METADATA = 42112
_MOST_BLOCKS = 1 << 20
_MOST_METADATA = 1 << 26  # bytes
_MOST_DIRECTORIES = 1 << 16


def check_whole(path: Path, *, holes: bool) -> None:
    """Check that whatever the directories of a TIFF file point to lies inside of it, and that its metadata are XML.

    Of a directory with more than a million blocks only the last million are looked at.

    Args:
        path: the file.
        holes: whether blocks may be missing (they stand for no-data).

    Raises:
        FileFormatError: it is not TIFF, cut short, damaged, or has holes and must not.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        magic = file.read(4)
        if magic not in MAGIC:
            raise FileFormatError(f"expected a TIFF file, got one that begins with {magic!r}")
        order, big = MAGIC[magic], b"+" in magic
        place = f"{order}u{8 if big else 4}"
        where = _number(file, 8 if big else 4, place)
        seen: set[int] = set()
        while where and where not in seen and len(seen) < _MOST_DIRECTORIES:
            seen.add(where)
            where = _check_directory(file, size, where, order=order, big=big, holes=holes)


def _check_directory(file: IO[bytes], size: int, where: int, *, order: str, big: bool, holes: bool) -> int:
    """Check one directory; where the next one is, or 0."""
    place, count_type = (f"{order}u8", f"{order}u8") if big else (f"{order}u4", f"{order}u2")
    entry = np.dtype([("tag", f"{order}u2"), ("type", f"{order}u2"), ("count", place), ("value", place)])
    count = _number(file, where, count_type)
    start = where + np.dtype(count_type).itemsize
    blocks: dict[str, NDArray[np.uint64]] = {}
    for at, row in enumerate(_values(file, start, entry, count)):
        tag, kind, number, value = (int(part) for part in row.tolist())
        wide = _BYTES.get(kind, 0)
        if wide * number <= np.dtype(place).itemsize:
            value = start + (at + 1) * entry.itemsize - np.dtype(place).itemsize
        if value + wide * number > size:
            raise FileFormatError(f"cut short: its tag {tag} ends at byte {value + wide * number}, the file at {size}")
        if tag == _METADATA and number <= _MOST_METADATA:
            _check_metadata(_values(file, value, np.dtype("u1"), number).tobytes())
        if tag in _OFFSETS + _COUNTS and kind in _UNSIGNED:
            used = min(number, _MOST_BLOCKS)
            name = "offsets" if tag in _OFFSETS else "counts"
            blocks[name] = _values(file, value + (number - used) * wide, np.dtype(f"{order}u{wide}"), used).astype("u8")
    _check_blocks(blocks, size, holes)
    return _number(file, start + count * entry.itemsize, place)


def _check_metadata(content: bytes) -> None:
    try:
        expat.ParserCreate("utf-8").Parse(content.rstrip(b"\0"), True)
    except expat.ExpatError as error:
        raise FileFormatError(f"its metadata (tag {_METADATA}) are damaged: no XML in UTF-8 ({error})") from None


def _check_blocks(blocks: dict[str, NDArray[np.uint64]], size: int, holes: bool) -> None:
    if "offsets" not in blocks or "counts" not in blocks or len(blocks["offsets"]) != len(blocks["counts"]):
        return  # GDAL knows what to make of it
    first, length = blocks["offsets"], blocks["counts"]
    beyond = (first > size) | (length > size) | (first + length > size)
    if beyond.any():
        raise FileFormatError(f"cut short: {int(beyond.sum())} of {len(first)} blocks end after byte {size}, the last")
    if not holes and ((first == 0) | (length == 0)).any():
        raise FileFormatError(f"{int(((first == 0) | (length == 0)).sum())} of {len(first)} blocks are missing")


def _number(file: IO[bytes], where: int, kind: str) -> int:
    return int(_values(file, where, np.dtype(kind), 1)[0])


def _values(file: IO[bytes], where: int, kind: np.dtype[Any], count: int) -> NDArray[Any]:
    end = where + count * kind.itemsize
    if end > os.fstat(file.fileno()).st_size:
        raise FileFormatError(f"cut short: its directory ends at byte {end}, beyond the end of the file")
    file.seek(where)
    return np.frombuffer(file.read(end - where), kind, count)
