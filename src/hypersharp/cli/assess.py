"""`hypersharp assess LR SR`: what can be said of a sharpened cube for which there is no reference."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from hypersharp.cli import _options as options

if TYPE_CHECKING:
    from hypersharp.evaluate import GuideIndices
    from hypersharp.judgement import Assessment

NAME = "assess"


def command(
    lr: Annotated[str, typer.Argument(metavar="LR", help="The cube that was sharpened.")],
    sr: Annotated[str, typer.Argument(metavar="SR", help="The sharpened cube.")],
    msi: Annotated[
        str | None, typer.Option(help="A multispectral or panchromatic image on the grid of SR.", metavar="FILE")
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="HR pixels per LR pixel. Default: what the shapes say.", metavar="N")
    ] = None,
    degradation: Annotated[
        str | None,
        typer.Option(
            help="How the sensor blurs: mtf:0.3, gaussian, gaussian:sigma=1.7, bicubic, kernel:FILE.npy. "
            "Default: what SR's history says, else what is known of the sensor, else mtf:0.3. "
            "estimate has it estimated, with the MSI if there is one.",
            metavar="PSF",
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="What to run in the reduced test. Default: what SR's history says.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="An exported .onnx network, in place of a method.", metavar="FILE")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the reduced test's noise and bootstrap.", min=0)] = 0,
    memory: options.Memory = "1GiB",
    threads: options.Threads = 0,
    window: Annotated[
        str | None,
        typer.Option(help="The part of LR that was sharpened, in its pixels.", metavar="COL,ROW,WIDTH,HEIGHT"),
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="The bands of LR that were sharpened, counted from 1.", metavar="LIST")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset or variable inside LR.", metavar="NAME")] = None,
    axes: Annotated[str | None, typer.Option(help="Axis order of LR, a bare array.", metavar="hwc|chw|…")] = None,
    nodata: Annotated[
        str | None, typer.Option(help="Stored number that marks invalid pixels of LR.", metavar="V|none")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Judge a sharpened cube without a reference: consistency, indices with an MSI, the method one scale down."""
    from hypersharp.judgement import assess
    from hypersharp.pipeline import Tiling

    factor = None if scale is None else options.parse_scale(scale)
    low = options.open_part(
        lr, dataset=dataset, axes=axes, wavelengths=None, quantity=None, nodata=nodata, window=window, bands=bands
    )
    with options.progress_bar("judging", quiet=as_json) as progress:
        found = assess(
            low,
            sr,
            msi=msi,
            scale=factor,
            degradation=degradation,
            method=method,
            model=model,
            seed=seed,
            tiling=Tiling(None, options.parse_bytes(memory), threads),
            progress=None if progress is None else lambda title: progress,
        )
    if as_json:
        print(json.dumps(found.to_dict()))
    else:
        _print(found)


def _print(found: Assessment) -> None:
    from hypersharp.evaluate import NotRun

    agreement, guide, reduced, caveats = found.consistency, found.guide, found.reduced, found.caveats
    over, estimated = agreement.rmse_over_noise, "an estimate: " if found.psf_from.startswith("estimate") else ""
    print(f"scale {found.scale}; PSF {estimated}{found.psf.describe(found.scale)} ({found.psf_from})")
    for note in found.notes:
        print(f"note: {note}")
    print("consistency, degrade(SR) against LR")
    times = "" if over is None else f", {over:.2f} times the noise of LR (median band)"
    print(f"  SAM {_number(agreement.sam_deg.value)} deg, RMSE {_number(agreement.rmse.value)}{times}")
    if agreement.unseen:
        print(f"  {agreement.unseen} values of LR where SR is invalid do not count")
    print(f"  fooled: {caveats['consistency']}")
    if guide is not None:
        _print_guide(guide, caveats)
    print(f"reduced test{f' of {found.method}' if found.method else ''}")
    if isinstance(reduced, NotRun):
        print(f"  not run: {reduced.reason}")
        return
    verdict = {"better": "better than", "worse": "worse than", "undecided": "undecided against"}[reduced.sign]
    print(f"  indication: {verdict} bicubic; {reduced.gain_db:+.2f} dB,", end="")
    print(f" 90 % interval {reduced.low_db:+.2f} to {reduced.high_db:+.2f} dB")
    rows, cols = reduced.input_shape[1:]
    print(f"  input {rows} x {cols} pixels, {reduced.bands} bands ({reduced.bands_left_out} left out),", end="")
    print(f" {reduced.blocks} blocks of {reduced.block} pixels")
    print(f"  fooled: {caveats['reduced test']}")


def _print_guide(guide: GuideIndices, caveats: dict[str, str]) -> None:
    print("with the MSI")
    print(f"  D_lambda {_number(guide.d_lambda)}, D_s {_number(guide.d_s)}, QNR {_number(guide.qnr)}")
    print(f"  Khan's D_lambda {_number(guide.d_lambda_khan)}, HQNR {_number(guide.hqnr)}")
    print(f"  D_s by regression {_number(guide.d_s_regression)}, RQNR {_number(guide.rqnr)}")
    drawn = f"{guide.pairs} of {guide.pairs_in_all} band pairs" + (
        f" (seed {guide.seed})" if guide.pairs < guide.pairs_in_all else ""
    )
    print(f"  {drawn}, {guide.bands} bands, Q over {guide.window} x {guide.window} LR pixels, ", end="")
    print(f"Q2n over blocks of {guide.block}; the MSI degraded with the same PSF, no SRF")
    for name in ("D_lambda", "D_s", "RQNR"):
        print(f"  {name} fooled: {caveats[name]}")


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4g}"
