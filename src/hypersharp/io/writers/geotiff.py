"""GeoTIFF: tiled, whole blocks in the order in which they come, every tag inside the file and before the pixels.

Decisions:

- ``bsq`` (the default) has a plane of tiles for each band, ``bip`` all bands in each tile; ``bil`` does not exist.
- Tiles are 256 pixels wide and high; less where the scene is, or where a ``bip`` tile would exceed 8 MiB.
- Never an alpha band or colours by accident: GDAL takes the fourth of four uint8 bands for one. `default_bands` are
  marked red, green and blue.
- GDAL tells nobody when closing a file fails. After closing, every block must be there, inside of the file.
- A COG is made by a second pass: overviews (means over valid pixels) into the finished file, then a copy in the order
  of a COG. GDAL's own COG driver does the same, but takes ten times as long over the overviews of 224 bands.
- ``zstd`` at level 1: on real scenes its files are as large as those of level 9, and written twice as fast.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.dtypes import check_dtype
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.transform import Affine
from rasterio.windows import Window

from hypersharp.cube import Cube, Storage
from hypersharp.errors import FileFormatError, UsageError, WriteError
from hypersharp.io import geotiff_tags as tags
from hypersharp.io.contract import WriteOptions, Writer
from hypersharp.io.crs import same_crs, to_wkt2
from hypersharp.io.gdal import GDAL_ERRORS, gdal, open_quietly, reason
from hypersharp.io.tiff import check_whole

_BLOCK = 256
_MOST_TILE_BYTES = 8 << 20
_ZSTD_LEVEL = "1"
_EXACT_IN_FLOAT = 1 << 53
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def create(folder: Path, name: str, cube: Cube, options: WriteOptions) -> GeoTiffSink:
    """Start a GeoTIFF in the scratch folder; see `Writer.create`.

    Raises:
        UsageError: an interleave, type, no-data marker or CRS that a GeoTIFF cannot have.
        WriteError: the file cannot be begun.
    """
    if options.interleave == "bil":
        raise UsageError("a GeoTIFF is interleaved bsq or bip, got bil; choose one of those, or write ENVI")
    if not check_dtype(cube.storage.dtype.name):
        raise UsageError(f"{name}: GDAL here cannot write {cube.storage.dtype.name} into GeoTIFF; choose another type")
    first, plain = folder / name, options
    if options.cog:
        first, plain = folder / f"{name}.whole.tif", WriteOptions()
    with _writing(name):
        dataset = open_quietly(first, "w", **_content(cube), **_layout(cube, plain))
        try:
            _describe(dataset, cube)
        except BaseException:
            dataset.close()
            raise
    return GeoTiffSink(dataset, first, folder / name, cube, options)


def lost(cube: Cube, options: WriteOptions) -> list[str]:
    """What a GeoTIFF cannot hold of this cube."""
    lines = []
    grid, names = cube.grid, cube.bands.name or ()
    if grid is not None and grid.crs is None and grid.affine == _IDENTITY:
        lines.append("an identity affine without CRS reads back as no grid")
    if grid is not None and grid.crs is not None and not same_crs(_crs_kept(grid.crs), grid.crs):
        lines.append("its CRS cannot be said in full by the keys of a GeoTIFF")
    if any(name and not tags.survives(name) for name in names) or (cube.units and not tags.survives(cube.units)):
        lines.append("blanks at the start and control characters of band names and units are lost")
    if _hidden_marker(cube.storage) is not None:
        lines.append(f"the no-data marker {cube.storage.nodata} is known to hypersharp only, not to GDAL")
    return lines


def _content(cube: Cube) -> dict[str, Any]:
    """What the file holds, as rasterio takes it."""
    (count, rows, cols), storage, grid = cube.shape, cube.storage, cube.grid
    content: dict[str, Any] = {"count": count, "height": rows, "width": cols, "dtype": storage.dtype.name}
    if storage.nodata is not None and _hidden_marker(storage) is None:
        content["nodata"] = _checked_marker(storage)
    if grid is not None:
        content["transform"] = Affine(*grid.affine)
        if grid.crs is not None:
            content["crs"] = _crs(grid.crs)
    return content | {"PHOTOMETRIC": "MINISBLACK", "ALPHA": "UNSPECIFIED"}


def _layout(cube: Cube, options: WriteOptions) -> dict[str, str]:
    """How the pixels lie in the file, as creation options of GDAL."""
    (count, rows, cols), dtype = cube.shape, cube.storage.dtype
    by_pixel = options.interleave == "bip" or (options.cog and options.interleave is None)
    edge = _BLOCK
    while by_pixel and edge > 16 and edge * edge * count * dtype.itemsize > _MOST_TILE_BYTES:
        edge //= 2
    layout = {
        "INTERLEAVE": "PIXEL" if by_pixel else "BAND",
        "TILED": "YES",
        "BLOCKXSIZE": str(min(edge, -(-cols // 16) * 16)),
        "BLOCKYSIZE": str(min(edge, -(-rows // 16) * 16)),
        "BIGTIFF": "IF_SAFER",
        "COMPRESS": options.compress.upper(),
    }
    if options.compress != "none":
        layout |= {"PREDICTOR": "3" if dtype.kind == "f" else "2", "NUM_THREADS": str(options.threads or "ALL_CPUS")}
    return layout | ({"ZSTD_LEVEL": _ZSTD_LEVEL} if options.compress == "zstd" else {})


def _checked_marker(storage: Storage) -> float | int | None:
    """The no-data marker; it must be a number of the type."""
    marker, dtype = storage.nodata, storage.dtype
    assert marker is not None
    if dtype.kind == "f":
        fits = not np.isfinite(marker) or abs(marker) <= float(np.finfo(dtype).max)
    else:
        fits = marker == marker // 1 and np.iinfo(dtype).min <= marker <= np.iinfo(dtype).max
    if not fits:
        raise UsageError(f"no-data must be a number that {dtype.name} can hold, got {marker}; choose another")
    return marker if dtype.kind == "f" else int(marker)


def _hidden_marker(storage: Storage) -> int | None:
    """A marker that only a tag of our own can hold: rasterio passes it on as a float, which has not enough digits."""
    marker = storage.nodata
    if marker is None or storage.dtype.kind == "f" or abs(marker) <= _EXACT_IN_FLOAT:
        return None
    return int(marker)


def _crs(text: str) -> CRS:
    return CRS.from_wkt(to_wkt2(text))


def _crs_kept(text: str) -> str | None:
    """What is left of a CRS after a trip through the keys of a GeoTIFF."""
    with gdal(GDAL_PAM_ENABLED="NO"), MemoryFile() as memory:
        profile = {"driver": "GTiff", "count": 1, "height": 1, "width": 1, "dtype": "uint8"}
        with memory.open(**profile, crs=_crs(text), transform=Affine(2, 0, 0, 0, -2, 0)):
            pass
        with memory.open() as dataset:
            return None if dataset.crs is None else str(dataset.crs.to_wkt(version="WKT2_2019"))


def _describe(dataset: Any, cube: Cube) -> None:
    """Write every tag; GDAL puts them in front of the pixels when they are all there before the first block."""
    storage, count = cube.storage, cube.shape[0]
    own = tags.dataset_tags(cube)
    hidden = _hidden_marker(storage)
    dataset.update_tags(**own, **({} if hidden is None else {tags.NODATA: str(hidden)}))
    dataset.colorinterp = _colours(cube)
    if storage.is_scaled:
        dataset.scales = np.broadcast_to(storage.scale, count).tolist()
        dataset.offsets = np.broadcast_to(storage.offset, count).tolist()
    if cube.units:
        dataset.units = [cube.units] * count
    for band in range(count):
        said = tags.band_tags(cube.bands, band)
        dataset.update_tags(band + 1, **said.plain)
        if said.imagery:
            dataset.update_tags(band + 1, ns="IMAGERY", **said.imagery)
        if said.description:
            dataset.set_band_description(band + 1, said.description)


def _colours(cube: Cube) -> list[ColorInterp]:
    """Red, green and blue for the three default bands; no meaning for the others."""
    count = cube.shape[0]
    colours = [ColorInterp.gray if count == 1 else ColorInterp.undefined] * count
    shown = [int(n) for n in re.findall(r"\d+", cube.attrs.get("default_bands", ""))]
    if len(set(shown)) == 3 == len(shown) and min(shown) >= 1 and max(shown) <= count:
        for n, colour in zip(shown, _COLOURS, strict=True):
            colours[n - 1] = colour
    return colours


class GeoTiffSink:
    """A GeoTIFF being written; see `hypersharp.io.contract.Sink`."""

    def __init__(self, dataset: Any, first: Path, target: Path, cube: Cube, options: WriteOptions) -> None:
        self._dataset, self._first, self._target = dataset, first, target
        self._shape, self._storage = cube.shape, cube.storage
        self._compress, self._cog = options.compress, options.cog
        self._layout = _layout(cube, options)

    def write(self, stored: NDArray[Any], row: int, col: int) -> None:
        """Store a block; see `Sink.write`.

        Raises:
            WriteError: GDAL could not write it.
        """
        assert stored.dtype == self._storage.dtype
        assert stored.shape[0] == self._shape[0]
        if self._compress == "none" and shutil.disk_usage(self._target.parent).free < stored.nbytes:
            raise WriteError(f"{self._target.name}: no room left on the disk for the next {stored.nbytes} bytes")
        with _writing(self._target.name):
            self._dataset.write(stored, window=Window(col, row, stored.shape[2], stored.shape[1]))

    def finish(self) -> list[str]:
        """Close the file, make the COG, and check that every block is there; see `Sink.finish`.

        Raises:
            WriteError: GDAL could not write what was left, or not all of it is there.
        """
        with _writing(self._target.name):
            self._dataset.close()
            check_whole(self._first, holes=False)
            if self._cog:
                self._to_cog()
        return [self._target.name]

    def abandon(self) -> None:
        """Close the file; see `Sink.abandon`."""
        with suppress(*GDAL_ERRORS), gdal(GDAL_PAM_ENABLED="NO"):
            self._dataset.close()

    def _to_cog(self) -> None:
        """Overviews into the file band by band, then a copy in the order that a COG has."""
        with open_quietly(self._first, "r+") as dataset, gdal(GDAL_TIFF_OVR_BLOCKSIZE=str(_BLOCK)):
            levels = _levels(*self._shape[1:])
            if levels:
                dataset.build_overviews(levels, _resampling(self._storage))
        copy(str(self._first), str(self._target), driver="GTiff", COPY_SRC_OVERVIEWS="YES", **self._layout)
        self._first.unlink()
        check_whole(self._target, holes=False)


def _levels(rows: int, cols: int) -> list[int]:
    """2, 4, 8, ... until the overview fits into one block."""
    levels = [2]
    while max(rows, cols) > _BLOCK * levels[-1]:
        levels.append(levels[-1] * 2)
    return levels if max(rows, cols) > _BLOCK else []


def _resampling(storage: Storage) -> Resampling:
    """Means of valid pixels; but GDAL does not take means of 64-bit integers exactly, nor knows all their markers."""
    return Resampling.nearest if storage.dtype.kind in "iu" and storage.dtype.itemsize == 8 else Resampling.average


@contextmanager
def _writing(name: str) -> Iterator[None]:
    """Use GDAL to write: no file beside the one asked for, and its failures as ours."""
    with gdal(GDAL_PAM_ENABLED="NO"):
        try:
            yield
        except (*GDAL_ERRORS, FileFormatError) as error:
            raise WriteError(f"{name}: writing failed, is the disk full? ({reason(error)})") from None


WRITER = Writer(
    name="GeoTIFF",
    about="tiled GeoTIFF or BigTIFF, bsq or bip, plain or packed (zstd, deflate); cloud-optimised on request",
    suffixes=(".tif", ".tiff"),
    block=(_BLOCK, _BLOCK),
    names=lambda target: [target],
    create=create,
    lost=lost,
    beside=lambda target: [
        *(f"{target}{end}" for end in (".aux.xml", ".msk", ".ovr")),
        *(str(Path(target).with_suffix(end)) for end in (".tfw", ".tifw", ".tiffw", ".wld")),
    ],
)
