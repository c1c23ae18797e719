"""Where training starts: a network whose last convolution is zero gives what its skip gives, bicubic enlargement.

Fresh weights start several decibels below bicubic and spend a short run's first third on getting there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hypersharp.errors import UsageError
from hypersharp.models._upsample import BicubicSkip

_LAYERS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


def leading_axes(scenes: Sequence[Tensor], channels: int) -> Tensor:
    """`(C, C)` of orthonormal rows: what the scenes' spectra are mostly made of first.

    Args:
        scenes: `(C or more, h, w)` each, unknown values 0; channels after the first C are not looked at.
        channels: `C`.
    """
    moments = torch.zeros(channels, channels, dtype=torch.float64)
    for scene in scenes:
        pixels = scene[:channels].flatten(1).double().cpu()
        moments += pixels @ pixels.T
    axes: Tensor = torch.linalg.eigh(moments).eigenvectors.flip(1).T.contiguous()
    return axes


def start_from_bicubic(
    model: nn.Module,
    *,
    channels: int,
    scale: int,
    described: int = 0,
    msi_bands: int | None = None,
    axes: Tensor | None = None,
) -> None:
    """Set the weights of the layer that runs last to zero; where convolutions follow the skip, make those pass it on.

    Args:
        model: a network that adds its result to a bicubic enlargement, or (CST, EDLGFS, MSDformer) to features made of
            one; with fewer features than channels, features are the leading `axes`, and what they leave out is lost.
        channels: of its output.
        scale: HR/LR ratio.
        described: channels of its input besides; a network told of its scene may give a change, which starts at zero.
        msi_bands: of the MSI that a network that fuses takes; None for one that sharpens a cube alone.
        axes: `(C, C)` as `leading_axes` gives; the channels themselves without.

    Raises:
        UsageError: the network does not give bicubic enlargement then, so it has no such skip.
    """
    ran: list[nn.Module] = []
    layers = [layer for layer in model.modules() if isinstance(layer, _LAYERS)]
    handles = [layer.register_forward_hook(lambda layer, *_: ran.append(layer)) for layer in layers]
    weight = next(model.parameters())
    draw = torch.Generator().manual_seed(0)
    lr = torch.rand(1, channels + described, 16, 16, generator=draw).to(weight)
    given = [lr]
    if msi_bands is not None:
        given.append(torch.rand(1, msi_bands, 16 * scale, 16 * scale, generator=draw).to(weight))
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(*given)
            skip, tail = (getattr(model, name, None) for name in ("skip", "tail"))
            if isinstance(skip, nn.Conv2d) and isinstance(tail, nn.Conv2d):
                known = axes if axes is not None and channels > tail.in_channels else torch.eye(channels)
                kept = known[: tail.in_channels].to(weight)
                _pass_on(skip, kept)
                _pass_on(tail, kept.T)
                given[0][:, :channels] = torch.einsum("fc,fd,ndhw->nchw", kept, kept, lr[:, :channels])
                ran = [layer for layer in ran if layer not in (skip, tail)]
            for part in ran[-1].parameters():
                part.zero_()
            wide = BicubicSkip(scale).to(weight.device)(lr[:, :channels])
            if msi_bands == channels:  # the draft that it may start from
                given[1] = wide
            sr = model(*given)
            away = (sr - wide).abs().max() if sr.any() or not described else torch.zeros(())
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    if away > 1e-4:
        raise UsageError('train.start = "bicubic" needs a network with a bicubic skip; take "random" for this one')


def _pass_on(layer: nn.Conv2d, matrix: Tensor) -> None:
    """The first channels out are `matrix` times the first in; further ones out, if any, stay as they are."""
    rows, columns = matrix.shape
    layer.weight[:rows].zero_()
    layer.weight[:rows, :columns, layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] = matrix
    if layer.bias is not None:
        layer.bias.zero_()
