"""A folder is a registry: every module of a package that offers a named object is an entry.

Readers, writers, metrics and fusion methods are found this way, so that adding one is adding a file.
Plug-ins of other packages join through entry points.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points


def module_names(package: str) -> list[str]:
    """Sorted names of the modules of `package` that do not start with an underscore; imports only the package."""
    path = importlib.import_module(package).__path__
    return sorted(info.name for info in pkgutil.iter_modules(path) if not info.name.startswith("_"))


def load_folder(package: str, attribute: str, *, group: str | None = None) -> dict[str, object]:
    """Import every public module of `package` and collect its `attribute`.

    Args:
        package: dotted name of the package whose folder is the registry.
        attribute: name that each module must define, for example ``"READER"``.
        group: entry-point group whose objects join under their entry-point names; None for no plug-ins.

    Returns:
        Entry name to object, in alphabetical order of the modules, plug-ins last.

    Raises:
        AttributeError: when a module of the folder lacks `attribute` (a mistake of ours, not of a user).
    """
    found: dict[str, object] = {}
    for name in module_names(package):
        found[name] = getattr(importlib.import_module(f"{package}.{name}"), attribute)
    if group is not None:
        for entry in entry_points(group=group):
            found.setdefault(entry.name, entry.load())
    return found
