"""The training loop, top to bottom: recipe → scenes → patches → objective → step → validation → checkpoints."""

from __future__ import annotations

import json
import logging
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from hypersharp.data.patches import Batch
from hypersharp.errors import TrainingError
from hypersharp.infer.torch_session import ModuleSession, load_model, read_card
from hypersharp.train.checkpoint import card_of, save_checkpoint, weights_of, with_about, write_text
from hypersharp.train.config import RunConfig
from hypersharp.train.domain import score_all
from hypersharp.train.log import open_board
from hypersharp.train.objective import Scored
from hypersharp.train.prepare import Run, learning_rate, network_of, prepare
from hypersharp.train.resume import store

_LOWER_IS_BETTER = ("sam_deg", "rmse", "ergas")

Table = dict[str, dict[str, dict[str, dict[str, float]]]]


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Attributes:
        best: checkpoint with the best validation; the last one where nothing was validated.
        table: scores of bicubic, of the best weights, and of both with consistency: row, group of scenes
            (``"validation"``, ``"test"``), scene or ``"mean"``, metric.
        steps: done in all.
        seconds: spent in all.
    """

    best: Path
    table: Table
    steps: int
    seconds: float


def train(config: RunConfig, folder: Path, *, resume: bool = False, quiet: bool = False) -> Result:
    """Train a network after a recipe; the folder then holds checkpoints, cards, log and recipe.

    Args:
        config: the recipe.
        folder: of the run; made if it is not there.
        resume: go on where an earlier run of the same recipe in this folder stopped, if there was one.
        quiet: no display even on a terminal.

    Raises:
        UsageError: the recipe does not fit its scenes, network or teacher, or the folder holds another run.
        FileFormatError: a file cannot be read.
        WriteError: a file cannot be written.
        TrainingError: a term of the loss is not finite.
    """
    with _calm():
        run = prepare(config, folder, resume=resume, quiet=quiet)
        if config.train.tensorboard and run.fabric.is_global_zero:
            run.log.board = open_board(folder, done=run.progress.epoch * run.steps + run.progress.step)
        with run.log:
            while run.progress.epoch < config.train.epochs and not run.progress.stopped:
                _epoch(run)
        best = folder / ("best.safetensors" if run.progress.best is not None else "last.safetensors")
        table = _table(run, best) if run.fabric.is_global_zero else {}
    steps = run.progress.epoch * run.steps + run.progress.step
    return Result(best, table, steps, run.progress.seconds)


def _table(run: Run, best: Path) -> Table:
    """Every row that a table of results must have, also in `scores.json`; bicubic first."""
    session = _Watched(load_model(best).to(run.fabric.device), read_card(best), best.name)
    groups = {"validation": run.material.validation, "test": run.material.test}
    table: Table = {}
    for method, runner in (("bicubic", None), (run.config.model.name, session)):
        for end, consistency in (("", "off"), (" + consistency", "noise")):
            table[f"{method}{end}"] = {
                group: score_all(held, runner, tile=run.config.train.tile, consistency=consistency)
                for group, held in groups.items()
                if held
            }
    write_text(run.folder / "scores.json", json.dumps(table, indent=1) + "\n")
    return table


def _epoch(run: Run) -> None:
    """The rest of an epoch, and what ends it."""
    train, progress, fabric = run.config.train, run.progress, run.fabric
    plan, share = run.patches.plan(progress.epoch), train.batch // fabric.world_size
    run.objective.train()
    clock, since = time.perf_counter(), 0
    for step in range(progress.step, run.steps):
        at = progress.epoch * run.steps + step
        rate = learning_rate(train, step=at, steps=run.steps)
        first = step * train.batch + fabric.global_rank * share
        scored = _step(run, plan[first : first + share], rate)
        since += train.batch
        progress.step = step + 1
        run.log.advance(at + 1, progress.epoch)
        over = _out_of_time(run)
        if (at + 1) % train.log_every == 0 or step + 1 == run.steps or over:
            now = time.perf_counter()
            said = {name: value.item() for name, value in _shared(run, scored).items()}
            line = {"kind": "step", "epoch": progress.epoch + 1, "step": at + 1, "lr": rate}
            line |= {"total": said.pop("total"), "parts": said, "patches_per_s": round(since / (now - clock), 3)}
            if fabric.is_global_zero:
                run.log.say(line)
            clock, since = now, 0
        if over:
            progress.stopped = True
            break
        if train.save_every and (at + 1) % train.save_every == 0 and step + 1 < run.steps:
            _check_weights(run)
            _keep(run)
    _close(run)


def _out_of_time(run: Run) -> bool:
    """Whether `train.minutes` are over; the first process decides, for clocks differ."""
    if not run.config.train.minutes:
        return False
    return bool(run.fabric.broadcast(run.seconds >= 60 * run.config.train.minutes))


def _step(run: Run, rows: NDArray[np.int64], rate: float) -> Scored:
    batch = run.patches.batch(rows)
    lr = batch.lr.contiguous(memory_format=torch.channels_last)
    hr = batch.hr.contiguous(memory_format=torch.channels_last)
    guide = {} if batch.msi is None else {"msi": batch.msi.contiguous(memory_format=torch.channels_last)}
    scored: Scored = run.objective(lr, hr, run.material.space_of(batch.scene), run.progress.epoch, **guide)
    if not torch.isfinite(scored.total):
        wrong = [name for name, value in scored.parts.items() if not torch.isfinite(value)]
        _refuse(run, batch, wrong[0] if wrong else "total")
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    run.optimiser.zero_grad(set_to_none=True)
    run.fabric.backward(scored.total)
    if run.config.train.clip:
        norm = run.fabric.clip_gradients(
            run.objective, run.optimiser, max_norm=run.config.train.clip, error_if_nonfinite=False
        )
        if norm is not None and not torch.isfinite(norm):
            _refuse(run, batch, "the gradient")
    run.optimiser.step()
    if run.config.train.ema:
        with torch.no_grad():
            for mean, weight in zip(run.averaged.parameters(), run.model.parameters(), strict=True):
                mean.lerp_(weight, 1 - run.config.train.ema)
    return scored


def _shared(run: Run, scored: Scored) -> dict[str, Tensor]:
    """Total and parts, over the batches of all processes."""
    values = {"total": scored.total, **scored.parts}
    together = torch.stack([value.detach().float() for value in values.values()])
    mean = run.fabric.all_reduce(together, reduce_op="mean")
    assert isinstance(mean, Tensor)
    return dict(zip(values, mean, strict=True))


def _refuse(run: Run, batch: Batch, term: str) -> None:
    path = run.folder / "bad_batch.safetensors"
    parts = {name: part for name, part in batch._asdict().items() if part is not None}
    save_file({name: part.detach().cpu().contiguous() for name, part in parts.items()}, path)
    at = run.progress
    raise TrainingError(
        f"the term {term} is not finite at epoch {at.epoch + 1}, step {at.step + 1}; the batch is in {path}; "
        "lower the learning rate, or clip the gradient"
    )


def _check_weights(run: Run) -> None:
    """Refuse a network whose last step left it without numbers, before it is scored or kept."""
    if not all(bool(torch.isfinite(value).all()) for value in run.averaged.state_dict().values()):
        at = run.progress
        raise TrainingError(
            f"the weights are not finite after epoch {at.epoch + 1}, step {at.step}; "
            "lower the learning rate, or clip the gradient"
        )


class _Watched(ModuleSession):
    """A network whose output must be finite: else it is at fault, and not the scene that it is scored on."""

    def __call__(self, lr: NDArray[np.float32], msi: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        sharp = super().__call__(lr, msi)
        if not np.isfinite(sharp).all():
            raise TrainingError(
                f"the output of {self.name} is not finite; lower the learning rate, or clip the gradient"
            )
        return sharp


def _close(run: Run) -> None:
    """The end of an epoch, or of the run's time within one: validation, best and last checkpoint, state."""
    train, progress = run.config.train, run.progress
    _check_weights(run)
    if progress.step == run.steps:
        progress.epoch, progress.step = progress.epoch + 1, 0
    due = progress.epoch % train.validate_every == 0 or progress.epoch == train.epochs or progress.stopped
    steps = progress.epoch * run.steps + progress.step
    scores: dict[str, dict[str, float]] = {}
    if run.material.validation and due:
        if run.fabric.is_global_zero:
            # A change is what consistency lacks, so on its own it is half an answer.
            follow = "noise" if run.card.gives == "change" else "off"
            session = _Watched(run.averaged, run.card)
            scores = score_all(run.material.validation, session, tile=train.tile, consistency=follow)
        scores = run.fabric.broadcast(scores)
        value = scores["mean"][train.metric] * (-1 if train.metric in _LOWER_IS_BETTER else 1)
        better = math.isfinite(value) and (progress.best is None or value > progress.best)
        progress.best = value if better else progress.best
        progress.stale = 0 if better else progress.stale + 1
        progress.stopped |= bool(train.patience) and progress.stale >= train.patience
        if run.fabric.is_global_zero:
            line = {"kind": "validation", "epoch": progress.epoch, "step": steps}
            run.log.say(line | {"seconds": round(run.seconds, 3), "scores": scores})
            if better:
                _write(run, "best.safetensors", scores)
    if run.fabric.is_global_zero:
        _write(run, "last.safetensors", scores)
        _write_teacher(run)
    _keep(run)


def _write(run: Run, name: str, scores: dict[str, dict[str, float]]) -> None:
    card = with_about(run.card, {"epoch": run.progress.epoch, "scores": scores})
    save_checkpoint(run.folder / name, weights_of(run.averaged), card)


def _write_teacher(run: Run) -> None:
    """A teacher that learns beside its student has a checkpoint of its own."""
    learning = run.config.objective.together
    if learning is not None:
        config = run.config.model_copy(update={"model": learning})
        facts = {"epoch": run.progress.epoch, "student": run.config.model.name}
        bands, waves = run.material.channels, run.material.wavelength_nm
        card = card_of(config, network_of(learning)[1], channels=bands, wavelength_nm=waves, about=facts)
        save_checkpoint(run.folder / "teacher.safetensors", weights_of(run.objective.module.teacher), card)


def _keep(run: Run) -> None:
    run.progress.seconds, run.started = run.seconds, time.perf_counter()
    if run.fabric.is_global_zero:
        inner = run.objective.module
        parts: dict[str, Any] = {"objective": inner.state_dict(), "averaged": run.averaged.state_dict()}
        parts["optimiser"] = run.optimiser.state_dict()
        store(run.folder, run.progress, parts, run.config.model_dump_json(indent=1), run.material.scenes)


@contextmanager
def _calm() -> Iterator[None]:
    """Leave out what libraries say about themselves."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="lightning_fabric")
        try:
            yield
        finally:
            logger.setLevel(level)
