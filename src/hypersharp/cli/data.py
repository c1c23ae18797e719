"""`hypersharp data prepare NAME FILE OUT`: the papers' scenes from their published files."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hypersharp.cli import _options as options

NAME = "data"

app = typer.Typer(
    name=NAME, help="Public data sets.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.callback()
def _root() -> None:
    """Public data sets."""


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(metavar="NAME", help="houston2018, pavia or chikusei.")],
    source: Annotated[str, typer.Argument(metavar="FILE", help="The file as it is published.")],
    output: Annotated[str, typer.Argument(metavar="OUT", help="The file to write: scene.h5.")],
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Cut from a published file what the papers use."""
    from hypersharp.data.catalogue import prepare as prepare_scene

    cube = prepare_scene(name, source, output, overwrite=overwrite)
    bands, rows, cols = cube.shape
    if as_json:
        print(json.dumps({"output": output, "shape": [bands, rows, cols], "history": list(cube.history)}))
    else:
        print(f"{output}: {bands} bands, {rows} x {cols} pixels")
