"""MCNet: mixed convolutional network; 2-D and 3-D convolutions share their findings, for any number of bands.

Paper: Li, Wang, Li, "Mixed 2D/3D Convolutional Network for Hyperspectral Image Super-Resolution", Remote Sensing
12(10):1660, 2020.
Idea: the cube is a volume of one channel. Separable 3-D units (1×3×3, then 3×1×1) follow one another in a module; what
each finds also goes through a pair of 2-D convolutions, band by band, and the three results are weighed and joined.
Each module gets the head's features again. A transposed 3-D convolution enlarges. All weights are normalised.
Departures: the published code subtracts the means of the 31 bands of one data set; here `band_means` are a matter of
the configuration, none unless given. The last two layers hold 64 features at HR, so they go through in runs of bands,
which is exact; up to two bands at either end of a run are computed twice. They are a transposed 3-D convolution and no
PixelShuffle, so no `Upsampler` is taken.
Training: L1; Adam, learning rate 1e-4, half every 35 of 200 epochs; batch 16.

Letters: N batch, C bands, F features (64), h w rows and columns of LR, s scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from hypersharp.errors import UsageError
from hypersharp.models._blocks import VolumeConv, eager_on_cpu
from hypersharp.models._spec import ModelSpec


@dataclass(frozen=True)
class Config:
    """Dimensions; the defaults are the paper's.

    Attributes:
        features: `F`.
        modules: mixed modules.
        band_means: subtracted from the input's bands and added to the output's; none if empty.
        voxels: HR voxels that the last layers take at once, at least one band of them; bounds the memory.
    """

    features: int = 64
    modules: int = 4
    band_means: tuple[float, ...] = ()
    voxels: int = 1 << 21


def _conv(into: int, out: int, kernel: tuple[int, int, int]) -> nn.Module:
    """Convolution over bands, rows and columns that keeps the sides, with normalised weights."""
    layer: nn.Module = weight_norm(VolumeConv(into, out, kernel))
    return layer


def _separable(features: int) -> nn.Sequential:
    """1×3×3 and 3×1×1, each with ReLU; `(N, F, C, h, w)`."""
    return nn.Sequential(
        _conv(features, features, (1, 3, 3)),
        nn.ReLU(inplace=True),
        _conv(features, features, (3, 1, 1)),
        nn.ReLU(inplace=True),
    )


class MixedModule(nn.Module):
    """Three 3-D units in a row, a 2-D pair on each, the join, and one more 3-D unit; `(N, F, C, h, w)`."""

    def __init__(self, features: int) -> None:
        """One module."""
        super().__init__()
        self.units = nn.ModuleList(_separable(features) for _ in range(3))
        self.pairs = nn.ModuleList(
            nn.Sequential(
                _conv(features, features, (1, 3, 3)), nn.ReLU(inplace=True), _conv(features, features, (1, 3, 3))
            )
            for _ in range(3)
        )
        self.gammas = nn.Parameter(torch.ones(3))
        self.join = nn.Sequential(_conv(3 * features, features, (1, 1, 1)), nn.ReLU(inplace=True))
        self.last = _separable(features)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, C, h, w)` to the same shape."""
        deep, found = x, []
        for unit, pair, gamma in zip(self.units, self.pairs, self.gammas, strict=True):
            deep = deep + unit(deep)
            found.append(gamma * pair(deep))
        out: Tensor = self.last(x + self.join(torch.cat(found, dim=1)))
        return out


class MCNet(nn.Module):
    """Head, modules, transposed convolution, last convolution."""

    band_means: Tensor

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights, as many for any number of bands.

        Raises:
            UsageError: the configuration has band means, but not one for each band.
        """
        super().__init__()
        if config.band_means and len(config.band_means) != bands:
            raise UsageError(f"band_means takes one value for each of {bands} bands, got {len(config.band_means)}")
        features = config.features
        means = torch.tensor(config.band_means) if config.band_means else torch.zeros(bands)
        self.register_buffer("band_means", means[:, None, None], persistent=False)
        self.head = _conv(1, features, (3, 3, 3))
        self.body = nn.ModuleList(MixedModule(features) for _ in range(config.modules))
        side = scale + 2
        self.enlarge = weight_norm(
            nn.ConvTranspose3d(features, features, (3, side, side), stride=(1, scale, scale), padding=1), dim=0
        )
        self.tail = _conv(features, 1, (3, 3, 3))
        self.scale, self.voxels = scale, config.voxels

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        batch, bands, height, width = lr.shape
        start = self.head((lr - self.band_means).unsqueeze(1))
        if eager_on_cpu(lr):
            start = start.contiguous(memory_format=torch.channels_last_3d)  # for all that follows
        x = start
        for module in self.body:
            x = module(x) + start
        run = max(1, self.voxels // (batch * height * width * self.scale**2))
        parts = [self._finish(x, at, min(at + run, bands)) for at in range(0, bands, run)]
        return torch.cat(parts, dim=2).squeeze(1) + self.band_means

    def _finish(self, x: Tensor, first: int, stop: int) -> Tensor:
        """Bands `first` to `stop` of the result: each layer reads one band more on either side, where there is one."""
        bands = x.shape[2]
        wide_first, wide_stop = max(first - 1, 0), min(stop + 1, bands)
        read_first, read_stop = max(wide_first - 1, 0), min(wide_stop + 1, bands)
        wide = self.enlarge(x[:, :, read_first:read_stop])
        wide = wide[:, :, wide_first - read_first : wide_stop - read_first]
        return self.tail(wide)[:, :, first - wide_first : stop - wide_first]  # type: ignore[no-any-return]


MODEL = ModelSpec(
    build=MCNet,
    config=Config,
    task="sharpen",
    scales=(2, 3, 4, 8),
    multiple_of=1,
    # The head, six pixels of a module (three units, a 2-D pair, the last unit), and one for the last two layers.
    halo=lambda config: 1 + 6 * config.modules + 1,
    taps=lambda config: {"stages": tuple(f"body.{i}" for i in range(config.modules)), "head": ("head",)},
    paper="Li et al., Mixed 2D/3D Convolutional Network for HSI Super-Resolution, Remote Sensing 2020",
)
