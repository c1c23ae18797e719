"""`hypersharp sharpen IN OUT --scale 4`."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypersharp._require import require
from hypersharp.cli import _options as options
from hypersharp.errors import UsageError, WriteError
from hypersharp.weights import shipped

if TYPE_CHECKING:
    from hypersharp.cube import Cube
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
    adapt: Annotated[
        float | None,
        typer.Option(
            help="Fine-tune the network on the scene itself for so many seconds, and keep that only where a part "
            "of the scene that is held back improves. Needs hypersharp[train].",
            metavar="SECONDS",
        ),
    ] = None,
    save_adapted: Annotated[
        str | None, typer.Option(help="Keep the adapted weights, for --model.", metavar="FILE.safetensors")
    ] = None,
    uncertainty: Annotated[
        str | None,
        typer.Option(
            help="A second file: how far off each value may be, as the mean size of its error; 90 % lie within "
            "2.3 times that.",
            metavar="FILE",
        ),
    ] = None,
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
    from hypersharp.pipeline import Save, Tiling, Using, check_outputs, prepare, write_prepared

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
    check_outputs(output, cube, Save(overwrite=overwrite or dry_run, uncertainty=uncertainty))
    adapting = None
    if adapt is not None or save_adapted is not None:
        adapting = _adapting(
            adapt, save_adapted, scale=factor, method=method, model=model, overwrite=overwrite, force=force
        )
    with ExitStack() as stack:
        found = None
        if adapting is not None and not dry_run:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            cube, model, found = _adapt(adapting, cube, degradation, consistency, threads=threads, folder=folder)
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
            print(f"hypersharp: {ready.note}", file=sys.stderr)
        facts = _facts(ready, how, source, output, consistency) | {"adapted": found, "uncertainty": uncertainty}
        if dry_run:
            _tell(facts, as_json)
            return
        with options.progress_bar("sharpening", quiet=as_json) as progress:
            write_prepared(ready, output, save=Save(how, overwrite, progress, uncertainty), tiling=tiling)
    facts["seconds"] = round(time.perf_counter() - started, 3)
    if as_json:
        _tell(facts, as_json)
    else:
        rows, cols = facts["output_shape"][1:]
        psf = f"{facts['degradation']} ({facts['degradation_from']})"
        if found is not None and found["kept"]:
            print(f"{output}: {found['note']}")
        print(f"{output}: {facts['output_shape'][0]} bands, {rows} x {cols} pixels; degradation {psf}")
        if uncertainty is not None:
            print(f"{uncertainty}: expected size of the error of each value, in its units")


def _limit_threads() -> None:
    """Tell the linear algebra library, before it is loaded, to leave the sharing of work to our own threads."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


@dataclass(frozen=True)
class _Adapting:
    """What is to be adapted, and where it goes.

    Attributes:
        model: as given; None for the default network.
        checkpoint: its weights.
        scale: HR pixels per LR pixel along a side.
        seconds: to take.
        save: where adapted weights are kept; None for nowhere.
        force: use a default network whatever it does.
    """

    model: str | None
    checkpoint: Path
    scale: int
    seconds: float
    save: Path | None
    force: bool


def _adapting(
    seconds: float | None,
    save: str | None,
    *,
    scale: int,
    method: str,
    model: str | None,
    overwrite: bool,
    force: bool,
) -> _Adapting:
    """Check all that can be checked before the work begins; reads no pixel."""
    if seconds is None:
        raise UsageError("--save-adapted keeps what --adapt makes, got no --adapt; give it the seconds to take")
    require("torch", "train", "--adapt")
    path = model if model is not None or method != "default" else shipped(scale)
    if path is None:
        raise UsageError(f"expected a network to adapt, got none for scale {scale} and method {method}; give a --model")
    target = None if save is None else Path(save)
    if target is not None:
        if target.suffix != ".safetensors":
            raise UsageError(f"--save-adapted takes a name that ends in .safetensors, got {target.name!r}")
        if not target.parent.is_dir():
            raise WriteError(f"expected an existing folder, got {str(target.parent)!r}; make it or choose another")
        if target.exists() and not overwrite:
            raise WriteError(f"{target} exists already; give --overwrite to replace it, or choose another name")
    return _Adapting(model, _checkpoint_of(Path(path)), scale, seconds, target, force)


def _checkpoint_of(model: Path) -> Path:
    """The weights of a network that can be trained on: itself, or what lies beside its `.onnx` file."""
    from hypersharp.infer.torch_session import ENDINGS

    beside = model if model.suffix in ENDINGS else model.with_suffix(".safetensors")
    if not beside.is_file():
        raise UsageError(
            f"--adapt trains on a checkpoint, expected {str(beside)!r}, got no such file; "
            "put it there, or give a .safetensors file as --model"
        )
    return beside


def _adapt(
    what: _Adapting, cube: Cube, degradation: str | None, consistency: str, *, threads: int, folder: Path
) -> tuple[Cube, str | None, dict[str, Any]]:
    """The cube with a line of history, the network to use, and what is to be said; both as given where nothing helped.

    Default weights that are worse than no network, adapted though they are, are left to the test for harm.
    """
    from hypersharp import _version
    from hypersharp.pipeline import psf_of
    from hypersharp.train.adapt import Effort, adapt
    from hypersharp.train.checkpoint import save_checkpoint

    psf, _ = psf_of(cube, degradation, what.scale)
    effort = Effort(seconds=what.seconds, threads=threads)
    done = adapt(what.checkpoint, cube, scale=what.scale, psf=psf, effort=effort, consistency=consistency)
    kept = done.kept and (what.model is not None or what.force or not done.harmful)
    note = done.note if kept or not done.kept else "not adapted to the scene: even so it is worse than no network"
    found: dict[str, Any] = {
        "kept": kept,
        "gain_db": None if done.gain is None else done.gain.gain_db,
        "interval_db": None if done.gain is None else [done.gain.low_db, done.gain.high_db],
        "gain_over_none_db": None if done.plain is None else done.plain.gain_db,
        "steps": done.steps,
        "seconds": round(done.seconds, 3),
        "note": note,
        "saved": None,
    }
    if not kept:
        unsaved = "" if what.save is None else f"; {what.save.name} was not written"
        print(f"hypersharp: {note}{unsaved}", file=sys.stderr)
        return cube, what.model, found
    path = what.save or folder / what.checkpoint.with_suffix(".safetensors").name
    save_checkpoint(path, done.weights, done.card)
    found["saved"] = None if what.save is None else str(path)
    return cube.with_history(f"hypersharp {_version.__version__} adapt: {done.card.model} {note}"), str(path), found


def _facts(ready: Prepared, how: WriteOptions, source: str, output: str, consistency: str) -> dict[str, Any]:
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
        "consistency": consistency,
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
    if facts["uncertainty"]:
        lines["uncertainty"] = f"{facts['uncertainty']}, float32"
    if facts["axes"]:
        lines["axes"] = facts["axes"]
    for name, text in lines.items():
        print(f"{name + ':':<12} {text}")
