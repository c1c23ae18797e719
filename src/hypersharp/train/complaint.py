"""What is wrong with a recipe, in one line: the dotted key, what was expected and got, the nearest name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from hypersharp._nearest import nearest


def explained(error: ValidationError, root: type[BaseModel], *, above: tuple[str, ...] = ()) -> str:
    """The first complaint, with the nearest name for an unknown key.

    Args:
        error: of the values.
        root: the whole recipe, whose keys are known.
        above: keys above these values.
    """
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    at = [*above, *(str(part) for part in first["loc"])]
    if first["type"] == "extra_forbidden":
        known = _known_keys(root, at[:-1])
        return f"unknown key {'.'.join(at)!r}{nearest(at[-1], known)}; here are allowed {', '.join(known)}"
    if first["type"] == "missing":
        return f"the key {'.'.join(at)!r} is missing"
    message = first["msg"].removeprefix("Value error, ")
    got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
    return f"{'.'.join(at)}: {message}{got}"


def _known_keys(root: type[BaseModel], path: Sequence[str]) -> list[str]:
    section: Any = root
    for part in path:
        kinds = [section.model_fields[part].annotation, *getattr(section.model_fields[part].annotation, "__args__", ())]
        section = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return sorted(section.model_fields)
