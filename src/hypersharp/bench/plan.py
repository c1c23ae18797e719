"""What a comparison is: which networks, on which pixels, for which budget; and the recipe of each network in it."""

from __future__ import annotations

import copy
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from hypersharp._nearest import nearest
from hypersharp.errors import UsageError
from hypersharp.train.config import DataConfig, RunConfig, parse_config
from hypersharp.train.overrides import set_value

BATCH = 16
"""Patches per step of every network, so that equal patches are equal steps; a setting may change it."""
_EPOCHS, _VALIDATIONS, _STATES = 20, 5, 20
_BUDGET = {
    "seed": "--seeds",
    "model.name": "--models",
    "train.epochs": "--patches",
    "data.per_epoch": "--patches",
    "train.minutes": "--cap-minutes",
}


@dataclass(frozen=True)
class Plan:
    """One protocol and one budget.

    Attributes:
        models: names of networks, as in `known_names`; none for the rows of bicubic alone.
        data: scenes, scale, degradation, domain and patches, the same for all.
        patches: HR patches that a network sees; whole steps, alike in 10 to 20 epochs, so at most a few fewer.
        cap_minutes: after which a network stops; 0 for no limit.
        seeds: runs of each network, with the seeds 0, 1, …
        settings: changes to every recipe, ``"train.lr=1e-3"``, or to that of one network,
            ``"vdsr:train.lr=1e-3"``.
        told: changes that `data` has already, ``"data.patch=64"``; they stand above the table with the others.
    """

    models: tuple[str, ...]
    data: DataConfig
    patches: int = 16_000
    cap_minutes: float = 60.0
    seeds: int = 1
    settings: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no run could follow.

        Raises:
            UsageError: an unknown network, a budget of nothing, or data for networks that fuse.
        """
        for name in self.models:
            _check_name(name)
        if self.seeds < 1 or not 0 <= self.cap_minutes < math.inf:
            raise UsageError(
                f"expected 1 seed or more and 0 minutes or more, got {self.seeds} and {self.cap_minutes:g}; "
                "0 minutes are no limit"
            )
        if self.data.msi is not None:
            raise UsageError(
                "bench compares networks that sharpen a cube alone, got data with a table [data.msi]; "
                "take a recipe without it"
            )
        if not (self.data.validation or self.data.test or self.data.block):
            raise UsageError("a comparison needs scenes to score, got none; name some with --validation")


def names_of(text: str) -> tuple[str, ...]:
    """Networks from ``"all"`` or a list with commas; ``"bicubic"``, which every table has, adds none.

    Raises:
        UsageError: there is no such network, or none is named.
    """
    if text.strip() == "all":
        return known_names()
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise UsageError(f"expected networks with commas, all, or bicubic for its rows alone, got {text!r}")
    names = tuple(name for name in names if name != "bicubic")
    for name in names:
        _check_name(name)
    return names


def known_names() -> tuple[str, ...]:
    """Networks that have a default recipe: those that sharpen a cube alone."""
    files = (resources.files("hypersharp.bench") / "defaults").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def _check_name(name: str) -> None:
    known = known_names()
    if name not in known:
        raise UsageError(f"expected a network out of {', '.join(known)}, got {name!r}{nearest(name, known)}")


def default_recipe(name: str) -> dict[str, Any]:
    """Network, objective and optimiser as its paper has them: the tables of a recipe but for its data."""
    text = (resources.files("hypersharp.bench") / "defaults" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def recipe_of(plan: Plan, name: str, *, seed: int) -> RunConfig:
    """The recipe of a network within a plan: its paper's loss and optimiser, the plan's data and budget.

    What its paper's schedule counts in epochs is scaled to the budget, so that a learning rate that falls after three
    quarters of the paper's epochs falls after three quarters of ours; a warm-up takes at most a tenth of the steps.

    Raises:
        UsageError: a setting is unknown or is the budget's, or the budget holds no step.
    """
    raw, chosen = default_recipe(name), _settings_for(name, plan.settings)
    published = raw["train"]["epochs"]
    raw["data"] = plan.data.model_dump()
    raw["train"] |= {"batch": BATCH, "minutes": plan.cap_minutes}
    batch = _parsed(raw, chosen, name).train.batch
    steps = plan.patches // batch
    if steps < 1:
        raise UsageError(f"{plan.patches} patches hold no step of {batch}; raise --patches or lower train.batch")
    # The most epochs, up to 20, among those that leave the fewest steps out.
    epochs = min(range(min(_EPOCHS, steps), min(_EPOCHS // 2, steps) - 1, -1), key=lambda count: steps % count)
    raw |= {"about": f"{name}; one budget for all", "seed": seed}
    raw["data"]["per_epoch"] = steps // epochs * batch
    raw["train"] |= {
        "epochs": epochs,
        "validate_every": math.ceil(epochs / _VALIDATIONS),
        "save_every": max(1, steps // _STATES),
    }
    if "warm_up" in raw["train"]:
        raw["train"]["warm_up"] = min(raw["train"]["warm_up"], steps // 10)
    if "step_every" in raw["train"]:
        raw["train"]["step_every"] = max(1, round(raw["train"]["step_every"] * epochs / published))
    return _parsed(raw, chosen, name)


def _parsed(raw: dict[str, Any], settings: Sequence[str], name: str) -> RunConfig:
    """The recipe with its settings changed; `raw` stays as it is."""
    changed = copy.deepcopy(raw)
    for setting in settings:
        set_value(changed, setting)
    return parse_config(changed, name)


def check_budget(setting: str) -> None:
    """Refuse a change of what the budget decides, by its own key or with the whole table that it is in.

    Raises:
        UsageError: it is one.
    """
    key = setting.partition("=")[0].strip()
    if key in _BUDGET:
        raise UsageError(f"--set {key}: the budget is the same for all networks; say it with {_BUDGET[key]}")
    if any(name.startswith(f"{key}.") for name in _BUDGET):
        raise UsageError(f"--set {key}: expected one setting, got a whole table; say {key}.NAME=VALUE for each")


def _settings_for(name: str, settings: Sequence[str]) -> list[str]:
    """Those for all networks and those for this one; what the budget decides is refused."""
    chosen = []
    for setting in settings:
        head, colon, rest = setting.partition(":")
        of_one = bool(colon) and "=" not in head
        if of_one:
            _check_name(head.strip())
        change = rest if of_one else setting
        key = change.partition("=")[0].strip()
        check_budget(change)
        if key.partition(".")[0] == "data":
            raise UsageError(f"--set {key}: the data are the same for all networks; change them in the plan's data")
        if not of_one or head.strip() == name:
            chosen.append(change)
    return chosen
