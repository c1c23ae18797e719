"""What a reader and a writer are: the records that every file in `readers/` and `writers/` fills in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from hypersharp.cube import Cube


@dataclass(frozen=True)
class ReadOptions:
    """What a user may say about an input file.

    Attributes:
        dataset: name of the dataset or variable inside a file that can hold several.
        axes: order of a bare array's axes, a permutation of ``"chw"`` (c bands, h rows, w columns), as numpy sees it.
    """

    dataset: str | None = None
    axes: str | None = None


@dataclass(frozen=True)
class Reader:
    """A file format or sensor product that can be opened.

    Attributes:
        name: as users say it, for example ``"ENVI"``.
        about: one line: what files, what of them.
        suffixes: usual file endings, lower case with the dot; for messages only.
        sniff: `path -> bool`: by name and first bytes whether the file is one of ours; never raises.
        read: `(path, options) -> Cube`, lazily: no pixel is read.
        mtf: modulation transfer at the LR Nyquist frequency of this sensor, when it is known; else None.
    """

    name: str
    about: str
    suffixes: tuple[str, ...]
    sniff: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], Cube]
    mtf: float | None = None


@dataclass(frozen=True)
class WriteOptions:
    """How an output file is to be written.

    Attributes:
        dtype: ``"same"`` as the cube's storage, a float type for physical values, or an integer type (scaled per band
            when the cube is not stored as integers that fit; the scale is recorded).
        compress: ``"none"``, ``"zstd"`` or ``"deflate"``.
        interleave: ``"bsq"``, ``"bil"`` or ``"bip"``; None for the format's own choice.
        cog: rewrite a GeoTIFF as a cloud-optimised one in a second pass.
        dataset: name of the dataset inside an HDF5, MATLAB or NumPy archive.
        threads: threads that compute, and threads that compress; 0 for all cores.
    """

    dtype: str = "same"
    compress: str = "none"
    interleave: str | None = None
    cog: bool = False
    dataset: str = "cube"
    threads: int = 0


class Sink(Protocol):
    """An output file being written in a scratch folder."""

    def write(self, stored: NDArray[Any], row: int, col: int) -> None:
        """Store a block `(C, h, w)` of stored numbers whose first pixel is `(row, col)`."""
        ...

    def finish(self) -> list[str]:
        """Close the files; their names in the scratch folder, in the order in which they are to be put in place."""
        ...

    def abandon(self) -> None:
        """Close without finishing, after a failure. Never raises."""
        ...


@dataclass(frozen=True)
class Writer:
    """A file format that can be written.

    Attributes:
        name: as users say it.
        about: one line.
        suffixes: file endings that choose this writer, lower case with the dot.
        block: `(rows, columns)` granularity of blocks; every block but the last of a row or column has a multiple.
        names: `target name -> all file names` that the writer will produce for it.
        create: `(folder, name, cube, options) -> Sink`: starts files for target `name` in the scratch `folder`.
            `cube` has its final shape, bands, grid, history and `storage`; its values are not to be read.
        lost: `(cube, options) -> list of lines`, each naming something of the cube that this format cannot hold.
        beside: `target name -> names` of files that readers take up along with the target; an old one would add its
            mask, place or wavelengths to a new output.
    """

    name: str
    about: str
    suffixes: tuple[str, ...]
    block: tuple[int, int]
    names: Callable[[str], list[str]]
    create: Callable[[Path, str, Cube, WriteOptions], Sink]
    lost: Callable[[Cube, WriteOptions], list[str]]
    beside: Callable[[str], list[str]] = lambda name: []
