"""HDF5 files, netCDF-4 among them: one dataset of three axes, with what its attributes and neighbours say of it.

Windows are read as hyperslabs through a file opened for each of them, so that nothing stays open between reads.
Files written by hypersharp state everything; of others the names in use are understood (CF, GDAL, EMIT).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube
from hypersharp.cube.cube import QUANTITIES
from hypersharp.errors import FileFormatError
from hypersharp.io.about import (
    FWHMS,
    GOOD,
    NAMES,
    WAVELENGTHS,
    About,
    Found,
    add_bands,
    build,
    first,
    lines_of,
    number,
    quantity_of,
    snake,
    text_of,
)
from hypersharp.io.arrays import (
    Entry,
    Index3,
    axes_from_words,
    choose,
    decide_axes,
    guarded,
    kind_of,
    listed,
    stored_type,
)
from hypersharp.io.contract import Reader, ReadOptions

MAGIC = b"\x89HDF\r\n\x1a\n"
_SMALL = 1 << 17  # longest list that is read on opening
_WKT2 = ("PROJCRS", "GEOGCRS", "GEODCRS", "BOUNDCRS", "COMPOUNDCRS", "DERIVEDPROJCRS", "ENGCRS")
# Attributes by which libraries link things, and those that are understood and need not be carried besides.
_LINKS = {"CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "DIMENSION_LABELS", "_NCProperties"}
_USED = {
    *("axes", "layout", "history", "hypersharp_attrs", "scale_factor", "add_offset", "nodata", "fill_value"),
    *("units", "quantity", "wavelength_units", "grid_mapping", "missing_value"),
    *WAVELENGTHS,
    *FWHMS,
    *GOOD,
    *NAMES,
}


def _sniff(path: Path) -> bool:
    return has_magic(path) and not _head(path).startswith(b"MATLAB 7.3")


def has_magic(path: Path) -> bool:
    """Whether the file is HDF5, with or without a user block before it; never raises."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            offset = 0
            while offset < min(size, 1 << 20):
                file.seek(offset)
                if file.read(8) == MAGIC:
                    return True
                offset = max(512, offset * 2)
    except OSError:
        pass
    return False


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError:
        return b""


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading.

    Raises:
        FileFormatError: it is damaged, cut off, or not HDF5.
    """
    with guarded(path), h5py.File(path, "r") as file:
        yield file


@dataclass(frozen=True)
class Hyperslab:
    """A dataset of three axes, read by hyperslabs."""

    path: Path
    name: str

    def __call__(self, index: Index3) -> NDArray[Any]:
        """The part with the given slices, in file order."""
        with opened(self.path) as file:
            part: NDArray[Any] = file[self.name][index]
            return part


def entries_of(file: h5py.File) -> list[Entry]:
    """Every dataset of a file, by its full name. Links to other places are not followed."""
    found: list[Entry] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            try:
                kind = kind_of(item.dtype)
            except TypeError:  # a type that NumPy does not know
                kind = "an unknown type"
            found.append(Entry(name, tuple(item.shape or ()), kind))

    file.visititems(visit)
    return found


def _read(path: Path, options: ReadOptions) -> Cube:
    with opened(path) as file:
        entries = entries_of(file)
        if options.dataset is None:
            _refuse_companion(path, file, entries)
        entry = choose(path, entries, options.dataset)
        neighbours = Neighbours(file, entry, entries)
        own = _own_axes(file[entry.name], neighbours)
        lines = first(WAVELENGTHS, neighbours.small)
        count = None if lines is None else lines.values.size
        axes, note = decide_axes(path, entry.shape, stated=options.axes, own=own, wavelengths=count)
        about = _about(neighbours)
        add_bands(about, neighbours.small, entry.shape[axes.index("c")])
        if options.axes is not None or "hypersharp_attrs" not in neighbours.dataset.attrs:
            about.attrs["axes"] = note
        dtype = stored_type(path, entry, file[entry.name].dtype)
        return build(Hyperslab(path, entry.name), entry.shape, axes, dtype=dtype, about=about)


def _refuse_companion(path: Path, file: h5py.File, entries: list[Entry]) -> None:
    """Products of EMIT that hold geometry or masks must not pass for a cube of spectra.

    Raises:
        FileFormatError: no dataset of the product is called radiance or reflectance.
    """
    cubes = [entry for entry in entries if entry.is_cube]
    names = " ".join(entry.name.lower() for entry in cubes)
    instrument = text_of(_scalar(file.attrs.get("instrument", b"")))
    if instrument.upper() != "EMIT" or not cubes or "radiance" in names or "reflectance" in names:
        return
    title = text_of(_scalar(file.attrs.get("title", b"an EMIT product")))
    raise FileFormatError(
        f"{path.name}: {title}: holds no radiance or reflectance, only {listed(cubes)}; choose one with --dataset"
    )


@dataclass
class Neighbours:
    """Where the facts about one dataset are looked up: its attributes, then the groups around it."""

    file: h5py.File
    entry: Entry
    entries: list[Entry]
    dataset: Any = field(init=False)
    parents: list[str] = field(init=False)

    def __post_init__(self) -> None:
        """List the groups around the dataset, innermost first."""
        self.dataset = self.file[self.entry.name]
        parts = self.entry.name.split("/")[:-1]
        self.parents = ["/".join(parts[:n]) for n in range(len(parts), -1, -1)]

    def attribute(self, *names: str, around: bool = True) -> Any:
        """The first attribute with one of the names, of the dataset or (`around`) of a group; None if there is none."""
        holders = [self.dataset, *(self.file[parent or "/"] for parent in self.parents if around)]
        for holder in holders:
            for name in names:
                if name in holder.attrs:
                    return _scalar(holder.attrs[name])
        return None

    def text(self, *names: str, around: bool = True) -> str:
        """The same as text; empty if there is none."""
        value = self.attribute(*names, around=around)
        return "" if value is None else text_of(value)

    def small(self, name: str) -> Found | None:
        """A short list called `name`: an attribute, or a dataset in a group around or alone of its name."""
        unit = self.text(f"{name}_units", "wavelength_units")
        value = self.attribute(name)
        if isinstance(value, np.ndarray | np.number):
            return Found(np.atleast_1d(value), unit)
        at = [entry for entry in self.entries if entry.name.rsplit("/", 1)[-1].lower() == name]
        at = [entry for entry in at if len(entry.shape) == 1 and 0 < entry.shape[0] <= _SMALL]
        near = [entry for parent in self.parents for entry in at if entry.name.rpartition("/")[0] == parent]
        if not near and len(at) != 1:
            return None
        item = self.file[(near or at)[0].name]
        return Found(np.asarray(item[()]), text_of(_scalar(item.attrs.get("units", unit))))


def _scalar(value: Any) -> Any:
    """An attribute of one value as that value."""
    return value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value


def _own_axes(dataset: Any, neighbours: Neighbours) -> str | None:
    """Axis order as the file states it: an attribute `axes` or `layout`, or names of the dimensions."""
    for value in (neighbours.attribute("axes", around=False), neighbours.attribute("layout")):
        if value is None:
            continue
        words = [text_of(word) for word in value] if isinstance(value, np.ndarray) else text_of(value).split(",")
        order = axes_from_words(list(words[0]) if len(words) == 1 else words)
        if order is not None:
            return order
    words = []
    for dim in dataset.dims:
        name = dim.label or (str(dim[0].name) if len(dim) else "")
        words.append(name.rsplit("/", 1)[-1])
    return axes_from_words(words)


def _about(near: Neighbours) -> About:
    units = near.text("units")
    own = near.text("quantity")
    name = near.entry.name.rsplit("/", 1)[-1]
    marker = near.attribute("nodata", "_FillValue", "missing_value", around=False)
    affine, crs = _georeference(near)
    about = About(
        scale=_factors(near, "scale_factor", 1.0),
        offset=_factors(near, "add_offset", 0.0),
        nodata=number(marker),
        quantity=own if own in QUANTITIES else quantity_of(name, near.text("long_name", around=False), units),
        units=units,
        affine=affine,
        crs=crs,
        history=lines_of(near.text("history")),
    )
    for parent in reversed(near.parents):
        _carry(about.attrs, near.file[parent or "/"].attrs)
    _carry(about.attrs, near.dataset.attrs)
    if crs is not None:
        about.attrs = {key: text for key, text in about.attrs.items() if key not in ("crs_wkt", "spatial_ref")}
    if affine is not None:
        about.attrs.pop("geo_transform", None)
    about.attrs |= _kept(near.text("hypersharp_attrs", around=False))
    if own and own not in QUANTITIES:
        about.attrs["quantity"] = own
    return about


def _factors(near: Neighbours, name: str, default: float) -> Any:
    """A scale or offset: an attribute of the dataset, or a list of one value a band right beside it."""
    value = near.attribute(name, around=False)
    beside = f"{near.parents[0]}/{name}".strip("/")
    if value is None and any(entry.name == beside and len(entry.shape) == 1 for entry in near.entries):
        value = near.file[beside][()]
    return default if value is None else np.asarray(value, dtype=np.float64)


def _kept(text: str) -> dict[str, str]:
    """The attributes that our own writer kept as JSON text."""
    kept = json.loads(text) if text else {}
    return {text_of(key): text_of(value) for key, value in dict(kept).items()}


def _carry(attrs: dict[str, str], held: Any) -> None:
    """Take along the attributes that mean nothing to us, as text."""
    for key in held:
        name = snake(text_of(key))
        if not name or name in _USED or key in _LINKS or key.startswith("_Netcdf4"):
            continue
        try:
            value = _scalar(held[key])
        except TypeError:  # a type that NumPy does not know: neither text nor numbers
            continue
        if isinstance(value, np.ndarray):
            if value.dtype.kind in "iufb" and value.size <= 64:
                attrs[name] = json.dumps(value.tolist())
        elif isinstance(value, str | bytes):
            attrs[name] = text_of(value)
        elif isinstance(value, np.generic) and value.dtype.kind in "iufb":
            attrs[name] = str(value.item())


def _georeference(near: Neighbours) -> tuple[list[float] | None, str | None]:
    """Affine and CRS from the dataset or from the grid mapping that it names.

    Never from the file's own attributes: in swath products (EMIT) those are about the map that a look-up table makes.
    """
    holders = [near.dataset]
    for name in (near.text("grid_mapping", around=False), "spatial_ref"):
        for parent in near.parents:
            full = f"{parent}/{name}".strip("/")
            if name and any(entry.name == full for entry in near.entries):
                holders.append(near.file[full])
    for holder in holders:
        if "GeoTransform" not in holder.attrs:
            continue
        value = _scalar(holder.attrs["GeoTransform"])
        parts = text_of(value).replace(",", " ").split() if isinstance(value, str | bytes) else list(value)
        c, a, b, f, d, e = (float(part) for part in parts)
        text = next((text_of(holder.attrs[key]) for key in ("crs_wkt", "spatial_ref") if key in holder.attrs), "")
        return [a, b, c, d, e, f], _wkt2(text) if text else None
    return None, None


def _wkt2(text: str) -> str:
    if text.lstrip().startswith(_WKT2):
        return text
    from hypersharp.io.crs import to_wkt2  # brings rasterio, which few HDF5 files need

    return to_wkt2(text)


READER = Reader(
    name="HDF5",
    about="one dataset of three axes of an HDF5 or netCDF-4 file, by name",
    suffixes=(".h5", ".hdf5", ".he5", ".nc"),
    sniff=_sniff,
    read=_read,
)
