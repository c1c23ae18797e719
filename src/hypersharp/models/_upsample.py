"""Upsamplers that networks end in: dense, grouped or low-rank convolution with PixelShuffle, and the bicubic skip.

The low-rank forms are those of LKCA-LR (Shi et al., "Rethinking the Upsampling Layer in Hyperspectral Image Super
Resolution"), which the paper calls non-intrusive: every network here that ends in convolution and PixelShuffle takes
them by its configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hypersharp.errors import UsageError
from hypersharp.operators.axis import enlarge_bicubic

_PAD = 2  # LR pixels that bicubic interpolation reads beyond a pixel
_DENSE = 64  # LR pixels a side up to which two matrix products are faster than convolutions


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
    """

    taps: Tensor

    def __init__(self, scale: int) -> None:
        """For one scale; holds no weights that learn."""
        super().__init__()
        self.scale = scale
        middle = 2 * _PAD
        axis = enlarge_bicubic(4 * _PAD + 1, scale)
        rows = (middle * scale, (middle + 1) * scale)
        weights = axis.matrix(rows, (middle - _PAD, middle + _PAD + 1))
        self.register_buffer("taps", torch.from_numpy(weights).float(), persistent=False)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`, in the precision of `lr` whatever autocast says."""
        kind = lr.device.type
        with torch.autocast("cpu" if kind == "meta" else kind, enabled=False):
            return self._enlarged(lr)

    def _enlarged(self, lr: Tensor) -> Tensor:
        batch, channels, height, width = lr.shape
        if max(height, width) <= _DENSE and lr.device.type == "cpu" and not torch.onnx.is_in_onnx_export():
            rows, columns = (torch.from_numpy(_dense(size, self.scale)).to(lr.dtype) for size in (height, width))
            enlarged: Tensor = rows @ (lr.contiguous() @ columns.T)
            return enlarged
        planes = lr.reshape(batch * channels, 1, height, width)
        planes = planes.index_select(2, _mirrored(height, lr.device)).index_select(3, _mirrored(width, lr.device))
        taps = self.taps.to(lr.dtype)
        tall = functional.conv2d(planes, taps[:, None, :, None])  # (NC, s, h, w + 2·pad)
        tall = tall.permute(0, 2, 1, 3).reshape(batch * channels, 1, height * self.scale, width + 2 * _PAD)
        wide = functional.conv2d(tall, taps[:, None, None, :])  # (NC, s, s·h, w)
        return wide.permute(0, 2, 3, 1).reshape(batch, channels, height * self.scale, width * self.scale)


@lru_cache(maxsize=64)
def _dense(size: int, scale: int) -> NDArray[np.float64]:
    return enlarge_bicubic(size, scale).matrix()


def _mirrored(size: int, device: torch.device) -> Tensor:
    at = torch.arange(-_PAD, size + _PAD, device=device) % (2 * size)
    return torch.minimum(at, 2 * size - 1 - at)
