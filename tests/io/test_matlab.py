"""MATLAB files: v5 as scipy writes them, v7.3 as h5py lays them out, and real ones."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from hypersharp.errors import AmbiguousError, FileFormatError, HypersharpError, UsageError
from hypersharp.io.contract import ReadOptions
from hypersharp.io.readers.hdf5 import READER as HDF5
from hypersharp.io.readers.matlab import READER

TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
CLASS = {"float64": "double", "float32": "single", "bool": "logical"}


def distinct(rows=3, cols=4, bands=5, dtype="uint8"):
    """`(H, W, C)`; every number says where it is: 100 a band, 10 a row, 1 a column in base 10."""
    c, h, w = np.meshgrid(np.arange(bands), np.arange(rows), np.arange(cols), indexing="ij")
    return (20 * c + 5 * h + w).transpose(1, 2, 0).astype(dtype)


def save_v5(path, compressed=False, **variables):
    scipy.io.savemat(path, variables, do_compression=compressed)
    return path


def save_v73(path, **variables):
    """The layout of v7.3: a user block with MATLAB's header before HDF5, axes reversed, the class as an attribute."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in variables.items():
            dataset = file.create_dataset(name, data=np.asarray(values).T)
            kind = CLASS.get(str(values.dtype), str(values.dtype))
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(116))
        file.seek(124)
        file.write(b"\x00\x02IM")
    return path


SAVERS = {
    "v5": save_v5,
    "v5 compressed": lambda path, **variables: save_v5(path, compressed=True, **variables),
    "v7.3": save_v73,
}
each_version = pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS.keys())


def opened(path, **options):
    return READER.read(path, ReadOptions(**options))


@each_version
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_comes_out_as_it_was_saved(tmp_path, save, dtype):
    path = save(tmp_path / "a.mat", data=distinct(dtype=dtype))
    cube = opened(path)
    assert READER.sniff(path)
    assert not HDF5.sniff(path)
    assert cube.storage.dtype == np.dtype(dtype)
    assert cube.shape == (5, 3, 4)
    stored = cube.values.fetch(slice(None), slice(0, 3), slice(0, 4))
    assert stored.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(stored, distinct(dtype=dtype).transpose(2, 0, 1))


@each_version
@pytest.mark.parametrize("axes", ["hwc", "whc", "chw", "cwh", "hcw", "wch"])
def test_axes_are_as_matlab_sees_them_in_both_versions(tmp_path, save, axes):
    array = distinct().transpose(["hwc".index(axis) for axis in axes])
    cube = opened(save(tmp_path / "a.mat", data=array), axes=axes)
    np.testing.assert_array_equal(cube.read()[0], distinct().transpose(2, 0, 1))
    assert cube.attrs["axes"] == f"{axes} (stated for a.mat)"


@each_version
def test_the_default_is_hwc_and_said_to_be_assumed(tmp_path, save):
    cube = opened(save(tmp_path / "a.mat", data=distinct()))
    assert cube.attrs["axes"] == "hwc (assumed for a.mat; --axes says otherwise)"
    np.testing.assert_array_equal(cube.read()[0], distinct().transpose(2, 0, 1))


@each_version
def test_a_window_is_the_slice_with_bands_in_any_order(tmp_path, save):
    cube = opened(save(tmp_path / "a.mat", data=distinct()))
    values, valid = cube.read([4, 0, 0, 1], slice(1, 3), slice(2, 4))
    np.testing.assert_array_equal(values, distinct().transpose(2, 0, 1)[[4, 0, 0, 1], 1:3, 2:4])
    assert valid.all()
    values[:] = 0  # the caller may write into it
    np.testing.assert_array_equal(cube.read()[0], distinct().transpose(2, 0, 1))


@each_version
def test_logicals_are_numbers_and_nan_is_invalid(tmp_path, save):
    cube = opened(save(tmp_path / "a.mat", data=distinct() > 30))
    assert cube.storage.dtype == np.uint8
    np.testing.assert_array_equal(cube.read()[0], (distinct() > 30).transpose(2, 0, 1))
    holes = distinct(dtype="float32")
    holes[1, 2, 3] = np.nan
    valid = opened(save(tmp_path / "b.mat", data=holes)).read()[1]
    assert valid.sum() == valid.size - 1
    assert not valid[3, 1, 2]


@each_version
def test_wavelengths_in_the_file_tell_the_axis_and_its_units(tmp_path, save):
    array = distinct(rows=6, cols=7, bands=3).transpose(2, 0, 1)
    cube = opened(save(tmp_path / "a.mat", data=array, wavelength_nm=np.array([[400.5, 500.25, 640.0]])))
    assert cube.shape == (3, 6, 7)
    assert cube.attrs["axes"] == "chw (from the 3 wavelengths of a.mat)"
    np.testing.assert_array_equal(cube.bands.wavelength_nm, [400.5, 500.25, 640.0])
    assert cube.history == ()
    micro = opened(save(tmp_path / "b.mat", data=array, Wavelengths=np.array([[0.4], [0.5], [2.5]])))
    np.testing.assert_allclose(micro.bands.wavelength_nm, [400, 500, 2500])
    assert micro.history == ("wavelengths have no unit; taken as um by their size",)
    counted = opened(save(tmp_path / "c.mat", data=array, wavelength=np.array([[1.0, 2.0, 3.0]])))
    assert counted.bands.wavelength_nm is None
    assert counted.history == ("wavelengths have no unit; left out",)


@each_version
def test_a_matrix_of_pixels_is_folded_by_its_rows_and_columns(tmp_path, save):
    # MATLAB's own way from a cube to a matrix: reshape(permute(cube, [3 1 2]), bands, []), columns first.
    cube = distinct()
    matrix = cube.transpose(2, 0, 1).reshape(5, 12, order="F")
    sides = {"nRow": np.array([[3.0]]), "nCol": np.array([[4.0]])}
    by_bands = opened(save(tmp_path / "a.mat", Y=matrix, **sides))
    np.testing.assert_array_equal(by_bands.read()[0], cube.transpose(2, 0, 1))
    by_pixels = opened(save(tmp_path / "b.mat", Y=matrix.T, **sides))
    np.testing.assert_array_equal(by_pixels.read()[0], cube.transpose(2, 0, 1))
    along_rows = cube.transpose(2, 0, 1).reshape(5, 12)
    stated = opened(save(tmp_path / "c.mat", Y=along_rows, **sides), axes="cwh")
    np.testing.assert_array_equal(stated.read()[0], cube.transpose(2, 0, 1))
    with pytest.raises(UsageError, match="must start with c"):
        opened(tmp_path / "a.mat", axes="hwc")


@each_version
def test_choosing_the_variable(tmp_path, save):
    path = save(tmp_path / "a.mat", reference=distinct(), truth=distinct()[:, :, 0], other=distinct()[:, :, :2])
    with pytest.raises(AmbiguousError, match=r"reference \(3 x 4 x 5\).*--dataset"):
        opened(path)
    assert opened(path, dataset="other").shape == (2, 3, 4)
    with pytest.raises(FileFormatError, match=r"3 axes, got truth \(3 x 4\)"):
        opened(path, dataset="truth")
    with pytest.raises(UsageError, match="did you mean 'reference'"):
        opened(path, dataset="refrence")
    with pytest.raises(UsageError, match="permutation of chw"):
        opened(path, dataset="other", axes="xyz")


@each_version
def test_a_file_without_a_cube_says_what_it_holds(tmp_path, save):
    path = save(tmp_path / "a.mat", truth=distinct()[:, :, 0], name=np.array([[1.0]]))
    with pytest.raises(FileFormatError, match=r"3 axes of real numbers; this file holds .*truth \(3 x 4\)"):
        opened(path)


def test_what_is_no_array_of_real_numbers_is_named(tmp_path):
    path = save_v5(
        tmp_path / "a.mat",
        spectrum=distinct().astype(complex),
        record={"a": distinct()},
        text="some words",
        parts=np.array([distinct(), 1], dtype=object),
        thin=scipy.sparse.csc_matrix(np.eye(3)),
    )
    for name, kind in (
        ("spectrum", "complex double"),
        ("record", "struct"),
        ("text", "char"),
        ("parts", "cell"),
        ("thin", "sparse"),
    ):
        with pytest.raises(FileFormatError, match=rf"real numbers, got {name} \({kind}"):
            opened(path, dataset=name)
    with h5py.File(save_v73(tmp_path / "b.mat", a=distinct()), "r+") as file:
        parts = np.zeros((5, 4, 3), dtype=[("real", "f8"), ("imag", "f8")])
        file.create_dataset("spectrum", data=parts).attrs["MATLAB_class"] = np.bytes_("double")
        file["nothing"] = np.array([0, 0], dtype=np.uint64)
        file["nothing"].attrs.update({"MATLAB_class": np.bytes_("double"), "MATLAB_empty": np.uint8(1)})
    with pytest.raises(FileFormatError, match=r"got spectrum \(complex double, 3 x 4 x 5\)"):
        opened(tmp_path / "b.mat", dataset="spectrum")
    with pytest.raises(FileFormatError, match=r"got nothing \(empty double"):
        opened(tmp_path / "b.mat", dataset="nothing")
    assert opened(tmp_path / "b.mat").shape == (5, 3, 4)


def test_names_and_shapes_are_those_that_scipy_lists(tmp_path):
    path = save_v5(tmp_path / "a.mat", first=distinct(), a_rather_long_name=distinct()[0], n=np.array([[2.5]]))
    with pytest.raises(UsageError, match="holds") as caught:
        opened(path, dataset="zzz")
    for name, shape, _ in scipy.io.whosmat(path):
        assert f"{name} ({' x '.join(map(str, shape))})" in str(caught.value)


def test_a_file_of_the_other_byte_order(tmp_path):
    numbers = distinct(dtype="int16")

    def part(kind, data):
        return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)

    body = part(6, struct.pack(">II", 10, 0)) + part(5, struct.pack(">3i", 3, 4, 5)) + part(1, b"data")
    body += part(3, numbers.astype(">i2").tobytes(order="F"))
    header = b"MATLAB 5.0 MAT-file, written on SPARC".ljust(124) + b"\x01\x00MI"
    plain, packed = tmp_path / "plain.mat", tmp_path / "packed.mat"
    element = struct.pack(">II", 14, len(body)) + body
    plain.write_bytes(header + element)
    squeezed = zlib.compress(element)
    packed.write_bytes(header + struct.pack(">II", 15, len(squeezed)) + squeezed)
    for path in (plain, packed):
        np.testing.assert_array_equal(scipy.io.loadmat(path)["data"], numbers)
        np.testing.assert_array_equal(opened(path).read()[0], numbers.transpose(2, 0, 1))


def test_doubles_that_were_stored_as_small_integers_are_doubles(tmp_path):
    numbers = distinct(dtype="uint8")
    body = io.BytesIO()
    for kind, data in (
        (6, struct.pack("<II", 6, 0)),
        (5, struct.pack("<3i", 3, 4, 5)),
        (1, b"d"),
        (2, numbers.tobytes(order="F")),
    ):
        body.write(struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8))
    path = tmp_path / "a.mat"
    path.write_bytes(
        b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 14, body.tell()) + body.getvalue()
    )
    cube = opened(path)
    assert cube.storage.dtype == np.float64
    assert cube.values.fetch(slice(None), slice(0, 3), slice(0, 4)).dtype == np.float64
    np.testing.assert_array_equal(cube.read()[0], scipy.io.loadmat(path)["d"].transpose(2, 0, 1))


@each_version
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_file_that_is_cut_off_is_refused_on_opening(tmp_path, save, share):
    array = np.random.default_rng(1).integers(0, 60000, (20, 20, 20), dtype=np.uint16)
    whole = save(tmp_path / "a.mat", data=array).read_bytes()
    cut = tmp_path / "cut.mat"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FileFormatError, match=r"cut\.mat"):
        opened(cut)


def test_opening_reads_no_pixels(tmp_path, monkeypatch):
    array = np.random.default_rng(1).integers(0, 60000, (40, 40, 40), dtype=np.uint16)
    packed = save_v5(tmp_path / "a.mat", compressed=True, data=array)
    damaged = bytearray(packed.read_bytes())
    damaged[-20000:-10000] = bytes(10000)
    packed.write_bytes(damaged)
    cube = opened(packed)
    with pytest.raises(FileFormatError, match=r"a\.mat"):
        cube.read()
    plain = save_v5(tmp_path / "b.mat", data=array)
    mapped = []
    memmap = np.memmap
    monkeypatch.setattr(np, "memmap", lambda *args: mapped.append(args) or memmap(*args))
    cube = opened(plain)
    assert mapped == []
    np.testing.assert_array_equal(cube.read([7], slice(3, 5), slice(0, 2))[0], [array[3:5, 0:2, 7]])
    assert len(mapped) == 1


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x00\x00\x00\x00\x04\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00x\x00", "v4"),
        (b"not a MATLAB file at all, but it has the ending", "v5 or v7.3"),
        (b"MATLAB 5.0 MAT-file".ljust(126) + b"XX", "byte order"),
        (b"MATLAB 5.0 MAT-file".ljust(126) + b"IM", "holds nothing"),
        (b"MATLAB 7.3 MAT-file".ljust(600), "v5 or v7.3"),
        (b"", "v5 or v7.3"),
    ],
)
def test_other_content(tmp_path, content, match):
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    assert READER.sniff(path)
    with pytest.raises(FileFormatError, match=match):
        opened(path)


def test_an_empty_array_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"needs pixels.*0 x 4 x 5"):
        opened(save_v5(tmp_path / "a.mat", data=np.zeros((0, 4, 5))))


def test_one_pixel_and_one_band(tmp_path):
    cube = opened(save_v73(tmp_path / "a.mat", data=np.full((1, 1, 1), 7.5)))
    assert cube.read()[0].tolist() == [[[7.5]]]


def test_sniffing_never_raises(tmp_path):
    assert not READER.sniff(tmp_path / "missing.mat")
    assert not READER.sniff(tmp_path)


@each_version
def test_random_damage_gives_our_errors_only(tmp_path, save):
    variables = {"data": distinct(), "wavelength": np.linspace(400, 900, 5)[None], "note": np.ones((2, 2))}
    whole = save(tmp_path / "a.mat", **variables).read_bytes()
    rng = np.random.default_rng(7)
    path = tmp_path / "b.mat"
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


def test_real_jasper_ridge_equals_the_scene_made_of_it(data_dir: Path):
    path = data_dir / "formats" / "mat" / "jasper_ridge_224.mat"
    cube = opened(path)
    assert cube.shape == (224, 100, 100)
    with h5py.File(data_dir / "scenes" / "aviris_jasper_ridge_224.h5") as file:
        np.testing.assert_array_equal(cube.read()[0], file["cube"][()].transpose(2, 0, 1))
    window = cube.read([100, 7], slice(90, 100), slice(0, 3))[0]
    matrix = scipy.io.loadmat(path)["Y"]
    np.testing.assert_array_equal(window[1, :, 2], matrix[7, 290:300])


def test_real_pavia_equals_the_scene_made_of_it(data_dir: Path):
    cube = opened(data_dir / "formats" / "mat" / "pavia.mat")
    assert cube.attrs["axes"].startswith("hwc (assumed")
    with h5py.File(data_dir / "scenes" / "rosis_pavia_centre_crop100.h5") as file:
        np.testing.assert_allclose(cube.read()[0] * 6733, file["cube"][()].transpose(2, 0, 1), atol=1e-9)


def test_real_san_diego(data_dir: Path):
    path = data_dir / "formats" / "mat" / "Sandiego_v73.mat"
    cube = opened(path)
    assert cube.shape == (189, 100, 100)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(cube.read([188])[0][0], file["hsi"][188].T)
    with pytest.raises(FileFormatError, match=r"hsi_gt \(100 x 100\)"):
        opened(path, dataset="hsi_gt")
