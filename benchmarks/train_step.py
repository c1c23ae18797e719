"""How fast a training step is: patches per second, as a share of the machine's own convolution rate, and the loader.

The rate is that of a dense 3 x 3 convolution of 128 features with its gradients, measured in the same run: what a
step could reach at best. `python benchmarks/train_step.py [LR side] [steps]`
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from hypersharp import models
from hypersharp.data.patches import Pair, Patches
from hypersharp.models._count import count_macs
from hypersharp.train.losses import H_LOSS
from hypersharp.train.objective import Supervised

BANDS, SCALE, BATCH = 48, 4, 16
NETWORKS = ("lkca_lr", "lkca_net", "edlgfs")


def seconds_of(work: Callable[[], None], repeats: int) -> float:
    """Median time of a call after one to warm up."""
    work()
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return float(np.median(found))


def convolution_rate(side: int, repeats: int) -> float:
    """Multiply-accumulates per second, forwards and backwards."""
    x = torch.rand(BATCH, 128, side, side, requires_grad=True).to(memory_format=torch.channels_last)
    weight = torch.rand(128, 128, 3, 3, requires_grad=True)

    def work() -> None:
        functional.conv2d(x, weight, padding=1).sum().backward()

    return 3 * 9 * 128 * 128 * BATCH * side**2 / seconds_of(work, repeats)


def main() -> None:
    """Print the table."""
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    rate = convolution_rate(side, repeats)
    print(f"{torch.get_num_threads()} threads; dense convolution with gradients: {rate / 1e9:.1f} GMAC/s")
    hr = torch.rand(BANDS, 256, 256)
    pair = Pair("scene", torch.rand(BANDS, 64, 64), hr, np.ones((256, 256), dtype=bool))
    patches = Patches([pair], scale=SCALE, patch=side * SCALE, per_epoch=BATCH)
    plan = patches.plan(0)
    loader = seconds_of(lambda: (patches.batch(plan), None)[1], repeats)
    for name in NETWORKS:
        net = models.build(name, bands=BANDS, scale=SCALE).to(memory_format=torch.channels_last)
        objective = Supervised(net, loss=H_LOSS)
        optimiser = torch.optim.Adam(net.parameters())

        def step(objective: Supervised = objective, optimiser: torch.optim.Adam = optimiser) -> None:
            batch = patches.batch(plan)
            optimiser.zero_grad(set_to_none=True)
            objective(batch.lr, batch.hr).total.backward()
            optimiser.step()

        seconds = seconds_of(step, repeats)
        macs = 3 * BATCH * count_macs(net, bands=BANDS, lr_size=(side, side))
        print(
            f"{name:<10} {BATCH / seconds:8.1f} patches/s   {macs / seconds / rate:6.1%} of the convolution rate   "
            f"step without loader {1 - loader / seconds:6.1%}"
        )


if __name__ == "__main__":
    main()
