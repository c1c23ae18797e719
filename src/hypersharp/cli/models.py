"""`hypersharp models`: the zoo."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from hypersharp.cli import _options as options
from hypersharp.errors import UsageError

if TYPE_CHECKING:
    from hypersharp.models._catalogue import Entry

NAME = "models"


def command(
    bands: Annotated[int | None, typer.Option(help="Count for this many bands.", metavar="N", min=1)] = None,
    scale: Annotated[str | None, typer.Option(help="Count for this scale.", metavar="N")] = None,
    lr_size: Annotated[str | None, typer.Option(help="Count for this input size.", metavar="ROWS[xCOLS]")] = None,
    msi_bands: Annotated[
        int | None, typer.Option(help="Count for an MSI of this many bands, where one is fused.", metavar="N", min=1)
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of docs/models.md.")] = False,
    store: Annotated[bool, typer.Option("--store", help="Write the stored counts anew.", hidden=True)] = False,
    as_json: options.Json = False,
) -> None:
    """List the networks: task, scales, parameters, multiply-accumulates, halo and paper."""
    from hypersharp import models
    from hypersharp.models import _catalogue as catalogue

    if store:
        catalogue.store()
    size = catalogue.LR_SIZE if lr_size is None else _size(lr_size)
    ratio = catalogue.SCALE if scale is None else options.parse_scale(scale)
    count, fused = bands or catalogue.BANDS, msi_bands or catalogue.MSI_BANDS
    if (count, ratio, size, fused) == (catalogue.BANDS, catalogue.SCALE, catalogue.LR_SIZE, catalogue.MSI_BANDS):
        entries = catalogue.stored()
    else:
        names = models.list_models()
        entries = [catalogue.counted(name, bands=count, scale=ratio, lr_size=size, msi_bands=fused) for name in names]
    at = (
        f"{count} bands, scale {ratio}, LR {size[0]} x {size[1]}, where an MSI is fused one of {fused} bands; "
        "one multiplication with its addition counts as one; unused: what the published code or count holds besides"
    )
    if as_json:
        where = {"bands": count, "scale": ratio, "lr_size": list(size)}
        print(json.dumps({"counted_at": where, "models": [asdict(entry) for entry in entries]}))
        return
    rows = [("name", "task", "scales", "parameters", "MACs", "unused", "halo", "paper"), *map(_row, entries)]
    if markdown:
        rows.insert(1, ("---",) * 8)
        print("\n".join(f"| {' | '.join(row)} |" for row in rows) + f"\n\nCounted at {at}.")
        return
    widths = [max(len(row[at]) for row in rows) for at in range(7)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[7]]))
    print(f"counted at {at}")


def _row(entry: Entry) -> tuple[str, ...]:
    weights = "-" if entry.parameters is None else f"{entry.parameters / 1e6:.3f} M"
    macs = "-" if entry.macs is None else f"{entry.macs / 1e9:.2f} G"
    left_out = [f"{entry.unused:,} weights"] if entry.unused else []
    left_out += [f"{entry.unused_macs / 1e9:.3f} G"] if entry.unused_macs else []
    unused = ", ".join(left_out) or "-"
    halo = "window" if entry.halo is None else str(entry.halo)
    return entry.name, entry.task, " ".join(map(str, entry.scales)), weights, macs, unused, halo, entry.paper


def _size(text: str) -> tuple[int, int]:
    try:
        sides = [int(part) for part in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise UsageError(f"lr-size must be one side or rows x columns such as 64 or 64x48, got {text!r}")
    return sides[0], sides[-1]
