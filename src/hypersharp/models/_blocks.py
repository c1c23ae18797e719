"""The few blocks that more than one network of the zoo holds."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of `(N, C, h, w)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel's channels."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ChannelGate(nn.Module):
    """Squeeze and excitation: each channel times a weight in 0 … 1 from the means of all (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, reduction: int) -> None:
        """`channels` to `channels // reduction` and back, with biases."""
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1)
        self.excite = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, h, w)` to the same shape."""
        weights = self.excite(functional.relu(self.squeeze(self.pool(x))))
        return x * torch.sigmoid(weights)


class DropPath(nn.Module):
    """Leave out a residual branch for some samples of a batch while training (Huang et al., ECCV 2016)."""

    def __init__(self, rate: float) -> None:
        """`rate`: share of samples left out."""
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """`(N, ...)` with whole samples set to 0 and the others scaled up; unchanged when not training."""
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(x.shape[0], *(1,) * (x.dim() - 1), device=x.device) >= self.rate
        return x * keep.to(x.dtype) / (1 - self.rate)


class SpectralAttention(nn.Module):
    """Attention between channels within heads, at half the features; `(N, F, h, w)` with even h, w (CST's CSE)."""

    def __init__(self, features: int, heads: int) -> None:
        """Queries and keys at half the resolution, values at full."""
        super().__init__()
        inner = features // 2
        self.heads = heads
        self.value = nn.Conv2d(features, inner, 1, bias=False)
        self.query_key = nn.Conv2d(features, 2 * inner, 1, bias=False)
        self.halve = nn.Conv2d(2 * inner, 2 * inner, 2, stride=2, groups=2 * inner)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.project = nn.Conv2d(inner, features, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        batch, _, height, width = x.shape
        query, key = self.halve(self.query_key(x)).chunk(2, dim=1)
        query, key, value = (
            part.reshape(batch, self.heads, part.shape[1] // self.heads, -1) for part in (query, key, self.value(x))
        )  # (N, heads, F/2/heads, pixels)
        query, key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)
        weights = torch.softmax(query @ key.transpose(2, 3) * self.temperature, dim=-1)
        mixed: Tensor = self.project((weights @ value).reshape(batch, -1, height, width))
        return mixed


class GatedFeedForward(nn.Module):
    """1×1 to twice the hidden features, depthwise 3×3, one half gates the other, 1×1 back; `(N, F, h, w)`."""

    def __init__(self, features: int, expansion: float) -> None:
        """No biases; `expansion · F` hidden features."""
        super().__init__()
        hidden = int(expansion * features)
        self.widen = nn.Conv2d(features, 2 * hidden, 1, bias=False)
        self.spread = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.narrow = nn.Conv2d(hidden, features, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        gate, value = self.spread(self.widen(x)).chunk(2, dim=1)
        out: Tensor = self.narrow(functional.gelu(gate) * value)
        return out


class Stage(nn.Module):
    """A chain of layers, fused, and a small residual branch with channel attention; x enters twice, as in CST."""

    def __init__(self, layers: list[nn.Module], features: int, kernel: int, branch_weight: float) -> None:
        """The convolutions that close the stage have sides of `kernel`; the branch counts `branch_weight`."""
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.fuse = nn.Conv2d(features, features, kernel, padding=kernel // 2)
        self.branch = nn.Sequential(
            nn.Conv2d(features, features, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.Conv2d(features, features, kernel, padding=kernel // 2),
            ChannelGate(features, 16),
        )
        self.branch_weight = branch_weight

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        out: Tensor = x + self.fuse(self.layers(x)) + (x + self.branch_weight * self.branch(x))
        return out


def mirror_pad(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    """`x` with mirrored margins along `dim`, the edge repeated; wider margins than `x` are mirrored again."""
    size = x.shape[dim]
    at = torch.arange(-before, size + after, device=x.device) % (2 * size)
    return x.index_select(dim, torch.minimum(at, 2 * size - 1 - at))


def band_groups(bands: int, group: int, overlap: int) -> tuple[slice, ...]:
    """Runs of `group` bands that overlap by `overlap`; the last ends with the last band (Jiang et al., SSPSR)."""
    width, step = min(group, bands), group - overlap
    number = max(1, math.ceil((bands - overlap) / step))
    starts = [min(i * step, bands - width) for i in range(number)]
    return tuple(slice(start, start + width) for start in starts)


def average_groups(parts: list[Tensor], groups: tuple[slice, ...]) -> Tensor:
    """Groups `(N, b, h, w)` put back as `(N, C, h, w)`; bands that several hold are averaged."""
    batch, _, height, width = parts[0].shape
    total = parts[0].new_zeros(batch, groups[-1].stop, height, width)
    count = parts[0].new_zeros(groups[-1].stop, 1, 1)
    for part, at in zip(parts, groups, strict=True):
        total[:, at] += part
        count[at] += 1
    return total / count
