"""A comparison from plan to table: trained one after the other, resumed where it was stopped, scored and timed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hypersharp import _version, models
from hypersharp.bench.plan import Plan, recipe_of
from hypersharp.bench.rows import BICUBIC, END, SCORES, Finished, Row, read_run, rows_of, told_apart
from hypersharp.bench.speed import measure
from hypersharp.bench.tables import as_csv, latex, markdown
from hypersharp.errors import HypersharpError, UsageError, WriteError
from hypersharp.infer.session import Session
from hypersharp.infer.torch_session import ModuleSession, load_model
from hypersharp.models._card import config_from_dict
from hypersharp.models._catalogue import LR_SIZE
from hypersharp.train.checkpoint import commit, write_text
from hypersharp.train.config import DataConfig, RunConfig, load_config
from hypersharp.train.domain import Held, Material, load_material, score_all
from hypersharp.train.loop import train

_SPEED, _MARKER = "speed.json", "plan.json"
_TILE = 64
Say = Callable[[str], None]


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison gave.

    Attributes:
        rows: bicubic, bicubic + consistency, then the networks.
        about: protocol and budget, in words.
        failed: network to the reason why it has no row.
    """

    rows: list[Row]
    about: tuple[str, ...]
    failed: dict[str, str]

    def said(self, paragraph: str) -> Comparison:
        """With one more paragraph above the tables."""
        return replace(self, about=(*self.about, paragraph))

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """All that stands above the tables: protocol, budget, and the networks that have no row."""
        return (*self.about, *(f"No row: {name}: {' '.join(why.split())}" for name, why in self.failed.items()))

    def write(self, folder: Path) -> None:
        """`table.md`, `table.tex` and `table.csv` into a folder.

        Raises:
            WriteError: one cannot be written.
        """
        _make(folder)
        write_text(folder / "table.md", markdown(self.rows, about=self.paragraphs))
        write_text(folder / "table.tex", latex(self.rows, about=self.paragraphs))
        write_text(folder / "table.csv", as_csv(self.rows))


def run(
    plan: Plan, folder: Path, *, resume: bool = False, quiet: bool = False, speed: bool = True, say: Say = _silent
) -> Comparison:
    """Train, score and time the networks of a plan; the folder then holds a run of each, and the tables.

    Every network has a folder of its own with the state of its training, so a run that is killed and resumed keeps
    what is finished and goes on within what is not. A network that cannot be trained (a term that is not finite, a
    damaged state) is named, and the others go on.

    Args:
        plan: what is compared.
        folder: of the comparison; made if it is not there.
        resume: go on in a folder that holds a comparison; networks may have been added to the plan.
        quiet: no display even on a terminal.
        speed: measure the seconds per megapixel.
        say: is told what happens, a line at a time.

    Raises:
        UsageError: the plan does not fit its scenes or a network, or the folder holds another comparison.
        FileFormatError: a scene cannot be read.
        WriteError: a file cannot be written.
    """
    recipes = {(name, seed): _checked(plan, name, seed) for name in plan.models for seed in range(plan.seeds)}
    _check_free(folder, resume=resume)
    for (name, seed), recipe in recipes.items():
        _check_folder(_folder_of(folder, name, seed), recipe)
    material = _scored(plan.data)
    groups = {"validation": material.validation, "test": material.test}
    bicubic = _bicubic({group: held for group, held in groups.items() if held})
    _claim(folder, plan)
    runs: list[Finished] = []
    failed: dict[str, str] = {}
    for (name, seed), recipe in recipes.items():
        one = f"{name}, seed {seed}"
        try:
            runs.append(_finished(recipe, _folder_of(folder, name, seed), one, resume=resume, quiet=quiet, say=say))
        except HypersharpError as error:
            failed[one] = str(error)
            say(f"{one}: {error}")
    about = [_protocol_of(plan.data), _budget_of(plan, [*recipes.values()])]
    rows = rows_of(runs, bicubic)
    if speed:
        rows, said = _timed(rows, runs, (material.validation or material.test)[0], folder, say=say)
        about.append(said)
    made = Comparison(rows, (*about, _counting(runs)), failed)
    made.write(folder)
    return made


def collect(runs: Sequence[tuple[str | None, Path]], *, speed: bool = True, say: Say = _silent) -> Comparison:
    """The table of runs that are finished, wherever they were trained.

    Args:
        runs: label, or None for what the recipe says, and folder of each; seeds of one label become one row.
        speed: measure the seconds per megapixel; needs the scenes of the first run.
        say: is told what happens.

    Raises:
        UsageError: a run is not finished, of another protocol, or shares its label with another thing.
        FileFormatError: a folder is none of a run, or a scene cannot be read.
    """
    found = [read_run(folder, label) for label, folder in runs]
    rows = told_apart(rows_of(found), found)
    data = found[0].config.data
    about = [_protocol_of(data), _seen(rows)]
    if speed:
        material = _scored(data)
        rows, said = _timed(rows, found, (material.validation or material.test)[0], None, say=say)
        about.append(said)
    return Comparison(rows, (*about, _counting(found)), {})


def _checked(plan: Plan, name: str, seed: int) -> RunConfig:
    """The recipe of a network, which can be built for the plan's scale with the settings of its own."""
    recipe, spec = recipe_of(plan, name, seed=seed), models.get_spec(name)
    config_from_dict(spec.config, recipe.model.config, f"model {name}")
    if plan.data.scale not in spec.scales:
        known = ", ".join(map(str, spec.scales))
        raise UsageError(f"{name} can be built for the scales {known}, got {plan.data.scale}; leave it out")
    return recipe


def _finished(recipe: RunConfig, where: Path, called: str, *, resume: bool, quiet: bool, say: Say) -> Finished:
    """A run of a network, trained now unless it was before."""
    if (where / SCORES).is_file():
        say(f"{called}: finished before")
    else:
        say(f"{called}: training")
        result = train(recipe, where, resume=resume, quiet=quiet)
        say(f"{called}: {result.steps * recipe.train.batch} patches in {result.seconds:.0f} s")
    return read_run(where, recipe.model.name)


def _folder_of(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name}_seed{seed}"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{folder}: cannot be made ({error.strerror or error}); choose another with --out") from None


def _check_free(folder: Path, *, resume: bool) -> None:
    """Refuse a folder that holds a comparison already, unless it is to go on."""
    if (folder / _MARKER).exists() and not resume:
        raise UsageError(f"{folder} holds a comparison already; go on with --resume, or choose another with --out")


def _claim(folder: Path, plan: Plan) -> None:
    """Make the folder and mark it; not before everything is checked, so that a mistake leaves nothing behind."""
    _make(folder)
    said = {
        "models": plan.models,
        "data": plan.data.model_dump(),
        "patches": plan.patches,
        "cap_minutes": plan.cap_minutes,
        "seeds": plan.seeds,
        "settings": (*plan.told, *plan.settings),
    }
    write_text(folder / _MARKER, json.dumps(said, indent=1) + "\n")


def _check_folder(folder: Path, recipe: RunConfig) -> None:
    """Refuse a run of other settings: its row would not belong to this table."""
    path = folder / "config.json"
    try:
        same = not path.is_file() or load_config(path) == recipe
    except HypersharpError:  # damaged: it has no row, and the others go on
        return
    if not same:
        raise UsageError(f"{folder} holds a run of other settings; resume with those, or choose another with --out")


def _scored(data: DataConfig) -> Material:
    """The scenes that are scored; what is only trained on, generated and varied, is not made."""
    return load_material(data.model_copy(update={"vary": None, "generated": None}), torch.device("cpu"), seed=0)


def _bicubic(groups: Mapping[str, Sequence[Held]]) -> dict[str, Any]:
    """The two rows that need no network, laid out as `scores.json`."""
    return {
        BICUBIC + end: {
            group: score_all(held, None, tile=_TILE, consistency="noise" if end else "off")
            for group, held in groups.items()
        }
        for end in ("", END)
    }


def _timed(
    rows: Sequence[Row], runs: Sequence[Finished], held: Held, folder: Path | None, *, say: Say
) -> tuple[list[Row], str]:
    """The rows with their seconds, and how these were measured; measured again only for other rows than last time."""
    threads = torch.get_num_threads()
    bands, height, width = held.scene.hr.shape
    scene = f"Seconds: {held.scene.name}, {bands} bands, {height} x {width} HR pixels, "
    stored = None if folder is None else folder / _SPEED
    said, seconds = ("", {}) if stored is None else _stored_speed(stored)
    if not said.startswith(scene) or sorted(seconds) != sorted(row.title for row in rows):
        said = (
            f"{scene}sharpened from arrays in memory; median of 3, all rows in turn, "
            f"{threads} thread{'s' * (threads != 1)}."
        )
        say(f"measuring the speed on {held.scene.name}")
        sessions: dict[str, Session | None] = {BICUBIC: None}
        for one in runs:
            if one.label not in sessions:
                sessions[one.label] = ModuleSession(load_model(one.checkpoint), one.card, one.label)
        seconds = {}
        for end, consistency in (("", "off"), (END, "noise")):
            found = measure(held, sessions, tile=_TILE, consistency=consistency)
            seconds |= {name + end: value for name, value in found.items()}
        if stored is not None:
            write_text(stored, json.dumps({"said": said, "seconds": seconds}, indent=1) + "\n")
    return [replace(row, seconds=seconds[row.title]) for row in rows], said


def _stored_speed(path: Path) -> tuple[str, dict[str, float]]:
    """How seconds were measured last time, and those; nothing where that is not known."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return str(held["said"]), {str(title): float(value) for title, value in held["seconds"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "", {}


def _protocol_of(data: DataConfig) -> str:
    domain = "the bands themselves" if data.domain == "bands" else f"{data.components} eigenimages of each scene"
    order = "patches cut first and then degraded" if data.crop_then_degrade else "whole scenes degraded"
    block = "" if data.block is None else f", a block of {data.block.size} at the {data.block.side} held out"
    scenes = [*data.validation, *(["the block"] if data.block else [])]
    chosen = (
        f"validation {', '.join(scenes)}, which chooses the best weights"
        if scenes
        else "no validation: the last weights"
    )
    made = " and generated scenes" if data.generated else ""
    made += f", varied {data.vary.instances} times" if data.vary else ""
    return (
        f"Protocol: scale {data.scale}, degradation {data.degradation}, {order}; networks see {domain}; patches of "
        f"{data.patch} x {data.patch} HR pixels. Trained on {', '.join(data.train)}{made}{block}; {chosen}; test "
        f"{', '.join(data.test) or 'none'}. Scores: protocol ours."
    )


def _budget_of(plan: Plan, recipes: Sequence[RunConfig]) -> str:
    """The budget, and what whole steps and epochs hold of it where that is less."""
    held = {one.model.name: one.train.epochs * one.data.per_epoch for one in recipes}
    whole = ", ".join(f"{seen:,} ({name})" for name, seen in held.items() if seen != plan.patches)
    if len(set(held.values())) == 1 and whole:
        whole = f"{next(iter(held.values())):,}"
    seen = f" (of which whole steps and epochs hold {whole})" if whole else ""
    cap = f", at most {plan.cap_minutes:g} minutes each" if plan.cap_minutes else ""
    changes = (*plan.told, *plan.settings)
    changed = f" Changed: {', '.join(changes)}." if changes else ""
    return (
        f"Budget: {plan.patches:,} patches{seen}{cap}, {plan.seeds} seed{'s' * (plan.seeds != 1)}. Loss, optimiser and "
        f"learning rate are each paper's; schedules that presume days are scaled to the budget.{changed}"
    )


def _seen(rows: Sequence[Row]) -> str:
    """Patches of every network; of seeds that differ the fewest and the most."""
    said = []
    for row in rows:
        if row.patches and not row.consistency:
            ends = dict.fromkeys((min(row.patches), max(row.patches)))
            said.append(f"{row.name} {' to '.join(f'{seen:,}' for seen in ends)}")
    return f"Patches seen: {', '.join(said)}."


def _counting(runs: Sequence[Finished]) -> str:
    """What the costs are of, and what made the table; the commits of the runs where these are others."""
    version = f"hypersharp {_version.__version__}"
    source = commit()
    origins: dict[str, list[str]] = {}
    for one in runs:
        labels = origins.setdefault(str(one.card.about.get("commit") or "not known"), [])
        labels += [one.label] * (one.label not in labels)
    trained = ""
    if len(origins) > 1:
        said = [f"{at} ({', '.join(labels)})" for at, labels in origins.items()]
        trained = f" Trained at commit {'; '.join(said)}."
    elif origins and source not in origins and "not known" not in origins:
        trained = f" Trained at commit {next(iter(origins))}."
    return (
        f"MACs: an LR cube of {LR_SIZE[0]} x {LR_SIZE[1]} with the channels that the network sees, bicubic not "
        f"counted. Made with {version}{f', commit {source}' if source else ''}.{trained}"
    )
