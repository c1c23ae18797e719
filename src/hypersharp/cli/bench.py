"""`hypersharp bench`: networks trained and scored under one protocol and one budget, as the papers' table."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypersharp.cli import _options as options
from hypersharp.errors import UsageError

if TYPE_CHECKING:
    from hypersharp.bench import Comparison
    from hypersharp.train.config import DataConfig

NAME = "bench"
_USED = {"finished": ("finished", "out", "speed", "as_json"), "published": ("published", "as_json")}
"""Way of calling without training to the options that it looks at."""
_LR_PATCH = 12  # LR pixels along a side of a patch: small scenes hold it


def command(
    context: typer.Context,
    models: Annotated[str | None, typer.Option(help="all, or networks with commas.", metavar="NAMES")] = None,
    scenes: Annotated[str | None, typer.Option(help="To train on, with commas.", metavar="NAMES")] = None,
    validation: Annotated[str | None, typer.Option(help="That choose the best weights.", metavar="NAMES")] = None,
    test: Annotated[str | None, typer.Option(help="That are scored once, at the end.", metavar="NAMES")] = None,
    root: Annotated[str | None, typer.Option(help="Folder of the scenes. Default: this one.", metavar="DIR")] = None,
    recipe: Annotated[str | None, typer.Option(help="Take scenes and protocol from it.", metavar="FILE")] = None,
    patches: Annotated[int, typer.Option(help="HR patches that a network sees.", metavar="N", min=1)] = 16_000,
    cap_minutes: Annotated[float, typer.Option(help="A network stops then; 0 for no limit.", metavar="N", min=0)] = 60,
    seeds: Annotated[int, typer.Option(help="Runs of each network.", metavar="N", min=1)] = 1,
    domain: Annotated[str | None, typer.Option(help="subspace (default) or bands.", metavar="NAME")] = None,
    components: Annotated[int | None, typer.Option(help="Eigenimages. Default 8.", metavar="K", min=1)] = None,
    scale: Annotated[int | None, typer.Option(help="HR pixels per LR pixel. Default 4.", metavar="N")] = None,
    degradation: Annotated[str | None, typer.Option(help="Default bicubic.", metavar="PSF")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting for all, or NETWORK:KEY=VALUE for one.", metavar="KEY=VALUE"),
    ] = None,
    finished: Annotated[
        str | None, typer.Option("--from", help="Table of finished runs instead.", metavar="[NAME=]DIR,…")
    ] = None,
    published: Annotated[
        str | None, typer.Option(help="Check bicubic against the papers' rows instead.", metavar="NAME=FILE")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="Folder of runs and tables.", metavar="DIR")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where this was stopped.")] = False,
    speed: Annotated[bool, typer.Option(help="Measure seconds per megapixel.")] = True,
    as_json: options.Json = False,
) -> None:
    """Train and score networks under one protocol and budget, or make the table of runs that are finished."""
    from hypersharp._require import require

    for module in ("torch", "lightning_fabric"):
        require(module, "train", "comparing networks")
    if sum(way is not None for way in (models, finished, published)) != 1:
        raise UsageError("bench takes one of --models NAMES, --from DIR,… and --published NAME=FILE")
    _check_used(context, "models" if models is not None else "finished" if finished is not None else "published")
    if published is not None:
        _check_published(published, as_json=as_json)
        return
    if finished is not None:
        made = _collect(finished, speed=speed)
    else:
        assert models is not None
        if out is None:
            raise UsageError("bench --models needs --out DIR, the folder of its runs and tables")
        flags = {"train": scenes, "validation": validation, "test": test, "root": root}
        told = {"domain": domain, "components": components, "scale": scale, "degradation": degradation}
        from hypersharp.bench import Plan, run
        from hypersharp.bench.plan import names_of

        changes = [change.strip() for change in settings or []]
        of_data = tuple(change for change in changes if change.startswith("data."))
        data = _data(recipe, flags, told, of_data)
        rest = tuple(change for change in changes if change not in of_data)
        plan = Plan(names_of(models), data, patches, cap_minutes, seeds, rest, of_data)
        try:
            made = run(plan, Path(out), resume=resume, quiet=as_json, speed=speed, say=_say)
        except KeyboardInterrupt:
            raise typer.Abort(_left(Path(out))) from None
    _show(made, out, as_json=as_json)


def _check_used(context: typer.Context, way: str) -> None:
    """Refuse options that a way of calling the command does not look at."""
    names = {option.name: option.opts[0] for option in context.command.params}
    for name, option in names.items():
        source = context.get_parameter_source(str(name))
        if way in _USED and name not in _USED[way] and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"bench {names[way]} does not take {option}; leave it out, or train with --models NAMES")


def _data(recipe: str | None, names: dict[str, str | None], told: dict[str, Any], changes: Sequence[str]) -> DataConfig:
    """Scenes and protocol: of a recipe if one is given, changed by what the options say."""
    from hypersharp.bench.plan import check_budget
    from hypersharp.train.config import load_config, parse_data
    from hypersharp.train.overrides import set_value

    raw: dict[str, Any] = {"data": {"scale": 4, "domain": "subspace"}}
    if recipe is not None:
        raw = {"data": load_config(recipe).data.model_dump()}
    data = raw["data"]
    for key, text in names.items():
        if text is not None:
            data[key] = text if key == "root" else [part.strip() for part in text.split(",") if part.strip()]
    data |= {key: value for key, value in told.items() if value is not None}
    if recipe is None:
        if names["train"] is None:
            raise UsageError("bench needs scenes: --scenes NAMES and --validation NAMES, or a --recipe that says them")
        data.setdefault("patch", _LR_PATCH * data["scale"])
    for change in changes:
        check_budget(change)
        set_value(raw, change)
    return parse_data(data, "bench")


def _left(folder: Path) -> str:
    """What an interrupted comparison leaves behind."""
    from hypersharp.train.resume import STATE

    if any(folder.glob(f"*/{STATE}")):
        return f"interrupted; finished runs and the state of this one are kept in {folder}; go on with --resume"
    return f"interrupted; there is no state in {folder} yet; --resume begins anew"


def _collect(text: str, *, speed: bool) -> Comparison:
    from hypersharp.bench import collect

    runs: list[tuple[str | None, Path]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        label, equals, folder = part.partition("=")
        runs.append((label.strip(), Path(folder)) if equals else (None, Path(part)))
    if not runs:
        raise UsageError("--from takes folders of finished runs: DIR,DIR or NAME=DIR")
    return collect(runs, speed=speed, say=_say)


def _check_published(text: str, *, as_json: bool) -> None:
    from hypersharp.bench.published import check

    name, equals, file = text.partition("=")
    if not equals:
        raise UsageError(f"--published takes NAME=FILE such as chikusei=chikusei.h5, got {text!r}")
    found = check(name.strip(), Path(file))
    if as_json:
        print(json.dumps({"rows": [row.to_dict() for row in found]}))
    else:
        print("\n".join(row.line() for row in found))
    if not all(row.agrees for row in found):
        raise typer.Exit(1)


def _show(made: Comparison, out: str | None, *, as_json: bool) -> None:
    from hypersharp.bench.tables import as_csv, latex, markdown

    command = f"`hypersharp {' '.join(sys.argv[1:])}`" if sys.argv[1:2] == [NAME] else ""
    if out is not None:
        made = made.said(f"Command: {command}.") if command else made
        made.write(Path(out))
    if as_json:
        told = markdown(made.rows, about=made.paragraphs)
        texts = {"markdown": told, "latex": latex(made.rows), "csv": as_csv(made.rows)}
        print(json.dumps({"rows": len(made.rows), "failed": made.failed, "output": out, **texts}))
    else:
        print(markdown(made.rows, about=made.paragraphs), end="")
        if out is not None:
            print(f"\n{out}: table.md, table.tex and table.csv")
    if made.failed:
        raise typer.Exit(1)


def _say(line: str) -> None:
    print(f"hypersharp: {line}", file=sys.stderr)
