"""Many sensors out of a few scenes: each scene again and again with other bands, gains, blur and noise.

For weights that are to serve sensors they never saw. An instance is fitted as a user's LR cube is, noise estimate and
eigenimages included, and what consistency makes of bicubic enlargement is taken off its HR: the network learns what is
left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hypersharp.cube.source import array_source
from hypersharp.data.patches import Pair, draw_gains
from hypersharp.data.scenes import Scene
from hypersharp.degrade.psf import Psf
from hypersharp.infer import subspace
from hypersharp.infer.conditions import conditions_of
from hypersharp.infer.fit import fit_consistency, fit_scene
from hypersharp.infer.methods import Bicubic
from hypersharp.infer.sharpen import Sharpened, halo_of
from hypersharp.infer.tiles import plan
from hypersharp.train.config import DataConfig, VaryConfig

Floats = NDArray[np.float32]

_FEWEST_BANDS = 4


@dataclass(frozen=True, eq=False)
class Instance:
    """A scene as one sensor would have it.

    Attributes:
        pair: LR eigenimages with the describing channels after them, and what is missing of HR.
        weight: `(K,)` of each eigenimage in the loss, mean 1.
        gram: `(1 + K, 1 + K)` of mean and basis.
    """

    pair: Pair
    weight: torch.Tensor
    gram: torch.Tensor


def instances(
    scenes: Sequence[Scene], generated: Sequence[Scene], data: DataConfig, vary: VaryConfig, *, seed: int
) -> Iterator[Instance]:
    """Make what `drawn` gives.

    Args:
        scenes: real scenes, sides multiples of the scale.
        generated: drawn or lifted ones, likewise; may be empty.
        data: the recipe's data.
        vary: how they differ.
        seed: of the run.
    """
    for scene, draw, name in drawn(scenes, generated, vary, seed=seed):
        yield make_instance(scene, data, vary, draw, name=name)


def drawn(
    scenes: Sequence[Scene], generated: Sequence[Scene], vary: VaryConfig, *, seed: int
) -> Iterator[tuple[Scene, np.random.Generator, str]]:
    """`vary.instances` scenes, each with what its random numbers come from and a name.

    Each depends on the seed, its number and its scene alone.
    """
    orders = [np.random.default_rng([seed, 11, kind]) for kind in (0, 1)]
    queues: list[list[int]] = [[], []]
    for number in range(vary.instances):
        draw = np.random.default_rng([seed, 13, number])
        kind = int(bool(generated) and draw.random() < vary.generated)
        pool = generated if kind else scenes
        if not queues[kind]:  # every scene of a kind once before any twice
            queues[kind] = orders[kind].permutation(len(pool)).tolist()
        scene = pool[queues[kind].pop()]
        yield scene, draw, f"{scene.name}#{number}"


def make_instance(
    scene: Scene, data: DataConfig, vary: VaryConfig, draw: np.random.Generator, *, name: str
) -> Instance:
    """One scene with drawn bands, gains, blur and noise."""
    scale, whole = data.scale, whole_of(scene.valid, data.scale)
    hr = other_bands(scene.hr, vary, draw)
    operator = draw_psf(vary, draw, scale).operator(hr.shape[1:], scale)
    lr: Floats = operator.apply(hr)
    if draw.random() >= vary.clean:
        lr = with_noise(lr, whole, draw.uniform(*vary.snr_db), draw)
    lr = np.where(whole, lr, np.float32(np.nan))
    source, method = array_source(lr), Bicubic.of(lr.shape[1:], scale)
    fitted = fit_scene(source)
    space = subspace.of_scene(fitted, count=data.components)
    low = space.encode(np.nan_to_num(lr))
    wanted = space.encode(hr)
    if vary.change:
        follow = fit_consistency(fitted, method, operator, mode="noise")
        tiles = plan(lr.shape[1:], tile=256, halo=halo_of(method.halo, follow, complete=source.complete), scale=scale)
        base, _ = Sharpened(source, method, follow, tiles).read(slice(None), slice(None), slice(None))
        wanted = wanted - space.encode(np.nan_to_num(base))
    if vary.describe:
        told = conditions_of(operator, fitted.live_noise, space.project)
        low = np.concatenate([low, np.broadcast_to(told[:, None, None], (len(told), *low.shape[1:]))])
    pair = Pair(
        name,
        torch.from_numpy(low.astype(np.float32)),
        torch.from_numpy(wanted.astype(np.float32)),
        scene.valid & whole.repeat(scale, axis=0).repeat(scale, axis=1),
    )
    return in_space(pair, space)


def in_space(pair: Pair, space: subspace.Subspace) -> Instance:
    """A pair of eigenimages with what losses need to know of their basis."""
    spread = space.spread()
    weight = torch.from_numpy(spread / max(float(spread.mean()), 1e-12)).float()
    return Instance(pair, weight, torch.from_numpy(space.gram()).float())


def with_noise(values: Floats, known: NDArray[np.bool_], snr_db: float, draw: np.random.Generator) -> Floats:
    """`(C, h, w)` with white noise, in each band so far below its power over the pixels `known`."""
    level = np.sqrt((values**2).mean(axis=(1, 2), where=known)) * 10 ** (-snr_db / 20)
    noisy: Floats = values + level[:, None, None].astype(np.float32) * draw.standard_normal(values.shape, np.float32)
    return noisy


def whole_of(valid: NDArray[np.bool_], scale: int) -> NDArray[np.bool_]:
    """LR pixels all of whose HR pixels are valid."""
    height, width = valid.shape
    return np.asarray(valid.reshape(height // scale, scale, width // scale, scale).all(axis=(1, 3)))


def other_bands(hr: Floats, vary: VaryConfig, draw: np.random.Generator) -> Floats:
    """Some of the bands, neighbours or any, each with a gain."""
    most = min(len(hr), vary.most_bands)
    count = int(draw.integers(min(_FEWEST_BANDS, most), most + 1))
    if draw.random() < 0.5:
        first = int(draw.integers(0, len(hr) - count + 1))
        index = np.arange(first, first + count)
    else:
        index = np.sort(draw.choice(len(hr), count, replace=False))
    gains = draw_gains(count, vary.gain, draw)
    picked: Floats = hr[index] * gains[:, None, None]
    return picked


def draw_psf(vary: VaryConfig, draw: np.random.Generator, scale: int) -> Psf:
    """A blur, of the kinds and widths that `vary` has."""
    kind = draw.random()
    if kind < vary.bicubic:
        return Psf("bicubic")
    if kind < (1 + vary.bicubic) / 2:
        sigma = float(draw.uniform(*vary.sigma)) * scale
        return Psf("sigma", (sigma, sigma))
    gain = float(draw.uniform(*vary.mtf))
    return Psf("mtf", (gain, gain))
