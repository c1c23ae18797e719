"""Bad input: each row ends with one clear line, a non-zero status, nothing half-written, and the inputs untouched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io

from hypersharp.cli import run
from hypersharp.cube import Bands, Cube, Storage, array_source
from hypersharp.io import write_cube

from ..infer.made import save_network, scene

HEADER = """ENVI
samples = 9
lines = 8
bands = 3
data type = 2
interleave = bsq
byte order = 0
"""


def cube(shape=(3, 8, 9)) -> np.ndarray:
    return np.rint(scene(shape)).astype(np.int16)


def envi(folder: Path, name: str, header: str, size: int = 3 * 8 * 9 * 2) -> None:
    (folder / f"{name}.img").write_bytes(cube().astype("<i2").tobytes()[:size])
    (folder / f"{name}.hdr").write_text(header)


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    """A folder full of trouble, and one good file `in.img`."""
    folder = tmp_path_factory.mktemp("room")
    envi(folder, "in", HEADER)
    envi(folder, "short", HEADER, size=100)
    envi(folder, "lies", HEADER.replace("lines = 8", "lines = 80000000000"))
    envi(folder, "bigger", HEADER.replace("lines = 8", "lines = 9"))
    envi(folder, "brace", HEADER + "wavelength = {400, 500, 600\n")
    envi(folder, "interleave", HEADER.replace("bsq", "bsx"))
    envi(folder, "datatype", HEADER.replace("data type = 2", "data type = 77"))
    envi(folder, "complex", HEADER.replace("data type = 2", "data type = 6"))
    envi(folder, "nobands", HEADER.replace("bands = 3\n", ""))
    envi(folder, "zero", HEADER.replace("bands = 3", "bands = 0"))
    envi(folder, "noenvi", HEADER.replace("ENVI\n", "HELLO\n"))
    envi(folder, "wavelengths", HEADER + "wavelength units = Nanometers\nwavelength = {400, 500}\n")
    envi(folder, "void", HEADER + f"data ignore value = {7}\n")
    (folder / "void.img").write_bytes(np.full((3, 8, 9), 7, "<i2").tobytes())
    (folder / "alone.hdr").write_text(HEADER)
    (folder / "empty.tif").touch()
    (folder / "text.tif").write_text("this is no image")
    (folder / "folder.tif").mkdir()
    (folder / "bytes.bin").write_bytes(np.random.default_rng(0).bytes(500))
    place = {"transform": rasterio.Affine(1, 0, 5, 0, -1, 5)}
    profile = {"driver": "GTiff", "height": 8, "width": 9, "count": 3}
    with rasterio.open(folder / "ok.tif", "w", **profile, dtype="int16", **place) as file:
        file.write(cube())
    content = (folder / "ok.tif").read_bytes()
    (folder / "cut.tif").write_bytes(content[: len(content) - 200])
    with rasterio.open(folder / "complex.tif", "w", **profile, dtype="complex64", **place) as file:
        file.write(cube().astype(np.complex64))
    scipy.io.savemat(folder / "two.mat", {"one": cube(), "other": cube(), "name": "text"})
    scipy.io.savemat(folder / "flat.mat", {"flat": cube()[0]})
    scipy.io.savemat(folder / "complex.mat", {"cube": cube() * 1j})
    (folder / "cut.mat").write_bytes((folder / "two.mat").read_bytes()[:300])
    with h5py.File(folder / "two.h5", "w") as file:
        file["a/radiance"], file["b/reflectance"], file["flat"] = cube(), cube(), cube()[0]
    (folder / "cut.h5").write_bytes((folder / "two.h5").read_bytes()[:1500])
    np.save(folder / "flat.npy", cube()[0])
    np.save(folder / "four.npy", cube()[None])
    np.save(folder / "complex.npy", cube() * 1j)
    np.save(folder / "object.npy", np.array([[[1, None]]], dtype=object), allow_pickle=True)
    np.save(folder / "text.npy", np.array([[["a", "b"]]]))
    np.save(folder / "nan.npy", np.full((8, 9, 3), np.nan, np.float32))
    np.save(folder / "empty.npy", np.zeros((8, 0, 3)))
    (folder / "cut.npy").write_bytes((folder / "nan.npy").read_bytes()[:200])
    (folder / "two.txt").write_text("400\n500\n")
    (folder / "words.txt").write_text("red\ngreen\nblue\n")
    (folder / "file").write_text("not a folder")
    save_network(folder / "x3.onnx", scale=3, bands=3, card={"model": "x", "scale": 3, "halo": 0})
    save_network(folder / "five.onnx", scale=2, bands=5, card={"model": "x", "scale": 2, "bands": 5, "halo": 0})
    save_network(folder / "nocard.onnx", scale=2, bands=3, card=None)
    (folder / "junk.onnx").write_bytes(b"\x08\x08 nothing")
    np.save(folder / "kernel3d.npy", np.ones((3, 3, 3)))
    return folder


@dataclass(frozen=True)
class Row:
    """One bad command: `{room}` is the folder of inputs, `{out}` an empty one; `words` must be in the line."""

    name: str
    command: str
    status: int
    words: tuple[str, ...]


def sharpen(name: str, source: str, words: str, *options: str, status: int = 1, output: str = "out.tif") -> Row:
    given = " ".join(options)
    scale = "" if "--scale" in given else "--scale 2 "
    where = output if output.startswith(("{", "/")) else f"{{out}}/{output}"
    return Row(name, f"sharpen {{room}}/{source} {where} {scale}{given}", status, tuple(words.split("|")))


def option(name: str, words: str, *options: str, output: str = "out.tif") -> Row:
    return sharpen(name, "in.img", words, *options, status=2, output=output)


ROWS = [
    # files
    sharpen("missing file", "missing.tif", "existing file|missing.tif|check"),
    sharpen("folder as input", "folder.tif", "folder.tif|name the file inside"),
    sharpen("empty file", "empty.tif", "empty.tif|empty"),
    sharpen("text as TIFF", "text.tif", "text.tif|not a file of a known format|GeoTIFF"),
    sharpen("random bytes", "bytes.bin", "bytes.bin|known format"),
    sharpen("truncated ENVI data", "short.img", "short.img|432 bytes|100"),
    sharpen("header that lies about size", "lies.img", "lies.img|bytes|432"),
    sharpen("header one line too long", "bigger.img", "bigger.img|486 bytes|432"),
    sharpen("header without data", "alone.hdr", "alone.hdr|no data file"),
    sharpen("unclosed brace", "brace.img", "brace.img|'wavelength'|never closed"),
    sharpen("unknown interleave", "interleave.img", "interleave.img|bsq, bil, bip|'bsx'"),
    sharpen("unknown data type", "datatype.img", "datatype.img|data type|77"),
    sharpen("complex ENVI", "complex.img", "complex.img|complex|convert"),
    sharpen("header without bands", "nobands.img", "nobands.img|'bands'"),
    sharpen("no bands", "zero.img", "zero.img|bands|at least 1"),
    sharpen("header of something else", "noenvi.img", "noenvi.img"),
    sharpen("too few wavelengths", "wavelengths.img", "wavelengths.img|expected 3|got 2"),
    sharpen("truncated TIFF", "cut.tif", "cut.tif|cut short"),
    sharpen("complex TIFF", "complex.tif", "complex.tif|complex64|convert"),
    sharpen("ambiguous variable", "two.mat", "two.mat|several cubes|one (3 x 8 x 9)|other|--dataset"),
    sharpen("wrong variable", "two.mat", "'oter'|did you mean 'other'", "--dataset oter", status=2),
    sharpen("variable that is no cube", "two.mat", "two.mat|name", "--dataset name"),
    sharpen("2-D variable", "flat.mat", "flat.mat|3 axes|flat (8 x 9)"),
    sharpen("complex variable", "complex.mat", "complex.mat|complex"),
    sharpen("truncated MATLAB file", "cut.mat", "cut.mat|cut off"),
    sharpen("ambiguous dataset", "two.h5", "two.h5|a/radiance|b/reflectance|--dataset"),
    sharpen("wrong dataset", "two.h5", "'radiannce'|did you mean", "--dataset radiannce", status=2),
    sharpen("2-D dataset", "two.h5", "flat|3 axes", "--dataset flat"),
    sharpen("truncated HDF5 file", "cut.h5", "cut.h5|cut off"),
    sharpen("2-D array", "flat.npy", "flat.npy|3 axes|8 x 9"),
    sharpen("4-D array", "four.npy", "four.npy|3 axes"),
    sharpen("complex array", "complex.npy", "complex.npy|complex128"),
    sharpen("array of objects", "object.npy", "object.npy|object"),
    sharpen("array of texts", "text.npy", "text.npy|real numbers"),
    sharpen("empty array", "empty.npy", "empty.npy|empty"),
    sharpen("truncated array", "cut.npy", "cut.npy|cut off"),
    sharpen("all no-data by marker", "void.img", "every pixel"),
    sharpen("all no-data by NaN", "nan.npy", "every pixel"),
    sharpen("all no-data in the window", "void.img", "every pixel", "--window 0,0,3,3"),
    # what is asked for
    option("scale 1", "scale|2 to 8|1", "--scale 1"),
    option("scale 2.5", "scale|2 to 8|2.5", "--scale 2.5"),
    option("scale -2", "scale|2 to 8|-2", "--scale=-2"),
    option("scale 99", "scale|2 to 8|99", "--scale 99"),
    option("scale abc", "scale|2 to 8|abc", "--scale abc"),
    option("scale nan", "scale|2 to 8|nan", "--scale nan"),
    Row("no scale", "sharpen {room}/in.img {out}/o.tif", 2, ("scale", "--help")),
    option("unknown method", "'bicubik'|did you mean 'bicubic'", "--method bicubik"),
    option("unknown consistency", "noise, exact, off|'exakt'", "--consistency exakt"),
    option("unknown degradation", "'gausian'|gaussian", "--degradation gausian"),
    option("MTF above 1", "between 0 and 1|1.5", "--degradation mtf:1.5"),
    option("kernel that is missing", "nowhere.npy|does not exist", "--degradation kernel:nowhere.npy"),
    sharpen("kernel of three axes", "in.img", "2-D kernel", "--degradation kernel:{room}/kernel3d.npy", status=2),
    option("tile 0", "tile|at least 1|0", "--tile 0"),
    option("tile abc", "tile|integer", "--tile abc"),
    option("memory abc", "memory|2GiB|'abc'", "--memory abc"),
    option("memory too small", "memory|64MiB", "--memory 1MB"),
    option("threads -1", "threads", "--threads=-1"),
    option("window outside", "window|9 x 8", "--window 5,5,20,20"),
    option("window of three", "window|COL,ROW,WIDTH,HEIGHT", "--window 1,2,3"),
    option("window without pixels", "window|9 x 8", "--window 1,1,0,3"),
    option("window before the scene", "window|9 x 8", "--window=-1,0,3,3"),
    option("bands 0", "bands|1 to 3|'0'", "--bands 0"),
    option("bands beyond", "bands|1 to 3|'4'", "--bands 1,4"),
    option("bands backwards", "bands|1 to 3", "--bands 3-1"),
    option("bands abc", "bands|1-50,60|'abc'", "--bands abc"),
    option("nodata abc", "nodata|'abc'", "--nodata abc"),
    option("nodata beyond the type", "nodata|int16|70000", "--nodata 70000"),
    option("quantity", "quantity|radiance, reflectance, dn|'brightness'", "--quantity brightness"),
    option("axes of a file that states them", "in.img|axes", "--axes hwc"),
    sharpen("axes of nothing", "nan.npy", "axes|chw|'abc'", "--axes abc", status=2),
    option("dataset of a file with one cube", "in.img|dataset", "--dataset cube"),
    option("wavelengths of fewer bands", "two.txt|expected 3|got 2", "--wavelengths {room}/two.txt"),
    sharpen("wavelengths that are words", "in.img", "words.txt|numbers in nm", "--wavelengths {room}/words.txt"),
    sharpen("wavelengths that are missing", "in.img", "nowhere.txt", "--wavelengths {room}/nowhere.txt"),
    Row("unknown option", "sharpen {room}/in.img {out}/o.tif --scale 2 --scael 3", 2, ("--scael",)),
    Row("unknown command", "sharpn {room}/in.img", 2, ("sharpn",)),
    Row("no output", "sharpen {room}/in.img --scale 2", 2, ("OUT",)),
    # networks
    option("network of another scale", "x3.onnx|scale 3|scale 2", "--model {room}/x3.onnx"),
    option("network for other bands", "five.onnx|5 bands|3", "--model {room}/five.onnx"),
    sharpen("network without a card", "in.img", "nocard.onnx|card", "--model {room}/nocard.onnx"),
    sharpen("file that is no network", "in.img", "junk.onnx", "--model {room}/junk.onnx"),
    sharpen("network that is missing", "in.img", "nowhere.onnx", "--model {room}/nowhere.onnx"),
    # output
    option("unknown output format", "ending|.tif|'out.xyz'", output="out.xyz"),
    option("output without ending", "ending|.tif|'out'", output="out"),
    sharpen("output folder missing", "in.img", "existing output folder|nowhere", output="{out}/nowhere/o.tif"),
    sharpen("file as output folder", "in.img", "existing output folder|file", output="{room}/file/o.tif"),
    sharpen("folder as output", "in.img", "folder.tif", output="{room}/folder.tif"),
    sharpen("folder that takes no files", "in.img", "/proc", output="/proc/o.img"),
    sharpen("output that exists", "in.img", "ok.tif|overwrite", output="{room}/ok.tif"),
    sharpen("header of the output that exists", "ok.tif", "in.hdr|overwrite", output="{room}/in.dat"),
    option("output is the input", "in.img|input", "--overwrite", output="{room}/in.img"),
    option("output is the input's header", "input", "--overwrite", output="{room}/in.hdr"),
    option("output shares the input's header", "in.hdr|input", "--overwrite", output="{room}/in.bsq"),
    sharpen("output is the TIFF read", "ok.tif", "ok.tif|input", "--overwrite", output="{room}/ok.tif", status=2),
    option("unknown type", "dtype|float32|'foo'", "--dtype foo"),
    option("complex type", "dtype|'complex64'", "--dtype complex64"),
    option("unknown interleave asked for", "interleave|'bsx'", "--interleave bsx"),
    option("bil TIFF", "bsq or bip|bil", "--interleave bil"),
    option("int8 ENVI", "int8|int16", "--dtype int8", output="o.img"),
    option("COG of ENVI", "COG", "--cog", output="o.img"),
    *[
        option(f"compress {how} of {ending}", "compress|" + how, f"--compress {how}", output=f"o{ending}")
        for ending, how in [
            (".tif", "foo"),
            (".img", "foo"),
            (".h5", "foo"),
            (".npz", "foo"),
            (".npy", "foo"),
            (".npy", "deflate"),
            (".npz", "zstd"),
            (".h5", "zstd"),
        ]
    ],
    option("compressed ENVI", "compressed|GeoTIFF", "--compress deflate", output="o.img"),
    # the other commands say the same
    Row("convert a missing file", "convert {room}/missing.tif {out}/o.tif", 1, ("existing file",)),
    Row("convert to itself", "convert {room}/in.img {room}/in.img --overwrite", 2, ("input",)),
    Row("convert a lie", "convert {room}/lies.img {out}/o.tif", 1, ("lies.img", "bytes")),
    Row("convert to an unknown type", "convert {room}/in.img {out}/o.tif --dtype foo", 2, ("dtype",)),
    Row("convert with memory abc", "convert {room}/in.img {out}/o.tif --memory abc", 2, ("memory",)),
    Row("info of a missing file", "info {room}/missing.tif", 1, ("existing file",)),
    Row("info of an ambiguous one", "info {room}/two.mat --json", 1, ("--dataset",)),
    Row("info of a window outside", "info {room}/in.img --window 0,0,99,99", 2, ("window",)),
    Row("dry run to itself", "sharpen {room}/in.img {room}/in.img --scale 2 --dry-run", 2, ("input",)),
    Row("dry run to nowhere", "sharpen {room}/in.img {out}/nowhere/o.tif --scale 2 --dry-run", 1, ("folder",)),
]


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes() if path.is_file() else b"", path.lstat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def check(room: Path, out: Path, row: Row, call: Callable[[list[str]], tuple[int, str, str]]) -> None:
    before = everything(room)
    status, printed, said = call([part.format(room=room, out=out) for part in row.command.split()])
    lines = said.splitlines()
    assert len(lines) == 1, said
    assert lines[0].startswith("hypersharp: error: ")
    assert "mistake of ours" not in said
    for word in row.words:
        assert word in lines[0], f"{word!r} is not in {lines[0]!r}"
    assert printed == ""
    assert status == row.status
    assert everything(room) == before
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_bad_input(room, tmp_path, capfd, row):
    def call(arguments):
        status = run(arguments)
        printed = capfd.readouterr()
        return status, printed.out, printed.err

    check(room, tmp_path, row, call)


def test_names_of_rows_differ():
    assert len({row.name for row in ROWS}) == len(ROWS)


def in_a_process(arguments: list[str], **options) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-m", "hypersharp", *arguments], capture_output=True, text=True, **options)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["truncated TIFF", "unknown method", "array of objects", "output is the input"])
def test_bad_input_of_a_process(room, tmp_path, name):
    check(room, tmp_path, next(row for row in ROWS if row.name == name), in_a_process)


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "folder"])
def test_the_input_by_another_name(room, tmp_path, capfd, kind):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("in.img", "in.hdr"):
        if kind == "symlink":
            (other / name).symlink_to(room / name)
        elif kind == "hardlink":
            os.link(room / name, other / name)
    if kind == "folder":
        other.rmdir()
        other.symlink_to(room)
    before = everything(room)
    assert run(["sharpen", str(room / "in.img"), str(other / "in.img"), "--scale", "2", "--overwrite"]) == 2
    assert "is an input" in capfd.readouterr().err
    assert everything(room) == before
    assert everything(other)["in.img"][0] == before["in.img"][0]


def big(folder: Path, name: str = "big.img") -> Path:
    """64 bands of 200 × 200 pixels: 20 MB after sharpening by 2."""
    numbers = np.rint(scene((64, 200, 200))).astype(np.int16)
    return write_cube(Cube(array_source(numbers, Storage(np.dtype(np.int16))), Bands(64)), folder / name)


@pytest.mark.parametrize("ending", [".tif", ".img", ".h5", ".npz", ".npy"])
def test_a_full_disk(tmp_path, ending):
    """No file may grow beyond 5 MB: as on a full disk, writing fails on the way."""
    resource = pytest.importorskip("resource")
    source = big(tmp_path)
    before = everything(tmp_path)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))

    arguments = ["sharpen", str(source), str(tmp_path / f"out{ending}"), "--scale", "2", "--consistency", "off"]
    status, printed, said = in_a_process(arguments, preexec_fn=limit)
    lines = said.splitlines()
    errors = [line for line in lines if line.startswith("hypersharp: error: ")]
    assert status == 1
    assert len(errors) == 1
    # libtiff itself speaks up; nobody between it and us can keep it from that
    assert all(line.startswith(("hypersharp: ", "_tiffWriteProc")) for line in lines), said
    assert f"out{ending}" in errors[0]
    assert "mistake of ours" not in said
    assert printed == ""
    assert everything(tmp_path) == before


def test_a_broken_pipe_is_quiet(room):
    done = subprocess.run(
        f"{sys.executable} -m hypersharp info {room / 'in.img'} --json | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "{"
    assert done.stderr == ""


def test_ctrl_c_is_one_line(monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hypersharp.io.open_cube", stopped)
    assert run(["info", "in.img"]) == 130
    assert capsys.readouterr().err == "hypersharp: error: interrupted; nothing was left behind\n"
