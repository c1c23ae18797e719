"""Lean: a plain residual network for eigenimages, conditioned on the sensor; the one whose weights are shipped.

Source: ours. Its parts are EDSR's (Lim et al., CVPRW 2017) and SRMD's (Zhang, Zuo and Zhang, CVPR 2018).
Idea: dense 3×3 convolutions are what processors do best, so all the work is a chain of residual blocks at low
resolution with one convolution and PixelShuffle at the end. Maps that describe blur and noise come as channels after
the eigenimages, so one set of weights serves every sensor. Where consistency precedes it (`skip = False`), it gives
what that lacks instead of adding to bicubic enlargement: the linear part needs no network.

Letters: N batch, C channels (eigenimages), D describing channels, F features, h w rows and columns of LR, s scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hypersharp.models._spec import ModelSpec
from hypersharp.models._upsample import BicubicSkip, Upsampler, shuffle

_FRESH = 0.1  # of the usual spread of fresh weights


@dataclass(frozen=True)
class Config:
    """Dimensions.

    Attributes:
        features: `F`.
        blocks: residual blocks of two convolutions each.
        describing: `D`, channels of the input beyond those of the output.
        skip: add bicubic enlargement of the first `C` channels.
        upsampler: factorisation of the last convolution.
        guides: None for all channels together; a number for the same network on each channel in turn, with so many of
            the leading channels beside it: any number of channels then, and the work for each.
    """

    features: int = 64
    blocks: int = 8
    describing: int = 0
    skip: bool = True
    upsampler: Upsampler = field(default_factory=Upsampler)
    guides: int | None = None


class Block(nn.Module):
    """`x + conv(act(conv(x)))`, `(N, F, h, w)`."""

    def __init__(self, features: int) -> None:
        """Fresh weights."""
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.act = nn.LeakyReLU(0.1, inplace=True)
        self.second = nn.Conv2d(features, features, 3, padding=1)
        # Without normalisation fresh blocks must add little, or a learning rate worth having drives them apart.
        with torch.no_grad():
            self.second.weight.mul_(_FRESH)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        out: Tensor = x + self.second(self.act(self.first(x)))
        return out


class Lean(nn.Module):
    """`shuffle(blocks(head(lr)))`, with or without bicubic enlargement."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights."""
        super().__init__()
        self.bands, self.guides = bands, None if config.guides is None else min(config.guides, bands)
        seen, given = (bands, bands) if self.guides is None else (1 + self.guides, 1)
        self.head = nn.Conv2d(seen + config.describing, config.features, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(config.features) for _ in range(config.blocks)))
        self.upsample = shuffle(config.features, given, scale, config.upsampler)
        self.skip = BicubicSkip(scale) if config.skip else None

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C + D, h, w)` to `(N, C, s·h, s·w)`."""
        x = self.head(lr if self.guides is None else self._one_by_one(lr, self.guides))
        sharp: Tensor = self.upsample(x + self.blocks(x))
        sharp = sharp.reshape(lr.shape[0], self.bands, *sharp.shape[2:])
        return sharp if self.skip is None else sharp + self.skip(lr[:, : self.bands])

    def _one_by_one(self, lr: Tensor, guides: int) -> Tensor:
        """`(N·C, 1 + G + D, h, w)`."""
        each = lr[:, : self.bands].flatten(0, 1).unsqueeze(1)
        beside = torch.cat([lr[:, :guides], lr[:, self.bands :]], dim=1).repeat_interleave(self.bands, dim=0)
        return torch.cat([each, beside], dim=1)


MODEL = ModelSpec(
    build=Lean,
    config=Config,
    task="sharpen",
    scales=(2, 3, 4, 5, 6, 7, 8),
    multiple_of=1,
    halo=lambda config: 2 + 2 * config.blocks,
    taps=lambda config: {"upsampled": ("upsample",), "stages": tuple(f"blocks.{i}" for i in range(config.blocks))},
    paper="ours, after Lim et al., Enhanced Deep Residual Networks, CVPRW 2017",
)
