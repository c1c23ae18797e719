"""Where training starts: a network whose last convolution is zero gives what its skip gives, bicubic enlargement.

Fresh weights start several decibels below bicubic and spend a short run's first third on getting there.
"""

from __future__ import annotations

import torch
from torch import nn

from hypersharp.errors import UsageError
from hypersharp.models._upsample import BicubicSkip

_LAYERS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


def start_from_bicubic(
    model: nn.Module, *, channels: int, scale: int, described: int = 0, msi_bands: int | None = None
) -> None:
    """Set the weights of the layer that runs last to zero; where convolutions follow the skip, make those pass it on.

    Args:
        model: a network that adds its result to a bicubic enlargement, or (CST, EDLGFS, MSDformer) to features made of
            one, of which it then needs at least as many as channels.
        channels: of its output.
        scale: HR/LR ratio.
        described: channels of its input besides; a network told of its scene may give a change, which starts at zero.
        msi_bands: of the MSI that a network that fuses takes; None for one that sharpens a cube alone.

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
            if isinstance(skip, nn.Conv2d) and isinstance(tail, nn.Conv2d) and channels <= tail.in_channels:
                _pass_on(skip)
                _pass_on(tail)
                ran = [layer for layer in ran if layer not in (skip, tail)]
            for part in ran[-1].parameters():
                part.zero_()
            wide = BicubicSkip(scale).to(weight.device)(lr[:, :channels])
            sr = model(*given)
            away = (sr - wide).abs().max() if sr.any() or not described else torch.zeros(())
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    if away > 1e-4:
        raise UsageError('train.start = "bicubic" needs a network with a bicubic skip; take "random" for this one')


def _pass_on(layer: nn.Conv2d) -> None:
    """The first channels out are the first channels in; further ones out, if any, stay as they are."""
    channels = min(layer.in_channels, layer.out_channels)
    middle = tuple(side // 2 for side in layer.kernel_size)
    layer.weight[:channels].zero_()
    for at in range(channels):
        layer.weight[(at, at, *middle)] = 1
    if layer.bias is not None:
        layer.bias.zero_()
