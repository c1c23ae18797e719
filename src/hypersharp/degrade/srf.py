"""The spectral response of a multispectral sensor: the text of `--srf`, and its matrix over a cube's bands.

Tables of known sensors lie in `srf_tables/`, each with its source and licence.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp._nearest import nearest
from hypersharp.cube import Bands
from hypersharp.errors import FileFormatError, UsageError

__all__ = ["MIN_COVERAGE", "Response", "Srf", "SrfMatrix", "parse_srf", "sensors", "srf_matrix", "super_gaussian"]

Floats = NDArray[np.float64]

MIN_COVERAGE = 0.5
"""Share of a response that the cube's bands must hold; a band with less is refused."""

_ALIASES = {"sentinel2": "sentinel2a"}
_FILE_ENDINGS = (".csv", ".txt", ".json")
_CUT = 1e-3  # of a super-Gaussian's peak; beyond it the response counts as none
_SHAPES = {"gaussian": 2.0, "supergaussian": 6.0}


@dataclass(frozen=True, eq=False)
class Response:
    """Relative response of one band: linear between the samples, none outside.

    Attributes:
        name: of the band.
        wavelength_nm: `(n,)` increasing.
        response: `(n,)`, not negative.
    """

    name: str
    wavelength_nm: Floats
    response: Floats

    def __post_init__(self) -> None:
        """Refuse samples that make no response."""
        x, y = (np.array(v, dtype=np.float64) for v in (self.wavelength_nm, self.response))
        if x.ndim != 1 or x.shape != y.shape or x.size < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise UsageError(f"SRF band {self.name}: expected at least two pairs of finite wavelength and response")
        if (np.diff(x) <= 0).any() or x[0] <= 0 or (y < 0).any() or not (y > 0).any():
            raise UsageError(f"SRF band {self.name}: expected increasing wavelengths and responses of at least 0")
        object.__setattr__(self, "wavelength_nm", x)
        object.__setattr__(self, "response", y)

    def integral(self, low_nm: Floats, high_nm: Floats) -> Floats:
        """Exact integral of the response from `low_nm` to `high_nm`, `(n,)` each."""
        x, y = self.wavelength_nm, self.response
        steps = np.concatenate([[0.0], np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2)])

        def up_to(at: Floats) -> Floats:
            at = np.clip(at, x[0], x[-1])
            left = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
            return np.asarray(steps[left] + (at - x[left]) * (y[left] + np.interp(at, x, y)) / 2)

        return up_to(high_nm) - up_to(low_nm)

    @property
    def centre_nm(self) -> float:
        """Mean wavelength, weighted by the response."""
        x, y = self.wavelength_nm, self.response
        return float((np.diff(x) * (x[1:] * y[1:] + x[:-1] * y[:-1])).sum() / (np.diff(x) * (y[1:] + y[:-1])).sum())

    @property
    def fwhm_nm(self) -> float:
        """Distance between the outermost points at half of the peak."""
        x, y = self.wavelength_nm, self.response
        half = y.max() / 2
        above = np.flatnonzero(y >= half)
        first, last = above[0], above[-1]
        low = x[first] if first == 0 else np.interp(half, y[first - 1 : first + 1], x[first - 1 : first + 1])
        high = x[last] if last == len(x) - 1 else np.interp(-half, -y[last : last + 2], x[last : last + 2])
        return float(high - low)


@dataclass(frozen=True, eq=False)
class Srf:
    """The responses of one sensor's bands.

    Attributes:
        text: what `parse_srf` reads back to the same responses.
        source: where the numbers come from, with their licence.
        responses: one for each band of the MSI.
        file: the file that holds them, if the user gave one.
    """

    text: str
    source: str
    responses: tuple[Response, ...]
    file: str | None = None

    def __str__(self) -> str:
        """The text that `parse_srf` reads back."""
        return self.text


@dataclass(frozen=True, eq=False)
class SrfMatrix:
    """An SRF over the bands of one cube.

    Attributes:
        weights: `(C_msi, C_hsi)` float64, each row summing to 1.
        coverage: `(C_msi,)`, the share of each response's integral that the cube's bands hold.
    """

    weights: Floats
    coverage: Floats


def super_gaussian(name: str, centre_nm: float, fwhm_nm: float, order: float = 2.0) -> Response:
    """The response exp(-ln 2 · |2(λ - centre) / fwhm|^order): 1 at the centre, one half at half the width.

    Args:
        name: of the band.
        centre_nm: centre wavelength.
        fwhm_nm: full width at half maximum.
        order: 2 for a Gaussian; larger for flatter tops and steeper edges.

    Raises:
        UsageError: numbers that make no response.
    """
    numbers = (centre_nm, fwhm_nm, order)
    if not all(np.isfinite(v) and v > 0 for v in numbers) or order < 1:
        raise UsageError(f"SRF band {name}: expected a centre and width above 0 in nm, got {centre_nm:g}/{fwhm_nm:g}")
    reach = (-np.log(_CUT) / np.log(2)) ** (1 / order)
    at = np.linspace(-reach, reach, 801)
    return Response(name, centre_nm + at * fwhm_nm / 2, np.exp(-np.log(2) * np.abs(at) ** order))


@cache
def sensors() -> Mapping[str, str]:
    """Names of the sensors that have a table, each with what it is and where its numbers come from."""
    found = {}
    for entry in sorted(files("hypersharp.degrade").joinpath("srf_tables").iterdir(), key=lambda item: item.name):
        table = json.loads(entry.read_text(encoding="utf-8"))
        found[entry.name.removesuffix(".json")] = f"{table['title']} ({table['kind']}): {_source(table)}"
    return found


def parse_srf(text: str) -> Srf:
    """Read the text of `--srf`.

    Args:
        text: a sensor with or without a list of its bands (`sentinel2a`, `sentinel2a:B2,B3,B4,B8`);
            `gaussian:CENTRE/FWHM,…` or `supergaussian:CENTRE/FWHM,…` in nm; or a file: `.csv` or `.txt` with
            wavelengths in nm in its first column and a band in each other one, names in its first row, or `.json` of
            the form of our tables.

    Raises:
        UsageError: for anything else.
        FileFormatError: the file is no such table.
    """
    given = text.strip()
    head, _, rest = given.partition(":")
    name = head.strip().lower()
    name = _ALIASES.get(name, name)
    if name in _SHAPES:
        return _from_widths(name, rest)
    if name in sensors():
        table = json.loads(files("hypersharp.degrade").joinpath("srf_tables", f"{name}.json").read_text("utf-8"))
        chosen = [part.strip() for part in rest.split(",")] if rest else table["default"]
        return Srf(f"{name}:{','.join(chosen)}", _source(table), _choose(_of_table(table, name), chosen, name))
    if Path(given).suffix.lower() in _FILE_ENDINGS:
        return _from_file(Path(given), given)
    known = (*sensors(), *_ALIASES, *_SHAPES)
    raise UsageError(
        f"expected an SRF as {', '.join(sensors())}, gaussian:CENTRE/FWHM,… or a file {'|'.join(_FILE_ENDINGS)},"
        f" got {text!r}{nearest(name, known)}"
    )


def _source(table: Mapping[str, Any]) -> str:
    return f"{table['source']}; {table['through']}; {table['licence']}"


def _choose(responses: Iterable[Response], chosen: list[str], name: str) -> tuple[Response, ...]:
    by_name = {response.name.lower(): response for response in responses}
    for band in chosen:
        if band.lower() not in by_name:
            known = ", ".join(response.name for response in by_name.values())
            raise UsageError(f"{name} has the bands {known}, got {band!r}")
    return tuple(by_name[band.lower()] for band in chosen)


def _of_table(table: Mapping[str, Any], name: str) -> list[Response]:
    try:
        return [_of_entry(band) for band in table["bands"]]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise FileFormatError(f"{name}: expected an SRF table of named bands, got {error!r}") from None


def _of_entry(band: Mapping[str, Any]) -> Response:
    if "centre_nm" in band:
        return super_gaussian(str(band["name"]), band["centre_nm"], band["fwhm_nm"], band["order"])
    response = np.array(band["response"], dtype=np.float64)
    return Response(str(band["name"]), band["start_nm"] + band["step_nm"] * np.arange(len(response)), response)


def _from_widths(shape: str, rest: str) -> Srf:
    responses, texts = [], []
    for part in rest.split(","):
        centre, slash, width = part.partition("/")
        try:
            numbers = float(centre), float(width)
        except ValueError:
            slash = ""
            numbers = 0.0, 0.0
        if not slash:
            raise UsageError(f"expected {shape}:CENTRE/FWHM,… in nm, such as {shape}:490/65,560/36, got {part!r}")
        texts.append(f"{numbers[0]:g}/{numbers[1]:g}")
        responses.append(super_gaussian(f"{numbers[0]:g} nm", *numbers, _SHAPES[shape]))
    order = "" if shape == "gaussian" else f" of order {_SHAPES[shape]:g}"
    return Srf(f"{shape}:{','.join(texts)}", f"{shape}{order} by centre and FWHM", tuple(responses))


def _from_file(path: Path, text: str) -> Srf:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path.name}: expected a readable SRF table ({error})") from None
    if path.suffix.lower() == ".json":
        try:
            table = json.loads(content)
        except ValueError as error:
            raise FileFormatError(f"{path.name}: expected JSON, got {error}") from None
        if not isinstance(table, dict):
            raise FileFormatError(f"{path.name}: expected a JSON object with a list called bands")
        responses = _of_table(table, path.name)
        return Srf(text, str(table.get("source", path.name)), tuple(responses), file=text)
    lines = [line for line in content.splitlines() if line.strip() and not line.startswith("#")]
    rows = list(csv.reader(lines)) if any("," in line for line in lines) else [line.split() for line in lines]
    try:
        numbers = np.array([[float(cell) for cell in row] for row in rows[1:]], dtype=np.float64)
    except ValueError:
        raise FileFormatError(f"{path.name}: expected one row of names, then rows of numbers of one length") from None
    if numbers.ndim != 2 or numbers.shape[0] < 2 or numbers.shape[1] < 2 or len(rows[0]) != numbers.shape[1]:
        raise FileFormatError(f"{path.name}: expected a row of names, wavelengths in nm first, then a column a band")
    if numbers[:, 0].max() < 100:
        raise UsageError(f"{path.name}: wavelengths must be in nm, got up to {numbers[:, 0].max():g}")
    names = [cell.strip() for cell in rows[0][1:]]
    return Srf(
        text,
        path.name,
        tuple(Response(name, numbers[:, 0], numbers[:, at + 1]) for at, name in enumerate(names)),
        file=text,
    )


def srf_matrix(srf: Srf, bands: Bands) -> SrfMatrix:
    """The weights with which a cube's bands make the bands of an MSI.

    Each good band stands for a cell of wavelengths that reaches half-way to its neighbours in wavelength, and no
    further than the larger of its FWHM and the median spacing: what lies in a wider gap is nobody's. Its weight is the
    integral of the response over its cell. Bands need no order; where detectors overlap, they share.

    Args:
        srf: the responses.
        bands: of the cube, with wavelengths.

    Returns:
        Weights `(C_msi, C_hsi)`, rows summing to 1, and the coverage of each row.

    Raises:
        UsageError: no wavelengths, or bands of the MSI of which the cube holds less than half.
    """
    if bands.wavelength_nm is None:
        raise UsageError("an MSI needs the cube's wavelengths and the file has none: give them with --wavelengths FILE")
    usable = np.flatnonzero(bands.good & np.isfinite(bands.wavelength_nm))
    if usable.size == 0:
        raise UsageError("an MSI needs good bands with wavelengths, and the cube has none")
    low, high = _cells(bands, usable)
    weights = np.zeros((len(srf.responses), bands.count))
    coverage = np.zeros(len(srf.responses))
    for row, response in enumerate(srf.responses):
        held = response.integral(low, high)
        coverage[row] = held.sum() / response.integral(np.array([0.0]), np.array([np.inf]))[0]
        if coverage[row] >= MIN_COVERAGE:
            weights[row, usable] = held / held.sum()
    if (coverage < MIN_COVERAGE).any():
        raise _unsupported(srf, coverage, bands)
    return SrfMatrix(weights, coverage)


def _cells(bands: Bands, usable: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Lowest and highest wavelength of the cell of each usable band."""
    assert bands.wavelength_nm is not None
    centre = bands.wavelength_nm[usable]
    width = np.zeros(len(usable)) if bands.fwhm_nm is None else np.nan_to_num(bands.fwhm_nm[usable])
    order = np.argsort(centre, kind="stable")
    gaps = np.diff(centre[order])
    spacing = float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else float(width.max()) or 1.0
    reach = np.maximum(width, spacing)[order]
    outer = np.array([spacing / 2])
    below, above = np.concatenate([outer, gaps / 2]), np.concatenate([gaps / 2, outer])
    low, high = np.empty(len(usable)), np.empty(len(usable))
    low[order] = centre[order] - np.minimum(below, reach)
    high[order] = centre[order] + np.minimum(above, reach)
    return low, high


def _unsupported(srf: Srf, coverage: Floats, bands: Bands) -> UsageError:
    assert bands.wavelength_nm is not None
    pairs = list(zip(srf.responses, coverage, strict=True))
    lost = ", ".join(f"{r.name} ({r.centre_nm:.0f} nm, {c:.0%})" for r, c in pairs if c < MIN_COVERAGE)
    kept = ",".join(r.name for r, c in pairs if c >= MIN_COVERAGE)
    head = srf.text.partition(":")[0]
    hint = f"; choose {head}:{kept}" if kept and head in sensors() else ""
    known = bands.wavelength_nm[np.isfinite(bands.wavelength_nm)]
    return UsageError(
        f"the cube's good bands ({known.min():.0f} to {known.max():.0f} nm) hold less than {MIN_COVERAGE:.0%} of the"
        f" response of {lost}{hint}"
    )
