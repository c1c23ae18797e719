"""`hypersharp simulate HR OUT_LR --scale 4`."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypersharp.cli import _options as options
from hypersharp.errors import UsageError

if TYPE_CHECKING:
    from hypersharp.degrade.recipe import Recipe
    from hypersharp.degrade.wald import Simulated
    from hypersharp.io import WriteOptions

NAME = "simulate"

_NOISE = (
    "gaussian:snr_db=35, poisson:snr_db=35, stripes:level=0.02, dead-lines:fraction=0.01, dead-bands:count=5, "
    "impulse:fraction=0.01 or random:fraction=0.01."
)


def command(
    source: Annotated[str, typer.Argument(metavar="HR", help="The cube to degrade.")],
    output: Annotated[str, typer.Argument(metavar="OUT_LR", help="The file to write the LR cube to.")],
    scale: Annotated[str | None, typer.Option(help="HR pixels per LR pixel along a side, 2 to 8.", metavar="N")] = None,
    msi: Annotated[str | None, typer.Option(help="Write an MSI too; needs --srf.", metavar="OUT_MSI")] = None,
    degradation: Annotated[
        str | None,
        typer.Option(
            help="How the LR sensor blurs: mtf:0.3, gaussian, gaussian:sigma=1.7, bicubic, kernel:FILE.npy. "
            "Default: what is known of the sensor, else mtf:0.3.",
            metavar="PSF",
        ),
    ] = None,
    shift: Annotated[
        str | None,
        typer.Option(help="How far down and right of its block an LR pixel looks, in HR pixels.", metavar="DY,DX"),
    ] = None,
    srf: Annotated[
        str | None,
        typer.Option(
            help="Bands of the MSI: sentinel2a, sentinel2b, landsat8, landsat9, worldview2, worldview3, ali, each with "
            "a list of bands if wanted (sentinel2a:B2,B3,B4,B8), gaussian:CENTRE/FWHM,…, or a CSV or JSON file.",
            metavar="SRF",
        ),
    ] = None,
    noise_snr_db: Annotated[
        float | None, typer.Option(help="White noise of this SNR in each band, before all other noise.", metavar="DB")
    ] = None,
    noise: Annotated[
        list[str] | None, typer.Option(help=f"Noise of the LR cube, again for more: {_NOISE}", metavar="NOISE")
    ] = None,
    msi_noise: Annotated[list[str] | None, typer.Option(help="Noise of the MSI, likewise.", metavar="NOISE")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all noise; 0 by default.", metavar="N")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Do again what the sidecar of an earlier simulation says.", metavar="FILE.json"),
    ] = None,
    window: options.Window = None,
    bands: options.Bands = None,
    nodata: options.Nodata = None,
    dtype: Annotated[
        str | None, typer.Option(help="Stored type: float32 by default; same rounds as the input does.", metavar="TYPE")
    ] = None,
    compress: Annotated[str | None, typer.Option(help="none, zstd or deflate.", metavar="HOW")] = None,
    interleave: options.Interleave = None,
    cog: options.Cog = False,
    dataset: options.Dataset = None,
    axes: options.Axes = None,
    wavelengths: options.Wavelengths = None,
    quantity: options.Quantity = None,
    memory: options.Memory = "1GiB",
    threads: options.Threads = 0,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Degrade a cube after the Wald protocol: an LR cube, an MSI if asked for, and the recipe beside them."""
    from hypersharp.pipeline import Save
    from hypersharp.simulation import simulate

    started = time.perf_counter()
    given_input = {
        "window": window,
        "bands": bands,
        "nodata": nodata,
        "dataset": dataset,
        "axes": axes,
        "wavelengths": wavelengths,
        "quantity": quantity,
    }
    given_output = {"dtype": dtype, "compress": compress, "interleave": interleave, "cog": cog, "dataset": dataset}
    stated = {
        "scale": scale,
        "degradation": degradation,
        "shift": shift,
        "srf": srf,
        "noise-snr-db": noise_snr_db,
        "noise": noise,
        "msi-noise": msi_noise,
        "seed": seed,
    }
    if recipe is not None:
        plan = _read(recipe, stated | given_input | given_output)
    else:
        plan = _recipe_of(stated, {name: text for name, text in given_input.items() if text is not None})
        plan = replace(plan, output={name: value for name, value in given_output.items() if value})
        if srf is not None and msi is None:
            raise UsageError("--srf makes an MSI: say where to write it with --msi FILE")
    cube = options.open_part(source, **{name: plan.input.get(name) for name in given_input})
    how = _options_of(plan, threads)
    with options.progress_bar("simulating", quiet=as_json) as progress:
        done = simulate(
            cube,
            output,
            recipe=plan,
            msi=msi,
            save=Save(how, overwrite, progress),
            memory_bytes=options.parse_bytes(memory),
        )
    _tell(done, source, output, msi, as_json=as_json, seconds=round(time.perf_counter() - started, 3))


def _recipe_of(stated: dict[str, Any], given_input: dict[str, str]) -> Recipe:
    from hypersharp.degrade.recipe import Recipe

    if stated["scale"] is None:
        raise UsageError("simulate needs --scale N, or --recipe FILE.json of an earlier simulation")
    noise = list(stated["noise"] or [])
    if stated["noise-snr-db"] is not None:
        noise.insert(0, f"gaussian:snr_db={stated['noise-snr-db']:g}")
    return Recipe(
        scale=options.parse_scale(stated["scale"]),
        degradation=stated["degradation"],
        shift_yx=_shift_of(stated["shift"]),
        noise=tuple(noise),
        srf=stated["srf"],
        msi_noise=tuple(stated["msi-noise"] or []),
        seed=stated["seed"] or 0,
        input=given_input,
    )


def _shift_of(text: str | None) -> tuple[float, float]:
    if text is None:
        return 0.0, 0.0
    try:
        dy, dx = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"shift must be two numbers of HR pixels DY,DX, got {text!r}") from None
    return dy, dx


def _read(path: str, stated: dict[str, Any]) -> Recipe:
    """The recipe of a sidecar; it says everything, so nothing else may."""
    from hypersharp._version import __version__
    from hypersharp.degrade.recipe import read_recipe

    also = ", ".join(f"--{name}" for name, value in stated.items() if value)
    if also:
        raise UsageError(f"--recipe already says all that is done: leave out {also}")
    recipe, version = read_recipe(Path(path))
    if version != __version__:
        print(f"hypersharp: note: the recipe is of version {version}; the bytes may differ", file=sys.stderr)
    return recipe


def _options_of(recipe: Recipe, threads: int) -> WriteOptions:
    from hypersharp.io import WriteOptions

    said = {"dtype": "float32", "compress": "none", "interleave": None, "cog": False, "dataset": "cube"} | dict(
        recipe.output
    )
    interleave = said.pop("interleave")
    cog = bool(said.pop("cog"))
    dtype, compress, dataset = (str(said.pop(name)) for name in ("dtype", "compress", "dataset"))
    if said:
        raise UsageError(f"recipe: unknown output options {', '.join(sorted(said))}")
    layout = None if interleave is None else str(interleave)
    return WriteOptions(dtype, compress, layout, cog, dataset, threads or (os.cpu_count() or 1))


def _tell(done: Simulated, source: str, output: str, msi: str | None, *, as_json: bool, seconds: float) -> None:
    if as_json:
        facts = {"input": source, "output": output, "msi": msi, "shape": list(done.lr.shape), "seconds": seconds}
        print(json.dumps(facts | {"recipe": done.recipe.as_dict(), "facts": done.facts}))
        return
    count, rows, cols = done.lr.shape
    print(f"{output}: {count} bands, {rows} x {cols} pixels; PSF {done.facts['psf']}")
    if any(done.facts["cropped"]):
        lost = done.facts["cropped"]
        print(f"cropped to a multiple of the scale: last {lost[0]} rows and {lost[1]} columns left out")
    for said in done.recipe.noise:
        print(f"noise: {said}, seed {done.recipe.seed}")
    if msi is not None and done.msi is not None:
        print(f"{msi}: {done.msi.shape[0]} bands, {done.msi.shape[1]} x {done.msi.shape[2]} pixels")
        for band in done.facts["srf"]["bands"]:
            print(f"  {band['name']}: {band['centre_nm']:.1f} nm, coverage {band['coverage']:.1%}")
    print(f"{output}.recipe.json: the recipe")
