"""HyFusion: two coupled trunks of shifted-window attention with dense connections.

Paper: Lee et al., "HyFusion: Enhanced Reception Field Transformer for Hyperspectral Image Fusion", arXiv 2501.04665.
Idea: cube and MSI concatenated are a draft of the fused cube, at HR for the spatial trunk and at LR for the spectral
one. Each trunk is six enhanced-reception-field blocks (ERFB): window attention whose windows shift, with every layer
seeing what all before it have found. Deep and shallow features of each trunk are concatenated, the spectral ones are
enlarged, and one more ERFB on both together gives the cube.

The authors have published no network. What the figure shows is above; what it and the text leave open is our choice:
- ERFB is the block of DRCT (Hsu et al., CVPR workshops 2024), by two of the same authors: five Swin layers, each on all
  features so far and with a 1×1 convolution to `growth` new ones after it, the last to F; 0.2 of that is added. Shifts
  of 0 and half a window by turns; feed-forwards of twice the width, and of once in the last two layers.
- 96 features, growth 32, windows of 8: the authors' withdrawn earlier version has the first and the last, DRCT the
  growth. Six heads, or the largest number below that divides the layer's width (4, 5, 6, 4 in layers 2 to 5).
- The figure draws two enlargements in the spectral trunk; both cannot be by the whole scale. The second is kept, so
  that trunk runs at LR, at a sixteenth of the cost for a scale of 4.
- Enlargement is bilinear; shrinking is MATLAB's antialiased bicubic. Leaky ReLUs have a slope of 0.2.
- No dropping of layers while training, and no skip from the cube; `skip` adds bicubic or a draft.
Sides that are no multiple of the window are mirrored up to one, for each trunk on its own grid, and cut again.
A spectral basis is the recipe's, consistency with the inputs is inference's, as for `csakd.py`.
Training: L1 + SAM + stationary wavelet (SWT); the weights are not known. Adam, 1e-4, cosine.

Letters: N batch, C bands, K bands of the MSI, F features (96), h w rows and columns of LR, a side of a window, T = a²
its pixels, s scale. Inside the blocks channels come last.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hypersharp.models._blocks import mirror_pad
from hypersharp.models._fusion_blocks import AddSkip, Pairs, Skip, enlarge
from hypersharp.models._spec import ModelSpec

_SLOPE = 0.2  # of every leaky ReLU
_RESIDUAL = 0.2  # weight of a block's own part


@dataclass(frozen=True)
class Config:
    """Dimensions; the defaults are those that the header accounts for.

    Attributes:
        features: `F`.
        growth: features that each layer of a block adds.
        blocks: ERFBs of each trunk; one more follows on both.
        window: side of the attention's windows, even.
        heads: at most this many.
        expansion: hidden features of each layer's feed-forward, as a multiple of the layer's width; one layer each.
        skip: what the result is added to: ``"none"``, the ``"bicubic"`` enlargement of the cube, or the ``"draft"``
            that a recipe with `data.msi.draft` gives in the MSI's place.
    """

    features: int = 96
    growth: int = 32
    blocks: int = 6
    window: int = 8
    heads: int = 6
    expansion: tuple[int, ...] = (2, 2, 2, 1, 1)
    skip: Skip = "none"


class WindowAttention(nn.Module):
    """Attention within windows (Liu et al., Swin Transformer, ICCV 2021); `(N, h, w, f)` of whole windows."""

    index: Tensor

    def __init__(self, features: int, heads: int, window: int, *, shift: int) -> None:
        """A learned bias for each offset between two pixels of a window, and each head."""
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.query_key_value = _linear(features, 3 * features)
        self.project = _linear(features, features)
        self.bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        at = torch.cartesian_prod(torch.arange(window), torch.arange(window))  # (T, 2)
        apart = at[:, None] - at[None] + window - 1
        self.register_buffer("index", apart[..., 0] * (2 * window - 1) + apart[..., 1], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, h, w, f)` to the same shape."""
        batch, height, width, features = x.shape
        rolled = torch.roll(x, (-self.shift, -self.shift), dims=(1, 2))
        parts = self._split(self.query_key_value(rolled))  # (N·windows, T, 3·f)
        query, key, value = (
            part.reshape(-1, self.window**2, self.heads, features // self.heads).transpose(1, 2)
            for part in parts.chunk(3, dim=-1)
        )  # (N·windows, heads, T, f/heads) each
        bias = self.bias[self.index].permute(2, 0, 1)[None]  # (1, heads, T, T)
        if self.shift:
            bias = bias.masked_fill(self._strangers(rolled), float("-inf")).repeat(batch, 1, 1, 1)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed = self.project(mixed.transpose(1, 2).reshape(-1, self.window, self.window, features))
        cells = mixed.reshape(batch, height // self.window, width // self.window, self.window, self.window, features)
        whole = cells.transpose(2, 3).reshape(batch, height, width, features)
        return torch.roll(whole, (self.shift, self.shift), dims=(1, 2))

    def _split(self, x: Tensor) -> Tensor:
        """`(N, h, w, f)` to `(N·windows, T, f)`."""
        batch, height, width, features = x.shape
        side = self.window
        cells = x.reshape(batch, height // side, side, width // side, side, features)
        return cells.transpose(2, 3).reshape(-1, side * side, features)

    def _strangers(self, x: Tensor) -> Tensor:
        """`(windows, 1, T, T)`: true for two pixels of a window that the roll brought together from two edges."""
        regions = []
        for size in x.shape[1:3]:
            at = torch.arange(size, device=x.device)
            regions.append((at >= size - self.window).long() + (at >= size - self.shift).long())
        label = (3 * regions[0][:, None] + regions[1][None])[None, :, :, None]
        tokens = self._split(label)[:, None, :, 0]  # (windows, 1, T)
        return tokens[..., :, None] != tokens[..., None, :]


class SwinLayer(nn.Module):
    """Window attention and feed-forward, each on normalised features; `(N, h, w, f)`."""

    def __init__(self, features: int, config: Config, expansion: int, *, shift: int) -> None:
        """As many heads as divide the features."""
        super().__init__()
        heads = max(number for number in range(1, config.heads + 1) if features % number == 0)
        self.norm_attention, self.norm_forward = nn.LayerNorm(features), nn.LayerNorm(features)
        self.attention = WindowAttention(features, heads, config.window, shift=shift)
        hidden = expansion * features
        self.forward_part = nn.Sequential(_linear(features, hidden), nn.GELU(), _linear(hidden, features))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, h, w, f)` to the same shape."""
        x = x + self.attention(self.norm_attention(x))
        out: Tensor = x + self.forward_part(self.norm_forward(x))
        return out


class ReceptionBlock(nn.Module):
    """ERFB: Swin layers, each on all features so far; `(N, h, w, F)`."""

    def __init__(self, config: Config) -> None:
        """One block."""
        super().__init__()
        features, last = config.features, len(config.expansion) - 1
        widths = [features + i * config.growth for i in range(last + 1)]
        self.layers = nn.ModuleList(
            SwinLayer(width, config, expansion, shift=i % 2 * (config.window // 2))
            for i, (width, expansion) in enumerate(zip(widths, config.expansion, strict=True))
        )
        self.narrow = nn.ModuleList(
            _linear(width, features if i == last else config.growth) for i, width in enumerate(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, h, w, F)` to the same shape."""
        seen = x
        for layer, narrow in zip(self.layers[:-1], self.narrow[:-1], strict=True):
            seen = torch.cat([seen, functional.leaky_relu(narrow(layer(seen)), _SLOPE)], dim=-1)
        own: Tensor = self.narrow[-1](self.layers[-1](seen))
        return x + _RESIDUAL * own


class Blocks(nn.Sequential):
    """ERFBs in a row on features of any size; `(N, F, h, w)`."""

    def __init__(self, number: int, config: Config) -> None:
        """`number` blocks."""
        super().__init__(*(ReceptionBlock(config) for _ in range(number)))
        self.window = config.window

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        height, width = x.shape[2:]
        whole = mirror_pad(mirror_pad(x, 2, 0, -height % self.window), 3, 0, -width % self.window)
        tokens = whole.permute(0, 2, 3, 1)
        for block in self:
            tokens = block(tokens)
        return tokens.permute(0, 3, 1, 2)[:, :, :height, :width]


class Trunk(nn.Module):
    """Shallow features, and deep ones after them; `(N, C+K, h, w)` to `(N, 2·F, h, w)`."""

    def __init__(self, channels: int, config: Config) -> None:
        """`config.blocks` ERFBs."""
        super().__init__()
        self.stem = nn.Conv2d(channels, config.features, 3, padding=1)
        self.blocks = Blocks(config.blocks, config)

    def forward(self, draft: Tensor) -> Tensor:
        """Both kinds of features, concatenated."""
        shallow = functional.leaky_relu(self.stem(draft), _SLOPE)
        return torch.cat([shallow, self.blocks(shallow)], dim=1)


class HyFusion(nn.Module):
    """The spatial trunk at HR, the spectral trunk at LR, and an ERFB on both."""

    def __init__(self, bands: int, scale: int, config: Config, msi_bands: int) -> None:
        """Fresh weights."""
        super().__init__()
        features = config.features
        self.scale = scale
        self.pairs = Pairs(scale)
        self.spatial, self.spectral = Trunk(bands + msi_bands, config), Trunk(bands + msi_bands, config)
        self.spatial_end, self.spectral_end, self.couple = (
            nn.Conv2d(2 * features, features, 3, padding=1) for _ in range(3)
        )
        self.refine = Blocks(1, config)
        self.tail = nn.Conv2d(features, bands, 3, padding=1)
        self.skip = AddSkip(config.skip, scale, bands, msi_bands)

    def forward(self, lr: Tensor, msi: Tensor) -> Tensor:
        """`(N, C, h, w)` and `(N, K, s·h, s·w)` to `(N, C, s·h, s·w)`."""
        high, low = self.pairs(lr, msi)
        spatial = self.spatial_end(functional.leaky_relu(self.spatial(high), _SLOPE))
        spectral = self.spectral_end(functional.leaky_relu(enlarge(self.spectral(low), self.scale), _SLOPE))
        both = self.couple(torch.cat([spatial, spectral], dim=1))
        sr: Tensor = self.tail(self.refine(both))
        added: Tensor = self.skip(sr, lr, msi)
        return added


def _linear(features: int, to: int) -> nn.Linear:
    """A linear layer that starts as Swin's do."""
    layer = nn.Linear(features, to)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


def _no_halo(config: Config) -> None:
    """Windows lie where the scene begins, so a tile that begins elsewhere has others, whatever its margin."""
    del config


MODEL = ModelSpec(
    build=HyFusion,
    config=Config,
    task="fuse",
    scales=(2, 3, 4, 6, 8),
    multiple_of=1,
    halo=_no_halo,
    taps=lambda config: {"fused": ("refine",), "trunks": ("spatial", "spectral")},
    paper="Lee et al., HyFusion: Enhanced Reception Field Transformer for Hyperspectral Image Fusion, arXiv 2501.04665",
)
