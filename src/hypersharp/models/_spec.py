"""What a network is to the rest of the package: a record of data, one for each named configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ModelSpec:
    """A network with one named configuration.

    Attributes:
        build: `(bands, scale, config) -> nn.Module`, whose `forward(lr)` takes `(N, C, h, w)` and gives
            `(N, C, s·h, s·w)`. A network that fuses has `(bands, scale, config, msi_bands)`, and its
            `forward(lr, msi)` takes an MSI `(N, K, s·h, s·w)` besides.
        config: frozen dataclass whose defaults are the paper's.
        task: ``"sharpen"`` for `forward(lr)`, ``"fuse"`` for `forward(lr, msi)`.
        scales: ratios that it can be built for.
        multiple_of: sides of its input must be multiples of this; networks that pad for themselves say 1.
        halo: `config -> LR pixels` around a pixel that its HR pixels depend on, in the cube and in the MSI; None where
            there is no bound.
        taps: name of a feature to the submodules that give it, in order; for distillation.
        paper: where it is described.
        unused: `(bands, scale, config) -> weights` that the published code or count holds and never uses.
        unused_macs: `(bands, scale, config) -> multiply-accumulates per LR pixel` that those weights cost.
    """

    build: Callable[..., nn.Module]
    config: Any
    task: Literal["sharpen", "fuse"]
    scales: tuple[int, ...]
    multiple_of: int
    halo: Callable[[Any], int | None]
    taps: Callable[[Any], dict[str, tuple[str, ...]]]
    paper: str
    unused: Callable[[int, int, Any], int] = lambda bands, scale, config: 0
    unused_macs: Callable[[int, int, Any], int] = lambda bands, scale, config: 0
