"""VDSR: very deep plain network, in its own form on the enlarged cube and in LKCA's form at low resolution.

Paper: Kim, Lee, Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016.
Idea: twenty 3×3 convolutions with ReLU between them; the network learns only what bicubic enlargement lacks. `vdsr`
works on the enlarged cube, as published, with all bands as channels. `vdsr_lr` is the form in the tables of LKCA (Shi
et al.): the same chain without biases on the LR cube, its last convolution giving C·s² channels to a PixelShuffle.
Departures: the paper has one band and one network for all scales; here all bands are channels, and a network has one
scale. The last convolution starts as torch's own. The form of `vdsr_lr` is solved from LKCA's counts,
which it meets in every cell (its Table VI prints two entries in each other's row); that it adds bicubic is assumed.
Only `vdsr_lr` takes an `Upsampler`: `vdsr` enlarges first and has no PixelShuffle.
Training: squared error; SGD with momentum 0.9 and weight decay 1e-4; learning rate 0.1, a tenth every 20 of 80 epochs;
batch 64. The paper clips each value of the gradient to 0.01 / learning rate; here its norm is clipped at a constant
0.4, so that late steps are shorter than the paper's.

Letters: N batch, C bands, F features, h w rows and columns of LR, s scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from hypersharp.models._spec import ModelSpec
from hypersharp.models._upsample import BicubicSkip, Upsampler, shuffle


@dataclass(frozen=True)
class Config:
    """Dimensions; the defaults are the paper's.

    Attributes:
        features: `F`.
        depth: number of convolutions.
    """

    features: int = 64
    depth: int = 20


@dataclass(frozen=True)
class LowResolutionConfig(Config):
    """Dimensions of the low-resolution form.

    Attributes:
        upsampler: factorisation of the last convolution.
    """

    upsampler: Upsampler = field(default_factory=Upsampler)


def _chain(bands: int, features: int, convolutions: int, *, bias: bool) -> nn.Sequential:
    """3×3 convolutions from `C` to `F`, each followed by ReLU."""
    layers: list[nn.Module] = []
    for i in range(convolutions):
        layer = nn.Conv2d(bands if i == 0 else features, features, 3, padding=1, bias=bias)
        # The paper's start (He et al. 2015): torch's own weakens the signal sixfold per layer, and nothing learns.
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layers += [layer, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class VDSR(nn.Module):
    """`bicubic(lr) + chain(bicubic(lr))`."""

    def __init__(self, bands: int, scale: int, config: Config) -> None:
        """Fresh weights."""
        super().__init__()
        self.enlarge = BicubicSkip(scale)
        self.body = _chain(bands, config.features, config.depth - 1, bias=True)
        self.tail = nn.Conv2d(config.features, bands, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        wide = self.enlarge(lr)
        sharp: Tensor = wide + self.tail(self.body(wide))
        return sharp


class LowResolutionVDSR(nn.Module):
    """`bicubic(lr) + shuffle(chain(lr))`."""

    def __init__(self, bands: int, scale: int, config: LowResolutionConfig) -> None:
        """Fresh weights."""
        super().__init__()
        self.body = _chain(bands, config.features, config.depth - 1, bias=False)
        self.upsample = shuffle(config.features, bands, scale, config.upsampler, bias=False)
        self.skip = BicubicSkip(scale)

    def forward(self, lr: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, C, s·h, s·w)`."""
        sharp: Tensor = self.skip(lr) + self.upsample(self.body(lr))
        return sharp


VDSR_PAPER = ModelSpec(
    build=VDSR,
    config=Config,
    task="sharpen",
    scales=(2, 3, 4, 8),
    multiple_of=1,
    # `depth` HR pixels at the smallest scale, and the two LR pixels that bicubic reads.
    halo=lambda config: config.depth // 2 + 1 + 2,
    taps=lambda config: {"stages": tuple(f"body.{2 * i + 1}" for i in range(config.depth - 1))},
    paper="Kim et al., Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016",
)
VDSR_LR = replace(
    VDSR_PAPER,
    build=LowResolutionVDSR,
    config=LowResolutionConfig,
    halo=lambda config: max(config.depth, 2),
    taps=lambda config: {**VDSR_PAPER.taps(config), "upsampled": ("upsample",)},
    paper="Shi et al., Rethinking the Upsampling Layer in HSI Super Resolution (its form of VDSR)",
)
