"""What the benchmarks share: a command's time and peak memory, and a ratio of times taken in one run."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One finished command.

    Attributes:
        seconds: wall time, the start of the interpreter included.
        peak_bytes: largest resident set of its whole life.
    """

    seconds: float
    peak_bytes: int


def run(command: Sequence[str]) -> Run:
    """Run a command to its end.

    The kernel counts what the parent holds at the moment of the start as the child's; keep the parent small.

    Raises:
        SystemExit: the command failed.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"exit status {process.returncode}: {' '.join(command)}")
    return Run(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def interleave(parts: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Call every part in turn, `repeats` times over, so that all meet the same machine; what each answered.

    The disk is let come to rest before each.
    """
    found: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            os.sync()
            found[name].append(part())
            print(f"  {name:<24}{found[name][-1]:9.2f} s", flush=True)
    return found


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median over the rounds of the ratio of two times of the same round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))
