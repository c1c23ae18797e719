"""Killed at any moment: under the final name there is nothing, or a whole file; the next run cleans up."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hypersharp.cli import run
from hypersharp.cube import Bands, Cube, Storage, array_source
from hypersharp.errors import FileFormatError
from hypersharp.io import open_cube, write_cube

from ..infer.made import scene

# Starts the command again and again, each time as a process that kills itself before the n-th step that changes names:
# making and removing folders and files, renaming. Prints the status and what then lies in the folder, line by line.
DEADLY = """
import json, os, shutil, signal, sys
from pathlib import Path
import hypersharp.pipeline
from hypersharp.cli import run
folder, backup, arguments = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
def go(left):
    def deadly(step):
        def call(*arguments, **options):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return step(*arguments, **options)
        return call
    os.replace, Path.unlink, Path.mkdir = deadly(os.replace), deadly(Path.unlink), deadly(Path.mkdir)
    shutil.rmtree = deadly(shutil.rmtree)
    os._exit(run(arguments))
for step in range(30):
    for path in folder.glob("out.*"):
        path.unlink()
    for path in backup.iterdir():
        shutil.copy(path, folder)
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        go(step)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([status, {path.name: path.read_bytes().hex() for path in folder.glob("out.*")}]), flush=True)
    if status == 0:
        break
"""


def made(folder: Path, bands: int, side: int, seed: int = 0) -> Path:
    numbers = np.rint(scene((bands, side, side), seed=seed)).astype(np.int16)
    cube = Cube(array_source(numbers, Storage(np.dtype(np.int16))), Bands(bands))
    return write_cube(cube, folder / f"in{seed}.img")


def arguments(source: Path, target: Path) -> list[str]:
    return ["sharpen", str(source), str(target), "--scale", "2", "--tile", "32", "--overwrite"]


def contents(target: Path) -> dict[str, bytes]:
    names = [target.name, f"{target.stem}.hdr"] if target.suffix == ".img" else [target.name]
    return {name: (target.parent / name).read_bytes() for name in names if (target.parent / name).exists()}


def which_state(folder: Path, found: dict[str, bytes], states: list[dict[str, bytes]]) -> int:
    """The one of `states` that was found whole, or -1 for nothing that can be opened."""
    if found in states:
        return states.index(found)
    assert set(found) <= {"out.img"}, "a lone data file of ENVI can be left, without its header it is none"
    check = folder / "check"
    check.mkdir(exist_ok=True)
    for name, content in found.items():
        (check / name).write_bytes(content)
        with pytest.raises(FileFormatError):
            open_cube(check / name)
    return -1


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("ending", [".tif", ".img"])
@pytest.mark.parametrize("old", [False, True], ids=["new", "overwrite"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_killed_before_every_change_of_names(tmp_path, ending, old):
    target, backup = tmp_path / f"out{ending}", tmp_path / "backup"
    backup.mkdir()
    states = []
    for seed in (1, 0):
        source = made(tmp_path, 2, 12, seed=seed)
        assert run(arguments(source, target)) == 0
        states.append(contents(target))
    assert states[0] != states[1]
    for name, content in states[0].items() if old else ():
        (backup / name).write_bytes(content)
    command = [sys.executable, "-c", DEADLY, str(tmp_path), str(backup), *arguments(source, target)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in printed.splitlines()]
    seen = []
    for _, found in rows:
        found = {name: bytes.fromhex(content) for name, content in found.items()}
        seen.append(which_state(tmp_path, found, states if old else states[1:]))
    assert len(rows) > 3
    assert [status for status, _ in rows] == [-signal.SIGKILL] * (len(rows) - 1) + [0]
    assert seen[0] == (0 if old else -1), "at the first step nothing has happened yet"
    assert seen[-1] == (1 if old else 0)
    assert seen == sorted(seen, key=[0, -1, 1].index if old else [-1, 0].index), "nothing comes back"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("ending", [".tif", ".img"])
def test_killed_at_random_moments(tmp_path, ending):
    """Three times without and three times over an old file."""
    source, other = made(tmp_path, 30, 120), made(tmp_path, 30, 120, seed=1)
    target = tmp_path / f"out{ending}"
    states = []
    for which in (other, source):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "hypersharp", *arguments(which, target)], check=True, stdout=-3)
        needed = time.perf_counter() - started
        states.append(contents(target))
    pick = random.Random(7)
    left = 0
    for turn in range(6):
        for name in contents(target):
            (target.parent / name).unlink()
        for name, content in states[0].items() if turn % 2 else ():
            (target.parent / name).write_bytes(content)
        running = subprocess.Popen([sys.executable, "-m", "hypersharp", *arguments(source, target)], stdout=-3)
        time.sleep(needed * pick.uniform(0.3, 1.05))
        running.kill()
        running.wait()
        which_state(tmp_path, contents(target), states if turn % 2 else states[1:])
        left += len(leftovers(tmp_path))
        assert len(leftovers(tmp_path)) <= 1, "the run before this one left something, and this one kept it"
    subprocess.run([sys.executable, "-m", "hypersharp", *arguments(source, target)], check=True, stdout=-3)
    assert contents(target) == states[1]
    assert leftovers(tmp_path) == []
