"""`hypersharp sharpen IN OUT --scale 4`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypersharp.cli import _options as options

if TYPE_CHECKING:
    from hypersharp.io import WriteOptions
    from hypersharp.pipeline import Prepared

NAME = "sharpen"


def command(
    source: options.Input,
    output: options.Output,
    scale: Annotated[str, typer.Option(help="HR pixels per LR pixel along a side, 2 to 8.", metavar="N")],
    method: Annotated[
        str, typer.Option(help="default, the network that comes with the package; or bicubic.", metavar="NAME")
    ] = "default",
    model: Annotated[
        str | None, typer.Option(help="A network: .onnx, or .safetensors where torch is installed.", metavar="FILE")
    ] = None,
    degradation: Annotated[
        str | None,
        typer.Option(
            help="How the sensor blurs: mtf:0.3, gaussian, gaussian:sigma=1.7, bicubic, kernel:FILE.npy. "
            "Default: what is known of the sensor, else mtf:0.3. estimate guesses it from the cube, and says so.",
            metavar="PSF",
        ),
    ] = None,
    consistency: Annotated[
        str, typer.Option(help="noise, exact or off: how far degrade(output) is brought to the input.")
    ] = "noise",
    ensemble: Annotated[
        bool,
        typer.Option("--ensemble", help="Run the network on eight turns of the scene: slower, a little better."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Use the default network even where a test says that it does harm.")
    ] = False,
    tile: Annotated[int | None, typer.Option(help="Side of a tile in input pixels.", metavar="N")] = None,
    memory: options.Memory = "1GiB",
    threads: options.Threads = 0,
    window: options.Window = None,
    bands: options.Bands = None,
    nodata: options.Nodata = None,
    dtype: options.Dtype = "same",
    compress: options.Compress = "none",
    interleave: options.Interleave = None,
    cog: options.Cog = False,
    dataset: options.Dataset = None,
    axes: options.Axes = None,
    wavelengths: options.Wavelengths = None,
    quantity: options.Quantity = None,
    overwrite: options.Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, write nothing.")] = False,
    as_json: options.Json = False,
) -> None:
    """Make a cube SCALE times sharper, in the same place, with the same bands, units and no-data."""
    _limit_threads()
    from hypersharp.io import WriteOptions
    from hypersharp.io.writing import check_target
    from hypersharp.pipeline import Save, Tiling, Using, prepare, write_prepared

    started = time.perf_counter()
    factor = options.parse_scale(scale)
    threads = threads or (os.cpu_count() or 1)
    tiling = Tiling(tile, options.parse_bytes(memory), threads)
    how = WriteOptions(dtype, compress, interleave, cog, dataset or "cube", threads)
    cube = options.open_part(
        source,
        dataset=dataset,
        axes=axes,
        wavelengths=wavelengths,
        quantity=quantity,
        nodata=nodata,
        window=window,
        bands=bands,
    )
    check_target(Path(output), cube, overwrite=overwrite or dry_run)
    ready = prepare(
        cube,
        scale=factor,
        method=method,
        model=model,
        degradation=degradation,
        consistency=consistency,
        using=Using(ensemble, force),
        tiling=tiling,
    )
    if ready.note:
        print(f"hypersharp: {ready.note}; --force uses it all the same", file=sys.stderr)
    facts = _facts(ready, how, source, output)
    if dry_run:
        _tell(facts, as_json)
        return
    with options.progress_bar("sharpening", quiet=as_json) as progress:
        write_prepared(ready, output, save=Save(how, overwrite, progress), tiling=tiling)
    facts["seconds"] = round(time.perf_counter() - started, 3)
    if as_json:
        _tell(facts, as_json)
    else:
        rows, cols = facts["output_shape"][1:]
        psf = f"{facts['degradation']} ({facts['degradation_from']})"
        print(f"{output}: {facts['output_shape'][0]} bands, {rows} x {cols} pixels; degradation {psf}")


def _limit_threads() -> None:
    """Tell the linear algebra library, before it is loaded, to leave the sharing of work to our own threads."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def _facts(ready: Prepared, how: WriteOptions, source: str, output: str) -> dict[str, Any]:
    import numpy as np

    from hypersharp.pipeline import output_bytes

    lr, plan = ready.lr, ready.plan
    wavelengths = lr.bands.wavelength_nm
    reach = None if wavelengths is None else [float(pick(wavelengths)) for pick in (np.nanmin, np.nanmax)]
    return {
        "input": source,
        "output": output,
        "input_shape": list(lr.shape),
        "output_shape": list(ready.cube.shape),
        "wavelength_nm": reach,
        "quantity": lr.quantity,
        "units": lr.units,
        "dead_bands": [band + 1 for band in ready.scene.dead],
        "scale": plan.scale,
        "method": ready.method.name,
        "degradation": str(ready.psf),
        "degradation_from": ready.psf_from,
        "degradation_text": ready.psf.describe(plan.scale),
        "consistency": ready.cube.history[-1].split("consistency ")[1].split(";")[0],
        "components_corrected": 0 if ready.consistency is None else len(ready.consistency.lam),
        "tile": list(plan.core),
        "tiles": len(plan),
        "window": list(plan.window),
        "memory_bytes": ready.memory_bytes,
        "output_bytes": output_bytes(ready, how),
        "note": ready.note,
        "axes": lr.attrs.get("axes"),
    }


def _tell(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts))
        return
    count, rows, cols = facts["input_shape"]
    _, hr_rows, hr_cols = facts["output_shape"]
    reach = facts["wavelength_nm"]
    lines = {
        "bands": f"{count}" + (f", {reach[0]:g} to {reach[1]:g} nm" if reach else ", no wavelengths"),
        "units": f"{facts['quantity']} {facts['units']}".strip(),
        "scale": f"{facts['scale']}: {rows} x {cols} to {hr_rows} x {hr_cols} pixels",
        "method": facts["method"],
        "PSF": f"{facts['degradation']} ({facts['degradation_from']}); {facts['degradation_text']}",
        "consistency": f"{facts['consistency']}; {facts['components_corrected']} components corrected",
        "dead bands": ", ".join(map(str, facts["dead_bands"])) or "none",
        "tiles": f"{facts['tiles']} of {facts['tile'][0]} x {facts['tile'][1]} input pixels, "
        f"windows {facts['window'][0]} x {facts['window'][1]}",
        "memory": f"about {options.human_bytes(facts['memory_bytes'])}",
        "output": f"{facts['output']}, {options.human_bytes(facts['output_bytes'])} before compression",
    }
    if facts["axes"]:
        lines["axes"] = facts["axes"]
    for name, text in lines.items():
        print(f"{name + ':':<12} {text}")
