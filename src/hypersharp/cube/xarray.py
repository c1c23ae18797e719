"""The edge to xarray: `to_xarray` and `from_xarray`, the only room (besides the backend) that imports it.

Dims ``band, y, x``; coordinate `wavelength` in nm with its CF standard name; `spatial_ref` as rioxarray reads it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from hypersharp._require import require
from hypersharp.cube.bands import Bands
from hypersharp.cube.cube import QUANTITIES, Cube
from hypersharp.cube.grid import Affine6, Grid
from hypersharp.cube.source import Storage, array_source
from hypersharp.errors import CubeError

if TYPE_CHECKING:
    import xarray

_WHY = "conversion to and from xarray"
_PREFIX = "hypersharp_"
_STORAGE = "hypersharp_storage"
_NM = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micrometer", "micrometers", "micrometre", "micrometres"), 1e3),
}


def to_xarray(cube: Cube) -> xarray.DataArray:
    """Read a whole cube into a DataArray `(band, y, x)` in physical units, NaN where invalid.

    Args:
        cube: any cube; all of its values are read into memory.

    Returns:
        Coordinates `wavelength` and `fwhm` (nm), `good`, `band_name` along `band`; `x` and `y` at pixel centres, or
        for a rotated grid the pixel numbers `row` and `col`, so that a part of the array still knows where it lies;
        `spatial_ref` with `crs_wkt` and `GeoTransform`. Attributes hold quantity, units, history and the cube's own;
        `encoding` holds how it was stored.

    Raises:
        MissingExtraError: xarray is not installed.
    """
    xr = require("xarray", "xarray", _WHY)
    values, _ = cube.read()
    bands, grid = cube.bands, cube.grid
    coords: dict[str, Any] = {"band": np.arange(1, bands.count + 1), "good": ("band", bands.good)}
    if bands.wavelength_nm is not None:
        about = {"units": "nm", "standard_name": "radiation_wavelength", "long_name": "wavelength"}
        coords["wavelength"] = ("band", bands.wavelength_nm, about)
    if bands.fwhm_nm is not None:
        about = {"units": "nm", "long_name": "full width at half maximum"}
        coords["fwhm"] = ("band", bands.fwhm_nm, about)
    if bands.name is not None:
        coords["band_name"] = ("band", np.array(bands.name, dtype=object))
    if grid is not None:
        a, b, c, d, e, f = grid.affine
        reference = {"GeoTransform": " ".join(repr(v) for v in (c, a, b, f, d, e))}
        if grid.crs is not None:
            reference |= {"crs_wkt": grid.crs, "spatial_ref": grid.crs}
        coords["spatial_ref"] = ((), 0, reference)
        if b == 0 and d == 0:
            coords["x"] = ("x", c + a * (np.arange(grid.shape[1]) + 0.5))
            coords["y"] = ("y", f + e * (np.arange(grid.shape[0]) + 0.5))
        else:
            coords["row"] = ("y", np.arange(grid.shape[0]))
            coords["col"] = ("x", np.arange(grid.shape[1]))
    attrs: dict[str, Any] = {f"{_PREFIX}{key}": text for key, text in cube.attrs.items()}
    attrs |= {"quantity": cube.quantity, "units": cube.units, "history": "\n".join(cube.history)}
    array = xr.DataArray(values, dims=("band", "y", "x"), coords=coords, attrs=attrs, name="cube")
    array.encoding = _encoding(cube.storage)
    return array  # type: ignore[no-any-return]  # the module comes untyped from `require`


def from_xarray(array: xarray.DataArray) -> Cube:
    """Make a cube from a DataArray with the dims `band`, `y`, `x` in any order.

    Args:
        array: physical values, NaN where invalid; or stored numbers where the attributes still hold `_FillValue`,
            `scale_factor` or `add_offset`. `wavelength` and `fwhm` may carry `units` nm or um. The grid is taken from
            evenly spaced `x` and `y` (pixel centres), else from the `GeoTransform` of `spatial_ref`, moved by the pixel
            numbers `row` and `col`. History, units and quantity come from the attributes, storage from `encoding`.

    Raises:
        CubeError: dims are missing, coordinates are not evenly spaced or do not tell the pixel size, or wavelengths
            have a unit that is not known.
        MissingExtraError: xarray is not installed.
    """
    require("xarray", "xarray", _WHY)
    if set(array.dims) != {"band", "y", "x"}:
        raise CubeError(f"expected the dims band, y and x, got {', '.join(map(str, array.dims))}; rename them first")
    array = array.transpose("band", "y", "x")
    attrs = {str(key): value for key, value in array.attrs.items()}
    history = tuple(line for line in str(attrs.pop("history", "")).split("\n") if line)
    units = str(attrs.pop("units", ""))
    quantity = attrs.pop("quantity") if attrs.get("quantity") in QUANTITIES else "dn"
    source = array_source(array.values, _undecoded(array, attrs))
    names = array.coords["band_name"].values if "band_name" in array.coords else None
    good: Any = array.coords["good"].values.astype(bool) if "good" in array.coords else None
    bands = Bands(
        count=array.sizes["band"],
        wavelength_nm=_nanometres(array, "wavelength"),
        fwhm_nm=_nanometres(array, "fwhm", like="wavelength"),
        good=good,
        name=None if names is None else tuple(str(name) for name in names),
    )
    return Cube(
        values=source,
        bands=bands,
        grid=_grid(array),
        storage=_storage(array, source.storage),
        quantity=quantity,
        units=units,
        attrs={key.removeprefix(_PREFIX): _text(value) for key, value in attrs.items()},
        history=history,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _undecoded(array: xarray.DataArray, attrs: dict[str, Any]) -> Storage | None:
    """How stored numbers are to be understood, by attributes that are taken out; None for physical values.

    xarray moves these attributes to `encoding` when it applies them; rioxarray leaves them unless told to mask.
    """
    scale, offset, nodata = (attrs.pop(key, None) for key in ("scale_factor", "add_offset", "_FillValue"))
    if scale is None and offset is None and nodata is None:
        return None
    return Storage(array.dtype, 1.0 if scale is None else scale, 0.0 if offset is None else offset, nodata)


def _encoding(storage: Storage) -> dict[str, Any]:
    """As netCDF names it; a scale for each band has no name there, and is kept whole under ours."""
    if not isinstance(storage.scale, float) or not isinstance(storage.offset, float):
        return {_STORAGE: storage}
    encoding: dict[str, Any] = {"dtype": storage.dtype, "interleave": storage.interleave}
    if storage.is_scaled:
        encoding |= {"scale_factor": storage.scale, "add_offset": storage.offset}
    if storage.nodata is not None:
        encoding["_FillValue"] = storage.nodata
    return encoding


def _storage(array: xarray.DataArray, default: Storage) -> Storage:
    encoding = array.encoding
    kept = encoding.get(_STORAGE)
    if isinstance(kept, Storage) and np.size(kept.scale) in (1, array.sizes["band"]):
        return kept
    if "dtype" not in encoding or default.is_scaled or default.nodata is not None:
        return default
    return Storage(
        np.dtype(encoding["dtype"]),
        encoding.get("scale_factor", 1.0),
        encoding.get("add_offset", 0.0),
        encoding.get("_FillValue"),
        encoding.get("interleave", "bsq"),
    )


def _nanometres(array: xarray.DataArray, name: str, like: str = "") -> Any:
    """Values of a coordinate in nm; without a unit of its own it has that of the coordinate `like`, else nm."""
    if name not in array.coords:
        return None
    coord = array.coords[name]
    unit = coord.attrs.get("units")
    if unit is None and like in array.coords:
        unit = array.coords[like].attrs.get("units")
    factor = _NM.get(str(unit or "nm").strip().lower())
    if factor is None:
        raise CubeError(f"{name} must be in nm or um, got the unit {unit!r}; convert it first")
    return np.asarray(coord.values, dtype=np.float64) * factor


def _grid(array: xarray.DataArray) -> Grid | None:
    shape = (array.sizes["y"], array.sizes["x"])
    reference = array.coords["spatial_ref"].attrs if "spatial_ref" in array.coords else {}
    crs = reference.get("crs_wkt") or reference.get("spatial_ref") or None
    told: Affine6 | None = None
    if "GeoTransform" in reference:
        try:
            c, a, b, f, d, e = (float(part) for part in str(reference["GeoTransform"]).split())
        except ValueError:
            raise CubeError(f"GeoTransform must be six numbers, got {reference['GeoTransform']!r}") from None
        told = (a, b, c, d, e, f)
    if "x" in array.coords and "y" in array.coords:
        x0, dx = _even(array, "x", None if told is None else told[0])
        y0, dy = _even(array, "y", None if told is None else told[4])
        seen: Affine6 = (dx, 0.0, x0 - dx / 2, 0.0, dy, y0 - dy / 2)
        return Grid(shape, told if told is not None and _same(told, seen, shape) else seen, crs)
    if told is None:
        return None
    row, col = (_even(array, name, 1.0) if name in array.coords else (0.0, 1.0) for name in ("row", "col"))
    if row[1] != 1 or col[1] != 1:
        raise CubeError("the pixel numbers row and col must go up by one; take a part of the array without steps")
    a, b, c, d, e, f = told
    return Grid(shape, (a, b, c + a * col[0] + b * row[0], d, e, f + d * col[0] + e * row[0]), crs)


def _same(one: Affine6, other: Affine6, shape: tuple[int, int]) -> bool:
    """Whether two affines agree within a millionth of a pixel over the whole grid; the exact one is then kept."""
    pixel = abs(other[0]), abs(other[4])
    reach = (shape[1], shape[0], 1)
    return all(
        abs(one[3 * axis + k] - other[3 * axis + k]) * reach[k] <= 1e-6 * pixel[axis]
        for axis in (0, 1)
        for k in range(3)
    )


def _even(array: xarray.DataArray, axis: str, step: float | None) -> tuple[float, float]:
    """First value and step of a coordinate; `step` is that of a coordinate with one value only."""
    at = np.asarray(array.coords[axis].values, dtype=np.float64).reshape(-1)
    if len(at) == 1:
        if step is None:
            raise CubeError(f"the coordinate {axis} has one value, which tells no pixel size; give a GeoTransform")
        return float(at[0]), step
    step = float((at[-1] - at[0]) / (len(at) - 1))
    if step == 0 or np.abs(np.diff(at) - step).max() > 1e-3 * abs(step):
        raise CubeError(f"the coordinate {axis} is not evenly spaced; resample the array to a regular grid first")
    return float(at[0]), step
