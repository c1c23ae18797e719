"""The state of a run between two steps: everything that decides the numbers to come."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from hypersharp.errors import FileFormatError, UsageError
from hypersharp.train.checkpoint import save_state
from hypersharp.train.config import RunConfig

STATE = "last.state"
_FREE = ("about", "data.root", "train.log_every", "train.tensorboard", "train.device")
"""Settings that may change between two parts of a run."""


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        epoch: that is being worked on, from 0.
        step: of that epoch, from 0; what is drawn depends on these two and the seed only.
        best: best score so far, with higher better; None before the first.
        stale: validations since then.
        seconds: spent so far.
        stopped: whether early stopping ended the run.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    stale: int = 0
    seconds: float = 0.0
    stopped: bool = False


def store(folder: Path, progress: Progress, parts: dict[str, Any], settings: str, scenes: list[list[Any]]) -> None:
    """Write the state of a run.

    Args:
        folder: of the run.
        progress: where it is.
        parts: state dictionaries by name.
        settings: the effective recipe as text; a state is only resumed by the same.
        scenes: as `Material.scenes`; a state is only resumed on the same.
    """
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    told = {"progress": asdict(progress), "random": random, "settings": settings, "scenes": scenes}
    save_state(folder / STATE, told | parts)


def restore(
    folder: Path, config: RunConfig, scenes: list[list[Any]], device: torch.device
) -> tuple[Progress, dict[str, Any]] | None:
    """The state of a run, its random numbers put back; None where there is none yet.

    Args:
        folder: of the run.
        config: the recipe, which must be that of the state but for what changes no result.
        scenes: what it is made of, as `Material.scenes`; states of earlier versions do not say it.
        device: to read it to.

    Raises:
        FileFormatError: it is damaged.
        UsageError: it is that of another recipe, or of other scenes.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as whole:
            if whole.testzip() is not None:  # torch itself reads flipped bits
                raise zipfile.BadZipFile
        held = torch.load(path, map_location=device, weights_only=True)
        progress = Progress(**held["progress"])
        random, said = held["random"], held["settings"]
        parts = {name: held[name] for name in ("objective", "averaged", "optimiser")}
        _check_recipe(path, said, config)
        _check_scenes(path, held.get("scenes"), scenes)
        torch.set_rng_state(random["cpu"].cpu())
        if "cuda" in random and torch.cuda.is_available():
            torch.cuda.set_rng_state(random["cuda"].cpu())
    except UsageError:
        raise
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from None
    except Exception:  # zip, pickle and torch raise many kinds
        raise FileFormatError(
            f"{path} is damaged; delete it, and --resume begins anew, or choose another folder with --out"
        ) from None
    return progress, parts


def _check_recipe(path: Path, said: str, config: RunConfig) -> None:
    """Refuse another recipe by its first settings; one that is younger than the state has its default there."""
    try:
        before = RunConfig.model_validate_json(said)
    except ValidationError:
        raise UsageError(
            f"{path} is the state of another recipe, of another version of hypersharp; choose another folder with --out"
        ) from None
    found = list(_differences(before.model_dump(mode="json"), config.model_dump(mode="json")))
    if found:
        named = ", ".join(f"{key} was {json.dumps(old)} and is {json.dumps(new)}" for key, old, new in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise UsageError(
            f"{path} is the state of another recipe: {named}{more}; resume with the one it began with, or choose "
            "another folder with --out"
        )


def _differences(before: dict[str, Any], now: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys of the settings that differ, old and new value; those that change no result are left out."""
    for name in {**before, **now}:
        old, new, key = before.get(name), now.get(name), f"{above}{name}"
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{key}.")
        elif old != new and key not in _FREE:
            yield key, old, new


def _check_scenes(path: Path, before: list[list[Any]] | None, now: list[list[Any]]) -> None:
    """Refuse other scenes by the first that differs."""
    if before is None or before == now:
        return
    old, new = next(pair for pair in zip_longest(before, now) if pair[0] != pair[1])
    raise UsageError(
        f"{path} is the state of a run on other scenes: there was {_told(old)}, there is {_told(new)}; bring the "
        "scenes back, or choose another folder with --out"
    )


def _told(scene: list[Any] | None) -> str:
    if scene is None:
        return "no more scene"
    name, (bands, rows, cols), kept = scene
    return f"{name} of {rows} x {cols} pixels with {bands} bands ({kept[0]} to {kept[-1]} of its file)"
