"""ESSAformer: spectral-correlation attention at linear cost, in a chain up, down, up, down, up with shared weights.

Paper: Zhang et al., "ESSAformer: Efficient Transformer for Hyperspectral Image Super-resolution", ICCV 2023.
Idea: attention by a kernel of the spectral correlation coefficient; as a product of features of queries and of keys it
is summed over the pixels first, so no T×T matrix is made. Refinement blocks wrap it with 1×1 and 3×3 convolutions.
Three passes at HR alternate with two at LR; the up blocks are one block, the down blocks another, as are their
samplers.
Departures: none in the arithmetic. Its products are divided by √T, so what a pixel receives depends on the size of the
window: tile at the size of training. There is no bicubic skip. The downsampler divides by s = 2 in steps, so that s =
3 is left out. The upsamplers take an `Upsampler`.
Training: the published code states neither loss nor schedule; L1 and Adam at 1e-4 here.

Letters: N batch, C bands, F features, h w rows and columns of LR, T = pixels of the map at hand, s scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from hypersharp.models._blocks import ChannelNorm
from hypersharp.models._spec import ModelSpec
from hypersharp.models._upsample import Upsampler, progressive

_TINY = 1e-7


@dataclass(frozen=True)
class Config:
    """Dimensions; the defaults are the paper's.

    Attributes:
        features: `F`.
        dropout: share of channels left out while training, in three places of a block.
        upsampler: factorisation of the upsampling convolutions.
    """

    features: int = 256
    dropout: float = 0.2
    upsampler: Upsampler = field(default_factory=Upsampler)


class SpectralCorrelationAttention(nn.Module):
    """ESSA: `W(v + q·(kᵀ·v) / √T)` with q and k the squared, centred, normalised projections; `(N, F, h, w)`."""

    def __init__(self, features: int) -> None:
        """One head over all features."""
        super().__init__()
        self.query_key_value = nn.Linear(features, 3 * features)
        self.project = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        tokens = x.flatten(2).transpose(1, 2)  # (N, T, F)
        query, key, value = self.query_key_value(tokens).chunk(3, dim=-1)
        query = functional.normalize(_powers(query), dim=-1)
        key = functional.normalize(_powers(key), dim=1)  # over the tokens: the published code's axis
        mixed = query @ (key.transpose(1, 2) @ value) * tokens.shape[1] ** -0.5
        out: Tensor = self.project(value + mixed).transpose(1, 2).reshape(x.shape)
        return out


def _powers(x: Tensor) -> Tensor:
    """Squares of the deviations from a pixel's mean, as shares of their sum."""
    squares = (x - x.mean(dim=-1, keepdim=True)).square()
    return squares / (squares.sum(dim=-1, keepdim=True) + _TINY)


class Refine(nn.Module):
    """Attention beside its input, then 1×1, 3×3, 1×1 convolutions and a skip; `(N, F, h, w)`."""

    def __init__(self, config: Config) -> None:
        """One block."""
        super().__init__()
        features = config.features
        self.norm = ChannelNorm(features)
        self.attention = SpectralCorrelationAttention(features)
        self.drop = nn.Dropout2d(config.dropout)
        self.mix = nn.Sequential(
            nn.Conv2d(2 * features, 2 * features, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Dropout2d(config.dropout),
            nn.Conv2d(2 * features, 2 * features, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Dropout2d(config.dropout),
            nn.Conv2d(2 * features, features, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        attended = self.drop(self.attention(self.norm(x)))
        out: Tensor = x + self.mix(torch.cat([attended, x], dim=1))
        return out


class ESSAformer(nn.Module):
    """Head, the chain of five refinements, tail."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights."""
        super().__init__()
        features = config.features
        self.head = nn.Conv2d(bands, features, 3, padding=1)
        self.up, self.down = Refine(config), Refine(config)
        self.enlarge = progressive(features, scale, config.upsampler)
        self.shrink = nn.Sequential()
        for _ in range(int(math.log2(scale))):
            self.shrink.extend([nn.Conv2d(features, features // 4, 3, padding=1), nn.PixelUnshuffle(2)])
        self.tail = nn.Conv2d(features, bands, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        low = self.head(lr)
        high = self.up(self.enlarge(low))
        for _ in range(2):
            low = self.down(self.shrink(high) + low)
            high = self.up(self.enlarge(low) + high)
        sharp: Tensor = self.tail(high)
        return sharp


MODEL = ModelSpec(
    build=ESSAformer,
    config=Config,
    task="sharpen",
    scales=(2, 4, 8),
    multiple_of=1,
    halo=lambda config: None,
    taps=lambda config: {"head": ("head",)},  # all else is called more than once
    paper="Zhang et al., ESSAformer: Efficient Transformer for Hyperspectral Image Super-resolution, ICCV 2023",
)
