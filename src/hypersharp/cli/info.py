"""`hypersharp info FILE`: what a file holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypersharp.cli import _options as options

if TYPE_CHECKING:
    from hypersharp.cube import Cube

NAME = "info"


def command(
    source: options.Input,
    window: options.Window = None,
    bands: options.Bands = None,
    nodata: options.Nodata = None,
    dataset: options.Dataset = None,
    axes: options.Axes = None,
    wavelengths: options.Wavelengths = None,
    quantity: options.Quantity = None,
    as_json: options.Json = False,
) -> None:
    """Print bands, wavelengths, grid, units, no-data share and dead bands of a cube."""
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
    facts = _facts(cube, source)
    if as_json:
        print(json.dumps(facts))
        return
    for name, text in _lines(facts).items():
        print(f"{name + ':':<12} {text}")


def _facts(cube: Cube, source: str) -> dict[str, Any]:
    import numpy as np

    from hypersharp.io.reading import reader_of

    low, high, valid = _survey(cube)
    shares = valid / float(cube.shape[1] * cube.shape[2])
    names, widths = cube.bands.name, cube.bands.fwhm_nm
    storage, grid = cube.storage, cube.grid
    return {
        "file": source,
        "format": reader_of(source).name,
        "bands": cube.shape[0],
        "rows": cube.shape[1],
        "columns": cube.shape[2],
        "dtype": str(storage.dtype),
        "scale": np.asarray(storage.scale).tolist(),
        "offset": np.asarray(storage.offset).tolist(),
        "nodata": _number(storage.nodata),
        "interleave": storage.interleave,
        "quantity": cube.quantity,
        "units": cube.units,
        "wavelength_nm": _numbers(cube.bands.wavelength_nm),
        "fwhm_nm": _numbers(widths),
        "bad_bands": [int(b) + 1 for b in np.flatnonzero(~cube.bands.good)],
        "dead_bands": [int(b) + 1 for b in np.flatnonzero(~(high > low))] if cube.shape[1] * cube.shape[2] > 1 else [],
        "band_names": None if names is None else list(names),
        "nodata_share": float(1 - shares.mean()),
        "nodata_share_any_band": float(1 - shares.min()),
        "minimum": _number(np.nanmin(low) if np.isfinite(low).any() else None),
        "maximum": _number(np.nanmax(high) if np.isfinite(high).any() else None),
        "affine": None if grid is None else list(grid.affine),
        "crs": None if grid is None else grid.crs,
        "attrs": dict(cube.attrs),
        "history": list(cube.history),
    }


def _survey(cube: Cube) -> tuple[Any, Any, Any]:
    """Lowest and highest value and number of valid pixels of each band, in one pass of bounded memory."""
    import numpy as np

    from hypersharp.io.writing import regions

    low, high = np.full(cube.shape[0], np.inf), np.full(cube.shape[0], -np.inf)
    valid = np.zeros(cube.shape[0], dtype=np.int64)
    for rows, cols in regions(cube, (64, 64), 1 << 28):
        values, mask = cube.read(rows=rows, cols=cols)
        low = np.minimum(low, np.where(mask, values, np.inf).min(axis=(1, 2)))
        high = np.maximum(high, np.where(mask, values, -np.inf).max(axis=(1, 2)))
        valid += mask.sum(axis=(1, 2))
    return low, high, valid


def _number(value: Any) -> float | int | str | None:
    """A number that JSON can hold; text for those that it cannot."""
    import numpy as np

    if value is None:
        return None
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if np.isfinite(value) else str(float(value))


def _numbers(values: Any) -> list[float | None] | None:
    import numpy as np

    return None if values is None else [float(v) if np.isfinite(v) else None for v in values]


def _lines(facts: dict[str, Any]) -> dict[str, str]:
    known = [w for w in facts["wavelength_nm"] or [] if w is not None]
    scaled = facts["scale"] != 1 or facts["offset"] != 0
    lines = {
        "file": f"{facts['file']} ({facts['format']})",
        "bands": f"{facts['bands']}" + (f", {min(known):g} to {max(known):g} nm" if known else ", no wavelengths"),
        "pixels": f"{facts['rows']} rows x {facts['columns']} columns",
        "stored as": f"{facts['dtype']}, {facts['interleave']}" + (", scaled" if scaled else ""),
        "quantity": f"{facts['quantity']} {facts['units']}".strip(),
        "values": f"{facts['minimum']:.6g} to {facts['maximum']:.6g}" if facts["minimum"] is not None else "none",
        "no-data": f"{facts['nodata_share']:.2%} of all values"
        + ("" if facts["nodata"] is None else f", marked {facts['nodata']}"),
        "bad bands": _short(facts["bad_bands"]),
        "dead bands": _short(facts["dead_bands"]),
        "grid": "none" if facts["affine"] is None else " ".join(f"{v:.10g}" for v in facts["affine"]),
        "CRS": _crs_name(facts["crs"]),
    }
    lines |= {name: text.replace("\n", " ")[:100] for name, text in facts["attrs"].items()}
    for at, line in enumerate(facts["history"], 1):
        lines[f"history {at}"] = line
    return lines


def _short(numbers: list[int]) -> str:
    if not numbers:
        return "none"
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _crs_name(crs: str | None) -> str:
    if crs is None:
        return "none"
    parts = crs.split('"')
    return parts[1] if len(parts) > 1 else crs[:60]
