"""A JSON file beside an output that says what was done to make it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hypersharp._version import __version__
from hypersharp.errors import WriteError

__all__ = ["check_sidecar", "sidecar_of", "write_sidecar"]


def sidecar_of(output: Path) -> Path:
    """Where the sidecar of an output lies: its whole name with `.recipe.json` after it."""
    return output.with_name(f"{output.name}.recipe.json")


def check_sidecar(output: Path, *, overwrite: bool) -> None:
    """Refuse a sidecar that exists, before any work is done.

    Raises:
        WriteError: it exists and `overwrite` is False, or it is a folder.
    """
    path = sidecar_of(output)
    if path.is_dir():
        raise WriteError(f"expected a file name, got the folder {str(path)!r}")
    if path.exists() and not overwrite:
        raise WriteError(f"{str(path)!r} exists; say overwrite to replace it")


def write_sidecar(output: Path, content: Mapping[str, Any]) -> Path:
    """Write `content` beside an output, with the versions that its numbers depend on; whole or not at all.

    Raises:
        WriteError: it cannot be written.
    """
    path = sidecar_of(output)
    scratch = path.with_name(f".{path.name}.part-{os.getpid()}")
    versions = {"hypersharp": __version__, "numpy": np.__version__}
    try:
        scratch.write_text(_text_of(versions | dict(content)), encoding="utf-8")
        os.replace(scratch, path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise WriteError(f"{path.name}: writing failed ({error.strerror or error}); nothing was left") from None
    return path


def _text_of(content: Mapping[str, Any]) -> str:
    """JSON that people can read: a line for each part, but lists of numbers on one line."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+([-+.eE\d,\s]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"
