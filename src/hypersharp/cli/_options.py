"""Options that several commands share, and how their texts are understood. Imports nothing heavy."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from hypersharp.errors import UsageError

if TYPE_CHECKING:
    from hypersharp.cube import Cube

Input = Annotated[str, typer.Argument(metavar="IN", help="The cube to read.")]
Output = Annotated[str, typer.Argument(metavar="OUT", help="The file to write; its ending chooses the format.")]
Dataset = Annotated[str | None, typer.Option(help="Dataset or variable inside the file.", metavar="NAME")]
Axes = Annotated[
    str | None,
    typer.Option(help="Axis order of a bare array: c bands, h rows, w columns.", metavar="hwc|chw|…"),
]
Wavelengths = Annotated[
    str | None, typer.Option(help="Text file: a wavelength in nm per band (second column: FWHM).", metavar="FILE")
]
Quantity = Annotated[str | None, typer.Option(help="What the values are.", metavar="radiance|reflectance|dn")]
Nodata = Annotated[
    str | None, typer.Option(help="Stored number that marks invalid pixels, in place of the file's.", metavar="V|none")
]
Window = Annotated[str | None, typer.Option(help="Only this part, in input pixels.", metavar="COL,ROW,WIDTH,HEIGHT")]
Bands = Annotated[str | None, typer.Option(help="Only these bands, counted from 1: 1-50,60.", metavar="LIST")]
Dtype = Annotated[
    str, typer.Option(help="Stored type: same, float32, int16, uint16, …; scaled where needed.", metavar="TYPE")
]
Compress = Annotated[str, typer.Option(help="none, zstd or deflate.", metavar="HOW")]
Interleave = Annotated[str | None, typer.Option(help="bsq, bil or bip, where the format has a choice.")]
Cog = Annotated[bool, typer.Option("--cog", help="Make the GeoTIFF cloud-optimised (a second pass).")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Memory = Annotated[str, typer.Option(help="About how much memory to take.", metavar="SIZE")]
Threads = Annotated[int, typer.Option(help="Threads; 0 for all cores.", min=0)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Reader = Annotated[str | None, typer.Option(help="Name of the reader, in place of finding it.", hidden=True)]

_UNITS = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "kib": 2**10, "m": 10**6, "mb": 10**6, "mib": 2**20}
_UNITS |= {"g": 10**9, "gb": 10**9, "gib": 2**30, "t": 10**12, "tb": 10**12, "tib": 2**40}


def parse_bytes(text: str) -> int:
    """A size such as ``2GiB`` or ``500MB`` in bytes.

    Raises:
        UsageError: not a size, or below 64 MiB.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS:
        raise UsageError(f"memory must be a size such as 2GiB or 500MB, got {text!r}")
    size = int(float(match[1]) * _UNITS[match[2].lower()])
    if size < 64 << 20:
        raise UsageError(f"memory must be at least 64MiB, got {text!r}")
    return size


def parse_scale(text: str) -> int:
    """A whole number from 2 to 8.

    Raises:
        UsageError: anything else.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if number not in range(2, 9):
        raise UsageError(f"scale must be a whole number from 2 to 8, got {text}")
    return int(number)


def parse_bands(text: str, count: int) -> list[int]:
    """Indices from 0 of a list of band numbers from 1, such as ``1-50,60``.

    Raises:
        UsageError: not such a list, or a band that the cube does not have.
    """
    index: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise UsageError(f"bands must be a list of numbers from 1 such as 1-50,60, got {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= count:
            raise UsageError(f"bands must lie within 1 to {count}, got {part.strip()!r}")
        index += range(first - 1, last)
    return index


def parse_window(text: str, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a window ``COL,ROW,WIDTH,HEIGHT``, the order of GDAL's -srcwin.

    Raises:
        UsageError: not four whole numbers, or outside of the scene.
    """
    try:
        col, row, cols, rows = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"window must be four whole numbers COL,ROW,WIDTH,HEIGHT, got {text!r}") from None
    if col < 0 or row < 0 or cols < 1 or rows < 1 or row + rows > height or col + cols > width:
        raise UsageError(f"window must lie within the {width} x {height} scene (width x height), got {text!r}")
    return slice(row, row + rows), slice(col, col + cols)


def open_part(
    path: str,
    *,
    dataset: str | None,
    axes: str | None,
    wavelengths: str | None,
    quantity: str | None,
    nodata: str | None,
    window: str | None,
    bands: str | None,
) -> Cube:
    """Open the part of a file that the shared options name."""
    from hypersharp.io import open_cube

    cube = open_cube(path, dataset=dataset, axes=axes, wavelengths=wavelengths, quantity=quantity, nodata=nodata)
    if bands is not None:
        cube = cube.select(parse_bands(bands, cube.shape[0]))
    if window is not None:
        cube = cube.crop(*parse_window(window, *cube.shape[1:]))
    return cube


@contextmanager
def progress_bar(title: str, *, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar with rate and time left on a terminal; None where standard error is piped or `quiet`."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, rate="")

        def advance(done: int, total: int) -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:.2f} blocks/s" if speed else "")

        yield advance


def human_bytes(size: float) -> str:
    """A size with a decimal unit, for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
