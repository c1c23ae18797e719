"""What a GeoTIFF says of its bands in GDAL's metadata tags, both ways; text only, no GDAL.

Written: plain `wavelength`, `wavelength_units`, `fwhm` and `bbl` per band as GDAL's ENVI driver and EnMAP name them, in
full precision, and the same rounded to 6 decimals of a micrometre in GDAL's `IMAGERY` domain. Read: these, and
wavelengths in band descriptions.

- Plain tags win. `IMAGERY` values may differ by rounding (1 nm); by more, the file contradicts itself: an error.
- Wavelengths without a unit are told by their size, and the history says so. Where that fails, or the unit is not one
  of length, they stay attributes: none is invented.
- Other tags of a band become one attribute `bands_<tag>`, a JSON list; band statistics are dropped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Bands, Cube
from hypersharp.errors import AmbiguousError, FileFormatError
from hypersharp.io.lengths import NANOMETRES, factor_by_size

OWN = "hypersharp_"
HISTORY, QUANTITY, NODATA, ATTRS = OWN + "history", OWN + "quantity", OWN + "nodata", OWN + "attrs"

_IN_DESCRIPTION = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)\s*(nanomet(?:er|re)s?|nm|micromet(?:er|re)s?|microns?|um|µm|μm)(?!\w)", re.IGNORECASE
)
_PLAIN_KEY = re.compile(r"[a-z][a-z0-9_.-]*")
_TEXT_FIELDS = ("documentname", "imagedescription", "software", "datetime", "artist", "hostcomputer", "copyright")
_NOT_ATTRS = {"area_or_point", *(f"tifftag_{axis}resolution" for axis in "xy"), "tifftag_resolutionunit"}
_ROUNDING_NM = 1.0

Tags = Mapping[str, str]


@dataclass(frozen=True)
class BandTags:
    """What a file says of one band: its plain tags and those of the `IMAGERY` domain, and its description."""

    plain: Tags
    imagery: Tags
    description: str


def survives(text: str) -> bool:
    """Whether GDAL's metadata give a text back as it was: no blank start, no control characters, not empty."""
    return bool(text) and text == text.lstrip() and not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", text)


def band_tags(bands: Bands, band: int) -> BandTags:
    """The tags to be written for one band."""
    plain, imagery = {"bbl": str(int(bands.good[band]))}, {}
    for values, tag, micrometres in (
        (bands.wavelength_nm, "wavelength", "CENTRAL_WAVELENGTH_UM"),
        (bands.fwhm_nm, "fwhm", "FWHM_UM"),
    ):
        if values is not None and not math.isnan(values[band]):
            plain[tag] = repr(float(values[band]))
            plain["wavelength_units"] = "Nanometers"
            imagery[micrometres] = f"{values[band] / 1000:.6f}"
    return BandTags(plain, imagery, "" if bands.name is None else bands.name[band])


def dataset_tags(cube: Cube) -> dict[str, str]:
    """The tags to be written for the whole file. Attributes that GDAL would change go together as JSON."""
    tags = {"AREA_OR_POINT": "Area", QUANTITY: cube.quantity}
    if cube.history:
        tags[HISTORY] = json.dumps(list(cube.history))
    plain = {key: text for key, text in cube.attrs.items() if _plain_key(key) and survives(text)}
    rest = {key: text for key, text in cube.attrs.items() if key not in plain}
    if rest:
        tags[ATTRS] = json.dumps(rest)
    return tags | plain


def _plain_key(key: str) -> bool:
    if key.startswith("tifftag_"):
        return key.removeprefix("tifftag_") in _TEXT_FIELDS
    return _PLAIN_KEY.fullmatch(key) is not None and not key.startswith(OWN) and key not in _NOT_ATTRS


def attrs_of(tags: Tags, descriptions: Sequence[str]) -> dict[str, str]:
    """Attributes of the cube from the tags of a file.

    Left out: what becomes something else, and `Band_n` tags in which GDAL's ENVI driver repeats descriptions.

    Raises:
        FileFormatError: a tag of our own is damaged.
    """
    attrs = {}
    for key, text in ((key.lower(), text) for key, text in tags.items()):
        number = re.fullmatch(r"band_([1-9]\d{0,5})", key)
        repeated = number and int(number[1]) <= len(descriptions) and descriptions[int(number[1]) - 1] == text
        if key not in _NOT_ATTRS and not key.startswith(OWN) and not repeated:
            attrs[key] = text
    kept = _json(tags, ATTRS) or {}
    if not isinstance(kept, dict) or not all(isinstance(text, str) for text in kept.values()):
        raise FileFormatError(f"the tag {ATTRS} is damaged; delete it")
    return attrs | kept


def history_of(tags: Tags) -> tuple[str, ...]:
    """Lines of history that we wrote.

    Raises:
        FileFormatError: the tag is damaged.
    """
    lines = _json(tags, HISTORY) or []
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise FileFormatError(f"the tag {HISTORY} is damaged; delete it")
    return tuple(lines)


def _json(tags: Tags, key: str) -> object:
    try:
        return json.loads(tags.get(key, "null"))
    except (ValueError, RecursionError):
        raise FileFormatError(f"the tag {key} is damaged; delete it") from None


def bands_of(tags: Sequence[BandTags], *, ours: bool = False) -> tuple[Bands, dict[str, str], list[str]]:
    """Bands, attributes that hold what could not be used, and notes for the history.

    Args:
        tags: of each band.
        ours: whether we wrote the file: then wavelengths are where they belong, or there are none.

    Raises:
        AmbiguousError: plain and `IMAGERY` tags contradict each other.
    """
    plain = [{key.lower(): text for key, text in band.plain.items()} for band in tags]
    texts = {key: [band.get(key, "").strip() for band in plain] for key in ("wavelength", "fwhm", "bbl")}
    units = [band.get("wavelength_units", "").strip() for band in plain]
    numbers = {key: _numbers(values) for key, values in texts.items()}
    factor, notes = _factors(numbers["wavelength"], units)
    found: dict[str, NDArray[np.float64] | None] = {}
    for key, imagery in (("wavelength", "CENTRAL_WAVELENGTH_UM"), ("fwhm", "FWHM_UM")):
        values = numbers[key]
        own = None if values is None or factor is None else values * factor
        other = _numbers([band.imagery.get(imagery, "").strip() for band in tags])
        found[key] = _agreed(key, own, None if other is None else other * 1e3)
    if found["wavelength"] is None and not ours:
        found["wavelength"] = _from_descriptions([band.description for band in tags])
    attrs = {key: ", ".join(texts[key]) for key in ("wavelength", "fwhm") if found[key] is None and any(texts[key])}
    if attrs:
        attrs |= {"wavelength_units": ", ".join(sorted(set(units)))} if any(units) else {}
        notes = [f"GeoTIFF {' and '.join(attrs)} could not be understood; kept as attributes, not used"]
    flags = numbers["bbl"]
    used = {"wavelength", "wavelength_units", "fwhm"} | ({"bbl"} if flags is not None else set())
    good: Any = None if flags is None else flags != 0  # a missing flag (NaN) is good
    names = tuple(band.description for band in tags)
    bands = Bands(len(tags), found["wavelength"], found["fwhm"], good, names if any(names) else None)
    return bands, attrs | _others(plain, used), notes


def _numbers(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """`(C,)` numbers, NaN where a text is empty; None where there is none at all, or one that is not a number."""
    try:
        values = np.array([float(text) if text else math.nan for text in texts])
    except ValueError:
        return None
    return None if np.isnan(values).all() else values


def _factors(
    wavelength: NDArray[np.float64] | None, units: Sequence[str]
) -> tuple[NDArray[np.float64] | float | None, list[str]]:
    """Nanometres per unit, of each band or of all, or None where it cannot be told; a note where it was decided."""
    if not any(units) or all(unit.lower() in ("", "unknown") for unit in units):
        size = None if wavelength is None else factor_by_size(wavelength)
        if size is None:
            return None, []
        return size, [f"GeoTIFF wavelengths have no unit; taken as {'nm' if size == 1 else 'um'} by their size"]
    factors = np.array([NANOMETRES.get(unit.lower(), math.nan) for unit in units])
    unclear = np.isnan(factors) & np.array([bool(unit) for unit in units])
    if wavelength is not None:
        unclear |= np.isnan(factors) & ~np.isnan(wavelength)
    return (None if unclear.any() else factors), []


def _agreed(
    key: str, plain: NDArray[np.float64] | None, imagery: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """The plain values, filled up with those of the `IMAGERY` domain; both in nm."""
    if plain is None or imagery is None:
        return imagery if plain is None else plain
    apart = np.abs(plain - imagery) > _ROUNDING_NM
    if apart.any():
        band = int(np.argmax(apart))
        raise AmbiguousError(
            f"band {band + 1} has two values of {key}, {plain[band]:g} nm in its own tag and {imagery[band]:g} nm"
            " in the IMAGERY domain; correct one of them"
        )
    return np.where(np.isnan(plain), imagery, plain)


def _from_descriptions(descriptions: Sequence[str]) -> NDArray[np.float64] | None:
    """Wavelengths in nm out of descriptions that hold exactly one number with a unit; None where no one does."""
    found = [_IN_DESCRIPTION.findall(text) for text in descriptions]
    values = [float(one[0][0]) * NANOMETRES[one[0][1].lower()] if len(one) == 1 else math.nan for one in found]
    return None if all(math.isnan(value) for value in values) else np.array(values)


def _others(plain: Sequence[Tags], used: set[str]) -> dict[str, str]:
    keys = {key for band in plain for key in band if key not in used and not key.startswith("statistics_")}
    return {f"bands_{key}": json.dumps([band.get(key) for band in plain]) for key in sorted(keys)}
