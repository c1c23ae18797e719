"""What is minimised: objects that hold the network and whatever exists only while it is trained.

The edge branch and the teacher belong here and never to the network, so they are in no checkpoint of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import log
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hypersharp.errors import UsageError
from hypersharp.models._upsample import Upsampler, progressive
from hypersharp.train.losses import BANDS, KD_LOSS, Space, sobel, terms_of, weighted


class Scored(NamedTuple):
    """`total` is what is minimised, `parts` its terms by name, without their weights."""

    total: Tensor
    parts: dict[str, Tensor]


def run(model: nn.Module, lr: Tensor, msi: Tensor | None) -> Tensor:
    """`(N, C, s·h, s·w)` that a network makes of a cube, and of an MSI where there is one."""
    sr: Tensor = model(lr) if msi is None else model(lr, msi)
    return sr


class Supervised(nn.Module):
    """The weighted terms between what the network makes of `lr`, with any `msi`, and `hr`."""

    def __init__(self, model: nn.Module, *, loss: Mapping[str, float]) -> None:
        """`loss`: term to weight, as in `losses.TERMS`."""
        super().__init__()
        self.model = model
        self.loss = dict(loss)

    def forward(
        self, lr: Tensor, hr: Tensor, space: Space = BANDS, epoch: int = 0, msi: Tensor | None = None
    ) -> Scored:
        """Score a batch `(N, C, h, w)`, with an MSI `(N, B, s·h, s·w)` if any, against `(N, C, s·h, s·w)`."""
        del epoch
        parts = terms_of(run(self.model, lr, msi), hr, self.loss, space)
        return Scored(weighted(parts, self.loss), parts)


class Distilled(nn.Module):
    """A student's own terms, and terms between it and a teacher.

    LKCA-KD: L_H + decay^⌊epoch/every⌋ · alpha · L_KD. CSAKD's joint loss adds binary cross entropy between features,
    and can train the teacher in the same steps, on the student's own terms, with nothing flowing back into it.

    Attributes:
        teacher: frozen, and not a part of this module, hence in none of its weights; or trained together.
    """

    teacher: nn.Module

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: Mapping[str, float],
        teacher: nn.Module,
        distil_loss: Mapping[str, float] = KD_LOSS,
        alpha: float = 0.01,
        decay: float = 0.66,
        every: int = 10,
        taps: tuple[str, str] | None = None,
        features: float = 0.0,
        feature_taps: tuple[str, str] | None = None,
        together: bool = False,
    ) -> None:
        """Student and teacher of equal scale and bands.

        Args:
            model: the student.
            loss: L_H, term to weight.
            teacher: it is frozen here, unless they learn together.
            distil_loss: L_KD, term to weight.
            alpha: weight of L_KD at the start.
            decay: factor on that weight, and on that of the features.
            every: epochs between two decays.
            taps: submodules of student and teacher whose outputs are compared by L_KD; None for the final SR images.
                LKCA's "after PixelShuffle" may mean either; angles of signed residuals are ill-conditioned.
            features: weight of the cross entropy between features.
            feature_taps: submodules of student and teacher that give them.
            together: train the teacher as well.
        """
        super().__init__()
        self.model = model
        self.loss, self.distil_loss = dict(loss), dict(distil_loss)
        self.alpha, self.decay, self.every, self.taps = alpha, decay, every, taps
        self.features, self.feature_taps, self.together = features, feature_taps if features else None, together
        if together:
            self.teacher = teacher
        else:
            # Not registered: the teacher is neither trained, saved nor switched to training.
            object.__setattr__(self, "teacher", teacher.eval().requires_grad_(False))

    def forward(
        self, lr: Tensor, hr: Tensor, space: Space = BANDS, epoch: int = 0, msi: Tensor | None = None
    ) -> Scored:
        """Score a batch as `Supervised` does, and against the teacher."""
        pairs = [pair for pair in (self.taps, self.feature_taps) if pair is not None]
        with tapped(self.model, [pair[0] for pair in pairs]) as own:
            sr = run(self.model, lr, msi)
        with (
            torch.set_grad_enabled(self.together and torch.is_grad_enabled()),
            tapped(self.teacher, [pair[1] for pair in pairs]) as other,
        ):
            answer = run(self.teacher, lr, msi)
        for pair, learnt, taught in zip(pairs, own, other, strict=True):
            if learnt.shape != taught.shape:
                raise UsageError(
                    f"taps must have one shape, got {tuple(learnt.shape)} of {pair[0]} in the student and "
                    f"{tuple(taught.shape)} of {pair[1]} in the teacher; distil the SR images instead"
                )
        learnt, taught = (sr, answer) if self.taps is None else (own[0], other[0])
        parts = terms_of(sr, hr, self.loss, space)
        distil = terms_of(learnt, taught.detach(), self.distil_loss, space)
        share = self.decay ** (epoch // self.every)
        total = weighted(parts, self.loss) + share * self.alpha * weighted(distil, self.distil_loss)
        parts |= {f"kd_{name}": value for name, value in distil.items()}
        if self.feature_taps is not None:
            goal = torch.sigmoid(other[-1].detach().float())
            parts["kd_features"] = functional.binary_cross_entropy_with_logits(own[-1].float(), goal)
            total = total + share * self.features * parts["kd_features"]
        if self.together:
            theirs = terms_of(answer, hr, self.loss, space)
            total = total + weighted(theirs, self.loss)
            parts |= {f"teacher_{name}": value for name, value in theirs.items()}
        return Scored(total, parts)


class EdgeNet(nn.Module):
    """`x + conv(ReLU(conv(x)))`; which activation the paper does not say."""

    def __init__(self, features: int) -> None:
        """Two dense 3×3 convolutions."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, features, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, F, h, w)` to the same shape."""
        out: Tensor = x + self.body(x)
        return out


class EdgeBranch(nn.Module):
    """EDLGFS's edge branch: Sobel per band, one Edge Net per stage, its own upsampler, an edge map."""

    def __init__(self, bands: int, features: int, stages: int, scale: int) -> None:
        """Mirrors the main path of EDLGFS."""
        super().__init__()
        self.head = nn.Conv2d(bands, features, 3, padding=1)
        self.nets = nn.ModuleList(EdgeNet(features) for _ in range(stages))
        self.after = nn.Conv2d(features, features, 3, padding=1)
        self.upsample = progressive(features, scale, Upsampler())
        self.tail = nn.Conv2d(features, bands, 3, padding=1)

    def forward(self, lr: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features of each Edge Net, each `(N, F, h, w)`, and the edge map `(N, C, s·h, s·w)`."""
        start = self.head(sobel(lr))
        x, features = start, []
        for net in self.nets:
            x = net(x)
            features.append(x)
        return features, self.tail(self.upsample(self.after(x + start)))


class EdgeDistilled(nn.Module):
    """EDLGFS's objective: α · (data terms of both branches) + β · (feature and image edge terms).

    α and β are the softmax of two logits that start at 0.95 and 0.05: free multipliers would run to minus infinity.
    """

    logits: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: Mapping[str, float],
        bands: int,
        scale: int,
        taps: Sequence[str],
        learnable: bool = True,
        detach: bool = False,
        start: float = 0.95,
    ) -> None:
        """Around any network that exposes stages.

        Args:
            model: the network.
            loss: terms of its data loss, term to weight.
            bands: channels of its input.
            scale: HR/LR ratio.
            taps: its stages, by submodule; one Edge Net each. Their features must have one shape, that of LR.
            learnable: let α and β learn; else they stay as they start.
            detach: let the edge branch teach the network and not the reverse.
            start: α at the start; β is the rest.

        Raises:
            UsageError: there are no such stages, or their features differ.
        """
        super().__init__()
        self.model = model
        self.loss, self.taps, self.detach = dict(loss), tuple(taps), detach
        self.branch = EdgeBranch(bands, _features_of(model, bands, self.taps), len(self.taps), scale)
        logits = torch.tensor([log(start), log(1 - start)])
        if learnable:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits)

    def forward(self, lr: Tensor, hr: Tensor, space: Space = BANDS, epoch: int = 0) -> Scored:
        """Score a batch `(N, C, h, w)` against `(N, C, s·h, s·w)`."""
        del epoch
        with tapped(self.model, self.taps) as stages:
            sr = self.model(lr)
        edges, edge_map = self.branch(lr)
        parts = terms_of(sr, hr, self.loss, space)
        parts["edge_map"] = functional.l1_loss(edge_map, sobel(hr))
        taught = [edge.detach() for edge in edges] if self.detach else edges
        parts["edge_features"] = torch.stack(
            [functional.l1_loss(stage, edge) for stage, edge in zip(stages, taught, strict=True)]
        ).mean()
        parts["edge_image"] = functional.l1_loss(sobel(sr), edge_map.detach() if self.detach else edge_map)
        data = weighted({name: parts[name] for name in self.loss if name in parts}, self.loss) + parts["edge_map"]
        alpha, beta = torch.softmax(self.logits, 0)
        total = alpha * data + beta * (parts["edge_features"] + parts["edge_image"])
        return Scored(total, parts | {"alpha": alpha.detach()})


@contextmanager
def tapped(model: nn.Module, names: Sequence[str]) -> Iterator[list[Tensor]]:
    """Collect what submodules give while the network runs, in the order of `names`.

    Raises:
        UsageError: the network has no such part.
    """
    known = dict(model.named_modules())
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"expected a part of the network to tap, got {unknown[0]!r}; its spec lists the taps")
    found: dict[str, Tensor] = {}
    features: list[Tensor] = []

    def keep(name: str) -> None:
        def hook(_: nn.Module, __: object, out: Tensor) -> None:
            found[name] = out
            if len(found) == len(names):
                features[:] = [found[each] for each in names]

        handles.append(known[name].register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name in names:
        keep(name)
    try:
        yield features
    finally:
        for handle in handles:
            handle.remove()


def _features_of(model: nn.Module, bands: int, taps: Sequence[str]) -> int:
    """Channels of the tapped features."""
    if not taps:
        raise UsageError("an edge branch needs the stages of a network to teach, got none; choose another objective")
    device = next(model.parameters()).device
    training = model.training
    with torch.no_grad(), tapped(model.eval(), taps) as features:
        model(torch.zeros(1, bands, 8, 8, device=device))
    model.train(training)
    shapes = {tuple(feature.shape[1:]) for feature in features}
    if len(shapes) != 1 or next(iter(shapes))[1:] != (8, 8):
        raise UsageError(f"the stages of an edge branch must have one shape at LR size, got {sorted(shapes)}")
    return int(next(iter(shapes))[0])
