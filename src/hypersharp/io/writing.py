"""Writing a cube: whole blocks, in block order, into a scratch folder beside the target, then renamed into place."""

from __future__ import annotations

import math
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hypersharp._folder import load_folder
from hypersharp.cube import Cube, Storage, StoredSource
from hypersharp.errors import UsageError, WriteError
from hypersharp.io.contract import Sink, WriteOptions, Writer
from hypersharp.io.encode import ValueRange, choose_storage, copies_stored, encode, needs_range

Progress = Callable[[int, int], None]

_MOST_THREADS = 8  # that compute: each holds a few groups of bands, and before this many the disk is the slower side
_in_use: set[Path] = set()  # scratch folders of this process


class MetadataLossWarning(UserWarning):
    """Something of the cube does not fit into the file; the message says what."""


@cache
def list_writers() -> dict[str, Writer]:
    """Every writer by the name of its file."""
    return cast(dict[str, Writer], load_folder("hypersharp.io.writers", "WRITER"))


def writer_of(path: str | os.PathLike[str]) -> Writer:
    """The writer that a target's ending chooses.

    Raises:
        UsageError: no writer has this ending.
    """
    suffix = Path(path).suffix.lower()
    for writer in list_writers().values():
        if suffix in writer.suffixes:
            return writer
    known = ", ".join(sorted(s for writer in list_writers().values() for s in writer.suffixes))
    raise UsageError(f"expected an output ending out of {known}, got {Path(path).name!r}")


def check_target(path: Path, cube: Cube, *, overwrite: bool) -> Writer:
    """Refuse a target that cannot or must not be written, before any work is done.

    Raises:
        UsageError: unknown ending, or the target is one of the cube's own input files.
        WriteError: the folder is missing or not writable, or the file exists and `overwrite` is False.
    """
    writer = writer_of(path)
    try:
        _check_place(path, writer, cube.values.files, overwrite=overwrite)
    except OSError as error:
        raise WriteError(f"{str(path)!r} cannot be written ({error.strerror or error}); choose another name") from None
    return writer


def _check_place(path: Path, writer: Writer, inputs: tuple[Path, ...], *, overwrite: bool) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise WriteError(f"expected an existing output folder, got {str(folder)!r}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(f"no permission to write into the folder {str(folder)!r}")
    names, beside = writer.names(path.name), writer.beside(path.name)
    for target in (folder / name for name in (*names, *beside)):
        if any(target.exists() and file.exists() and target.samefile(file) for file in inputs):
            raise UsageError(f"{target.name} is an input of this very operation; choose another output name")
        if target.is_dir():
            raise WriteError(f"expected a file name, got the folder {str(target)!r}")
        if target.exists() and not overwrite:
            does = "exists; say overwrite to replace it"
            if target.name in beside:
                does = f"would be read along with {path.name}; move it away, or say overwrite to remove it"
            raise WriteError(f"{str(target)!r} {does}")


def write_cube(
    cube: Cube,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    options: WriteOptions | None = None,
    memory_bytes: int = 1 << 30,
    value_range: ValueRange | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a cube to a file whose ending chooses the format.

    Nothing appears under the target's name before it is whole. When stored numbers need no change they are copied
    bit for bit. The memory used does not grow with the scene.

    Args:
        cube: what to write; read block by block.
        path: target; ``.tif`` GeoTIFF, ``.img`` ENVI, ``.h5`` HDF5, ``.npz`` or ``.npy`` NumPy.
        overwrite: replace an existing file; without it an existing file is refused.
        options: type, compression, interleave and so on; see `WriteOptions`.
        memory_bytes: about how much memory the blocks in flight may take.
        value_range: lowest and highest value per band, `(C,)` each, where they are known; saves a pass over the
            values for scaled integers.
        progress: called with blocks done and blocks in all.

    Returns:
        The path written.

    Raises:
        UsageError: an argument does not fit, or the target is an input of the cube.
        WriteError: the target cannot be written; nothing was left under its name.

    Warns:
        MetadataLossWarning: the format cannot hold something, or values were clipped to the type's range.
    """
    target = Path(path)
    writer = check_target(target, cube, overwrite=overwrite)
    options = options or WriteOptions()
    if options.compress not in ("none", "zstd", "deflate"):
        raise UsageError(f"compress must be none, zstd or deflate, got {options.compress!r}")
    if options.interleave not in (None, "bsq", "bil", "bip"):
        raise UsageError(f"interleave must be bsq, bil or bip, got {options.interleave!r}")
    if value_range is None and needs_range(cube, options.dtype):
        value_range = range_of(cube, memory_bytes=memory_bytes)
    storage = choose_storage(cube, options.dtype, value_range=value_range)
    final = replace(cube, storage=storage)
    _check_space(target.parent, final, options.compress)
    with scratch(target) as folder:
        try:
            sink = writer.create(folder, target.name, final, options)
            try:
                for line in writer.lost(final, options):
                    warnings.warn(f"{target.name}: {line}", MetadataLossWarning, stacklevel=2)
                clipped = _write_blocks(cube, storage, sink, writer.block, memory_bytes, options.threads, progress)
                names = sink.finish()
            except BaseException:
                sink.abandon()
                raise
        except OSError as error:
            raise WriteError(f"{target.name}: writing failed ({error.strerror or error}); nothing was left") from None
        put_in_place(folder, target.parent, names, writer.beside(target.name))
    if clipped:
        warnings.warn(
            f"{target.name}: {clipped} values lay outside of the range of {storage.dtype} and were clipped to it",
            MetadataLossWarning,
            stacklevel=2,
        )
    return target


def range_of(cube: Cube, *, memory_bytes: int = 1 << 30) -> ValueRange:
    """Lowest and highest valid physical value of each band, `(C,)` each, by one pass over the cube; NaN if none."""
    low = np.full(cube.shape[0], np.inf)
    high = np.full(cube.shape[0], -np.inf)
    for rows, cols in regions(cube, (64, 64), memory_bytes):
        for at in band_groups(cube):
            values, valid = cube.values.read(at, rows, cols)
            np.minimum(low[at], np.where(valid, values, np.inf).min(axis=(1, 2)), out=low[at])
            np.maximum(high[at], np.where(valid, values, -np.inf).max(axis=(1, 2)), out=high[at])
    none = low > high
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def regions(cube: Cube, block: tuple[int, int], memory_bytes: int) -> Iterator[tuple[slice, slice]]:
    """Regions that partition the scene in row-major order, each a multiple of `block` but at the far edges.

    A source may name the granularity that suits it by an attribute `block`: bands, rows and columns. Rows and columns
    are rounded up to the writer's.
    """
    bands, height, width = cube.shape
    own = getattr(cube.values, "block", None)
    step_row = -(-(own[1] if own else block[0]) // block[0]) * block[0]
    if own:
        step_col = -(-own[2] // block[1]) * block[1]
    else:
        # Wide regions suit files; three copies of a region are in flight.
        per_col = bands * min(step_row, height) * cube.values.dtype.itemsize * 3
        step_col = max(1, memory_bytes // 8 // max(1, per_col * block[1])) * block[1]
    for row in range(0, height, step_row):
        for col in range(0, width, step_col):
            yield slice(row, min(row + step_row, height)), slice(col, min(col + step_col, width))


def band_groups(cube: Cube) -> list[slice]:
    """Groups of bands in which to read a region: all at once, unless the source says otherwise by `block`."""
    own, count = getattr(cube.values, "block", None), cube.shape[0]
    step = own[0] if own else count
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def _write_blocks(
    cube: Cube,
    storage: Storage,
    sink: Sink,
    block: tuple[int, int],
    memory_bytes: int,
    threads: int,
    progress: Progress | None,
) -> int:
    """Read or compute region by region while another thread writes the one before; how many values were clipped."""
    parts = list(regions(cube, block, memory_bytes))
    raw = cube.values if copies_stored(cube, storage) else None
    largest = max((rows.stop - rows.start) * (cols.stop - cols.start) for rows, cols in parts)
    # Two buffers that take turns: the system clears fresh memory first, which costs as much as half of the arithmetic.
    buffers = [np.empty(0 if raw is not None else cube.shape[0] * largest, storage.dtype) for _ in range(2)]
    clipped = 0
    pending: Future[None] | None = None
    with (
        ThreadPoolExecutor(1) as writing,
        ThreadPoolExecutor(min(threads or os.cpu_count() or 1, _MOST_THREADS)) as computing,
    ):
        for done, (rows, cols) in enumerate(parts):
            if raw is not None:
                stored = cast(StoredSource, raw).fetch(slice(None), rows, cols)
            else:
                shape = (cube.shape[0], rows.stop - rows.start, cols.stop - cols.start)
                stored = buffers[done % 2][: math.prod(shape)].reshape(shape)
                clipped += _encode_region(cube, storage, rows, cols, stored, computing)
            if pending is not None:
                pending.result()
            pending = writing.submit(sink.write, stored, rows.start, cols.start)
            del stored
            if progress is not None:
                progress(done + 1, len(parts))
        if pending is not None:
            pending.result()
    return clipped


def _encode_region(
    cube: Cube, storage: Storage, rows: slice, cols: slice, stored: NDArray[Any], pool: ThreadPoolExecutor
) -> int:
    """Fill `stored` with a region, a group of bands at a time in each thread; how many values were clipped."""

    def fill(at: slice) -> int:
        values, valid = cube.values.read(at, rows, cols)
        return encode(values, valid, storage.take(at), out=stored[at])[1]

    return sum(pool.map(fill, band_groups(cube)))


def _check_space(folder: Path, cube: Cube, compress: str) -> None:
    need = int(np.prod(cube.shape, dtype=np.int64)) * cube.storage.dtype.itemsize
    free = shutil.disk_usage(folder).free
    if compress == "none" and need > free:
        raise WriteError(
            f"the output needs {need / 1e9:.2f} GB and {str(folder)!r} has {free / 1e9:.2f} GB free; make room first"
        )


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """A hidden folder beside the target, gone afterwards; what killed runs left behind is removed first."""
    prefix = f".{target.name}.part-"
    for old in target.parent.glob(f"{_glob_escape(prefix)}*"):
        pid = old.name.removeprefix(prefix)
        if pid.isdigit() and old not in _in_use and (int(pid) == os.getpid() or not _alive(int(pid))):
            shutil.rmtree(old, ignore_errors=True)  # in a container, process numbers come again
    folder = target.parent / f"{prefix}{os.getpid()}"
    try:
        folder.mkdir()
        _in_use.add(folder)
    except OSError as error:
        raise WriteError(f"cannot write beside {str(target)!r} ({error.strerror or error})") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _in_use.discard(folder)


def _glob_escape(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def put_in_place(folder: Path, parent: Path, names: list[str], beside: list[str]) -> None:
    """Rename the finished files. The last one is what makes the output openable, so an older one goes first.

    What lies beside a file that is replaced (statistics, a mask, overviews) would speak of the old one.
    """
    try:
        if len(names) > 1:
            (parent / names[-1]).unlink(missing_ok=True)
        for name in names:
            os.replace(folder / name, parent / name)
        for name in beside:
            (parent / name).unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(f"{names[-1]}: could not be put in place ({error.strerror or error})") from None
