"""The few blocks that more than one network of the zoo holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def eager_on_cpu(x: Tensor) -> bool:
    """Whether sums may be taken in the order that suits a processor: not when counted, exported or elsewhere."""
    return x.device.type == "cpu" and not torch.onnx.is_in_onnx_export()


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of `(N, C, h, w)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel's channels."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution without dilation; its weight gradient, slow in libraries, is a convolution as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad, side, (batch, features, height, width) = grads[0], weight.shape[-1], x.shape
        shared = ([1, 1], [side // 2] * 2, [1, 1], False, [0, 0], features)
        towards = torch.ops.aten.convolution_backward(grad, x, weight, None, *shared, [True, False, False])[0]
        image = x.permute(2, 3, 0, 1).reshape(1, height, width, -1).permute(0, 3, 1, 2)  # (1, N·F, h, w)
        kernel = grad.permute(2, 3, 0, 1).reshape(height, width, 1, -1).permute(3, 2, 0, 1)  # (N·F, 1, h, w)
        each = functional.conv2d(image, kernel, padding=side // 2, groups=batch * features)
        return towards, each.view(batch, features, side, side).sum(0)[:, None], grad.sum((0, 2, 3))


class DepthwiseConv(nn.Conv2d):
    """A depthwise convolution of equal padding whose dilation costs nothing on a processor.

    Libraries are fast on depthwise convolutions without dilation only. So the pixels are dealt to `d²` small images,
    every `d`-th row and column each, those are convolved without dilation, and put back: the same sums, reordered.
    """

    def __init__(self, features: int, side: int, dilation: int = 1) -> None:
        """A kernel of `side × side`, odd, for each of the `features`, its taps `dilation` pixels apart."""
        padding = dilation * (side // 2)
        super().__init__(features, features, side, padding=padding, dilation=dilation, groups=features)
        self.apart = dilation

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        apart = self.apart
        if not eager_on_cpu(x):
            return super().forward(x)
        if apart == 1:
            return self._convolved(x)
        batch, features, height, width = x.shape
        rows, columns = -(-height // apart), -(-width // apart)
        x = functional.pad(x, (0, columns * apart - width, 0, rows * apart - height))
        dealt = x.permute(0, 2, 3, 1).reshape(batch, rows, apart, columns, apart, features)
        dealt = dealt.permute(2, 4, 0, 1, 3, 5).reshape(apart**2 * batch, rows, columns, features).permute(0, 3, 1, 2)
        done = self._convolved(dealt).permute(0, 2, 3, 1).reshape(apart, apart, batch, rows, columns, features)
        together = done.permute(2, 3, 0, 4, 1, 5).reshape(batch, rows * apart, columns * apart, features)
        return together.permute(0, 3, 1, 2)[:, :, :height, :width]

    def _convolved(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        apply: Callable[..., Tensor] = _Depthwise.apply
        return apply(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


class VolumeConv(nn.Conv3d):
    """A 3-D convolution of equal padding, fast on a processor where its kernel is flat.

    Kernels of one band see a batch of images, and those of one pixel see images of bands by pixels: 2-D convolutions of
    the same values, without a copy where `x` lies channel by channel (`torch.channels_last_3d`), as the result does.
    """

    def __init__(self, into: int, out: int, kernel: tuple[int, int, int]) -> None:
        """A kernel of bands, rows and columns, all odd."""
        bands, rows, columns = kernel
        super().__init__(into, out, kernel, padding=(bands // 2, rows // 2, columns // 2))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, C, h, w)` to the same but for `F`."""
        bands, rows, columns = self.kernel_size
        if not eager_on_cpu(x) or (bands > 1 and rows * columns > 1):
            return super().forward(x)
        batch, _, depth, height, width = x.shape
        if bands == 1:
            weight, flat = self.weight[:, :, 0], (batch * depth, height, width, -1)
        else:
            weight, flat = self.weight[..., 0], (batch, depth, height * width, -1)
        images = x.permute(0, 2, 3, 4, 1).reshape(flat).permute(0, 3, 1, 2)
        done = functional.conv2d(images, weight, self.bias, padding=(weight.shape[2] // 2, weight.shape[3] // 2))
        return done.permute(0, 2, 3, 1).reshape(batch, depth, height, width, -1).permute(0, 4, 1, 2, 3)


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
        return x * self.weights(self.pool(x))

    def weights(self, means: Tensor) -> Tensor:
        """The weights from the means, `(N, C, 1, 1)` both."""
        return torch.sigmoid(self.excite(functional.relu(self.squeeze(means))))


class PlanesShuffle(nn.PixelShuffle):
    """PixelShuffle whose result lies band by band: torch keeps `channels_last`, and is slow to add bicubic to that."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C·s², h, w)` to `(N, C, s·h, s·w)`."""
        if not eager_on_cpu(x):
            return super().forward(x)
        scale, (batch, _, height, width) = self.upscale_factor, x.shape
        parts = x.view(batch, -1, scale, scale, height, width).permute(0, 1, 4, 2, 5, 3)
        return parts.reshape(batch, -1, height * scale, width * scale)


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
