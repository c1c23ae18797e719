"""Pairs that cannot be fused: one clear line each, a non-zero status, nothing half-written, the inputs untouched."""

from __future__ import annotations

import numpy as np
import pytest

import hypersharp
from hypersharp.cli import run
from hypersharp.cube import Bands, Cube, Grid

from ..fusion.cubes import cubes_of, moved
from ..fusion.made import synthetic
from .test_bad_input import Row, check

ROOM_WKT = 'LOCAL_CS["measured in a room",UNIT["metre",1]]'


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """One good pair, `lr.img` and `msi.tif`, and what can be wrong with either."""
    folder = tmp_path_factory.mktemp("pairs")
    lr, msi = cubes_of(synthetic(scale=3, sigma=1.3, shape_lr=(20, 20), bands=8, msi_bands=3, rank=3))
    values = msi.read()[0]
    crs = lr.grid.crs
    files = {
        "lr.img": lr,
        "msi.tif": msi,
        "far.tif": moved(msi, right=50_000.0),
        "half.tif": moved(msi, gsd=1.2),
        "coarse.tif": Cube.from_array(
            values[:, :10, :10], grid=Grid((10, 10), (60.0, *lr.grid.affine[1:4], -60.0, lr.grid.affine[5]), crs)
        ),
        "same.tif": Cube.from_array(values[:, :20, :20], grid=lr.grid),
        "clouds.tif": Cube.from_array(np.full_like(values, np.nan), grid=msi.grid),
        "nowhere.tif": Cube.from_array(values),
        "nowhere_lr.img": Cube(lr.values, lr.bands),
        "room.tif": Cube.from_array(values, grid=Grid(msi.grid.shape, msi.grid.affine, ROOM_WKT)),
        "antipode.tif": Cube.from_array(
            values, grid=Grid(msi.grid.shape, (1e-4, 0, 195.0, 0, -1e-4, -38.0), hypersharp.io.crs.to_wkt2(4326))
        ),
        "odd.tif": Cube.from_array(values[:, :50], grid=None),
        "flat.img": Cube.from_array(np.ones((8, 20, 20), np.float32), grid=lr.grid),
        "waves.img": Cube(lr.values, Bands(8), lr.grid),
    }
    for name, cube in files.items():
        hypersharp.write(cube, folder / name)
    (folder / "text.tif").write_text("this is no image")
    return folder


def fuse(name: str, files: str, words: str, *options: str, status: int = 2, output: str = "{out}/out.tif") -> Row:
    lr, msi = (f"{{room}}/{file}" for file in files.split())
    return Row(name, " ".join(["fuse", lr, msi, output, *options]), status, tuple(words.split("|")))


ROWS = [
    # pairs
    fuse("no overlap", "lr.img far.tif", "do not overlap|the cube covers|check"),
    fuse("no overlap, another CRS", "lr.img antipode.tif", "do not overlap|the cube covers"),
    fuse("CRS that cannot be related", "lr.img room.tif", "cannot be related|measured in a room"),
    fuse("ratio that is not whole", "lr.img half.tif", "whole ratio|2.5|--scale"),
    fuse("MSI coarser than the cube", "lr.img coarse.tif", "coarser|0.5"),
    fuse("MSI as fine as the cube", "lr.img same.tif", "finer"),
    fuse("swapped arguments", "msi.tif lr.img", "swapped|cube first|3 bands|8 bands"),
    fuse("swapped and aligned", "nowhere.tif nowhere_lr.img", "swapped|cube first", "--assume-aligned"),
    fuse("clouds over everything", "lr.img clouds.tif", "clouds|no pixel is valid", status=1),
    fuse("MSI without georeferencing", "lr.img nowhere.tif", "the MSI|--assume-aligned"),
    fuse("cube without georeferencing", "nowhere_lr.img msi.tif", "the cube|--assume-aligned"),
    fuse("neither with georeferencing", "nowhere_lr.img nowhere.tif", "the cube and the MSI|--assume-aligned"),
    fuse("aligned by word, not by shape", "lr.img odd.tif", "20 x 20|50 x 60", "--assume-aligned"),
    fuse("a cube that shows nothing", "flat.img msi.tif", "constant", status=1),
    fuse("a file that is no image", "lr.img text.tif", "text.tif|known format", status=1),
    fuse("a file that is missing", "lr.img gone.tif", "existing file|gone.tif", status=1),
    # options
    fuse("unknown method", "lr.img msi.tif", "'gpl'|did you mean 'glp'|auto", "--method gpl"),
    fuse("unknown candidate", "lr.img msi.tif", "'gpl'|did you mean 'glp'", "--candidates gsa,gpl"),
    fuse("another scale", "lr.img msi.tif", "scale 4|pixel sizes|3 ", "--scale 4"),
    fuse("scale 1", "lr.img msi.tif", "2 to 8|1", "--scale 1"),
    fuse("unknown PSF", "lr.img msi.tif", "'gausian'|gaussian", "--degradation gausian"),
    fuse("SRF of other bands", "lr.img msi.tif", "4 bands|the MSI 3|--msi-bands", "--srf sentinel2a:B2,B3,B4,B8"),
    fuse("SRF beyond the cube", "lr.img msi.tif", "hold less than", "--srf gaussian:600/90,900/90,3000/90"),
    fuse(
        "SRF without wavelengths",
        "waves.img msi.tif",
        "wavelengths|--wavelengths",
        "--srf gaussian:600/90,700/90,800/90",
    ),
    fuse("unknown sensor", "lr.img msi.tif", "'sentinel9'|sentinel2a", "--srf sentinel9"),
    fuse("unknown kernel", "lr.img msi.tif", "cubic, bilinear, nearest|'lanczos'", "--resampling lanczos"),
    fuse("tile 0", "lr.img msi.tif", "tile|at least 1", "--tile 0"),
    fuse("bands of the MSI beyond", "lr.img msi.tif", "bands|1 to 3|'4'", "--msi-bands 4"),
    # outputs
    fuse("output is the MSI", "lr.img msi.tif", "input", "--overwrite", output="{room}/msi.tif"),
    fuse("output exists", "lr.img msi.tif", "far.tif|overwrite", output="{room}/far.tif", status=1),
    fuse("report of no known kind", "lr.img msi.tif", "--report|.json or .html|'r.txt'", "--report {out}/r.txt"),
    fuse("report to nowhere", "lr.img msi.tif", "existing folder", "--report {out}/no/r.json", status=1),
    fuse("page to nowhere", "lr.img msi.tif", "existing folder", "--report {out}/no/r.html", status=1),
    fuse("report that exists", "lr.img msi.tif", "exists|overwrite", "--report {room}/old.json", status=1),
    fuse("page that exists", "lr.img msi.tif", "exists|overwrite", "--report {room}/old.HTML", status=1),
    fuse("picture that is no PNG", "lr.img msi.tif", "--figure|.png|'p.jpg'", "--figure {out}/p.jpg"),
    fuse("picture without wavelengths", "waves.img msi.tif", "wavelengths", "--figure {out}/p.png"),
    fuse("mask over the result", "lr.img msi.tif", "another name", "--mask {out}/out.tif"),
    fuse("mask of an unknown format", "lr.img msi.tif", "ending|'m.xyz'", "--mask {out}/m.xyz"),
]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_bad_input(room, tmp_path, capfd, row):
    for name in ("old.json", "old.HTML"):
        (room / name).touch()

    def call(arguments):
        status = run(arguments)
        printed = capfd.readouterr()
        return status, printed.out, printed.err

    check(room, tmp_path, row, call)


def test_the_good_pair_is_good(room, tmp_path):
    """Or the table would say nothing."""
    arguments = ["fuse", str(room / "lr.img"), str(room / "msi.tif"), str(tmp_path / "out.tif"), "--method", "exp"]
    assert run(arguments) == 0
