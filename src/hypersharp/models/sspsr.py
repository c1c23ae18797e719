"""SSPSR: spatial-spectral prior network; overlapping groups of bands through one shared branch, then all together.

Paper: Jiang et al., "Learning Spatial-Spectral Prior for Super-Resolution of Hyperspectral Imagery", IEEE TCI 2020.
Idea: neighbouring bands in groups of 8 that overlap by 2 go through one branch with shared weights, which enlarges
them by s/2; overlaps are averaged; a trunk over all bands enlarges by the last factor of 2. Blocks couple a spatial
residual (3×3) with a spectral one (1×1 with channel attention). Features of the enlarged input are added before the
last layer.
Departures: with fewer bands than a group holds there is one group of all. The groups go through one by one, so that
memory does not grow with their number. The penalty on differences is to be averaged over the batch once (the published
code divides by the batch size again).
Training: L1 + 1e-3 · (squared differences along rows and columns + along bands); Adam, learning rate 1e-4, a tenth
after 30 of 40 epochs; batch 32; flips and rotations.

Letters: N batch, C bands, F features, h w rows and columns of LR, s scale, b bands of a group.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from hypersharp.models._blocks import ChannelGate, average_groups, band_groups
from hypersharp.models._spec import ModelSpec
from hypersharp.models._upsample import BicubicSkip, Upsampler, progressive


@dataclass(frozen=True)
class Config:
    """Dimensions; the defaults are the paper's.

    Attributes:
        features: `F`.
        blocks: spatial-spectral blocks of the branch, and of the trunk.
        group: bands of a group.
        overlap: bands that neighbouring groups share.
        reduction: of the channel attention.
        residual_weight: weight of each residual.
        upsampler: factorisation of the upsampling convolutions.
    """

    features: int = 256
    blocks: int = 3
    group: int = 8
    overlap: int = 2
    reduction: int = 16
    residual_weight: float = 0.1
    upsampler: Upsampler = field(default_factory=Upsampler)


class SpatialSpectralBlock(nn.Module):
    """SSB: a residual of 3×3 convolutions, then one of 1×1 with channel attention; `(N, F, h, w)`."""

    def __init__(self, config: Config) -> None:
        """One block."""
        super().__init__()
        features = config.features
        self.spatial = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, features, 3, padding=1)
        )
        self.spectral = nn.Sequential(
            nn.Conv2d(features, features, 1),
            nn.ReLU(),
            nn.Conv2d(features, features, 1),
            ChannelGate(features, config.reduction),
        )
        self.residual_weight = config.residual_weight

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        x = x + self.residual_weight * self.spatial(x)
        out: Tensor = x + self.residual_weight * self.spectral(x)
        return out


class Trunk(nn.Module):
    """Head, blocks with a skip around them, progressive upsampling."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """For `bands` channels; a scale of 1 has no upsampling."""
        super().__init__()
        self.head = nn.Conv2d(bands, config.features, 3, padding=1)
        self.blocks = nn.Sequential(*(SpatialSpectralBlock(config) for _ in range(config.blocks)))
        self.upsample = progressive(config.features, scale, config.upsampler) if scale > 1 else nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        """`(N, b, h, w)` to `(N, F, scale·h, scale·w)`."""
        start = self.head(x)
        wide: Tensor = self.upsample(start + self.blocks(start))
        return wide


class SSPSR(nn.Module):
    """Shared branch on each group, average of the overlaps, trunk, features of the enlarged input, tail."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights."""
        super().__init__()
        self.groups = band_groups(bands, config.group, config.overlap)
        width = self.groups[0].stop
        self.scale = scale
        self.branch = Trunk(width, scale // 2, config)
        self.branch_tail = nn.Conv2d(config.features, width, 3, padding=1)
        self.trunk = Trunk(bands, 2, config)
        self.bicubic = BicubicSkip(scale)
        self.skip = nn.Conv2d(bands, config.features, 3, padding=1)
        self.tail = nn.Conv2d(config.features, bands, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        together = average_groups([self.branch_tail(self.branch(lr[:, at])) for at in self.groups], self.groups)
        sharp: Tensor = self.tail(self.trunk(together) + self.skip(self.bicubic(lr)))
        return sharp


MODEL = ModelSpec(
    build=SSPSR,
    config=Config,
    task="sharpen",
    scales=(2, 4, 8),
    multiple_of=1,
    halo=lambda config: None,
    taps=lambda config: {
        "stages": tuple(f"trunk.blocks.{i}" for i in range(config.blocks)),
        "upsampled": ("trunk.upsample",),
    },
    paper="Jiang et al., Learning Spatial-Spectral Prior for Super-Resolution of Hyperspectral Imagery, IEEE TCI 2020",
)
