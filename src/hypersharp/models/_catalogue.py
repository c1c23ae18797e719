"""What is known of the networks without torch: `catalogue.json`, which `hypersharp models --store` writes anew.

A test computes all of it again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hypersharp import models

FILE = Path(__file__).with_name("catalogue.json")
BANDS, SCALE, LR_SIZE, MSI_BANDS = 128, 4, (64, 64), 4
"""What the stored counts are for."""


@dataclass(frozen=True)
class Entry:
    """A network of the zoo.

    Attributes:
        name: as in `models.list_models`.
        task: ``"sharpen"`` or ``"fuse"``.
        scales: ratios that it can be built for.
        halo: LR pixels that a pixel depends on; None where there is no bound.
        parameters: weights at the paper's configuration; None where it cannot be built so.
        macs: true multiply-accumulates of one LR cube, with its MSI where the network fuses.
        unused: weights that the published code or count holds besides and never uses.
        unused_macs: multiply-accumulates that those cost there.
        msi_bands: bands of that MSI; None where the network takes none.
        paper: where it is described.
    """

    name: str
    task: str
    scales: tuple[int, ...]
    halo: int | None
    parameters: int | None
    macs: int | None
    unused: int
    unused_macs: int
    msi_bands: int | None
    paper: str


def stored() -> list[Entry]:
    """The networks with their stored counts."""
    found: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return [Entry(**{**entry, "scales": tuple(entry["scales"])}) for entry in found]


def counted(name: str, *, bands: int, scale: int, lr_size: tuple[int, int], msi_bands: int = MSI_BANDS) -> Entry:
    """A network with its counts for these sizes; no number is multiplied, so it takes a moment.

    Args:
        name: as in `models.list_models`.
        bands: of the cube.
        scale: HR/LR ratio.
        lr_size: rows and columns of the cube.
        msi_bands: of the MSI, for a network that fuses.

    Raises:
        MissingExtraError: torch is not installed.
    """
    spec = models.get_spec(name)
    weights = macs = None
    unused = unused_macs = 0
    fused = msi_bands if spec.task == "fuse" else None
    if scale in spec.scales:
        import torch

        from hypersharp.models._count import count_macs, count_parameters

        with torch.device("meta"):
            net = models.build(name, bands=bands, scale=scale, msi_bands=fused)
        msi = None if fused is None else (fused, scale)
        weights, macs = count_parameters(net), count_macs(net, bands=bands, lr_size=lr_size, msi=msi)
        unused = spec.unused(bands, scale, spec.config())
        unused_macs = spec.unused_macs(bands, scale, spec.config()) * lr_size[0] * lr_size[1]
    halo = spec.halo(spec.config())
    return Entry(name, spec.task, spec.scales, halo, weights, macs, unused, unused_macs, fused, spec.paper)


def store() -> None:
    """Write the catalogue of the networks that there are."""
    entries = [counted(name, bands=BANDS, scale=SCALE, lr_size=LR_SIZE) for name in models.list_models()]
    FILE.write_text(json.dumps([asdict(entry) for entry in entries], indent=1) + "\n", encoding="utf-8")
