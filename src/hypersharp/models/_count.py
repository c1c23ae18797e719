"""How large and how costly a network is, under stated rules: papers call different things "FLOPs".

Counted at the level of dispatched operations, so nothing hides in a functional call; interpolation is never counted.
Shapes are all that is needed: the count runs on torch's meta device and moves no data, whatever the size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from hypersharp.models._fusion_blocks import BicubicShrink
from hypersharp.models._upsample import BicubicSkip

_ATEN = torch.ops.aten


@dataclass(frozen=True)
class Rules:
    """What counts as a multiply-accumulate.

    Attributes:
        matmul: matrix products and attention, besides convolutions and linear layers.
        norm: per element of a LayerNorm.
        pool: per element that global average pooling reads.
        softmax_rows: `3·T - 1` for each of the T rows of fused attention over T tokens, as one counter has it for the
            softmax of the matrix that fusing never makes.
    """

    matmul: bool = True
    norm: int = 0
    pool: int = 0
    softmax_rows: bool = False


TRUE = Rules()
"""Every multiply-accumulate of convolutions, linear layers and matrix products."""
FVCORE = Rules(norm=5, pool=1)
"""As fvcore counts; LKCA's tables, whose own norm escapes it (`norm=0`)."""
THOP = Rules(matmul=False, norm=4, pool=1, softmax_rows=True)
"""As thop counts; EDLGFS's tables."""


class _Counter(TorchDispatchMode):
    def __init__(self, rules: Rules) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rules, self.total, self.paused = rules, 0, False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not self.paused:
            self.total += self._cost(func.overloadpacket, args, out)
        return out

    def _cost(self, op: Any, args: Sequence[Any], out: Any) -> int:
        rules = self.rules
        if op is _ATEN.convolution:
            x, weight, transposed = args[0], args[1], args[6]
            return int((x if transposed else out).numel() * weight[0].numel())
        if op in (_ATEN.addmm, _ATEN.mm):
            left = args[1] if op is _ATEN.addmm else args[0]
            return int(out.numel() * left.shape[-1])
        if op is _ATEN.bmm:
            return int(out.numel() * args[0].shape[-1]) if rules.matmul else 0
        if op is _ATEN.native_layer_norm:
            return int(args[0].numel() * rules.norm)
        # Global average pooling arrives here as a mean over rows and columns; other means are not pooling.
        if op is _ATEN._adaptive_avg_pool2d or (op is _ATEN.mean and len(args) > 1 and len(args[1]) == 2):
            return int(args[0].numel() * rules.pool)
        return 0


class _FusedCounter(TorchFunctionMode):
    """Fused attention, counted at the call: what it dispatches to differs between devices."""

    def __init__(self, counter: _Counter) -> None:
        super().__init__()
        self.counter = counter

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        counter = self.counter
        if func is not torch.nn.functional.scaled_dot_product_attention or counter.paused:
            return func(*args, **(kwargs or {}))
        query, key, value = args[:3]
        rows, tokens = query.shape[:-1].numel(), key.shape[-2]
        if counter.rules.matmul:
            counter.total += int(rows * tokens * (query.shape[-1] + value.shape[-1]))
        if counter.rules.softmax_rows:
            counter.total += int(rows * (3 * tokens - 1))
        counter.paused = True
        try:
            return func(*args, **(kwargs or {}))
        finally:
            counter.paused = False


def count_macs(
    model: nn.Module,
    *,
    bands: int,
    lr_size: tuple[int, int],
    rules: Rules = TRUE,
    msi: tuple[int, int] | None = None,
) -> int:
    """Multiply-accumulates of one forward pass of one cube.

    Args:
        model: a network that takes `(1, C, h, w)`, on any device; it is left as it was.
        bands: `C`.
        lr_size: `(h, w)`.
        rules: what counts.
        msi: `(K, s)`, for a network that takes `(1, K, s·h, s·w)` besides.
    """
    counter = _Counter(rules)

    def pause(*_: Any) -> None:
        counter.paused = True

    def resume(*_: Any) -> None:
        counter.paused = False

    twin = copy.deepcopy(model).to("meta").eval()
    for part in twin.modules():
        if isinstance(part, BicubicSkip | BicubicShrink):
            part.register_forward_pre_hook(pause)
            part.register_forward_hook(resume)
    images = [torch.zeros(1, bands, *lr_size, device="meta")]
    if msi is not None:
        images.append(torch.zeros(1, msi[0], *(msi[1] * side for side in lr_size), device="meta"))
    with torch.no_grad(), counter, _FusedCounter(counter):
        twin(*images)
    return counter.total


def count_parameters(model: nn.Module) -> int:
    """Weights that learn."""
    return sum(weight.numel() for weight in model.parameters())
