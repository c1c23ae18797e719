"""The zoo: one file per network. Listing imports no network and no torch.

`list_models` names them, `build` makes one, `get_spec` says what it can do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

from hypersharp._nearest import nearest
from hypersharp._require import require
from hypersharp.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from hypersharp.models._spec import ModelSpec

# Public name: (file, name of its ModelSpec). The one place where a name becomes a network.
_MODELS = {
    "csakd_student": ("csakd", "CSAKD_STUDENT"),
    "csakd_teacher": ("csakd", "CSAKD_TEACHER"),
    "cst": ("cst", "MODEL"),
    "edlgfs": ("edlgfs", "MODEL"),
    "essaformer": ("essaformer", "MODEL"),
    "fcnn3d": ("fcnn3d", "MODEL"),
    "fcnn3d_lr": ("fcnn3d", "FCNN3D_LR"),
    "grdn": ("grdn", "MODEL"),
    "hyfusion": ("hyfusion", "MODEL"),
    "lean": ("lean", "MODEL"),
    "lkca_lr": ("lkca", "LKCA_LR"),
    "lkca_net": ("lkca", "LKCA_NET"),
    "ln_atten_cnn": ("ln_atten_cnn", "MODEL"),
    "mcnet": ("mcnet", "MODEL"),
    "msdformer": ("msdformer", "MODEL"),
    "s3rnet": ("s3rnet", "MODEL"),
    "snlsr": ("snlsr", "MODEL"),
    "sspsr": ("sspsr", "MODEL"),
    "vdsr": ("vdsr", "VDSR_PAPER"),
    "vdsr_lr": ("vdsr", "VDSR_LR"),
}

__all__ = ["build", "get_spec", "list_models"]


def list_models() -> list[str]:
    """Names of all networks, in alphabetical order."""
    return sorted(_MODELS)


def get_spec(name: str) -> ModelSpec:
    """The record of a network.

    Raises:
        UsageError: there is no such network; the nearest name is offered.
        MissingExtraError: torch is not installed.
    """
    if name not in _MODELS:
        raise UsageError(f"expected a network out of {', '.join(list_models())}, got {name!r}{nearest(name, _MODELS)}")
    require("torch", "train", f"the network {name}")
    file, attribute = _MODELS[name]
    return cast("ModelSpec", getattr(importlib.import_module(f"hypersharp.models.{file}"), attribute))


def build(name: str, *, bands: int, scale: int, config: Any = None, msi_bands: int | None = None) -> nn.Module:
    """Make a network with fresh weights.

    Args:
        name: as in `list_models`.
        bands: channels of its input and output.
        scale: HR/LR ratio.
        config: the network's own `Config`; None for the paper's.
        msi_bands: bands of the MSI, for a network that fuses; None for one that sharpens a cube alone.

    Raises:
        UsageError: unknown name, or a scale or number of bands that it cannot be built for.
        MissingExtraError: torch is not installed.
    """
    spec = get_spec(name)
    if scale not in spec.scales:
        known = ", ".join(map(str, spec.scales))
        raise UsageError(f"{name} can be built for the scales {known}, got {scale}; choose one of them")
    if bands < 1:
        raise UsageError(f"a network needs at least one band, got {bands}")
    chosen = spec.config() if config is None else config
    if not isinstance(chosen, type(spec.config())):
        raise UsageError(f"{name} takes a {type(spec.config()).__name__}, got {type(chosen).__name__}")
    if spec.task == "sharpen":
        if msi_bands is not None:
            raise UsageError(f"{name} sharpens a cube alone and takes no MSI, got msi_bands {msi_bands}; leave it out")
        return spec.build(bands, scale, chosen)
    if msi_bands is None or msi_bands < 1:
        raise UsageError(f"{name} fuses a cube with an MSI of at least one band, got msi_bands {msi_bands}; say it")
    return spec.build(bands, scale, chosen, msi_bands)
