"""`--set KEY=VALUE`: one value of a recipe put in place of what its file says."""

from __future__ import annotations

import tomllib
from typing import Any

from hypersharp.errors import UsageError


def set_value(raw: dict[str, Any], override: str) -> None:
    """Put ``"train.epochs=5"`` into plain values.

    Raises:
        UsageError: not of that form, or a part of the key is a value.
    """
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UsageError(f"--set takes KEY=VALUE such as train.epochs=5, got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = raw
    for part in parts[:-1]:
        if table.get(part) is None:  # as a saved recipe has what is not there
            table[part] = {}
        table = table[part]
        if not isinstance(table, dict):
            raise UsageError(f"--set {key}: {part!r} is a value and no table")
    table[parts[-1]] = value
