"""Fixtures shared by the whole suite."""

from __future__ import annotations

import os
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
