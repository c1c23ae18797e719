"""The weights that come with the package: one `.onnx` file for each scale, its card inside; no code but this.

`recipes/default/` has the recipe of each. The `.safetensors` beside a file is the same network, to be trained on.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def shipped(scale: int) -> Path | None:
    """The default network for a scale; None where there is none."""
    path = _FOLDER / f"x{scale}.onnx"
    return path if path.is_file() else None


def serving(scale: int) -> Path | None:
    """The default network that serves a scale: its own, else the next larger one, whose images are reduced."""
    larger = [own for own in shipped_scales() if own >= scale]
    return shipped(larger[0]) if larger else None


def shipped_scales() -> list[int]:
    """Scales that have a default network."""
    return sorted(int(path.stem[1:]) for path in _FOLDER.glob("x*.onnx"))
