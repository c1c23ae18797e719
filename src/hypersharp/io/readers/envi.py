"""ENVI rasters: a text header (``.hdr``) beside a bare data file, BSQ, BIL or BIP, in every type that ENVI knows.

The file named may be either of the two. Decisions, where the format leaves things open:

- No `byte order` is taken as 0 (little-endian), no `header offset` as 0. Sizes, `data type`, `interleave` are needed.
- A data file shorter than the header says is an error; a longer one is read, and the history says so.
- Wavelengths need a unit. Where it is missing or ``Unknown`` it is told from their size, and the history says so: all
  within 200 to 20000 are nm, all within 0.2 to 20 are µm (not 1, 2, 3 …: those are numbers of bands). Any other unit
  (``SP1``, ``Index``, wavenumbers) leaves `wavelength`, `fwhm` and `wavelength_units` as attributes: none is invented.
- Without usable wavelengths, band names give them if *every* one ends in a number with nm or µm ("376.44 Nanometers"),
  or in a decimal number in parentheses ("Resize (Band 1) (426.82)"), whose unit is told in the same way.
- Physical = stored · gain + offset (`data gain values`, `data offset values`) or stored / `reflectance scale factor`.
  Both together are accepted only where they say the same.
- `hypersharp …` keys are ours; they hold exactly what ENVI has no key for.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Bands, Cube, Grid, Storage, StoredSource
from hypersharp.cube.cube import QUANTITIES
from hypersharp.cube.source import BandIndex
from hypersharp.errors import AmbiguousError, CubeError, FileFormatError, UsageError
from hypersharp.io import envi_header as header
from hypersharp.io.contract import Reader, ReadOptions
from hypersharp.io.crs import from_envi_map_info, to_esri_wkt
from hypersharp.io.envi_header import OWN

Fields = dict[str, str]

DATA_SUFFIXES = (
    ".img", ".dat", ".raw", ".bsq", ".bil", ".bip", ".bin", ".hyspex", ".cube", ".ref", ".rad", ".rfl", ".sli"
)  # fmt: skip
"""Endings looked for where a header is named; a data file that is named may have any."""

_FOREIGN = (
    b"II*\0", b"II+\0", b"MM\0*", b"MM\0+", b"\x89HDF", b"\x89PNG", b"MATLAB", b"\x93NUMPY", b"PK\x03\x04", b"CDF"
)  # fmt: skip
_MOST_HEADER = 1 << 24
_GAP = 1 << 14  # so many bytes between two runs are rather read through than jumped over


@dataclass(frozen=True)
class Layout:
    """How the data file is laid out.

    Attributes:
        dtype: type with byte order.
        shape: `(C, H, W)`.
        interleave: ``"bsq"``, ``"bil"`` or ``"bip"``.
        offset: bytes before the first pixel.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, int, int]
    interleave: str
    offset: int

    @property
    def size(self) -> int:
        """Bytes of the whole data file."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def sniff(path: Path) -> bool:
    """Whether the file is an ENVI header, or a data file with one beside it; never raises."""
    try:
        head = _first(path)
        if path.suffix.lower() == ".hdr":
            return _is_header(head)
        if path.suffix.lower() not in DATA_SUFFIXES and head.startswith(_FOREIGN):
            return False
        return any(_is_header(_first(one)) for one in _headers_of(path))
    except (OSError, ValueError):
        return False


def _first(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _is_header(head: bytes) -> bool:
    return re.match(rb"ENVI\s*(?:[\r\n]|$)", head.removeprefix(b"\xef\xbb\xbf")) is not None


def _headers_of(data: Path) -> list[Path]:
    """The headers beside a data file: name appended first, then ending replaced."""
    named = [data.with_name(data.name + end) for end in (".hdr", ".HDR")]
    named += [data.with_suffix(end) for end in (".hdr", ".HDR")]
    return _files(named)


def _data_of(head: Path) -> list[Path]:
    """The data files beside a header: its own name without ``.hdr``, else that with one of the usual endings."""
    base = head.with_suffix("")
    if base.is_file():
        return [base]
    found = _files([base.with_name(base.name + end) for suffix in DATA_SUFFIXES for end in (suffix, suffix.upper())])
    alone = [path for path in found if not path.with_name(path.name + ".hdr").is_file()]
    return found if len(found) == 1 else alone


def _files(paths: list[Path]) -> list[Path]:
    """Those that are files, each once (a file system may not tell upper from lower case)."""
    found: dict[tuple[int, int], Path] = {}
    for path in paths:
        if path.is_file():
            info = path.stat()
            found.setdefault((info.st_dev, info.st_ino), path)
    return list(found.values())


def read(path: Path, options: ReadOptions) -> Cube:
    """Open an ENVI raster by its header or its data file; no pixel is read.

    Raises:
        FileFormatError: header or data file is missing, damaged, or does not describe a cube.
        AmbiguousError: several headers or data files belong together, or keys contradict each other.
        UsageError: a dataset or an order of axes is asked for; the header states both.
    """
    if options.dataset is not None or options.axes is not None:
        raise UsageError(f"{path.name}: an ENVI file holds one cube and states its axes; leave out dataset and axes")
    try:
        head, data = _pair(path)
        return _open(head, data)
    except CubeError as error:
        raise FileFormatError(f"{path.name}: {error}") from None
    except FileFormatError as error:
        raise type(error)(f"{path.name}: {error}") from None
    except OSError as error:
        raise FileFormatError(f"{path.name}: cannot be read ({error.strerror or error})") from None


def _pair(path: Path) -> tuple[Path, Path]:
    if not path.is_file():
        raise FileFormatError("there is no such file")
    if path.suffix.lower() == ".hdr":
        found = _data_of(path)
        if not found:
            raise FileFormatError(
                f"no data file beside this header; expected {path.stem} or {path.stem}.img, .dat, ..."
            )
        if len(found) > 1:
            raise AmbiguousError(f"several data files may be meant ({', '.join(p.name for p in found)}); name the file")
        return path, found[0]
    heads = _headers_of(path)
    if not heads:
        raise FileFormatError(f"no ENVI header beside this file; expected {path.name}.hdr or {path.stem}.hdr")
    if len(heads) > 1 and heads[0].read_bytes() != heads[1].read_bytes():
        raise AmbiguousError(
            f"two headers that differ ({heads[0].name}, {heads[1].name}); name the header, or delete one"
        )
    return heads[0], path


def _text(head: Path) -> str:
    if head.stat().st_size > _MOST_HEADER:
        raise FileFormatError(f"expected an ENVI header, got a file of {head.stat().st_size} bytes")
    content = head.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _open(head: Path, data: Path) -> Cube:
    fields = header.parse_header(_text(head))
    layout = _layout(fields)
    size = data.stat().st_size
    notes: list[str] = []
    if size < layout.size:
        raise FileFormatError(f"the header describes {layout.size} bytes but {data.name} has {size}; it is cut short")
    if size > layout.size:
        notes.append(f"ENVI data file is {size - layout.size} bytes longer than its header says; the rest is not read")
    attrs = _attrs(fields)
    bands, band_attrs, band_notes = _bands(fields, layout.shape[0])
    grid, grid_attrs, grid_notes = _grid(fields, layout.shape)
    storage = _storage(fields, layout)
    quantity = fields.get(OWN + "quantity", "reflectance" if fields.get("reflectance scale factor") else "dn")
    if quantity not in QUANTITIES:
        raise FileFormatError(f"expected one of {', '.join(QUANTITIES)} as '{OWN}quantity', got {quantity[:40]!r}")
    history = header.from_json(fields, OWN + "history")
    return Cube(
        StoredSource(layout.shape, storage, _fetch(data, layout), files=(data, head)),
        bands,
        grid,
        storage,
        quantity,
        "".join(header.from_json(fields, OWN + "units")),
        {**band_attrs, **grid_attrs, **attrs},
        (*history, *(note for note in (*notes, *band_notes, *grid_notes) if note not in history)),
    )


def _layout(fields: Fields) -> Layout:
    kind = fields.get("file type", "")
    if kind.lower().replace("_", " ") not in ("", "envi", "envi standard", "envi image", "standard"):
        raise FileFormatError(
            f"expected the file type 'ENVI Standard', a cube, got {kind[:40]!r}: not a raster of measurements"
        )
    cols, rows, count = (header.integer(fields, key, least=1) for key in ("samples", "lines", "bands"))
    code = header.integer(fields, "data type", least=0)
    if code in (6, 9):
        raise FileFormatError(f"the data type {code} is complex; a cube holds real numbers: convert it first")
    if code not in header.DTYPES:
        raise FileFormatError(f"expected a data type among {', '.join(map(str, header.DTYPES))}, got {code}")
    order = header.integer(fields, "byte order", least=0, default=0)
    if order > 1:
        raise FileFormatError(f"expected a byte order of 0 or 1, got {order}")
    interleave = fields.get("interleave", "").lower()
    if interleave not in ("bsq", "bil", "bip"):
        raise FileFormatError(f"expected an interleave among bsq, bil, bip, got {interleave[:40]!r}")
    for key in ("file compression", "major frame offsets", "minor frame offsets"):
        if re.search("[1-9]", fields.get(key, "")):
            raise FileFormatError(f"{key!r} = {fields[key][:40]} is not supported; save the file as plain ENVI first")
    dtype = np.dtype(header.DTYPES[code]).newbyteorder(">" if order else "<")
    return Layout(dtype, (count, rows, cols), interleave, header.integer(fields, "header offset", least=0, default=0))


def _fetch(data: Path, layout: Layout) -> Callable[[BandIndex, slice, slice], NDArray[Any]]:
    count, height, width = layout.shape

    def fetch(bands: BandIndex, rows: slice, cols: slice) -> NDArray[Any]:
        index = np.arange(count)[bands if isinstance(bands, slice) else list(bands)]
        row_at, col_at = range(height)[rows], range(width)[cols]
        stored = np.empty((len(index), len(row_at), len(col_at)), layout.dtype.newbyteorder("="))
        if stored.size == 0:
            return stored
        try:
            with data.open("rb", buffering=0) as file:
                if layout.interleave == "bsq":
                    for at, band in enumerate(index.tolist()):
                        first = (band * height + row_at.start) * width
                        stored[at] = _lines(file, layout, first, len(row_at), col_at)
                else:
                    read_row = _bil_row if layout.interleave == "bil" else _bip_row
                    for at, row in enumerate(row_at):
                        stored[:, at] = read_row(file, layout, row, index, col_at)
        except OSError as error:
            raise FileFormatError(f"{data.name}: cannot be read any more ({error.strerror or error})") from None
        return stored

    return fetch


def _bil_row(file: io.FileIO, layout: Layout, row: int, index: NDArray[np.intp], cols: range) -> NDArray[Any]:
    """The bands at `index` of one row, `(c, w)`."""
    count, _, width = layout.shape
    low, span = int(index.min()), int(np.ptp(index)) + 1
    if (span - len(index)) * width * layout.dtype.itemsize <= _GAP * len(index):
        return _lines(file, layout, (row * count + low) * width, span, cols)[index - low]
    return np.concatenate([_lines(file, layout, (row * count + b) * width, 1, cols) for b in index.tolist()])


def _bip_row(file: io.FileIO, layout: Layout, row: int, index: NDArray[np.intp], cols: range) -> NDArray[Any]:
    """The bands at `index` of one row, `(c, w)`."""
    count, _, width = layout.shape
    pixels = _run(file, layout, (row * width + cols.start) * count, len(cols) * count)
    return pixels.reshape(-1, count).T[index]


def _lines(file: io.FileIO, layout: Layout, first: int, lines: int, cols: range) -> NDArray[Any]:
    """The columns `cols` of so many whole lines that follow on each other from number `first`, `(lines, w)`."""
    width = layout.shape[2]
    if (width - len(cols)) * layout.dtype.itemsize <= _GAP:
        return _run(file, layout, first, lines * width).reshape(lines, width)[:, cols.start : cols.stop]
    return np.stack([_run(file, layout, first + at * width + cols.start, len(cols)) for at in range(lines)])


def _run(file: io.FileIO, layout: Layout, first: int, length: int) -> NDArray[Any]:
    """So many numbers that follow on each other in the file from number `first`."""
    run = np.empty(length, layout.dtype)
    rest = memoryview(run.view(np.uint8))  # type: ignore[arg-type]  # numpy arrays are buffers
    file.seek(layout.offset + first * layout.dtype.itemsize)
    while rest:
        done = file.readinto(rest)
        if not done:
            raise OSError("it has become shorter")
        rest = rest[done:]
    return run


def _storage(fields: Fields, layout: Layout) -> Storage:
    count = layout.shape[0]
    gains, offsets = (header.numbers(fields, f"data {word} values", count) for word in ("gain", "offset"))
    scale: Any = 1.0 if gains is None else gains
    offset: Any = 0.0 if offsets is None else offsets
    text = fields.get("reflectance scale factor", "")
    if text:
        factor = header.number(text, "reflectance scale factor")
        if not math.isfinite(factor) or factor == 0:
            raise FileFormatError(f"expected a 'reflectance scale factor' other than 0, got {text}")
        if np.all(scale == 1) and not np.any(offset):
            scale = 1 / factor
        elif np.any(offset) or not np.allclose(scale, 1 / factor, rtol=1e-9, atol=0):
            raise AmbiguousError(
                "'reflectance scale factor' contradicts 'data gain values' or 'data offset values'; delete one"
            )
    return Storage(layout.dtype, scale, offset, _nodata(fields, layout.dtype), layout.interleave)


def _nodata(fields: Fields, dtype: np.dtype[Any]) -> float | int | None:
    text = fields.get("data ignore value", "")
    if not text:
        return None
    if re.fullmatch(r"[+-]?\d{1,20}", text, re.ASCII):
        return int(text) if dtype.kind in "iu" else float(text)
    value = header.number(text, "data ignore value")
    return int(value) if dtype.kind in "iu" and value.is_integer() else value


def _attrs(fields: Fields) -> dict[str, str]:
    """What becomes neither a field of the cube nor wavelengths, by keys in lower_snake_case."""
    attrs: dict[str, str] = {}
    for key, value in fields.items():
        if key in header.NOT_ATTRS or key in ("wavelength", "wavelength units", "fwhm") or key.startswith(OWN):
            continue
        if key == "pixel size" and fields.get("map info"):
            continue  # the grid has it, and follows when it changes
        name = re.sub("[^0-9a-z]+", "_", key).strip("_") or "unnamed"
        while name in attrs:
            name += "_"
        attrs[name] = ",".join(header.text_list(value)) if key == "default bands" else value
    own = header.from_json(fields, OWN + "attrs")  # key, text, key, text, ...
    return attrs | dict(zip(own[::2], own[1::2], strict=False))


def _bands(fields: Fields, count: int) -> tuple[Bands, dict[str, str], list[str]]:
    """Bands; attributes that hold what could not be used; notes."""
    names, attrs = header.band_names(fields, count)
    unit = fields.get("wavelength units", "")
    wavelength, factor, notes = header.wavelengths(fields, names, count)
    fwhm = None if factor is None else header.scaled(header.numbers(fields, "fwhm", count), factor)
    for key, used in (("wavelength", wavelength), ("fwhm", fwhm)):
        if used is None and fields.get(key):
            attrs[key] = ", ".join(re.findall(r"[^,\s]+", fields[key]))
            notes.append(f"ENVI {key} has no usable unit ({unit or 'none'}); kept as an attribute, not used")
    if unit and ("wavelength" in attrs or "fwhm" in attrs):
        attrs["wavelength_units"] = unit
    bbl = header.numbers(fields, "bbl", count)
    good = np.ones(count, dtype=bool) if bbl is None else bbl != 0
    return Bands(count, wavelength, fwhm, good, names), attrs, notes


def _grid(fields: Fields, shape: tuple[int, int, int]) -> tuple[Grid | None, dict[str, str], list[str]]:
    """Grid or None; attributes that hold what could not be used; notes."""
    text, string = fields.get("map info", ""), fields.get("coordinate system string", "")
    own = header.numbers(fields, OWN + "affine", 8)  # six terms, and the rows and columns that they were written for
    exact = None if own is None or tuple(own[6:]) != shape[1:] else Grid(shape[1:], tuple(own[:6].tolist()))
    crs = "".join(header.from_json(fields, OWN + "crs")) or None
    if crs is not None and (to_esri_wkt(crs) or "") != string:
        crs = None  # another program has changed the header since
    if text:
        told = from_envi_map_info(header.text_list(text), string or None)
    elif exact is not None:
        told = from_envi_map_info(["Arbitrary", *"111111"], string or None)
    else:
        return None, {"coordinate_system_string": string} if string else {}, []
    grid = Grid(shape[1:], told.affine, crs or told.crs)
    if exact is not None and (not text or _close(exact, grid)):
        grid = Grid(grid.shape, exact.affine, grid.crs)
    notes = [] if crs else list(told.notes)
    return grid, {"map_info": text} if notes and grid.crs is None else {}, notes


def _close(one: Grid, other: Grid) -> bool:
    """Whether the corners lie within a thousandth of a pixel of each other."""
    rows, cols = one.shape
    for row, col in ((0, 0), (0, cols), (rows, 0), (rows, cols)):
        (x, y), (u, v) = one.xy(row, col), other.xy(row, col)
        if math.hypot(x - u, y - v) > 1e-3 * min(one.gsd_m):
            return False
    return True


READER = Reader(
    name="ENVI",
    about="ENVI raster (header and data file), BSQ, BIL or BIP, with full-precision wavelengths",
    suffixes=(".hdr", *DATA_SUFFIXES),
    sniff=sniff,
    read=read,
)
