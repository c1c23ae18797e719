"""GeoTIFF: what we read equals what rasterio, tifffile and the file's makers say; what we write, they read."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from numpy.testing import assert_array_equal
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.env import get_gdal_config
from rasterio.transform import Affine

from hypersharp.cube import Bands, Cube, Grid, Storage, array_source
from hypersharp.errors import AmbiguousError, FileFormatError, HypersharpError, UsageError, WriteError
from hypersharp.io.contract import ReadOptions, WriteOptions
from hypersharp.io.crs import same_crs, to_wkt2
from hypersharp.io.gdal import gdal
from hypersharp.io.readers.geotiff import READER
from hypersharp.io.writers.geotiff import WRITER

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
NORTH_UP = Affine(30, 0, 364095, 0, -30, 5809965)
ALL = slice(None)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # of rasterio as used here


def stored_numbers(shape: tuple[int, int, int], dtype: str = "int16") -> np.ndarray:
    """Every band and every corner distinct."""
    count, rows, cols = shape
    values = np.arange(count * rows * cols).reshape(shape) % 97
    values[:, 0, 0], values[:, 0, -1], values[:, -1, 0], values[:, -1, -1] = 101, 103, 107, 109
    return (values + np.arange(count)[:, None, None] % 10).astype(dtype)


def full_cube(shape: tuple[int, int, int] = (5, 40, 30), dtype: str = "int16") -> Cube:
    """A cube with something unusual in every field."""
    count, rows, cols = shape
    wavelength = 400 + np.arange(count) * 10 / 3
    wavelength[1], wavelength[2] = np.nan, 399.123456789
    bands = Bands(
        count,
        wavelength,
        np.where(np.arange(count) == 3, np.nan, 5 + np.arange(count) / 7),
        np.arange(count) != 2,
        tuple(["red, edge", 'µ-band "1" <&>', "", "two\nlines", "漢字 (7 nm?)"] + ["more"] * (count - 5)),
    )
    storage = Storage(np.dtype(dtype), 1e-4 * (1 + np.arange(count) / 3), np.arange(count) / 7 - 0.1, 7)
    cube = Cube(
        array_source(stored_numbers(shape, dtype), storage),
        bands,
        Grid((rows, cols), (3.0, 0.25, 364095.125, 0.5, -2.75, 5809965.7), to_wkt2(32633)),
        storage,
        "radiance",
        "W/m²/sr/µm",
        {
            "acquisition_time": "2022-07-24T10:45:26Z",
            "description": "a = b: {c}\nµ 漢字 🛰 \\n",
            "default_bands": "4,2,1",
            "empty": "",
            "blank_start": "  x ",
            "control": "a\x01b",
            "Mixed Case: key=": "kept",
            "wavelength": "not a list",
            "tifftag_software": "µ-soft",
            "tifftag_datetime": "yesterday",
            "tifftag_minsamplevalue": "many",
        },
    )
    return cube.with_history('sharpened "twice", µ').with_history("second \\n line [1], {2}")


def save(cube: Cube, path: Path, *, step: int = 256, **options: object) -> Path:
    """Write the stored numbers of a cube block by block, as the block loop does."""
    folder = path.parent / f".{path.name}.part"
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sink = WRITER.create(folder, path.name, cube, WriteOptions(**options))  # type: ignore[arg-type]
        for row in range(0, cube.shape[1], 256):
            for col in range(0, cube.shape[2], step):
                block = cube.values.fetch(ALL, slice(row, row + 256), slice(col, col + step))  # type: ignore[attr-defined]
                sink.write(block, row, col)
        assert sink.finish() == [path.name] == WRITER.names(path.name)
    assert os.listdir(folder) == [path.name]
    os.replace(folder / path.name, path)
    folder.rmdir()
    return path


def load(path: Path, **options: str) -> Cube:
    before = set(path.parent.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cube = READER.read(path, ReadOptions(**options))
    assert set(path.parent.iterdir()) == before
    return cube


def gdal_file(
    path: Path, values: np.ndarray, *, transform: Affine = NORTH_UP, **profile: object
) -> rasterio.DatasetBase:
    """A file begun with rasterio alone, its pixels written."""
    count, height, width = values.shape
    dataset = rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype,
        transform=transform, **profile,
    )  # fmt: skip
    dataset.write(values)
    return dataset


def assert_same_cube(found: Cube, cube: Cube) -> None:
    assert found.shape == cube.shape
    assert found.bands == cube.bands
    assert found.storage.same_numbers(cube.storage)
    assert (found.quantity, found.units, found.history) == (cube.quantity, cube.units, cube.history)
    assert dict(found.attrs) == dict(cube.attrs)
    if cube.grid is None or found.grid is None:
        assert found.grid is cube.grid
    else:
        assert (found.grid.shape, found.grid.affine) == (cube.grid.shape, cube.grid.affine)
        assert same_crs(found.grid.crs, cube.grid.crs)
    for one, other in zip(found.read(), cube.read(), strict=True):
        assert_array_equal(one, other)


# --- real files


@pytest.mark.parametrize("name", ["enmap_potsdam_tile_64_0.tif", "enmap_potsdam_tile_64_32.tif"])
def test_enmap_crops(data_dir, name):
    path = data_dir / "formats" / "geotiff_enmap" / name
    cube = load(path)
    with rasterio.open(path) as dataset:
        raw, tags = dataset.read(), [dataset.tags(n) for n in dataset.indexes]
        assert cube.grid.affine == tuple(dataset.transform)[:6]
        assert cube.bands.name == dataset.descriptions
    assert READER.sniff(path)
    assert cube.bands.wavelength_nm.tolist() == [float(band["wavelength"]) for band in tags]
    assert cube.bands.fwhm_nm.tolist() == [float(band["fwhm"]) for band in tags]
    assert cube.bands.good.tolist() == [band["bbl"] == "1" for band in tags]
    assert (~cube.bands.good).sum() == 6
    assert (cube.bands.wavelength_nm[0], cube.bands.wavelength_nm[-1]) == (418.24, 2445.53)
    assert same_crs(cube.grid.crs, to_wkt2(32633))
    assert (cube.storage.dtype, cube.storage.scale, cube.storage.nodata) == (np.float32, 1e-4, -32768)
    assert cube.attrs == {"start_time": "2022-07-24T10:45:26"}
    values, valid = cube.read()
    assert_array_equal(valid, raw != -32768)
    np.testing.assert_allclose(values[valid], raw[valid] * 1e-4, rtol=1e-6)
    assert_array_equal(valid.any(axis=(1, 2)), cube.bands.good)


def test_neon_crop(data_dir):
    path = data_dir / "formats" / "geotiff_neon" / "OSBS_reflectance_crop.tif"
    cube = load(path)
    with rasterio.open(path) as dataset:
        assert_array_equal(cube.read()[0], dataset.read())
    assert cube.shape == (426, 40, 40)
    assert cube.grid == Grid((40, 40), (1.0, 0.0, 406223.2, 0.0, -1.0, 3287092.6), None)
    assert cube.storage.interleave == "bip"
    assert cube.bands == Bands(426)


@pytest.mark.parametrize("folder", ["geotiff_enmap", "geotiff_neon"])
def test_real_files_survive_writing(data_dir, tmp_path, folder):
    for path in sorted((data_dir / "formats" / folder).glob("*.tif")):
        cube = load(path)
        assert WRITER.lost(cube, WriteOptions()) == []
        assert_same_cube(load(save(cube, tmp_path / path.name)), cube)


# --- round trips


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"interleave": "bip"},
        {"compress": "zstd", "threads": 2},
        {"compress": "deflate", "interleave": "bip"},
        {"cog": True},
        {"cog": True, "interleave": "bsq", "compress": "deflate"},
    ],
)
def test_every_field_survives(tmp_path, options):
    cube = full_cube()
    path = save(cube, tmp_path / "a b#µ.tif", **options)
    assert WRITER.lost(cube, WriteOptions(**options)) == []
    assert_same_cube(load(path), cube)
    assert load(path).storage.interleave == options.get("interleave", "bip" if options.get("cog") else "bsq")
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("compress", ["none", "zstd"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(tmp_path, dtype, compress):
    kind = np.dtype(dtype)
    values = stored_numbers((3, 20, 18), dtype)
    limits = np.iinfo(kind) if kind.kind in "iu" else np.finfo(kind)
    values[0, 3, 4:6] = limits.min, limits.max
    for at, marker in enumerate((limits.min, limits.max) if kind.kind in "iu" else (-9999.0, float("nan"), None)):
        marker = marker if marker is None else kind.type(marker).item()
        cube = Cube.from_array(values, storage=Storage(kind, nodata=marker))
        path = save(cube, tmp_path / f"{at}.tif", compress=compress)
        found = load(path)
        assert found.storage.dtype == kind
        assert found.storage.same_numbers(cube.storage)
        assert_array_equal(found.values.fetch(ALL, ALL, ALL), values)
        with rasterio.open(path) as dataset:
            assert_array_equal(dataset.read(), values)
        hidden = marker is not None and kind.itemsize == 8 and kind.kind in "iu" and abs(marker) > 2**53
        assert [line for line in WRITER.lost(cube, WriteOptions()) if "marker" in line] == (
            [f"the no-data marker {marker} is known to hypersharp only, not to GDAL"] if hidden else []
        )


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 300, 17), (4, 16, 257), (2, 513, 600)])
@pytest.mark.parametrize("options", [{}, {"interleave": "bip"}, {"cog": True}])
def test_every_size(tmp_path, shape, options):
    cube = Cube.from_array(stored_numbers(shape, "uint8"), grid=Grid(shape[1:], tuple(NORTH_UP)[:6]))
    assert_same_cube(load(save(cube, tmp_path / "a.tif", **options)), cube)


def test_grids(tmp_path):
    values = stored_numbers((2, 20, 30))
    shape = (20, 30)
    for at, grid in enumerate(
        [
            None,
            Grid(shape, (1.0, 0.0, 406223.2, 0.0, -1.0, 3287092.6)),
            Grid(shape, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)),
            Grid(shape, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), to_wkt2(4326)),
            Grid(shape, (0.1, 0.0, 5.0, 0.0, 0.1, 50.0), to_wkt2(4326)),
            Grid(shape, (1 / 3, 0.7, -5.0, 0.3, -1 / 7, 1e7), to_wkt2("+proj=laea +lat_0=10 +lon_0=3 +datum=WGS84")),
        ]
    ):
        cube = Cube.from_array(values, grid=grid)
        assert WRITER.lost(cube, WriteOptions()) == []
        assert_same_cube(load(save(cube, tmp_path / f"{at}.tif")), cube)


def test_what_cannot_be_held_is_said(tmp_path):
    rotated_pole = "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 +to_meter=0.01745329251994"
    plain = Cube.from_array(stored_numbers((2, 20, 30)))
    for cube, word in [
        (replace(plain, grid=Grid((20, 30), (1, 0, 0, 0, 1, 0))), "identity"),
        (replace(plain, grid=Grid((20, 30), (1, 0, 5, 0, -1, 0), to_wkt2(rotated_pole))), "CRS"),
        (replace(plain, bands=Bands(2, name=("  a", "b"))), "names"),
        (replace(plain, units="\tW"), "units"),
    ]:
        (line,) = WRITER.lost(cube, WriteOptions())
        assert word in line
        save(cube, tmp_path / f"{word}.tif")
        assert sorted(os.listdir(tmp_path))[-1].endswith(".tif")


# --- what others read in our files


def test_gdal_reads_what_we_wrote(tmp_path):
    cube = full_cube((5, 40, 30))
    for options in ({}, {"cog": True, "compress": "zstd"}):
        path = save(cube, tmp_path / f"{len(options)}.tif", **options)
        with rasterio.open(path) as dataset:
            assert_array_equal(dataset.read(), cube.values.fetch(ALL, ALL, ALL))
            assert dataset.crs.to_epsg() == 32633
            assert tuple(dataset.transform)[:6] == cube.grid.affine
            assert dataset.tags(1) == {
                "wavelength": "400.0", "wavelength_units": "Nanometers", "fwhm": "5.0", "bbl": "1"
            }  # fmt: skip
            assert dataset.tags(1, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.400000", "FWHM_UM": "0.005000"}
            assert dataset.tags(2) == {
                "wavelength_units": "Nanometers", "fwhm": repr(5 + 1 / 7), "bbl": "1"
            }  # fmt: skip
            assert dataset.tags(3)["wavelength"] == "399.123456789"
            assert dataset.tags(3)["bbl"] == "0"
            assert dataset.tags(3, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"] == "0.399123"
            assert dataset.tags(4, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.410000"}
            assert dataset.descriptions == ("red, edge", 'µ-band "1" <&>', None, "two\nlines", "漢字 (7 nm?)")
            assert dataset.units == ("W/m²/sr/µm",) * 5
            assert dataset.scales == tuple(cube.storage.scale)
            assert dataset.offsets == tuple(cube.storage.offset)
            assert dataset.nodatavals == (7,) * 5
            tags = dataset.tags()
            assert tags["AREA_OR_POINT"] == "Area"
            assert tags["acquisition_time"] == "2022-07-24T10:45:26Z"
            assert json.loads(tags["hypersharp_history"]) == list(cube.history)
            assert tags["hypersharp_quantity"] == "radiance"
            colours = (ColorInterp.blue, ColorInterp.green, ColorInterp.undefined, ColorInterp.red)
            assert dataset.colorinterp[:4] == colours
    assert sorted(os.listdir(tmp_path)) == ["0.tif", "2.tif"]


def test_four_bytes_are_no_alpha(tmp_path):
    cube = Cube.from_array(stored_numbers((4, 20, 30), "uint8"))
    for options in ({}, {"interleave": "bip"}, {"cog": True}):
        with rasterio.open(save(cube, tmp_path / f"{len(str(options))}.tif", **options)) as dataset:
            assert ColorInterp.alpha not in dataset.colorinterp
            assert dataset.mask_flag_enums == ([rasterio.enums.MaskFlags.all_valid],) * 4
            assert dataset.transform == Affine.identity()


def test_layout_of_the_file(tmp_path):
    cube = full_cube((5, 300, 600))
    with tifffile.TiffFile(save(cube, tmp_path / "bsq.tif", step=512)) as file:
        page = file.pages[0]
        assert (page.tilewidth, page.tilelength, page.planarconfig, page.compression) == (256, 256, 2, 1)
        assert max(tag.valueoffset for tag in page.tags) < min(page.dataoffsets)  # tags before pixels
        # blocks lie in the order in which they came: row by row, all bands of a block of 512 columns, then the rest
        tiles = np.argsort(page.dataoffsets).reshape(-1)
        band, row, col = np.unravel_index(tiles, (5, 2, 3))
        assert_array_equal(row, np.repeat([0, 1], 15))
        assert_array_equal(band, np.tile(np.r_[np.repeat(np.arange(5), 2), np.arange(5)], 2))
        assert_array_equal(col, np.tile(np.r_[np.tile([0, 1], 5), np.repeat(2, 5)], 2))
        assert_array_equal(page.asarray(), cube.values.fetch(ALL, ALL, ALL))
        assert file.filehandle.size < 5 * 6 * 256 * 256 * 2 + 20_000  # nothing written twice
    for compress, code in (("zstd", 50000), ("deflate", 8)):
        with tifffile.TiffFile(save(cube, tmp_path / f"{compress}.tif", compress=compress, interleave="bip")) as file:
            page = file.pages[0]
            assert (page.planarconfig, page.compression, page.predictor) == (1, code, 2)
    cube = full_cube((5, 300, 600), "float64")
    with tifffile.TiffFile(save(cube, tmp_path / "f.tif", compress="zstd")) as file:
        assert file.pages[0].predictor == 3
    many = Cube.from_array(np.zeros((426, 70, 300), "float32"))
    with tifffile.TiffFile(save(many, tmp_path / "many.tif", interleave="bip")) as file:
        assert (file.pages[0].tilewidth, file.pages[0].tilelength) == (64, 64)  # 7 MB a tile


@pytest.mark.parametrize("interleave", [None, "bsq"])
def test_cog_layout(tmp_path, interleave):
    values = stored_numbers((3, 300, 1100))
    values[:, :2, :2] = [[[11, 21], [7, 31]]]
    cube = Cube.from_array(
        values, storage=Storage(np.dtype("int16"), nodata=7), grid=Grid((300, 1100), tuple(NORTH_UP)[:6])
    )
    path = save(cube, tmp_path / "cog.tif", cog=True, interleave=interleave)
    with rasterio.open(path) as dataset:
        assert dataset.overviews(1) == [2, 4, 8]
        assert dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == ("COG" if interleave is None else None)
    with rasterio.open(path, overview_level=0) as dataset:
        assert dataset.read(1)[0, 0] == 21  # the mean of 11, 21 and 31: no-data takes no part
    with tifffile.TiffFile(path) as file:  # the rules of a COG: directories first, then overviews, coarsest first
        pages = list(file.pages)
        assert [page.imagewidth for page in pages] == [1100, 550, 275, 138]
        assert all(page.is_tiled for page in pages)
        assert [page.offset for page in pages] == sorted(page.offset for page in pages)
        starts, ends = ([pick(page.dataoffsets) for page in pages] for pick in (min, max))
        assert max(page.offset for page in pages) < min(starts)
        assert all(ends[n + 1] < starts[n] for n in range(3))


def test_bad_requests(tmp_path):
    cube = full_cube()
    with pytest.raises(UsageError, match="bsq or bip, got bil"):
        save(cube, tmp_path / "bil.tif", interleave="bil")
    wrong = Storage(np.dtype("uint16"), nodata=-9999)
    with pytest.raises(UsageError, match="uint16 can hold, got -9999"):
        save(Cube.from_array(stored_numbers((2, 9, 9), "uint16"), storage=wrong), tmp_path / "n.tif")
    with pytest.raises(UsageError, match="float32 can hold"):
        WRITER.create(tmp_path, "n", replace(cube, storage=Storage(np.dtype("float32"), nodata=1e300)), WriteOptions())
    half = replace(cube, storage=Storage(np.dtype("float16")))
    with pytest.raises(UsageError, match="float16"):
        WRITER.create(tmp_path, "h", half, WriteOptions())
    with pytest.raises(WriteError, match=r"^x\.tif: writing failed"):
        WRITER.create(tmp_path / "missing", "x.tif", cube, WriteOptions())


DISK_FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from hypersharp.cube import Cube
from hypersharp.errors import WriteError
from hypersharp.io.contract import WriteOptions
from hypersharp.io.writers.geotiff import WRITER
values = np.random.default_rng(0).integers(0, 30000, (6, 256, 512), dtype=np.int16)
cube = Cube.from_array(np.tile(values, (1, 3, 1)))
for at, (share, options) in enumerate((share, options) for share in (0.3, 0.9, 0.999) for options in (
        {}, {"interleave": "bip"}, {"compress": "zstd", "threads": 2}, {"cog": True})):
    limit = int(share * 3 * values.nbytes * (0.9 if "compress" in options else 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        sink = WRITER.create(Path(sys.argv[1]), f"{at}.tif", cube, WriteOptions(**options))
        try:
            for row in (0, 256, 512):
                sink.write(values, row, 0)
            sink.finish()
        except BaseException:
            sink.abandon()
            raise
        print("NOT NOTICED", share, options)
    except WriteError as error:
        print("noticed", str(error).count("\\n"), str(error).startswith(f"{at}.tif: "))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="file size limits as on Linux")
def test_disk_full_is_noticed(tmp_path):
    done = subprocess.run([sys.executable, "-c", DISK_FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["noticed 0 True"] * 12


# --- reading windows


def test_a_window_equals_the_slice(tmp_path):
    cube = full_cube((6, 300, 530))
    whole, valid = cube.read()
    for options in ({}, {"interleave": "bip", "compress": "deflate"}):
        found = load(save(cube, tmp_path / f"{len(options)}.tif", step=512, **options))
        for bands in (ALL, slice(1, 4), [5, 0, 3, 3], [2]):
            for rows, cols in ((slice(250, 290), slice(500, 520)), (slice(299, 300), slice(0, 1)), (ALL, slice(7, 8))):
                part, part_valid = found.read(bands, rows, cols)
                assert_array_equal(part, whole[bands][:, rows, cols])
                assert_array_equal(part_valid, valid[bands][:, rows, cols])
    fetched = found.values.fetch([1], ALL, ALL)
    fetched[:] = 0
    assert found.values.fetch([1], ALL, ALL).any()  # a fresh array each time


def test_threads(tmp_path):
    cube = full_cube((5, 300, 300))
    found = load(save(cube, tmp_path / "t.tif", compress="zstd"))
    whole = cube.values.fetch(ALL, ALL, ALL)
    before = get_gdal_config("GDAL_CACHEMAX")

    def part(n: int) -> bool:
        rows, cols = slice(n, n + 40), slice(2 * n, 2 * n + 30)
        return np.array_equal(found.values.fetch(ALL, rows, cols), whole[:, rows, cols])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(part, range(120)))
    assert get_gdal_config("GDAL_CACHEMAX") == before


def test_gdal_cache_is_small_and_put_back():
    with rasterio.Env():
        before = get_gdal_config("GDAL_CACHEMAX")
        with gdal():
            assert get_gdal_config("GDAL_CACHEMAX") == 32 << 20
            with gdal():
                assert get_gdal_config("GDAL_CACHEMAX") == 32 << 20
            assert get_gdal_config("GDAL_CACHEMAX") == 32 << 20
        assert get_gdal_config("GDAL_CACHEMAX") == before


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts bytes read as Linux does")
@pytest.mark.parametrize("options", [{}, {"interleave": "bip"}, {"cog": True}])
def test_opening_reads_no_pixels(tmp_path, options):
    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    cube = Cube.from_array(np.ones((20, 1024, 512), np.int16), bands=Bands(20, np.arange(20) + 400.0))
    path = save(cube, tmp_path / "b.tif", step=512, **options)
    assert path.stat().st_size > 20_000_000
    start = bytes_read()
    found = load(path)
    opened = bytes_read()
    found.read([3], slice(300, 310), slice(5, 9))
    windowed = bytes_read()
    assert opened - start < 200_000
    assert windowed - opened < (20 if options else 1) * 256 * 256 * 2 + 200_000


def test_file_that_changed(tmp_path):
    path = save(full_cube(), tmp_path / "a.tif")
    found = load(path)
    path.unlink()
    with pytest.raises(FileFormatError, match=r"^a\.tif: expected a whole GeoTIFF"):
        found.read()
    save(full_cube(dtype="int32"), path)
    with pytest.raises(FileFormatError, match="changed while in use"):
        found.read()
    path.unlink()
    save(full_cube((5, 20, 30)), path)
    with pytest.raises(FileFormatError, match="changed while in use"):
        found.read()


# --- wavelengths


def bands_file(
    path: Path, tags: list[dict[str, str]], imagery: list[dict[str, str]] = (), names: list[str] = ()
) -> Path:
    with gdal_file(path, stored_numbers((max(len(tags), len(names)), 4, 5), "uint16")) as dataset:
        for n, found in enumerate(tags, 1):
            dataset.update_tags(n, **found)
        for n, found in enumerate(imagery, 1):
            dataset.update_tags(n, ns="IMAGERY", **found)
        for n, name in enumerate(names, 1):
            dataset.set_band_description(n, name)
    return path


@pytest.mark.parametrize(
    ("tags", "wavelength", "fwhm", "noted"),
    [
        ([("426.82", None), ("436.99", None)], [426.82, 436.99], None, "taken as nm"),
        ([("0.42682", "0.01"), ("2.4", None)], [426.82, 2400], [10, np.nan], "taken as um"),
        ([("0.42682", "0.01", "Micrometers"), ("2.4", None, "µm")], [426.82, 2400], [10, np.nan], None),
        ([("4268.2", "61", "Angstroms"), ("4500", "62", "Angstroms")], [426.82, 450], [6.1, 6.2], None),
        ([("426.82", None, "Nanometers"), (None, None)], [426.82, np.nan], None, None),
        ([("426.82", "6", "Unknown"), ("2000", None, "")], [426.82, 2000], [6, np.nan], "taken as nm"),
    ],
)
def test_plain_tags(tmp_path, tags, wavelength, fwhm, noted):
    keys = ("wavelength", "fwhm", "wavelength_units")
    path = bands_file(
        tmp_path / "t.tif", [{k: v for k, v in zip(keys, one, strict=False) if v is not None} for one in tags]
    )
    cube = load(path)
    np.testing.assert_allclose(cube.bands.wavelength_nm, wavelength, atol=1e-9)
    if fwhm is None:
        assert cube.bands.fwhm_nm is None
    else:
        np.testing.assert_allclose(cube.bands.fwhm_nm, fwhm, atol=1e-9)
    assert cube.bands.good.all()
    assert [noted in line for line in cube.history] == ([True] if noted else [])
    assert not cube.attrs


@pytest.mark.parametrize(
    ("wavelengths", "units"),
    [(("1", "2"), None), (("12000", "9000"), "Wavenumber"), (("a", "b"), "nm"), (("0.5", "700"), None)],
)
def test_wavelengths_without_meaning_stay_attributes(tmp_path, wavelengths, units):
    tags = [{"wavelength": one} | ({"wavelength_units": units} if units else {}) for one in wavelengths]
    cube = load(bands_file(tmp_path / "t.tif", tags))
    assert cube.bands.wavelength_nm is None
    assert cube.attrs == {"wavelength": ", ".join(wavelengths)} | ({"wavelength_units": units} if units else {})
    assert "could not be understood" in cube.history[0]
    assert dict(load(save(cube, tmp_path / "again.tif")).attrs) == dict(cube.attrs)


def test_imagery_domain(tmp_path):
    imagery = [{"CENTRAL_WAVELENGTH_UM": "0.427", "FWHM_UM": "0.006"}, {"CENTRAL_WAVELENGTH_UM": "1.1"}]
    cube = load(bands_file(tmp_path / "alone.tif", [{}, {}], imagery))
    np.testing.assert_allclose(cube.bands.wavelength_nm, [427, 1100])
    np.testing.assert_allclose(cube.bands.fwhm_nm, [6, np.nan])
    plain = [{"wavelength": "426.612345678", "wavelength_units": "Nanometers"}, {}]
    cube = load(bands_file(tmp_path / "both.tif", plain, imagery))
    assert cube.bands.wavelength_nm.tolist() == [426.612345678, 1100.0]
    plain[0]["wavelength"] = "430"
    with pytest.raises(AmbiguousError, match=r"^c\.tif: band 1 has two values of wavelength, 430 nm .* 427 nm"):
        load(bands_file(tmp_path / "c.tif", plain, imagery))


def test_wavelengths_in_descriptions(tmp_path):
    names = ["Band 1 (423.03 nm)", "0.5 Micrometers", "B8a, 865 nm", "12 nm to 13 nm", "Band 3"]
    cube = load(bands_file(tmp_path / "t.tif", [], names=names))
    np.testing.assert_allclose(cube.bands.wavelength_nm, [423.03, 500, 865, np.nan, np.nan])
    assert cube.bands.name == tuple(names)
    assert load(bands_file(tmp_path / "u.tif", [], names=["Band 1", "423.03"])).bands.wavelength_nm is None


def test_file_made_by_gdal_from_envi(data_dir, tmp_path):
    source = data_dir / "formats" / "envi_bsq_gamsberg" / "cubus_gamsberg_subset"
    with gdal():
        rasterio.shutil.copy(str(source), str(tmp_path / "g.tif"), driver="GTiff")
    cube = load(tmp_path / "g.tif")
    assert cube.shape == (189, 25, 10)
    assert (cube.bands.wavelength_nm[0], cube.bands.wavelength_nm[2]) == (426.820007, 447.170013)
    assert not [key for key in cube.attrs if key.startswith("band_")]


def test_other_tags(tmp_path):
    tags = [{"SOLAR_IRRADIANCE": "1.5", "STATISTICS_MEAN": "3", "BBL": "0"}, {}]
    path = bands_file(tmp_path / "t.tif", tags)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(TIFFTAG_IMAGEDESCRIPTION="made by hand", TIFFTAG_XRESOLUTION="72", Sun="high")
        dataset.update_tags(ns="ENVI", data_type="4")
        dataset.units = ["W", "m"]
    cube = load(path)
    assert cube.attrs == {
        "tifftag_imagedescription": "made by hand",
        "sun": "high",
        "envi_data_type": "4",
        "bands_solar_irradiance": '["1.5", null]',
        "bands_units": '["W", "m"]',
    }
    assert cube.units == ""
    assert cube.bands.good.tolist() == [False, True]


# --- masks, markers and colours


def test_alpha_band_is_a_mask(tmp_path):
    values = stored_numbers((4, 6, 7), "uint8")
    values[3] = 255
    values[3, 2, 3] = 0
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    with gdal_file(tmp_path / "a.tif", values) as dataset:
        dataset.colorinterp = colours
    cube = load(tmp_path / "a.tif")
    assert cube.shape == (3, 6, 7)
    assert not cube.values.complete
    assert cube.history == ("GeoTIFF band 4 is flagged as alpha; taken as the mask of the others",)
    assert cube.attrs == {"default_bands": "1,2,3"}
    read, valid = cube.read()
    assert_array_equal(valid, np.broadcast_to(values[3] > 0, (3, 6, 7)))
    assert_array_equal(read[valid], values[:3][valid])
    assert_array_equal(cube.read([2], slice(2, 4), slice(3, 5))[1], [[[False, True], [True, True]]])
    for what in ({"wavelength": "842", "wavelength_units": "nm"}, {"description": "near infrared"}):
        with gdal_file(tmp_path / "n.tif", values) as dataset:
            dataset.colorinterp = colours
            if "wavelength" in what:
                dataset.update_tags(4, **what)
            else:
                dataset.set_band_description(4, what["description"])
        assert load(tmp_path / "n.tif").shape == (4, 6, 7)


@pytest.mark.parametrize("internal", ["YES", "NO"])
def test_mask_of_the_file(tmp_path, internal):
    values = stored_numbers((3, 40, 30))
    hidden = np.zeros((40, 30), bool)
    hidden[5:9, 20:] = True
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), gdal_file(tmp_path / "m.tif", values) as dataset:
        dataset.write_mask(~hidden)
    assert (tmp_path / "m.tif.msk").exists() == (internal == "NO")
    cube = load(tmp_path / "m.tif")
    assert cube.shape == (3, 40, 30)
    assert_array_equal(cube.read()[1], np.broadcast_to(~hidden, values.shape))
    assert_array_equal(cube.read([1, 0], slice(8, 12), slice(18, 22))[1][1], ~hidden[8:12, 18:22])


def test_metadata_beside_the_file(tmp_path):
    values = stored_numbers((2, 6, 7))
    gdal_file(tmp_path / "p.tif", values, nodata=11).close()
    (tmp_path / "p.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>12</NoDataValue><Metadata><MDI key="wavelength">500</MDI>'
        '<MDI key="wavelength_units">nm</MDI></Metadata></PAMRasterBand></PAMDataset>'
    )
    cube = load(tmp_path / "p.tif")
    assert cube.bands.wavelength_nm[0] == 500
    assert cube.storage.nodata is None
    assert_array_equal(cube.read()[1], np.stack([values[0] != 12, values[1] != 11]))
    gdal_file(tmp_path / "w.tif", values, transform=None).close()
    (tmp_path / "w.tfw").write_text("2\n0\n0\n-2\n101\n199\n")  # the centre of the first pixel
    assert load(tmp_path / "w.tif").grid.affine == (2, 0, 100, 0, -2, 200)


def test_marker_that_no_pixel_can_have(tmp_path):
    values = stored_numbers((2, 6, 7), "uint16")
    gdal_file(tmp_path / "a.tif", values).close()
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset>"
        + "".join(f'<PAMRasterBand band="{n}"><NoDataValue>-9999</NoDataValue></PAMRasterBand>' for n in (1, 2))
        + "</PAMDataset>"
    )
    cube = load(tmp_path / "a.tif")
    assert cube.storage.nodata is None
    assert cube.read()[1].all()


# --- what is not a cube


def test_sniff(tmp_path):
    for head, expected in [
        (b"II*\0\x08", True), (b"MM\0*\0", True), (b"II+\0\x08", True), (b"MM\0+\0", True),
        (b"II", False), (b"", False), (b"\x89HDF\r\n", False), (b"ENVI\n", False),
    ]:  # fmt: skip
        (tmp_path / "x.tif").write_bytes(head)
        assert READER.sniff(tmp_path / "x.tif") is expected
    assert not READER.sniff(tmp_path / "missing.tif")
    assert not READER.sniff(tmp_path)


def test_bigtiff_and_big_endian(tmp_path):
    values = stored_numbers((3, 20, 30), "uint16")
    for name, options in (("big", {"bigtiff": True}), ("motorola", {"byteorder": ">"})):
        tifffile.imwrite(tmp_path / f"{name}.tif", values, photometric="minisblack", planarconfig="separate", **options)
        assert READER.sniff(tmp_path / f"{name}.tif")
        found = load(tmp_path / f"{name}.tif")
        stored = found.values.fetch(ALL, ALL, ALL)
        assert stored.dtype.isnative
        assert_array_equal(stored, values)
        assert found.grid is None


def test_several_images(tmp_path):
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as writer:
        for n in (1, 2, 3):
            writer.write(np.full((4, 5 + n), n, np.uint16), photometric="minisblack", metadata=None)
    with pytest.raises(AmbiguousError, match=r"^pages\.tif: holds 3 images \(1: Page 1 \(6P x 4L x 1B\), .*1 to 3$"):
        load(path)
    cube = load(path, dataset="2")
    assert cube.shape == (1, 4, 7)
    assert (cube.read()[0] == 2).all()
    for wrong in ("0", "4", "first", "２"):
        with pytest.raises(UsageError, match="from 1 to 3"):
            load(path, dataset=wrong)


def test_not_a_cube_of_real_numbers(tmp_path):
    for dtype in ("complex64", "complex128", "complex_int16"):
        values = np.ones((2, 4, 5), "complex64" if dtype == "complex_int16" else dtype)
        with rasterio.open(
            tmp_path / f"{dtype}.tif", "w", driver="GTiff", count=2, height=4, width=5, dtype=dtype, transform=NORTH_UP
        ) as dataset:
            dataset.write(values)
        with pytest.raises(FileFormatError, match=f"^{dtype}.tif: expected real numbers, got {dtype}"):
            load(tmp_path / f"{dtype}.tif")
    with gdal_file(tmp_path / "p.tif", stored_numbers((1, 4, 5), "uint8")) as dataset:
        dataset.write_colormap(1, {0: (255, 0, 0), 1: (0, 255, 0)})
    with pytest.raises(FileFormatError, match=r"p\.tif: expected measurements, got .* colour-table"):
        load(tmp_path / "p.tif")


def test_options_that_do_not_fit(tmp_path):
    path = save(full_cube(), tmp_path / "a.tif")
    with pytest.raises(UsageError, match=r"^a\.tif: a GeoTIFF states its axes"):
        load(path, axes="chw")
    with pytest.raises(UsageError, match=r"^a\.tif: holds one image"):
        load(path, dataset="1")


def test_ground_control_points_are_named(tmp_path):
    points = [GroundControlPoint(r, c, 10 + c / 100, 50 - r / 100) for r in (0, 4) for c in (0, 5)]
    with gdal_file(tmp_path / "g.tif", stored_numbers((2, 4, 5)), transform=None, gcps=points, crs="EPSG:4326"):
        pass
    cube = load(tmp_path / "g.tif")
    assert cube.grid is None
    assert cube.history == ("GeoTIFF has 4 ground control points instead of a grid; not used",)


@pytest.mark.parametrize("tag", ["hypersharp_history", "hypersharp_attrs", "hypersharp_quantity", "hypersharp_nodata"])
def test_damaged_tags_of_our_own(tmp_path, tag):
    path = save(Cube.from_array(stored_numbers((2, 4, 5))), tmp_path / "a.tif")
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**{tag: '["open'})
    with pytest.raises(FileFormatError, match=rf"^a\.tif: .*{tag}"):
        load(path)


def test_cut_short(tmp_path):
    rng = np.random.default_rng(5)
    noise = Cube.from_array(rng.integers(0, 3000, (5, 300, 300)).astype("uint16"), bands=full_cube().bands)
    for at, options in enumerate(({}, {"interleave": "bip"}, {"compress": "zstd"}, {"cog": True})):
        whole = save(noise, tmp_path / f"{at}.tif", **options).read_bytes()
        last = len(whole) - (5 if options.get("cog") else 1)  # each tile of a COG ends with four bytes besides
        for size in [0, 3, 4, 8, 20, 400, last, *rng.integers(9, last, 12)]:
            (tmp_path / "cut.tif").write_bytes(whole[:size])
            with pytest.raises(
                FileFormatError, match=r"^cut\.tif: .*(cut short|begins with|expected a TIFF)"
            ) as caught:
                load(tmp_path / "cut.tif")  # noticed without reading a pixel
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}])
def test_cut_short_by_one_byte(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored_numbers((3, 20, 30)), photometric="minisblack", planarconfig="separate", **options)
    load(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(FileFormatError, match=r"^a\.tif: cut short: 1 of 3 blocks"):
        load(path)


def test_metadata_at_the_end_cut_short(tmp_path):
    """GDAL itself leaves the tags out with a warning, and opens the file without wavelengths."""
    path = bands_file(tmp_path / "a.tif", [{"wavelength": "500", "wavelength_units": "nm"}, {}])
    load(path)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(FileFormatError, match=r"^a\.tif: cut short: its (tag|directory)"):
        load(path)
    for old, new in ((b"<Item", b"<It\xe9m"), (b"500", b"5\xe90"), (b"</GDAL", b"<+GDAL")):
        assert old in content
        path.write_bytes(content.replace(old, new, 1))
        with pytest.raises(FileFormatError, match=r"^a\.tif: its metadata \(tag 42112\) are damaged"):
            load(path)


def test_holes_are_read(tmp_path):
    profile = {"driver": "GTiff", "count": 2, "height": 300, "width": 300, "dtype": "int16", "transform": NORTH_UP}
    with rasterio.open(tmp_path / "h.tif", "w", **profile, tiled=True, SPARSE_OK=True, nodata=-1) as dataset:
        dataset.write(np.full((2, 16, 16), 5, np.int16), window=rasterio.windows.Window(0, 0, 16, 16))
    _, valid = load(tmp_path / "h.tif").read()
    assert valid[:, :16, :16].all()
    assert valid.sum() == 2 * 16 * 16


def test_damaged_anywhere(tmp_path):
    rng = np.random.default_rng(6)
    whole = bytearray(save(full_cube(), tmp_path / "a.tif", compress="zstd").read_bytes())
    bad = tmp_path / "bad.tif"
    for _ in range(150):
        content = whole.copy()
        for at in rng.integers(4, len(content), rng.integers(1, 5)):
            content[at] = rng.integers(256)
        bad.write_bytes(content)
        with contextlib.suppress(HypersharpError):  # anything else would be a fault of ours
            cube = load(bad)
            if np.prod(cube.shape) < 10**7:
                cube.read()
