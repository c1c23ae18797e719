"""LN-atten-CNN: a residual 3-D network with a local and a non-local attention over bands, pixels and channels.

Paper: Yang, Xiao, Zhao, Chan, "Hybrid Local and Nonlocal 3-D Attentive CNN for Hyperspectral Image Super-Resolution",
IEEE GRSL 18(7), 2021.
Idea: residual blocks of 3-D convolutions at low resolution; in each a local attention weighs every voxel and channel
by its neighbourhood; a non-local attention then relates each voxel with every other, across bands and pixels.
Departures: neither the code nor the dimensions are known to us, so all of them are chosen: 4 blocks, 32 features,
gates at a quarter of them, non-local attention at half. The matrix between all voxels is out of reach, so attention is
in the form of Shen et al. (Efficient Attention, WACV 2021), which sums over the voxels first. Figures got with it are
this network's, not the paper's. The upsampler, shared by all bands, takes an `Upsampler`; bicubic enlargement is
added.
Training: L1 and Adam at 1e-4, chosen.

Letters: N batch, C bands, F features (32), h w rows and columns of LR, V = C·h·w voxels, s scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hypersharp.models._spec import ModelSpec
from hypersharp.models._upsample import BicubicSkip, Upsampler, shuffle


@dataclass(frozen=True)
class Config:
    """Dimensions; all of them chosen.

    Attributes:
        features: `F`.
        blocks: residual blocks.
        reduction: of the local attention's inner features.
        upsampler: factorisation of the last convolution.
    """

    features: int = 32
    blocks: int = 4
    reduction: int = 4
    upsampler: Upsampler = field(default_factory=Upsampler)


class LocalBlock(nn.Module):
    """`x + gate(u) · u` with u two 3×3×3 convolutions of x; `(N, F, C, h, w)`."""

    def __init__(self, config: Config) -> None:
        """One block."""
        super().__init__()
        features, inner = config.features, config.features // config.reduction
        self.body = nn.Sequential(
            nn.Conv3d(features, features, 3, padding=1), nn.ReLU(), nn.Conv3d(features, features, 3, padding=1)
        )
        self.gate = nn.Sequential(
            nn.Conv3d(features, inner, 1), nn.ReLU(), nn.Conv3d(inner, features, 3, padding=1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, C, h, w)` to the same shape."""
        found = self.body(x)
        out: Tensor = x + found * self.gate(found)
        return out


class NonLocal(nn.Module):
    """Attention between all voxels, summed over them first; `(N, F, C, h, w)`."""

    def __init__(self, features: int) -> None:
        """At half of the features."""
        super().__init__()
        self.query_key_value = nn.Conv3d(features, 3 * (features // 2), 1)
        self.project = nn.Conv3d(features // 2, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, C, h, w)` to the same shape."""
        query, key, value = self.query_key_value(x).flatten(2).chunk(3, dim=1)  # (N, F/2, V) each
        context = value @ torch.softmax(key, dim=2).transpose(1, 2)  # (N, F/2, F/2)
        mixed = (context @ torch.softmax(query, dim=1)).unflatten(2, x.shape[2:])
        out: Tensor = x + self.project(mixed)
        return out


class LNAttenCNN(nn.Module):
    """Head, local blocks, non-local attention, upsampling band by band, bicubic skip."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights, as many for any number of bands."""
        del bands
        super().__init__()
        self.head = nn.Conv3d(1, config.features, 3, padding=1)
        self.blocks = nn.Sequential(*(LocalBlock(config) for _ in range(config.blocks)))
        self.non_local = NonLocal(config.features)
        self.upsample = shuffle(config.features, 1, scale, config.upsampler)
        self.skip = BicubicSkip(scale)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        start = self.head(lr.unsqueeze(1))
        found = start + self.non_local(self.blocks(start))
        wide = self.upsample(found.transpose(1, 2).flatten(0, 1))  # (N·C, F, h, w) to (N·C, 1, s·h, s·w)
        sharp: Tensor = self.skip(lr) + wide.reshape(*lr.shape[:2], *wide.shape[2:])
        return sharp


MODEL = ModelSpec(
    build=LNAttenCNN,
    config=Config,
    task="sharpen",
    scales=(2, 3, 4, 8),
    multiple_of=1,
    halo=lambda config: None,
    taps=lambda config: {"stages": tuple(f"blocks.{i}" for i in range(config.blocks)), "head": ("head",)},
    paper="Yang et al., Hybrid Local and Nonlocal 3-D Attentive CNN for HSI Super-Resolution, IEEE GRSL 2021",
)
