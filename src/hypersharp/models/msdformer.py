"""MSDformer: multiscale deformable transformer; groups of bands first, then attention between channels.

Paper: Chen et al., "MSDformer: Multiscale Deformable Transformer for Hyperspectral Image Super-Resolution", IEEE TGRS
2023.
Idea: overlapping groups of 8 bands (as in SSPSR) go through one shared extractor of three dilations, and through a
small block of their own; overlaps are averaged. Four transformer blocks follow, whose attention is between channels;
its queries are taken by a deformable convolution, which samples each of its nine taps where the features say.
Departures: deformable sampling is our own (bilinear, zero outside), needs no further library and exports. The
published code holds a convolution behind the first block that it never calls, and in each block a third of a
projection whose result it discards: 749,040 weights, and 0.059 G multiply-accumulates on an LR of 16×16, left out and
named in `unused`. With fewer bands than a group holds there is one group of all. The upsampler takes an `Upsampler`.
That the projections of the attention have no biases, and its deformable convolution none, is solved from the printed
counts. Positions of the taps are never less than float32: bfloat16 cannot tell neighbours apart beyond column 256.
Training: L1 + 0.5 · SAM + 0.1 · gradient; Adam, learning rate 5e-5, a tenth every 150 of 300 epochs; batch 32.

Letters: N batch, C bands, F features (240), h w rows and columns of LR, s scale, b bands of a group.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from hypersharp.models._blocks import ChannelGate, ChannelNorm, average_groups, band_groups
from hypersharp.models._spec import ModelSpec
from hypersharp.models._upsample import BicubicSkip, Upsampler, progressive


@dataclass(frozen=True)
class Config:
    """Dimensions; the defaults are the paper's.

    Attributes:
        features: `F`.
        blocks: transformer blocks.
        heads: heads of the attention between channels.
        expansion: hidden features of the feed-forward, as a multiple of `F`.
        group: bands of a group.
        overlap: bands that neighbouring groups share.
        dilations: of the extractor's convolutions.
        reduction: of the channel attention.
        residual_weight: weight of the residuals before the transformer.
        upsampler: factorisation of the upsampling convolutions.
    """

    features: int = 240
    blocks: int = 4
    heads: int = 6
    expansion: int = 4
    group: int = 8
    overlap: int = 2
    dilations: tuple[int, ...] = (1, 3, 5)
    reduction: int = 16
    residual_weight: float = 0.1
    upsampler: Upsampler = field(default_factory=Upsampler)


def sample_bilinear(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Values of `(N, F, h, w)` at fractional pixels, zero outside.

    Args:
        x: `(N, F, h, w)`.
        rows: `(N, h', w')`, in pixels; 0 is the centre of the first.
        columns: as `rows`.

    Returns:
        `(N, F, h', w')`.
    """
    height, width = x.shape[2:]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


class DeformableConv(nn.Module):
    """3×3 convolution without bias whose taps are moved by offsets (Dai et al., ICCV 2017); `(N, F, h, w)`.

    Offsets come from a 3×3 convolution that starts at zero; all channels share them.
    """

    def __init__(self, features: int) -> None:
        """`F` to `F`."""
        super().__init__()
        self.offsets = nn.Conv2d(features, 18, 3, padding=1)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)  # type: ignore[arg-type]
        self.taps = nn.Conv2d(9 * features, features, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        batch, features, height, width = x.shape
        # (N, 9, h, w) each: how far down and how far right a tap is moved
        offsets = self.offsets(x)
        offsets = offsets.to(torch.promote_types(offsets.dtype, torch.float32))
        down, right = offsets.reshape(batch, 9, 2, height, width).unbind(2)
        tap = torch.arange(9, device=x.device)
        rows = torch.arange(height, device=x.device)[:, None] + (tap // 3 - 1)[:, None, None] + down
        columns = torch.arange(width, device=x.device) + (tap % 3 - 1)[:, None, None] + right
        stacked = (batch, 9 * height, width)
        found = sample_bilinear(x.to(offsets.dtype), rows.reshape(stacked), columns.reshape(stacked))  # (N, F, 9·h, w)
        out: Tensor = self.taps(found.reshape(batch, 9 * features, height, width))
        return out


class ChannelAttention(nn.Module):
    """Attention between the channels of a head; deformable queries; `(N, F, h, w)`."""

    def __init__(self, features: int, heads: int) -> None:
        """No biases; a temperature for each head."""
        super().__init__()
        self.query = DeformableConv(features)
        self.key_value = nn.Conv2d(features, 2 * features, 1, bias=False)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.project = nn.Conv2d(features, features, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        batch, features, height, width = x.shape
        heads = self.temperature.shape[0]
        query, key, value = (
            part.reshape(batch, heads, features // heads, height * width)
            for part in (self.query(x), *self.key_value(x).chunk(2, dim=1))
        )
        query, key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)
        weights = torch.softmax(query @ key.transpose(2, 3) * self.temperature, dim=-1)  # (N, heads, F', F')
        out: Tensor = self.project((weights @ value).reshape(x.shape))
        return out


class Block(nn.Module):
    """Attention and feed-forward, each on normalised features and with a skip; `(N, F, h, w)`."""

    def __init__(self, config: Config) -> None:
        """One block."""
        super().__init__()
        features, hidden = config.features, config.expansion * config.features
        self.norm_attention, self.norm_forward = ChannelNorm(features), ChannelNorm(features)
        self.attention = ChannelAttention(features, config.heads)
        self.forward_part = nn.Sequential(nn.Conv2d(features, hidden, 1), nn.GELU(), nn.Conv2d(hidden, features, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        x = x + self.attention(self.norm_attention(x))
        out: Tensor = x + self.forward_part(self.norm_forward(x))
        return out


class Extractor(nn.Module):
    """Three dilations of one group of bands, summed, and a 3×3 residual; shared by all groups."""

    def __init__(self, bands: int, config: Config) -> None:
        """`b` to `F`."""
        super().__init__()
        features = config.features
        self.scales = nn.ModuleList(
            nn.Conv2d(bands, features, 3, padding=dilation, dilation=dilation) for dilation in config.dilations
        )
        self.activation = nn.PReLU()
        self.residual = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, features, 3, padding=1)
        )
        self.residual_weight = config.residual_weight

    def forward(self, x: Tensor) -> Tensor:
        """`(N, b, h, w)` to `(N, F, h, w)`."""
        start = self.activation(self.scales[0](x))
        for scale in self.scales[1:]:
            start = start + self.activation(scale(x))
        out: Tensor = start + self.residual_weight * self.residual(start)
        return out


class GroupTail(nn.Module):
    """A group's own 1×1 residual with channel attention, and its way back to bands."""

    def __init__(self, bands: int, config: Config) -> None:
        """`F` to `b`."""
        super().__init__()
        features = config.features
        self.residual = nn.Sequential(
            nn.Conv2d(features, features, 1),
            nn.ReLU(),
            nn.Conv2d(features, features, 1),
            ChannelGate(features, config.reduction),
        )
        self.project = nn.Conv2d(features, bands, 1)
        self.residual_weight = config.residual_weight

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to `(N, b, h, w)`."""
        out: Tensor = self.project(x + self.residual_weight * self.residual(x))
        return out


class MSDformer(nn.Module):
    """Groups, transformer blocks with convolutions between them, progressive upsampling, bicubic skip, tail."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights."""
        super().__init__()
        features = config.features
        self.groups = band_groups(bands, config.group, config.overlap)
        width = self.groups[0].stop
        self.extractor = Extractor(width, config)
        self.group_tails = nn.ModuleList(GroupTail(width, config) for _ in self.groups)
        self.head = nn.Conv2d(bands, features, 1)
        self.body = nn.Sequential(Block(config))
        for _ in range(config.blocks - 1):
            self.body.extend([Block(config), nn.Conv2d(features, features, 3, padding=1)])
        self.upsample = progressive(features, scale, config.upsampler)
        self.bicubic = BicubicSkip(scale)
        self.skip = nn.Conv2d(bands, features, 3, padding=1)
        self.tail = nn.Conv2d(features, bands, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        parts = [tail(self.extractor(lr[:, at])) for at, tail in zip(self.groups, self.group_tails, strict=True)]
        start = self.head(average_groups(parts, self.groups))
        wide = self.upsample(start + self.body(start))
        sharp: Tensor = self.tail(wide + self.skip(self.bicubic(lr)))
        return sharp


def _discarded(bands: int, scale: int, config: Config) -> int:
    """A third of the projection to queries, keys and values: the queries come from elsewhere."""
    del bands, scale
    return config.blocks * config.features**2


def _unused(bands: int, scale: int, config: Config) -> int:
    """That third, and the convolution behind the first block, which is never called."""
    return _discarded(bands, scale, config) + 9 * config.features**2 + config.features


MODEL = ModelSpec(
    build=MSDformer,
    config=Config,
    task="sharpen",
    scales=(2, 3, 4, 8),
    multiple_of=1,
    halo=lambda config: None,
    taps=lambda config: {
        "stages": ("body.0", *(f"body.{2 * i}" for i in range(1, config.blocks))),
        "upsampled": ("upsample",),
        "head": ("head",),
    },
    paper="Chen et al., MSDformer: Multiscale Deformable Transformer for HSI Super-Resolution, IEEE TGRS 2023",
    unused=_unused,
    unused_macs=_discarded,
)
