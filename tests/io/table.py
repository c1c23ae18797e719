"""One row per reader: how a tiny file in the documented layout is made, and what is to come out of it.

Files are made without our writers: by hand, or with the library that defines the format. A reader without a row fails
the suite (`test_readers_common.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rasterio
import scipy.io
from rasterio.transform import Affine

MARKER = -9999
WAVELENGTHS = (1000.125, 450.5, 2200.0625, 1000.25)  # neither increasing nor unique to a nanometre
FWHM = (10.5, 5.25, 12.125, 9.0)
GOOD = (True, True, False, True)
NAMES = ("swir one", "blue", "swir two", "nir")
AFFINE = (30.0, 0.0, 500000.0, 0.0, -30.0, 4200000.0)
EPSG = 32633


def stored_numbers(seed: int = 0, shape: tuple[int, int, int] = (4, 3, 5), dtype: Any = np.int16) -> np.ndarray:
    """`(C, H, W)` of distinct numbers, hence with every band and corner distinct."""
    count = int(np.prod(shape))
    return np.random.default_rng(seed).permutation(count).reshape(shape).astype(dtype) + 100


@dataclass(frozen=True)
class Row:
    """One reader's row.

    Attributes:
        reader: name of the reader's file.
        write: `(folder, stored (C, H, W)) -> path` makes the file.
        says: which facts the layout states; the others are expected to be absent.
        scale: of each band, where the layout holds one.
        offset: of each band, where the layout holds one.
        axes: to be passed to the reader where the layout does not state them.
        quantity: as it comes out.
        units: as they come out.
    """

    reader: str
    write: Callable[[Path, np.ndarray], Path]
    says: frozenset[str] = field(default_factory=frozenset)
    scale: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    offset: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    axes: str | None = None
    quantity: str = "dn"
    units: str = ""


def _envi(folder: Path, stored: np.ndarray) -> Path:
    bands, rows, cols = stored.shape
    data = folder / "scene.bil"
    data.write_bytes(b"\xff" * 7 + stored.transpose(1, 0, 2).astype(">i2").tobytes())
    listed = [", ".join(map(str, values)) for values in (WAVELENGTHS, FWHM, (int(flag) for flag in GOOD), NAMES)]
    (folder / "scene.hdr").write_text(
        "ENVI\n; a comment with = signs { and braces\n"
        f"description = {{a tiny scene, by hand}}\nsamples = {cols}\nlines = {rows}\nbands = {bands}\n"
        "header offset = 7\nfile type = ENVI Standard\ndata type = 2\ninterleave = BIL\nbyte order = 1\n"
        f"wavelength units = Nanometers\nwavelength = {{\n {listed[0]}}}\nfwhm = {{{listed[1]}}}\n"
        f"bbl = {{{listed[2]}}}\nband names = {{{listed[3]}}}\ndata ignore value = {MARKER}\n"
        "data gain values = {0.5, 0.25, 2.0, 1.0}\ndata offset values = {10.0, 0.0, -3.0, 0.5}\n"
        "map info = {UTM, 1, 1, 500000.0, 4200000.0, 30, 30, 33, North, WGS-84, units=Meters}\n"
    )
    return data


def _geotiff(folder: Path, stored: np.ndarray) -> Path:
    path = folder / "scene.tif"
    bands, rows, cols = stored.shape
    profile = {"driver": "GTiff", "count": bands, "height": rows, "width": cols, "dtype": stored.dtype.name}
    place = {"crs": f"EPSG:{EPSG}", "transform": Affine(*AFFINE)}
    with rasterio.open(path, "w", **profile, **place, nodata=MARKER, interleave="pixel") as file:
        file.write(stored)
        file.scales, file.offsets = (0.5, 0.25, 2.0, 1.0), (10.0, 0.0, -3.0, 0.5)
        file.units = ["W/m2"] * bands
        for band in range(bands):
            file.set_band_description(band + 1, NAMES[band])
            micrometres = {"wavelength": str(WAVELENGTHS[band] / 1e3), "wavelength_units": "Micrometers"}
            file.update_tags(band + 1, **micrometres, fwhm=str(FWHM[band] / 1e3), bbl=str(int(GOOD[band])))
    return path


def _hdf5(folder: Path, stored: np.ndarray) -> Path:
    path = folder / "scene.h5"
    with h5py.File(path, "w") as file:
        cube = file.create_dataset("product/reflectance", data=stored.transpose(1, 2, 0))
        for dim, label in zip(cube.dims, ("y", "x", "wavelength"), strict=True):
            dim.label = label
        cube.attrs["_FillValue"] = np.int16(MARKER)
        cube.attrs["scale_factor"], cube.attrs["add_offset"] = 0.5, 10.0
        a, b, c, d, e, f = AFFINE
        cube.attrs["GeoTransform"] = f"{c} {a} {b} {f} {d} {e}"
        cube.attrs["crs_wkt"] = rasterio.CRS.from_epsg(EPSG).to_wkt()
        cube.attrs["units"] = "1"
        file["product/wavelength"] = np.array(WAVELENGTHS) / 1e3
        file["product/wavelength"].attrs["units"] = "um"
        file["product/fwhm"] = np.array(FWHM)
        file["product/fwhm"].attrs["units"] = "nm"
        file["product/bbl"] = np.array(GOOD, dtype=np.uint8)
        file["product/band_names"] = list(NAMES)
    return path


def _matlab(folder: Path, stored: np.ndarray) -> Path:
    path = folder / "scene.mat"
    scipy.io.savemat(path, {"cube": stored.transpose(1, 2, 0), "wavelengths": np.array([WAVELENGTHS])})
    return path


def _numpy(folder: Path, stored: np.ndarray) -> Path:
    path = folder / "scene.npy"
    np.save(path, stored.transpose(2, 0, 1))
    return path


_BAND_FACTS = frozenset({"wavelength", "fwhm", "good", "name"})
_PLACE = frozenset({"grid", "crs"})

ROWS = {
    row.reader: row
    for row in (
        Row("envi", _envi, _BAND_FACTS | _PLACE | {"nodata"}, (0.5, 0.25, 2.0, 1.0), (10.0, 0.0, -3.0, 0.5)),
        Row(
            "geotiff",
            _geotiff,
            _BAND_FACTS | _PLACE | {"nodata"},
            (0.5, 0.25, 2.0, 1.0),
            (10.0, 0.0, -3.0, 0.5),
            units="W/m2",
        ),
        Row(
            "hdf5",
            _hdf5,
            _BAND_FACTS | _PLACE | {"nodata"},
            (0.5,) * 4,
            (10.0,) * 4,
            quantity="reflectance",
            units="1",
        ),
        Row("matlab", _matlab, frozenset({"wavelength"})),
        Row("numpy", _numpy, axes="wch"),
    )
}
