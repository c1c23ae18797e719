"""SNLSR: spatial-spectral non-local super-resolution of abundances, which endmembers turn back into a spectrum.

Paper: Hu et al., "Exploring the Spectral Prior for Hyperspectral Image Super-Resolution" (SNLSR), IEEE TIP 2024.
Idea: an encoder unmixes each pixel into 30 abundances that sum to one; two groups of densely fed blocks enlarge them;
one 1×1 layer whose weights are the endmembers gives the spectrum, added to bicubic. In a block a spatial gate, and
attention between the features of each pixel, correct the features by what they would change.
Departures: the published code enlarges by s/2 twice, so that only s = 4 works; here the steps are 2 and s/2 (one step
for 2 and 3). It also mixes the LR abundances back for a term of the loss that it then overwrites: left out
(`unused_macs`). Where the layers of a group stand is solved from the counts, which they meet with every bias in place:
3×3 convolutions on all that came before, and at the end 1×1 and 3×3. The attention is fused, exactly. Sides below 15
are mirrored for the spatial gate's pooling. The upsamplers take an `Upsampler`.
Training: L1; Adam, learning rate 2e-4, constant; 200×200 HR patches, batch 8.

Letters: N batch, C bands, E endmembers (30), F features (64), h w rows and columns of LR, P pixels, s scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from hypersharp.models._blocks import mirror_pad
from hypersharp.models._spec import ModelSpec
from hypersharp.models._upsample import BicubicSkip, Upsampler, progressive

_STEPS = {2: (2, 1), 3: (3, 1), 4: (2, 2), 8: (2, 4)}  # scale: enlargement before the second group, and after it


@dataclass(frozen=True)
class Config:
    """Dimensions; the defaults are the paper's.

    Attributes:
        features: `F`.
        endmembers: `E`.
        encoder: features of the encoder's three convolutions.
        blocks: blocks of each of the two groups.
        upsampler: factorisation of the upsampling convolutions.
    """

    features: int = 64
    endmembers: int = 30
    encoder: tuple[int, int, int] = (240, 120, 60)
    blocks: int = 3
    upsampler: Upsampler = field(default_factory=Upsampler)


class PixelGate(nn.Module):
    """Each pixel times a weight in 0 … 1 from the mean and the maximum of its channels, seen 7×7 (Woo et al., CBAM)."""

    def __init__(self) -> None:
        """98 weights."""
        super().__init__()
        self.weigh = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        seen = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.weigh(seen))


class Encoder(nn.Module):
    """Abundances, which sum to one in each pixel; `(N, C, h, w)` to `(N, E, h, w)`."""

    def __init__(self, bands: int, config: Config) -> None:
        """Three gated 3×3 convolutions and a 1×1."""
        super().__init__()
        self.steps = nn.Sequential()
        for into, out in zip((bands, *config.encoder), config.encoder, strict=False):
            self.steps.extend([nn.Conv2d(into, out, 3, padding=1), PixelGate(), nn.Tanh()])
        self.mix = nn.Conv2d(config.encoder[-1], config.endmembers, 1)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, E, h, w)`."""
        return torch.softmax(functional.relu(self.mix(self.steps(lr))), dim=1)


class SpatialGate(nn.Module):
    """ESA: a gate from a strided, pooled and enlarged view (Liu et al., RFANet, CVPR 2020); `(N, F, h, w)`."""

    smallest = 15  # what a convolution of stride 2 and a pooling over 7 need

    def __init__(self, features: int) -> None:
        """At a quarter of the features."""
        super().__init__()
        inner = features // 4
        self.narrow = nn.Conv2d(features, inner, 1)
        self.keep = nn.Conv2d(inner, inner, 1)
        self.shrink = nn.Conv2d(inner, inner, 3, stride=2)
        self.pool = nn.MaxPool2d(7, stride=3)
        self.far = nn.Sequential(
            nn.Conv2d(inner, inner, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1),
        )
        self.widen = nn.Conv2d(inner, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        height, width = x.shape[2:]
        near = self.narrow(x)
        short, narrow = self.smallest - height, self.smallest - width
        # Half of |a| + a is a or 0, and unlike max() it stays a matter of the size when the network is exported.
        padded = mirror_pad(near, 2, 0, (abs(short) + short) // 2)
        padded = mirror_pad(padded, 3, 0, (abs(narrow) + narrow) // 2)
        far = self.far(self.pool(self.shrink(padded)))
        far = functional.interpolate(far, size=padded.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.widen(self.keep(near) + far[:, :, :height, :width]))


class SpectralNonLocal(nn.Module):
    """Attention between the features of each pixel, `softmax(q·kᵀ)·v` without its `F×F` matrices; `(N, F, h, w)`."""

    def __init__(self, features: int) -> None:
        """Each feature of a pixel is a token of width 1."""
        super().__init__()
        self.query_key_value = nn.Conv2d(features, 3 * features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        batch, features, height, width = x.shape
        pixels = self.query_key_value(x).permute(0, 2, 3, 1).reshape(-1, 1, 3, features, 1)
        query, key, value = pixels.unbind(2)  # (P, 1, F, 1)
        query, key = functional.normalize(query, dim=2), functional.normalize(key, dim=2)
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        return mixed.reshape(batch, height, width, features).permute(0, 3, 1, 2)


class Block(nn.Module):
    """`x + 1×1(spectral(x) - x) + depthwise(spatial(x) - x)`; `(N, F, h, w)`."""

    def __init__(self, config: Config) -> None:
        """One block."""
        super().__init__()
        features = config.features
        self.spatial, self.spectral = SpatialGate(features), SpectralNonLocal(features)
        self.from_spectral = nn.Conv2d(features, features, 1)
        self.from_spatial = nn.Conv2d(features, features, 3, padding=1, groups=features)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        out: Tensor = x + self.from_spectral(self.spectral(x) - x) + self.from_spatial(self.spatial(x) - x)
        return out


class Group(nn.Module):
    """Blocks, each of which is fed with all that came before; `(N, F, h, w)`."""

    def __init__(self, config: Config) -> None:
        """One group."""
        super().__init__()
        features, blocks = config.features, config.blocks
        self.gather = nn.ModuleList(nn.Conv2d((i + 1) * features, features, 3, padding=1) for i in range(blocks))
        self.blocks = nn.ModuleList(Block(config) for _ in range(blocks))
        self.fuse = nn.Sequential(
            nn.Conv2d(blocks * features, features, 1), nn.Conv2d(features, features, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        known = [x]
        for gather, block in zip(self.gather, self.blocks, strict=True):
            known.append(block(gather(torch.cat(known, dim=1))))
        out: Tensor = x + self.fuse(torch.cat(known[1:], dim=1))
        return out


class SNLSR(nn.Module):
    """Encoder, group, enlargement, group, enlargement, abundances, endmembers, bicubic skip."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights."""
        super().__init__()
        features = config.features
        first, second = _STEPS[scale]
        self.encoder = Encoder(bands, config)
        self.head = nn.Conv2d(config.endmembers, features, 3, padding=1)
        self.groups = nn.ModuleList([Group(config), Group(config)])
        self.enlarge = progressive(features, first, config.upsampler)
        self.upsample = progressive(features, second, config.upsampler) if second > 1 else nn.Sequential()
        self.abundances = nn.Conv2d(features, config.endmembers, 3, padding=1)
        self.endmembers = nn.Conv2d(config.endmembers, bands, 1, bias=False)
        self.skip = BicubicSkip(scale)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        features = self.groups[0](self.head(self.encoder(lr)))
        features = self.upsample(self.groups[1](self.enlarge(features)))
        sharp: Tensor = self.endmembers(self.abundances(features)) + self.skip(lr)
        return sharp


MODEL = ModelSpec(
    build=SNLSR,
    config=Config,
    task="sharpen",
    scales=(2, 3, 4, 8),
    multiple_of=1,
    halo=lambda config: None,
    taps=lambda config: {"stages": ("groups.0", "groups.1"), "upsampled": ("upsample",), "head": ("head",)},
    paper="Hu et al., Exploring the Spectral Prior for Hyperspectral Image Super-Resolution, IEEE TIP 2024",
    unused_macs=lambda bands, scale, config: bands * config.endmembers,
)
