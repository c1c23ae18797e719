"""`hypersharp lowrank CHECKPOINT`: how low the rank of the upsampling layer is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypersharp.cli import _options as options
from hypersharp.errors import UsageError, WriteError

if TYPE_CHECKING:
    from hypersharp.train.lowrank import Spectrum

NAME = "lowrank"
_COLUMNS, _ROWS = 60, 10


def command(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A .safetensors file.")],
    out: Annotated[
        str | None, typer.Option("--out", help="Write a student that begins with what is kept.", metavar="FILE")
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Of the student's upsampler.", metavar="R", min=1)] = None,
    groups: Annotated[int | None, typer.Option(help="Of the student's upsampler.", metavar="G", min=1)] = None,
    plot: Annotated[str | None, typer.Option(help="Draw the cumulative sums.", metavar="FILE.png")] = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Cumulative singular values of a trained upsampling layer, and a low-rank student of it."""
    from hypersharp._require import require

    require("torch", "train", "reading a checkpoint")
    from hypersharp.models._upsample import Upsampler
    from hypersharp.train.lowrank import SHARES, spectra, student

    if (out is None) != (rank is None and groups is None) or (rank is not None and groups is not None):
        raise UsageError("a student needs --out FILE and one of --rank R and --groups G")
    for output in filter(None, (out, plot)):
        if Path(output).exists() and not overwrite:
            raise WriteError(f"{output} exists; say --overwrite to replace it")
    found = spectra(Path(checkpoint))
    if plot is not None:
        from hypersharp.figures import Cumulative, draw_singular_values

        curves = [Cumulative.of(one.name, one.cumulative) for one in found]
        draw_singular_values(curves, plot, shares=SHARES, title=f"Upsampling layer of {Path(checkpoint).name}")
    kept = None
    if out is not None:
        how = Upsampler("rank", rank=rank) if rank is not None else Upsampler("grouped", groups=groups or 1)
        kept = student(Path(checkpoint), Path(out), how=how)
    if as_json:
        layers = [
            {
                "name": one.name,
                "shape": list(one.shape),
                "cumulative": list(one.cumulative),
                "rank": {f"{share:.0%}": one.rank(share) for share in SHARES},
            }
            for one in found
        ]
        print(json.dumps({"layers": layers, "output": out, "energy_kept": kept, "plot": plot}))
        return
    for one in found:
        said = ", ".join(f"{share:.0%} at rank {one.rank(share)}" for share in SHARES)
        print(f"{one.name}: {one.shape[0]} x {one.shape[1]}, {len(one.cumulative)} singular values; {said}")
        print(_letters(one))
    if plot is not None:
        print(f"{plot}: the cumulative sums as a picture")
    for name, share in (kept or {}).items():
        print(f"{out}: {name} keeps {share:.1%} of the energy of the weights")


def _letters(one: Spectrum) -> str:
    """The cumulative sum as a plot of letters."""
    count = len(one.cumulative)
    ranks = [max(1, round((at + 1) * count / _COLUMNS)) for at in range(_COLUMNS)]
    lines = []
    for row in range(_ROWS, 0, -1):
        marks = "".join("#" if one.cumulative[rank - 1] >= row / _ROWS - 1e-9 else " " for rank in ranks)
        lines.append(f"{row / _ROWS:>5.0%} |{marks}".rstrip())
    return "\n".join([*lines, f"      +{'-' * _COLUMNS}", f"       1{count:>{_COLUMNS - 1}}"])
