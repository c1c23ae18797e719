"""Two files that belong together: both appear, or neither."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypersharp.cube import Cube
from hypersharp.errors import UsageError
from hypersharp.io.contract import WriteOptions
from hypersharp.io.writing import check_target, put_in_place, scratch, write_cube, writer_of


def check_pair(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> None:
    """Refuse two outputs that would write, or take along, the same file.

    Raises:
        UsageError: they would, or an ending is not known.
    """
    one, two = Path(path), Path(other)
    first, second = writer_of(one), writer_of(two)
    names = {_absolute(one, name) for name in (*first.names(one.name), *first.beside(one.name))}
    written = {_absolute(two, name) for name in second.names(two.name)}
    taken = {_absolute(two, name) for name in second.beside(two.name)}
    if names & written or taken & {_absolute(one, name) for name in first.names(one.name)}:
        raise UsageError(f"expected two outputs with files of their own, got {one.name!r} and {two.name!r}; rename one")


def _absolute(path: Path, name: str) -> Path:
    return path.parent.resolve() / name


@contextmanager
def written_with(
    cube: Cube, path: str | os.PathLike[str], *, overwrite: bool, options: WriteOptions, memory_bytes: int
) -> Iterator[None]:
    """Write a cube, and put it in place only after what is done inside has succeeded.

    Args:
        cube: what to write.
        path: its target.
        overwrite: replace an existing file.
        options: see `write_cube`.
        memory_bytes: see `write_cube`.

    Raises:
        UsageError: the target is an input of the cube, or its ending is not known.
        WriteError: it cannot be written; nothing was left under its name.
    """
    target = Path(path)
    writer = check_target(target, cube, overwrite=overwrite)
    with scratch(target) as folder:
        write_cube(cube, folder / target.name, options=options, memory_bytes=memory_bytes)
        yield
        put_in_place(folder, target.parent, writer.names(target.name), writer.beside(target.name))
