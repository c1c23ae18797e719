"""The state of a run between two steps: everything that decides the numbers to come."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from hypersharp.errors import FileFormatError, UsageError
from hypersharp.train.checkpoint import save_state
from hypersharp.train.config import RunConfig

STATE = "last.state"


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


def store(folder: Path, progress: Progress, parts: dict[str, Any], settings: str) -> None:
    """Write the state of a run.

    Args:
        folder: of the run.
        progress: where it is.
        parts: state dictionaries by name.
        settings: the effective recipe as text; a state is only resumed by the same.
    """
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    save_state(folder / STATE, {"progress": asdict(progress), "random": random, "settings": settings, **parts})


def _recipe(text: str) -> RunConfig | str:
    """What a text says; a setting that is younger than it has its default there."""
    try:
        return RunConfig.model_validate_json(text)
    except ValidationError:
        return text


def restore(folder: Path, settings: str, device: torch.device) -> tuple[Progress, dict[str, Any]] | None:
    """The state of a run and its random numbers; None where there is none yet.

    Raises:
        FileFormatError: it is damaged.
        UsageError: it is that of another recipe.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        held = torch.load(path, map_location=device, weights_only=True)
        progress = Progress(**held.pop("progress"))
        random, said = held.pop("random"), held.pop("settings")
    except Exception as error:  # zip, pickle and torch raise many kinds
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileFormatError(f"{path}: not the state of a run ({first}); start the run anew") from None
    if _recipe(said) != _recipe(settings):
        raise UsageError(f"{path} is the state of another recipe; resume with the one it began with, or start anew")
    torch.set_rng_state(random["cpu"].cpu())
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"].cpu())
    return progress, held
