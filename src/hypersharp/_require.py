"""Optional imports whose absence is answered with the pip line that helps."""

from __future__ import annotations

import importlib
from types import ModuleType

from hypersharp.errors import MissingExtraError


def require(module: str, extra: str, why: str) -> ModuleType:
    """Import `module`, or say which extra brings it.

    Args:
        module: dotted module name, for example ``"xarray"``.
        extra: the extra of hypersharp that installs it.
        why: what the module is needed for, as it should read in the message.

    Raises:
        MissingExtraError: when the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise
        raise MissingExtraError(
            f"{why} needs the package {module!r}, which is not installed: pip install 'hypersharp[{extra}]'"
        ) from None
