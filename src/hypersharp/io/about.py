"""What an array file says of its cube besides the numbers: found under the names in use, or kept as JSON text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Bands, Cube, Grid, Storage, StoredSource
from hypersharp.io.arrays import FILE_AXES, Fetch, Windowed, clean
from hypersharp.io.lengths import NANOMETRES, factor_by_size

WAVELENGTHS = (
    "wavelength_nm",
    "wavelengths_nm",
    "wavelength_um",
    "wavelength",
    "wavelengths",
    "center_wavelengths",
)
FWHMS = ("fwhm_nm", "fwhm_um", "fwhm")
GOOD = ("good", "bbl", "good_wavelengths")
NAMES = ("band_names", "band_name", "observation_bands", "mask_bands")

NPZ_METADATA = "hypersharp_metadata"  # member of our .npz files that holds `to_json`


@dataclass(frozen=True)
class Found:
    """A small list of a file, with its unit where the file gives one."""

    values: NDArray[Any]
    unit: str = ""


Lookup = Callable[[str], Found | None]


@dataclass
class About:
    """What a file says of its cube besides the numbers; every part may be missing."""

    wavelength_nm: Any = None
    fwhm_nm: Any = None
    good: Any = None
    name: Sequence[str] | None = None
    scale: Any = 1.0
    offset: Any = 0.0
    nodata: float | int | None = None
    quantity: str = "dn"
    units: str = ""
    affine: Sequence[float] | None = None
    crs: str | None = None
    attrs: dict[str, str] = field(default_factory=dict)
    history: Sequence[str] = ()


def build(read: Windowed, shape: tuple[int, ...], axes: str, *, dtype: np.dtype[Any], about: About) -> Cube:
    """The lazy cube over an array.

    Args:
        read: the array.
        shape: its sizes in file order.
        axes: which letter of ``"chw"`` each of them is.
        dtype: native type of its numbers.
        about: what the file says of it.

    Raises:
        CubeError: what the file says does not fit together.
    """
    size = dict(zip(axes, shape, strict=True))
    count, rows, cols = size["c"], size["h"], size["w"]
    storage = Storage(dtype, about.scale, about.offset, about.nodata, ("bsq", "bil", "bip")[axes.index("c")])
    grid = None
    if about.affine is not None:
        a, b, c, d, e, f = (float(v) for v in about.affine)
        grid = Grid((rows, cols), (a, b, c, d, e, f), about.crs)
    names = None if about.name is None else tuple(about.name)
    return Cube(
        StoredSource((count, rows, cols), storage, Fetch(read, (count, rows, cols), axes, storage.dtype)),
        Bands(count, about.wavelength_nm, about.fwhm_nm, about.good, names),
        grid,
        storage,
        about.quantity,
        about.units,
        about.attrs,
        tuple(about.history),
    )


def first(names: Iterable[str], lookup: Lookup, *, count: int | None = None) -> Found | None:
    """The first list found under one of `names`, of `count` values where that is given."""
    for name in names:
        found = lookup(name)
        if found is not None and count in (None, found.values.size):
            unit = found.unit or (name[-2:] if name.endswith(("_nm", "_um")) else "")
            return Found(found.values.reshape(-1), unit)
    return None


def add_bands(about: About, lookup: Lookup, count: int) -> None:
    """Fill in what a file's own small lists say of its `count` bands; lists of other lengths are about others.

    Wavelengths without a unit are told from their size as in ENVI headers (all within 200 to 20000 are nm, all within
    0.2 to 20 but no plain count are µm), and the history says so; where neither does it, they are left out, and the
    history says that.
    """
    found = first(WAVELENGTHS, lookup, count=count)
    factor = None
    if found is not None:
        values = np.asarray(found.values, dtype=np.float64)
        factor = NANOMETRES.get(found.unit.strip().lower())
        if factor is None and not found.unit.strip():
            factor = factor_by_size(values)
            said = "left out" if factor is None else f"taken as {'nm' if factor == 1 else 'um'} by their size"
            about.history = (*about.history, f"wavelengths have no unit; {said}")
        elif factor is None:
            about.history = (*about.history, f"wavelengths in {clean(found.unit)!r} left out; not a unit of length")
        about.wavelength_nm = None if factor is None else values * factor
    width = first(FWHMS, lookup, count=count)
    if width is not None:
        own = NANOMETRES.get(width.unit.strip().lower(), factor)
        if own is not None:
            about.fwhm_nm = np.asarray(width.values, dtype=np.float64) * own
    good = first(GOOD, lookup, count=count)
    if good is not None:
        about.good = np.asarray(good.values) != 0
    names = first(NAMES, lookup, count=count)
    if names is not None:
        about.name = [text_of(name) for name in names.values]


def quantity_of(*texts: str) -> str:
    """``"reflectance"`` or ``"radiance"`` when one of the texts says that word, else ``"dn"``."""
    for text in texts:
        match = re.search(r"(?<![a-z])(reflectance|radiance)(?![a-z])", text.lower())
        if match:
            return match[1]
    return "dn"


def text_of(value: object) -> str:
    """Bytes or text as text that can be printed."""
    return clean(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))


def snake(key: str) -> str:
    """A key as lower_snake_case."""
    return re.sub(r"[^0-9a-z]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()).strip("_")


def number(value: object) -> float | int | None:
    """A no-data marker as a Python number: an integer stays exact, text is parsed, None stays None.

    Raises:
        ValueError: text that is no number, or more than one number.
    """
    if value is None:
        return None
    if isinstance(value, str | bytes):
        return float(value)
    item = np.asarray(value).reshape(-1).item()
    return item if isinstance(item, int) and not isinstance(item, bool) else float(item)


def lines_of(text: str) -> tuple[str, ...]:
    """History lines out of a JSON list of texts, or of plain text with line breaks."""
    if text.startswith("["):
        try:
            lines = json.loads(text)
        except ValueError:
            lines = None
        if isinstance(lines, list) and all(isinstance(line, str) for line in lines):
            return tuple(clean(line) for line in lines)
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def to_json(cube: Cube, axes: str) -> str:
    """Everything that a cube says besides its numbers, with the axis order of its array, as JSON text."""
    bands, storage, grid = cube.bands, cube.storage, cube.grid
    return json.dumps(
        {
            "hypersharp": 1,
            "axes": axes,
            "wavelength_nm": _listed(bands.wavelength_nm),
            "fwhm_nm": _listed(bands.fwhm_nm),
            "good": bands.good.tolist(),
            "band_names": bands.name,
            "scale_factor": _listed(storage.scale),
            "add_offset": _listed(storage.offset),
            "nodata": None if storage.nodata is None else _plain(storage.nodata),
            "quantity": cube.quantity,
            "units": cube.units,
            "affine": None if grid is None else list(grid.affine),
            "crs_wkt": None if grid is None else grid.crs,
            "attrs": dict(cube.attrs),
            "history": list(cube.history),
        }
    )


def _plain(value: Any) -> float | int | str | None:
    item = number(value)
    return str(item) if isinstance(item, float) and not np.isfinite(item) else item


def _listed(value: Any) -> Any:
    """Numbers as JSON knows them: None in place of NaN."""
    if value is None or isinstance(value, float):
        return value
    return [None if np.isnan(v) else v for v in value.tolist()]


def from_json(text: str) -> tuple[About, str]:
    """What `to_json` kept, and the axis order.

    Raises:
        ValueError: the text is not such JSON. TypeError or LookupError where a part of it is of a wrong type.
    """
    kept = json.loads(text)
    if not isinstance(kept, dict) or kept.get("hypersharp") != 1:
        raise ValueError("its metadata is not that of hypersharp")
    about = About(
        wavelength_nm=_numbers(kept.get("wavelength_nm")),
        fwhm_nm=_numbers(kept.get("fwhm_nm")),
        good=kept.get("good"),
        name=kept.get("band_names"),
        scale=kept.get("scale_factor", 1.0),
        offset=kept.get("add_offset", 0.0),
        nodata=number(kept.get("nodata")),
        quantity=str(kept.get("quantity", "dn")),
        units=clean(str(kept.get("units", ""))),
        affine=kept.get("affine"),
        crs=kept.get("crs_wkt"),
        attrs={clean(str(key)): clean(str(value)) for key, value in dict(kept.get("attrs", {})).items()},
        history=tuple(clean(str(line)) for line in kept.get("history", ())),
    )
    axes = str(kept.get("axes"))
    if axes not in FILE_AXES.values():
        raise ValueError(f"its metadata give the axes as {axes!r}")
    return about, axes


def _numbers(values: Any) -> NDArray[np.float64] | None:
    return None if values is None else np.array(values, dtype=np.float64)
