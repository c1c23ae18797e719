"""`hypersharp fuse LR_CUBE MSI OUT`: a sharper image beside the cube."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypersharp.cli import _options as options

if TYPE_CHECKING:
    from hypersharp.fusing import Fusion

NAME = "fuse"

_Cube = Annotated[str, typer.Argument(metavar="LR_CUBE", help="The hyperspectral cube.")]
_Msi = Annotated[str, typer.Argument(metavar="MSI", help="The sharper multispectral or panchromatic image.")]
_Method = Annotated[
    str, typer.Option(help="auto tries several and takes the best; or exp, gsa, sfim, glp, fuse, …", metavar="NAME")
]
_Model = Annotated[
    str | None,
    typer.Option(help="A network that fuses: .onnx, or .safetensors where torch is installed.", metavar="FILE"),
]
_Consistency = Annotated[
    str | None,
    typer.Option(
        help="noise, exact or off: how far a network's result is brought to degrade to the cube. Default: noise.",
        metavar="NAME",
    ),
]
_Candidates = Annotated[str | None, typer.Option(help="What auto tries. Default: what is quick.", metavar="NAME,…")]
_Scale = Annotated[
    str | None, typer.Option(help="LR over HR pixel size, 2 to 8. Default: what the grids say.", metavar="N")
]
_Srf = Annotated[
    str | None,
    typer.Option(
        help="Bands of the MSI: sentinel2a:B2,B3,B4,B8, gaussian:490/65,…, or a file. "
        "Default: its own wavelengths, else any band of the cube may be seen.",
        metavar="SRF",
    ),
]
_Degradation = Annotated[
    str | None,
    typer.Option(
        help="How the cube's sensor blurs: mtf:0.3, gaussian:sigma=1.7, …, in HR pixels. "
        "Default: estimated from the two.",
        metavar="PSF",
    ),
]
_Aligned = Annotated[
    bool,
    typer.Option("--assume-aligned", help="Both show exactly the same ground, whatever their georeferencing says."),
]
_Resampling = Annotated[
    str, typer.Option(help="cubic, bilinear or nearest, for an MSI whose pixels do not nest in the cube's.")
]
_Report = Annotated[
    str | None,
    typer.Option(
        help="Write what was found and chosen: .json for programs, .html for a page with pictures.",
        metavar="FILE.json|FILE.html",
    ),
]
_Figure = Annotated[str | None, typer.Option(help="Draw cube, MSI and result side by side.", metavar="FILE.png")]
_Mask = Annotated[
    str | None,
    typer.Option(help="Write where the MSI was used (1) and where the enlarged cube stands (0).", metavar="FILE"),
]
_MsiBands = Annotated[str | None, typer.Option(help="Only these bands of the MSI, counted from 1.", metavar="LIST")]
_MsiDataset = Annotated[str | None, typer.Option(help="Dataset or variable inside the MSI's file.", metavar="NAME")]
_MsiNodata = Annotated[
    str | None, typer.Option(help="Stored number that marks invalid pixels of the MSI.", metavar="V|none")
]
_MsiAxes = Annotated[str | None, typer.Option(help="Axis order of the MSI, a bare array.", metavar="hwc|chw|…")]
_Tile = Annotated[int | None, typer.Option(help="Side of a tile in pixels of the cube.", metavar="N")]


def command(
    cube: _Cube,
    msi: _Msi,
    output: options.Output,
    method: _Method = "auto",
    candidates: _Candidates = None,
    model: _Model = None,
    consistency: _Consistency = None,
    scale: _Scale = None,
    srf: _Srf = None,
    degradation: _Degradation = None,
    assume_aligned: _Aligned = False,
    resampling: _Resampling = "cubic",
    report: _Report = None,
    figure: _Figure = None,
    mask: _Mask = None,
    bands: options.Bands = None,
    dataset: options.Dataset = None,
    axes: options.Axes = None,
    wavelengths: options.Wavelengths = None,
    nodata: options.Nodata = None,
    msi_bands: _MsiBands = None,
    msi_dataset: _MsiDataset = None,
    msi_axes: _MsiAxes = None,
    msi_nodata: _MsiNodata = None,
    tile: _Tile = None,
    memory: options.Memory = "2GiB",
    threads: options.Threads = 0,
    dtype: options.Dtype = "same",
    compress: options.Compress = "none",
    interleave: options.Interleave = None,
    cog: options.Cog = False,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Fuse a cube with a sharper image of the same ground: its bands, the image's pixels, and a report."""
    from hypersharp.fusing import check_fusion_target, prepare_fusion, report_fusion, write_fusion
    from hypersharp.fusion.auto import CANDIDATES
    from hypersharp.io import WriteOptions
    from hypersharp.pipeline import Save, Tiling

    started = time.perf_counter()
    factor = None if scale is None else options.parse_scale(scale)
    tiling = Tiling(tile, options.parse_bytes(memory), threads)
    how = WriteOptions(dtype, compress, interleave, cog, dataset or "cube", threads)
    low = options.open_part(
        cube,
        dataset=dataset,
        axes=axes,
        wavelengths=wavelengths,
        quantity=None,
        nodata=nodata,
        window=None,
        bands=bands,
    )
    high = options.open_part(
        msi,
        dataset=msi_dataset,
        axes=msi_axes,
        wavelengths=None,
        quantity=None,
        nodata=msi_nodata,
        window=None,
        bands=msi_bands,
    )
    coloured = low.bands.wavelength_nm is not None
    _check_outputs(output, report, figure, mask, coloured=coloured, overwrite=overwrite)
    for target in (output, mask):
        if target is not None:
            check_fusion_target(target, low, high, overwrite=overwrite)
    with options.progress_bar("trying methods", quiet=as_json) as progress:
        ready = prepare_fusion(
            low,
            high,
            method=method,
            candidates=CANDIDATES if candidates is None else tuple(part.strip() for part in candidates.split(",")),
            model=model,
            consistency=consistency,
            scale=factor,
            srf=srf,
            degradation=degradation,
            assume_aligned=assume_aligned,
            resampling=resampling,
            tiling=tiling,
            progress=None if progress is None else lambda title: progress,
        )
    with options.progress_bar("fusing", quiet=as_json) as progress:
        write_fusion(ready, output, save=Save(how, overwrite, progress), tiling=tiling)
    facts = {"cube": cube, "msi": msi, "output": output, **ready.report}
    _write_rest(ready, mask=mask, figure=figure, overwrite=overwrite)
    facts["seconds"] = round(time.perf_counter() - started, 3)
    if report is not None:
        report_fusion(ready, report, facts)
    if as_json:
        print(json.dumps(facts))
    else:
        _tell(facts)


def _check_outputs(
    output: str, report: str | None, figure: str | None, mask: str | None, *, coloured: bool, overwrite: bool
) -> None:
    """Refuse files beside the cube that cannot be written, before any work is done."""
    from hypersharp._require import require
    from hypersharp.errors import UsageError
    from hypersharp.fusion.report import check_beside, check_report

    named = [Path(name) for name in (output, report, figure, mask) if name is not None]
    if len({path.resolve() for path in named}) < len(named):
        raise UsageError("expected another name for each of OUT, --report, --figure and --mask, got one twice")
    if report is not None:
        check_report(report, "--report", overwrite=overwrite)
    if figure is not None:
        check_beside(figure, "--figure", (".png",), overwrite=overwrite)
        require("matplotlib", "figures", "drawing a picture")
        if not coloured:
            raise UsageError("a picture needs the cube's wavelengths, and it has none; give them with --wavelengths")


def _write_rest(ready: Fusion, *, mask: str | None, figure: str | None, overwrite: bool) -> None:
    from hypersharp.fusing import draw_fusion
    from hypersharp.io import WriteOptions, write_cube

    if mask is not None:
        write_cube(ready.coverage, mask, overwrite=overwrite, options=WriteOptions(dtype="uint8"))
    if figure is not None:
        draw_fusion(ready, figure)


def _tell(facts: dict[str, Any]) -> None:
    found, bands = facts["calibration"], facts["output_shape"]
    dy, dx = found["shift_yx"]
    tried = facts["choice"]["reduced_test"]
    lines = {
        "output": f"{facts['output']}: {bands[0]} bands, {bands[1]} x {bands[2]} pixels, scale {facts['scale']}",
        "method": f"{facts['method']} ({facts['choice']['reason']})",
        "blur": f"{found['psf_text']} ({found['psf_from']})",
        "shift": f"the cube looks {dy:+.2f} down and {dx:+.2f} right of where the MSI lies, in HR pixels; corrected",
        "response": f"{found['response_from']}; residual to {max(found['response_residual']):.3f} of a band's spread",
    }
    if tried is not None:
        for name, gains in tried["gain_db_over_enlarged"].items():
            told = ", ".join(f"{zone} {'unknown' if v is None else f'{v:+.2f} dB'}" for zone, v in gains.items())
            lines[f"  {name}"] = told
    agrees = facts["consistency"]["cube"]
    if agrees is not None and agrees["rmse_over_noise"] is not None:
        lines["agrees"] = (
            f"with the cube to {agrees['rmse_over_noise']:.2f} times its noise, "
            f"with the MSI to {max(facts['consistency']['msi']['rmse_over_spread_of_band']):.3f} of a band's spread"
        )
    if facts["bands_extrapolated"]:
        lines["beyond"] = f"{len(facts['bands_extrapolated'])} bands that the MSI does not see are extrapolated"
    for name, text in lines.items():
        print(f"{name + ':':<10} {text}")
    for note in facts["notes"]:
        print(f"note: {note}")
