"""The report of a fusion as one page: HTML and CSS of our own, pictures inside of it, nothing fetched from anywhere.

Every number on it is one of the facts that the JSON report holds, in the same digits; the facts stand at its end.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hypersharp._require import require
from hypersharp.cube import Bands, Cube
from hypersharp.errors import NoDataError
from hypersharp.figures.side_by_side import FALSE_COLOUR_NM, NATURAL_NM, side_by_side
from hypersharp.fusion.report import ranges_of

if TYPE_CHECKING:
    from hypersharp.fusion.calibrate import Calibrated
    from hypersharp.io.warp import Nested

__all__ = ["FusionPanels", "fusion_page", "fusion_panels"]

PAGE_PX = 320
"""Rows and columns of the result that the page shows at most: three such pictures fit a screen unscaled."""

_WIDTH_PX = 960  # of the pictures together, at least; small scenes are enlarged to it
_NEAR_NM = 60.0  # how far a band may lie from a colour and still be shown as it
_DPI = 100
_PLOT = (9.6, 3.4)  # inches
_GAP = 3.0  # median spacings; where bands lie farther apart, a response is not drawn across
_LINES = ("-", "--", "-.", ":")
_GREYS = ("0", "0.4", "0.6")
_STYLE = """
:root { color-scheme: light; }
body { max-width: 62rem; margin: 1.5rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif; color: #111;
  background: #fff; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2rem; border-bottom: 1px solid #888; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border: 1px solid #999; padding: .2rem .6rem; text-align: left; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; }
code, pre { font-family: monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
pre { max-height: 30rem; overflow: auto; border: 1px solid #999; padding: .5rem; }
"""


@dataclass(frozen=True, eq=False)
class FusionPanels:
    """The same piece of the cube, the MSI and the result, each in three bands.

    Attributes:
        columns: title and cube of each, with `NATURAL_NM` for wavelengths, as `side_by_side` takes them.
        words: which bands and which pixels are shown.
        note: how.
    """

    columns: tuple[tuple[str, Cube], ...]
    words: str
    note: str = "the MSI is shown in the cube's units; all three are stretched alike"


def fusion_panels(
    nested: Nested, calibrated: Calibrated, *, fused: Cube, live: NDArray[np.intp], title: str, most_px: int
) -> FusionPanels:
    """Read a piece of a pair and of what was made of it.

    Of nine pieces that of most contrast is taken, counted by how much of both images is valid in it; of equal ones the
    middle. Bands are those of natural colours, else of false colours, else three spread over all.

    Args:
        nested: the pair.
        calibrated: its gains bring the MSI to the cube's units.
        fused: the result.
        live: `(C',)` bands that were fused.
        title: of the result.
        most_px: rows and columns of the result that are read at most.
    """
    bands, colours = _colours(nested.lr.bands, live)
    rows, cols = _piece(nested, bands[0], most_px)
    fine = tuple(slice(part.start * nested.scale, part.stop * nested.scale) for part in (rows, cols))
    found, gain = calibrated.calibration, calibrated.gain
    waves = nested.lr.bands.wavelength_nm
    axis = np.arange(len(live)) if waves is None or not np.isfinite(waves[live]).all() else waves[live]
    centre = np.where(gain > 0, found.srf @ axis / np.where(gain > 0, gain, 1), np.inf)
    nearest = [int(np.abs(centre - axis[np.searchsorted(live, band)]).argmin()) for band in bands]
    seen, _ = nested.msi.read(nearest, *fine)
    at = np.s_[nearest, None, None]
    in_units = (seen - found.offset[at]) / np.where(gain > 0, gain, 1)[at]
    shown = ("cube", nested.lr.read(bands, rows, cols)[0]), ("MSI", in_units), (title, fused.read(bands, *fine)[0])
    three = Bands(3, wavelength_nm=np.array(NATURAL_NM))
    top, left = (part.start for part in fine)
    return FusionPanels(
        tuple((name, Cube.from_array(np.asarray(values), bands=three)) for name, values in shown),
        f"{colours}: bands {', '.join(str(band + 1) for band in bands)} as red, green and blue; rows {top + 1} to "
        f"{fine[0].stop} and columns {left + 1} to {fine[1].stop} of the result",
    )


def _colours(bands: Bands, live: NDArray[np.intp]) -> tuple[list[int], str]:
    """Bands for red, green and blue among those that were fused, and what such colours are called."""
    if bands.wavelength_nm is not None:
        waves = np.nan_to_num(bands.wavelength_nm[live], nan=np.inf)
        for colours, words in ((NATURAL_NM, "natural colours"), (FALSE_COLOUR_NM, "false colours, near infrared red")):
            apart = np.abs(waves - np.array(colours)[:, None])
            if apart.min(axis=1).max() <= _NEAR_NM:
                return [int(live[at]) for at in apart.argmin(axis=1)], words
    return [int(live[len(live) * part // 6]) for part in (5, 3, 1)], "three bands spread over those that were fused"


def _piece(nested: Nested, band: int, most_px: int) -> tuple[slice, slice]:
    """Rows and columns of the cube."""

    def spans(length: int) -> list[slice]:
        side = min(length, max(1, most_px // nested.scale))
        return [slice(at, at + side) for at in dict.fromkeys(((length - side) // 2, 0, length - side))]

    height, width = nested.lr.shape[1:]
    pieces = list(itertools.product(spans(height), spans(width)))
    return pieces[0] if len(pieces) == 1 else max(pieces, key=lambda piece: _contrast(nested, band, piece))


def _contrast(nested: Nested, band: int, piece: tuple[slice, slice]) -> float:
    values, valid = nested.lr.read([band], *piece)
    if not valid.any():
        return 0.0
    fine = (slice(part.start * nested.scale, part.stop * nested.scale) for part in piece)
    return float(values[valid].std() * valid.mean() * nested.msi.read([0], *fine)[1].mean())


def fusion_page(facts: Mapping[str, Any], panels: FusionPanels) -> str:
    """A whole HTML document of a fusion.

    Args:
        facts: those of the JSON report; with ``cube``, ``msi`` and ``output``, file names, where there are files.
        panels: what is pictured.

    Raises:
        MissingExtraError: matplotlib is not installed.
        WriteError: the pictures cannot be drawn for want of space.
    """
    names = [Path(facts[key]).name for key in ("cube", "msi") if facts.get(key)]
    title = f"Fusion of {' and '.join(names)}" if len(names) == 2 else "Fusion"
    sections = (
        _section("In short", _headline(facts)),
        _section("To note", _notes(facts["notes"])),
        _section("The same piece of all three", _pictures(facts, panels)),
        _section("Why this method", _scores(facts["choice"])),
        _section("What relates the two images", _calibration(facts)),
        _section("Consistency with both images", _consistency(facts["consistency"])),
        _section("Bands", _bands(facts)),
        _section("Line in the history of the result", f"<p><code>{_e(facts['history'])}</code></p>\n"),
        _section("All facts", _everything(facts)),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{_e(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{_e(title)}</h1>\n"
        f"{''.join(sections)}<p>hypersharp {_e(facts['hypersharp'])}</p>\n</body>\n</html>\n"
    )


def _headline(facts: Mapping[str, Any]) -> str:
    count, height, width = facts["output_shape"]
    rows = [(name, facts.get(key)) for name, key in (("Cube", "cube"), ("MSI", "msi"), ("Result", "output"))]
    rows += [
        ("Size of the result", f"{count} bands, {height} x {width} pixels"),
        ("Scale", f"{_n(facts['scale'])} pixels of the MSI along one of the cube"),
        ("Grids", _grids(facts)),
        ("Method", facts["method"]),
        ("Why", facts["choice"]["reason"]),
    ]
    if "seconds" in facts:
        rows.append(("Time taken", f"{_n(facts['seconds'])} s"))
    return _pairs((name, "in memory, no file" if said is None else said) for name, said in rows)


def _grids(facts: Mapping[str, Any]) -> str:
    (top, bottom), (left, right) = facts["cube_rows"], facts["cube_cols"]
    used = f"rows {top + 1} to {bottom} and columns {left + 1} to {right} of the cube are covered"
    off = facts["msi_offset_yx"]
    if off is None:
        off_words = "its grid lies differently to the cube's from place to place"
    elif any(off):
        off_words = f"its pixels lie {_n(off[0])} down and {_n(off[1])} right of where they would nest, in HR pixels"
    else:
        off_words = "its pixels nest in the cube's"
    kernel = facts["msi_resampling"]
    return f"the MSI was {'cut out' if kernel == 'none' else f'resampled ({kernel})'}, {off_words}; {used}"


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return "<p>Nothing to warn of.</p>\n"
    return f"<ul>\n{''.join(f'<li>{_e(note)}</li>{chr(10)}' for note in notes)}</ul>\n"


def _pictures(facts: Mapping[str, Any], panels: FusionPanels) -> str:
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = side_by_side(panels.columns, Path(folder) / "panels.png", least_width_px=_WIDTH_PX)
            png = path.read_bytes()
    except NoDataError as error:
        return f"<p>There is no picture: {_e(error)}.</p>\n"
    titles = ", ".join(name for name, _ in panels.columns)
    order = f"From left to right: {titles}"
    return _figure(png, alt=order, caption=f"{order}; {panels.words}; {panels.note}.")


def _scores(choice: Mapping[str, Any]) -> str:
    zones, tried = choice["methods"], choice["reduced_test"]
    heads = [f"{zone} ({_n(choice['bands_of_zone'][zone])} bands)" for zone in zones]
    if tried is None:
        table = _table("Method of each zone of bands", ["", *heads], [["chosen", *zones.values()]])
        return f"<p>No candidates were compared: {_e(choice['reason'])}.</p>\n{table}"
    gains = {name: [row[zone] for zone in zones] for name, row in tried["gain_db_over_enlarged"].items()}
    gains.setdefault("exp", [0] * len(zones))  # what all are compared with, and chosen where none is better
    rows = []
    for name, row in gains.items():
        cells = ["unknown" if gain is None else _n(gain) for gain in row]
        chosen = [method == name for method in zones.values()]
        rows.append([name, *(f"{cell} ◄ chosen" if own else cell for cell, own in zip(cells, chosen, strict=True))])
    caption = f"Gain over the enlarged cube (exp) in dB, one scale down (ratio {_n(tried['ratio'])}), by zone of bands"
    return (
        f"<p>{_e(choice['reason'])}.</p>\n{_table(caption, ['method', *heads], rows)}"
        "<p>Where the truth is known, one scale down, these rank the methods; they do not say how good the result is. "
        "In a zone another method must be clearly better than the best over all bands, and one that takes many passes "
        "clearly better than one that takes few.</p>\n"
    )


def _calibration(facts: Mapping[str, Any]) -> str:
    found = facts["calibration"]
    (dy, dx), (coarse_y, coarse_x), fit = found["shift_yx"], found["coarse_shift_yx"], found["fit"]
    noise = found["noise_cube"]
    rows = [
        ("Blur from MSI to cube", f"{found['psf_text']} ({found['psf_from']})"),
        ("Shift", f"the cube looks {_n(dy)} down, {_n(dx)} right of where the MSI lies, in HR pixels; corrected"),
        ("of which by phase correlation", f"{_n(coarse_y)} down, {_n(coarse_x)} right"),
        ("Response restricted by", found["response_from"]),
        (
            "Noise of the cube's bands",
            f"{_n(min(noise))} to {_n(max(noise))}, middle one {_n(statistics.median_low(noise))}, in its units",
        ),
    ]
    if fit is None:
        rows.append(("Joint fit of blur and shift", "not possible"))
    else:
        said = f"sigma {_n(fit['sigma'])} HR pixels; misfit {_n(fit['misfit'])}, without a shift "
        rows.append(("Joint fit of blur and shift", f"{said}{_n(fit['misfit_without_shift'])}"))
        if fit["doubt"]:
            rows.append(("Doubt", fit["doubt"]))
    columns = (found["gain"], found["offset"], found["response_residual"], found["noise_msi"])
    table = _table(
        "Bands of the MSI, in order of the file",
        ["band", "gain (MSI units per unit of the cube)", "offset", "residual, share of spread", "noise"],
        [[str(at + 1), *map(_n, row)] for at, row in enumerate(zip(*columns, strict=True))],
    )
    plot = _figure(
        _responses_png(facts),
        alt="Fitted response of each MSI band over the cube's bands",
        caption="Fitted response of each band of the MSI, divided by its gain; numbers are the bands of the MSI. "
        "Hatched: bands of the cube that no band of the MSI sees.",
    )
    return f"{_pairs(rows)}{table}{plot}"


def _consistency(found: Mapping[str, Any]) -> str:
    cube, msi = found["cube"], found["msi"]
    if cube is None or msi is None:
        return "<p>Not tested: no pixel is valid far enough from the border.</p>\n"
    over, missed = cube["rmse_over_noise"], msi["rmse_over_spread_of_band"]
    said = "unknown" if over is None else f"{_n(over)} times its noise (RMSE, middle band)"
    pairs = _pairs(
        [
            ("Degraded in space, against the cube", f"{said}; mean spectral angle {_n(cube['sam_deg'])} degrees"),
            ("Degraded in spectrum, against the MSI", f"at most {_n(max(missed))} of a band's spread (RMSE)"),
            ("Windows tested", _n(found["windows"])),
        ]
    )
    heads = ["band of the MSI", *(str(at + 1) for at in range(len(missed)))]
    table = _table("Against each band of the MSI", heads, [["RMSE over its spread", *map(_n, missed)]])
    return f"{pairs}{table}<p>Agreement is necessary and proves nothing: a wrong cube can have it.</p>\n"


def _bands(facts: Mapping[str, Any]) -> str:
    beyond, plain = facts["bands_extrapolated"], facts["bands_enlarged_only"]
    return _pairs(
        [
            ("Fused", _n(facts["bands_fused"])),
            ("Extrapolated, as no band of the MSI sees them", f"{len(beyond)}: {_listed(beyond)}" if beyond else "0"),
            ("Only enlarged, as dead or flagged as bad", f"{len(plain)}: {_listed(plain)}" if plain else "0"),
        ]
    )


def _everything(facts: Mapping[str, Any]) -> str:
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items())
    return f"<details>\n<summary>As JSON</summary>\n<pre>{{\n{_e(lines)}\n}}</pre>\n</details>\n"


def _responses_png(facts: Mapping[str, Any]) -> bytes:
    """Responses over wavelength, or over band numbers where no wavelengths are known; told apart without colour."""
    figure_of = require("matplotlib.figure", "figures", "a report with pictures").Figure
    canvas_of = require("matplotlib.backends.backend_agg", "figures", "a report with pictures").FigureCanvasAgg
    figure = figure_of(figsize=_PLOT, dpi=_DPI, facecolor="white", layout="constrained")
    canvas_of(figure)
    axes = figure.add_subplot()
    numbers = np.setdiff1d(np.arange(1, facts["output_shape"][0] + 1), facts["bands_enlarged_only"])
    waves, found = facts["fused_wavelength_nm"], facts["calibration"]
    by_number = waves is None or None in waves
    place = np.asarray(numbers if by_number else waves, dtype=np.float64)
    order = np.argsort(place, kind="stable")
    across = np.diff(place[order])
    step = float(np.median(across)) if across.size else 1.0
    cuts = np.flatnonzero(across > _GAP * step) + 1
    styles = itertools.cycle(itertools.product(_GREYS, _LINES))
    for at, (row, gain) in enumerate(zip(found["response"], found["gain"], strict=True)):
        grey, line = next(styles)
        shares = np.asarray(row)[order] / (gain if gain > 0 else 1.0)
        xs, ys = np.insert(place[order], cuts, np.nan), np.insert(shares, cuts, np.nan)
        marked = np.flatnonzero(ys > 0).tolist()
        axes.plot(xs, ys, color=grey, linestyle=line, linewidth=1.2, marker=".", markersize=3, markevery=marked)
        peak = int(shares.argmax())
        axes.annotate(str(at + 1), (place[order][peak], shares[peak]), (0, 4), textcoords="offset points", ha="center")
    for band in np.flatnonzero(np.isin(numbers, facts["bands_extrapolated"])):
        left, right = place[band] - step / 2, place[band] + step / 2
        axes.axvspan(left, right, facecolor="none", edgecolor="0.8", hatch="///", linewidth=0, zorder=0)
    axes.margins(y=0.12)
    axes.set_xlabel("number of the cube's band" if by_number else "wavelength of the cube's band (nm)")
    axes.set_ylabel("share of the response")
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=_DPI, metadata={"Software": None})
    return held.getvalue()


def _section(title: str, inside: str) -> str:
    return f"<section>\n<h2>{_e(title)}</h2>\n{inside}</section>\n"


def _pairs(rows: Iterable[tuple[str, Any]]) -> str:
    lines = "".join(f'<tr><th scope="row">{_e(name)}</th><td>{_e(said)}</td></tr>\n' for name, said in rows)
    return f"<table>\n{lines}</table>\n"


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{_e(name)}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{_e(row[0])}</th>{"".join(f"<td class=n>{_e(cell)}</td>" for cell in row[1:])}</tr>\n'
        for row in rows
    )
    return f"<table>\n<caption>{_e(caption)}</caption>\n<tr>{head}</tr>\n{body}</table>\n"


def _figure(png: bytes, *, alt: str, caption: str) -> str:
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return f'<figure>\n<img src="{source}" alt="{_e(alt)}">\n<figcaption>{_e(caption)}</figcaption>\n</figure>\n'


def _listed(numbers: Sequence[int]) -> str:
    return ranges_of(np.asarray(numbers, dtype=np.intp))


def _n(value: float) -> str:
    """A number in the digits of the JSON report."""
    return json.dumps(value)


def _e(text: object) -> str:
    return escape(str(text))
