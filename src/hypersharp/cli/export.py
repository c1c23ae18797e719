"""`hypersharp export CHECKPOINT OUT.onnx`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hypersharp.cli import _options as options

NAME = "export"


def command(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A .safetensors file.")],
    output: Annotated[str, typer.Argument(metavar="OUT", help="The .onnx file to write.")],
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Write a checkpoint as .onnx, which runs without torch; it is checked against torch first."""
    from hypersharp._require import require

    require("torch", "train", "exporting a checkpoint")
    from hypersharp.train.export import export

    found = export(Path(checkpoint), Path(output), overwrite=overwrite)
    if as_json:
        print(json.dumps({"output": output, "check": found}))
        return
    sizes = ", ".join(found["largest_difference_over_spread"])
    worst = max(found["largest_difference_over_spread"].values())
    print(f"{output}: equals torch at {sizes} (largest difference {worst:.1e} of the spread)")
