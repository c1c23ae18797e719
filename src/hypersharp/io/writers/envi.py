"""ENVI rasters: a data file in any interleave, and its header ``NAME.hdr``, which is put in place last.

The header has full precision. What ENVI has no key for stands in ``hypersharp …`` keys, which other programs pass over
and our reader takes up: history, units, quantity, attributes that do not fit, names with commas or braces, an affine
that `map info` rounds or cannot express, a CRS without an Esri form.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Bands, Cube, Grid
from hypersharp.errors import UsageError, WriteError
from hypersharp.io.contract import WriteOptions, Writer
from hypersharp.io.crs import from_envi_map_info, same_crs, to_envi_map_info
from hypersharp.io.envi_header import (
    DTYPES,
    NOT_ATTRS,
    OWN,
    Value,
    format_header,
    plain_name,
    survives,
    text_list,
    to_json,
)
from hypersharp.io.lengths import NANOMETRES

_CODES = {name: code for code, name in DTYPES.items()}
_BY_NAME = {".bsq": "bsq", ".bil": "bil", ".bip": "bip"}


def names(target: str) -> list[str]:
    """Data file and header for a target; ``NAME.hdr`` as a target has its data in ``NAME.img``."""
    path = Path(target)
    data = path.with_suffix(".img") if path.suffix.lower() == ".hdr" else path
    return [data.name, path.with_suffix(".hdr").name]


def interleave_of(name: str, cube: Cube, options: WriteOptions) -> str:
    """The interleave asked for, else the one that the ending names, else the one that the cube was stored in.

    Raises:
        UsageError: the one asked for is not the one that the ending names.
    """
    named = _BY_NAME.get(Path(name).suffix.lower())
    if options.interleave is not None and named not in (None, options.interleave):
        raise UsageError(f"{name} is named as {named} but {options.interleave} is asked for; use .img or drop one")
    return options.interleave or named or cube.storage.interleave


class EnviSink:
    """An ENVI raster being written. Blocks go straight to the file: memory does not grow with the scene."""

    def __init__(self, folder: Path, name: str, cube: Cube, options: WriteOptions) -> None:
        """Start the data file at its full size, so that a full disk is noticed now.

        Raises:
            UsageError: ENVI has no such data type, or no such compression.
            WriteError: the file cannot be made, or the disk is full.
        """
        dtype = cube.storage.dtype
        if dtype.name not in _CODES:
            raise UsageError(
                f"ENVI cannot hold {dtype.name}; use --dtype with one of {', '.join(_CODES)}"
                + (" (int16 holds every int8)" if dtype.name == "int8" else "")
            )
        if options.compress != "none" or options.cog:
            raise UsageError(f"{name}: ENVI files are neither compressed nor COG; leave that out, or write a GeoTIFF")
        self.shape = cube.shape
        self.dtype = dtype.newbyteorder("<")
        self.interleave = interleave_of(name, cube, options)
        self.names = names(name)
        self._header = folder / self.names[1]
        self._text = format_header(header_fields(cube, self.interleave))
        size = int(np.prod(self.shape, dtype=object)) * dtype.itemsize
        try:
            self._file = (folder / self.names[0]).open("w+b", buffering=0)
        except OSError as error:
            raise WriteError(f"{self.names[0]}: cannot be created ({error.strerror})") from None
        try:
            _reserve(self._file.fileno(), size)
        except OSError as error:
            self._file.close()
            raise WriteError(f"{self.names[0]}: no room for {size} bytes ({error.strerror})") from None

    def write(self, stored: NDArray[Any], row: int, col: int) -> None:
        """Store a block `(C, h, w)` of stored numbers whose first pixel is `(row, col)`.

        Raises:
            WriteError: the disk is full, or fails.
        """
        count, rows, cols = self.shape
        height, width = stored.shape[1:]
        assert stored.dtype == self.dtype, "a block is not of the cube's type"
        assert stored.shape[0] == count, "a block has not all bands"
        assert 0 <= row <= rows - height, "a block reaches out of the rows"
        assert 0 <= col <= cols - width, "a block reaches out of the columns"
        try:
            if self.interleave == "bsq":
                for band in range(count):
                    self._lines((band * rows + row) * cols + col, cols, stored[band])
            elif self.interleave == "bil":
                for at in range(height):
                    self._lines((row + at) * count * cols + col, cols, stored[:, at])
            else:
                for at in range(height):
                    self._lines(((row + at) * cols + col) * count, count, stored[:, at].T)
        except OSError as error:
            raise WriteError(f"{self.names[0]}: cannot be written ({error.strerror})") from None

    def _lines(self, start: int, step: int, lines: NDArray[Any]) -> None:
        """Write `(n, w)` numbers, each line `step` numbers after the one before, the first from number `start`."""
        content = np.ascontiguousarray(lines, self.dtype).data.cast("B")
        size = self.dtype.itemsize
        run = len(content) if lines.shape[1] == step else lines.shape[1] * size
        for at in range(0, len(content), run):
            self._file.seek(start * size)
            rest = content[at : at + run]
            while rest:
                rest = rest[self._file.write(rest) :]
            start += step

    def finish(self) -> list[str]:
        """Close the data file and write the header; data file first, header last.

        Raises:
            WriteError: the disk is full, or fails.
        """
        try:
            self._file.close()
            self._header.write_text(self._text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise WriteError(f"{self.names[0]}: cannot be finished ({error.strerror})") from None
        return self.names

    def abandon(self) -> None:
        """Close the data file."""
        with contextlib.suppress(OSError):  # the failure that led here is the one to be told
            self._file.close()


def _reserve(descriptor: int, size: int) -> None:
    """Give a file its size, and room on the disk where the system can reserve it."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
    os.ftruncate(descriptor, size)


def header_fields(cube: Cube, interleave: str) -> dict[str, Value]:
    """Every line of the header of a cube, in order."""
    count, rows, cols = cube.shape
    plain, own = _attrs(cube)
    fields: dict[str, Value] = {"description": plain.pop("description")} if "description" in plain else {}
    fields |= {"samples": cols, "lines": rows, "bands": count, "header offset": 0, "file type": "ENVI Standard"}
    fields |= {"data type": _CODES[cube.storage.dtype.name], "interleave": interleave, "byte order": 0}
    if cube.grid is not None:
        fields |= _place(cube.grid)
    fields |= plain | _spectral(cube.bands)
    if cube.storage.nodata is not None:
        value = cube.storage.nodata
        whole = cube.storage.dtype.kind in "iu" and float(value).is_integer()
        fields["data ignore value"] = int(value) if whole else value
    fields |= _scaling(cube)
    fields[OWN + "quantity"] = cube.quantity
    if cube.units:
        fields[OWN + "units"] = to_json(cube.units)
    if own:
        fields[OWN + "attrs"] = to_json([part for pair in own.items() for part in pair])
    if cube.history:
        fields[OWN + "history"] = to_json(list(cube.history))
    return fields


def _spectral(bands: Bands) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    if bands.wavelength_nm is not None or bands.fwhm_nm is not None:
        fields["wavelength units"] = "Nanometers"
    if bands.wavelength_nm is not None:
        fields["wavelength"] = bands.wavelength_nm
    if bands.fwhm_nm is not None:
        fields["fwhm"] = bands.fwhm_nm
    if not bands.good.all():
        fields["bbl"] = bands.good.astype(int)
    if bands.name is not None:
        shown = [plain_name(name) for name in bands.name]
        fields["band names"] = shown
        if tuple(text_list(",".join(shown))) != bands.name:
            fields[OWN + "band names"] = to_json(list(bands.name))
    return fields


def _scaling(cube: Cube) -> dict[str, Value]:
    """Gains and offsets; and the reflectance scale factor where it says the same (our reader takes them as one)."""
    scale, offset, count = cube.storage.scale, cube.storage.offset, cube.shape[0]
    fields: dict[str, Value] = {}
    if cube.storage.is_scaled:
        fields["data gain values"] = np.broadcast_to(scale, count)
        if np.any(offset):
            fields["data offset values"] = np.broadcast_to(offset, count)
    plain = cube.quantity == "reflectance" and cube.units in ("", "1", "reflectance") and not np.any(offset)
    if plain and isinstance(scale, float) and math.isfinite(1 / scale):
        fields["reflectance scale factor"] = 1 / scale
    return fields


def _place(grid: Grid) -> dict[str, Value]:
    place = to_envi_map_info(grid)
    fields: dict[str, Value] = {}
    told = None
    if place.map_info is not None:
        fields["map info"] = ", ".join(place.map_info)
        told = from_envi_map_info(place.map_info, place.coordinate_system_string)
    if place.coordinate_system_string is not None:
        fields["coordinate system string"] = place.coordinate_system_string
    if told is None or told.affine != grid.affine:
        fields[OWN + "affine"] = [*grid.affine, *(float(size) for size in grid.shape)]
    if grid.crs is not None and (told is None or not same_crs(told.crs, grid.crs)):
        fields[OWN + "crs"] = to_json(grid.crs)
    return fields


def _attrs(cube: Cube) -> tuple[dict[str, Value], dict[str, str]]:
    """Attributes as lines of the header, and those that must go into a key of our own to come back as they are."""
    plain: dict[str, Value] = {}
    own: dict[str, str] = {}
    for name, text in cube.attrs.items():
        key = name.replace("_", " ")
        fits = re.fullmatch("[a-z0-9]+(_[a-z0-9]+)*", name) and key not in NOT_ATTRS and survives(key, text)
        if key in ("wavelength", "wavelength units", "fwhm"):
            fits = fits and _foreign_unit(cube)
        elif key == "default bands":
            fits = fits and _is_bands(text, cube.shape[0])
        if fits and not key.startswith(OWN) and not (key == "pixel size" and cube.grid is not None):
            plain[key] = text
        else:
            own[name] = text
    return plain, own


def _foreign_unit(cube: Cube) -> bool:
    """Whether the cube has wavelengths in its attributes only, in a unit that our reader leaves there."""
    unit = cube.attrs.get("wavelength_units", "").lower()
    return cube.bands.wavelength_nm is None and cube.bands.fwhm_nm is None and unit not in (*NANOMETRES, "", "unknown")


def _is_bands(text: str, count: int) -> bool:
    parts = text.split(",")
    return all(re.fullmatch("[1-9][0-9]{0,8}", part) and int(part) <= count for part in parts)


def lost(cube: Cube, options: WriteOptions) -> list[str]:
    """What other programs will not see; read by hypersharp, all of it comes back."""
    lines: list[str] = []
    if cube.bands.name is not None and any(name != plain_name(name) for name in cube.bands.name):
        lines.append("commas, semicolons, braces in band names and blanks around them are replaced for other programs")
    if cube.grid is not None:
        place = to_envi_map_info(cube.grid)
        if place.map_info is None:
            lines.append("map info cannot hold a sheared or unevenly turned grid: other programs see no position")
        if cube.grid.crs is not None and place.coordinate_system_string is None:
            lines.append("the coordinate reference system has no Esri form; other programs see none")
    return lines


WRITER = Writer(
    name="ENVI",
    about="ENVI raster: bare data in any interleave and a text header, with full-precision wavelengths",
    suffixes=(".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".hdr"),
    block=(64, 64),
    names=names,
    create=EnviSink,
    lost=lost,
    beside=lambda target: [f"{names(target)[0]}{end}" for end in (".hdr", ".HDR", ".aux.xml")],
)
