"""One file per fusion method, each with its `METHOD`; the folder is the registry, names are file names."""

from __future__ import annotations

from typing import cast

from hypersharp._folder import load_folder
from hypersharp._nearest import nearest
from hypersharp.errors import UsageError
from hypersharp.fusion._spec import FusionSpec


def list_fusion_methods() -> list[str]:
    """Names of all fusion methods, those of plug-ins last."""
    return list(_all())


def get_fusion_method(name: str) -> FusionSpec:
    """A fusion method by its name.

    Raises:
        UsageError: there is none of this name; the nearest is named.
    """
    known = _all()
    if name not in known:
        raise UsageError(f"expected a fusion method out of {', '.join(known)}, got {name!r}{nearest(name, known)}")
    return known[name]


def _all() -> dict[str, FusionSpec]:
    return cast(dict[str, FusionSpec], load_folder(__name__, "METHOD", group="hypersharp.fusion"))
