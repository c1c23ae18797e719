"""Writing: where to, what may be replaced, what is left behind, and that numbers arrive as they were."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from hypersharp.cube import Bands, Cube, Grid, Storage, array_source
from hypersharp.errors import UsageError, WriteError
from hypersharp.io import MetadataLossWarning, WriteOptions, list_writers, open_cube, write_cube
from hypersharp.io.writing import regions, writer_of

ENDINGS = [".tif", ".img", ".h5", ".npz", ".npy"]
TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


def plain(shape=(3, 5, 7), dtype="int16", **options) -> Cube:
    numbers = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    return Cube.from_array(numbers, **options)


def write(cube: Cube, path: Path, **options) -> Path:
    """Write, deaf to what the format cannot hold."""
    overwrite = options.pop("overwrite", False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetadataLossWarning)
        return write_cube(cube, path, overwrite=overwrite, options=WriteOptions(**options))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", TYPES)
def test_stored_numbers_are_copied_bit_for_bit(tmp_path, ending, dtype):
    """Extremes included: 64-bit integers that no float holds, NaN with its payload, infinities, minus zero."""
    if np.dtype(dtype).kind == "f":
        numbers = np.array(
            [0.0, -0.0, 1 / 3, np.nan, np.inf, -np.inf, np.finfo(dtype).max, 5e-324, 1.0, 2, 3, 4], dtype
        )
        bits = numbers.view(f"u{numbers.itemsize}")
        bits[3] |= 77
    else:
        info = np.iinfo(dtype)
        numbers = np.array([info.min, info.min + 1, 0, 1, info.max - 1, info.max, 7, 8, 9, 10, 11, 12], dtype)
    numbers = numbers.reshape(2, 2, 3)
    cube = Cube.from_array(numbers)
    if (ending, dtype) == (".img", "int8"):
        with pytest.raises(UsageError, match="int16"):
            write(cube, tmp_path / "out.img")
        return
    write(cube, tmp_path / f"out{ending}")
    source = open_cube(tmp_path / f"out{ending}").values
    back = source.fetch(slice(None), slice(None), slice(None))
    assert back.dtype == dtype
    assert back.tobytes() == numbers.tobytes()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 70), (2, 130, 1), (2, 300, 270), (400, 3, 2)])
def test_every_size(tmp_path, ending, shape):
    cube = plain(shape, "int32")
    write(cube, tmp_path / f"out{ending}")
    np.testing.assert_array_equal(open_cube(tmp_path / f"out{ending}").read()[0], cube.read()[0])


@pytest.mark.parametrize("ending", [".tif", ".img", ".h5", ".npz", ".npy"])
@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_every_interleave(tmp_path, ending, interleave):
    cube = plain((5, 90, 130), "uint16")
    path = tmp_path / f"out{ending}"
    if (ending, interleave) == (".tif", "bil"):
        with pytest.raises(UsageError, match="bsq or bip"):
            write(cube, path, interleave=interleave)
        assert not names(tmp_path)
        return
    write(cube, path, interleave=interleave)
    axes = {"bsq": "chw", "bil": "hcw", "bip": "hwc"}[interleave] if ending == ".npy" else None
    back = open_cube(path, axes=axes)
    np.testing.assert_array_equal(back.read()[0], cube.read()[0])
    assert back.storage.interleave == interleave


@pytest.mark.parametrize("ending", [".tif", ".h5", ".npz"])
@pytest.mark.parametrize("compress", ["zstd", "deflate"])
@pytest.mark.parametrize("dtype", ["int16", "float64"])
def test_compression_loses_nothing(tmp_path, ending, compress, dtype):
    cube = plain((3, 80, 300), dtype)
    path = tmp_path / f"out{ending}"
    if compress == "zstd" and ending != ".tif":
        with pytest.raises(UsageError, match="none or deflate"):
            write(cube, path, compress=compress)
        return
    write(cube, path, compress=compress)
    np.testing.assert_array_equal(open_cube(path).read()[0], cube.read()[0])
    assert path.stat().st_size < 3 * 80 * 300 * np.dtype(dtype).itemsize


@pytest.mark.parametrize("ending", ENDINGS)
def test_computed_values_arrive(tmp_path, ending):
    """A source that is no file: encoded band group by band group and block by block."""
    made = plain((4, 150, 140), "float32")

    class Doubled:
        shape, dtype, complete, files, block = made.shape, np.dtype(np.float32), True, (), (1, 64, 70)

        def read(self, bands, rows, cols):
            values, valid = made.values.read(bands, rows, cols)
            return values * 2, valid

    cube = Cube(Doubled(), made.bands, storage=Storage(np.dtype(np.int32)))
    write(cube, tmp_path / f"out{ending}", threads=3)
    np.testing.assert_array_equal(open_cube(tmp_path / f"out{ending}").read()[0], made.read()[0] * 2)


def test_clipping_is_told(tmp_path):
    cube = replace(plain((1, 3, 100), "float64"), storage=Storage(np.dtype(np.uint8)))
    with pytest.warns(MetadataLossWarning, match=r"44 values lay outside of the range of uint8"):
        write_cube(cube, tmp_path / "out.tif")


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float64"])
def test_types_on_request(tmp_path, dtype):
    values = np.linspace(-1.5, 3.0, 60).reshape(2, 5, 6)
    values[1, 2, 3] = np.nan
    write(Cube.from_array(values), tmp_path / "out.tif", dtype=dtype)
    back = open_cube(tmp_path / "out.tif")
    assert back.storage.dtype == dtype
    got, valid = back.read()
    np.testing.assert_array_equal(valid, np.isfinite(values))
    step = np.max(back.storage.scale) if back.storage.is_scaled else 0
    assert np.nanmax(np.abs(got - values)) <= 0.5001 * step + 3e-7


def test_a_cog_is_one(tmp_path):
    cube = plain((3, 700, 600), "uint16", grid=Grid((700, 600), (10.0, 0, 100, 0, -10, 200)))
    write(cube, tmp_path / "out.tif", cog=True, compress="deflate")
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
        assert file.overviews(1)
        np.testing.assert_array_equal(file.read(), cube.read()[0])
    assert names(tmp_path) == {"out.tif"}


def test_progress_reaches_its_end(tmp_path):
    seen = []
    write_cube(plain((2, 600, 600)), tmp_path / "out.tif", progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][0] == seen[-1][1]


def test_regions_partition_the_scene():
    for memory in (1, 1 << 14, 1 << 30):
        cube = plain((3, 130, 200))
        seen = np.zeros((130, 200), int)
        for rows, cols in regions(cube, (64, 32), memory):
            seen[rows, cols] += 1
            assert rows.start % 64 == cols.start % 32 == 0
        assert (seen == 1).all()


# ---- where to --------------------------------------------------------------------------------------------------------


def test_endings_choose_the_writer():
    for name, writer in list_writers().items():
        for suffix in writer.suffixes:
            assert writer_of(f"a.b/x{suffix.upper()}") is writer, name
    for wrong in ("x", "x.docx", "tif", ".tif", ""):
        with pytest.raises(UsageError, match=r"expected an output ending out of .*\.tif"):
            writer_of(wrong)


def test_an_existing_file_is_kept_unless_told(tmp_path):
    for ending in ENDINGS:
        path = write(plain(), tmp_path / f"out{ending}")
        before = path.read_bytes()
        with pytest.raises(WriteError, match="exists; say overwrite"):
            write(plain((1, 2, 2)), path)
        assert path.read_bytes() == before
        write(plain((1, 2, 2)), path, overwrite=True)
        assert open_cube(path).shape == (1, 2, 2)


def test_both_files_of_envi_are_kept_unless_told(tmp_path):
    (tmp_path / "out.hdr").write_text("somebody's")
    with pytest.raises(WriteError, match=r"out\.hdr' exists"):
        write(plain(), tmp_path / "out.img")
    assert names(tmp_path) == {"out.hdr"}


def test_places_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    (tmp_path / "folder.tif").mkdir()
    before = names(tmp_path)
    for path, words in (
        (tmp_path / "missing" / "out.tif", "existing output folder"),
        (blocked / "out.tif", "existing output folder"),
        (tmp_path / "folder.tif", "got the folder"),
        (Path("/proc/out.tif"), "cannot write|no permission|free"),
        (tmp_path / f"{'x' * 245}.tif", "cannot write|cannot be written"),
        (tmp_path / f"{'x' * 300}.tif", "cannot be written"),
    ):
        with pytest.raises(WriteError, match=words) as caught:
            write(plain(), path, overwrite=True)
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == before


@pytest.mark.parametrize("ending", [".tif", ".img", ".h5", ".npz", ".npy"])
def test_an_input_is_never_written_over(tmp_path, ending):
    """Neither by its own name nor by another one for the same file."""
    path = write(plain(), tmp_path / f"in{ending}")
    cube = open_cube(path)
    (tmp_path / "sub").mkdir()
    link = tmp_path / f"link{ending}"
    link.symlink_to(path)
    hard = tmp_path / f"hard{ending}"
    os.link(path, hard)
    folder = tmp_path / "other"
    folder.symlink_to(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    others = [path, link, hard, folder / path.name, tmp_path / "sub" / ".." / path.name]
    if ending == ".img":
        others += [tmp_path / "in.hdr", tmp_path / "in.dat"]  # whose header would be ours
    for target in others:
        with pytest.raises(UsageError, match="is an input"):
            write(cube.crop(slice(0, 2), slice(0, 2)), target, overwrite=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_wrong_options_leave_nothing(tmp_path):
    for options, words in (
        ({"compress": "foo"}, "compress must be none, zstd or deflate"),
        ({"interleave": "xyz"}, "interleave must be bsq, bil or bip"),
        ({"dtype": "foo"}, "dtype must be one of"),
    ):
        for ending in ENDINGS:
            with pytest.raises(UsageError, match=words):
                write(plain(), tmp_path / f"out{ending}", **options)
    for ending in (".img", ".npy"):
        with pytest.raises(UsageError, match="compress"):
            write(plain(), tmp_path / f"out{ending}", compress="deflate")
    assert not names(tmp_path)


# ---- what is left behind ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_a_failure_on_the_way_leaves_nothing(tmp_path, ending, old, error):
    path = tmp_path / f"out{ending}"
    if old:
        write(plain((1, 2, 2)), path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    class Fails:
        shape, dtype, complete, files = (2, 600, 300), np.dtype(np.float32), True, ()

        def read(self, bands, rows, cols):
            if rows.start > 0:
                raise error("half way")
            shape = (2, rows.stop - rows.start, cols.stop - cols.start)
            return np.zeros(shape, np.float32), np.ones(shape, bool)

    with pytest.raises(error, match="half way"):
        write(Cube(Fails(), Bands(2)), path, overwrite=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_what_killed_runs_left_is_removed(tmp_path):
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    dead = tmp_path / f".out.tif.part-{finished.pid}"
    own = tmp_path / f".out.tif.part-{os.getpid()}"  # process numbers come again in containers
    absurd = tmp_path / ".out.tif.part-99999999999999999999999"
    alive = tmp_path / f".out.tif.part-{os.getppid()}"
    others = [tmp_path / f".other.tif.part-{finished.pid}", tmp_path / ".out.tif.part-x", tmp_path / ".out.tif.part-"]
    for folder in (dead, own, absurd, alive, *others):
        folder.mkdir()
        (folder / "half").write_text("a file")
    write(plain(), tmp_path / "out.tif")
    assert names(tmp_path) == {"out.tif", alive.name, *(folder.name for folder in others)}


def test_names_with_special_characters(tmp_path):
    for name in ("a[b]*?.tif", "blank and ümlaut.img", "-dash.npz", "a.b.c.h5", "%s{0}.npy"):
        write(plain(), tmp_path / name)
        assert open_cube(tmp_path / name).shape == (3, 5, 7)
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_two_targets_at_once(tmp_path):
    cubes = [plain((2, 100 + n, 90), "int32") for n in range(6)]
    with ThreadPoolExecutor(3) as pool:
        # Not by `write` above: what it does to the warnings is the whole process's, and not for threads.
        list(pool.map(lambda n: write_cube(cubes[n], tmp_path / f"out{n}.tif"), range(6)))
    for n, cube in enumerate(cubes):
        np.testing.assert_array_equal(open_cube(tmp_path / f"out{n}.tif").read()[0], cube.read()[0])
    assert len(names(tmp_path)) == 6


def test_a_full_disk_is_noticed_before(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage._replace(free=10))
    with pytest.raises(WriteError, match="free; make room"):
        write(plain(), tmp_path / "out.tif")
    assert not names(tmp_path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_source_of_a_write_is_left_as_it_was(tmp_path, ending):
    numbers = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    numbers[0, 0, 0] = np.nan
    before = numbers.tobytes()
    for dtype in ("same", "int16", "float64"):
        write(Cube.from_array(numbers), tmp_path / f"out{ending}", dtype=dtype, overwrite=True)
    assert numbers.tobytes() == before


def test_grid_and_bands_of_a_part(tmp_path):
    """A window of some bands says where it lies and which bands it has."""
    cube = Cube(
        array_source(np.arange(4 * 6 * 8, dtype=np.int16).reshape(4, 6, 8)),
        Bands(4, np.array([400.0, 500, 600, 700])),
        Grid((6, 8), (10.0, 0, 100, 0, -10, 200)),
    )
    part = cube.select([3, 1]).crop(slice(2, 5), slice(3, 7))
    write(part, tmp_path / "out.tif")
    back = open_cube(tmp_path / "out.tif")
    np.testing.assert_array_equal(back.read()[0], cube.read()[0][[3, 1], 2:5, 3:7])
    np.testing.assert_array_equal(back.bands.wavelength_nm, [700, 500])
    assert back.grid.affine == (10.0, 0, 130, 0, -10, 180)


@pytest.mark.parametrize(
    ("target", "beside"),
    [
        ("out.tif", "out.tif.aux.xml"),
        ("out.tif", "out.tif.msk"),
        ("out.tif", "out.tfw"),
        ("out.img", "out.img.hdr"),
        ("out.img", "out.img.aux.xml"),
    ],
)
def test_what_an_older_file_left_beside_it_does_not_join_the_new_one(tmp_path, target, beside):
    """Readers would take up its mask, place or wavelengths."""
    (tmp_path / beside).write_text("of an older file")
    with pytest.raises(WriteError, match=f"{beside}' would be read along with {target}"):
        write(plain(), tmp_path / target)
    assert names(tmp_path) == {beside}
    write(plain(), tmp_path / target, overwrite=True)
    assert beside not in names(tmp_path)
    np.testing.assert_array_equal(open_cube(tmp_path / target).read()[0], plain().read()[0])


def test_an_input_with_its_header_appended_is_never_written_over(tmp_path):
    write(plain(), tmp_path / "in.img")
    (tmp_path / "in.hdr").rename(tmp_path / "in.img.hdr")
    cube = open_cube(tmp_path / "in.img")
    with pytest.raises(UsageError, match="is an input"):
        write(cube, tmp_path / "in.img", overwrite=True)
    assert names(tmp_path) == {"in.img", "in.img.hdr"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_get_their_names_by_renaming(tmp_path, ending, monkeypatch):
    """Anything else could be seen half done; where it fails, nothing has the name."""

    def fails(source, target):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(WriteError, match="could not be put in place"):
        write(plain(), tmp_path / f"out{ending}")
    assert not names(tmp_path)
