"""HDF5 files: those of others as h5py writes them, our own, netCDF-4 of EMIT, and the real scenes."""

from __future__ import annotations

import errno
import io
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from rasterio.crs import CRS

from hypersharp.cube import Bands, Cube, Grid, Storage, array_source
from hypersharp.errors import AmbiguousError, FileFormatError, HypersharpError, UsageError
from hypersharp.io.contract import ReadOptions, WriteOptions
from hypersharp.io.readers.hdf5 import READER
from hypersharp.io.readers.matlab import READER as MATLAB
from hypersharp.io.readers.numpy import READER as NUMPY
from hypersharp.io.writers.hdf5 import WRITER

TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
UTM = CRS.from_epsg(32633).to_wkt(version="WKT2_2019")


def distinct(bands=5, rows=3, cols=4, dtype="uint8"):
    """`(C, H, W)`; every number says where it is."""
    c, h, w = np.meshgrid(np.arange(bands), np.arange(rows), np.arange(cols), indexing="ij")
    return (20 * c + 5 * h + w).astype(dtype)


def opened(path, **options):
    return READER.read(path, ReadOptions(**options))


def save(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


def write(cube, path, block=(64, 64), **options):
    chosen = WriteOptions(**options)
    assert WRITER.lost(cube, chosen) == []
    sink = WRITER.create(path.parent, path.name, cube, chosen)
    _, rows, cols = cube.shape
    for row in range(0, rows, block[0]):
        for col in range(0, cols, block[1]):
            part = slice(row, min(row + block[0], rows)), slice(col, min(col + block[1], cols))
            sink.write(cube.values.fetch(slice(None), *part), row, col)
    assert sink.finish() == [path.name] == WRITER.names(path.name)
    return path


def full(dtype="int16", rows=3, cols=4, bands=5):
    """A cube with something in every field."""
    scale = np.linspace(0.001, 0.2, bands)
    nm = np.linspace(400, 2500, bands) + 1 / 3
    nm[1] = np.nan
    return Cube(
        array_source(distinct(bands, rows, cols, dtype), Storage(np.dtype(dtype), scale, -0.25, 7)),
        Bands(bands, nm, nm / 50, np.arange(bands) != 2, (*(f"bänd {b}" for b in range(bands - 1)), "")),
        Grid((rows, cols), (10.1, 1.25, 500000.3, -0.5, -9.7, 4000000.9), UTM),
        None,
        "reflectance",
        "1",
        {"acquisition_time": "2022-08-27T06:07:53Z", "description": "two\nlines", "default_bands": "3,2,1"},
        ("made by hand", "then\tchanged"),
    )


def assert_same(one, other):
    for a, b in zip(one.read(), other.read(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.bands == other.bands
    assert one.grid == other.grid
    assert one.storage.same_numbers(other.storage)
    assert (one.quantity, one.units, one.attrs, one.history) == (
        other.quantity,
        other.units,
        other.attrs,
        other.history,
    )


# ---------------------------------------------------------------------------------------------- files of others


@pytest.mark.parametrize("dtype", [*TYPES, ">i2", ">f8", "float16", "bool"])
def test_every_type_comes_out_as_h5py_has_it(tmp_path, dtype):
    array = distinct(dtype="uint8").transpose(1, 2, 0).astype(dtype)
    cube = opened(save(tmp_path / "a.h5", data=array))
    stored = cube.values.fetch(slice(None), slice(0, 3), slice(0, 4))
    assert stored.dtype.isnative
    assert stored.dtype == cube.storage.dtype
    np.testing.assert_array_equal(stored, array.transpose(2, 0, 1))
    assert cube.attrs["axes"] == "hwc (assumed for a.h5; --axes says otherwise)"


@pytest.mark.parametrize("axes", ["hwc", "whc", "chw", "cwh", "hcw", "wch"])
def test_stated_axes_are_those_of_numpy(tmp_path, axes):
    path = save(tmp_path / "a.h5", data=distinct().transpose(["chw".index(axis) for axis in axes]))
    cube = opened(path, axes=axes.upper())
    np.testing.assert_array_equal(cube.read()[0], distinct())
    assert cube.attrs["axes"] == f"{axes} (stated for a.h5)"


@pytest.mark.parametrize("axes", ["hwc", "chw", "hcw"])
def test_wavelengths_that_fit_one_axis_tell_it(tmp_path, axes):
    array = distinct().transpose(["chw".index(axis) for axis in axes])
    cube = opened(save(tmp_path / "a.h5", data=array, wavelength_nm=np.linspace(400, 800, 5)))
    np.testing.assert_array_equal(cube.read()[0], distinct())
    assert cube.attrs["axes"] == f"{axes} (from the 5 wavelengths of a.h5)"
    assert cube.bands.wavelength_nm.tolist() == [400, 500, 600, 700, 800]


def test_wavelengths_that_fit_two_axes_tell_nothing(tmp_path):
    array = distinct(bands=4, rows=3, cols=4)
    cube = opened(save(tmp_path / "a.h5", data=array.transpose(1, 2, 0), wavelength_nm=np.linspace(400, 700, 4)))
    assert "assumed" in cube.attrs["axes"]
    np.testing.assert_array_equal(cube.read()[0], array)


@pytest.mark.parametrize(
    "state",
    [
        lambda file: file.attrs.update(layout="rows, cols, bands"),
        lambda file: file["data"].attrs.update(layout="line, sample, band"),
        lambda file: file["data"].attrs.update(axes="hwc"),
        lambda file: file["data"].attrs.create("axes", ["y", "x", "wavelength"], dtype=h5py.string_dtype()),
        lambda file: [setattr(file["data"].dims[i], "label", "yxc"[i]) for i in range(3)],
        lambda file: attach_scales(file, "downtrack", "crosstrack", "bands"),
    ],
)
def test_a_file_that_states_its_axes(tmp_path, state):
    # Five wavelengths fit two of the axes here, and the shape alone would say nothing.
    path = save(tmp_path / "a.h5", data=distinct(rows=5).transpose(1, 2, 0), wavelength=np.linspace(400, 800, 5))
    with h5py.File(path, "r+") as file:
        state(file)
    cube = opened(path)
    np.testing.assert_array_equal(cube.read()[0], distinct(rows=5))
    assert cube.attrs["axes"] == "hwc (as a.h5 says)"


def attach_scales(file, *names):
    for axis, name in enumerate(names):
        file[name] = np.arange(file["data"].shape[axis])
        file[name].make_scale(name)
        file["data"].dims[axis].attach_scale(file[name])


def test_dimension_names_of_xarray_files_are_obeyed(tmp_path):
    path = save(tmp_path / "a.nc", data=distinct())
    with h5py.File(path, "r+") as file:
        attach_scales(file, "band", "y", "x")
    np.testing.assert_array_equal(opened(path).read()[0], distinct())


def test_a_window_is_the_slice_with_bands_in_any_order(tmp_path):
    path = tmp_path / "a.h5"
    array = distinct(9, 40, 50, "int32")
    with h5py.File(path, "w") as file:
        file.create_dataset("cube", data=array.transpose(1, 2, 0), chunks=(7, 8, 2), compression="gzip")
    cube = opened(path)
    for bands in ([8, 0, 0, 1, 2, 5], [3], [], slice(2, 7), slice(None, None, 2), np.array([1, 0])):
        for rows, cols in ((slice(0, 1), slice(49, 50)), (slice(5, 33), slice(None)), (slice(3, 3), slice(0, 2))):
            np.testing.assert_array_equal(cube.values.fetch(bands, rows, cols), array[bands, rows, cols])


def test_attributes_in_use_are_understood(tmp_path):
    path = save(tmp_path / "a.h5", **{"swath/data": distinct(dtype="int16").transpose(1, 2, 0)})
    with h5py.File(path, "r+") as file:
        file.attrs.update(history="first\nsecond\n", Sensor="AVIRIS", units="ignored, further out", Number=3, flag=True)
        file["bands/fwhm"], file["bands/good_wavelengths"] = np.full(5, 0.01), np.array([1, 1, 0, 1, 1], dtype="u1")
        file["bands/wavelength"] = np.array([0.4, 0.5, 0.6, 0.7, 2.5])
        file["bands/wavelength"].attrs["units"] = "micrometers"
        file["swath/data"].attrs.update(
            units="surface reflectance",
            scale_factor=0.01,
            add_offset=np.float32(0.5),
            _FillValue=np.int16(22),
            GeoTransform=b"500000 10 0 4000000 0 -20",
            spatial_ref=CRS.from_epsg(32633).to_wkt(version="WKT1_GDAL"),
            valid_range=np.array([0, 5]),
        )
    cube = opened(path)
    np.testing.assert_allclose(cube.bands.wavelength_nm, [400, 500, 600, 700, 2500])
    np.testing.assert_allclose(cube.bands.fwhm_nm, 10)
    assert cube.bands.good.tolist() == [True, True, False, True, True]
    assert (cube.quantity, cube.units, cube.history) == ("reflectance", "surface reflectance", ("first", "second"))
    assert cube.attrs["sensor"] == "AVIRIS"
    assert (cube.attrs["number"], cube.attrs["flag"], cube.attrs["valid_range"]) == ("3", "True", "[0, 5]")
    values, valid = cube.read()
    assert not valid[1, 0, 2]
    assert np.isnan(values[1, 0, 2])
    assert valid.sum() == valid.size - 1
    np.testing.assert_allclose(values[valid], 0.5 + 0.01 * distinct()[valid], rtol=1e-6)
    assert cube.grid.affine == (10, 0, 500000, 0, -20, 4000000)
    assert CRS.from_wkt(cube.grid.crs) == CRS.from_epsg(32633)
    assert cube.grid.crs.startswith("PROJCRS")


def test_a_grid_mapping_is_followed(tmp_path):
    path = save(tmp_path / "a.nc", data=distinct().transpose(1, 2, 0), crs=0)
    with h5py.File(path, "r+") as file:
        file["data"].attrs["grid_mapping"] = "crs"
        file["crs"].attrs.update(crs_wkt=UTM, GeoTransform="1.0 2.0 0.25 3.0 0.5 -4.0")
    assert opened(path).grid == Grid((3, 4), (2.0, 0.25, 1.0, 0.5, -4.0, 3.0), UTM)


def test_wavelengths_without_a_unit_are_told_by_their_size_and_it_is_said(tmp_path):
    data = distinct().transpose(1, 2, 0)
    cube = opened(save(tmp_path / "a.h5", data=data, wavelength=np.linspace(400, 800, 5)))
    assert cube.bands.wavelength_nm[0] == 400
    assert cube.history == ("wavelengths have no unit; taken as nm by their size",)
    cube = opened(save(tmp_path / "b.h5", data=data, wavelength=np.arange(5) + 1.0))
    assert cube.bands.wavelength_nm is None
    assert cube.history == ("wavelengths have no unit; left out",)
    path = save(tmp_path / "c.h5", data=data, wavelength=np.linspace(4000, 8000, 5))
    with h5py.File(path, "r+") as file:
        file["wavelength"].attrs["units"] = "cm-1"
    cube = opened(path)
    assert cube.bands.wavelength_nm is None
    assert cube.history == ("wavelengths in 'cm-1' left out; not a unit of length",)


@pytest.mark.parametrize(
    ("units", "quantity"),
    [("W/m2 radiance", "radiance"), ("Reflectance x 10000", "reflectance"), ("irradiance", "dn"), ("", "dn")],
)
def test_the_quantity_is_told_by_the_word_only(tmp_path, units, quantity):
    path = save(tmp_path / "a.h5", data=distinct().transpose(1, 2, 0))
    with h5py.File(path, "r+") as file:
        file["data"].attrs["units"] = units
    assert opened(path).quantity == quantity


def test_choosing_the_dataset(tmp_path):
    array = distinct().transpose(1, 2, 0)
    path = save(tmp_path / "a.h5", **{"one/data": array, "two/data": array[:, :, :2], "mask": array[:, :, 0]})
    with pytest.raises(AmbiguousError, match=r"one/data \(3 x 4 x 5\), two/data \(3 x 4 x 2\); choose one with"):
        opened(path)
    assert opened(path, dataset="/two/data").shape == (2, 3, 4)
    with pytest.raises(AmbiguousError, match="full name"):
        opened(path, dataset="data")
    with pytest.raises(FileFormatError, match=r"3 axes, got mask \(3 x 4\)"):
        opened(path, dataset="mask")
    with pytest.raises(UsageError, match="did you mean 'two/data'"):
        opened(path, dataset="two/dta")
    with pytest.raises(UsageError, match="permutation of chw"):
        opened(path, dataset="one/data", axes="hw")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.zeros((3, 4)), r"holds data \(3 x 4\)"),
        (np.zeros((3, 4, 5), complex), r"data \(complex128, 3 x 4 x 5\)"),
        (np.zeros((3, 4, 5), "S3"), r"data \(bytes"),
        (np.zeros((3, 4, 5), [("a", "f4")]), r"data \(records"),
        (np.zeros((3, 0, 5)), r"needs pixels.*3 x 0 x 5"),
        (np.zeros((3, 4, 5), np.longdouble), "float64 first"),
    ],
)
def test_what_is_no_cube(tmp_path, values, match):
    with pytest.raises(FileFormatError, match=match):
        opened(save(tmp_path / "a.h5", data=values))


def test_a_file_of_nothing(tmp_path):
    with pytest.raises(FileFormatError, match="holds nothing"):
        opened(save(tmp_path / "a.h5"))


def test_facts_that_contradict_the_array_are_refused(tmp_path):
    path = save(tmp_path / "a.h5", data=distinct().transpose(1, 2, 0))
    with h5py.File(path, "r+") as file:
        file["data"].attrs["scale_factor"] = np.array([1.0, 2.0])
    with pytest.raises(FileFormatError, match=r"a\.h5: storage scale must be one value or 5"):
        opened(path)


# ------------------------------------------------------------------------------------------------- sniffing, damage


def test_sniffing(tmp_path):
    path = save(tmp_path / "a.bin", data=distinct())
    assert READER.sniff(path)
    assert not MATLAB.sniff(path)
    assert not NUMPY.sniff(path)
    with h5py.File(tmp_path / "block.h5", "w", userblock_size=2048):
        pass
    assert READER.sniff(tmp_path / "block.h5")
    (tmp_path / "b.h5").write_bytes(b"\x89HDF")
    assert not READER.sniff(tmp_path / "b.h5")
    assert not READER.sniff(tmp_path / "missing.h5")
    assert not READER.sniff(tmp_path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused_on_opening(tmp_path, share):
    whole = write(full(rows=50, cols=50), tmp_path / "a.h5").read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FileFormatError, match=r"cut\.h5: cannot be read"):
        opened(path)


def test_opening_reads_no_pixels_and_keeps_nothing_open(tmp_path):
    path = tmp_path / "a.h5"
    noise = np.random.default_rng(0).integers(0, 60000, (30, 30, 30), dtype=np.uint16)
    with h5py.File(path, "w") as file:
        file.create_dataset("cube", data=noise, chunks=(30, 30, 10), compression="gzip")
        second = file["cube"].id.get_chunk_info(1)
    data = bytearray(path.read_bytes())
    data[second.byte_offset + 100 : second.byte_offset + 5000] = bytes(4900)
    path.write_bytes(data)
    cube = opened(path)
    np.testing.assert_array_equal(cube.read([3])[0][0], noise[:, :, 3])  # only its window is read
    with pytest.raises(FileFormatError, match=r"a\.h5: cannot be read"):
        cube.read([15])
    with h5py.File(path, "r+"):  # would fail while the file is open for reading
        pass


def test_several_threads_may_read(tmp_path):
    array = distinct(5, 60, 60, "int32")
    cube = opened(save(tmp_path / "a.h5", data=array), axes="chw")
    wrong = []

    def work(row):
        for _ in range(20):
            got = cube.values.fetch([4, 1], slice(row, row + 10), slice(5, 50))
            if not np.array_equal(got, array[[4, 1], row : row + 10, 5:50]):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(10 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_random_damage_gives_our_errors_only(tmp_path):
    whole = write(full(), tmp_path / "a.h5", compress="deflate").read_bytes()
    rng = np.random.default_rng(5)
    path = tmp_path / "b.h5"
    messages = []
    for _ in range(100):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 8):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            opened(path).read()
        except HypersharpError as error:
            messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)


# ---------------------------------------------------------------------------------------------------- our own files


@pytest.mark.parametrize("interleave", [None, "bsq", "bil", "bip"])
@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_everything_survives_the_round_trip(tmp_path, interleave, compress):
    cube = full(rows=70, cols=130)
    path = write(cube, tmp_path / "a.h5", interleave=interleave, compress=compress)
    back = opened(path)
    assert_same(cube, back)
    assert back.storage.interleave == (interleave or "bsq")
    assert_same(back, opened(write(back, tmp_path / "b.h5")))


def test_nothing_grows_when_an_assumption_about_another_file_is_carried_along(tmp_path):
    cube = opened(save(tmp_path / "theirs.h5", data=distinct().transpose(1, 2, 0)))
    back = opened(write(cube, tmp_path / "ours.h5"))
    assert back.attrs == cube.attrs == {"axes": "hwc (assumed for theirs.h5; --axes says otherwise)"}
    np.testing.assert_array_equal(back.read()[0], distinct())


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_is_written(tmp_path, dtype):
    cube = Cube.from_array(distinct(dtype=dtype))
    path = write(cube, tmp_path / "a.hdf5")
    back = opened(path)
    assert back.storage.dtype == dtype
    assert_same(cube, back)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", -9999),  # cannot be stored, yet was said
        ("float32", float("nan")),
        ("float32", -1.7976931348623157e308),
        ("float32", 0.1),
        ("int64", -(2**63)),
        ("uint64", 2**64 - 1),
        ("int16", 2.5),
    ],
)
def test_no_data_markers_come_back_exactly(tmp_path, dtype, nodata):
    cube = Cube.from_array(distinct(dtype=dtype), storage=Storage(np.dtype(dtype), nodata=nodata))
    back = opened(write(cube, tmp_path / "a.h5"))
    assert back.storage.same_numbers(cube.storage)
    assert type(back.storage.nodata) is type(nodata)


def test_h5py_reads_what_we_write(tmp_path):
    cube = full()
    write(cube, tmp_path / "a.h5", dataset="level/cube")
    with h5py.File(tmp_path / "a.h5") as file:
        dataset = file["level/cube"]
        np.testing.assert_array_equal(dataset[()], distinct(dtype="int16"))
        assert dataset.attrs["axes"] == b"chw"
        assert dataset.attrs["_FillValue"] == 7
        assert dataset.attrs["_FillValue"].dtype == np.int16
        np.testing.assert_array_equal(file["level/wavelength_nm"][()], cube.bands.wavelength_nm)
        np.testing.assert_array_equal(file["level/scale_factor"][()], cube.storage.scale)
        assert [name.decode() for name in file["level/band_names"][()]] == list(cube.bands.name)
        a, b, c, d, e, f = cube.grid.affine
        assert dataset.attrs["GeoTransform"].tolist() == [c, a, b, f, d, e]
        assert CRS.from_wkt(dataset.attrs["crs_wkt"].decode()) == CRS.from_epsg(32633)
    assert_same(cube, opened(tmp_path / "a.h5"))


def test_more_metadata_than_attributes_of_hdf5_can_hold(tmp_path):
    count = 2000
    nm = np.linspace(400, 2500, count)
    cube = Cube(
        array_source(np.zeros((count, 2, 2), np.uint8), Storage(np.dtype("u1"), np.arange(count) + 1.0)),
        Bands(count, nm, nm, nm > 500, tuple(f"a rather long name of band {b}" for b in range(count))),
        attrs={"description": "x" * 100_000},
        history=tuple(f"operation {n}: {'~' * 40}" for n in range(5000)),
    )
    assert_same(cube, opened(write(cube, tmp_path / "a.h5")))


def test_one_pixel_and_one_band(tmp_path):
    cube = Cube(
        array_source(np.full((1, 1, 1), 3, np.int16), Storage(np.dtype("i2"), 0.5, 1.0)),
        Bands(1, [550.0], [10.0], None, ("only",)),
        Grid((1, 1), (1, 0, 0, 0, -1, 0)),
    )
    back = opened(write(cube, tmp_path / "a.h5"))
    assert_same(cube, back)
    assert back.read()[0].tolist() == [[[2.5]]]


def test_stating_other_axes_for_our_own_file(tmp_path):
    path = write(Cube.from_array(distinct()), tmp_path / "a.h5")
    cube = opened(path, axes="hwc")
    assert cube.shape == (4, 5, 3)
    assert cube.attrs["axes"] == "hwc (stated for a.h5)"


@pytest.mark.parametrize("options", [{"compress": "zstd"}, {"dataset": ""}, {"dataset": "/"}, {"dataset": "a/good"}])
def test_what_cannot_be_written_is_refused_before_a_file_is_made(tmp_path, options):
    with pytest.raises(UsageError, match="none or deflate" if "compress" in options else "name for the dataset"):
        WRITER.create(tmp_path, "a.h5", full(), WriteOptions(**options))
    assert list(tmp_path.iterdir()) == []


def test_abandoning_never_raises(tmp_path):
    sink = WRITER.create(tmp_path, "a.h5", full(), WriteOptions())
    sink.abandon()
    sink.abandon()


class Full:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, raw, room):
        self.raw, self.room = raw, room

    def write(self, data):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self.raw.write(data[: self.room])
        self.room -= taken
        return taken

    def __getattr__(self, name):
        return getattr(self.raw, name)


@pytest.mark.parametrize("compress", ["none", "deflate"])
@pytest.mark.parametrize("room", [0, 100, 3000, 20_000, 300_000, 700_000])
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path, monkeypatch, compress, room):
    noise = np.random.default_rng(0).integers(0, 60000, (40, 130, 150), dtype=np.uint16)
    monkeypatch.setattr(Path, "open", lambda path, *args, **kwargs: Full(io.FileIO(path, "w+"), room))
    sink = WRITER.create(tmp_path, "a.h5", Cube.from_array(noise), WriteOptions(compress=compress))
    with pytest.raises(OSError, match="No space left"):  # noqa: PT012  # at some block, or on closing
        for row in range(0, 130, 64):
            sink.write(noise[:, row : row + 64], row, 0)
        sink.finish()
    sink.abandon()
    with h5py.File(tmp_path / "b.h5", "w") as file:  # HDF5 is still in order
        file["x"] = 1


# ------------------------------------------------------------------------------------------------------- real files


def test_real_scenes(data_dir: Path):
    paths = sorted((data_dir / "scenes").glob("*.h5"))
    assert len(paths) >= 19
    for path in paths:
        cube = opened(path)
        with h5py.File(path) as file:
            dataset = file["cube"]
            assert cube.shape == (dataset.shape[2], *dataset.shape[:2])
            assert cube.storage.dtype == dataset.dtype
            got = cube.values.fetch([0, 50], slice(3, 30), slice(20, 40))
            np.testing.assert_array_equal(got, dataset[3:30, 20:40][:, :, [0, 50]].transpose(2, 0, 1))
            assert cube.units == file.attrs.get("units", "")
            assert cube.attrs["sensor"] == file.attrs["sensor"]
            assert cube.attrs["source"] == file.attrs["source"]
            if "wavelength_nm" in file:
                np.testing.assert_array_equal(cube.bands.wavelength_nm, file["wavelength_nm"][()])
            else:
                assert cube.bands.wavelength_nm is None
        assert cube.attrs["axes"] == f"hwc (as {path.name} says)"
        assert cube.quantity == ("reflectance" if "sandiego" in path.name else "dn")


def test_real_dead_bands_are_invalid(data_dir: Path):
    values, valid = opened(data_dir / "scenes" / "aviris_salton_sea_roi_224.h5").read()
    assert (~valid).all(axis=(1, 2)).sum() == 20
    np.testing.assert_array_equal(np.isnan(values), ~valid)


@pytest.mark.parametrize(("product", "names"), [("L1B_OBS", ["obs"]), ("L2A_MASK", ["band_mask", "mask"])])
def test_real_companions_of_emit_hold_no_spectra_and_say_so(data_dir: Path, product, names):
    (path,) = (data_dir / "formats" / "netcdf_emit").glob(f"*{product}*")
    assert READER.sniff(path)
    with pytest.raises(
        FileFormatError, match=r"no radiance or reflectance, only .*; choose one with --dataset"
    ) as caught:
        opened(path)
    assert "\n" not in str(caught.value)
    for name in names:
        cube = opened(path, dataset=name)
        assert cube.grid is None  # the transform in these files is that of the map, not of the swath
        assert cube.attrs["axes"].startswith("hwc (as ") == (name != "band_mask")
        with h5py.File(path) as file:
            np.testing.assert_array_equal(
                cube.values.fetch(slice(None), slice(7, 90), slice(3, 20)), file[name][7:90, 3:20].transpose(2, 0, 1)
            )
            if name != "band_mask":
                listed = file["sensor_band_parameters"]["observation_bands" if name == "obs" else "mask_bands"]
                assert list(cube.bands.name) == [text.decode() for text in listed[()]]
                assert cube.storage.nodata == -9999
