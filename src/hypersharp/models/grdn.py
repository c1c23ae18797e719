"""G-RDN: a residual dense network for the scene and a residual network for its gradients, added with a fixed weight.

Paper: Zhao, Ning, Hu, Li, "Hyperspectral Image Super-Resolution under the Guidance of Deep Gradient Information",
Remote Sensing 13(12):2382, 2021; the dense part is RDN (Zhang et al., CVPR 2018).
Idea: dense blocks keep all that their convolutions find; a second, smaller network sees only the magnitude of the
gradient of each band, and gives the detail that is added to the first one's estimate.
Departures: neither the code nor the dimensions are known to us, so all of them are chosen: RDN's form A (20 blocks of
6 convolutions of growth 32 at 64 features), 4 residual blocks of 64 features for the gradient, weight 0.1; bicubic
enlargement is added. Figures got with it are this network's, not the paper's. Both upsamplers take an `Upsampler`.
Training: L1 and Adam at 1e-4, chosen.

Letters: N batch, C bands, F features (64), h w rows and columns of LR, s scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hypersharp.models._blocks import mirror_pad
from hypersharp.models._spec import ModelSpec
from hypersharp.models._upsample import BicubicSkip, Upsampler, shuffle


@dataclass(frozen=True)
class Config:
    """Dimensions; all of them chosen.

    Attributes:
        features: `F`.
        blocks: dense blocks.
        layers: convolutions of a dense block.
        growth: features that each of them adds.
        gradient_blocks: residual blocks of the gradient's network.
        gradient_weight: what its result counts.
        upsampler: factorisation of the upsampling convolutions.
    """

    features: int = 64
    blocks: int = 20
    layers: int = 6
    growth: int = 32
    gradient_blocks: int = 4
    gradient_weight: float = 0.1
    upsampler: Upsampler = field(default_factory=Upsampler)


class DenseBlock(nn.Module):
    """Each convolution sees all before it; a 1×1 joins them, and x is added; `(N, F, h, w)`."""

    def __init__(self, config: Config) -> None:
        """One block."""
        super().__init__()
        features, growth = config.features, config.growth
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(features + i * growth, growth, 3, padding=1), nn.ReLU())
            for i in range(config.layers)
        )
        self.join = nn.Conv2d(features + config.layers * growth, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        known = x
        for layer in self.layers:
            known = torch.cat([known, layer(known)], dim=1)
        out: Tensor = x + self.join(known)
        return out


class ResidualBlock(nn.Module):
    """`x + conv(relu(conv(x)))`; `(N, F, h, w)`."""

    def __init__(self, features: int) -> None:
        """One block."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, features, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        out: Tensor = x + self.body(x)
        return out


def gradient(x: Tensor) -> Tensor:
    """Magnitude of the central differences along rows and columns; `(N, C, h, w)` to the same shape."""
    padded = mirror_pad(mirror_pad(x, 2, 1, 1), 3, 1, 1)
    down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    right = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    return torch.sqrt(down.square() + right.square() + 1e-6)  # the root's slope at 0 is not finite


class GRDN(nn.Module):
    """`bicubic(lr) + dense(lr) + weight · residual(gradient(lr))`."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights."""
        super().__init__()
        features = config.features
        self.head = nn.Conv2d(bands, features, 3, padding=1)
        self.start = nn.Conv2d(features, features, 3, padding=1)
        self.blocks = nn.ModuleList(DenseBlock(config) for _ in range(config.blocks))
        self.join = nn.Sequential(
            nn.Conv2d(config.blocks * features, features, 1), nn.Conv2d(features, features, 3, padding=1)
        )
        self.upsample = shuffle(features, bands, scale, config.upsampler)
        self.detail = nn.Sequential(
            nn.Conv2d(bands, features, 3, padding=1),
            *(ResidualBlock(features) for _ in range(config.gradient_blocks)),
            shuffle(features, bands, scale, config.upsampler),
        )
        self.gradient_weight = config.gradient_weight
        self.skip = BicubicSkip(scale)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        first = self.head(lr)
        x, found = self.start(first), []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        wide = self.upsample(first + self.join(torch.cat(found, dim=1)))
        sharp: Tensor = self.skip(lr) + wide + self.gradient_weight * self.detail(gradient(lr))
        return sharp


def _halo(config: Config) -> int:
    """3×3 convolutions in a row: two at the start, the blocks', the join's, the upsampler's; or the gradient's."""
    return max(2 + config.blocks * config.layers + 2, 1 + 1 + 2 * config.gradient_blocks + 1)


MODEL = ModelSpec(
    build=GRDN,
    config=Config,
    task="sharpen",
    scales=(2, 3, 4, 8),
    multiple_of=1,
    halo=_halo,
    taps=lambda config: {"stages": tuple(f"blocks.{i}" for i in range(config.blocks)), "upsampled": ("upsample",)},
    paper="Zhao et al., HSI Super-Resolution under the Guidance of Deep Gradient Information, Remote Sensing 2021",
)
