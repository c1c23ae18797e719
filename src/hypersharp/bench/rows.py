"""From the folders of finished runs to the rows of a table: scores, cost, what was seen; seeds of a name together."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hypersharp import models
from hypersharp.errors import FileFormatError, UsageError
from hypersharp.infer.torch_session import read_card
from hypersharp.models._card import Card, config_from_dict
from hypersharp.models._catalogue import LR_SIZE
from hypersharp.models._count import count_macs, count_parameters
from hypersharp.train.config import RunConfig, load_config
from hypersharp.train.domain import METRICS
from hypersharp.train.log import read_lines

SCORES = "scores.json"
BICUBIC, END = "bicubic", " + consistency"
_SAME = 1e-6  # relative difference below which two scores of bicubic are those of one protocol
_PROTOCOL = ("data.scale", "data.degradation", "data.domain", "data.block")
"""What makes a table's numbers comparable besides the scored scenes, which the bicubic rows tell."""
_FREE = ("data.root", "data.validation", "data.test", "data.per_epoch")
"""What may be written otherwise for the same scenes, and what the budget says."""

Means = Mapping[str, Mapping[str, float]]
"""Group of scenes (``"validation"``, ``"test"``) to metric to its mean over these scenes."""


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        name: of the method.
        consistency: whether its estimate was made consistent with the LR scene.
        means: one entry per seed.
        parameters: weights that learn; None for bicubic.
        macs: multiply-accumulates of an LR cube of `LR_SIZE` with the network's channels; None for bicubic.
        seconds: per million HR pixels; None where it was not measured.
        patches: HR patches seen while training, one entry per seed.
        notes: what a reader must know of it.
    """

    name: str
    consistency: bool
    means: tuple[Means, ...]
    parameters: int | None = None
    macs: int | None = None
    seconds: float | None = None
    patches: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The name, with its ending for consistency."""
        return self.name + END * self.consistency

    def mean(self, group: str, metric: str) -> float:
        """Over the seeds."""
        return statistics.fmean(one[group][metric] for one in self.means)

    def spread(self, group: str, metric: str) -> float | None:
        """Standard deviation over the seeds, with n − 1; None for one seed, NaN where a value is not finite."""
        values = [one[group][metric] for one in self.means]
        if len(values) < 2:
            return None
        return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan

    def groups(self) -> tuple[str, ...]:
        """The groups of scenes that were scored."""
        return tuple(self.means[0])


@dataclass(frozen=True)
class Finished:
    """What the folder of a finished run says.

    Attributes:
        folder: of the run.
        label: its name in the table.
        config: its recipe.
        card: of the weights that were scored.
        checkpoint: these weights.
        scores: as in `scores.json`.
        patches: HR patches seen.
        seconds: that training took up to its last validation; 0 where there was none.
    """

    folder: Path
    label: str
    config: RunConfig
    card: Card
    checkpoint: Path
    scores: dict[str, dict[str, dict[str, dict[str, float]]]]
    patches: int
    seconds: float

    @property
    def note(self) -> str:
        """That it stopped before its budget, or nothing."""
        train, data = self.config.train, self.config.data
        whole = train.epochs * (data.per_epoch // train.batch * train.batch)
        if not whole or self.patches >= whole:
            return ""
        # Without a validation there is neither a time in the log nor a reason to stop early.
        if train.minutes and (not self.seconds or self.seconds >= 60 * train.minutes):
            why = f"at its cap of {train.minutes:g} minutes"
        else:
            why = "early, no longer getting better," if train.patience else "before its end"
        return f"stopped {why} after {self.patches:,} of {whole:,} patches"


def read_run(folder: Path, label: str | None = None) -> Finished:
    """Read the folder of a finished run.

    Args:
        folder: as `train.loop.train` leaves it.
        label: name in the table; else what its recipe says about it before a semicolon, else the network's name.

    Raises:
        FileFormatError: it is no such folder, or a file in it cannot be read.
        UsageError: the run has not come to its end.
    """
    if not (folder / "config.json").is_file():
        raise FileFormatError(f"{folder}: expected the folder of a training run, got one without config.json")
    config = load_config(folder / "config.json")
    if not (folder / SCORES).is_file():
        raise UsageError(f"{folder}: the run is not finished, there is no {SCORES}; go on with --resume")
    best = folder / "best.safetensors"
    checkpoint = best if best.is_file() else folder / "last.safetensors"
    lines = read_lines(folder)
    steps = max((line["step"] for line in lines), default=0)
    return Finished(
        folder,
        label or config.about.partition(";")[0].strip() or config.model.name,
        config,
        read_card(checkpoint),
        checkpoint,
        _read_scores(folder / SCORES, config.model.name),
        steps * config.train.batch,
        max((line["seconds"] for line in lines if "seconds" in line), default=0.0),
    )


def rows_of(runs: Sequence[Finished], bicubic: Mapping[str, Any] | None = None) -> list[Row]:
    """The rows of a table: bicubic, bicubic + consistency, then every label, without and with consistency.

    Args:
        runs: finished runs; those of one label are seeds of one thing.
        bicubic: scores of the bicubic rows, as in `scores.json`; None takes those of the first run.

    Raises:
        UsageError: no run, runs of another protocol, or one label for different things.
    """
    if not runs and bicubic is None:
        raise UsageError("a table needs at least one finished run, got none")
    base = runs[0].scores if bicubic is None else bicubic
    for one in runs:
        _check_label(one)
        if not one.scores[BICUBIC]:
            raise UsageError(
                f"{one.folder}: expected scores of validation or test scenes, got none; train it with data.validation "
                "or data.test"
            )
        _check_protocol(one, base)
    labels: dict[str, list[Finished]] = {}
    for one in runs:
        labels.setdefault(one.label, []).append(one)
    rows = [Row(BICUBIC, bool(end), (_means(base[BICUBIC + end]),)) for end in ("", END)]
    for label, same in labels.items():
        _check_seeds(label, same)
        parameters, macs = _cost(same[0].card)
        notes = tuple(dict.fromkeys(one.note for one in same if one.note))
        plain = Row(label, False, (), parameters, macs, None, tuple(one.patches for one in same), notes)
        for end in ("", END):
            means = tuple(_means(one.scores[one.config.model.name + end]) for one in same)
            rows.append(replace(plain, consistency=bool(end), means=means))
    return rows


def told_apart(rows: Sequence[Row], runs: Sequence[Finished]) -> list[Row]:
    """The rows, each with what its training data have other than those of the first run.

    Raises:
        UsageError: a run was validated or tested otherwise, or sees another domain.
    """
    first = runs[0]
    notes: dict[str, tuple[str, ...]] = {}
    for one in runs:
        apart = _apart(one.config.data.model_dump(), first.config.data.model_dump(), "data")
        for key in _PROTOCOL:
            if key in apart or any(name.startswith(f"{key}.") for name in apart):
                raise UsageError(f"{one.folder} has another {key} than {first.folder}; put it into a table of its own")
        trained = [f"{key} = {value}" for key, value in apart.items() if key not in _FREE]
        if trained:
            notes[one.label] = (f"trained with {', '.join(trained)}, unlike {first.label}",)
    return [replace(row, notes=(*notes.get(row.name, ()), *row.notes)) for row in rows]


def _apart(ours: Mapping[str, Any], theirs: Mapping[str, Any], above: str) -> dict[str, str]:
    """Our values that are not theirs, by dotted key, for people."""
    found: dict[str, str] = {}
    for name, value in ours.items():
        other, key = theirs.get(name), f"{above}.{name}"
        if value == other:
            continue
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            found |= _apart(value, other, key)
        elif isinstance(value, Mapping):
            found[key] = f"{{{', '.join(f'{inner}: {held}' for inner, held in value.items())}}}"
        elif isinstance(value, list | tuple):
            found[key] = f"[{', '.join(map(str, value))}]"
        else:
            found[key] = "none" if value is None else str(value)
    return found


def _read_scores(path: Path, name: str) -> dict[str, Any]:
    try:
        scores: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for row in (BICUBIC, name):
            for end in ("", END):
                for group in scores[row + end].values():
                    [float(group["mean"][metric]) for metric in METRICS]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise FileFormatError(f"{path}: not the scores of a run of {name}; train it anew") from None
    return scores


def _means(groups: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Means:
    return {group: scenes["mean"] for group, scenes in groups.items()}


def _check_label(one: Finished) -> None:
    """Refuse a name that the table gives to other rows."""
    if one.label == BICUBIC or one.label.endswith(END):
        raise UsageError(
            f"{one.folder}: a table has rows {BICUBIC!r} and {END.strip()!r} of its own, got the name {one.label!r}; "
            "name it otherwise: NAME=DIR"
        )


def _check_protocol(one: Finished, base: Mapping[str, Any]) -> None:
    """Refuse a run whose bicubic row is another: other scenes, bands, scale or degradation."""
    own, first = one.scores[BICUBIC], base[BICUBIC]
    scenes = [{group: sorted(found) for group, found in row.items()} for row in (own, first)]
    if scenes[0] != scenes[1]:
        raise UsageError(f"{one.folder} is scored on other scenes than the rest; put it into a table of its own")
    for group in own:
        for metric in METRICS:
            ours, theirs = own[group]["mean"][metric], first[group]["mean"][metric]
            if abs(ours - theirs) > _SAME * abs(theirs):
                raise UsageError(
                    f"{one.folder}: bicubic has the {metric} {ours:.6g} there and {theirs:.6g} in the rest, so it has "
                    "other bands, another scale or degradation; put it into a table of its own"
                )


def _check_seeds(label: str, runs: Sequence[Finished]) -> None:
    """Refuse to average what differs in more than its seed; a teacher may be that of its own seed."""
    settings = [_settings(one.config) for one in runs]
    for one, other in zip(runs[1:], settings[1:], strict=True):
        apart = [key for key in other if other[key] != settings[0].get(key)]
        if apart:
            raise UsageError(
                f"{runs[0].folder} and {one.folder} are both called {label!r} and differ in {apart[0]}; "
                "name them apart: NAME=DIR"
            )
    if len({one.config.seed for one in runs}) < len(runs):
        raise UsageError(f"two runs called {label!r} have the same seed; leave one out, or name them apart: NAME=DIR")


def _settings(config: RunConfig) -> dict[str, Any]:
    """What makes the numbers, by dotted key."""
    flat: dict[str, Any] = {}
    for section, values in config.model_dump(exclude={"seed", "about"}).items():
        flat |= {f"{section}.{name}": value for name, value in values.items()}
    for free in ("objective.teacher", "data.root", "train.device", "train.save_every", "train.log_every"):
        del flat[free]
    return flat


def _cost(card: Card) -> tuple[int, int]:
    """Parameters and multiply-accumulates of the network of a card."""
    spec = models.get_spec(card.model)
    config = config_from_dict(spec.config, card.config, card.model)
    assert card.bands is not None, "a card of ours says how many channels it takes"
    assert card.channels is not None, "and what describes a scene besides"
    with torch.device("meta"):
        net = models.build(card.model, bands=card.bands, scale=card.scale, config=config, msi_bands=card.msi_bands)
    msi = None if card.msi_bands is None else (card.msi_bands, card.scale)
    return count_parameters(net), count_macs(net, bands=card.channels, lr_size=LR_SIZE, msi=msi)
