"""What the fusing networks share: cube and MSI brought to one grid, once at HR and once at LR.

Both directions keep the pixel convention of `cube.grid`: LR pixel (i, j) covers HR rows s·i … s·i+s-1.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hypersharp.errors import UsageError
from hypersharp.models._blocks import mirror_pad
from hypersharp.models._upsample import BicubicSkip
from hypersharp.operators.axis import shrink_bicubic

Skip = Literal["none", "bicubic", "draft"]
"""What a network adds its own part to: nothing, the enlarged cube, or the MSI where that is a draft of the result."""


class BicubicShrink(nn.Module):
    """MATLAB's antialiased bicubic shrinking of `(N, C, s·h, s·w)`, with the taps of `operators`; exportable."""

    taps: Tensor

    def __init__(self, scale: int) -> None:
        """For one scale; holds no weights that learn."""
        super().__init__()
        axis = shrink_bicubic(scale, scale)
        assert axis.offset is not None
        taps = axis.weight[0]
        self.scale, self.before = scale, -axis.offset
        self.after = len(taps) - scale - self.before
        self.register_buffer("taps", torch.from_numpy(taps.copy()).float(), persistent=False)

    def forward(self, hr: Tensor) -> Tensor:
        """`(N, C, s·h, s·w)` to `(N, C, h, w)`; the border is mirrored with the edge pixel repeated."""
        batch, channels, height, width = hr.shape
        planes = hr.reshape(batch * channels, 1, height, width)
        planes = mirror_pad(mirror_pad(planes, 2, self.before, self.after), 3, self.before, self.after)
        taps = self.taps.to(hr.dtype)
        low = functional.conv2d(planes, taps[None, None, :, None], stride=(self.scale, 1))
        small = functional.conv2d(low, taps[None, None, None, :], stride=(1, self.scale))
        return small.reshape(batch, channels, height // self.scale, width // self.scale)


class Pairs(nn.Module):
    """Cube and MSI side by side on both grids; no weights that learn."""

    def __init__(self, scale: int) -> None:
        """For one scale."""
        super().__init__()
        self.scale = scale
        self.shrink = BicubicShrink(scale)

    def forward(self, lr: Tensor, msi: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, C, h, w)` and `(N, K, s·h, s·w)` to `(N, C+K, s·h, s·w)` and `(N, C+K, h, w)`."""
        return torch.cat([enlarge(lr, self.scale), msi], dim=1), torch.cat([lr, self.shrink(msi)], dim=1)


class AddSkip(nn.Module):
    """Adds a network's own part to what it starts from; no weights that learn."""

    def __init__(self, skip: Skip, scale: int, bands: int, msi_bands: int) -> None:
        """For one scale.

        Raises:
            UsageError: a draft has other channels than the cube.
        """
        super().__init__()
        if skip == "draft" and bands != msi_bands:
            raise UsageError(
                f"a draft is as many channels as the cube, got {msi_bands} and {bands}; set data.msi.draft = true, or "
                "take another skip"
            )
        self.skip = skip
        self.enlarge = BicubicSkip(scale) if skip == "bicubic" else None

    def forward(self, sr: Tensor, lr: Tensor, msi: Tensor) -> Tensor:
        """`(N, C, s·h, s·w)` of the same, of `(N, C, h, w)` and of `(N, K, s·h, s·w)`."""
        if self.enlarge is None:
            return sr + msi if self.skip == "draft" else sr
        added: Tensor = sr + self.enlarge(lr)
        return added


def enlarge(x: Tensor, scale: int) -> Tensor:
    """Bilinear enlargement of `(N, C, h, w)` with the edge repeated outside."""
    return functional.interpolate(x, scale_factor=float(scale), mode="bilinear", align_corners=False)
