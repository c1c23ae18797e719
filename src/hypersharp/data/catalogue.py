"""The public scenes of the papers: where to get them, what the published file looks like, what the papers cut from it.

Sources of shapes and crops: the papers of EDLGFS and LKCA, and the preparation scripts that the latter's line shares.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from hypersharp._nearest import nearest
from hypersharp.cube import Cube
from hypersharp.errors import FileFormatError, UsageError
from hypersharp.io import WriteOptions, open_cube, write_cube


@dataclass(frozen=True)
class DataSet:
    """A public scene.

    Attributes:
        title: full name.
        where: the place to get it.
        dataset: variable inside the published file that is the cube; None where the file holds one.
        shapes: `(H, W)` of the published files.
        bands: that are kept, the first ones; files may hold further ones.
        crop: first and last row and column that are kept, from 1 as the papers count, by shape; None for all.
    """

    title: str
    where: str
    dataset: str | None
    shapes: tuple[tuple[int, int], ...]
    bands: int
    crop: tuple[int, int, int, int] | None = None


DATASETS = {
    "chikusei": DataSet(
        "Chikusei (Headwall Hyperspec-VNIR-C, 128 bands)",
        "https://naotoyokoya.com/Download.html (HyperspecVNIR_Chikusei_20140729.mat)",
        "chikusei",
        ((2517, 2335),),
        128,
        (107, 2410, 144, 2191),
    ),
    "houston2018": DataSet(
        "Houston 2018 (IEEE GRSS Data Fusion Contest, ITRES CASI 1500, 48 bands)",
        "https://hyperspectral.ee.uh.edu/?page_id=1075 (Phase 1, the hyperspectral image)",
        None,
        ((601, 2384), (1202, 4172), (4172, 1202)),
        48,
    ),
    "pavia": DataSet(
        "Pavia Centre (ROSIS, 102 bands)",
        "https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes (Pavia.mat)",
        "pavia",
        ((1096, 715),),
        102,
    ),
}


def prepare(
    name: str, source: str | os.PathLike[str], output: str | os.PathLike[str], *, overwrite: bool = False
) -> Cube:
    """Cut from a published file what the papers use, and write it for training.

    Args:
        name: key of `DATASETS`.
        source: the published file.
        output: file to write, HDF5 say.
        overwrite: replace an existing output.

    Returns:
        The cube that was written.

    Raises:
        UsageError: there is no such data set, or the file is of another shape.
        FileFormatError: the file is absent (the message has the place to get it) or cannot be read.
        WriteError: the output cannot be written.
    """
    if name not in DATASETS:
        raise UsageError(f"expected a data set out of {', '.join(DATASETS)}, got {name!r}{nearest(name, DATASETS)}")
    known, path = DATASETS[name], Path(source)
    if not path.exists():
        raise FileFormatError(f"{path}: not found; {known.title} can be had from {known.where}")
    cube = _opened(path, known)
    if cube.shape[1:] not in known.shapes or cube.shape[0] < known.bands:
        shapes = " or ".join(f"{rows} x {cols}" for rows, cols in known.shapes)
        raise UsageError(
            f"{path.name}: expected {shapes} pixels and {known.bands} bands of {known.title}, got {cube.shape[1]} x "
            f"{cube.shape[2]} and {cube.shape[0]}; get the file from {known.where}"
        )
    lines = [f"hypersharp data prepare {name}"]
    if cube.shape[0] > known.bands:
        lines.append(f"the first {known.bands} of {cube.shape[0]} bands")
        cube = cube.select(range(known.bands))
    if known.crop is not None:
        top, bottom, left, right = known.crop
        cube = cube.crop(slice(top - 1, bottom), slice(left - 1, right))
        lines.append(f"rows {top} to {bottom}, columns {left} to {right}, counted from 1")
    cube = replace(cube, history=(*cube.history, "; ".join(lines)))
    write_cube(cube, output, overwrite=overwrite, options=WriteOptions())
    return cube


def _opened(path: Path, known: DataSet) -> Cube:
    """The cube; the variable is named only where the file is one of named variables."""
    if known.dataset is not None and path.suffix in (".mat", ".h5", ".hdf5"):
        return open_cube(path, dataset=known.dataset)
    return open_cube(path)
