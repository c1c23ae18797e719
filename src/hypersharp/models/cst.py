"""CST: cross-scope spatial-spectral transformer; the whole image asks, each window answers.

Paper: Chen et al., "Cross-Scope Spatial-Spectral Information Aggregation for Hyperspectral Image Super-Resolution",
IEEE TIP 2024.
Idea: attention in flat and in tall windows (2×16 and 16×2), half of the features each; keys and values are the
window's, while queries are pooled from the whole image down to the window's shape, half of the channels by mean and
half by maximum. Spectral attention and a gated feed-forward follow, in stages that EDLGFS took over. Departures, all of
them faults of the published code: queries are repeated for each sample (there, the windows of a batch ask with another
sample's queries); products are divided by the root of the heads' true width (there, of twice it); sides that are no
multiple of 16 are mirrored up to one and cut again, so any size runs at any scale; a LayerNorm of 360 weights in each
layer that is never called, 5,760 in all, is left out (named in `unused`). Layers 2 and 4 of a stage shift the windows
by half of their sides; pixels that meet only by wrapping round do not see each other. Which half of the channels is
pooled how is not known; the counts do not tell.
Training: L1 + 0.3 · SAM + 0.1 · gradient; Adam, learning rate 1e-4, half every 150 of 300 epochs; batch 32.

Letters: N batch, C bands, F features (180), h w rows and columns of LR, a b those of a window, T = a·b, s scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hypersharp.models._blocks import ChannelNorm, DropPath, GatedFeedForward, SpectralAttention, Stage, mirror_pad
from hypersharp.models._spec import ModelSpec
from hypersharp.models._upsample import BicubicSkip, Upsampler, progressive


@dataclass(frozen=True)
class Config:
    """Dimensions; the defaults are the paper's.

    Attributes:
        features: `F`.
        depths: layers of each stage.
        heads: of the spectral attention; half of them for each shape of window.
        window: long and short side of the windows.
        expansion: hidden features of the feed-forward, as a multiple of `F`.
        drop_path: share of samples that skip the last layer while training; it rises from 0 at the first.
        branch_weight: weight of the stage's residual branch.
        upsampler: factorisation of the upsampling convolutions.
    """

    features: int = 180
    depths: tuple[int, ...] = (4, 4, 4, 4)
    heads: int = 6
    window: tuple[int, int] = (16, 2)
    expansion: float = 2.66
    drop_path: float = 0.1
    branch_weight: float = 0.1
    upsampler: Upsampler = field(default_factory=Upsampler)


class PositionBias(nn.Module):
    """A bias for each head from the offset of two pixels, by a small network (Wang et al., CrossFormer)."""

    offsets: Tensor
    index: Tensor

    def __init__(self, window: tuple[int, int], inner: int, heads: int) -> None:
        """For windows of `(a, b)`, with `inner` features."""
        super().__init__()
        tall, wide = window
        self.start = nn.Linear(2, inner)
        self.steps = nn.Sequential(
            *(nn.Sequential(nn.LayerNorm(inner), nn.ReLU(), nn.Linear(inner, to)) for to in (inner, inner, heads))
        )
        rows, columns = torch.arange(1 - tall, tall), torch.arange(1 - wide, wide)
        at = torch.cartesian_prod(torch.arange(tall), torch.arange(wide))  # (T, 2)
        apart = at[:, None] - at[None] + torch.tensor([tall - 1, wide - 1])
        self.register_buffer("offsets", torch.cartesian_prod(rows, columns).float(), persistent=False)
        self.register_buffer("index", apart[..., 0] * (2 * wide - 1) + apart[..., 1], persistent=False)

    def forward(self) -> Tensor:
        """`(heads, T, T)`."""
        table: Tensor = self.steps(self.start(self.offsets.to(self.start.weight.dtype)))
        return table[self.index].permute(2, 0, 1)


class CrossScopeAttention(nn.Module):
    """Windows of one shape; `(N, 3·f, h, w)` queries, keys and values to `(N, f, h, w)`."""

    def __init__(self, window: tuple[int, int], inner: int, heads: int, *, shifted: bool) -> None:
        """`window` is `(a, b)`; `inner` features for the position bias."""
        super().__init__()
        self.window, self.heads = window, heads
        self.shift = (window[0] // 2, window[1] // 2) if shifted else (0, 0)
        self.bias = PositionBias(window, inner, heads)

    def forward(self, query_key_value: Tensor) -> Tensor:
        """One pass over all windows; h and w are multiples of the window's sides."""
        rolled = torch.roll(query_key_value, (-self.shift[0], -self.shift[1]), dims=(2, 3))
        query, key, value = rolled.chunk(3, dim=1)
        query, key, value = self._pool(query), self._split(key), self._split(value)
        width = query.shape[-1]
        products = query @ key.transpose(-1, -2) * width**-0.5 + self.bias()  # (N, windows, heads, T, T)
        if any(self.shift):
            products = products.masked_fill(self._strangers(rolled), float("-inf"))
        mixed = self._join(torch.softmax(products, dim=-1) @ value, rolled)
        return torch.roll(mixed, self.shift, dims=(2, 3))

    def _pool(self, x: Tensor) -> Tensor:
        """`(N, f, h, w)` to `(N, 1, heads, T, f/heads)`: the image shrunk to a window, by mean and by maximum."""
        batch, features, height, width = x.shape
        tall, wide = self.window
        cells = x.reshape(batch, features, tall, height // tall, wide, width // wide)
        means, peaks = cells.chunk(2, dim=1)
        pooled = torch.cat([means.mean(dim=(3, 5)), peaks.amax(dim=(3, 5))], dim=1)  # (N, f, a, b)
        return pooled.reshape(batch, 1, self.heads, features // self.heads, tall * wide).transpose(-1, -2)

    def _split(self, x: Tensor) -> Tensor:
        """`(N, f, h, w)` to `(N, windows, heads, T, f/heads)`."""
        batch, features, height, width = x.shape
        (tall, wide), heads = self.window, self.heads
        parts = x.reshape(batch, heads, features // heads, height // tall, tall, width // wide, wide)
        return parts.permute(0, 3, 5, 1, 4, 6, 2).reshape(batch, -1, heads, tall * wide, features // heads)

    def _join(self, x: Tensor, like: Tensor) -> Tensor:
        """`_split`, backwards; `like` has the rows and columns."""
        (tall, wide), (height, width) = self.window, like.shape[2:]
        batch, _, heads, _, inner = x.shape
        parts = x.reshape(batch, height // tall, width // wide, heads, tall, wide, inner)
        return parts.permute(0, 3, 6, 1, 4, 2, 5).reshape(batch, heads * inner, height, width)

    def _strangers(self, x: Tensor) -> Tensor:
        """`(windows, 1, T, T)`: true for two pixels of a window that the roll brought together from two edges."""
        regions = []
        for size, side, shift in zip(x.shape[2:], self.window, self.shift, strict=True):
            at = torch.arange(size, device=x.device)
            regions.append((at >= size - side).long() + (at >= size - shift).long())
        label = (3 * regions[0][:, None] + regions[1][None])[None, None].repeat(1, self.heads, 1, 1)
        tokens = self._split(label)[0, :, :1, :, 0]  # (windows, 1, T)
        return tokens[..., :, None] != tokens[..., None, :]


class CrossScope(nn.Module):
    """CSA: both shapes of windows, the values' neighbourhood, projection, and a skip; `(N, F, h, w)`."""

    def __init__(self, config: Config, *, shifted: bool) -> None:
        """Half of the features for each shape."""
        super().__init__()
        features, (long, short) = config.features, config.window
        self.query_key_value = nn.Conv2d(features, 3 * features, 1)
        self.flat, self.tall = (
            CrossScopeAttention(window, features // 16, config.heads // 2, shifted=shifted)
            for window in ((short, long), (long, short))
        )
        self.near = nn.Conv2d(features, features, 3, padding=1, groups=features)
        self.project = nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        batch, _, height, width = x.shape
        all_three = self.query_key_value(x)
        halves = all_three.reshape(batch, 3, 2, -1, height, width)
        flat = self.flat(halves[:, :, 0].reshape(batch, -1, height, width))
        tall = self.tall(halves[:, :, 1].reshape(batch, -1, height, width))
        near = self.near(all_three.chunk(3, dim=1)[2])
        out: Tensor = x + self.project(torch.cat([flat, tall], dim=1) + near)
        return out


class Layer(nn.Module):
    """Cross-scope attention, spectral attention and feed-forward; `(N, F, h, w)`."""

    def __init__(self, config: Config, drop_path: float, *, shifted: bool) -> None:
        """One layer."""
        super().__init__()
        self.norm_attention, self.norm_forward = ChannelNorm(config.features), ChannelNorm(config.features)
        self.attention = CrossScope(config, shifted=shifted)
        self.spectral = SpectralAttention(config.features, config.heads)
        self.forward_part = GatedFeedForward(config.features, config.expansion)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        x = x + self.drop_path(self.spectral(self.attention(self.norm_attention(x))))
        out: Tensor = x + self.drop_path(self.forward_part(self.norm_forward(x)))
        return out


class CST(nn.Module):
    """Head, stages, progressive upsampling, bicubic skip, tail."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights."""
        super().__init__()
        features = config.features
        self.scale, self.multiple = scale, max(config.window)
        self.head = nn.Conv2d(bands, features, 3, padding=1)
        self.stages = nn.ModuleList()
        total, layers = max(1, sum(config.depths) - 1), 0
        for depth in config.depths:
            chain: list[nn.Module] = [
                Layer(config, config.drop_path * (layers + i) / total, shifted=i % 2 == 1) for i in range(depth)
            ]
            self.stages.append(Stage(chain, features, 1, config.branch_weight))
            layers += depth
        self.after = nn.Conv2d(features, features, 3, padding=1)
        self.upsample = progressive(features, scale, config.upsampler)
        self.bicubic = BicubicSkip(scale)
        self.skip = nn.Conv2d(bands, features, 3, padding=1)
        self.tail = nn.Conv2d(features, bands, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        height, width = lr.shape[2:]
        whole = mirror_pad(mirror_pad(lr, 2, 0, -height % self.multiple), 3, 0, -width % self.multiple)
        start = self.head(whole)
        x = start
        for stage in self.stages:
            x = stage(x)
        wide = self.upsample(self.after(x + start))[:, :, : height * self.scale, : width * self.scale]
        sharp: Tensor = self.tail(wide + self.skip(self.bicubic(lr)))
        return sharp


def _unused(bands: int, scale: int, config: Config) -> int:
    """The LayerNorm(F) that each spectral attention allocates and never calls."""
    del bands, scale
    return 2 * config.features * sum(config.depths)


MODEL = ModelSpec(
    build=CST,
    config=Config,
    task="sharpen",
    scales=(2, 3, 4, 8),
    multiple_of=1,
    halo=lambda config: None,
    taps=lambda config: {
        "stages": tuple(f"stages.{i}" for i in range(len(config.depths))),
        "upsampled": ("upsample",),
        "head": ("head",),
    },
    paper="Chen et al., Cross-Scope Spatial-Spectral Information Aggregation for HSI Super-Resolution, IEEE TIP 2024",
    unused=_unused,
)
