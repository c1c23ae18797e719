"""GeoTIFF, BigTIFF and cloud-optimised GeoTIFF, read window by window with rasterio.

The file is opened anew for each window (3 ms with 224 bands): no handle and no cache is held between reads, and any
number of threads may read.

Decisions, where the format leaves things open:

- Metadata in an `.aux.xml` or a world file beside the image counts, as it does for GDAL. Nothing is written there.
- A band flagged as alpha that has neither wavelength nor description is the mask of the others, not a band. Masks in
  the file, or beside it (`.msk`), are obeyed; so are no-data markers that differ between bands.
- No CRS and no affine (or the identity) is no grid. Ground control points and RPCs are not used; the history says so.
- `quantity` comes from our own tag only. Colours given to three bands become `default_bands`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from hypersharp.cube import Cube, Grid, Storage, StoredSource, same_nodata
from hypersharp.cube.cube import QUANTITIES
from hypersharp.cube.source import BandIndex
from hypersharp.errors import AmbiguousError, CubeError, FileFormatError, UsageError
from hypersharp.io import geotiff_tags as tags
from hypersharp.io.contract import Reader, ReadOptions
from hypersharp.io.crs import to_wkt2
from hypersharp.io.gdal import interleave, reading
from hypersharp.io.tiff import MAGIC, check_whole

_STRUCTURE = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "COLOR_PROFILE", "RPC"}
_COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def sniff(path: Path) -> bool:
    """Whether the file begins as TIFF files do; never raises."""
    try:
        with path.open("rb") as file:
            return file.read(4) in MAGIC
    except OSError:
        return False


def read(path: Path, options: ReadOptions) -> Cube:
    """Open a GeoTIFF; no pixel is read.

    Args:
        path: the file.
        options: `dataset` is the number of an image, from 1, in a file that holds several.

    Raises:
        FileFormatError: the file is damaged, cut short, or holds no real numbers.
        AmbiguousError: it holds several images, or contradicts itself about its wavelengths.
        UsageError: an order of axes is asked for, or an image that the file does not hold.
    """
    if options.axes is not None:
        raise UsageError(f"{path.name}: a GeoTIFF states its axes; leave out axes")
    with _named(path):
        check_whole(path, holes=True)
    with reading(path, path) as dataset:
        pages = dataset.tags(ns="SUBDATASETS") if dataset.subdatasets else {}
    target = _target(path, pages, options.dataset)
    with reading(path, target) as dataset, _named(path):
        return _cube(dataset, path, target)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name before what is found wrong with it."""
    try:
        yield
    except CubeError as error:
        raise FileFormatError(f"{path.name}: {error}") from None
    except FileFormatError as error:
        raise type(error)(f"{path.name}: {error}") from None
    except OSError as error:
        raise FileFormatError(f"{path.name}: cannot be read ({error.strerror or error})") from None


def _target(path: Path, pages: tags.Tags, wanted: str | None) -> Path | str:
    """What GDAL is to open."""
    count = len(pages) // 2
    if wanted is None and not count:
        return path
    if wanted is None:
        listed = [f"{n}: {pages[f'SUBDATASET_{n}_DESC']}" for n in range(1, min(count, 6) + 1)]
        raise AmbiguousError(
            f"{path.name}: holds {count} images ({', '.join(listed)}{', ...' if count > 6 else ''});"
            f" choose one with dataset, 1 to {count}"
        )
    if not count:
        raise UsageError(f"{path.name}: holds one image; leave out dataset")
    if wanted not in {str(n) for n in range(1, count + 1)}:
        raise UsageError(f"{path.name}: expected dataset to be a number from 1 to {count}, got {wanted!r}")
    return pages[f"SUBDATASET_{wanted}_NAME"]


def _cube(dataset: Any, path: Path, target: Path | str) -> Cube:
    dtype = _checked_dtype(dataset)
    index, notes = _spectral(dataset)
    own = dataset.tags()
    descriptions = [text or "" for text in _of(dataset.descriptions, index)]
    pairs = zip(index, descriptions, strict=True)
    bands, band_attrs, band_notes = tags.bands_of(
        [tags.BandTags(dataset.tags(n), dataset.tags(n, ns="IMAGERY"), text) for n, text in pairs],
        ours=tags.QUANTITY in own,
    )
    grid, grid_notes = _grid(dataset)
    quantity = own.get(tags.QUANTITY, "dn")
    if quantity not in QUANTITIES:
        raise FileFormatError(f"expected one of {', '.join(QUANTITIES)} in the tag {tags.QUANTITY}, got {quantity!r}")
    units, unit_attrs = _units(dataset, index)
    storage, fetch_mask = _storage(dataset, index, dtype, own.get(tags.NODATA))
    window = _Windows(path, target, tuple(index), _looks(dataset))
    source = StoredSource(
        (len(index), dataset.height, dataset.width),
        storage,
        window.stored,
        {"none": None, "shared": window.shared_mask, "own": window.own_masks}[fetch_mask],
        (path,),
    )
    attrs = _colours(dataset, index) | unit_attrs | band_attrs | tags.attrs_of(_all_tags(dataset), descriptions)
    history = (*tags.history_of(own), *notes, *band_notes, *grid_notes)
    return Cube(source, bands, grid, storage, quantity, units, attrs, history)


def _of(values: Sequence[Any], index: Sequence[int]) -> list[Any]:
    """Those of the bands `index`, which count from 1. The properties of a data set are costly: take each once."""
    return [values[n - 1] for n in index]


def _checked_dtype(dataset: Any) -> np.dtype[Any]:
    names = sorted(set(dataset.dtypes))
    if len(names) > 1:
        raise FileFormatError(f"expected bands of one data type, got {', '.join(names)}; convert them to one first")
    if names[0].startswith("complex"):
        raise FileFormatError(f"expected real numbers, got {names[0]}; convert them (magnitude, say) first")
    if ColorInterp.palette in dataset.colorinterp:
        raise FileFormatError("expected measurements, got an image of colour-table indices; convert it first")
    return np.dtype(str(names[0]))


def _spectral(dataset: Any) -> tuple[list[int], list[str]]:
    """Numbers of the bands, from 1, without the alpha band that is their mask; and notes."""
    alpha = [
        n
        for n, colour, text in zip(dataset.indexes, dataset.colorinterp, dataset.descriptions, strict=True)
        if colour == ColorInterp.alpha and not text and "wavelength" not in {key.lower() for key in dataset.tags(n)}
    ]
    index = [n for n in dataset.indexes if n not in alpha]
    if not index:
        return list(dataset.indexes), []
    return index, [f"GeoTIFF band {n} is flagged as alpha; taken as the mask of the others" for n in alpha]


def _grid(dataset: Any) -> tuple[Grid | None, list[str]]:
    affine = tuple(dataset.transform)[:6]
    if affine != _IDENTITY or dataset.crs is not None:
        crs = None if dataset.crs is None else to_wkt2(dataset.crs.to_wkt(version="WKT2_2019"))
        return Grid((dataset.height, dataset.width), affine, crs), []
    points, _ = dataset.gcps
    notes = [f"GeoTIFF has {len(points)} ground control points instead of a grid; not used"] if points else []
    return None, notes + (["GeoTIFF has RPCs instead of a grid; not used"] if dataset.rpcs else [])


def _units(dataset: Any, index: Sequence[int]) -> tuple[str, dict[str, str]]:
    """The unit that all bands share, or an attribute with all of them."""
    units = [unit or "" for unit in _of(dataset.units, index)]
    if len(set(units)) == 1:
        return units[0], {}
    return "", {"bands_units": json.dumps(units)}


def _storage(dataset: Any, index: Sequence[int], dtype: np.dtype[Any], own: str | None) -> tuple[Storage, str]:
    """How the numbers are stored, and which masks the file has besides: ``"none"``, ``"shared"`` or ``"own"``."""
    flags = {flag for flags in _of(dataset.mask_flag_enums, index) for flag in flags}
    markers = _of(dataset.nodatavals, index)
    marker = markers[0] if markers[0] is not None or own is None else _own_marker(own)
    same = all(same_nodata(one, markers[0]) for one in markers)
    storage = Storage(
        dtype,
        np.array(_of(dataset.scales, index), dtype=np.float64),
        np.array(_of(dataset.offsets, index), dtype=np.float64),
        _held(marker, dtype) if same else None,
        "bip" if interleave(dataset) == "pixel" else "bsq",
    )
    return storage, "own" if not same else "shared" if MaskFlags.per_dataset in flags else "none"


def _own_marker(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise FileFormatError(f"expected a whole number in the tag {tags.NODATA}, got {text!r}; delete it") from None


def _held(marker: float | int | None, dtype: np.dtype[Any]) -> float | int | None:
    """The marker as a number of the type; None where no number of that type can be it."""
    if marker is None or dtype.kind == "f":
        return marker
    info = np.iinfo(dtype)
    if not np.isfinite(marker) or marker != int(marker):
        return None
    number = info.max if marker == float(info.max) else int(marker)  # GDAL gives 64-bit integers as floats
    return number if info.min <= number <= info.max else None


def _colours(dataset: Any, index: Sequence[int]) -> dict[str, str]:
    """Numbers of the bands shown as red, green and blue, where each colour is given to one."""
    given = _of(dataset.colorinterp, index)
    if any(given.count(colour) != 1 for colour in _COLOURS):
        return {}
    return {"default_bands": ",".join(str(given.index(colour) + 1) for colour in _COLOURS)}


def _all_tags(dataset: Any) -> dict[str, str]:
    """The tags of the whole file; those of a domain with its name before them."""
    found = dict(dataset.tags())
    for domain in dataset.tag_namespaces():
        if domain not in _STRUCTURE and not domain.startswith("xml:"):
            found |= {f"{domain}_{key}": text for key, text in dataset.tags(ns=domain).items()}
    return found


@dataclass(frozen=True)
class _Windows:
    """Windows of the file, which is opened for each.

    Attributes:
        path: the file.
        target: what GDAL opens.
        index: numbers of the spectral bands, from 1.
        looks: type, rows and columns as the file was opened first.
    """

    path: Path
    target: Path | str
    index: tuple[int, ...]
    looks: tuple[str, int, int]

    def stored(self, bands: BandIndex, rows: slice, cols: slice) -> NDArray[Any]:
        """Stored numbers `(c, h, w)`."""
        with self._opened() as dataset:
            stored: NDArray[Any] = dataset.read(self._chosen(bands), window=_window(dataset, rows, cols))
            return stored

    def shared_mask(self, bands: BandIndex, rows: slice, cols: slice) -> NDArray[np.bool_]:
        """The one mask of all bands, `(1, h, w)`."""
        return self.own_masks([0], rows, cols)

    def own_masks(self, bands: BandIndex, rows: slice, cols: slice) -> NDArray[np.bool_]:
        """The mask of each band, `(c, h, w)`."""
        with self._opened() as dataset:
            mask: NDArray[np.bool_] = dataset.read_masks(self._chosen(bands), window=_window(dataset, rows, cols)) != 0
            return mask

    def _chosen(self, bands: BandIndex) -> list[int]:
        return list(self.index[bands]) if isinstance(bands, slice) else [self.index[n] for n in bands]

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with reading(self.path, self.target) as dataset:
            if _looks(dataset) != self.looks or dataset.count < max(self.index):
                raise FileFormatError(f"{self.path.name}: the file changed while in use; open it again")
            yield dataset


def _looks(dataset: Any) -> tuple[str, int, int]:
    return str(dataset.dtypes[0]), dataset.height, dataset.width


def _window(dataset: Any, rows: slice, cols: slice) -> Window:
    row, col = range(dataset.height)[rows], range(dataset.width)[cols]
    assert row.step == col.step == 1
    return Window(col.start, row.start, len(col), len(row))


READER = Reader(
    name="GeoTIFF",
    about="GeoTIFF, BigTIFF and COG: wavelengths, FWHM, bbl, scale, offset, no-data and masks from its tags",
    suffixes=(".tif", ".tiff"),
    sniff=sniff,
    read=read,
)
