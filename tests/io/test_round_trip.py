"""Every reader × every writer: what a cube says survives the trip, or the writer names what does not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hypersharp.cube import Bands, Cube, Grid, Storage, array_source, same_nodata
from hypersharp.errors import UsageError
from hypersharp.io import MetadataLossWarning, WriteOptions, list_readers, list_writers, open_cube, write_cube
from hypersharp.io.crs import same_crs, to_wkt2

from .table import MARKER, ROWS, stored_numbers

# ending and interleave of every way in which a cube can be written
WAYS = [
    (".tif", "bsq"),
    (".tif", "bip"),
    (".img", "bsq"),
    (".img", "bil"),
    (".img", "bip"),
    (".h5", "bsq"),
    (".h5", "bip"),
    (".npz", "bsq"),
    (".npz", "bip"),
    (".npy", "bip"),
]

# what the words of a warning are about
NAMED = {
    "wavelengths": ("wavelength",),
    "FWHM": ("fwhm",),
    "bad bands": ("good",),
    "band names": ("name",),
    "georeferencing": ("affine", "crs"),
    "identity affine": ("affine",),
    "CRS": ("crs",),
    "scale and offset": ("scale", "offset"),
    "no-data marker": ("nodata",),
    "quantity": ("quantity",),
    "units": ("units",),
    "attributes": ("attrs",),
    "history": ("history",),
}


def facts(cube: Cube) -> dict[str, Any]:
    """What a cube says besides its numbers. How its axes were found out is about the file, not the cube."""
    count, grid = cube.shape[0], cube.grid
    attrs = {key: text for key, text in cube.attrs.items() if key != "axes"}
    return {
        "wavelength": cube.bands.wavelength_nm,
        "fwhm": cube.bands.fwhm_nm,
        "good": cube.bands.good,
        "name": cube.bands.name,
        "dtype": cube.storage.dtype,
        "scale": np.broadcast_to(cube.storage.scale, count),
        "offset": np.broadcast_to(cube.storage.offset, count),
        "nodata": cube.storage.nodata,
        "affine": None if grid is None else grid.affine,
        "crs": None if grid is None else grid.crs,
        "quantity": cube.quantity,
        "units": cube.units,
        "attrs": attrs,
        "history": cube.history,
    }


def alike(fact: str, one: Any, other: Any) -> bool:
    if fact == "crs":
        return same_crs(one, other)
    if fact == "nodata":  # NaN is no-data with and without a marker
        return same_nodata(*(None if marker is None or marker != marker else marker for marker in (one, other)))
    if one is None or other is None:
        return one is other
    if fact == "wavelength":
        return bool(np.allclose(one, other, rtol=0, atol=1e-6, equal_nan=True))
    if fact == "fwhm":
        return bool(np.allclose(one, other, rtol=0, atol=1e-6, equal_nan=True))
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    return bool(one == other)


def check_trip(cube: Cube, folder: Path, ending: str, interleave: str) -> set[str]:
    """Write, read again and compare; the facts that were lost with a word."""
    path = folder / f"trip{ending}"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write_cube(cube, path, options=WriteOptions(interleave=interleave))
    said = " ".join(str(w.message) for w in caught if issubclass(w.category, MetadataLossWarning))
    assert len(caught) == len([w for w in caught if issubclass(w.category, MetadataLossWarning)])
    back = open_cube(path)
    stored, again = (c.values.fetch(slice(None), slice(None), slice(None)) for c in (cube, back))
    np.testing.assert_array_equal(again, stored)
    told = {fact for words, facts in NAMED.items() if words in said for fact in facts}
    before, after = facts(cube), facts(back)
    lost = {fact for fact in before if not alike(fact, before[fact], after[fact])}
    assert lost <= told, f"lost without a word: {[(fact, before[fact], after[fact]) for fact in sorted(lost - told)]}"
    values, valid = cube.read()
    got, mask = back.read()
    if not lost & {"nodata", "scale", "offset"}:
        np.testing.assert_allclose(got, values, rtol=1e-6, equal_nan=True)
        np.testing.assert_array_equal(mask, valid)
    return lost


def test_every_writer_is_here():
    suffixes = {ending for ending, _ in WAYS}
    assert all(suffixes & set(writer.suffixes) for writer in list_writers().values())
    assert set(ROWS) == {n for n, r in list_readers().items() if r.read.__module__.startswith("hypersharp.")}


@pytest.mark.parametrize(("ending", "interleave"), WAYS)
@pytest.mark.parametrize("reader", sorted(ROWS))
def test_from_every_reader(tmp_path, reader, ending, interleave):
    """And what comes out of the second trip is what came out of the first."""
    row = ROWS[reader]
    stored = stored_numbers()
    if "nodata" in row.says:
        stored[1, 1, 2] = MARKER
    (tmp_path / "in").mkdir()
    cube = open_cube(row.write(tmp_path / "in", stored), axes=row.axes)
    lost = check_trip(cube, tmp_path, ending, interleave)
    assert not lost or ending == ".npy", "only the bare array loses anything of such a cube"


UNICODE = "Grün, «größer» {x} ; 5 µm = 1"


def rich(**changes: Any) -> Cube:
    """A cube that says all there is to say."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(-500, 500, (5, 4, 6)).astype(np.int16)
    numbers[2, 1, 1] = -32768
    storage = Storage(
        np.dtype(np.int16), np.array([1e-4, 2e-4, 1 / 3, 1e-4, 0.1]), np.array([0, 1.5, -2, 0.1, 1e-9]), -32768
    )
    bands = Bands(
        5,
        np.array([400.123456789, 1000 / 3, 2500.0000005, 999.9999995, np.nan]),
        np.array([10.1, np.nan, 1 / 7, 5.0, 12.0]),
        np.array([True, False, True, True, False]),
        ("one", "two words", "d", "e", "last"),
    )
    grid = Grid((4, 6), (25.98076211353316, 15.0, 500000.123, 15.0, -25.98076211353316, 4200000.456), to_wkt2(32733))
    attrs = {
        "description": "made for a test",
        "acquisition_time": "2024-02-29T12:34:56.789Z",
        "default_bands": "3,2,1",
        "sensor_type": "synthetic",
        "cloud_cover": "0.25",
    }
    history = ("made by hand", "second line; with = signs, commas and 'quotes' \"both\"")
    parts = {
        "values": array_source(numbers, storage),
        "bands": bands,
        "grid": grid,
        "quantity": "radiance",
        "units": "W/(m^2 sr um)",
        "attrs": attrs,
        "history": history,
    }
    return Cube(**(parts | changes))


@pytest.mark.parametrize(("ending", "interleave"), WAYS)
def test_all_there_is_to_say(tmp_path, ending, interleave):
    lost = check_trip(rich(), tmp_path, ending, interleave)
    assert not lost or ending == ".npy"


def bare(dtype: str = "int16", **storage: Any) -> Callable[[], Cube]:
    numbers = np.arange(1, 25).reshape(2, 3, 4)
    return lambda: Cube(array_source(numbers.astype(dtype), Storage(np.dtype(dtype), **storage)), Bands(2))


ODD: dict[str, Callable[[], Cube]] = {
    "nothing said": bare(),
    "nodata nan": bare("float32", nodata=float("nan")),
    "nodata of float64": bare("float64", nodata=-1.7976931348623157e308),
    "nodata that float32 rounds": bare("float32", nodata=-3.4028234663852886e38),
    "nodata of uint64": bare("uint64", nodata=2**64 - 1),
    "nodata of int64": bare("int64", nodata=-(2**63)),
    "nodata zero": bare("uint8", nodata=0),
    "one scale": bare("uint16", scale=1e-4),
    "one offset": bare("uint16", offset=-273.15),
    "scaled floats": bare("float32", scale=0.5, offset=2.0),
    "north up, no CRS": lambda: rich(grid=Grid((4, 6), (30.0, 0, 5e5, 0, -30.0, 4e6))),
    "rows run northwards": lambda: rich(grid=Grid((4, 6), (30.0, 0, 5e5, 0, 30.0, 4e6), to_wkt2(32633))),
    "not square": lambda: rich(grid=Grid((4, 6), (30.0, 0, 5e5, 0, -15.5, 4e6), to_wkt2(32633))),
    "sheared": lambda: rich(grid=Grid((4, 6), (30.0, 4.0, 5e5, 1.0, -15.5, 4e6), to_wkt2(32633))),
    "degrees": lambda: rich(grid=Grid((4, 6), (1 / 3600, 0, 12.1, 0, -1 / 3600, 47.9), to_wkt2(4326))),
    "identity without CRS": lambda: rich(grid=Grid((4, 6), (1.0, 0, 0, 0, 1.0, 0))),
    "identity with CRS": lambda: rich(grid=Grid((4, 6), (1.0, 0, 0, 0, 1.0, 0), to_wkt2(32633))),
    "a CRS of nobody": lambda: rich(
        grid=Grid((4, 6), (30.0, 0, 5e5, 0, -30.0, 4e6), to_wkt2("+proj=laea +lat_0=12.3 +lon_0=4.5 +datum=WGS84"))
    ),
    "names with everything": lambda: rich(
        bands=Bands(5, None, None, None, (UNICODE, "a,b", " blank ", "", "{braces} 400 nm"))
    ),
    "names that look like wavelengths": lambda: rich(bands=Bands(5, name=[f"band {n} (4{n}0.5 nm)" for n in range(5)])),
    "no wavelengths, FWHM only": lambda: rich(bands=Bands(5, None, np.arange(5) + 1.0)),
    "wavelengths like band numbers": lambda: rich(bands=Bands(5, np.arange(1.0, 6.0))),
    "wavelengths in decreasing order": lambda: rich(bands=Bands(5, np.arange(5.0)[::-1] * 100 + 400)),
    "attributes with everything": lambda: rich(
        attrs={"note": UNICODE, "lines": "one\ntwo\n three", "empty": "", "wavelength": "not numbers", "bands": "7"}
    ),
    "keys of other formats": lambda: rich(
        attrs={
            "samples": "3",
            "map_info": "x",
            "area_or_point": "Point",
            "scale_factor": "2",
            "axes_of": "z",
            "fwhm": "1",
        }
    ),
    "history with everything": lambda: rich(history=(UNICODE, "x" * 3000, "[json]", "{", "ENVI")),
    "much history": lambda: rich(history=tuple(f"step {n}: {UNICODE}" for n in range(300))),
    "units with everything": lambda: rich(units="µW·cm⁻²·sr⁻¹·nm⁻¹"),
    "reflectance": lambda: rich(quantity="reflectance", units=""),
    "one pixel": lambda: Cube(array_source(np.array([[[5]]], np.int32)), Bands(1, np.array([550.0]))),
}


@pytest.mark.parametrize(("ending", "interleave"), [way for way in WAYS if way != (".img", "bil")])
@pytest.mark.parametrize("case", list(ODD))
def test_odd_things_to_say(tmp_path, case, ending, interleave):
    try:
        check_trip(ODD[case](), tmp_path, ending, interleave)
    except UsageError as error:
        pytest.fail(f"could be held: {error}")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("ending", [".tif", ".img", ".h5", ".npz"])
def test_trips_end_to_end(tmp_path, ending):
    """Through every format in turn and back: nothing wears off."""
    cube = rich()
    chain = [".tif", ".img", ".h5", ".npz"]
    at = chain.index(ending)
    start = cube
    for step, suffix in enumerate([*chain[at:], *chain[: at + 1]]):
        path = tmp_path / f"{step}{suffix}"
        write_cube(cube, path)
        cube = open_cube(path)
    before, after = facts(start), facts(cube)
    assert {fact for fact in before if not alike(fact, before[fact], after[fact])} == set()


REAL = [
    "envi_bsq_avirisng/ang20160910t185702_2rdn_img",
    "envi_bsq_gamsberg/cubus_gamsberg_subset",
    "envi_bsq_fpi_raw/house_crop_4b_RAW.dat",
    "envi_bil_headwall/corn-kernel-hyperspectral.raw",
    "geotiff_enmap/enmap_potsdam_tile_64_0.tif",
    "geotiff_neon/OSBS_reflectance_crop.tif",
]


@pytest.mark.parametrize("ending", [".tif", ".img", ".h5", ".npz"])
@pytest.mark.parametrize("name", REAL)
def test_real_files(tmp_path, data_dir, name, ending):
    """A corner of each real file, all of its bands and all that it says."""
    cube = open_cube(data_dir / "formats" / name)
    part = cube.crop(slice(0, min(5, cube.shape[1])), slice(0, min(7, cube.shape[2])))
    part = replace(part, values=array_source(part.values.fetch(slice(None), slice(None), slice(None)), part.storage))
    assert check_trip(part, tmp_path, ending, "bip" if ending != ".tif" else "bsq") == set()
