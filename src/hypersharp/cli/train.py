"""`hypersharp train RECIPE` and `hypersharp distill RECIPE --teacher CHECKPOINT`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypersharp.cli import _options as options

if TYPE_CHECKING:
    from hypersharp.train.loop import Table

NAME = "train"

Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="A TOML file; see the folder recipes/.")]
Out = Annotated[
    str | None, typer.Option("--out", help="Folder of the run. Default: runs/ and the recipe's name.", metavar="DIR")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Change one setting, again for more.", metavar="KEY=VALUE")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where this run was stopped.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda.", metavar="NAME")]
Precision = Annotated[str | None, typer.Option(help="32-true, bf16-mixed or 16-mixed.", metavar="NAME")]


def command(
    recipe: Recipe,
    out: Out = None,
    settings: Set = None,
    resume: Resume = False,
    device: Device = None,
    precision: Precision = None,
    as_json: options.Json = False,
) -> None:
    """Train a network after a recipe: checkpoints, cards, log and the recipe as it was followed in one folder."""
    _run(recipe, settings or [], out=out, resume=resume, device=device, precision=precision, as_json=as_json)


def distill(
    recipe: Recipe,
    teacher: Annotated[str, typer.Option(help="Checkpoint of the teacher.", metavar="CHECKPOINT")],
    out: Out = None,
    settings: Set = None,
    resume: Resume = False,
    device: Device = None,
    precision: Precision = None,
    as_json: options.Json = False,
) -> None:
    """Train the network of a recipe with a teacher of the same scale and bands beside the reference."""
    told = [*(settings or []), 'objective.kind="distilled"', f"objective.teacher={json.dumps(teacher)}"]
    _run(recipe, told, out=out, resume=resume, device=device, precision=precision, as_json=as_json)


def _run(
    recipe: str,
    settings: list[str],
    *,
    out: str | None,
    resume: bool,
    device: str | None,
    precision: str | None,
    as_json: bool,
) -> None:
    from hypersharp._require import require

    for module in ("torch", "lightning_fabric"):
        require(module, "train", "training")
    from hypersharp.train.config import load_config
    from hypersharp.train.loop import train

    told = [f"train.{name}={value}" for name, value in (("device", device), ("precision", precision)) if value]
    config = load_config(recipe, [*settings, *told])
    folder = Path(out) if out is not None else Path("runs") / Path(recipe).stem
    try:
        result = train(config, folder, resume=resume, quiet=as_json)
    except KeyboardInterrupt:
        raise typer.Abort(_left(folder)) from None
    if as_json:
        facts = {"best": str(result.best), "steps": result.steps, "seconds": round(result.seconds, 3)}
        print(json.dumps(facts | {"scores": _finite(result.table)}, allow_nan=False))
        return
    print(f"{result.best}: {result.steps} steps in {result.seconds:.0f} s")
    _tell(result.table)


def _finite(scores: Any) -> Any:
    """Scores with None where there is no number, for JSON has none either."""
    if isinstance(scores, dict):
        return {name: _finite(value) for name, value in scores.items()}
    return scores if math.isfinite(scores) else None


def _left(folder: Path) -> str:
    """What an interrupted run leaves behind."""
    from hypersharp.train.resume import STATE

    if (folder / STATE).is_file():
        return f"interrupted; the state is kept in {folder}; go on with --resume"
    return f"interrupted; there is no state in {folder} yet; --resume begins anew"


def _tell(table: Table) -> None:
    groups = list(next(iter(table.values()), {}))
    for group in groups:
        print(f"mean over the {group} scenes")
        names = list(next(iter(table.values()))[group]["mean"])
        print(f"{'':<24}" + "".join(f"{name:>10}" for name in names))
        for row, scores in table.items():
            print(f"{row:<24}" + "".join(f"{scores[group]['mean'][name]:>10.4f}" for name in names))
