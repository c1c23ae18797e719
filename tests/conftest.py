"""Fixtures shared by the whole suite."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real cubes and sensor files, or a skip with the reason."""
    text = os.environ.get("HYPERSHARP_DATA")
    if not text:
        pytest.skip("HYPERSHARP_DATA is not set: no real data here")
    folder = Path(text)
    if not folder.is_dir():
        pytest.skip(f"HYPERSHARP_DATA={text} is not a folder")
    return folder.resolve()


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Callable[[], None]]:
    """`stop_after(n)` lets trainings take `n` more steps and then be interrupted; what it returns lets them go on."""
    from hypersharp.train import loop

    real = loop._step

    def arm(steps: int) -> Callable[[], None]:
        left = [steps]

        def stopped(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(loop, "_step", stopped)
        return lambda: monkeypatch.setattr(loop, "_step", real)

    return arm
