"""Opening a file as a lazy cube: find the reader, apply what the user says about the file."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from hypersharp._folder import load_folder
from hypersharp.cube import Bands, Cube, Storage, StoredSource
from hypersharp.cube.cube import QUANTITIES
from hypersharp.errors import AmbiguousError, FileFormatError, UsageError
from hypersharp.io.contract import Reader, ReadOptions


@cache
def list_readers() -> dict[str, Reader]:
    """Every reader by the name of its file, plug-ins included."""
    return cast(dict[str, Reader], load_folder("hypersharp.io.readers", "READER", group="hypersharp.readers"))


def open_cube(
    path: str | os.PathLike[str],
    *,
    dataset: str | None = None,
    axes: str | None = None,
    wavelengths: str | os.PathLike[str] | None = None,
    quantity: str | None = None,
    nodata: float | str | None = None,
    reader: str | None = None,
) -> Cube:
    """Open a file as a lazy cube in physical units; no pixel is read.

    Args:
        path: the file (for ENVI: the data file or its header).
        dataset: name of the dataset or variable, for files that can hold several.
        axes: order of a bare array's axes, a permutation of ``"chw"``.
        wavelengths: text file with one wavelength in nm per line, a second column being the FWHM in nm.
        quantity: ``"radiance"``, ``"reflectance"`` or ``"dn"``, in place of what the file says.
        nodata: stored number that marks invalid pixels in place of the file's own; ``"none"`` for no marker.
        reader: name of the reader; None to find it by the file's name and first bytes.

    Raises:
        FileFormatError: the file is missing, empty, damaged or of no known format.
        AmbiguousError: the file holds several cubes; the message names them.
        UsageError: an argument does not fit the file.
    """
    where = Path(path)
    cube = _reader_of(where, reader).read(where, ReadOptions(dataset=dataset, axes=axes))
    if isinstance(cube.values, StoredSource):
        files = cube.values.files or (where,)
        cube = replace(cube, values=replace(cube.values, files=files))
    if nodata is not None:
        cube = _with_nodata(cube, nodata)
    if wavelengths is not None:
        cube = replace(cube, bands=_with_wavelengths(cube.bands, Path(wavelengths)))
    if quantity is not None:
        if quantity not in QUANTITIES:
            raise UsageError(f"quantity must be one of {', '.join(QUANTITIES)}, got {quantity!r}")
        cube = replace(cube, quantity=quantity)
    return cube


def reader_of(path: str | os.PathLike[str]) -> Reader:
    """The reader that would open a file, found by its name and first bytes.

    Raises:
        FileFormatError: the file is missing, empty or of no known format.
    """
    return _reader_of(Path(path), None)


def _reader_of(path: Path, name: str | None) -> Reader:
    try:
        _check_file(path)
    except OSError as error:
        raise FileFormatError(f"{str(path)!r} cannot be read ({error.strerror or error}); check the path") from None
    if name is not None:
        if name not in list_readers():
            raise UsageError(f"expected a reader out of {', '.join(list_readers())}, got {name!r}")
        return list_readers()[name]
    fitting = {key: entry for key, entry in list_readers().items() if entry.sniff(path)}
    if len(fitting) > 1:
        raise AmbiguousError(f"{path.name}: readable as {', '.join(fitting)}; choose one with the option reader")
    if not fitting:
        known = ", ".join(sorted({entry.name for entry in list_readers().values()}))
        raise FileFormatError(
            f"{path.name}: not a file of a known format ({known}); an ENVI data file needs its .hdr beside it"
        )
    return next(iter(fitting.values()))


def _check_file(path: Path) -> None:
    if not path.exists():
        raise FileFormatError(f"expected an existing file, got {str(path)!r}; check the path")
    if path.is_dir():
        raise FileFormatError(f"expected a file, got the folder {str(path)!r}; name the file inside it")
    if not os.access(path, os.R_OK):
        raise FileFormatError(f"{path.name}: no permission to read it; check the file's mode")
    if path.stat().st_size == 0:
        raise FileFormatError(f"{path.name}: the file is empty")


def _with_nodata(cube: Cube, nodata: float | str) -> Cube:
    if not isinstance(cube.values, StoredSource):
        raise UsageError("a no-data marker can only be given for a file or an array")
    storage = replace_nodata(cube.storage, _marker(nodata, cube.storage.dtype))
    return replace(cube, storage=storage, values=replace(cube.values, storage=storage))


def _marker(nodata: float | str, dtype: np.dtype[Any]) -> float | int | None:
    """A no-data marker as a number of the type; None for ``"none"``."""
    if isinstance(nodata, str) and nodata.strip().lower() == "none":
        return None
    try:
        number: float | int = float(nodata)
    except (ValueError, OverflowError):
        raise UsageError(f"nodata must be a number or none, got {nodata!r}") from None
    if dtype.kind == "f":
        return number
    limits = np.iinfo(dtype)
    if float(number).is_integer():
        with suppress(ValueError):
            number = int(nodata)  # exact where a float is not
        number = int(number)
        if limits.min <= number <= limits.max:
            return number
    raise UsageError(f"nodata must be a number that {dtype} can hold, got {nodata}")


def replace_nodata(storage: Storage, nodata: float | int | None) -> Storage:
    """The same storage with another no-data marker."""
    return Storage(storage.dtype, storage.scale, storage.offset, nodata, storage.interleave)


def _with_wavelengths(bands: Bands, path: Path) -> Bands:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path.name}: expected a readable text file of wavelengths ({error})") from None
    rows = [line.replace(",", " ").replace(";", " ").split() for line in lines if line.split("#")[0].strip()]
    try:
        table = [[float(part) for part in row] for row in rows]
    except ValueError:
        raise FileFormatError(
            f"{path.name}: expected numbers in nm, one band a line (a second column is the FWHM)"
        ) from None
    widths = {len(row) for row in table}
    if len(table) != bands.count or not widths <= {1, 2} or len(widths) > 1:
        raise UsageError(
            f"{path.name}: expected {bands.count} lines of one or two numbers, one for each band, got {len(table)}"
        )
    numbers = np.array(table, dtype=np.float64)
    if not np.isfinite(numbers).all() or (numbers <= 0).any():
        raise UsageError(f"{path.name}: wavelengths must be finite and positive, in nm")
    if numbers[:, 0].max() < 100:
        raise UsageError(
            f"{path.name}: wavelengths must be in nm; {numbers[0, 0]:g} to {numbers[-1, 0]:g} look like micrometres"
        )
    fwhm = numbers[:, 1] if numbers.shape[1] == 2 else bands.fwhm_nm
    return replace(bands, wavelength_nm=numbers[:, 0], fwhm_nm=fwhm)
