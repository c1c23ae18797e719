"""NumPy files: bare arrays and archives, as numpy writes them and as we do."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from hypersharp.cube import Bands, Cube, Grid, Storage, array_source
from hypersharp.errors import AmbiguousError, FileFormatError, HypersharpError, UsageError
from hypersharp.io import arrays
from hypersharp.io.contract import ReadOptions, WriteOptions
from hypersharp.io.readers.numpy import READER
from hypersharp.io.writers.npz import WRITER as NPZ
from hypersharp.io.writers.numpy import WRITER as NPY

TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


def distinct(bands=5, rows=3, cols=4, dtype="uint8"):
    """`(C, H, W)`; every number says where it is."""
    c, h, w = np.meshgrid(np.arange(bands), np.arange(rows), np.arange(cols), indexing="ij")
    return (20 * c + 5 * h + w).astype(dtype)


def save_npy(path, array):
    path = path.with_suffix(".npy")
    np.save(path, array)
    return path


def save_npz(path, array):
    path = path.with_suffix(".npz")
    np.savez(path, cube=array)
    return path


def save_packed(path, array):
    path = path.with_suffix(".npz")
    np.savez_compressed(path, cube=array)
    return path


each_kind = pytest.mark.parametrize("save", [save_npy, save_npz, save_packed])


def opened(path, **options):
    return READER.read(path, ReadOptions(**options))


def write(writer, cube, path, block=(64, 64), **options):
    sink = writer.create(path.parent, path.name, cube, WriteOptions(**options))
    _, rows, cols = cube.shape
    for row in range(0, rows, block[0]):
        for col in range(0, cols, block[1]):
            part = slice(row, min(row + block[0], rows)), slice(col, min(col + block[1], cols))
            sink.write(cube.values.fetch(slice(None), *part), row, col)
    assert sink.finish() == [path.name] == writer.names(path.name)
    return path


def full(dtype="int16", rows=3, cols=4, bands=5):
    """A cube with something in every field."""
    nm = np.linspace(400, 2500, bands) + 1 / 3
    nm[1] = np.nan
    return Cube(
        array_source(distinct(bands, rows, cols, dtype), Storage(np.dtype(dtype), 0.1, np.arange(bands) / 3, 7)),
        Bands(bands, nm, nm / 50, np.arange(bands) != 2, (*(f"bänd {b}" for b in range(bands - 1)), "")),
        Grid((rows, cols), (10.1, 1.25, 500000.3, -0.5, -9.7, 4000000.9), 'ENGCRS["anything"]'),
        None,
        "radiance",
        "W m-2 sr-1 nm-1",
        {"acquisition_time": "2022-08-27", "description": "two\nlines", "lone": "\u00b5 \U0001f30d"},
        ("made by hand", "then\tchanged"),
    )


def assert_same(one, other):
    for a, b in zip(one.read(), other.read(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.bands == other.bands
    assert one.grid == other.grid
    assert one.storage.same_numbers(other.storage)
    for name in ("quantity", "units", "attrs", "history"):
        assert getattr(one, name) == getattr(other, name)


# ---------------------------------------------------------------------------------------------- files of others


@each_kind
@pytest.mark.parametrize("dtype", [*TYPES, ">i2", ">f4", "float16", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_type_and_order_comes_out_as_numpy_has_it(tmp_path, save, dtype, order):
    array = np.array(distinct().transpose(1, 2, 0), dtype=dtype, order=order)
    path = save(tmp_path / "a", array)
    cube = opened(path)
    assert READER.sniff(path)
    stored = cube.values.fetch(slice(None), slice(0, 3), slice(0, 4))
    assert stored.dtype.isnative
    assert stored.dtype == cube.storage.dtype
    np.testing.assert_array_equal(stored, array.transpose(2, 0, 1))
    assert cube.attrs["axes"] == f"hwc (assumed for {path.name}; --axes says otherwise)"
    assert cube.storage.interleave == ("bip" if order == "C" else "bsq")


@each_kind
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axes", ["hwc", "whc", "chw", "cwh", "hcw", "wch"])
def test_stated_axes_are_those_of_numpy(tmp_path, save, order, axes):
    array = np.array(distinct().transpose(["chw".index(axis) for axis in axes]), order=order)
    cube = opened(save(tmp_path / "a", array), axes=axes)
    np.testing.assert_array_equal(cube.read()[0], distinct())


@each_kind
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_window_is_the_slice_with_bands_in_any_order(tmp_path, save, order, monkeypatch):
    monkeypatch.setattr(arrays, "_WINDOW_BYTES", 100)  # so that windows are put together from many mappings
    array = distinct(9, 10, 11, "int32")
    cube = opened(save(tmp_path / "a", np.array(array.transpose(1, 2, 0), order=order)))
    for bands in ([8, 0, 0, 1, 2, 5], [3], [], slice(2, 7), slice(None, None, 2), np.array([1, 0])):
        for rows, cols in ((slice(0, 1), slice(10, 11)), (slice(2, 9), slice(None)), (slice(3, 3), slice(0, 2))):
            got = cube.values.fetch(bands, rows, cols)
            np.testing.assert_array_equal(got, array[bands, rows, cols])
            got[...] = 0  # the caller may write into it, and the next window is not hurt


def test_nan_is_invalid(tmp_path):
    array = distinct(dtype="float64")
    array[2, 1, 3] = np.nan
    valid = opened(save_npy(tmp_path / "a", array), axes="chw").read()[1]
    assert not valid[2, 1, 3]
    assert valid.sum() == valid.size - 1


def test_lists_beside_the_array_are_understood(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        data=distinct(),
        wavelength_um=np.linspace(0.4, 0.8, 5),
        fwhm=np.full(5, 0.01),
        bbl=[1, 1, 0, 1, 1],
        band_names=["a", "b", "c", "d", "e"],
    )
    cube = opened(tmp_path / "a.npz")
    assert cube.attrs["axes"] == "chw (from the 5 wavelengths of a.npz)"
    np.testing.assert_array_equal(cube.read()[0], distinct())
    np.testing.assert_allclose(cube.bands.wavelength_nm, [400, 500, 600, 700, 800])
    np.testing.assert_allclose(cube.bands.fwhm_nm, 10)
    assert cube.bands.good.tolist() == [True, True, False, True, True]
    assert cube.bands.name == tuple("abcde")


def test_choosing_the_member(tmp_path):
    np.savez(tmp_path / "a.npz", one=distinct(), two=distinct(3), mask=distinct()[0])
    with pytest.raises(AmbiguousError, match=r"one \(5 x 3 x 4\), two \(3 x 3 x 4\)"):
        opened(tmp_path / "a.npz")
    assert opened(tmp_path / "a.npz", dataset="two", axes="chw").shape == (3, 3, 4)
    with pytest.raises(FileFormatError, match=r"3 axes, got mask \(3 x 4\)"):
        opened(tmp_path / "a.npz", dataset="mask")
    with pytest.raises(UsageError, match="did you mean 'two'"):
        opened(tmp_path / "a.npz", dataset="tow")
    with pytest.raises(UsageError, match="nothing named 'cube'"):
        opened(save_npy(tmp_path / "b", distinct()), dataset="cube")


@each_kind
@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((3, 4)), r"\(3 x 4\)"),
        (np.float64(3), "one value"),
        (np.zeros((3, 4, 5), complex), r"complex128, 3 x 4 x 5"),
        (np.zeros((3, 4, 5), "U3"), r"\(str"),
        (np.zeros((3, 4, 5), "M8[s]"), r"\(datetime64"),
        (np.zeros((3, 4, 5), [("a", "f4")]), r"\(records"),
        (np.array([[[None, {}]]], dtype=object), r"\(object, 1 x 1 x 2\)"),
        (np.zeros((3, 0, 5)), r"needs pixels.*3 x 0 x 5"),
        (np.zeros((3, 4, 5), np.longdouble), "float64 first"),
    ],
)
def test_what_is_no_cube(tmp_path, save, array, match):
    with pytest.raises(FileFormatError, match=match):
        opened(save(tmp_path / "a", array))


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.save(tmp_path / "a.npy", np.array([[[Trap()]]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", cube=distinct(), wavelength=np.array([Trap()] * 5, dtype=object))
    with pytest.raises(FileFormatError, match="object"):
        opened(tmp_path / "a.npy")
    opened(tmp_path / "b.npz").read()
    assert not (tmp_path / "sprung").exists()


# ------------------------------------------------------------------------------------------------- sniffing, damage


def test_sniffing(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 not numpy's".ljust(40))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("notes.txt", "words")
    (tmp_path / "c.npy").write_bytes(b"")
    for name in ("a.zip", "b.zip", "c.npy", "missing.npy"):
        assert not READER.sniff(tmp_path / name)
    assert not READER.sniff(tmp_path)


@each_kind
@pytest.mark.parametrize("change", [-1000, -1, 1, 1000])
def test_a_file_of_another_length_than_it_says_is_refused_on_opening(tmp_path, save, change):
    noise = np.random.default_rng(1).integers(0, 60000, (10, 20, 30), dtype=np.uint16)
    whole = save(tmp_path / "a", noise).read_bytes()
    path = tmp_path / f"b{'.npy' if save is save_npy else '.npz'}"
    path.write_bytes(whole[:change] if change < 0 else whole + bytes(change))
    if save is save_npy or change in (-1000, -1):
        with pytest.raises(FileFormatError, match=r"b\.np."):
            opened(path)
    else:
        np.testing.assert_array_equal(opened(path).read()[0], noise.transpose(2, 0, 1))  # a zip may be followed


def header(text, version=1, magic=b"\x93NUMPY"):
    encoded = text.encode() if isinstance(text, str) else text
    return magic + bytes([version, 0]) + len(encoded).to_bytes(2 if version == 1 else 4, "little") + encoded


@pytest.mark.parametrize(
    "content",
    [
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00\xff\xff{'descr'",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr'",
        header("{'descr': '<i2', 'fortran_order': False, 'shape': (3, 4, 5)}", version=9),
        header("{'descr': '<i2', 'fortran_order': False, 'shape': (3, 4, 5), }"),  # no data
        header("{'descr': '<i2', 'fortran_order': False, 'shape': (-3, 4, 5)}"),
        header("{'descr': '<i2', 'fortran_order': False, 'shape': (3.5, 4, 5)}"),
        header("{'descr': '<i2', 'fortran_order': 'no', 'shape': (3, 4, 5)}"),
        header("{'descr': 'nonsense', 'fortran_order': False, 'shape': (3, 4, 5)}"),
        header("{'descr': '<i2', 'fortran_order': False, 'shape': (99999999999, 99999999999, 5)}"),
        header("{'fortran_order': False}"),
        header("[1, 2, 3]"),
        header("__import__('os')"),
        header("(" * 5000),
        header(b"\xff\xfe\x00"),
        header(b"\xff\xfe\x00", version=3),
    ],
)
def test_headers_that_lie(tmp_path, content):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"a\.npy"):
        opened(path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("cube.npy", content)
    with pytest.raises(FileFormatError, match=r"a\.npz"):
        opened(tmp_path / "a.npz")


def test_headers_of_versions_2_and_3(tmp_path):
    array = distinct().transpose(1, 2, 0)
    for version in (2, 3):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, array, version=(version, 0))
        np.testing.assert_array_equal(opened(tmp_path / "a.npy").read()[0], distinct())


def test_opening_reads_no_pixels(tmp_path, monkeypatch):
    noise = np.random.default_rng(1).integers(0, 60000, (40, 40, 40), dtype=np.uint16)
    path = save_packed(tmp_path / "a", noise)
    data = bytearray(path.read_bytes())
    data[50000:60000] = bytes(10000)
    path.write_bytes(data)
    cube = opened(path)
    with pytest.raises(FileFormatError, match=r"a\.npz: cannot be read"):
        cube.read()
    mapped = []
    memmap = np.memmap
    monkeypatch.setattr(np, "memmap", lambda *args: mapped.append(args) or memmap(*args))
    for save in (save_npy, save_npz):
        cube = opened(save(tmp_path / "b", noise))
        assert mapped == []
        np.testing.assert_array_equal(cube.read([7], slice(3, 5), slice(0, 2))[0], [noise[3:5, 0:2, 7]])
        (args,) = mapped
        assert args[4] == (2, 40, 40)  # of the slowest axis only what is needed is mapped
        mapped.clear()


@pytest.mark.parametrize("kind", ["npy", "npz", "packed", "ours"])
def test_random_damage_gives_our_errors_only(tmp_path, kind):
    if kind == "ours":
        path = write(NPZ, full(), tmp_path / "a.npz")
    else:
        path = {"npy": save_npy, "npz": save_npz, "packed": save_packed}[kind](tmp_path / "a", distinct())
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    messages = []
    for _ in range(100):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 6):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            opened(path).read()
        except HypersharpError as error:
            messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)


@pytest.mark.parametrize(
    "change",
    [
        {"hypersharp": 2},
        {"axes": "abc"},
        {"wavelength_nm": [1, 2]},
        {"wavelength_nm": {"a": 1}},
        {"good": "yes"},
        {"scale_factor": 0},
        {"nodata": "many"},
        {"affine": [1, 2]},
        {"attrs": 3},
        {"history": 3},
        {"quantity": "money"},
    ],
)
def test_metadata_that_do_not_fit_are_refused(tmp_path, change):
    path = write(NPZ, full(), tmp_path / "a.npz")
    with np.load(path) as archive:
        kept = json.loads(bytes(archive["hypersharp_metadata"])) | change
    text = np.frombuffer(json.dumps(kept).encode(), np.uint8)
    np.savez(path, cube=distinct(dtype="int16").transpose(1, 2, 0), hypersharp_metadata=text)
    with pytest.raises(FileFormatError, match=r"a\.npz"):
        opened(path)


# ---------------------------------------------------------------------------------------------------- our own files


@pytest.mark.parametrize("interleave", [None, "bsq", "bil", "bip"])
@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_everything_survives_in_npz(tmp_path, interleave, compress):
    cube = full(rows=70, cols=130)
    assert NPZ.lost(cube, WriteOptions(interleave=interleave, compress=compress)) == []
    path = write(NPZ, cube, tmp_path / "a.npz", interleave=interleave, compress=compress)
    back = opened(path)
    assert_same(cube, back)
    assert back.storage.interleave == (interleave or "bip")
    assert_same(back, opened(write(NPZ, back, tmp_path / "b.npz")))


@pytest.mark.parametrize("interleave", [None, "bsq", "bil", "bip"])
@pytest.mark.parametrize("block", [(64, 64), (64, 1000), (1000, 64)])
def test_npy_holds_the_array_and_says_what_it_loses(tmp_path, interleave, block):
    cube = full(rows=70, cols=130)
    path = write(NPY, cube, tmp_path / "a.npy", interleave=interleave, block=block)
    axes = {None: "hwc", "bip": "hwc", "bil": "hcw", "bsq": "chw"}[interleave]
    array = np.load(path)
    np.testing.assert_array_equal(array.transpose([axes.index(axis) for axis in "chw"]), distinct(5, 70, 130, "int16"))
    (line,) = NPY.lost(cube, WriteOptions(interleave=interleave))
    for name in (
        "wavelengths",
        "FWHM",
        "bad bands",
        "band names",
        "georeferencing",
        "scale and offset",
        "no-data marker 7",
        "quantity",
        "units",
        "attributes",
        "history",
    ):
        assert name in line
    assert ("stated as" in line) == (axes != "hwc")
    np.testing.assert_array_equal(opened(path, axes=axes).values.fetch([1], slice(0, 9), slice(1, 9)), [
        distinct(5, 70, 130, "int16")[1, :9, 1:9]
    ])  # fmt: skip


def test_a_bare_cube_loses_nothing_in_npy(tmp_path):
    cube = Cube.from_array(distinct(dtype="float32"))
    assert NPY.lost(cube, WriteOptions()) == []
    assert_same(cube, Cube(opened(write(NPY, cube, tmp_path / "a.npy")).values, Bands(5)))


@pytest.mark.parametrize("writer", [NPY, NPZ])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_is_written(tmp_path, writer, dtype):
    cube = Cube.from_array(distinct(dtype=dtype))
    path = write(writer, cube, tmp_path / f"a{writer.suffixes[0]}")
    back = opened(path)
    assert back.storage.dtype == dtype
    np.testing.assert_array_equal(back.read()[0], distinct())


@pytest.mark.parametrize("nodata", [None, float("nan"), float("inf"), 0.1, -(2**63), 2**64 - 1, np.int16(-5)])
def test_no_data_markers_come_back_exactly(tmp_path, nodata):
    cube = Cube.from_array(distinct(dtype="float32"), storage=Storage(np.dtype("f4"), nodata=nodata))
    assert opened(write(NPZ, cube, tmp_path / "a.npz")).storage.same_numbers(cube.storage)


def test_numpy_reads_what_we_write_without_pickle(tmp_path):
    path = write(NPZ, full(), tmp_path / "a.npz", dataset="scene")
    with np.load(path, allow_pickle=False) as archive:
        assert sorted(archive.files) == ["hypersharp_metadata", "scene"]
        np.testing.assert_array_equal(archive["scene"], distinct(dtype="int16").transpose(1, 2, 0))
        kept = json.loads(bytes(archive["hypersharp_metadata"]).decode("ascii"))
    assert kept["wavelength_nm"][0] == 400 + 1 / 3
    assert kept["wavelength_nm"][1] is None
    assert kept["affine"] == list(full().grid.affine)
    assert_same(full(), opened(path))


def test_only_the_named_file_is_left_in_the_scratch_folder(tmp_path):
    write(NPZ, full(), tmp_path / "a.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_stating_other_axes_for_our_own_file(tmp_path):
    path = write(NPZ, Cube.from_array(distinct()), tmp_path / "a.npz", interleave="bsq")
    assert opened(path).shape == (5, 3, 4)
    with pytest.raises(FileFormatError, match=r"a\.npz: expected 4 values of good"):
        opened(path, axes="hwc")


@pytest.mark.parametrize(
    ("writer", "options"),
    [
        (NPY, {"compress": "deflate"}),
        (NPY, {"compress": "zstd"}),
        (NPZ, {"compress": "zstd"}),
        (NPZ, {"dataset": "/"}),
        (NPZ, {"dataset": "hypersharp_metadata"}),
    ],
)
def test_what_cannot_be_written_is_refused_before_a_file_is_made(tmp_path, writer, options):
    with pytest.raises(UsageError, match=r"compress none|name for the array"):
        writer.create(tmp_path, f"a{writer.suffixes[0]}", full(), WriteOptions(**options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("writer", [NPY, NPZ])
def test_abandoning_never_raises(tmp_path, writer):
    sink = writer.create(tmp_path, f"a{writer.suffixes[0]}", full(), WriteOptions())
    sink.abandon()
    sink.abandon()


def test_a_file_that_takes_only_a_part_of_a_write_gets_the_rest(tmp_path):
    sink = NPY.create(tmp_path, "a.npy", Cube.from_array(distinct()), WriteOptions())

    class Slow(io.FileIO):
        def write(self, data):
            return super().write(bytes(data)[:7])

    sink.file.close()
    sink.file = Slow(tmp_path / "a.npy", "r+")
    sink.write(distinct(), 0, 0)
    sink.finish()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), distinct().transpose(1, 2, 0))
