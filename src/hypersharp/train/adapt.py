"""A network fine-tuned on the very scene that it is to sharpen, one scale down, and kept only where that helps.

The scene is degraded once more by the declared PSF, and the network learns to find it again: training on the test
image itself (Shocher, Cohen and Irani, "Zero-Shot" Super-Resolution, CVPR 2018), from weights that know more than one.
A part of the scene is held back. Weights before and after are compared there by the reduced-resolution test; without a
gain that the test is sure of, the scene is sharpened as if nothing had been tried.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hypersharp.cube import Cube
from hypersharp.cube.source import array_source
from hypersharp.data.patches import Pair, Patches
from hypersharp.data.scenes import Scene
from hypersharp.data.split import Side, split_block
from hypersharp.degrade.psf import Psf
from hypersharp.degrade.wald import degrade
from hypersharp.errors import FileFormatError, NoDataError, TrainingError, UsageError
from hypersharp.evaluate.reduced import NotRun, Reduced, block_side, reduced_test, weight_energy
from hypersharp.infer import subspace
from hypersharp.infer.conditions import conditions_of
from hypersharp.infer.fit import SceneFit, fit_scene
from hypersharp.infer.session import Session
from hypersharp.infer.torch_session import ModuleSession, channels_last, load_model, read_card
from hypersharp.models._card import Card
from hypersharp.operators import Separable
from hypersharp.train.checkpoint import weights_of, with_about
from hypersharp.train.domain import Held
from hypersharp.train.instances import Instance
from hypersharp.train.losses import Space
from hypersharp.train.objective import Supervised

Floats = NDArray[np.float32]

_RATE = 1e-4  # a tenth of what the shipped weights were trained with at most
_WARM_UP = 10  # steps
_EMA = 0.98
_CLIP = 0.5
_BATCH = 8
# L1 pulls towards the median of what is missing, nothing where edges are few; noisy targets only leave a mean unmoved.
_LOSS = {"mse": 1.0}
_PATCH = 24  # pixels of the network's input
_DRAWS = 3  # of the noise, each a pair of its own
_LOOKS = 6  # at the part that is held back, evenly over the time
_PATIENCE = 3  # looks in a row below the best one
_LEAST_STEPS = 8
_TILE = 256  # pixels of the network's input
_LEAST_HELD, _LEAST_TRAINED = 16, 12  # pixels of the network's input along a side
_HELD = 4  # a part in so many is held back
_MOST_VALUES = 1 << 24  # of the part of a scene that is used; a few hundred megabytes are needed for them
_LEAST_ALPHA = 0.1  # as in the reduced-resolution test


@dataclass(frozen=True)
class Effort:
    """How long to try.

    Attributes:
        seconds: for all of it, reading and scoring too; a handful of steps is done in any case.
        steps: a fixed number of steps in place of a time, so that a run can be repeated; 0 for none.
        seed: of noise, places and turns.
        threads: of torch; 0 for its own choice.
    """

    seconds: float = 60.0
    steps: int = 0
    seed: int = 0
    threads: int = 0


@dataclass(frozen=True, eq=False)
class Adapted:
    """What became of a network.

    Attributes:
        card: of the weights; says what was done where they are adapted.
        weights: name to tensor: adapted where `kept`, else those of the checkpoint.
        kept: whether the part that was held back improved.
        gain: of the weights after over those before, on that part; None where it was not measured.
        plain: of the weights after over bicubic and consistency, likewise.
        steps: done.
        seconds: spent.
        note: one line for people.
    """

    card: Card
    weights: dict[str, Tensor]
    kept: bool
    gain: Reduced | None
    plain: Reduced | None
    steps: int
    seconds: float
    note: str

    @property
    def harmful(self) -> bool:
        """Whether even the adapted weights are worse than no network at all."""
        return self.plain is not None and self.plain.sign == "worse"


def adapt(
    checkpoint: Path, lr: Cube, *, scale: int, psf: Psf, effort: Effort = Effort(), consistency: str = "noise"
) -> Adapted:
    """Fine-tune a network on the scene that it is to sharpen.

    Args:
        checkpoint: `.safetensors` of domain ``"subspace"``.
        lr: the scene; of a large one its middle is used.
        scale: HR pixels per LR pixel along a side.
        psf: the declared degradation.
        effort: how long.
        consistency: what follows the network when it is scored, as for `sharpen`.

    Returns:
        New weights, or those of the checkpoint where the scene is too small or nothing was gained; `note` says which.

    Raises:
        FileFormatError: the checkpoint cannot be read.
        UsageError: the network is for another scale or sees bands, or the effort is none.
        TrainingError: the loss is not finite.
    """
    begun = time.monotonic()
    card = read_card(checkpoint)
    _check(card, checkpoint, scale, effort)
    if effort.threads:
        torch.set_num_threads(effort.threads)
    model = channels_last(load_model(checkpoint))
    try:
        best, gain, plain, steps = _tuned(
            model, lr, card=card, psf=psf, effort=effort, consistency=consistency, begun=begun
        )
    except NoDataError as reason:
        spent = time.monotonic() - begun
        return Adapted(card, weights_of(model), False, None, None, 0, spent, f"not adapted to the scene: {reason}")
    spent, said = time.monotonic() - begun, f"{gain.gain_db:+.2f} dB ({gain.low_db:+.2f} to {gain.high_db:+.2f})"
    if gain.sign != "better":
        note = f"not adapted to the scene: no sure gain on the part held back, {said}"
        return Adapted(card, weights_of(load_model(checkpoint)), False, gain, plain, steps, spent, note)
    about = {
        "from": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "scene": lr.values.files[0].name if lr.values.files else "a cube in memory",
        "degradation": str(psf),
        "steps": steps,
        "seconds": round(spent, 1),
        "seed": effort.seed,
        "gain_db": round(gain.gain_db, 4),
        "interval_db": [round(gain.low_db, 4), round(gain.high_db, 4)],
    }
    note = f"adapted to the scene in {steps} steps, {said} on the part held back"
    return Adapted(with_about(card, {"adapted": about}), weights_of(best), True, gain, plain, steps, spent, note)


def _tuned(
    model: nn.Module, lr: Cube, *, card: Card, psf: Psf, effort: Effort, consistency: str, begun: float
) -> tuple[nn.Module, Reduced, Reduced | None, int]:
    """The best weights, their gain over those from before and over none, and the steps done; `model` is changed."""
    learnt, held_back = _parts(lr, card.scale)
    scene = fit_scene(lr.values)
    noise = scene.live_noise
    held = _HeldBack(held_back, noise, card.scale, psf, consistency, effort.seed)
    before = ModuleSession(copy.deepcopy(model), card)
    started = time.monotonic()
    first = held.compare(before, before)
    if isinstance(first, NotRun):
        raise NoDataError(first.reason)
    look = time.monotonic() - started
    try:
        patches, space = _material(learnt, card, psf, noise, effort.seed)
    except UsageError:
        raise NoDataError("no patch of the part to learn from is free of invalid pixels") from None
    # The last look, and both comparisons after it, are paid out of the same time.
    run = _Run(model, patches, space, effort, begun + effort.seconds - 3 * look)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(effort.seed)
        best = run.best(held, before)
    last = replace(held, seed=effort.seed + 1, _made={})  # noise that chose nothing
    gain, plain = last.compare(best, before), last.compare(best, None)
    if isinstance(gain, NotRun):
        raise NoDataError(gain.reason)
    return best.module, gain, None if isinstance(plain, NotRun) else plain, run.steps


def _check(card: Card, checkpoint: Path, scale: int, effort: Effort) -> None:
    if card.domain != "subspace":
        raise UsageError(
            f"{checkpoint.name} sees the bands of one sensor; only networks of domain subspace adapt to a scene; "
            "sharpen without adapting, or choose another"
        )
    if card.scale != scale:
        raise UsageError(f"{checkpoint.name} was made for scale {card.scale}, got scale {scale}; choose another")
    if card.bands is None:
        raise FileFormatError(f"{checkpoint.name}: its card does not say how many eigenimages it takes")
    if not (math.isfinite(effort.seconds) and effort.seconds > 0) or effort.steps < 0:
        raise UsageError(f"adapting takes a time above 0 seconds, got {effort.seconds:g}; give about 60")


def _parts(lr: Cube, scale: int) -> tuple[Cube, Cube]:
    """A part of the scene to learn from and one that is held back, at the end of its longer side.

    What lies between is as wide as the blocks of the reduced-resolution test: errors further apart are not alike.
    """
    gap = block_side((1, 1), scale)
    least = (_LEAST_HELD + _LEAST_TRAINED) * scale + gap
    side = max(math.isqrt(_MOST_VALUES // lr.shape[0]), least)
    lengths = [min(n, side) // scale * scale for n in lr.shape[1:]]
    if min(lengths) < _LEAST_HELD * scale or max(lengths) < least:
        raise NoDataError(
            f"{lr.shape[1]} x {lr.shape[2]} pixels are too few to learn from one part and hold another back; "
            f"scale {scale} takes {least} x {_LEAST_HELD * scale}"
        )
    starts = [(n - length) // 2 for n, length in zip(lr.shape[1:], lengths, strict=True)]
    middle = lr.crop(*(slice(at, at + length) for at, length in zip(starts, lengths, strict=True)))
    size = max(_LEAST_HELD, max(lengths) // scale // _HELD) * scale
    edge: Side = "bottom" if lengths[0] >= lengths[1] else "right"
    both = split_block((lengths[0], lengths[1]), side=edge, size=size, gap=gap)
    learnt, held = (middle.crop(slice(*one.rows), slice(*one.cols)) for one in both)
    return learnt, held


@dataclass(frozen=True, eq=False)
class _HeldBack:
    """The part that is held back, and how networks are compared there; what every comparison needs is made once."""

    part: Cube
    noise: NDArray[np.float64]
    scale: int
    psf: Psf
    consistency: str
    seed: int
    _made: dict[str, Any] = field(default_factory=dict)

    def compare(self, session: Session, other: Session | None) -> Reduced | NotRun:
        """One network against another, always the same one, or against none."""
        return reduced_test(
            lambda test: self._sharpen(session, test),
            self.part,
            scale=self.scale,
            psf=self.psf,
            bicubic=lambda test: self._once("none" if other is None else "before", lambda: self._sharpen(other, test)),
            noise=self.noise,
            seed=self.seed,
            least_side=_LEAST_HELD,
        )

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _sharpen(self, session: Session | None, test: Cube) -> Cube:
        lr = self._once("lr", lambda: test.read()[0])
        scene = self._once("scene", lambda: fit_scene(array_source(lr)))
        operator = self.psf.operator((lr.shape[1] * self.scale, lr.shape[2] * self.scale), self.scale)
        sharp = _sharpened(session, lr, scene, operator, self.consistency)
        return replace(test, values=array_source(sharp), grid=None)


def _sharpened(session: Session | None, lr: Any, scene: SceneFit, operator: Separable, consistency: str) -> Any:
    """A whole cube `(C, h, w)`, NaN where invalid, by the code that users call; no session for bicubic."""
    bands, scale = len(lr), operator.shape_in[0] // operator.shape_out[0]
    no_hr = Scene("the scene", np.zeros((bands, 0, 0), np.float32), np.zeros((0, 0), bool), np.arange(bands), None)
    return Held(no_hr, lr, scene, scale, operator).sharpened(session, tile=_TILE, consistency=consistency)


def _material(part: Cube, card: Card, psf: Psf, noise: NDArray[np.float64], seed: int) -> tuple[Patches, Space]:
    """Patches of the part to learn from, and what their channels mean."""
    values, _ = part.read()
    hr = values.astype(np.float32)
    known = np.nan_to_num(noise)
    draws = [np.random.default_rng([seed, 17, number]) for number in range(_DRAWS if known.any() else 1)]
    made = [_instance(hr, part, card, psf, known, draw) for draw in draws]
    side = min(_PATCH, min(part.shape[1:]) // card.scale) // card.multiple_of * card.multiple_of
    patches = Patches(
        [one.pair for one in made], scale=card.scale, patch=side * card.scale, per_epoch=64 * _BATCH, seed=seed
    )
    return patches, Space(torch.stack([one.weight for one in made]), torch.stack([one.gram for one in made]))


def _instance(
    hr: Floats, part: Cube, card: Card, psf: Psf, noise: NDArray[np.float64], draw: np.random.Generator
) -> Instance:
    """The part degraded once more, as noisy as it is itself, with what a network is to make of that.

    As in the reduced-resolution test, noise b is added before degrading and taken off in the reference, so that the
    noise of one tells nothing of that of the other.
    """
    scale, count = card.scale, card.bands or 0
    operator = psf.operator(hr.shape[1:], scale)
    left = weight_energy(operator)
    alpha = min(1.0, max(_LEAST_ALPHA, 1 / left - 1))
    missing = max(0.0, 1 - (1 + alpha) * left)
    shaken = draw.standard_normal(hr.shape, np.float32) * noise[:, None, None].astype(np.float32)
    cube = replace(part, values=array_source(hr + math.sqrt(alpha) * shaken))
    lr, _ = degrade(cube, scale=scale, psf=psf).read()
    lr = lr + math.sqrt(missing) * draw.standard_normal(lr.shape, np.float32) * noise[:, None, None].astype(np.float32)
    lr = lr.astype(np.float32)
    scene = fit_scene(array_source(lr))
    felt, space = scene.live_noise, subspace.of_scene(scene, count=count)
    valid = np.isfinite(lr[np.isfinite(felt)]).all(axis=0).repeat(scale, axis=0).repeat(scale, axis=1)
    low, wanted = space.encode(np.nan_to_num(lr)), space.encode(np.nan_to_num(hr - shaken / math.sqrt(alpha)))
    if card.gives == "change":
        base = _sharpened(None, lr, scene, operator, "noise")
        wanted = wanted - space.encode(np.nan_to_num(base))
    if card.described:
        told = conditions_of(operator, felt, space.project)
        low = np.concatenate([low, np.broadcast_to(told[:, None, None], (len(told), *low.shape[1:]))])
    spread = space.spread()
    tensors = [torch.from_numpy(plane.astype(np.float32)) for plane in (low, wanted)]
    weight = torch.from_numpy(spread / max(float(spread.mean()), 1e-12)).float()
    return Instance(Pair("the scene", tensors[0], tensors[1], valid), weight, torch.from_numpy(space.gram()).float())


@dataclass
class _Run:
    """The fine-tuning itself."""

    model: nn.Module
    patches: Patches
    space: Space
    effort: Effort
    deadline: float
    steps: int = 0

    def best(self, held: _HeldBack, before: ModuleSession) -> ModuleSession:
        """The averaged weights that scored best where nothing was learnt; those from before if none did better."""
        now = replace(before, module=copy.deepcopy(self.model).requires_grad_(False))
        objective = Supervised(self.model, loss=_LOSS).train()
        optimiser = torch.optim.Adam(self.model.parameters(), lr=_RATE)
        found, top, stale, looks, started = before, 0.0, 0, 1, time.monotonic()
        for rows in self._batches():
            self._step(objective, optimiser, now.module, rows)
            share = self._share(started)
            if share < looks / _LOOKS:
                continue
            looks = math.floor(share * _LOOKS) + 1
            seen = held.compare(now, before)
            assert isinstance(seen, Reduced)
            if seen.gain_db > top:
                found, top, stale = replace(now, module=copy.deepcopy(now.module)), seen.gain_db, 0
            else:
                stale += 1
            if share >= 1 or stale >= _PATIENCE:
                break
        return found

    def _share(self, started: float) -> float:
        """How much of the effort is spent, from 0 to 1 and beyond."""
        if self.effort.steps:
            return self.steps / self.effort.steps
        if self.steps < _LEAST_STEPS:
            return 0.0
        return (time.monotonic() - started) / max(self.deadline - started, 1e-9)

    def _batches(self) -> Iterator[NDArray[np.int64]]:
        for epoch in itertools.count():
            rows = self.patches.plan(epoch)
            yield from (rows[first : first + _BATCH] for first in range(0, len(rows), _BATCH))

    def _step(
        self, objective: Supervised, optimiser: torch.optim.Optimizer, averaged: nn.Module, rows: NDArray[np.int64]
    ) -> None:
        batch, (weight, gram) = self.patches.batch(rows), self.space
        assert weight is not None
        assert gram is not None
        lr = batch.lr.contiguous(memory_format=torch.channels_last)
        total = objective(lr, batch.hr, Space(weight[batch.scene], gram[batch.scene])).total
        if not torch.isfinite(total):
            raise TrainingError(f"the loss is not finite at step {self.steps + 1} of adapting; sharpen without it")
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(1.0, (self.steps + 1) / _WARM_UP)
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
        optimiser.step()
        self.steps += 1
        decay = min(_EMA, self.steps / (self.steps + 10))  # a short run must not be held at its start
        with torch.no_grad():
            for mean, weight in zip(averaged.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)
