"""What a run is before its first step: scenes, network, objective, optimiser, and where an earlier run stopped."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from hypersharp import models
from hypersharp.data.patches import Patches
from hypersharp.errors import UsageError, WriteError
from hypersharp.infer.torch_session import channels_last, load_model, read_card
from hypersharp.models._card import Card, config_from_dict
from hypersharp.train.checkpoint import card_of, remove_scratch, write_text
from hypersharp.train.config import ModelConfig, RunConfig, TrainConfig
from hypersharp.train.domain import Material, load_material, patch_operator
from hypersharp.train.log import RunLog
from hypersharp.train.objective import Distilled, EdgeDistilled, Supervised
from hypersharp.train.resume import STATE, Progress, restore
from hypersharp.train.start import leading_axes, start_from_bicubic


@dataclass
class Run:
    """Everything that a step touches."""

    config: RunConfig
    folder: Path
    fabric: Fabric
    material: Material
    patches: Patches
    model: nn.Module
    averaged: nn.Module
    objective: Any
    optimiser: torch.optim.Optimizer
    card: Card
    progress: Progress
    log: RunLog
    started: float

    @property
    def steps(self) -> int:
        """Steps per epoch; the last batch of an epoch is left out where it is not full."""
        return max(1, len(self.patches) // self.config.train.batch)

    @property
    def seconds(self) -> float:
        """Spent so far, over all resumptions."""
        return self.progress.seconds + time.perf_counter() - self.started


def prepare(config: RunConfig, folder: Path, *, resume: bool, quiet: bool) -> Run:
    """Everything up to the first step; see `loop.train` for arguments and errors."""
    started, train, data = time.perf_counter(), config.train, config.data
    fabric = _fabric(train)
    _claim(folder, resume=resume, tidy=fabric.is_global_zero)
    torch.manual_seed(config.seed)
    spec = models.get_spec(config.model.name)
    _, network_config = network_of(config.model)
    _check_task(config, spec.task)
    material = load_material(data, fabric.device, seed=config.seed)
    patches = _patches(config, material)
    _check_described(config, network_config, material.described)
    bands, scale, guide = material.channels, data.scale, data.msi_channels
    make = partial(_fresh, train=train, material=material, scale=scale, msi_bands=guide)
    model = make(config.model.name, network_config)
    objective = make_objective(config, model, make, channels=bands, device=fabric.device)
    learning = [weight for weight in objective.parameters() if weight.requires_grad]
    optimiser = _optimiser(learning, train)
    wrapped, optimiser = fabric.setup(objective, optimiser)
    averaged = copy.deepcopy(model).requires_grad_(False) if train.ema else model
    waves = material.wavelength_nm
    card = card_of(config, network_config, channels=bands, wavelength_nm=waves, about={})
    settings = config.model_dump_json(indent=1)
    progress = Progress()
    found = restore(folder, config, material.scenes, fabric.device)
    if found is not None:
        progress, parts = found
        try:
            objective.load_state_dict(parts["objective"])
            optimiser.load_state_dict(parts["optimiser"])
            averaged.load_state_dict(parts["averaged"])
        except (KeyError, RuntimeError, ValueError):
            raise UsageError(
                f"{folder / STATE} is the state of another network than {config.model.name} with {bands} channels; "
                "resume with the scenes it began with, or choose another folder with --out"
            ) from None
    elif fabric.is_global_zero:
        write_text(folder / "config.json", settings + "\n")
    steps = max(1, len(patches) // train.batch)
    done = progress.epoch * steps + progress.step
    log = RunLog(folder, step=done, quiet=quiet or not fabric.is_global_zero, total=train.epochs * steps)
    return Run(
        config, folder, fabric, material, patches, model, averaged, wrapped, optimiser, card, progress, log, started
    )


def _optimiser(weights: list[nn.Parameter], train: TrainConfig) -> torch.optim.Optimizer:
    if train.optimiser == "sgd":
        return torch.optim.SGD(weights, lr=train.lr, momentum=0.9, weight_decay=train.weight_decay)
    kind = torch.optim.AdamW if train.optimiser == "adamw" else torch.optim.Adam
    return kind(weights, lr=train.lr, weight_decay=train.weight_decay)


def _fabric(train: TrainConfig) -> Fabric:
    """Device, precision and processes; torchrun says by the environment how many there are."""
    if train.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("no GPU can be used here, got device cuda; take auto or cpu")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    fabric = Fabric(
        accelerator=train.device,
        devices=local,
        num_nodes=world // local,
        precision=train.precision,
        strategy="ddp" if world > 1 else "auto",
    )
    fabric.launch()
    if train.batch % fabric.world_size:
        raise UsageError(f"a batch of {train.batch} cannot be shared by {fabric.world_size} processes; change one")
    return fabric


def _claim(folder: Path, *, resume: bool, tidy: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{folder}: cannot be made ({error.strerror or error}); choose another with --out") from None
    held = (STATE, "config.json", "best.safetensors", "last.safetensors", "teacher.safetensors")
    if not resume and any((folder / name).exists() for name in held):
        raise UsageError(f"{folder} holds a run already; go on with --resume, or choose another folder with --out")
    if tidy:
        remove_scratch(folder)


def _patches(config: RunConfig, material: Material) -> Patches:
    data = config.data
    patches = Patches(
        material.pairs,
        scale=data.scale,
        patch=data.patch,
        stride=data.stride,
        per_epoch=data.per_epoch,
        augment=data.augment,
        seed=config.seed,
        degrade=patch_operator(data),
        gain=data.gain,
        share=data.share,
    )
    if len(patches) < config.train.batch:
        raise UsageError(
            f"an epoch of {len(patches)} patches holds no batch of {config.train.batch}; take a smaller batch"
        )
    return patches


def _check_task(config: RunConfig, task: str) -> None:
    """Whether the network takes what the recipe has for it; before any scene is read."""
    name, msi = config.model.name, config.data.msi
    if task == "fuse" and msi is None:
        raise UsageError(f"{name} fuses a cube with an MSI; say in the table [data.msi] what that is")
    if task == "fuse" and config.objective.kind == "edge":
        raise UsageError(f"an edge branch teaches no network that fuses, got {name}; take another objective")
    if task == "sharpen" and msi is not None:
        raise UsageError(f"{name} sharpens a cube alone, got a table [data.msi]; leave it out, or take csakd_student")


def _check_described(config: RunConfig, network_config: Any, described: int) -> None:
    """Whether the network takes what describes a scene, and adds to nothing what is a change."""
    vary = config.data.vary
    wanted = {"describing": described, "skip": vary is None or not vary.change}
    skip = getattr(network_config, "skip", True)
    found = {"describing": getattr(network_config, "describing", 0), "skip": skip not in (False, "none")}
    for field, value in wanted.items():
        has = found[field]
        if has != value:
            raise UsageError(
                f"data.vary needs {config.model.name} with {field} = {str(value).lower()}, got {str(has).lower()}; "
                f"set model.config.{field}, or choose a network that has it, such as lean"
            )


def _fresh(
    name: str, config: Any, *, train: TrainConfig, material: Material, scale: int, msi_bands: int | None
) -> nn.Module:
    """A network with the weights that training starts from."""
    bands, told = material.channels, material.described
    model = models.build(name, bands=bands, scale=scale, config=config, msi_bands=msi_bands)
    if train.start == "bicubic":
        axes = leading_axes([torch.nan_to_num(pair.lr) for pair in material.pairs], bands)
        start_from_bicubic(model, channels=bands, scale=scale, described=told, msi_bands=msi_bands, axes=axes)
    fresh: nn.Module = channels_last(model)
    return fresh


def make_objective(
    config: RunConfig, model: nn.Module, make: Callable[[str, Any], nn.Module], *, channels: int, device: torch.device
) -> nn.Module:
    """The objective of a recipe around a network.

    Args:
        config: the recipe.
        model: the network.
        make: a fresh one, by name and configuration.
        channels: of its output.
        device: that it runs on.

    Raises:
        UsageError: there is no teacher, or it does not fit; or the network has no stages.
    """
    chosen, data = config.objective, config.data
    if chosen.kind == "supervised":
        return Supervised(model, loss=chosen.loss)
    if chosen.kind == "edge":
        spec = models.get_spec(config.model.name)
        taps = spec.taps(config_from_dict(spec.config, config.model.config, config.model.name))
        if chosen.edge_taps not in taps:
            raise UsageError(
                f"{config.model.name} has the taps {', '.join(taps)}, got {chosen.edge_taps!r}; choose one"
            )
        return EdgeDistilled(
            model,
            loss=chosen.loss,
            bands=channels,
            scale=data.scale,
            taps=taps[chosen.edge_taps],
            learnable=chosen.learnable,
            detach=chosen.detach,
        )
    shared: dict[str, Any] = {"loss": chosen.loss, "distil_loss": chosen.distil_loss, "taps": chosen.taps}
    shared |= {"alpha": chosen.alpha, "decay": chosen.decay, "every": chosen.every}
    shared |= {"features": chosen.features, "feature_taps": chosen.feature_taps}
    if chosen.together is not None:
        return Distilled(model, teacher=make(*network_of(chosen.together)), together=True, **shared)
    if chosen.teacher is None:
        raise UsageError("a distilled objective needs a teacher: hypersharp distill RECIPE --teacher CHECKPOINT")
    path = Path(os.path.expandvars(chosen.teacher))
    card = read_card(path)
    for name, theirs, ours in (
        ("scale", card.scale, data.scale),
        ("domain", card.domain, data.domain),
        ("number of channels", card.bands, channels),
        ("number of MSI channels", card.msi_bands, data.msi_channels),
        ("setting data.msi.draft =", card.msi_drafted, data.msi is not None and data.msi.draft),
    ):
        if theirs != ours:
            raise UsageError(f"the teacher {path.name} has the {name} {theirs}, the student {ours}; choose another")
    return Distilled(model, teacher=channels_last(load_model(path)).to(device), **shared)


def network_of(model: ModelConfig) -> tuple[str, Any]:
    """Name and configuration of a network that a recipe names."""
    return model.name, config_from_dict(models.get_spec(model.name).config, model.config, f"model {model.name}")


def learning_rate(train: TrainConfig, *, step: int, steps: int) -> float:
    """Of a step, from 0; a function of the step alone, so resuming needs no state."""
    if step < train.warm_up:
        return train.lr * (step + 1) / train.warm_up
    if train.schedule == "cosine":
        done = (step - train.warm_up) / max(1, train.epochs * steps - 1 - train.warm_up)
        return train.lr_end + (train.lr - train.lr_end) * (1 + math.cos(math.pi * min(1.0, done))) / 2
    if train.schedule == "step":
        return float(train.lr * train.step_factor ** (step // steps // train.step_every))
    return train.lr
