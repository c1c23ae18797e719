"""`hypersharp evaluate REF EST --scale 4`: the scores of an estimate, with the protocol that they were made by."""

from __future__ import annotations

import csv
import json
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypersharp.cli import _options as options
from hypersharp.errors import MissingExtraError, NoDataError, UsageError, WriteError

if TYPE_CHECKING:
    from hypersharp.cube import Cube
    from hypersharp.metrics import Evaluation, Protocol

NAME = "evaluate"


def command(
    reference: Annotated[str, typer.Argument(metavar="REF", help="The true cube.")],
    estimate: Annotated[str, typer.Argument(metavar="EST", help="The cube to score.")],
    scale: Annotated[str, typer.Option(help="HR pixels per LR pixel that the estimate was made with.", metavar="N")],
    protocol: Annotated[str, typer.Option(help="ours, lkca, edlgfs, mcnet, csakd or torchmetrics.")] = "ours",
    compare_protocols: Annotated[
        bool, typer.Option("--compare-protocols", help="The same estimate under every protocol, side by side.")
    ] = False,
    metrics: Annotated[str | None, typer.Option(help="Only these, separated by commas.", metavar="LIST")] = None,
    border: Annotated[int, typer.Option(help="HR pixels to leave out on each side.", min=0)] = 0,
    maps: Annotated[
        str | None, typer.Option(help="Folder for maps of the error, as GeoTIFF and as pictures.", metavar="DIR")
    ] = None,
    bands: options.Bands = None,
    window: options.Window = None,
    dataset: options.Dataset = None,
    axes: options.Axes = None,
    nodata: options.Nodata = None,
    threads: options.Threads = 0,
    as_json: options.Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
) -> None:
    """Score an estimate against its reference; every number carries its definition."""
    from hypersharp.evaluate import evaluate
    from hypersharp.metrics import PROTOCOLS, get_protocol

    factor = options.parse_scale(scale)
    if as_json and as_csv:
        raise UsageError("choose one of --json and --csv")
    chosen = list(PROTOCOLS.values()) if compare_protocols else [get_protocol(protocol)]
    if metrics is not None:
        chosen = [
            _only(each, [name.strip() for name in metrics.split(",")], strict=len(chosen) == 1) for each in chosen
        ]
        chosen = [each for each in chosen if each.records]
    one, other = (
        options.open_part(
            path,
            dataset=dataset,
            axes=axes,
            wavelengths=None,
            quantity=None,
            nodata=nodata,
            window=window,
            bands=bands,
        )
        for path in (reference, estimate)
    )
    with options.progress_bar("scoring", quiet=as_json or as_csv) as progress:
        results = evaluate(
            one, other, chosen, scale=factor, border=border, workers=threads or (os.cpu_count() or 1), progress=progress
        )
    if maps is not None:
        _write_maps(one, other, chosen, factor, Path(maps))
    if as_json:
        plain = [result.to_dict() for result in results]
        print(json.dumps({"protocols": plain} if compare_protocols else plain[0]))
    elif as_csv:
        _print_csv(results, one)
    else:
        _print_table(results)


def _only(protocol: Protocol, names: list[str], *, strict: bool) -> Protocol:
    known = {record.metric for record in protocol.records}
    return protocol.only(names if strict else [name for name in names if name in known])


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _print_csv(results: list[Evaluation], reference: Cube) -> None:
    """A row for each metric, then one for each of its bands; `band` counts from 1 and is empty for the whole cube."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    fields = ["peak", "peak_value", "normalise", "divisor", "window", "ratio", "scale", "border", "clip", "reduction"]
    out.writerow(["protocol", "metric", "band", "wavelength_nm", "value", *fields])
    wavelengths = reference.bands.wavelength_nm
    for result in results:
        for record in result.protocol.records:
            how = [record.to_dict()[field] for field in fields]
            score = result.scores[record.metric].to_dict()
            out.writerow([result.protocol.name, record.metric, "", "", score["value"], *how])
            per_band = score["per_band"]
            for band, value in enumerate(per_band if isinstance(per_band, list) else []):
                place = (
                    "" if wavelengths is None or wavelengths[band] != wavelengths[band] else f"{wavelengths[band]:g}"
                )
                out.writerow([result.protocol.name, record.metric, band + 1, place, value, *how])


def _print_table(results: list[Evaluation]) -> None:
    names = list(dict.fromkeys(name for result in results for name in result.scores))
    width = max(len(result.protocol.name) for result in results)
    print(f"{'':<20}" + "".join(f"{result.protocol.name:>{width + 6}}" for result in results))
    for name in names:
        cells = (_text(result.scores[name].value) if name in result.scores else "" for result in results)
        print(f"{name:<20}" + "".join(f"{cell:>{width + 6}}" for cell in cells))
    for result in results:
        peaks = {str(r.to_dict()["peak"]) for r in result.protocol.records if r.peak != "none"}
        print(
            f"{result.protocol.name}: {result.protocol.source}"
            + (f"; peak {', '.join(sorted(peaks))}" if peaks else "")
        )
        for text, metrics in _remarks(result).items():
            print(f"  {text} ({', '.join(metrics)})")


def _remarks(result: Evaluation) -> dict[str, list[str]]:
    """What was left out or is not defined, with the metrics that it is true of."""
    remarks: dict[str, list[str]] = {}
    for name, score in result.scores.items():
        texts = [f"{n} {what.replace('_', ' ')}" for what, n in score.counts.items() if "excluded" in what and n]
        for text in [*texts, *([score.note] if score.note else [])]:
            remarks.setdefault(text, []).append(name)
    return remarks


def _write_maps(reference: Cube, estimate: Cube, protocols: list[Protocol], scale: int, folder: Path) -> None:
    """A GeoTIFF and, where matplotlib is installed, a picture for each metric that has a map."""
    import numpy as np

    from hypersharp.cube import Bands, Cube
    from hypersharp.evaluate import error_map
    from hypersharp.figures import draw_map
    from hypersharp.io import WriteOptions, write_cube
    from hypersharp.metrics import list_metrics

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot make the folder {str(folder)!r} ({error.strerror or error})") from None
    known, missing = list_metrics(), ""
    for protocol in protocols:
        for name in [record.metric for record in protocol.records if known[record.metric].pixel_map is not None]:
            plane: Any = np.full((1, *reference.shape[1:]), np.nan, dtype=np.float32)
            for row, col, part in error_map(name, reference, estimate, protocol, scale=scale):
                plane[0, row : row + part.shape[0], col : col + part.shape[1]] = part
            stem = name if len(protocols) == 1 else f"{protocol.name}_{name}"
            cube = Cube.from_array(plane, bands=Bands(1, name=(name,)), grid=reference.grid)
            write_cube(cube, folder / f"{stem}.tif", overwrite=True, options=WriteOptions(compress="deflate"))
            try:
                label = f"{name} ({known[name].units})" if known[name].units else name
                draw_map(plane[0], folder / f"{stem}.png", title=f"{name}, {protocol.name}", label=label)
            except MissingExtraError as error:
                missing = str(error)
            except NoDataError:
                continue  # no pixel has a value: the GeoTIFF says so too
    if missing:
        warnings.warn(f"maps are written, pictures are not: {missing}", stacklevel=2)
