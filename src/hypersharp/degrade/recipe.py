"""All that a simulation is: a frozen record that travels as JSON in a file's history and in a sidecar beside it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from hypersharp._version import __version__
from hypersharp.errors import FileFormatError, UsageError

__all__ = ["Recipe", "check_scale", "file_hashes", "read_recipe"]

_SEEDS = 2**64


@dataclass(frozen=True)
class Recipe:
    """How an HR cube is degraded.

    Attributes:
        scale: HR pixels per LR pixel along a side, at least 1.
        degradation: the PSF, as `degrade.psf.parse_psf` takes it; None for what is known of the sensor, else
            `mtf:0.3`. The recipe that was followed always names it.
        shift_yx: how far down and right of its block an LR pixel looks, in HR pixels.
        noise: what is added to the LR cube, in this order, each as `degrade.noise_models.parse_noise` takes it.
        srf: the MSI's bands, as `degrade.srf.parse_srf` takes it; None for no MSI.
        msi_noise: what is added to the MSI.
        seed: of all noise, 0 to 2**64 - 1.
        files: SHA-256 of each file that the PSF or SRF names, by its name as given.
        input: options under which the HR file was opened, text by text.
        output: options under which the results were written.
    """

    scale: int
    degradation: str | None = None
    shift_yx: tuple[float, float] = (0.0, 0.0)
    noise: tuple[str, ...] = ()
    srf: str | None = None
    msi_noise: tuple[str, ...] = ()
    seed: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    input: Mapping[str, str] = field(default_factory=dict)
    output: Mapping[str, str | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense, whatever their source."""
        check_scale(self.scale)
        if len(self.shift_yx) != 2 or not all(math.isfinite(v) for v in self.shift_yx):
            raise UsageError(f"shift must be two numbers of HR pixels DY,DX, got {self.shift_yx}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < _SEEDS:
            raise UsageError(f"seed must be a whole number from 0 to 2**64 - 1, got {self.seed!r}")
        if self.msi_noise and self.srf is None:
            raise UsageError("noise of an MSI needs an SRF that makes one: give --srf, e.g. --srf sentinel2a")
        object.__setattr__(self, "shift_yx", tuple(float(v) for v in self.shift_yx))
        for name in ("noise", "msi_noise"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("files", "input", "output"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON knows it; parts that say nothing are left out, but never the seed."""
        plain: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Mapping):
                value = dict(value)
            elif isinstance(value, tuple):
                value = list(value)
            said = value not in (None, [], {}, [0.0, 0.0])
            if said or item.name == "seed":
                plain[item.name] = value
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The record from what `as_dict` gave.

        Raises:
            UsageError: an unknown or missing part, or one of a wrong kind.
        """
        known = {item.name for item in fields(cls)}
        unknown = sorted(plain.keys() - known)
        if unknown or "scale" not in plain:
            wrong = f"unknown {', '.join(unknown)}" if unknown else "no scale"
            raise UsageError(f"expected a recipe with the parts {', '.join(sorted(known))}, got {wrong}")
        for name, kind in _KINDS.items():
            if name in plain and not isinstance(plain[name], kind):
                raise UsageError(f"recipe: {name} is of a wrong kind, got {plain[name]!r}")
        numbers = plain.get("shift_yx", [])
        texts = [*plain.get("noise", []), *plain.get("msi_noise", [])]
        if not all(isinstance(v, int | float) for v in numbers) or not all(isinstance(v, str) for v in texts):
            raise UsageError("recipe: shift_yx is a list of numbers, noise and msi_noise are lists of texts")
        return replace(cls(plain["scale"]), **{key: plain[key] for key in plain})

    def line(self) -> str:
        """The line of history: program, version, and the recipe as compact JSON."""
        return f"hypersharp {__version__} simulate: {json.dumps(self.as_dict(), separators=(',', ':'))}"


_KINDS: dict[str, type] = {
    "scale": int,
    "degradation": str,
    "shift_yx": list,
    "noise": list,
    "srf": str,
    "msi_noise": list,
    "seed": int,
    "files": dict,
    "input": dict,
    "output": dict,
}


def check_scale(scale: int) -> None:
    """Refuse a scale that is no positive integer.

    Raises:
        UsageError: if so.
    """
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        raise UsageError(f"scale must be a whole number of at least 1, got {scale!r}")


def read_recipe(path: Path) -> tuple[Recipe, str]:
    """The recipe of a sidecar, and the version of the program that wrote it.

    Raises:
        FileFormatError: the file is missing or no such JSON.
        UsageError: the recipe in it cannot be followed.
    """
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(f"{path.name}: cannot be read ({error.strerror or error}); check the path") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise FileFormatError(f"{path.name}: expected the JSON that simulate wrote, got {error}") from None
    if not isinstance(kept, dict) or not isinstance(kept.get("recipe"), dict):
        raise FileFormatError(f"{path.name}: expected the JSON that simulate wrote, with a part called recipe")
    return Recipe.from_dict(kept["recipe"]), str(kept.get("hypersharp", "an unknown version"))


def file_hashes(recipe: Recipe, names: list[str]) -> Recipe:
    """The recipe with the SHA-256 of the files that it uses.

    Raises:
        UsageError: the recipe names another hash: the file is not the one that it was made with.
    """
    found = {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in names}
    for name, digest in recipe.files.items():
        if found.get(name, digest) != digest:
            raise UsageError(f"{name} is not the file that the recipe was made with (its SHA-256 differs); restore it")
    return replace(recipe, files=found)
