"""Batches of patches, drawn so that epoch and step say everything: a run that is resumed draws what it would have.

Letters: N batch, C channels, s scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hypersharp.errors import UsageError
from hypersharp.operators import Separable

TRANSFORMS = {"none": 1, "rotations": 4, "all": 8}
_GROUND = 23  # stream of the random numbers that choose a share of the ground
_SMOOTH = 5  # knots of the curve of gains over the bands


@dataclass(frozen=True, eq=False)
class Pair:
    """A scene as a network sees it, on the device of the run.

    Attributes:
        name: of the scene.
        lr: `(C, h, w)` normalised.
        hr: `(C, s·h, s·w)` normalised.
        valid: `(s·h, s·w)` HR pixels that patches may hold.
        msi: `(B, s·h, s·w)` normalised, for networks that fuse; all scenes of a run have one, or none has.
    """

    name: str
    lr: Tensor
    hr: Tensor
    valid: NDArray[np.bool_]
    msi: Tensor | None = None


class Batch(NamedTuple):
    """`lr (N, C, p/s, p/s)`, `hr (N, C, p, p)`, the `(N,)` scenes that they come from, and any `msi (N, B, p, p)`."""

    lr: Tensor
    hr: Tensor
    scene: Tensor
    msi: Tensor | None = None


class Patches:
    """The patches of some scenes.

    `plan(epoch)` decides places, order and turns of a whole epoch; `batch` cuts one step of it.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        scale: int,
        patch: int,
        stride: int = 0,
        per_epoch: int = 0,
        augment: str = "all",
        seed: int = 0,
        degrade: Separable | None = None,
        gain: float = 0.0,
        share: float = 1.0,
    ) -> None:
        """Find the places.

        Args:
            pairs: the scenes.
            scale: HR pixels per LR pixel along a side.
            patch: side in HR pixels.
            stride: HR pixels between places on a grid; 0 for any place on the LR grid.
            per_epoch: patches per epoch; 0 for every place once.
            augment: key of `TRANSFORMS`.
            seed: of order, places and turns.
            degrade: from an HR patch to LR; None to cut LR patches from the LR scene.
            gain: spread of the gains that the bands of each patch are given, as in `draw_gains`; 0 for none.
            share: of the ground that patches are cut from; what a smaller share holds a larger one of this seed does.

        Raises:
            UsageError: a scene is smaller than a patch, or no patch is free of invalid pixels.
        """
        self.pairs, self.scale, self.patch = list(pairs), scale, patch
        self.per_epoch, self.turns, self.seed, self.degrade = per_epoch, TRANSFORMS[augment], seed, degrade
        self.gain = gain
        found = [self._places(at, pair, stride or scale) for at, pair in enumerate(self.pairs)]
        self.places: NDArray[np.int64] = np.concatenate(found)  # (places, 3): scene, row, column in HR pixels
        if share < 1:
            self.places = self.places[self._on(share, stride or scale)]

    def _places(self, at: int, pair: Pair, step: int) -> NDArray[np.int64]:
        height, width = pair.hr.shape[1:]
        if height < self.patch or width < self.patch:
            raise UsageError(
                f"{pair.name} has {height} x {width} pixels, less than a patch of {self.patch}; take smaller patches"
            )
        rows, cols = (np.arange(0, n - self.patch + 1, step) for n in (height, width))
        total = np.zeros((height + 1, width + 1), dtype=np.int64)
        total[1:, 1:] = (~pair.valid).cumsum(0).cumsum(1)
        lower, right = rows[:, None] + self.patch, cols + self.patch
        bad = total[lower, right] - total[rows[:, None], right] - total[lower, cols] + total[rows[:, None], cols]
        row, col = np.nonzero(bad == 0)
        if not row.size:
            raise UsageError(f"{pair.name}: every patch of {self.patch} holds an invalid pixel; take smaller patches")
        return np.stack([np.full(row.size, at), rows[row], cols[col]], axis=1)

    def _on(self, share: float, step: int) -> NDArray[np.bool_]:
        """`(places,)` which of them lie on a share of the ground.

        Places overlap, and a scene that is varied is there many times, so of a share of the places nearly all of the
        ground would be left. It is cut into blocks of a patch, as the papers cut theirs into tiles, and some of all of
        them are kept: the same of each instance of a scene, which is named after it, a `#` and a number between.
        """
        side = -(-self.patch // step) * step  # so that a place lies in every block
        grounds = [(pair.name.partition("#")[0], *pair.hr.shape[1:]) for pair in self.pairs]
        number = {ground: at for at, ground in enumerate(sorted(set(grounds)))}
        counts = np.array([[max(1, n // side) for n in ground[1:]] for ground in grounds])  # a rest joins the last
        first_of = np.array([number[ground] for ground in grounds]) * int(counts.prod(axis=1).max())
        at, corner = self.places[:, 0], self.places[:, 1:]
        ends = [np.minimum(end // side, counts[at] - 1) for end in (corner, corner + self.patch - 1)]
        touched = np.stack([first_of[at] + r[:, 0] * counts[at, 1] + c[:, 1] for r in ends for c in ends], axis=1)
        blocks = np.unique(touched[(ends[0] == ends[1]).all(axis=1), 0])
        if not blocks.size:
            raise UsageError(f"every block of {side} pixels holds an invalid one; take smaller patches")
        order = np.random.default_rng([self.seed, _GROUND]).permutation(blocks)
        return np.asarray(np.isin(touched, order[: max(1, round(share * blocks.size))]).all(axis=1))

    def __len__(self) -> int:
        """Patches per epoch."""
        return self.per_epoch or len(self.places)

    def plan(self, epoch: int) -> NDArray[np.int64]:
        """`(patches, 5)` scene, row, column, turn and seed of the gains of every patch of an epoch, in order."""
        draw = np.random.default_rng([self.seed, epoch])
        count = len(self)
        rounds = [draw.permutation(len(self.places)) for _ in range(-(-count // len(self.places)))]
        order = np.concatenate(rounds)[:count]
        turns, seeds = draw.integers(0, self.turns, (count, 1)), draw.integers(0, 1 << 31, (count, 1))
        return np.concatenate([self.places[order], turns, seeds], axis=1)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Cut the patches of some rows of a plan."""
        hr, lr, msi = [], [], []
        for at, row, col, turn, seed in rows.tolist():
            pair, side, scale = self.pairs[at], self.patch, self.scale
            gains = self._gains(seed, pair)
            fine = np.s_[:, row : row + side, col : col + side]
            hr.append(_turned(pair.hr[fine], turn) * gains)
            if pair.msi is not None:
                msi.append(_turned(pair.msi[fine], turn))
            if self.degrade is None:
                low = pair.lr[:, row // scale : (row + side) // scale, col // scale : (col + side) // scale]
                lr.append(_turned(low, turn) * gains)
        sharp = torch.stack(hr)
        blurred = torch.stack(lr) if self.degrade is None else self.degrade.apply(sharp)
        scene = torch.as_tensor(rows[:, 0], device=sharp.device)
        return Batch(blurred, sharp, scene, torch.stack(msi) if msi else None)

    def _gains(self, seed: int, pair: Pair) -> Tensor | float:
        if not self.gain:
            return 1.0
        gains = draw_gains(len(pair.hr), self.gain, np.random.default_rng(seed))
        return torch.from_numpy(gains).to(pair.hr)[:, None, None]


def draw_gains(bands: int, spread: float, draw: np.random.Generator) -> NDArray[np.float32]:
    """`(C,)` gains as another sensor or light would have: a smooth curve over the bands, and a little per band.

    Args:
        bands: `C`.
        spread: standard deviation of the gains' logarithm.
        draw: source of chance.
    """
    knots = draw.normal(0, spread, _SMOOTH)
    curve = np.interp(np.linspace(0, _SMOOTH - 1, bands), np.arange(_SMOOTH), knots)
    return np.exp(curve + draw.normal(0, spread / 3, bands)).astype(np.float32)


def _turned(cube: Tensor, turn: int) -> Tensor:
    """`(C, H, W)` turned by 90° `turn % 4` times, mirrored first from 4 on."""
    mirrored = cube.flip(2) if turn >= 4 else cube
    return torch.rot90(mirrored, turn % 4, (1, 2))
