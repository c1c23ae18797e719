"""Seconds per million HR pixels of every row, measured in turn so that what else a machine does falls on all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

from hypersharp.infer.session import Session
from hypersharp.train.domain import Held

_ROUNDS = 3


def measure(held: Held, sessions: Mapping[str, Session | None], *, tile: int, consistency: str) -> dict[str, float]:
    """Median seconds per million HR pixels of one scene, sharpened whole from arrays in memory.

    A round sharpens once with every method; the first, which warms up, does not count. Basis and offsets are fitted in
    the time, the noise of the scene, which every method shares, is not.

    Args:
        held: the scene.
        sessions: name to network; None for bicubic.
        tile: side of the tiles in LR pixels.
        consistency: ``"off"`` or ``"noise"``.
    """
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(_ROUNDS + 1):
        for name, session in sessions.items():
            started = time.perf_counter()
            held.sharpened(session, tile=tile, consistency=consistency)
            if turn:
                taken[name].append(time.perf_counter() - started)
    megapixels = held.scene.valid.size / 1e6
    return {name: statistics.median(seconds) / megapixels for name, seconds in taken.items()}
