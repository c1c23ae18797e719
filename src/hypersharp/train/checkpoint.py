"""A checkpoint: weights as safetensors with the card inside, and the card beside it; written whole or not at all."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hypersharp import _version, models
from hypersharp.errors import WriteError
from hypersharp.infer.torch_session import card_beside
from hypersharp.models._card import CARD_KEY, Card, config_to_dict
from hypersharp.train.config import RunConfig

_SCRATCH = re.compile(
    r"\.((best|last|teacher)\.(safetensors|card\.json)|last\.state|(config|scores)\.json|log\.jsonl|validation\.csv)"
    r"\.part-\d+"
)


def save_checkpoint(path: Path, weights: Mapping[str, Tensor], card: Card) -> None:
    """Write a checkpoint and its card.

    Raises:
        WriteError: it cannot be written; what was there before stays.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    try:
        with _whole(path) as scratch:
            save_file(plain, scratch, metadata={CARD_KEY: card.to_json()})
    except Exception as error:  # safetensors has an error of its own for a full disk
        raise WriteError(f"{path.name}: writing failed ({error}); free space or choose another folder") from None
    write_text(card_beside(path), card.to_json() + "\n")


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write all that a run needs to go on, whole or not at all.

    Raises:
        WriteError: it cannot be written; the state before stays.
    """
    try:
        with _whole(path) as scratch:
            torch.save(dict(state), scratch)
    except (OSError, RuntimeError) as error:
        raise WriteError(f"{path.name}: writing failed ({error}); free space or choose another folder") from None


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        WriteError: it cannot be written.
    """
    try:
        with _whole(path) as scratch:
            scratch.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WriteError(f"{path.name}: writing failed ({error.strerror or error})") from None


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A scratch file that becomes `path` at the end; it is gone whatever goes wrong, Ctrl-C too."""
    scratch = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        yield scratch
        os.replace(scratch, path)
    except BaseException:
        with suppress(OSError):
            scratch.unlink()
        raise


def remove_scratch(folder: Path) -> None:
    """Remove the scratch files of a killed run from its folder, and no other program's."""
    for path in folder.glob(".*.part-*"):
        if _SCRATCH.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def card_of(
    config: RunConfig,
    network_config: Any,
    *,
    channels: int,
    wavelength_nm: tuple[float, ...] | None,
    about: Mapping[str, Any],
) -> Card:
    """The card of a network that a recipe trains."""
    spec = models.get_spec(config.model.name)
    data = config.data
    facts = {
        "hypersharp": _version.__version__,
        "commit": commit(),
        "recipe": config.about,
        "task": spec.task,
        "paper": spec.paper,
        "degradation": data.degradation,
        "crop_then_degrade": data.crop_then_degrade,
        "msi": None if data.msi is None else data.msi.model_dump(),
        "normalisation": f"quantile {data.divisor:g} of the LR scene" if data.domain == "bands" else "eigenimages",
        "split": {
            "train": data.train,
            "validation": data.validation,
            "block": None if data.block is None else data.block.model_dump(),
        },
        "objective": config.objective.model_dump(),
        "seed": config.seed,
    }
    return Card(
        model=config.model.name,
        scale=data.scale,
        bands=channels,
        msi_bands=data.msi_channels,
        msi_drafted=data.msi is not None and data.msi.draft,
        halo=spec.halo(network_config),
        multiple_of=spec.multiple_of,
        domain=data.domain,
        gives="change" if data.vary is not None and data.vary.change else "image",
        described=data.vary is not None and data.vary.describe,
        quantile=data.divisor,
        wavelength_nm=wavelength_nm,
        config=config_to_dict(network_config),
        about=facts | dict(about),
    )


def with_about(card: Card, about: Mapping[str, Any]) -> Card:
    """The card with more said about it."""
    return Card(**{**asdict(card), "about": {**card.about, **about}})


def commit() -> str:
    """The commit of the source tree that runs, with ``+`` where it is changed; empty for an installed package."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Copies of a module's state, for a checkpoint."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
