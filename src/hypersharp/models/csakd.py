"""CSAKD: cross self-attention between four dense trunks; teacher and student.

Paper: Hsu et al., "CSAKD: Knowledge Distillation with Cross Self-Attention for Hyperspectral and Multispectral Image
Fusion", arXiv 2406.19666.
Idea: a dual two-stream structure. One pair of trunks sees cube (Q) and MSI (K) apart, the other sees them together, at
HR (Z) and at LR (V). A trunk is a convolution and residual groups of three dense blocks (cross-layer residual
aggregation, CLRA). Cross self-attention (CSA) between the channels of Q, K and V is added to Z, one gate for each
pixel and trunk weighs the four, and two convolutions give the cube. The student drops the groups of Z, has fewer of
the others, and convolves the cube's trunk in 43 groups. S3RNet (`s3rnet.py`) is the same published program.

Departures, with the published code as the reference:
- Attention: there, the softmax is contracted over another index than its own, its rows sum to one, and every query gets
  the plain sum of the head's values; queries and keys get no gradient. Here the weights meet the values, on queries and
  keys normalised over the pixels with a temperature for each head (Restormer's way), since raw products grow with the
  size of the image. `literal` is the published contraction.
- The fusion is what the published scores were tested with (attention, then gates); the training script's own default,
  a plain sum, is `fusion="sum"`.
- The student's code builds a residual group for Z and never calls it: left out, and named in `unused`.
- The MSI is shrunk by MATLAB's antialiased bicubic, the operator of the whole package; there, by torch's without
  antialiasing, in which detail beyond the LR grid's limit aliases.
- Any scale, any sides, any numbers of bands: there, 4, multiples of 4, and 172 bands. Nothing is fixed to values of
  -1 … 1. As published there is no skip from the cube: the network gives the cube itself; `skip` (ours) adds bicubic
  or a draft.

Not here: a spectral basis is the recipe's (`domain = "subspace"` builds it with that many bands), and consistency with
the inputs is inference's, which knows the PSF and the noise.
Training: smooth L1 + 0.1 · SAM + 0.1 · band energy; the student with 0.1 · smooth L1 to the teacher's cube and 0.1 ·
binary cross entropy to its fused features (tap ``fused``), in one run with the teacher; Adam, 1e-4, batch 8.

Letters: N batch, C bands, K bands of the MSI, F features (86), h w rows and columns of LR, H W those of HR, s scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hypersharp.errors import UsageError
from hypersharp.models._fusion_blocks import AddSkip, Pairs, Skip
from hypersharp.models._spec import ModelSpec

Fusion = Literal["sum", "channel_gates", "gates", "attention", "attention_gates"]
_SLOPE = 0.2  # of every leaky ReLU
_RESIDUAL = 0.2  # weight of a dense block's and of a group's own part
_BLOCKS, _LAYERS = 3, 5  # dense blocks of a group, convolutions of a dense block


@dataclass(frozen=True)
class Config:
    """Dimensions; the defaults are the teacher's at 172 bands.

    Attributes:
        features: `F`; 172 / 2.
        growth: channels that each convolution of a dense block adds; 172 / 4.
        depths: residual groups of the trunks of the pair at HR (Z), the pair at LR (V), the cube (Q) and the MSI (K);
            the published "large" teacher has (8, 8, 6, 6).
        cube_groups: groups of the convolutions in the cube's residual groups.
        fusion: ``"sum"`` of the four; ``"channel_gates"``, one learned weight for each trunk and channel; ``"gates"``,
            one for each trunk and pixel; ``"attention"`` added to Z, and nothing else; ``"attention_gates"``, both.
        inner: channels of queries, keys and values.
        heads: of the attention.
        literal: the published contraction, which sums the attention away.
        drawn: stems, dense blocks and attention as the papers' figures have them; see `s3rnet.py`.
        skip: what the result is added to: ``"none"``, the ``"bicubic"`` enlargement of the cube, or the ``"draft"``
            that a recipe with `data.msi.draft` gives in the MSI's place.
    """

    features: int = 86
    growth: int = 43
    depths: tuple[int, int, int, int] = (6, 6, 4, 4)
    cube_groups: int = 1
    fusion: Fusion = "attention_gates"
    inner: int = 64
    heads: int = 4
    literal: bool = False
    drawn: bool = False
    skip: Skip = "none"


@dataclass(frozen=True)
class StudentConfig(Config):
    """Dimensions of the student, "1441" in the published code, whose first digit counts a group that never runs."""

    depths: tuple[int, int, int, int] = (0, 4, 4, 1)
    cube_groups: int = 43


class DenseBlock(nn.Module):
    """DFAB: five 3×3 convolutions, each of which sees all before it; `(N, F, H, W)`."""

    def __init__(self, features: int, growth: int, groups: int, *, drawn: bool) -> None:
        """Starts near the identity: the convolutions have a tenth of the usual spread."""
        super().__init__()
        self.drawn = drawn
        widths = [growth] * (_LAYERS - 1) + [features]
        self.layers = nn.ModuleList(
            nn.Conv2d(features + i * growth, width, 3, padding=1, groups=groups) for i, width in enumerate(widths)
        )
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
            with torch.no_grad():
                layer.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, H, W)` to the same shape."""
        seen = x
        for layer in self.layers[:-1]:
            seen = torch.cat([seen, functional.leaky_relu(layer(seen), _SLOPE)], dim=1)
        own: Tensor = self.layers[-1](seen)
        return own if self.drawn else x + _RESIDUAL * own


class ResidualGroup(nn.Module):
    """CLRA: three dense blocks in a row, and a skip; `(N, F, H, W)`."""

    def __init__(self, features: int, growth: int, groups: int, *, drawn: bool) -> None:
        """One group."""
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(features, growth, groups, drawn=drawn) for _ in range(_BLOCKS)))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, H, W)` to the same shape."""
        out: Tensor = x + _RESIDUAL * self.blocks(x)
        return out


class Trunk(nn.Sequential):
    """Stem and residual groups; `(N, channels, H, W)` to `(N, F, H, W)` on its own grid."""

    def __init__(self, channels: int, depth: int, config: Config, groups: int = 1) -> None:
        """`depth` residual groups; none leaves the stem."""
        features = config.features
        stem: list[nn.Module] = [nn.Conv2d(channels, features, 3, padding=1), nn.LeakyReLU(_SLOPE)]
        if config.drawn:
            stem.append(nn.Conv2d(features, features, 3, padding=1))
        after = (ResidualGroup(features, config.growth, groups, drawn=config.drawn) for _ in range(depth))
        super().__init__(*stem, *after)


class CrossAttention(nn.Module):
    """CSA: channels of the cube ask, channels of the MSI answer, for the values of the pair at LR; added to Z."""

    def __init__(self, config: Config) -> None:
        """1×1 convolutions to `inner` channels and back."""
        super().__init__()
        features, inner = config.features, config.inner
        self.heads, self.literal, self.drawn = config.heads, config.literal, config.drawn
        self.query, self.key, self.value = (nn.Conv2d(features, inner, 1) for _ in range(3))
        self.project = nn.Conv2d(inner + features * config.drawn, features, 1)
        if not config.literal:
            self.temperature = nn.Parameter(torch.ones(config.heads, 1, 1))

    def forward(self, cube: Tensor, msi: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Four times `(N, F, H, W)` to one."""
        batch, _, height, width = high.shape
        query, key, value = (
            part.reshape(batch, self.heads, part.shape[1] // self.heads, -1)
            for part in (self.query(cube), self.key(msi), self.value(low))
        )  # (N, heads, d, H·W) each
        if self.literal:
            products = query @ key.transpose(2, 3) * query.shape[2] ** -0.5
            weights = torch.softmax(products, dim=-1)
            mixed = weights.sum(-1, keepdim=True) * value.sum(2, keepdim=True)  # a row of weights sums to one
        else:
            query, key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)
            weights = torch.softmax(query @ key.transpose(2, 3) * self.temperature, dim=-1)
            mixed = weights @ value
        mixed = mixed.reshape(batch, -1, height, width)
        if self.drawn:
            joined: Tensor = self.project(torch.cat([mixed, high], dim=1))
            return joined
        added: Tensor = self.project(mixed) + high
        return added


class Fuse(nn.Module):
    """The four trunks become one; four times `(N, F, H, W)` to one."""

    def __init__(self, config: Config) -> None:
        """Holds the weights of its own way of fusing only."""
        super().__init__()
        self.way = config.fusion
        if config.fusion in ("attention", "attention_gates"):
            self.attention = CrossAttention(config)
        if config.fusion in ("gates", "attention_gates"):
            self.gates = nn.Conv2d(4 * config.features, 4, 1)
        if config.fusion == "channel_gates":
            self.weights = nn.Parameter(torch.zeros(4, config.features, 1, 1))

    def forward(self, cube: Tensor, msi: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Trunks in the order Q, K, V, Z, all at HR."""
        if self.way in ("attention", "attention_gates"):
            high = self.attention(cube, msi, low, high)
        if self.way == "attention":
            return high
        if self.way == "sum":
            return cube + msi + low + high
        if self.way == "channel_gates":
            one, two, three, four = torch.sigmoid(self.weights)
        else:
            one, two, three, four = torch.sigmoid(self.gates(torch.cat([cube, msi, low, high], dim=1))).chunk(4, dim=1)
        fused: Tensor = one * cube + two * msi + three * low + four * high
        return fused


class FourTrunks(nn.Module):
    """Trunks, fusion, and the convolutions that give the cube."""

    def __init__(self, bands: int, scale: int, config: Config, msi_bands: int) -> None:
        """Fresh weights.

        Raises:
            UsageError: heads or groups do not divide what they split.
        """
        super().__init__()
        _check(config)
        both, (high, low, cube, msi) = bands + msi_bands, config.depths
        self.pairs = Pairs(scale)
        self.high, self.low = Trunk(both, high, config), Trunk(both, low, config)
        self.cube, self.msi = Trunk(bands, cube, config, config.cube_groups), Trunk(msi_bands, msi, config)
        self.repeat = nn.Upsample(scale_factor=float(scale), mode="nearest")
        self.fuse = Fuse(config)
        self.head = nn.Sequential(
            nn.Conv2d(config.features, bands, 3, padding=1),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(bands, bands, 3, padding=1, bias=False),
        )
        self.skip = AddSkip(config.skip, scale, bands, msi_bands)

    def forward(self, lr: Tensor, msi: Tensor) -> Tensor:
        """`(N, C, h, w)` and `(N, K, s·h, s·w)` to `(N, C, s·h, s·w)`."""
        high, low = self.pairs(lr, msi)
        fused = self.fuse(self.repeat(self.cube(lr)), self.msi(msi), self.repeat(self.low(low)), self.high(high))
        sr: Tensor = self.head(fused)
        added: Tensor = self.skip(sr, lr, msi)
        return added


def _check(config: Config) -> None:
    if config.inner % config.heads:
        raise UsageError(f"heads must divide {config.inner} inner channels, got {config.heads}; change one of them")
    if config.features % config.cube_groups or config.growth % config.cube_groups:
        raise UsageError(
            f"cube_groups must divide {config.features} features and a growth of {config.growth}, "
            f"got {config.cube_groups}; change one of them"
        )


def halo(config: Config) -> int | None:
    """LR pixels of either input that an LR pixel's HR pixels depend on, at the smallest scale, 2.

    Attention weighs channels over all pixels, so with it there is no bound.
    """
    if config.fusion in ("attention", "attention_gates"):
        return None
    stem, group, head = 1 + config.drawn, _BLOCKS * _LAYERS, 2
    high, low, cube, msi = (stem + group * depth for depth in config.depths)
    at_hr = -(-(head + max(high, msi)) // 2) + 1  # LR pixels; 1 for the bilinear enlargement
    at_lr = -(-head // 2) + max(low, cube) + 2  # 2 for the bicubic shrinking
    return max(at_hr, at_lr)


def taps(config: Config) -> dict[str, tuple[str, ...]]:
    """What distillation can compare: the fused features, and those of each trunk on its own grid."""
    del config
    return {"fused": ("fuse",), "trunks": ("high", "low", "cube", "msi")}


def _never_called(bands: int, scale: int, config: Config) -> int:
    """The residual group that the published student builds for the pair at HR."""
    del bands, scale
    if config.depths[0]:
        return 0
    features, growth = config.features, config.growth
    widths = [growth] * (_LAYERS - 1) + [features]
    return _BLOCKS * sum((9 * (features + i * growth) + 1) * width for i, width in enumerate(widths))


_PAPER = "Hsu et al., CSAKD: Knowledge Distillation with Cross Self-Attention for HSI and MSI Fusion, arXiv 2406.19666"

CSAKD_TEACHER = ModelSpec(
    build=FourTrunks,
    config=Config,
    task="fuse",
    scales=(2, 3, 4, 6, 8),
    multiple_of=1,
    halo=halo,
    taps=taps,
    paper=_PAPER,
)
CSAKD_STUDENT = ModelSpec(
    build=FourTrunks,
    config=StudentConfig,
    task="fuse",
    scales=(2, 3, 4, 6, 8),
    multiple_of=1,
    halo=halo,
    taps=taps,
    paper=_PAPER,
    unused=_never_called,
)
