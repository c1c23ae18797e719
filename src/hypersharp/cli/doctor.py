"""`hypersharp doctor`: what is installed, and what each missing extra would bring."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from hypersharp import _version
from hypersharp.cli import _options as options

NAME = "doctor"

_TIERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "core": (
        "sharpen, convert, info",
        ("numpy", "scipy", "h5py", "rasterio", "onnxruntime", "pydantic", "typer", "rich", "safetensors"),
    ),
    "xarray": ("to_xarray and from_xarray", ("xarray", "rioxarray")),
    "train": ("networks, training, export", ("torch", "lightning-fabric", "onnx", "onnxscript")),
    "cluster": ("scenes and fleets beyond one machine", ("dask", "distributed", "zarr", "xarray")),
    "figures": ("pictures, tables, reports", ("matplotlib", "bokeh")),
    "demo": ("make demo", ("tensorly", "matplotlib")),
}


def command(as_json: options.Json = False) -> None:
    """Say what is installed and what each missing extra would bring. Loads none of it."""
    tiers = {}
    for tier, (purpose, packages) in _TIERS.items():
        found = {name: _version_of(name) for name in packages}
        tiers[tier] = {"brings": purpose, "packages": found, "complete": None not in found.values()}
    if as_json:
        print(json.dumps({"hypersharp": _version.__version__, "python": platform.python_version(), "tiers": tiers}))
        return
    print(f"hypersharp {_version.__version__}, Python {platform.python_version()}, {platform.platform()}")
    for tier, facts in tiers.items():
        parts = cast(dict[str, str | None], facts["packages"])
        here = ", ".join(f"{name} {number}" for name, number in parts.items() if number)
        missing = ", ".join(name for name, number in parts.items() if not number)
        print(f"{tier:<9}{'ok     ' if facts['complete'] else 'missing'} {facts['brings']}")
        if here:
            print(f"{'':<17}{here}")
        if missing:
            target = "hypersharp" if tier == "core" else f"'hypersharp[{tier}]'"
            print(f"{'':<17}not installed: {missing}; pip install {target}")


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
