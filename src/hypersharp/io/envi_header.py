"""ENVI headers as text: our own parser and formatter, because GDAL rounds wavelengths and does not write them.

A header is the line ``ENVI`` and then ``key = value`` lines. A value in braces may run over several lines; a line that
begins with ``;`` is a comment. Nothing is rounded and no key is dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import AmbiguousError, FileFormatError
from hypersharp.io.lengths import NANOMETRES, factor_by_size

Value = str | int | float | Sequence[str] | Sequence[int] | Sequence[float] | NDArray[Any]

DTYPES = {
    1: "uint8", 2: "int16", 3: "int32", 4: "float32", 5: "float64", 12: "uint16", 13: "uint32", 14: "int64",
    15: "uint64",
}  # fmt: skip
"""ENVI `data type` numbers and what they mean. There is none for int8; 6 and 9 are complex."""

NOT_ATTRS = frozenset({
    "samples", "lines", "bands", "header offset", "file type", "data type", "interleave", "byte order", "band names",
    "bbl", "data ignore value", "data gain values", "data offset values", "reflectance scale factor", "map info",
    "coordinate system string", "file compression", "major frame offsets", "minor frame offsets",
})  # fmt: skip
"""Keys that become fields of a cube, or say how the data file is laid out; every other one is an attribute."""

"""Unit of length, lower case -> nanometres."""

OWN = "hypersharp "
"""What the keys of our own begin with: what ENVI has no key for, in an exact form."""

_IN_NAMES = "|".join(unit for unit, factor in NANOMETRES.items() if factor in (1.0, 1e3))
_WITH_UNIT = re.compile(rf"(?:^|[\s(:])(\d+(?:\.\d*)?)\s*({_IN_NAMES})\)?$", re.IGNORECASE | re.ASCII)
_WITHOUT_UNIT = re.compile(r"\((\d+\.\d+)\)$", re.ASCII)
_BRACED = frozenset({"description", "map info", "coordinate system string", "default bands"})
_PER_LINE = 8


def parse_header(text: str) -> dict[str, str]:
    """Take a header apart.

    Keys come in lower case with single blanks; values as they stand, without their outer braces, each line stripped.
    Comment lines, and lines outside of braces that have no ``=``, are passed over. Braces may nest.

    Raises:
        FileFormatError: the text does not begin with ``ENVI``, or a brace is never closed.
        AmbiguousError: a key is given twice with different values.
    """
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    if lines[0].strip() != "ENVI":
        raise FileFormatError(f"expected an ENVI header, whose first line is 'ENVI', got {lines[0][:20]!r}")
    fields: dict[str, str] = {}
    rest = (line.strip() for line in lines[1:] if not line.lstrip().startswith(";"))
    for line in rest:
        key, equals, value = line.partition("=")
        key, value = " ".join(key.lower().split()), value.strip()
        if not equals or not key:
            continue
        if value.startswith("{"):
            value = _braced(key, value, rest)
        if fields.setdefault(key, value) != value:
            raise AmbiguousError(f"the key {key!r} is given twice with different values; delete the wrong one")
    return fields


def _braced(key: str, first: str, rest: Iterator[str]) -> str:
    """The text between the brace that opens `first` and the one that closes it."""
    kept: list[str] = []
    depth = 0
    line: str | None = first
    while line is not None:
        for brace in re.finditer("[{}]", line):
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                kept.append(line[: brace.start()].rstrip())
                return "\n".join(kept)[1:].strip()
        kept.append(line)
        line = next(rest, None)
    raise FileFormatError(f"the brace of {key!r} is never closed; add the missing '}}'")


def format_header(fields: Mapping[str, Value]) -> str:
    """Put a header together: numbers in full precision, sequences and texts with commas or line breaks in braces.

    The values must not hold braces or comment lines of their own (see `survives`).
    """
    return "ENVI\n" + "".join(f"{key} = {_written(key, value)}\n" for key, value in fields.items())


def _written(key: str, value: Value) -> str:
    if isinstance(value, str):
        return f"{{{value}}}" if key in _BRACED or "," in value or "\n" in value else value
    if np.ndim(value) == 0:
        return repr(np.asarray(value).item())
    parts = [part if isinstance(part, str) else repr(part) for part in np.asarray(value).tolist()]
    lines = [", ".join(parts[at : at + _PER_LINE]) for at in range(0, len(parts), _PER_LINE)]
    return "{" + ",\n ".join(lines) + "}"


def survives(key: str, text: str) -> bool:
    """Whether a text written under a key is read back as it was."""
    if not all(line.isprintable() for line in text.split("\n")) or re.search("[{}]", text):
        return False
    try:
        return parse_header(format_header({key: text})) == {key: text}
    except FileFormatError:
        return False


def to_json(value: str | list[str]) -> str:
    """Text, or texts, as JSON without braces (they stand as escapes) and line breaks within a text."""
    return json.dumps(value, indent=0).replace("{", r"\u007b").replace("}", r"\u007d")


def from_json(fields: Mapping[str, str], key: str) -> list[str]:
    """The texts of one of our own keys, as `to_json` writes them: one for a lone text, none where there is no key.

    Raises:
        FileFormatError: the value is something else.
    """
    if key not in fields:
        return []
    try:
        value = json.loads(fields[key])
    except (ValueError, RecursionError):
        value = None
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise FileFormatError(f"the value of {key!r} is damaged; delete it from the header")
    return texts


def plain_name(name: str) -> str:
    """A band name as it can stand in a header: what would end the name or the list, or begin a comment, replaced."""
    return re.sub(r"[,;{}]", "_", "".join(c if c.isprintable() else "_" for c in name)).strip()


def text_list(text: str) -> list[str]:
    """The parts of a comma-separated value, stripped; none for an empty text."""
    return [part.strip() for part in text.split(",")] if text.strip() else []


def integer(fields: Mapping[str, str], key: str, *, least: int, default: int | None = None) -> int:
    """A whole number of the header.

    Raises:
        FileFormatError: it is missing (and has no default), not a whole number, or less than `least`.
    """
    text = fields.get(key, "")
    if not text and default is not None:
        return default
    if not text:
        raise FileFormatError(f"the header has no {key!r}; add the line '{key} = ...'")
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or int(text) < least:
        raise FileFormatError(f"expected a whole number of at least {least} as {key!r}, got {_short(text)}; correct it")
    return int(text)


def number(text: str, key: str) -> float:
    """One number, which may be ``nan``.

    Raises:
        FileFormatError: the text is not a number.
    """
    try:
        if "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise FileFormatError(f"expected a number in {key!r}, got {_short(text)}; correct it") from None


def numbers(fields: Mapping[str, str], key: str, count: int) -> NDArray[np.float64] | None:
    """A list of `count` numbers, `(count,)`, or None where the header has none.

    Commas before the first and after the last number, and blanks instead of commas, are accepted.

    Raises:
        FileFormatError: another count, or something that is not a number.
    """
    parts = re.findall(r"[^,\s]+", fields.get(key, ""))
    if not parts:
        return None
    if len(parts) != count:
        raise FileFormatError(
            f"expected {count} values in {key!r}, one for each band, got {len(parts)}; correct 'bands' or the list"
        )
    return np.array([number(part, key) for part in parts], dtype=np.float64)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def band_names(fields: Mapping[str, str], count: int) -> tuple[tuple[str, ...] | None, dict[str, str]]:
    """Band names, or None; and the text as an attribute where its commas do not part it into one name for each band."""
    text = fields.get("band names", "")
    names = text_list(text.replace("\n", " "))
    if len(names) > count and not names[0]:
        names = names[1:]
    if len(names) > count and not names[-1]:
        names = names[:-1]
    own = from_json(fields, OWN + "band names")
    if len(own) == count and text_list(",".join(map(plain_name, own))) == names:
        names = own
    if not names or len(names) == count:
        return tuple(names) or None, {}
    return None, {"band_names": text}


def wavelengths(
    fields: Mapping[str, str], names: tuple[str, ...] | None, count: int
) -> tuple[NDArray[np.float64] | None, float | None, list[str]]:
    """Wavelengths in nm or None; nanometres in the header's unit, or None where that is not known; notes.

    A unit that is missing or ``Unknown`` is told from the size of the numbers, and noted; see the ENVI reader.

    Raises:
        FileFormatError: not `count` numbers, where the unit makes them wavelengths.
    """
    unit = fields.get("wavelength units", "").lower()
    factor = NANOMETRES.get(unit)
    if OWN + "quantity" in fields:
        names = None  # a header of ours has its wavelengths where they belong, or has none
    if factor is not None:
        values = numbers(fields, "wavelength", count)
        if values is not None:
            return scaled(values, factor), factor, []
    found = _in_names(names, _WITH_UNIT)
    if found:
        return np.array([float(m[1]) * NANOMETRES[m[2].lower()] for m in found]), factor, []
    plain = [float(m[1]) for m in _in_names(names, _WITHOUT_UNIT)]
    if factor is not None:
        return (scaled(np.array(plain), factor) if plain else None), factor, []
    if unit not in ("", "unknown"):
        return None, None, []
    values, where = numbers(fields, "wavelength", count), ""
    if values is None and plain:
        values, where = np.array(plain), " in band names"
    guess = None if values is None else factor_by_size(values)
    if values is None or guess is None:
        return None, None, []
    taken = "nm" if guess == 1 else "um"
    told = f"ENVI wavelengths{where} have no unit ({unit or 'none'}); taken as {taken} by their size"
    return scaled(values, guess), guess, [told]


def scaled(values: NDArray[np.float64] | None, factor: float) -> NDArray[np.float64] | None:
    """Values times a factor, which may overflow."""
    with np.errstate(over="ignore"):  # `Bands` refuses what is infinite
        return None if values is None else values * factor


def _in_names(names: tuple[str, ...] | None, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """What the pattern finds in the names, or nothing unless it finds something in every one."""
    found = [match for name in names or () if (match := pattern.search(name))]
    return found if len(found) == len(names or ()) else []
