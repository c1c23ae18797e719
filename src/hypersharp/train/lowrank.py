"""How low the rank of a trained upsampling layer is, and students that begin with what is kept of it.

Source: Shi et al., section on the low-rank upsampling layer: the layer as a matrix `(C·s², 9·F)` has few large
singular values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hypersharp import models
from hypersharp.errors import UsageError
from hypersharp.infer.torch_session import load_model, read_card
from hypersharp.models._card import Card, config_from_dict
from hypersharp.models._upsample import Upsampler
from hypersharp.train.checkpoint import save_checkpoint

SHARES = (0.90, 0.95, 0.99)


@dataclass(frozen=True)
class Spectrum:
    """One upsampling convolution.

    Attributes:
        name: of its weight.
        shape: of its matrix, `(C·s², 9·F)`.
        cumulative: `(n,)` sums of the largest singular values over the sum of all.
    """

    name: str
    shape: tuple[int, int]
    cumulative: tuple[float, ...]

    def rank(self, share: float) -> int:
        """Fewest singular values whose sum is that share of all."""
        return next(at for at, value in enumerate(self.cumulative, 1) if value >= share - 1e-12)


def upsampling_layers(model: nn.Module) -> dict[str, nn.Conv2d]:
    """Dense convolutions that a PixelShuffle follows, by name.

    Raises:
        UsageError: the network has none.
    """
    found = {}
    for name, part in model.named_modules():
        if isinstance(part, nn.Sequential) and len(part) == 2 and isinstance(part[1], nn.PixelShuffle):
            layer = part[0]
            if isinstance(layer, nn.Conv2d) and layer.groups == 1:
                found[name] = layer
    if not found:
        raise UsageError("the network has no dense upsampling convolution: it is factorised already, or ends otherwise")
    return found


def spectra(checkpoint: Path) -> list[Spectrum]:
    """Singular values of every upsampling convolution of a checkpoint."""
    found = []
    for name, layer in upsampling_layers(load_model(checkpoint)).items():
        matrix = layer.weight.detach().double().flatten(1)
        values = torch.linalg.svdvals(matrix)
        cumulative = (values.cumsum(0) / values.sum()).tolist()
        found.append(Spectrum(name, (matrix.shape[0], matrix.shape[1]), tuple(cumulative)))
    return found


def student(checkpoint: Path, output: Path, *, how: Upsampler) -> dict[str, float]:
    """Write the network with a factorised upsampler that begins with what is kept of the trained one.

    Args:
        checkpoint: a network with a dense upsampler.
        output: checkpoint to write.
        how: ``"rank"`` truncates the singular values; ``"grouped"`` keeps the diagonal blocks, the closest
            block-diagonal matrix.

    Returns:
        Share of each layer's energy (squared weights) that is kept, by name.

    Raises:
        UsageError: the network takes no such upsampler, or it does not fit its channels.
    """
    card, teacher = read_card(checkpoint), load_model(checkpoint)
    layers = upsampling_layers(teacher)
    spec = models.get_spec(card.model)
    plain = {**card.config, "upsampler": asdict(how)}
    assert card.bands is not None
    config = config_from_dict(spec.config, plain, card.model)
    built = models.build(card.model, bands=card.bands, scale=card.scale, config=config, msi_bands=card.msi_bands)
    weights = dict(teacher.state_dict())
    kept = {}
    factorise: Callable[[nn.Conv2d, Upsampler], tuple[dict[str, Tensor], float]] = (
        _truncated if how.kind == "rank" else _blocks
    )
    for name, layer in layers.items():
        parts, kept[name] = factorise(layer, how)
        for end in ("weight", "bias"):
            del weights[f"{name}.0.{end}"]
        weights |= {f"{name}.{key}": value.float() for key, value in parts.items()}
    built.load_state_dict(weights)
    about: dict[str, Any] = {**card.about, "student_of": checkpoint.name, "energy_kept": kept}
    about.pop("scores", None)
    save_checkpoint(output, weights, Card(**{**asdict(card), "config": plain, "about": about}))
    return kept


def _truncated(layer: nn.Conv2d, how: Upsampler) -> tuple[dict[str, Tensor], float]:
    weight = layer.weight.detach().double()
    left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    rank = how.rank
    if rank > len(values):
        raise UsageError(f"the layer has {len(values)} singular values, got rank {rank}; take fewer")
    root = values[:rank].sqrt()
    parts = {
        "0.weight": (right[:rank] * root[:, None]).reshape(rank, *weight.shape[1:]),
        "1.weight": (left[:, :rank] * root)[:, :, None, None],
        "1.bias": _bias(layer),
    }
    return parts, float((values[:rank] ** 2).sum() / (values**2).sum())


def _blocks(layer: nn.Conv2d, how: Upsampler) -> tuple[dict[str, Tensor], float]:
    weight = layer.weight.detach().double()
    out, features = weight.shape[0] // how.groups, weight.shape[1] // how.groups
    blocks = [weight[at * out : (at + 1) * out, at * features : (at + 1) * features] for at in range(how.groups)]
    kept = torch.cat(blocks)
    return {"0.weight": kept, "0.bias": _bias(layer)}, float((kept**2).sum() / (weight**2).sum())


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.detach()
