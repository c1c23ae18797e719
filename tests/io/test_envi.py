"""ENVI files laid out by hand, by GDAL and by `spectral` on one side, our reader and writer on the other."""

from __future__ import annotations

import errno
import random
import re
import resource
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import spectral
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine
from spectral.io import envi as spectral_envi

from hypersharp.cube import Bands, Cube, Grid, Storage, same_nodata
from hypersharp.errors import AmbiguousError, FileFormatError, HypersharpError, UsageError, WriteError
from hypersharp.io.contract import ReadOptions, WriteOptions
from hypersharp.io.crs import same_crs, to_wkt2
from hypersharp.io.envi_header import DTYPES, parse_header
from hypersharp.io.readers import envi as envi_reader
from hypersharp.io.readers.envi import READER
from hypersharp.io.writers import envi as envi_writer
from hypersharp.io.writers.envi import WRITER

ALL = slice(None)
INTERLEAVES = ("bsq", "bil", "bip")
TO_DISK = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}


@pytest.fixture(autouse=True)
def _quiet_others() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


def distinct(dtype: str, shape: tuple[int, int, int] = (3, 4, 5)) -> NDArray[Any]:
    """An array whose numbers all differ, and use the width of their type."""
    step = {1: 1, 2: 301, 4: 7_000_003, 8: 7_000_003_000_001}[np.dtype(dtype).itemsize]
    array = np.arange(np.prod(shape), dtype=np.uint64).reshape(shape) * np.uint64(step)
    if np.dtype(dtype).kind == "f":
        return (array.astype(dtype) / 7 - 11).astype(dtype)
    return array.astype(dtype)


def lay_out(
    path: Path,
    array: NDArray[Any],
    *lines: str,
    interleave: str = "bsq",
    order: int = 0,
    skip: tuple[str, ...] = (),
    header: str | None = None,
) -> Path:
    """Write an ENVI pair by hand; `lines` come last in the header, the keys in `skip` are left out."""
    count, rows, cols = array.shape
    code = next(code for code, name in DTYPES.items() if name == array.dtype.name)
    array.transpose(TO_DISK[interleave]).astype(array.dtype.newbyteorder(">" if order else "<")).tofile(path)
    fields = {"samples": cols, "lines": rows, "bands": count, "data type": code, "interleave": interleave}
    fields["byte order"] = order
    text = ["ENVI", *(f"{key} = {value}" for key, value in fields.items() if key not in skip), *lines]
    (path.parent / (header or f"{path.name}.hdr")).write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def opened(path: Path) -> Cube:
    return READER.read(path, ReadOptions())


def stored(cube: Cube, bands: Any = ALL, rows: slice = ALL, cols: slice = ALL) -> NDArray[Any]:
    return cube.values.fetch(bands, rows, cols)  # type: ignore[attr-defined]


def written(folder: Path, cube: Cube, name: str = "x.img", block: tuple[int, int] = (64, 64), **options: Any) -> Path:
    """Write a cube block by block, as the pipeline does."""
    sink = WRITER.create(folder, name, cube, WriteOptions(**options))
    _, rows, cols = cube.shape
    numbers = stored(cube)
    for row in range(0, rows, block[0]):
        for col in range(0, cols, block[1]):
            sink.write(numbers[:, row : row + block[0], col : col + block[1]], row, col)
    assert sink.finish() == WRITER.names(name)
    return folder / WRITER.names(name)[0]


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interleave", INTERLEAVES)
@pytest.mark.parametrize("dtype", DTYPES.values())
def test_every_type_interleave_and_byte_order(tmp_path: Path, dtype: str, interleave: str) -> None:
    array = distinct(dtype)
    for order in (0, 1):
        cube = opened(lay_out(tmp_path / "x", array, interleave=interleave, order=order))
        assert cube.shape == (3, 4, 5)
        assert cube.storage.dtype == np.dtype(dtype)
        assert cube.storage.dtype.isnative
        assert cube.storage.interleave == interleave
        assert (cube.quantity, cube.units, cube.grid, cube.history, dict(cube.attrs)) == ("dn", "", None, (), {})
        whole = stored(cube)
        assert whole.dtype == array.dtype
        assert whole.dtype.isnative
        assert np.array_equal(whole, array)


@pytest.mark.parametrize("interleave", INTERLEAVES)
@pytest.mark.parametrize("gap", [0, 40, 1 << 14])
def test_a_window_is_the_slice(tmp_path: Path, interleave: str, gap: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envi_reader, "_GAP", gap)
    array = distinct("int16", (7, 9, 11))
    cube = opened(lay_out(tmp_path / "x.img", array, interleave=interleave))
    for bands in (slice(2, 5), slice(None), slice(6, 7), [4], [5, 0, 5, 6], [0, 2, 4]):
        for rows, cols in ((slice(3, 7), slice(2, 5)), (slice(None), slice(10, 11)), (slice(8, 9), slice(None))):
            part = stored(cube, bands, rows, cols)
            assert np.array_equal(part, array[bands][:, rows, cols])
            assert type(part) is np.ndarray
            part[:] = 0  # a fresh array: the file is not touched
    assert np.array_equal(stored(cube), array)


def test_header_offset_and_what_follows(tmp_path: Path) -> None:
    array = distinct("uint16")
    path = lay_out(tmp_path / "x", array, "header offset = 13")
    path.write_bytes(b"embedded head" + path.read_bytes())
    assert np.array_equal(stored(opened(path)), array)
    path.write_bytes(path.read_bytes() + b"tail")
    cube = opened(path)
    assert np.array_equal(stored(cube), array)
    assert cube.history == ("ENVI data file is 4 bytes longer than its header says; the rest is not read",)


def test_a_header_without_byte_order_is_little_endian_as_for_gdal(tmp_path: Path) -> None:
    array = distinct("int32")
    path = lay_out(tmp_path / "x.img", array, skip=("byte order",))
    assert np.array_equal(stored(opened(path)), array)
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(), array)


@pytest.mark.parametrize(
    ("data", "header"),
    [
        ("x", "x.hdr"), ("x", "x.HDR"), ("x.img", "x.hdr"), ("x.img", "x.img.hdr"), ("x.DAT", "x.hdr"),
        ("x.raw", "x.hdr"), ("x.bsq", "x.hdr"),
        ("x.bil", "x.hdr"), ("x.bip", "x.bip.hdr"), ("x.bin", "x.hdr"), ("a.b.img", "a.b.hdr"),
        ("scene_rdn_img", "scene_rdn_img.hdr"), ("v1.2", "v1.2.hdr"), ("with blank ü.dat", "with blank ü.hdr"),
    ],
)  # fmt: skip
def test_either_file_of_the_pair_can_be_named(tmp_path: Path, data: str, header: str) -> None:
    array = distinct("uint8")
    lay_out(tmp_path / data, array, header=header)
    (tmp_path / f"{data}.txt").write_text("not this")
    for name in (data, header):
        assert READER.sniff(tmp_path / name)
        cube = opened(tmp_path / name)
        assert np.array_equal(stored(cube), array)
        assert cube.values.files == (tmp_path / data, tmp_path / header)


def test_any_ending_will_do_for_a_data_file_that_is_named(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "x.corrected", distinct("uint8"), header="x.hdr")
    assert READER.sniff(path)
    assert opened(path).shape == (3, 4, 5)


def test_pairs_that_are_not_clear(tmp_path: Path) -> None:
    array = distinct("uint8")
    lay_out(tmp_path / "x.img", array, header="x.hdr")
    (tmp_path / "x.dat").write_bytes((tmp_path / "x.img").read_bytes())
    with pytest.raises(AmbiguousError, match=r"x.hdr: several data files may be meant \(x.img, x.dat\)"):
        opened(tmp_path / "x.hdr")
    assert opened(tmp_path / "x.dat").shape == (3, 4, 5)
    lay_out(tmp_path / "x.img", array, "sensor type = A")
    assert opened(tmp_path / "x.hdr").values.files[0] == tmp_path / "x.dat"  # x.img has its own header now
    with pytest.raises(AmbiguousError, match=r"two headers that differ \(x.img.hdr, x.hdr\)"):
        opened(tmp_path / "x.img")
    (tmp_path / "x.hdr").write_bytes((tmp_path / "x.img.hdr").read_bytes())
    assert opened(tmp_path / "x.img").attrs["sensor_type"] == "A"


def test_one_half_of_a_pair_is_said(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "x.img", distinct("uint8"), header="x.hdr")
    path.rename(tmp_path / "y.img")
    with pytest.raises(FileFormatError, match=r"x\.hdr: no data file beside this header"):
        opened(tmp_path / "x.hdr")
    with pytest.raises(FileFormatError, match=r"y\.img: no ENVI header beside this file"):
        opened(tmp_path / "y.img")
    assert not READER.sniff(tmp_path / "y.img")
    with pytest.raises(FileFormatError, match="no such file"):
        opened(tmp_path / "z.img")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.tif", b"II*\0rest"), ("x.tif", b"MM\0*rest"), ("x.mat", b"MATLAB 5.0 MAT-file"),
        ("x.h5", b"\x89HDF\r\n\x1a\n"), ("x.npy", b"\x93NUMPY"), ("x.npz", b"PK\x03\x04"),
    ],
)  # fmt: skip
def test_files_of_other_formats_beside_a_header_are_left_to_their_readers(
    tmp_path: Path, name: str, content: bytes
) -> None:
    lay_out(tmp_path / "x.img", distinct("uint8"), header="x.hdr")
    (tmp_path / name).write_bytes(content + bytes(100))
    assert not READER.sniff(tmp_path / name)
    assert READER.sniff(tmp_path / "x.img")


@pytest.mark.parametrize(
    "content", [b"", b"BYTEORDER I\nNROWS 3\n", b"\x5c\x01\x00\x00" + bytes(344), b"#?RADIANCE\n", b"ENVIRON\n"]
)
def test_headers_of_other_formats_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.hdr").write_bytes(content)
    (tmp_path / "x").write_bytes(bytes(60))
    assert not READER.sniff(tmp_path / "x.hdr")
    assert not READER.sniff(tmp_path / "x")
    assert not READER.sniff(tmp_path)
    assert not READER.sniff(tmp_path / "missing")
    with pytest.raises(FileFormatError):
        opened(tmp_path / "x.hdr")


def test_headers_in_other_encodings_and_line_ends(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "x", distinct("uint8"))
    plain = (tmp_path / "x.hdr").read_bytes() + b"DESCRIPTION = {Caf\xe9}\n"
    for content, text in (
        (plain, "Café"),
        (plain.replace(b"\n", b"\r\n"), "Café"),
        (b"\xef\xbb\xbf" + plain.replace(b"\xe9", "é".encode()), "Café"),
    ):
        (tmp_path / "x.hdr").write_bytes(content)
        assert READER.sniff(path)
        assert opened(path).attrs["description"] == text


@pytest.mark.parametrize(
    ("lines", "wavelength", "fwhm"),
    [
        (["wavelength units = nm", "wavelength = {400.5, 500, 600}"], [400.5, 500, 600], None),
        (["wavelength units = Nanometers", "wavelength = {\n400.5\n,500,\n600,}", "fwhm = {9,10,11}"],
         [400.5, 500, 600], [9, 10, 11]),
        (["wavelength units = Micrometers", "wavelength = {0.4005, 0.5, 0.6}", "fwhm = {0.01, 0.01, nan}"],
         [400.5, 500, 600], [10, 10, np.nan]),
        (["wavelength units = µm", "wavelength = {0.6, nan, 0.5}"], [600, np.nan, 500], None),
        (["wavelength units = Angstroms", "wavelength = {4005, 5000, 6000}"], [400.5, 500, 600], None),
        (["band names = {376.44 Nanometers, 381.5 nm, 386 nanometers}"], [376.44, 381.5, 386], None),
        (["band names = {Band 1 (0.4 um), Band 2 (0.5 Micrometers), c: 0.6 µm}"], [400, 500, 600], None),
        (["wavelength units = nm", "band names = {a (400.5), b (500.0), c (600.0)}", "fwhm={1,2,3}"], [400.5, 500, 600],
         [1, 2, 3]),
        (["wavelength =", "fwhm = {}", "wavelength units = nm"], None, None),
        (["band names = {red, green, blue}"], None, None),
        (["band names = {400 nm, 500 nm, other}"], None, None),
        (["band names = {Band (1), Band (2), Band (3)}"], None, None),
        (["band names = {10 m, 20 m, 60 m}"], None, None),
        (["band names = {Resize (Band 1:x), Resize (Band 2:x), Resize (Band 3:x)}"], None, None),
    ],
)  # fmt: skip
def test_wavelengths(
    tmp_path: Path, lines: list[str], wavelength: list[float] | None, fwhm: list[float] | None
) -> None:
    cube = opened(lay_out(tmp_path / "x", distinct("uint8"), *lines))
    assert cube.history == ()
    for found, expected in ((cube.bands.wavelength_nm, wavelength), (cube.bands.fwhm_nm, fwhm)):
        if expected is None:
            assert found is None
        else:
            assert found is not None
            np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("lines", "wavelength", "note"),
    [
        (["wavelength = {400, 500, 2600}"], [400, 500, 2600], r"wavelengths have no unit \(none\); taken as nm"),
        (["wavelength units = Unknown", "wavelength = {0.4, 2.5, 12}"], [400, 2500, 12000], "taken as um"),
        (
            ["band names = {a (400.5), b (500.0), c (600.0)}"],
            [400.5, 500, 600],
            "in band names .*taken as nm",
        ),
        (["wavelength = {1, 2, 3}"], None, "wavelength has no usable unit"),
        (["wavelength = {0, 1, 2}"], None, "wavelength has no usable unit"),
        (["wavelength = {0.4, 0.5, 900}"], None, "wavelength has no usable unit"),
        (["wavelength units = SP1", "wavelength = {0.4, 0.5, 0.6}"], None, r"no usable unit \(SP1\)"),
        (["wavelength units = Index", "wavelength = {400, 500, 600}"], None, r"no usable unit \(Index\)"),
        (["wavelength units = Wavenumber", "wavelength = {4000, 5000, 6000}"], None, r"no usable unit \(Wavenumber\)"),
    ],
)
def test_units_are_told_from_the_size_only_aloud(
    tmp_path: Path, lines: list[str], wavelength: list[float] | None, note: str
) -> None:
    cube = opened(lay_out(tmp_path / "x", distinct("uint8"), *lines))
    assert len(cube.history) == 1
    assert re.search(note, cube.history[0])
    if wavelength is None:
        assert cube.bands.wavelength_nm is None
        listed = re.findall(r"[\d.]+", lines[-1])
        assert cube.attrs["wavelength"] == ", ".join(listed)
    else:
        assert cube.bands.wavelength_nm is not None
        np.testing.assert_allclose(cube.bands.wavelength_nm, wavelength)
    again = opened(written(tmp_path, cube))  # what was said once is not said twice
    assert again.history == cube.history
    assert dict(again.attrs) == dict(cube.attrs)
    assert again.bands == cube.bands


def test_names_good_bands_and_the_other_keys(tmp_path: Path) -> None:
    lines = [
        "; a comment", "Band  Names = {,red , near red,b,}", "bbl = {1, 0, 1}", "default bands = {3, 1 ,2}",
        "sensor type =", "acquisition time = 2020-01-02T03:04:05Z", "description = {\nan\nexample}",
        "Vendor-Key 2 = {a, b}", "z plot = 1", "x start = 5", "z-plot = 2",
    ]  # fmt: skip
    path = lay_out(tmp_path / "x", distinct("uint8"), *lines)
    cube = opened(path)
    assert cube.bands.name == ("red", "near red", "b")
    assert cube.bands.good.tolist() == [True, False, True]
    assert dict(cube.attrs) == {
        "default_bands": "3,1,2",
        "sensor_type": "",
        "acquisition_time": "2020-01-02T03:04:05Z",
        "description": "an\nexample",
        "vendor_key_2": "a, b",
        "z_plot": "1",
        "x_start": "5",
        "z_plot_": "2",
    }


def test_band_names_that_do_not_part_into_bands_are_kept_as_text(tmp_path: Path) -> None:
    cube = opened(lay_out(tmp_path / "x", distinct("uint8"), "band names = {ratio (b1, b2), b, c}"))
    assert cube.bands.name is None
    assert cube.attrs["band_names"] == "ratio (b1, b2), b, c"


@pytest.mark.parametrize(
    ("dtype", "text", "expected"),
    [
        ("int16", "-9999", -9999), ("int16", "-9999.0", -9999), ("int16", "-9.999e3", -9999), ("uint8", "{255}", 255),
        ("uint8", "-9999", -9999), ("float32", "-9999", -9999.0), ("float32", "nan", np.nan),
        ("float32", "1e+34", 1e34),
        ("int64", "-9223372036854775808", -(2**63)), ("uint64", "18446744073709551615", 2**64 - 1), ("int16", "", None),
    ],
)  # fmt: skip
def test_no_data(tmp_path: Path, dtype: str, text: str, expected: float | None) -> None:
    array = distinct(dtype)
    inside = expected is not None and (np.dtype(dtype).kind == "f" or np.iinfo(dtype).min <= expected)
    if inside:
        array[1, 2, 3] = expected
    cube = opened(lay_out(tmp_path / "x", array, f"data ignore value = {text}"))
    assert same_nodata(cube.storage.nodata, expected)
    values, valid = cube.read()
    assert (~valid).sum() == inside
    assert valid[1, 2, 3] != inside
    assert np.isnan(values[1, 2, 3]) == inside


@pytest.mark.parametrize(
    ("lines", "scale", "offset", "quantity"),
    [
        (["data gain values = {0.5, 2, 3}"], [0.5, 2, 3], 0, "dn"),
        (["data gain values = {0.5, 2, 3}", "data offset values = {1, -1, 0}"], [0.5, 2, 3], [1, -1, 0], "dn"),
        (["data offset values = {1, 1, 1}"], 1, 1, "dn"),
        (["reflectance scale factor = 10000.0"], 1e-4, 0, "reflectance"),
        (["reflectance scale factor = 1"], 1, 0, "reflectance"),
        (["reflectance scale factor ="], 1, 0, "dn"),
        (["reflectance scale factor = 10000", "data gain values = {1, 1, 1}", "data offset values = {0, 0, 0}"],
         1e-4, 0, "reflectance"),
        (["reflectance scale factor = 10000", "data gain values = {0.0001, 0.0001, 0.0001}"], 1e-4, 0, "reflectance"),
    ],
)  # fmt: skip
def test_scaling(tmp_path: Path, lines: list[str], scale: Any, offset: Any, quantity: str) -> None:
    array = distinct("uint8")
    cube = opened(lay_out(tmp_path / "x", array, *lines))
    assert cube.quantity == quantity
    factor, shift = (np.broadcast_to(np.asarray(v, dtype=float), 3)[:, None, None] for v in (scale, offset))
    np.testing.assert_allclose(cube.read()[0], array * factor + shift, rtol=1e-6)


def test_map_info_gives_the_grid(tmp_path: Path) -> None:
    place = "map info = {UTM, 1, 1, 5, 6, 10, 20, 33, North, WGS-84}"
    cube = opened(lay_out(tmp_path / "x", distinct("uint8"), place, "pixel size = {10, 20, units=Meters}"))
    assert cube.grid is not None
    assert cube.grid.shape == (4, 5)
    assert cube.grid.affine == (10, 0, 5, 0, -20, 6)
    assert same_crs(cube.grid.crs, to_wkt2(32633))
    assert dict(cube.attrs) == {}  # a pixel size as text would be wrong after sharpening
    cube = opened(lay_out(tmp_path / "x", distinct("uint8"), "map info = {UTM, 1, 1, 5, 6, 10, 20, 33, North, Mars}"))
    assert cube.grid is not None
    assert cube.grid.crs is None
    assert cube.attrs["map_info"] == "UTM, 1, 1, 5, 6, 10, 20, 33, North, Mars"
    assert "no CRS" in cube.history[0]
    cube = opened(lay_out(tmp_path / "x", distinct("uint8"), 'coordinate system string = {GEOGCS["x"]}'))
    assert cube.grid is None
    assert cube.attrs["coordinate_system_string"] == 'GEOGCS["x"]'


GOOD = """ENVI
description = {a scene}
samples = 5
lines = 4
bands = 3
header offset = 0
file type = ENVI Standard
data type = 2
interleave = bsq
byte order = 0
map info = {UTM, 1, 1, 5, 6, 10, 20, 33, North, WGS-84, rotation=20}
wavelength units = nm
wavelength = {400, 500, 600}
fwhm = {10, 10, 10}
bbl = {1, 1, 0}
band names = {a, b, c}
data ignore value = -9999
data gain values = {1, 2, 3}
data offset values = {0, 0, 1}
default bands = {3, 2, 1}
hypersharp units = "W"
hypersharp history = {["one", "two"]}
hypersharp attrs = {["a", "b"]}
"""
BAD = [
    ("samples = 5\n", "", "no 'samples'; add"),
    ("lines = 4\n", "", "no 'lines'; add"),
    ("bands = 3\n", "", "no 'bands'; add"),
    ("data type = 2\n", "", "no 'data type'; add"),
    ("interleave = bsq\n", "", "interleave among bsq, bil, bip, got ''"),
    ("samples = 5", "samples = 0", "whole number of at least 1 as 'samples', got '0'"),
    ("lines = 4", "lines = -4", "whole number of at least 1 as 'lines', got '-4'"),
    ("bands = 3", "bands = three", "as 'bands', got 'three'"),
    ("bands = 3", "bands = 3.5", "as 'bands', got '3.5'"),
    ("bands = 3", "bands =", "no 'bands'"),
    ("bands = 3", "bands = 4", "160 bytes but x.img has 120; it is cut short"),
    ("lines = 4", "lines = 999999999999999999", "cut short"),
    ("samples = 5", "samples = 9999999999999999999", "as 'samples'"),
    ("header offset = 0", "header offset = 1", "121 bytes but x.img has 120"),
    ("header offset = 0", "header offset = -1", "at least 0 as 'header offset'"),
    ("header offset = 0", "header offset = x", "'header offset', got 'x'"),
    ("data type = 2", "data type = 6", "complex"),
    ("data type = 2", "data type = 9", "complex"),
    ("data type = 2", "data type = 7", "data type among 1, 2, 3, 4, 5, 12, 13, 14, 15, got 7"),
    ("data type = 2", "data type = float", "'data type', got 'float'"),
    ("data type = 2", "data type = 5", "480 bytes"),
    ("interleave = bsq", "interleave = bxq", "interleave among bsq, bil, bip, got 'bxq'"),
    ("byte order = 0", "byte order = 2", "byte order of 0 or 1, got 2"),
    ("byte order = 0", "byte order = little", "'byte order', got 'little'"),
    ("ENVI Standard", "ENVI Classification", "got 'ENVI Classification': not a raster of measurements"),
    ("ENVI Standard", "ENVI Spectral Library", "got 'ENVI Spectral Library'"),
    ("ENVI Standard", "TIFF", "got 'TIFF'"),
    ("byte order = 0", "byte order = 0\nfile compression = 1", "'file compression' = 1 is not supported"),
    ("byte order = 0", "byte order = 0\nmajor frame offsets = {0, 8}", "'major frame offsets' = 0, 8 is not supported"),
    ("{400, 500, 600}", "{400, 500, 600", "brace of 'wavelength' is never closed"),
    ("{400, 500, 600}", "{400, 500}", "expected 3 values in 'wavelength', one for each band, got 2"),
    ("{400, 500, 600}", "{400, 500, 600, 700}", "got 4"),
    ("{400, 500, 600}", "{400, 5OO, 600}", "number in 'wavelength', got '5OO'"),
    ("{400, 500, 600}", "{400, -500, 600}", "wavelengths must be finite and not negative"),
    ("{400, 500, 600}", "{400, inf, 600}", "wavelengths must be finite"),
    ("{400, 500, 600}", "{400, 1e308, 600}\nwavelength units = um", "given twice"),
    ("wavelength units = nm", "wavelength units = m", None),
    ("wavelength units = nm\nwavelength = {400,", "wavelength units = m\nwavelength = {1e308,", "must be finite"),
    ("fwhm = {10, 10, 10}", "fwhm = {10}", "expected 3 values in 'fwhm'"),
    ("bbl = {1, 1, 0}", "bbl = {1, 1}", "expected 3 values in 'bbl'"),
    ("bbl = {1, 1, 0}", "bbl = {1, 1, no}", "number in 'bbl'"),
    ("value = -9999", "value = none", "number in 'data ignore value', got 'none'"),
    ("{1, 2, 3}", "{1, 2}", "expected 3 values in 'data gain values'"),
    ("{1, 2, 3}", "{1, 0, 3}", "scale must be finite and not 0"),
    ("{1, 2, 3}", "{1, nan, 3}", "scale must be finite"),
    ("{0, 0, 1}", "{0, 0, inf}", "offset must be finite"),
    ("default bands", "reflectance scale factor = 10000\ndefault bands", "contradicts 'data gain values'"),
    ("default bands", "reflectance scale factor = 0\ndefault bands", "other than 0, got 0"),
    ("default bands", "reflectance scale factor = x\ndefault bands", "number in 'reflectance scale factor'"),
    ("{UTM, 1, 1, 5, 6, 10, 20,", "{UTM, 1, 1, 5, 6, 10,", None),
    ("{UTM, 1, 1, 5, 6, 10, 20, 33, North, WGS-84, rotation=20}", "{UTM, 1}", "at least 7 fields in 'map info', got 2"),
    ("{UTM, 1, 1, 5, 6, 10, 20,", "{UTM, 1, 1, 5, 6, 0, 20,", "pixel size in 'map info' is 0"),
    ("{UTM, 1, 1, 5, 6, 10, 20,", "{UTM, 1, 1, 1e309, 6, 10, 20,", "number in 'map info'"),
    ("{UTM, 1, 1, 5, 6, 10, 20,", "{UTM, 1e200, 1, 5, 6, 1e200, 20,", "six finite numbers"),
    ('{["one", "two"]}', '{["one", "two"}', "'hypersharp history' is damaged"),
    ('"W"', "{1}", "'hypersharp units' is damaged"),
    ("default bands", "hypersharp quantity = beauty\ndefault bands", "'hypersharp quantity', got 'beauty'"),
    ("default bands", "hypersharp affine = {1, 2}\ndefault bands", "expected 8 values in 'hypersharp affine'"),
    ("default bands", "hypersharp affine = {0, 0, 0, 0, 0, 0, 4, 5}\ndefault bands", "degenerate"),
    ("default bands", 'hypersharp crs = "nonsense"\ndefault bands', "coordinate reference system"),
    ("default bands", "bands = 4\ndefault bands", "'bands' is given twice"),
]


@pytest.mark.parametrize(("old", "new", "words"), BAD)
def test_bad_headers_give_one_clear_line(tmp_path: Path, old: str, new: str, words: str | None) -> None:
    (tmp_path / "x.img").write_bytes(bytes(120))
    (tmp_path / "x.hdr").write_text(GOOD)
    assert opened(tmp_path / "x.img").shape == (3, 4, 5)
    assert GOOD.count(old) == 1
    (tmp_path / "x.hdr").write_text(GOOD.replace(old, new))
    if words is None:  # odd, not wrong
        assert opened(tmp_path / "x.img").shape == (3, 4, 5)
        return
    for name in ("x.img", "x.hdr"):
        with pytest.raises(FileFormatError) as caught:
            opened(tmp_path / name)
        message = str(caught.value)
        assert words in message
        assert message.startswith(f"{name}: ")
        assert "\n" not in message
        assert len(message) < 200


def test_fuzzed_files_open_or_give_our_error(tmp_path: Path) -> None:
    rng = random.Random(3)
    good = GOOD.encode()
    (tmp_path / "x.img").write_bytes(bytes(120))
    pieces = [*(bytes([c]) for c in b'{}=\n,;-0"\x00\xff'), b"", b"9" * 30, b"nan", b"1e308", b"um"]
    outcomes = {True: 0, False: 0}
    for _ in range(400):
        content = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(5, len(content))
            content[at : at + rng.choice([0, 1, 1, 2, 8])] = rng.choice(pieces)
        (tmp_path / "x.hdr").write_bytes(content)
        try:
            opened(tmp_path / "x.img").read()
            outcomes[True] += 1
        except HypersharpError:
            outcomes[False] += 1
    assert min(outcomes.values()) > 40  # both kinds were met


def test_the_options_that_a_header_answers_are_refused(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "x", distinct("uint8"))
    for options in (ReadOptions(dataset="cube"), ReadOptions(axes="hwc")):
        with pytest.raises(UsageError, match="holds one cube and states its axes"):
            READER.read(path, options)


def test_a_file_that_shrinks_after_opening_is_said(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "x", distinct("uint8"))
    cube = opened(path)
    path.write_bytes(b"short")
    with pytest.raises(FileFormatError, match="x: cannot be read any more"):
        stored(cube)
    path.unlink()
    with pytest.raises(FileFormatError, match="x: cannot be read any more"):
        stored(cube)


def test_reading_from_several_threads(tmp_path: Path) -> None:
    array = distinct("int16", (8, 40, 30))
    cube = opened(lay_out(tmp_path / "x", array, interleave="bil"))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda row: stored(cube, [3, 1], slice(row, row + 2), ALL), range(0, 40, 2)))
    assert np.array_equal(np.concatenate(parts, axis=1), array[[3, 1]])


def _bytes_read() -> int:
    return int(re.findall(r"rchar: (\d+)", Path("/proc/self/io").read_text())[0])


@pytest.mark.skipif(sys.platform != "linux", reason="counts the bytes that /proc/self/io says are read")
@pytest.mark.parametrize("interleave", INTERLEAVES)
def test_a_window_of_a_20_gb_file_reads_little_more_than_its_window(tmp_path: Path, interleave: str) -> None:
    count, rows, cols = 250, 1000, 40000
    path = lay_out(tmp_path / "x", np.zeros((1, 1, 1), np.int16), skip=("samples", "lines", "bands", "interleave"))
    with path.open("r+b") as file:
        file.truncate(2 * count * rows * cols)
    header = tmp_path / "x.hdr"
    lines = f"samples = {cols}\nlines = {rows}\nbands = {count}\ninterleave = {interleave}\n"
    header.write_text(header.read_text() + lines)
    before = _bytes_read()
    cube = opened(path)
    assert _bytes_read() - before < 10_000  # opening reads the header and no pixel
    at = {"bsq": (200 * rows + 700) * cols + 3000, "bil": (700 * count + 200) * cols + 3000}
    at["bip"] = (700 * cols + 3000) * count + 200
    with path.open("r+b") as file:
        file.seek(2 * at[interleave])
        file.write(b"\x39\x05")
    for bands in ([200, 3], slice(190, 210)):
        before = _bytes_read()
        window = stored(cube, bands, slice(700, 716), slice(3000, 3100))
        needed = 2 * 16 * 100 * (250 if interleave == "bip" else len(window))
        assert _bytes_read() - before < needed + 10_000
        assert np.count_nonzero(window) == 1
        assert window[0 if isinstance(bands, list) else 10, 0, 0] == 1337
    assert str(path) not in Path("/proc/self/maps").read_text()  # pages of a mapping would count as memory of ours


# --- writing ----------------------------------------------------------------------------------------------------------

UTM33 = to_wkt2(32633)
BANDS = Bands(
    3,
    np.array([400.123456789012, 1 / 3 + 500, 2500.0]),
    np.array([9.87654321, 10.0, np.nan]),
    np.array([True, False, True]),
    ("blue", "green (x)", "SWIR 2.5"),
)
ATTRS = {
    "description": "two\nlines, with commas",
    "acquisition_time": "2020-01-02T03:04:05Z",
    "default_bands": "3,2,1",
    "sensor_type": "Sens Or",
    "empty": "",
    "solar_zenith_deg": "30.5",
}


def rich(dtype: str = "int16", **changes: Any) -> Cube:
    array = distinct(dtype)
    storage = changes.pop("storage", None) or Storage(array.dtype, nodata=-9999 if array.dtype.kind in "if" else None)
    cube = Cube.from_array(array, storage=storage, bands=BANDS, grid=Grid((4, 5), (10.0, 0, 5e5, 0, -10.0, 4e6), UTM33))
    changes = {"attrs": ATTRS, "history": ("made, by {hand}", "then; looked at"), "units": "W m-2 sr-1 nm-1", **changes}
    return replace(cube, **{"quantity": "radiance", **changes})


def assert_same(one: Cube, other: Cube) -> None:
    assert one.bands == other.bands
    assert one.storage.dtype == other.storage.dtype
    assert np.array_equal(one.storage.scale, other.storage.scale)
    assert np.array_equal(one.storage.offset, other.storage.offset)
    assert same_nodata(one.storage.nodata, other.storage.nodata)
    assert (one.quantity, one.units, one.history) == (other.quantity, other.units, other.history)
    assert dict(one.attrs) == dict(other.attrs)
    assert (one.grid is None) == (other.grid is None)
    if one.grid is not None and other.grid is not None:
        assert one.grid.affine == other.grid.affine
        assert one.grid.shape == other.grid.shape
        assert same_crs(one.grid.crs, other.grid.crs)
    assert np.array_equal(stored(one), stored(other), equal_nan=True)


@pytest.mark.parametrize("interleave", INTERLEAVES)
@pytest.mark.parametrize("dtype", DTYPES.values())
def test_gdal_and_spectral_read_what_we_write(tmp_path: Path, dtype: str, interleave: str) -> None:
    cube = rich(dtype)
    path = written(tmp_path, cube, interleave=interleave)
    with rasterio.open(path) as file:
        assert file.driver == "ENVI"
        assert file.interleaving.value.lower() == {"bsq": "band", "bil": "line", "bip": "pixel"}[interleave]
        assert file.dtypes == (dtype,) * 3
        assert np.array_equal(file.read(), stored(cube))
        assert tuple(file.transform)[:6] == cube.grid.affine  # type: ignore[union-attr]
        assert file.crs == CRS.from_epsg(32633)
        assert file.nodata == cube.storage.nodata
        assert file.scales == (1.0, 1.0, 1.0)
        assert float(file.tags(1)["wavelength"]) == BANDS.wavelength_nm[0]  # type: ignore[index]
    other = spectral.open_image(str(tmp_path / "x.hdr"))
    assert other.interleave == {"bsq": spectral.BSQ, "bil": spectral.BIL, "bip": spectral.BIP}[interleave]
    assert np.array_equal(np.moveaxis(np.array(other.open_memmap(interleave="bip")), 2, 0), stored(cube))
    assert other.bands.centers == BANDS.wavelength_nm.tolist()  # type: ignore[union-attr]
    assert np.array_equal(other.bands.bandwidths, BANDS.fwhm_nm, equal_nan=True)  # type: ignore[arg-type]
    assert other.bands.band_unit == "Nanometers"
    assert [int(flag) for flag in other.metadata["bbl"]] == [1, 0, 1]
    assert other.metadata["band names"] == list(BANDS.name or ())
    assert other.metadata["acquisition time"] == "2020-01-02T03:04:05Z"
    assert_same(opened(path), cube)


@pytest.mark.parametrize("interleave", INTERLEAVES)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_we_read_what_gdal_writes(tmp_path: Path, dtype: str, interleave: str) -> None:
    array = distinct(dtype)
    path = tmp_path / "g.dat"
    profile = {"driver": "ENVI", "count": 3, "height": 4, "width": 5, "dtype": dtype, "crs": "EPSG:32733", "nodata": 7}
    for transform in (Affine(2.5, 0, 5e5, 0, -2.5, 4e6), Affine(10, 0, 5e5, 0, 10, 4e6), Affine(8, 6, 5e5, 6, -8, 4e6)):
        with rasterio.open(path, "w", interleave=interleave, transform=transform, **profile) as file:
            file.write(array)
            file.descriptions = ("400.5 nm", "500 nm", "600.25 nm")
        cube = opened(path)
        assert np.array_equal(stored(cube), array)
        assert cube.grid is not None
        assert cube.grid.affine == pytest.approx(tuple(transform)[:6], rel=1e-12)
        assert same_crs(cube.grid.crs, to_wkt2(32733))
        assert cube.storage.nodata == 7
        assert cube.bands.wavelength_nm is not None
        assert cube.bands.wavelength_nm.tolist() == [400.5, 500, 600.25]


@pytest.mark.parametrize("interleave", INTERLEAVES)
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float64"])
def test_we_read_what_spectral_writes(tmp_path: Path, dtype: str, interleave: str, order: int) -> None:
    array = distinct(dtype)
    metadata = {"wavelength": [400.5, 500, 600.125], "wavelength units": "nm", "fwhm": [1, 2, 3], "bbl": [1, 0, 1],
                "band names": ["a", "b", "c"], "data ignore value": 3, "description": "by spectral"}  # fmt: skip
    spectral_envi.save_image(
        str(tmp_path / "s.hdr"), np.moveaxis(array, 0, 2), dtype=np.dtype(dtype), interleave=interleave,
        byteorder=order, metadata=metadata, ext=".img", force=True,
    )  # fmt: skip
    cube = opened(tmp_path / "s.hdr")
    assert np.array_equal(stored(cube), array)
    expected = Bands(
        3, np.array([400.5, 500, 600.125]), np.array([1.0, 2, 3]), np.array([1, 0, 1], bool), ("a", "b", "c")
    )
    assert cube.bands == expected
    assert cube.storage.nodata == 3
    assert cube.attrs["description"] == "by spectral"


@pytest.mark.parametrize("interleave", INTERLEAVES)
@pytest.mark.parametrize("block", [(1, 1), (3, 7), (7, 3), (2, 13), (11, 13)])
@pytest.mark.parametrize("reserved", [True, False])
def test_blocks_add_up_to_the_whole(
    tmp_path: Path, interleave: str, block: tuple[int, int], reserved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = distinct("float32", (5, 11, 13))
    if not reserved:

        def fail(descriptor: int, offset: int, size: int) -> None:
            raise OSError(errno.EOPNOTSUPP, "not here")

        monkeypatch.setattr(envi_writer.os, "posix_fallocate", fail)
    path = written(tmp_path, Cube.from_array(array), block=block, interleave=interleave)
    assert np.array_equal(np.fromfile(path, "<f4"), array.transpose(TO_DISK[interleave]).ravel())


TOUGH: dict[str, dict[str, Any]] = {
    "names": {"bands": replace(BANDS, name=("a, b", " {c}; ", ""))},
    "no names at all": {"bands": replace(BANDS, name=("", "", ""))},
    "only fwhm": {"bands": Bands(3, None, np.array([1.0, 2.0, 3.0]))},
    "names that look like wavelengths": {"bands": Bands(3, None, None, None, ("400 nm", "500 nm", "600 nm"))},  # type: ignore[arg-type]
    "nothing": {"bands": Bands(3), "grid": None, "attrs": {}, "history": (), "units": "", "quantity": "dn"},
    "attributes": {
        "attrs": {
            "bands": "5", "Key With Capitals": "x", "under__score": "y", "hypersharp_x": "z", "braces": "{a} }",
            "n": "a\n; b", "wavelength": "1,2,3", "wavelength_units": "SP1", "default_bands": "9,8,7", "tab": "a\tb",
            "ünï": "cödé\u2028", "": "", "pixel_size": "10, 10, units=Meters", "description": " blank",
            "json": '{"a": [1, "\\u007b"]}', "map_info": "old",
        },
    },
    "wavelengths in a foreign unit": {
        "bands": Bands(3),
        "attrs": {"wavelength": "0.0, 0.55, 0.6", "wavelength_units": "SP1", "fwhm": "0, 0, 0"},
        "history": ("ENVI wavelength has no usable unit (SP1); kept as an attribute, not used",
                    "ENVI fwhm has no usable unit (SP1); kept as an attribute, not used"),
    },
    "history": {"history": (" ", 'a "quoted" {brace}', "comma, = ; \\u007b\r ünï", "; no comment")},
    "units": {"units": "µW/(cm²·sr·nm), {x}"},
    "scale": {"storage": Storage(np.dtype("int16"), 0.1, 0.0, -9999), "quantity": "reflectance", "units": ""},
    "reflectance": {"storage": Storage(np.dtype("int16"), 1 / 3e4, 0.0, -9999), "quantity": "reflectance", "units": ""},
    "percent": {"quantity": "reflectance", "units": "%"},
    "scale per band": {
        "storage": Storage(np.dtype("int16"), np.array([0.1, 0.2, 1 / 3]), np.array([0, 1e-9, -3.0]), 5),
        "quantity": "reflectance",
    },
    "offset": {"storage": Storage(np.dtype("uint16"), 1.0, -0.2, 65535), "quantity": "reflectance", "units": ""},
    "nan": {"dtype": "float32", "storage": Storage(np.dtype("float32"), nodata=float("nan"))},
    "sheared": {"grid": Grid((4, 5), (10.0, 1.0, 5.0, 0.5, -10.0, 6.0), UTM33)},
    "sheared without crs": {"grid": Grid((4, 5), (10.0, 1.0, 5.0, 0.5, -10.0, 6.0))},
    "turned": {"grid": Grid((4, 5), (8.7, 6.1, 5e5 + 1 / 3, 6.1, -8.7000000000001, 4e6), UTM33)},
    "turned oblong": {"grid": Grid((4, 5), (0.0, 3.0, 5e5, 4.0, 0.0, 4e6), UTM33)},
    "south up": {"grid": Grid((4, 5), (10.0, 0.0, 5e5, 0.0, 10.0, 4e6), UTM33)},
    "tiny geographic pixels": {"grid": Grid((4, 5), (1e-5, 0, 12.123456789012, 0, -1e-5, 51.98765432), to_wkt2(4326))},
    "no crs": {"grid": Grid((4, 5), (2.0, 0.0, 0.0, 0.0, -2.0, 0.0))},
    "a crs that Esri bends": {"grid": Grid((4, 5), (10.0, 0, 5e5, 0, -10.0, 4e6), to_wkt2(32662))},
    "a 3-D crs": {"grid": Grid((4, 5), (0.1, 0, 5, 0, -0.1, 6), to_wkt2(4979))},
    "a crs of no registry": {
        "grid": Grid((4, 5), (10.0, 0, 5e5, 0, -10.0, 4e6), to_wkt2("+proj=laea +lat_0=12.3 +lon_0=4.5 +ellps=bessel"))
    },
}  # fmt: skip


@pytest.mark.parametrize("changes", TOUGH.values(), ids=TOUGH)
def test_everything_comes_back(tmp_path: Path, changes: dict[str, Any]) -> None:
    cube = rich(**changes)
    path = written(tmp_path, cube)
    again = opened(path)
    assert_same(again, cube)
    (tmp_path / "twice").mkdir()
    second = written(tmp_path / "twice", again)
    lines = [sorted(p.with_suffix(".hdr").read_text().splitlines()) for p in (path, second)]
    assert lines[0] == lines[1]
    with rasterio.open(path) as file:  # and none of it makes the file unreadable to others
        assert np.array_equal(file.read(), stored(cube))
    assert spectral.open_image(str(tmp_path / "x.hdr")).shape == (4, 5, 3)


def test_what_other_programs_miss_is_said() -> None:
    def lost(**changes: Any) -> list[str]:
        return WRITER.lost(rich(**changes), WriteOptions())

    assert lost() == []
    assert lost(**TOUGH["nothing"]) == []
    assert "band names" in lost(**TOUGH["names"])[0]
    assert "map info cannot hold a sheared" in lost(**TOUGH["sheared"])[0]
    assert lost(**TOUGH["turned"]) == []


def test_scaling_is_written_for_everyone(tmp_path: Path) -> None:
    cube = rich(storage=Storage(np.dtype("int16"), 1e-4, 0.0, -9999), quantity="reflectance", units="")
    path = written(tmp_path, cube)
    fields = parse_header(path.with_suffix(".hdr").read_text())
    assert fields["reflectance scale factor"] == "10000.0"
    with rasterio.open(path) as file:
        assert file.scales == (1e-4,) * 3
        assert file.nodata == -9999
    assert spectral.open_image(str(tmp_path / "x.hdr")).scale_factor == 10000
    np.testing.assert_allclose(opened(path).read()[0], stored(cube) * 1e-4, rtol=1e-6)  # once, not twice
    percent = parse_header(written(tmp_path, rich(**TOUGH["percent"])).with_suffix(".hdr").read_text())
    assert "reflectance scale factor" not in percent


def test_a_grid_moved_by_another_program_is_believed(tmp_path: Path) -> None:
    cube = rich(**TOUGH["turned"])
    header = written(tmp_path, cube).with_suffix(".hdr")
    text = header.read_text()
    assert "hypersharp affine" in text
    header.write_text(text.replace("map info = {UTM, 1, 1, ", "map info = {UTM, 2, 1, "))
    moved = opened(header).grid
    assert moved is not None
    assert moved.affine == pytest.approx((8.7, 6.1, 5e5 + 1 / 3 - 8.7, 6.1, -8.7, 4e6 - 6.1), rel=1e-12)
    header.write_text(re.sub(r"(?m)^lines = 4$", "lines = 3", text))  # cropped: the exact affine may be stale
    cropped = opened(header).grid
    assert cropped is not None
    assert cropped.affine == pytest.approx((8.7, 6.1, 5e5 + 1 / 3, 6.1, -8.7, 4e6), rel=1e-12)
    assert cropped.affine[4] != -8.7000000000001
    bent = written(tmp_path, rich(**TOUGH["a crs that Esri bends"])).with_suffix(".hdr")
    text = re.sub("coordinate system string = .*", "coordinate system string = {}", bent.read_text())
    bent.write_text(text.replace("map info = {WGS 84 / Plate Carree", "map info = {Arbitrary"))
    unplaced = opened(bent).grid
    assert unplaced is not None
    assert unplaced.crs is None


def test_names_of_files() -> None:
    assert WRITER.names("x.img") == ["x.img", "x.hdr"]
    assert WRITER.names("a.b.dat") == ["a.b.dat", "a.b.hdr"]
    assert WRITER.names("x.hdr") == ["x.img", "x.hdr"]
    assert set(WRITER.suffixes) == {".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".hdr"}


@pytest.mark.parametrize(
    ("name", "asked", "own", "expected"),
    [
        ("x.img", None, "bil", "bil"), ("x.img", "bip", "bil", "bip"), ("x.bsq", None, "bil", "bsq"),
        ("x.bip", "bip", "bsq", "bip"), ("x.hdr", None, "bip", "bip"),
    ],
)  # fmt: skip
def test_interleave(tmp_path: Path, name: str, asked: str | None, own: str, expected: str) -> None:
    cube = rich(storage=Storage(np.dtype("int16"), interleave=own))
    path = written(tmp_path, cube, name, interleave=asked)
    assert opened(path).storage.interleave == expected
    assert np.array_equal(stored(opened(path)), stored(cube))


def test_refusals_of_the_writer(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x.bil is named as bil but bsq is asked for"):
        WRITER.create(tmp_path, "x.bil", rich(), WriteOptions(interleave="bsq"))
    with pytest.raises(UsageError, match=r"ENVI cannot hold int8; use --dtype with one of uint8, int16, .*int8\)"):
        WRITER.create(tmp_path, "x.img", Cube.from_array(np.zeros((1, 1, 1), np.int8)), WriteOptions())
    with pytest.raises(UsageError, match="neither compressed nor COG"):
        WRITER.create(tmp_path, "x.img", rich(), WriteOptions(compress="zstd"))
    with pytest.raises(UsageError, match="neither compressed nor COG"):
        WRITER.create(tmp_path, "x.img", rich(), WriteOptions(cog=True))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WriteError, match=r"x.img: cannot be created"):
        WRITER.create(tmp_path / "missing", "x.img", rich(), WriteOptions())


def test_room_is_reserved_at_once_and_the_header_comes_last(tmp_path: Path) -> None:
    sink = WRITER.create(tmp_path, "x.img", rich(), WriteOptions())
    assert (tmp_path / "x.img").stat().st_size == 120
    assert [path.name for path in tmp_path.iterdir()] == ["x.img"]
    sink.write(distinct("int16"), 0, 0)
    assert not (tmp_path / "x.hdr").exists()
    assert sink.finish() == ["x.img", "x.hdr"]
    sink.abandon()  # after the end, harmless
    sink = WRITER.create(tmp_path, "y.img", rich(), WriteOptions())
    sink.abandon()
    sink.abandon()
    assert not (tmp_path / "y.hdr").exists()
    with pytest.raises(ValueError, match="closed"):
        sink.write(distinct("int16"), 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on file sizes stands in for a full disk")
def test_a_full_disk_is_noticed_before_any_pixel(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(WriteError, match=r"x.img: no room for 120 bytes"):
            WRITER.create(tmp_path, "x.img", rich(), WriteOptions())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on file sizes stands in for a full disk")
def test_a_disk_that_fills_up_is_said(tmp_path: Path) -> None:
    sink = WRITER.create(tmp_path, "x.img", rich(), WriteOptions())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(WriteError, match=r"x.img: cannot be written"):
            sink.write(distinct("int16"), 0, 0)
        with pytest.raises(WriteError, match=r"x.img: cannot be finished"):
            sink.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sink.abandon()


# --- real files -------------------------------------------------------------------------------------------------------


def _windows(shape: tuple[int, int, int]) -> list[tuple[slice, slice, slice]]:
    rng = np.random.default_rng(5)
    found = [(ALL, slice(0, 1), slice(0, 2)), (slice(shape[0] - 1, shape[0]), ALL, ALL)]
    for _ in range(4):
        ends = [sorted(rng.choice(size + 1, 2, replace=False)) for size in shape]
        found.append(tuple(slice(int(a), int(b)) for a, b in ends))  # type: ignore[arg-type]
    return found


REAL = [
    ("envi_bsq_avirisng/ang20160910t185702_2rdn_img", (425, 25, 30), "float32", "bsq"),
    ("envi_bsq_gamsberg/cubus_gamsberg_subset", (189, 25, 10), "float32", "bsq"),
    ("envi_bsq_fpi_raw/house_crop_4b_RAW.dat", (4, 400, 400), "uint16", "bsq"),
    ("envi_bil_headwall/corn-kernel-hyperspectral.raw", (580, 31, 43), "uint16", "bil"),
    ("envi_bil_headwall/darkReference", (978, 1, 1600), "uint16", "bil"),
    ("envi_bip_hyspex/wheat_grain0.img", (10, 200, 200), "float64", "bip"),
]


@pytest.mark.parametrize(("name", "shape", "dtype", "interleave"), REAL, ids=[row[0].split("/")[1] for row in REAL])
def test_real_files(data_dir: Path, name: str, shape: tuple[int, int, int], dtype: str, interleave: str) -> None:
    path = data_dir / "formats" / name
    header = next(p for p in (path.with_name(path.name + ".hdr"), path.with_suffix(".hdr")) if p.exists())
    order = TO_DISK[interleave]
    expected = np.fromfile(path, dtype).reshape([shape[axis] for axis in order]).transpose(np.argsort(order))
    for file in (path, header):
        assert READER.sniff(file)
        cube = opened(file)
        assert (cube.shape, cube.storage.dtype, cube.storage.interleave) == (shape, np.dtype(dtype), interleave)
        for window in _windows(shape):
            assert np.array_equal(stored(cube, *window), expected[window], equal_nan=True)
    if name.endswith("corn-kernel-hyperspectral.raw"):
        return  # `spectral` needs a byte order
    other = spectral_envi.open(str(header), str(path))
    assert np.array_equal(other.read_band(shape[0] // 2), expected[shape[0] // 2], equal_nan=True)
    if "wavelength" in other.metadata and cube.bands.wavelength_nm is not None:
        assert cube.bands.wavelength_nm.tolist() == other.bands.centers


def test_real_avirisng_has_wavelengths_in_band_names_and_a_place(data_dir: Path) -> None:
    path = data_dir / "formats/envi_bsq_avirisng/ang20160910t185702_2rdn_img"
    cube = opened(path)
    assert cube.bands.wavelength_nm is not None
    assert cube.bands.wavelength_nm[[0, 1, 424]].tolist() == [376.44, 381.45, 2500.12]
    assert (np.diff(cube.bands.wavelength_nm) > 0).all()
    assert cube.storage.nodata == -9999
    assert cube.history == ()
    assert cube.attrs["description"].endswith("/ang20160910t185702_2rdn_img")
    assert cube.grid is not None
    assert cube.grid.affine == (15.0, 0.0, 353128.751647949, 0.0, -15.0, 3813729.76806641)
    with rasterio.open(path) as file:
        assert CRS.from_wkt(cube.grid.crs) == file.crs == CRS.from_epsg(32611)
        assert tuple(file.transform)[:6] == cube.grid.affine
        assert np.array_equal(file.read(100), stored(cube, [99])[0])


def test_real_gamsberg_has_wavelengths_without_a_unit(data_dir: Path) -> None:
    cube = opened(data_dir / "formats/envi_bsq_gamsberg/cubus_gamsberg_subset.hdr")
    assert cube.bands.wavelength_nm is not None
    assert cube.bands.fwhm_nm is not None
    assert cube.bands.wavelength_nm[[0, -1]].tolist() == [426.820007, 2324.909912]
    assert cube.bands.fwhm_nm[[0, -1]].tolist() == [11.3871, 10.4077]
    assert cube.bands.name is not None
    assert cube.bands.name[0] == "Resize (Band 1:resampled_clipped_2013317) (426.820007)"
    assert cube.history == ("ENVI wavelengths have no unit (unknown); taken as nm by their size",)


def test_real_fpi_has_set_points_not_wavelengths(data_dir: Path) -> None:
    cube = opened(data_dir / "formats/envi_bsq_fpi_raw/house_crop_4b_RAW.dat")
    assert cube.bands.wavelength_nm is None
    assert cube.bands.fwhm_nm is None
    assert cube.attrs["wavelength"] == "0.000000, 0.556162, 0.589708, 0.625901"
    assert cube.attrs["wavelength_units"] == "SP1"
    assert "no usable unit (SP1)" in cube.history[0]


def test_real_headwall_has_nanometres(data_dir: Path) -> None:
    folder = data_dir / "formats/envi_bil_headwall"
    corn, dark = opened(folder / "corn-kernel-hyperspectral.hdr").bands, opened(folder / "darkReference.hdr")
    assert corn.wavelength_nm is not None
    assert corn.wavelength_nm[[0, -1]].tolist() == [366.551, 1048.421]
    assert dark.bands.wavelength_nm is not None
    assert dark.bands.wavelength_nm[[0, 1, -1]].tolist() == [379.027, 379.663, 1000.95]
    assert dict(dark.attrs) == {
        "description": "[HEADWALL Hyperspec III]",
        "sensor_type": "Unknown",
        "default_bands": "159,253,520",
    }


@pytest.mark.parametrize("name", [row[0] for row in REAL], ids=[row[0].split("/")[1] for row in REAL])
def test_real_files_come_back_whole(data_dir: Path, tmp_path: Path, name: str) -> None:
    cube = opened(data_dir / "formats" / name)
    again = opened(written(tmp_path, cube, block=(64, 96)))
    assert_same(again, cube)
