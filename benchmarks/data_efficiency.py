"""What a network is worth that trained on less: a recipe's run on shares of the ground of its training scenes.

`data.share` chooses blocks of a patch's size, once for a seed, the same in all instances of a scene; a smaller share is
part of a larger one. All runs take as many steps, so a smaller share is only seen more often. Validation scenes are
whole. Each run has a folder of its own under `--out`; one that was stopped goes on, one that is finished is read.

`python benchmarks/data_efficiency.py recipes/fusion/csakd_student.toml --shares 5,10,25,50,100 --out runs/shares`
prints tables in Markdown and leaves `shares.csv` and `shares.png` in the folder. With several recipes each is a line.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from hypersharp.bench.rows import BICUBIC, Finished, Row, read_run, rows_of
from hypersharp.bench.tables import as_csv, markdown
from hypersharp.errors import HypersharpError, UsageError
from hypersharp.figures.curves import Curve, Panel, draw_curves
from hypersharp.train.config import RunConfig, load_config
from hypersharp.train.loop import train

DRAWN = {"mpsnr_db": "MPSNR (dB)", "sam_deg": "SAM (°)"}
GROUP = "validation"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE")
    parser.add_argument("--shares", default="5,10,25,50,100", help="per cent, with commas")
    parser.add_argument("--patches", type=int, default=None, help="seen in each run; as the recipe says by default")
    parser.add_argument("--cap-minutes", type=float, default=0.0, help="after which a run ends; 0 for no limit")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one more setting")
    parser.add_argument("--out", default="runs/data_efficiency", metavar="DIR")
    given = parser.parse_args()
    if not given.recipes:
        print("skipped: name a recipe; each share of it is a training of its own, which takes minutes to hours")
        return
    try:
        measure(given)
    except HypersharpError as error:
        sys.exit(f"error: {error}")


def measure(given: argparse.Namespace) -> None:
    """Train what is not trained yet, then print and draw all."""
    shares, folder = shares_of(given.shares), Path(given.out)
    runs: dict[str, list[Finished]] = {}
    for recipe in map(Path, given.recipes):
        configs = [configured(recipe, share, given) for share in shares]  # a wrong setting is said before any training
        if recipe.stem in runs:
            raise UsageError(f"two recipes are called {recipe.stem}, which names their folders; rename one")
        runs[recipe.stem] = [
            finished(config, folder / recipe.stem / f"share_{share:g}", f"{recipe.stem}, {share:g} %")
            for share, config in zip(shares, configs, strict=True)
        ]
    rows = rows_of([one for same in runs.values() for one in same])
    about = [f"Shares of the ground of the training scenes; patches seen: {', '.join(budgets(runs))}."]
    print(markdown(rows, about=about))
    (folder / "shares.csv").write_text(as_csv(rows), encoding="utf-8")
    draw(rows, list(runs), shares, folder / "shares.png")


def shares_of(text: str) -> list[float]:
    """Per cent, rising.

    Raises:
        UsageError: none, or one that is no number over 0 and up to 100.
    """
    try:
        shares = sorted({float(part) for part in text.split(",")})
    except ValueError:
        shares = []
    if not shares or not all(0 < share <= 100 for share in shares):
        raise UsageError(f"--shares takes numbers over 0 and up to 100 with commas between, got {text!r}")
    return shares


def configured(recipe: Path, share: float, given: argparse.Namespace) -> RunConfig:
    """The recipe with a share, and with the same number of patches for each.

    Raises:
        UsageError: the recipe's epoch is as long as what there is, which a share would shorten.
    """
    settings = [*given.set, f"data.share={share / 100}", f"train.minutes={given.cap_minutes}"]
    config = load_config(recipe, settings)
    per_epoch = config.data.per_epoch
    if given.patches is not None:
        per_epoch = max(config.train.batch, math.ceil(given.patches / config.train.epochs))
    if not per_epoch:
        raise UsageError(f"{recipe.name} sees every patch once per epoch, so shares differ in steps; say --patches")
    return load_config(recipe, [*settings, f"data.per_epoch={per_epoch}"])


def finished(config: RunConfig, folder: Path, label: str) -> Finished:
    """A run to its end, or as it was left there.

    Raises:
        UsageError: the folder holds a run of other settings.
    """
    if not (folder / "scores.json").is_file():
        print(f"training {label} in {folder}", file=sys.stderr, flush=True)
        train(config, folder, resume=True)
    run = read_run(folder, label)
    if run.config != config:
        raise UsageError(f"{folder} holds a run of other settings; choose another folder with --out")
    return run


def budgets(runs: dict[str, list[Finished]]) -> list[str]:
    """How many patches each network saw; one number where all shares saw as many."""
    found = {name: dict.fromkeys(f"{one.patches:,}" for one in same) for name, same in runs.items()}
    return [f"{name} {' / '.join(seen)}" for name, seen in found.items()]


def draw(rows: Sequence[Row], names: Sequence[str], shares: Sequence[float], path: Path) -> None:
    """Metrics over the share, without and with consistency, beside bicubic."""
    known = {(row.name, row.consistency): row for row in rows}
    panels = []
    for metric, label in DRAWN.items():
        base = known[BICUBIC, False].mean(GROUP, metric)
        curves = [Curve.of(BICUBIC, shares, [base] * len(shares))]
        for name in names:
            for follow in (False, True):
                values = [known[f"{name}, {share:g} %", follow].mean(GROUP, metric) for share in shares]
                curves.append(Curve.of(name + " + consistency" * follow, shares, values, strong=not follow))
        panels.append(Panel(label, tuple(curves)))
    title = "Data efficiency, mean over the validation scenes"
    draw_curves(panels, path, title=title, x_label="share of the ground (%)")


if __name__ == "__main__":
    main()
