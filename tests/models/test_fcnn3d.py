"""3D-FCNN: LKCA's form is its 3-D layers on a volume one band deep, whose outer taps only meet zeros."""

from __future__ import annotations

import torch
from torch.nn import functional

from hypersharp import models
from hypersharp.models import fcnn3d
from hypersharp.models._count import count_macs


def test_runs_of_bands_compute_nothing_twice():
    """By hand: before the last layer, of 5×5 pixels and 3 bands, there are 4 rows and columns and 2 bands more."""
    wanted = 9 * 36 * 36 * (64 * 7 * 81 + 64 * 32 + 32 * 9) + 7 * 32 * 32 * 9 * 3 * 25
    for bands_at_once in (1, 2, 4, 100):
        config = fcnn3d.Config(voxels=bands_at_once * 32 * 32)
        net = models.build("fcnn3d", bands=7, scale=4, config=config)
        assert count_macs(net, bands=7, lr_size=(8, 8)) == wanted


def test_the_low_resolution_form_is_the_one_with_three_depth_taps():
    torch.manual_seed(0)
    net = models.build("fcnn3d_lr", bands=3, scale=2, config=fcnn3d.Config(features=(5, 4, 3))).double()
    lr = torch.rand(2, 3, 6, 7, dtype=torch.float64)
    volume, dead = lr.unsqueeze(2), 0  # (N, C, 1, h, w): bands as channels
    layers = [net.body[0], net.body[2], net.body[4], net.upsample[0]]
    for at, (layer, depth) in enumerate(zip(layers, (3, 1, 1, 3), strict=True)):
        kernel = torch.randn(*layer.weight.shape[:2], depth, *layer.weight.shape[2:], dtype=torch.float64)
        kernel[:, :, depth // 2] = layer.weight.detach()
        dead += kernel.numel() - layer.weight.numel()
        side = layer.weight.shape[-1]
        volume = functional.conv3d(volume, kernel, layer.bias, padding=(depth // 2, side // 2, side // 2))
        volume = volume.relu() if at < 3 else volume
    with torch.no_grad():
        assert torch.allclose(net(lr), functional.pixel_shuffle(volume.squeeze(2), 2), rtol=0, atol=1e-12)
    assert dead == models.get_spec("fcnn3d_lr").unused(3, 2, fcnn3d.Config(features=(5, 4, 3)))
