"""3D-FCNN: four 3-D convolutions on the enlarged cube, and the form that LKCA's tables give this name.

Paper: Mei et al., "Hyperspectral Image Spatial Super-Resolution via 3D Full Convolutional Neural Network", Remote
Sensing 9(11):1139, 2017.
Idea: the cube enlarged by bicubic interpolation is one volume of one channel; 64 kernels of 9×9 pixels and 7 bands,
two 1×1×1 layers of 32 and 9 channels, one kernel of 5×5 pixels and 3 bands. The same 39,405 weights serve any number
of bands.
Departures: the published network has no padding and returns a cube that is 12 pixels and 8 bands smaller; here the
enlarged cube is mirrored by 6 pixels and 4 bands first, so its margins cost arithmetic, too. Large cubes go through in
runs of bands, which is exact and computes nothing twice.
`fcnn3d_lr` is LKCA's form (Shi et al.), solved from its counts: bands are channels of a volume one band deep at low
resolution, so two of the three depth taps of its first and last layers only ever meet zeros. They are left out (named
in `unused`), which makes the layers 2-D. It is not Mei's method. Neither takes an `Upsampler`: the first enlarges
before it begins, and the layer before the second's PixelShuffle is a 5×5 from 9 channels, nothing that a low rank
would shorten.
Training: squared error; Adam, learning rate 5e-5; 33×33 HR patches, stride 5.

Letters: N batch, C bands, h w rows and columns of LR, s scale, H W those of HR.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hypersharp.models._blocks import PlanesShuffle, mirror_pad
from hypersharp.models._spec import ModelSpec
from hypersharp.models._upsample import BicubicSkip


@dataclass(frozen=True)
class Config:
    """Dimensions; the defaults are the paper's.

    Attributes:
        features: channels after the first three layers.
        voxels: HR voxels that go through at once, at least one band of them; bounds the memory.
    """

    features: tuple[int, int, int] = (64, 32, 9)
    voxels: int = 1 << 20


class FCNN3D(nn.Module):
    """Mei's network; `(7, 9, 9)`, `(1, 1, 1)` twice and `(3, 5, 5)` bands, rows and columns."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights; `bands` plays no part."""
        del bands
        super().__init__()
        first, second, third = config.features
        self.enlarge = BicubicSkip(scale)
        self.body = nn.Sequential(
            nn.Conv3d(1, first, (7, 9, 9)),
            nn.ReLU(inplace=True),
            nn.Conv3d(first, second, 1),
            nn.ReLU(inplace=True),
            nn.Conv3d(second, third, 1),
            nn.ReLU(inplace=True),
            nn.Conv3d(third, 1, (3, 5, 5)),
        )
        self.voxels = config.voxels

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        wide = self.enlarge(lr)
        batch, bands, height, width = wide.shape
        for dim, margin in ((1, 4), (2, 6), (3, 6)):
            wide = mirror_pad(wide, dim, margin, margin)
        volume = wide.unsqueeze(1)  # (N, 1, C + 8, H + 12, W + 12)
        run = max(1, self.voxels // (batch * height * width))  # bands at once
        parts: list[Tensor] = []
        kept: list[Tensor] = []  # what the next run needs of this one's features: their last two bands
        for at in range(0, bands + 2, run):
            features = self.body[:-1](volume[:, :, at : min(at + run, bands + 2) + 6])
            features = torch.cat([*kept, features], dim=2) if kept else features
            if features.shape[2] > 2:
                parts.append(self.body[-1](features))
            kept = [features[:, :, -2:]]
        return torch.cat(parts, dim=2).squeeze(1)


class LowResolutionFCNN(nn.Module):
    """LKCA's form: 9×9, 1×1, 1×1 and 5×5 convolutions at low resolution and PixelShuffle."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights."""
        super().__init__()
        first, second, third = config.features
        self.body = nn.Sequential(
            nn.Conv2d(bands, first, 9, padding=4),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, second, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(second, third, 1),
            nn.ReLU(inplace=True),
        )
        self.upsample = nn.Sequential(nn.Conv2d(third, bands * scale**2, 5, padding=2), PlanesShuffle(scale))

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        sharp: Tensor = self.upsample(self.body(lr))
        return sharp


def _unused(bands: int, scale: int, config: Config) -> int:
    """Two of three depth taps of the first and the last layer; their multiplications by zero, too."""
    first, _, third = config.features
    return 2 * (bands * first * 81 + third * bands * scale**2 * 25)


MODEL = ModelSpec(
    build=FCNN3D,
    config=Config,
    task="sharpen",
    scales=(2, 3, 4, 8),
    multiple_of=1,
    halo=lambda config: 6,  # 4 + 2 HR pixels are 3 of LR at most, and bicubic reads two more
    taps=lambda config: {"stages": ("body.1", "body.3", "body.5")},
    paper="Mei et al., HSI Spatial Super-Resolution via 3D Full Convolutional Neural Network, Remote Sensing 2017",
)
FCNN3D_LR = ModelSpec(
    build=LowResolutionFCNN,
    config=Config,
    task="sharpen",
    scales=(2, 3, 4, 8),
    multiple_of=1,
    halo=lambda config: 6,
    taps=lambda config: {"stages": ("body.1", "body.3", "body.5"), "upsampled": ("upsample",)},
    paper="Shi et al., Rethinking the Upsampling Layer in HSI Super Resolution (its form of 3D-FCNN)",
    unused=_unused,
    unused_macs=_unused,
)
