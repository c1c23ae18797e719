"""Upsamplers that networks end in: dense, grouped or low-rank convolution with PixelShuffle, and the bicubic skip.

The low-rank forms are those of LKCA-LR (Shi et al., "Rethinking the Upsampling Layer in Hyperspectral Image Super
Resolution"), which the paper calls non-intrusive: every network here that ends in convolution and PixelShuffle takes
them by its configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hypersharp.errors import UsageError
from hypersharp.models._blocks import eager_on_cpu
from hypersharp.operators.axis import enlarge_bicubic

_PAD = 2  # LR pixels that bicubic interpolation reads beyond a pixel
_RUN = 8  # LR pixels whose enlargement is one row of a matrix product; 4 to 16 take the same time


@dataclass(frozen=True)
class Upsampler:
    """How the upsampling convolution is factorised.

    Attributes:
        kind: ``"dense"``; ``"grouped"``, a block-diagonal convolution; ``"rank"``, F -> rank -> C·s² through a 1×1.
        groups: number of groups of a grouped one.
        rank: inner channels of a low-rank one.
    """

    kind: Literal["dense", "grouped", "rank"] = "dense"
    groups: int = 8
    rank: int = 60


def shuffle(features: int, channels: int, scale: int, how: Upsampler, *, bias: bool = True) -> nn.Sequential:
    """Convolution `F -> C·s²` and PixelShuffle(s).

    Args:
        features: `F`.
        channels: `C` of the result.
        scale: `s`.
        how: factorisation of the convolution.
        bias: whether the convolution has one.

    Raises:
        UsageError: the groups divide neither `F` nor `C·s²`.
    """
    wide = channels * scale**2
    if how.kind == "dense":
        return nn.Sequential(nn.Conv2d(features, wide, 3, padding=1, bias=bias), nn.PixelShuffle(scale))
    if how.kind == "grouped":
        if features % how.groups or wide % how.groups:
            raise UsageError(f"groups must divide {features} features and {wide} channels, got {how.groups}")
        grouped = nn.Conv2d(features, wide, 3, padding=1, groups=how.groups, bias=bias)
        return nn.Sequential(grouped, nn.PixelShuffle(scale))
    return nn.Sequential(
        nn.Conv2d(features, how.rank, 3, padding=1, bias=False),
        nn.Conv2d(how.rank, wide, 1, bias=bias),
        nn.PixelShuffle(scale),
    )


def progressive(features: int, scale: int, how: Upsampler) -> nn.Sequential:
    """`log2(s)` times convolution `F -> 4·F` and PixelShuffle(2); for a scale of 3 once with PixelShuffle(3).

    Raises:
        UsageError: the scale is neither 3 nor a power of two.
    """
    steps = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}.get(scale)
    if steps is None:
        raise UsageError(f"a progressive upsampler takes the scales 2, 3, 4 and 8, got {scale}")
    return nn.Sequential(*(shuffle(features, features, step, how) for step in steps))


class BicubicSkip(nn.Module):
    """MATLAB's bicubic enlargement of `(N, C, h, w)`, with the taps of `operators`; any size, any device, exportable.

    Each of the `s` phases of an axis is one short convolution; the border is mirrored with the edge pixel repeated.
    Processors are slow at convolutions of one channel: there runs of pixels are multiplied with a small banded matrix.
    """

    taps: Tensor
    run: Tensor

    def __init__(self, scale: int) -> None:
        """For one scale; holds no weights that learn."""
        super().__init__()
        self.scale = scale
        for name, pixels in (("taps", 1), ("run", _RUN)):  # (s, 1 + 2·pad) and (s·run, run + 2·pad)
            start, stop = 2 * _PAD, 2 * _PAD + pixels
            axis = enlarge_bicubic(stop + 2 * _PAD, scale)
            weights = axis.matrix((start * scale, stop * scale), (start - _PAD, stop + _PAD))
            self.register_buffer(name, torch.from_numpy(weights).float(), persistent=False)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`, in the precision of `lr` whatever autocast says."""
        kind = lr.device.type
        with torch.autocast("cpu" if kind == "meta" else kind, enabled=False):
            return self._multiplied(lr) if eager_on_cpu(lr) else self._enlarged(lr)

    def _multiplied(self, lr: Tensor) -> Tensor:
        """As `_enlarged`, in products of runs of pixels; both sides are padded to whole runs and cut again."""
        batch, channels, height, width = lr.shape
        weights, window = self.run.to(lr.dtype), _RUN + 2 * _PAD
        across = -(-width // _RUN) * _RUN
        planes = lr.reshape(batch * channels, height, width)
        planes = planes.index_select(1, _mirrored(-(-height // _RUN) * _RUN, lr.device, height))
        planes = planes.index_select(2, _mirrored(across, lr.device, width))
        tall = torch.matmul(weights, planes.unfold(1, window, _RUN).transpose(2, 3))  # (NC, runs, s·run, w + 2·pad)
        tall = tall.flatten(1, 2)[:, : height * self.scale]
        # One flat product: as a batch of small ones it takes five times as long.
        wide = tall.unfold(2, window, _RUN).reshape(-1, window) @ weights.t()
        wide = wide.view(batch, channels, height * self.scale, across * self.scale)
        return wide[..., : width * self.scale].contiguous()

    def _enlarged(self, lr: Tensor) -> Tensor:
        batch, channels, height, width = lr.shape
        planes = lr.reshape(batch * channels, 1, height, width)
        planes = planes.index_select(2, _mirrored(height, lr.device)).index_select(3, _mirrored(width, lr.device))
        taps = self.taps.to(lr.dtype)
        tall = functional.conv2d(planes, taps[:, None, :, None])  # (NC, s, h, w + 2·pad)
        tall = tall.permute(0, 2, 1, 3).reshape(batch * channels, 1, height * self.scale, width + 2 * _PAD)
        wide = functional.conv2d(tall, taps[:, None, None, :])  # (NC, s, s·h, w)
        return wide.permute(0, 2, 3, 1).reshape(batch, channels, height * self.scale, width * self.scale)


def _mirrored(size: int, device: torch.device, held: int | None = None) -> Tensor:
    """Rows or columns of an axis of `held` (else `size`) pixels that stand for `size` and a margin on both sides."""
    held = size if held is None else held
    at = torch.arange(-_PAD, size + _PAD, device=device) % (2 * held)
    return torch.minimum(at, 2 * held - 1 - at)
