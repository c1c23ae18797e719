"""EDLGFS: edge-distilled, local-global feature selection network.

Paper: Li et al., "Edge-Distilled and Local-Global Feature Selection Network for Hyperspectral Image Super-Resolution".
Idea: stages of attention layers; in each, queries come from a 5×5 convolution, keys from a 3×3 and values from a 1×1,
so that pixels are compared by their neighbourhoods (local) over the whole window (global); spectral attention follows
(CSE), then a gated feed-forward. While training, a branch that sees only edges teaches the stages (the objective
`EdgeDistilled`); nothing of it is in this network.
Departures: the structure is solved from the published counts, which demand 1×1 convolutions at the end of a stage where
the text says 3×3 (`stage_kernel=3` is the text's); a LayerNorm of 192 weights in each CSE that the published skeleton
allocates and never uses is left out (768 per stage, named in `unused`). Attention is computed without the N×N matrix,
exactly. Odd sides are padded by one mirrored pixel and cut again.

Letters: N batch, C bands, F features (96), h w rows and columns of LR, T = h·w tokens, s scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from hypersharp.models._blocks import ChannelNorm, GatedFeedForward, SpectralAttention, Stage
from hypersharp.models._spec import ModelSpec
from hypersharp.models._upsample import BicubicSkip, Upsampler, progressive


@dataclass(frozen=True)
class Config:
    """Dimensions; the defaults are the paper's.

    Attributes:
        features: `F`.
        stages: number of stages.
        layers: attention layers per stage.
        kernels: sides of the convolutions of queries, keys and values.
        heads: heads of the spectral attention.
        expansion: hidden features of the feed-forward, as a multiple of `F`.
        stage_kernel: side of the convolutions that close a stage: 1 as the counts have it, 3 as the text says.
        branch_weight: weight of the stage's residual branch.
        attention_scale: factor on the attention's products; 1 as in the paper.
        fused: attention without the T×T matrix; the naive form is for comparison.
        upsampler: factorisation of the upsampling convolutions.
    """

    features: int = 96
    stages: int = 4
    layers: int = 4
    kernels: tuple[int, int, int] = (5, 3, 1)
    heads: int = 6
    expansion: float = 2.66
    stage_kernel: int = 1
    branch_weight: float = 0.1
    attention_scale: float = 1.0
    fused: bool = True
    upsampler: Upsampler = field(default_factory=Upsampler)


class LocalGlobal(nn.Module):
    """LGFS: `x + softmax(Q·Kᵀ)·V` over all pixels, `(N, F, h, w)`; one head, no projection after it."""

    def __init__(self, config: Config) -> None:
        """Queries, keys and values by dense convolutions of different sizes."""
        super().__init__()
        self.query, self.key, self.value = (
            nn.Conv2d(config.features, config.features, side, padding=side // 2) for side in config.kernels
        )
        self.scale, self.fused = config.attention_scale, config.fused

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        query, key, value = (
            part(x).flatten(2).transpose(1, 2).unsqueeze(1) for part in (self.query, self.key, self.value)
        )  # (N, 1, T, F) each
        if self.fused:
            mixed = functional.scaled_dot_product_attention(query, key, value, scale=self.scale)
        else:
            mixed = torch.softmax(query @ key.transpose(2, 3) * self.scale, dim=-1) @ value
        attended: Tensor = x + mixed.squeeze(1).transpose(1, 2).reshape(x.shape)
        return attended


class Layer(nn.Module):
    """LGFSL: attention, spectral attention and feed-forward, each part on normalised features."""

    def __init__(self, config: Config) -> None:
        """One layer."""
        super().__init__()
        self.norm_attention, self.norm_forward = ChannelNorm(config.features), ChannelNorm(config.features)
        self.attention = LocalGlobal(config)
        self.spectral = SpectralAttention(config.features, config.heads)
        self.forward_part = GatedFeedForward(config.features, config.expansion)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        x = x + self.spectral(self.attention(self.norm_attention(x)))
        out: Tensor = x + self.forward_part(self.norm_forward(x))
        return out


class EDLGFS(nn.Module):
    """Head, stages, progressive upsampling, bicubic skip, tail."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights."""
        super().__init__()
        features = config.features
        self.scale = scale
        self.head = nn.Conv2d(bands, features, 3, padding=1)
        self.stages = nn.ModuleList(
            Stage([Layer(config) for _ in range(config.layers)], features, config.stage_kernel, config.branch_weight)
            for _ in range(config.stages)
        )
        self.after = nn.Conv2d(features, features, 3, padding=1)
        self.upsample = progressive(features, scale, config.upsampler)
        self.bicubic = BicubicSkip(scale)
        self.skip = nn.Conv2d(bands, features, 3, padding=1)
        self.tail = nn.Conv2d(features, bands, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        height, width = lr.shape[2:]
        even = functional.pad(lr, (0, width % 2, 0, height % 2), mode="replicate")
        start = self.head(even)
        x = start
        for stage in self.stages:
            x = stage(x)
        # At HR first and in place: the enlarged cube is gone before the upsampled features are there.
        wide = self.skip(self.bicubic(lr))
        wide += self.upsample(self.after(x + start))[:, :, : height * self.scale, : width * self.scale]
        sharp: Tensor = self.tail(wide)
        return sharp


def _unused(bands: int, scale: int, config: Config) -> int:
    """The LayerNorm(F) that CST's spectral attention allocates and never calls, once per layer."""
    del bands, scale
    return 2 * config.features * config.layers * config.stages


MODEL = ModelSpec(
    build=EDLGFS,
    config=Config,
    task="sharpen",
    scales=(2, 3, 4, 8),
    multiple_of=1,
    halo=lambda config: None,
    taps=lambda config: {
        "stages": tuple(f"stages.{i}" for i in range(config.stages)),
        "upsampled": ("upsample",),
        "head": ("head",),
    },
    paper="Li et al., Edge-Distilled and Local-Global Feature Selection Network for HSI Super-Resolution",
    unused=_unused,
)
