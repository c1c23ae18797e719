"""LKCA-Net and LKCA-LR: large-kernel channel attention, and its low-rank upsampling layer.

Paper: Shi et al., "Rethinking the Upsampling Layer in Hyperspectral Image Super Resolution".
Idea: blocks of two stacked depthwise convolutions with large kernels gather context; their outputs are weighted channel
by channel by squeeze and excitation, mixed by a grouped 1×1 convolution, and gate the block's features. The
upsampling convolution, which holds most of the weights, is nearly of low rank; LKCA-LR makes it grouped. LKCA-KD is
LKCA-LR trained by distillation, a recipe and not a network.
Departures: no official code is known. The block is the one whose counts fit all 34 published figures and whose kernels
are those of eqs. 9-10; the published counts hold 512 weights per block and C·s² in the upsampler that cost no MACs and
do not alter the class of functions (a second LayerNorm, layer scales, an affine): left out, and named in `unused`.
Dilations are invisible to the counts; (1, 3) is the default, the literal (5, 7) an option.

Letters: N batch, C bands, F features, h w rows and columns of LR, s scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from hypersharp.models._blocks import ChannelGate, ChannelNorm, DepthwiseConv, DropPath, PlanesShuffle, eager_on_cpu
from hypersharp.models._spec import ModelSpec
from hypersharp.models._upsample import BicubicSkip, Upsampler, shuffle

_PAPER = "Shi et al., Rethinking the Upsampling Layer in Hyperspectral Image Super Resolution"


@dataclass(frozen=True)
class Config:
    """Dimensions; the defaults are LKCA-Net's.

    Attributes:
        features: `F`.
        blocks: number of large-kernel blocks.
        kernels: sides of the two depthwise convolutions.
        dilations: their dilations.
        groups: groups of the 1×1 convolution that mixes the attention.
        reduction: of squeeze and excitation.
        drop_path: share of samples that skip a block while training.
        upsampler: dense for LKCA-Net, grouped for LKCA-LR.
    """

    features: int = 128
    blocks: int = 16
    kernels: tuple[int, int] = (5, 7)
    dilations: tuple[int, int] = (1, 3)
    groups: int = 4
    reduction: int = 16
    drop_path: float = 0.0
    upsampler: Upsampler = field(default_factory=Upsampler)


@dataclass(frozen=True)
class LowRankConfig(Config):
    """Dimensions of LKCA-LR."""

    upsampler: Upsampler = field(default_factory=lambda: Upsampler("grouped", groups=8))


class LargeKernelBlock(nn.Module):
    """`x + conv(u · attention(u))` with u the normalised, projected input; `(N, F, h, w)`."""

    def __init__(self, config: Config) -> None:
        """One block."""
        super().__init__()
        features = config.features
        self.norm = ChannelNorm(features, eps=1e-6)
        self.project_in = nn.Conv2d(features, features, 1)
        self.near, self.far = (
            DepthwiseConv(features, kernel, dilation)
            for kernel, dilation in zip(config.kernels, config.dilations, strict=True)
        )
        self.gate = ChannelGate(3 * features, config.reduction)
        self.mix = nn.Conv2d(3 * features, features, 1, groups=config.groups)
        self.project_out = nn.Conv2d(features, features, 1)
        self.drop_path = DropPath(config.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        u = functional.gelu(self.project_in(self.norm(x)))
        near = self.near(u)
        far = self.far(near)
        attention = self._mixed(torch.cat([u, near, far], dim=1))
        change: Tensor = self.drop_path(self.project_out(u * attention))
        return x + change

    def _mixed(self, x: Tensor) -> Tensor:
        """Each channel by its weight, then the grouped mix; `(N, 3F, h, w)` to `(N, F, h, w)`."""
        if torch.is_grad_enabled() or len(x) > 1 or not eager_on_cpu(x):
            mixed: Tensor = self.mix(self.gate(x))
            return mixed
        # One window: its channels' weights go into those of the mix, which spares a pass over the largest array.
        means = x.permute(0, 2, 3, 1).flatten(1, 2).mean(1)[..., None, None]  # torch pools channels_last slowly
        weight, groups = self.mix.weight, self.mix.groups
        gains = self.gate.weights(means).view(groups, 1, -1)
        weighted = (weight.view(groups, -1, weight.shape[1]) * gains).view_as(weight)
        return functional.conv2d(x, weighted, self.mix.bias, groups=groups)


class LKCA(nn.Module):
    """LKCA-Net, or LKCA-LR with a grouped upsampler."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights."""
        super().__init__()
        self.head = nn.Conv2d(bands, config.features, 3, padding=1)
        self.blocks = nn.Sequential(*(LargeKernelBlock(config) for _ in range(config.blocks)))
        self.upsample = shuffle(config.features, bands, scale, config.upsampler)
        self.upsample[-1] = PlanesShuffle(scale)
        self.skip = BicubicSkip(scale)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        wide = self.upsample(self.blocks(self.head(lr)))
        sharp: Tensor = self.skip(lr).add_(wide)  # into bicubic's array: `wide` may be tapped
        return sharp


def _unused(bands: int, scale: int, config: Config) -> int:
    """Weights in the published counts that cost nothing: 512 per block and an affine of the upsampler's C·s²."""
    return 512 * config.blocks + bands * scale**2


def _no_halo(config: Config) -> None:
    """Squeeze and excitation pools the whole window."""
    del config


def _taps(config: Config) -> dict[str, tuple[str, ...]]:
    return {"upsampled": ("upsample",), "stages": tuple(f"blocks.{i}" for i in range(config.blocks))}


LKCA_NET = ModelSpec(
    build=LKCA,
    config=Config,
    task="sharpen",
    scales=(2, 3, 4, 8),
    multiple_of=1,
    halo=_no_halo,
    taps=_taps,
    paper=_PAPER,
    unused=_unused,
)
LKCA_LR = replace(LKCA_NET, config=LowRankConfig)
