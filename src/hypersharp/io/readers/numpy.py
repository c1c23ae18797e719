"""NumPy arrays: ``.npy`` files, and ``.npz`` archives with the metadata that our own writer adds.

Arrays that are not compressed are read by windows through a mapping opened for each; a compressed member can only be
read whole, which happens at the first window. Nothing is ever unpickled.
"""

from __future__ import annotations

import ast
import struct
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hypersharp.cube import Cube
from hypersharp.errors import FileFormatError
from hypersharp.io.about import NPZ_METADATA, WAVELENGTHS, About, Found, add_bands, build, first, from_json
from hypersharp.io.arrays import (
    Entry,
    Held,
    Mapped,
    Windowed,
    choose,
    decide_axes,
    guarded,
    kind_of,
    stored_type,
)
from hypersharp.io.contract import Reader, ReadOptions

_ZIP = b"PK\x03\x04"
_LONGEST_HEADER = 1 << 20
_SMALL = 1 << 20  # longest member that is read on opening


def _sniff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(30)
            if head.startswith(npy.MAGIC_PREFIX):
                return True
            if not head.startswith(_ZIP) or len(head) < 30:
                return False
            return file.read(int.from_bytes(head[26:28], "little")).endswith(b".npy")
    except OSError:
        return False


@dataclass(frozen=True)
class _Header:
    """What the header of an array in NumPy's format says; `start` is its own length."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @property
    def size(self) -> int:
        """Bytes of header and numbers together."""
        count = 1
        for side in self.shape:
            count *= side
        return self.start + count * self.dtype.itemsize


def _header(file: IO[bytes]) -> _Header:
    """Parse the header; literals only, as the format's specification has it.

    Raises:
        ValueError: it is not such a header.
    """
    magic = file.read(8)
    if magic[:6] != npy.MAGIC_PREFIX or len(magic) < 8 or magic[6] not in (1, 2, 3):
        raise ValueError("it does not start as an array of NumPy")
    form = "<H" if magic[6] == 1 else "<I"
    (length,) = struct.unpack(form, file.read(struct.calcsize(form)))
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header claims to be {length} bytes long")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("its header is cut off")
    said = ast.literal_eval(text.decode("latin-1" if magic[6] < 3 else "utf-8").strip())
    shape = tuple(said["shape"])
    if not all(type(side) is int and side >= 0 for side in shape) or type(said["fortran_order"]) is not bool:
        raise ValueError("its header gives no shape")
    dtype = npy.descr_to_dtype(said["descr"])
    return _Header(dtype, shape, said["fortran_order"], 8 + struct.calcsize(form) + length)


def _check_size(path: Path, header: _Header, size: int) -> None:
    if not header.dtype.hasobject and header.size != size:
        raise FileFormatError(
            f"{path.name}: its header announces {header.size} bytes, got {size}; the file is cut off or damaged"
        )


def _read(path: Path, options: ReadOptions) -> Cube:
    with guarded(path), path.open("rb") as file:
        if file.read(6) == npy.MAGIC_PREFIX:
            return _read_npy(path, options)
        return _read_npz(path, options)


def _read_npy(path: Path, options: ReadOptions) -> Cube:
    with path.open("rb") as file:
        header = _header(file)
    entry = choose(path, [Entry("array", header.shape, kind_of(header.dtype))], options.dataset)
    _check_size(path, header, path.stat().st_size)
    axes, note = decide_axes(path, header.shape, stated=options.axes, own=None, wavelengths=None)
    read = Mapped(path, header.start, header.dtype, _in_file(header, header.shape))
    return _cube(path, entry, header, read, axes, About(attrs={"axes": note}))


def _in_file(header: _Header, shape: Any) -> Any:
    return shape[::-1] if header.fortran else shape


def _cube(path: Path, entry: Entry, header: _Header, read: Windowed, axes: str, about: About) -> Cube:
    dtype = stored_type(path, entry, header.dtype)
    return build(read, _in_file(header, header.shape), _in_file(header, axes), dtype=dtype, about=about)


def _read_npz(path: Path, options: ReadOptions) -> Cube:
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        headers: dict[str, _Header] = {}
        for name, info in infos.items():
            if info.filename.endswith(".npy"):
                with archive.open(info) as member:
                    headers[name] = _header(member)
        entries = [Entry(name, header.shape, kind_of(header.dtype)) for name, header in headers.items()]
        entry = choose(path, entries, options.dataset)
        header = headers[entry.name]
        _check_size(path, header, infos[entry.name].file_size)

        def small(name: str) -> Found | None:
            fitting = [key for key in headers if key.rsplit("/", 1)[-1].lower() == name]
            if len(fitting) != 1 or headers[fitting[0]].size > _SMALL or headers[fitting[0]].dtype.hasobject:
                return None
            return Found(_load(path, infos[fitting[0]], headers[fitting[0]]))

        kept = small(NPZ_METADATA)
        about, own = (About(), None) if kept is None else _kept(kept)
        lines = None if kept is not None else first(WAVELENGTHS, small)
        count = None if lines is None else lines.values.size
        axes, note = decide_axes(path, entry.shape, stated=options.axes, own=own, wavelengths=count)
        if kept is None:
            add_bands(about, small, entry.shape[axes.index("c")])
        if kept is None or options.axes is not None:
            about.attrs["axes"] = note
    return _cube(path, entry, header, _member(path, infos[entry.name], header), axes, about)


def _kept(found: Found) -> tuple[About, str]:
    return from_json(bytes(found.values.astype(np.uint8)).decode("utf-8"))


def _member(path: Path, info: zipfile.ZipInfo, header: _Header) -> Windowed:
    if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
        with path.open("rb") as file:
            file.seek(info.header_offset + 26)
            name, extra = struct.unpack("<HH", file.read(4))
        start = info.header_offset + 30 + name + extra + header.start
        return Mapped(path, start, header.dtype, _in_file(header, header.shape))
    return Held(path, partial(_load, path, info, header))


def _load(path: Path, info: zipfile.ZipInfo, header: _Header) -> NDArray[Any]:
    """The whole of a member, in file order."""
    with zipfile.ZipFile(path) as archive, archive.open(info) as member:
        numbers = member.read()[header.start :]
    return np.frombuffer(numbers, dtype=header.dtype).reshape(_in_file(header, header.shape))


READER = Reader(
    name="NumPy",
    about="an array of three axes in .npy or .npz; of .npz archives by name",
    suffixes=(".npy", ".npz"),
    sniff=_sniff,
    read=_read,
)
