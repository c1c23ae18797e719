"""The edge to xarray: nothing is lost on the way there and back, and rioxarray finds the map."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rasterio.crs import CRS

from hypersharp.cube import Bands, Cube, Grid, Storage, array_source
from hypersharp.errors import CubeError

xr = pytest.importorskip("xarray")
rioxarray = pytest.importorskip("rioxarray")

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rioxarray's own

UTM = CRS.from_epsg(32633).to_wkt(version="WKT2_2019")
PLAIN = (10.0, 0.0, 500000.1, 0.0, -20.0, 4000000.7)
TURNED = (10.1, 1.25, 500000.3, -0.5, -9.7, 4000000.9)
STORED = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)


def cube(affine=PLAIN, shape=(3, 4), crs=UTM, storage=None):
    stored = np.arange(2 * math.prod(shape), dtype=np.int16).reshape(2, *shape)
    return Cube(
        array_source(stored, storage or Storage(np.dtype("i2"), 0.25, -1.0, 5)),
        Bands(2, [650.125, 550.0], [10.0, np.nan], [True, False], ("red", "")),
        None if affine is None else Grid(shape, affine, crs),
        None,
        "reflectance",
        "1",
        {"acquisition_time": "2022-08-27", "units": "an attribute of this name", "hypersharp_x": "kept"},
        ("made by hand", "then changed"),
    )


def assert_same(one, other):
    for a, b in zip(one.read(), other.read(), strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("bands", "grid", "quantity", "units", "attrs", "history"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.storage.same_numbers(other.storage)
    assert one.storage.interleave == other.storage.interleave


@pytest.mark.parametrize(
    "affine", [PLAIN, TURNED, (0.0, 7.0, 1.0, -7.0, 0.0, 2.0), (1 / 3, 0, 1e6 / 7, 0, 1 / 7, 0.1), None]
)
@pytest.mark.parametrize("crs", [UTM, None])
@pytest.mark.parametrize("shape", [(3, 4), (1, 4), (3, 1), (1, 1)])
def test_there_and_back(affine, crs, shape):
    there = cube(affine, shape, crs)
    assert_same(there, Cube.from_xarray(there.to_xarray()))


@pytest.mark.parametrize(
    "storage",
    [
        Storage(np.dtype("u1")),
        Storage(np.dtype("f4"), nodata=float("nan"), interleave="bip"),
        Storage(np.dtype("f8"), nodata=-9999.0),
        Storage(np.dtype("i2"), [0.5, 2.0], [0.0, 1.0], 3, "bil"),
        Storage(np.dtype("i2"), 1.0, [0.0, 1.0]),
    ],
)
def test_how_it_was_stored_survives(storage):
    there = cube(storage=storage)
    assert_same(there, Cube.from_xarray(there.to_xarray()))


def test_a_cube_without_anything_besides():
    plain = Cube.from_array(STORED)
    assert_same(plain, Cube.from_xarray(plain.to_xarray()))


def test_what_others_see():
    array = cube().to_xarray()
    assert array.dims == ("band", "y", "x")
    assert array.dtype == np.float32
    assert array.band.values.tolist() == [1, 2]
    assert np.isnan(array.values[0, 1, 1])  # 5 marks no data
    assert array.values[0, 0, 1] == -0.75
    assert array.wavelength.values.tolist() == [650.125, 550.0]
    assert array.wavelength.attrs["units"] == "nm"
    assert array.wavelength.attrs["standard_name"] == "radiation_wavelength"
    assert array.x.values.tolist() == pytest.approx([500005.1, 500015.1, 500025.1, 500035.1])
    assert array.y.values.tolist() == pytest.approx([3999990.7, 3999970.7, 3999950.7])
    assert array.attrs["history"] == "made by hand\nthen changed"
    assert (array.attrs["units"], array.attrs["quantity"]) == ("1", "reflectance")
    assert array.encoding == {
        "dtype": np.dtype("i2"),
        "interleave": "bsq",
        "scale_factor": 0.25,
        "add_offset": -1.0,
        "_FillValue": 5,
    }


@pytest.mark.parametrize("affine", [PLAIN, TURNED])
@pytest.mark.parametrize("shape", [(3, 4), (1, 1)])
def test_rioxarray_finds_the_crs_and_the_transform(affine, shape):
    array = cube(affine, shape).to_xarray()
    assert CRS.from_user_input(array.rio.crs) == CRS.from_epsg(32633)
    np.testing.assert_allclose(array.rio.transform()[:6], affine, rtol=1e-9)


def test_rioxarray_writes_and_reads_it(tmp_path):
    array = cube().to_xarray()
    array.encoding.clear()
    array.rio.to_raster(tmp_path / "a.tif")
    with rioxarray.open_rasterio(tmp_path / "a.tif") as read:
        back = Cube.from_xarray(read)
    np.testing.assert_array_equal(back.read()[0], cube().read()[0])
    np.testing.assert_allclose(back.grid.affine, PLAIN, atol=1e-9)
    assert CRS.from_wkt(back.grid.crs) == CRS.from_epsg(32633)


@pytest.mark.parametrize("masked", [False, True])
def test_no_data_of_a_file_that_rioxarray_opened_never_leaves_as_a_number(tmp_path, masked):
    import rasterio

    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=4, height=3, count=2, dtype="int16", nodata=5,
        transform=rasterio.Affine(*PLAIN),
    ) as file:  # fmt: skip
        file.write(STORED)
        file.scales, file.offsets = (0.5, 0.5), (2.0, 2.0)
    with rioxarray.open_rasterio(tmp_path / "a.tif", mask_and_scale=masked) as read:
        back = Cube.from_xarray(read)
    values, valid = back.read()
    np.testing.assert_array_equal(valid, STORED != 5)
    np.testing.assert_allclose(values[valid], 0.5 * STORED[valid] + 2)
    assert back.storage.same_numbers(Storage(np.dtype("i2"), 0.5, 2.0, 5))
    assert not {"_FillValue", "scale_factor", "add_offset"} & set(back.attrs)


def test_stored_integers_with_a_scale_for_each_band_are_not_rounded_by_netcdf():
    storage = Storage(np.dtype("i2"), [0.5, 2.0], [0.0, 1.0], 3)
    array = cube(storage=storage).to_xarray()
    written = xr.conventions.encode_cf_variable(array.variable)
    np.testing.assert_array_equal(written.values, cube(storage=storage).read()[0])


@pytest.mark.parametrize(
    ("unit", "factor"), [("nm", 1), ("Nanometers", 1), ("um", 1000), ("µm", 1000), ("μm", 1000), (None, 1)]
)
def test_units_of_wavelengths(unit, factor):
    attrs = {} if unit is None else {"units": unit}
    array = xr.DataArray(STORED, dims=("band", "y", "x")).assign_coords(
        wavelength=("band", [1.5, 2.5], attrs), fwhm=("band", [0.01, 0.02])
    )
    bands = Cube.from_xarray(array).bands
    np.testing.assert_allclose(bands.wavelength_nm, np.array([1.5, 2.5]) * factor)
    np.testing.assert_allclose(bands.fwhm_nm, np.array([0.01, 0.02]) * factor)  # the unit of the wavelengths is theirs


def test_dims_in_any_order():
    array = cube().to_xarray().transpose("y", "x", "band")
    assert_same(cube(), Cube.from_xarray(array))


def test_foreign_attributes_become_text():
    array = xr.DataArray(
        STORED, dims=("band", "y", "x"), attrs={"title": "t", "n": 3, "list": [1, 2], "quantity": "depth"}
    )
    made = Cube.from_xarray(array)
    assert made.attrs == {"title": "t", "n": "3", "list": "[1, 2]", "quantity": "depth"}
    assert made.quantity == "dn"
    assert made.storage.dtype == np.int16
    assert made.grid is None


def test_flags_are_numbers():
    assert Cube.from_xarray(xr.DataArray(STORED > 3, dims=("band", "y", "x"))).storage.dtype == np.uint8


# ---------------------------------------------------------------------------------------- parts still know where


@pytest.mark.parametrize("affine", [PLAIN, TURNED])
@pytest.mark.parametrize(
    ("rows", "cols"),
    [(slice(1, 3), slice(2, 4)), (slice(2, 3), slice(0, 4)), (slice(2, 3), slice(3, 4)), (slice(0, 3), slice(1, 2))],
)
def test_a_part_of_the_array_lies_where_it_lay(affine, rows, cols):
    part = Cube.from_xarray(cube(affine).to_xarray().isel(y=rows, x=cols))
    expected = cube(affine).grid.crop(rows, cols)
    assert part.grid.shape == expected.shape
    assert part.grid.crs == expected.crs
    np.testing.assert_allclose(part.grid.affine, expected.affine, rtol=0, atol=1e-6)


def test_every_second_pixel_of_a_turned_grid_is_refused():
    with pytest.raises(CubeError, match="go up by one"):
        Cube.from_xarray(cube(TURNED).to_xarray().isel(x=slice(None, None, 2)))


def test_coordinates_that_were_moved_win_over_the_transform():
    array = cube().to_xarray()
    moved = Cube.from_xarray(array.assign_coords(x=array.x + 10))
    np.testing.assert_allclose(moved.grid.affine, (10, 0, 500010.1, 0, -20, 4000000.7))


def test_coordinates_alone_make_a_grid():
    array = xr.DataArray(STORED, dims=("band", "y", "x"), coords={"x": [5.0, 15, 25, 35], "y": [10.0, 30, 50]})
    assert Cube.from_xarray(array).grid == Grid((3, 4), (10, 0, 0, 0, 20, 0))


# -------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda array: array.rename(band="wavelengths"), "expected the dims band, y and x"),
        (lambda array: array.isel(band=0), "expected the dims band, y and x"),
        (lambda array: array.expand_dims("time"), "expected the dims band, y and x"),
        (lambda array: array.assign_coords(x=[0.0, 1.0, 2.0, 4.0]), "x is not evenly spaced"),
        (lambda array: array.assign_coords(y=[0.0, 0.0, 0.0]), "y is not evenly spaced"),
        (lambda array: array.drop_vars("spatial_ref").isel(x=[0]), "x has one value, which tells no pixel size"),
        (
            lambda array: array.assign_coords(wavelength=("band", [1.0, 2.0], {"units": "cm-1"})),
            "wavelength must be in nm or um, got the unit 'cm-1'",
        ),
        (
            lambda array: array.drop_vars(["x", "y"]).assign_coords(spatial_ref=((), 0, {"GeoTransform": "1 2 3"})),
            "GeoTransform must be six numbers",
        ),
        (lambda array: array.astype(complex), "integers or floats"),
    ],
)
def test_what_is_refused(change, match):
    with pytest.raises(CubeError, match=match):
        Cube.from_xarray(change(cube().to_xarray()))
