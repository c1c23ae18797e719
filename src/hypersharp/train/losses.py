"""The terms that an objective is made of, each a mean over a batch, all finite and with finite gradients.

Letters: N batch, C channels (bands, or eigenimages), H W rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_CLAMP = 1 - 1e-6  # beyond it the slope of the arc cosine has no bound
_NOTHING = 1e-6  # norm product that stands in for smaller ones
_ENERGY = 0.1  # added to a band's energy, for data of about -1 to 1
_CACHED = 1 << 21  # bytes of samples that go through the slopes together on a processor
_SMOOTH = 1e-6  # under the root of the gradient, as in MSDformer's code


class Space(NamedTuple):
    """What the channels of a batch mean, where they are not bands.

    Attributes:
        weight: `(N, C)` weight of each channel in L1, of mean 1; None where all count the same.
        gram: `(N, 1 + C, 1 + C)` products of the mean spectrum and of the basis, so that a product of two spectra is
            one of their coordinates after a leading 1; None where channels are bands.
    """

    weight: Tensor | None = None
    gram: Tensor | None = None


BANDS = Space()
Term = Callable[[Tensor, Tensor, Space], Tensor]


def l1(sr: Tensor, hr: Tensor, space: Space = BANDS) -> Tensor:
    """Mean absolute error of `(N, C, H, W)`, each channel with its weight."""
    return _mean(functional.l1_loss(sr, hr, reduction="none"), space)


def mse(sr: Tensor, hr: Tensor, space: Space = BANDS) -> Tensor:
    """Mean squared error of `(N, C, H, W)`, each channel with its weight."""
    return _mean(functional.mse_loss(sr, hr, reduction="none"), space)


def variation(sr: Tensor, hr: Tensor, space: Space = BANDS) -> Tensor:
    """Total variation of `sr` alone (SSPSR's): mean squares of the differences along rows, columns and bands, summed.

    The published code divides by the batch once more, which makes the term depend on it; not repeated. Eigenimages have
    no neighbours among each other: there, and for a single band, along rows and columns only, weighted as in `l1`.
    """
    del hr
    total = _mean((sr[:, :, 1:] - sr[:, :, :-1]).square(), space)
    total = total + _mean((sr[..., 1:] - sr[..., :-1]).square(), space)
    if space.gram is None and sr.shape[1] > 1:
        total = total + (sr[:, 1:] - sr[:, :-1]).square().mean()
    return total


def smooth_l1(sr: Tensor, hr: Tensor, space: Space = BANDS) -> Tensor:
    """Huber's error of `(N, C, H, W)`: half the square up to 1, straight beyond; each channel with its weight.

    What CSAKD's code calls L1: on data between -1 and 1 it is half the squared error nearly everywhere.
    """
    return _mean(functional.smooth_l1_loss(sr, hr, reduction="none"), space)


def band_energy(sr: Tensor, hr: Tensor, space: Space = BANDS) -> Tensor:
    """Half the squared error of each band of each sample over that band's energy, mean(hr²) + 0.1 (CSAKD's BEBA).

    The published form subtracts a constant everywhere, so that no error scores -1.16; the gradients are these wherever
    errors are below 1. Each eigenimage of a subspace is measured by its own energy and has its weight.
    """
    error = 0.5 * (sr - hr).square().mean(dim=(2, 3), keepdim=True)
    return _mean(error / (hr.square().mean(dim=(2, 3), keepdim=True) + _ENERGY), space)


def swt(sr: Tensor, hr: Tensor, space: Space = BANDS) -> Tensor:
    """Mean absolute error of `(N, C, H, W)` in the four planes of a stationary Haar transform (HyFusion's).

    Means and half differences of neighbours along rows and columns, undecimated, one level, the edge repeated. The
    wavelet, the levels and the weights of the planes that the paper took are not known.
    """
    error = functional.pad(sr - hr, (0, 1, 0, 1), mode="replicate")
    across = ((error[..., 1:] + error[..., :-1]) / 2, (error[..., 1:] - error[..., :-1]) / 2)
    planes = [sign * part[..., :-1, :] + part[..., 1:, :] for part in across for sign in (1, -1)]
    return _mean(torch.stack([plane.abs() / 2 for plane in planes]).mean(0), space)


def sam(sr: Tensor, hr: Tensor, space: Space = BANDS) -> Tensor:
    """Mean angle between the spectra of `(N, C, H, W)` as a share of π (MSDformer's).

    The cosine is kept within ±(1 − 1e-6); a norm product below 1e-6 counts as that, so a spectrum of zeros has a
    finite gradient.
    """
    one, other = sr.float(), hr.float()
    if space.gram is not None:
        one, other = _with_mean(one), _with_mean(other)
    left = one if space.gram is None else torch.einsum("nij,njhw->nihw", space.gram.float(), one)
    right = other if space.gram is None else torch.einsum("nij,njhw->nihw", space.gram.float(), other)
    energy = (left * one).sum(1) * (right * other).sum(1)
    cosine = (left * other).sum(1) / energy.clamp_min(_NOTHING**2).sqrt()
    return torch.acos(cosine.clamp(-_CLAMP, _CLAMP)).mean() / math.pi


def gradient(sr: Tensor, hr: Tensor, space: Space = BANDS) -> Tensor:
    """L1 between the magnitudes of the spatial–spectral gradient of `(N, C, H, W)` (MSDformer's).

    First differences along rows, columns and bands on what all three have. Eigenimages have no neighbours among each
    other: there, and for a single band, the differences are spatial ones, weighted as in `l1`. Nothing flows to `hr`.
    """
    spectral = space.gram is None and sr.shape[1] > 1
    weight = None if space.weight is None else space.weight[:, -sr.shape[1] + spectral :, None, None]
    error: Tensor = _SlopeError.apply(sr, hr.detach(), weight, spectral)  # type: ignore[no-untyped-call]
    return error


def cosine(sr: Tensor, hr: Tensor, space: Space = BANDS) -> Tensor:
    """1 − cosine of the angle between each two samples of `(N, C, H, W)`, taken as one long vector.

    LKCA's text does not say over which axis; along the spectrum it would repeat `sam`.
    """
    del space
    one, other = sr.float(), hr.float()
    # Sums rather than one vector each: to join channels that lie side by side in memory would copy all of them.
    norms = [part.square().sum((1, 2, 3)).clamp_min(_NOTHING**2).sqrt() for part in (one, other)]
    return 1 - ((one * other).sum((1, 2, 3)) / (norms[0] * norms[1])).mean()


TERMS: dict[str, Term] = {
    "l1": l1,
    "mse": mse,
    "smooth_l1": smooth_l1,
    "band_energy": band_energy,
    "swt": swt,
    "sam": sam,
    "gradient": gradient,
    "cosine": cosine,
    "variation": variation,
}
"""Every term by the name it has in a recipe and in the log."""
H_LOSS = {"l1": 1.0, "sam": 0.5, "gradient": 0.1}
"""LKCA's and MSDformer's L_H."""
KD_LOSS = {"cosine": 0.5, "sam": 0.5, "gradient": 0.1}
"""LKCA's L_KD."""


def terms_of(sr: Tensor, hr: Tensor, weights: Mapping[str, float], space: Space = BANDS) -> dict[str, Tensor]:
    """The terms that have a weight, without it; in full precision whatever the network runs in."""
    sr, hr = sr.float(), hr.float()
    return {name: TERMS[name](sr, hr, space) for name, weight in weights.items() if weight}


def weighted(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Σ weight · term."""
    return torch.stack([term * weights[name] for name, term in terms.items()]).sum()


def sobel(cube: Tensor) -> Tensor:
    """|gx| + |gy| of each channel of `(N, C, H, W)` by Sobel's kernels over 8, edge pixels repeated outside."""
    edges: Tensor = _Sobel.apply(cube.float())  # type: ignore[no-untyped-call]
    return edges


def _mean(error: Tensor, space: Space) -> Tensor:
    """Of `(N, C, H, W)`, each channel with its weight."""
    if space.weight is None:
        return error.mean()
    return (error * space.weight[:, :, None, None]).mean()


class _Sobel(torch.autograd.Function):
    """`sobel`, a few samples at a time: convolutions of one channel and their gradients cost several times as much."""

    @staticmethod
    def forward(ctx: Any, cube: Tensor) -> Tensor:
        ctx.save_for_backward(cube)
        edges = torch.empty_like(cube)
        for at in _cached(cube):
            smooth, step = torch.empty_like(cube[at]), torch.empty_like(cube[at])
            edges[at] = _step(_smooth(cube[at], 2, smooth), 3, step).abs_()
            edges[at] += _step(_smooth(cube[at], 3, smooth), 2, step).abs_()
        return edges

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> Tensor:
        (cube,) = ctx.saved_tensors
        back = torch.empty_like(cube)
        for at in _cached(cube):
            one, other = torch.empty_like(cube[at]), torch.empty_like(cube[at])
            for dim in (3, 2):
                sign = _step(_smooth(cube[at], 5 - dim, one), dim, other).sign_().mul_(given[at])
                part = _smooth(_step_back(sign, dim, one), 5 - dim, other)
                if dim == 3:
                    back[at] = part
                else:
                    back[at] += part
        return back


def _cached(cube: Tensor) -> list[slice]:
    """Runs of samples of `(N, C, H, W)` that a processor's cache holds; all of them elsewhere."""
    group = len(cube) if cube.is_cuda else max(1, _CACHED // max(1, cube[:1].numel() * cube.element_size()))
    return [slice(first, first + group) for first in range(0, len(cube), group)]


def _smooth(x: Tensor, dim: int, out: Tensor) -> Tensor:
    """(1 2 1) / 4 along an axis into `out`, the ends of `x` repeated; its own adjoint."""
    size = x.shape[dim]
    torch.mul(x, 0.5, out=out)
    out.narrow(dim, 1, size - 1).add_(x.narrow(dim, 0, size - 1), alpha=0.25)
    out.narrow(dim, 0, size - 1).add_(x.narrow(dim, 1, size - 1), alpha=0.25)
    for end in (0, size - 1):
        out.narrow(dim, end, 1).add_(x.narrow(dim, end, 1), alpha=0.25)
    return out


def _step(x: Tensor, dim: int, out: Tensor) -> Tensor:
    """(-1 0 1) / 2 along an axis into `out`, the ends of `x` repeated."""
    size = x.shape[dim]
    inside = out.narrow(dim, 1, size - 2)
    torch.sub(x.narrow(dim, 2, size - 2), x.narrow(dim, 0, size - 2), out=inside)
    for end, low in ((0, 0), (size - 1, size - 2)):
        torch.sub(x.narrow(dim, low + 1, 1), x.narrow(dim, low, 1), out=out.narrow(dim, end, 1))
    return out.mul_(0.5)


def _step_back(x: Tensor, dim: int, out: Tensor) -> Tensor:
    """The adjoint of `_step` into `out`."""
    size = x.shape[dim]
    inside = out.narrow(dim, 1, size - 2)
    torch.sub(x.narrow(dim, 0, size - 2), x.narrow(dim, 2, size - 2), out=inside)
    for end, low, sign in ((0, 0, -1), (size - 1, size - 2, 1)):
        torch.add(x.narrow(dim, low, 1), x.narrow(dim, low + 1, 1), out=out.narrow(dim, end, 1)).mul_(sign)
    return out.mul_(0.5)


class _SlopeError(torch.autograd.Function):
    """Mean of |slope(sr) - slope(hr)|, each channel with its weight, and what it gives back to `sr` in the same pass.

    A few samples at a time stay in a processor's cache, where the twenty passes over them cost a third.
    """

    @staticmethod
    def forward(ctx: Any, sr: Tensor, hr: Tensor, weight: Tensor | None, spectral: bool) -> Tensor:
        grad = torch.zeros_like(sr) if ctx.needs_input_grad[0] else None
        total = sr.new_zeros(())
        bands, rows, cols = sr.shape[1:]
        share = 1 / (len(sr) * (bands - spectral) * (rows - 1) * (cols - 1))
        for at in _cached(sr):
            steps, slope = _slope(sr[at], spectral)
            pull = slope - _slope(hr[at], spectral)[1]
            total += (pull.abs() if weight is None else pull.abs() * weight[at]).sum() * share
            if grad is None:
                continue
            pull.sign_().div_(slope).mul_(share if weight is None else weight[at] * share)
            corner, *behind = _neighbours(grad[at], spectral)
            for step, other in zip(steps, behind, strict=True):
                step.mul_(pull)
                corner += step
                other -= step
        ctx.grad = grad
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.grad * given, None, None, None


def _slope(cube: Tensor, spectral: bool) -> tuple[list[Tensor], Tensor]:
    """First differences of `(N, C, H, W)` along rows, columns and, if wanted, bands; and their magnitude."""
    corner, *behind = _neighbours(cube, spectral)
    steps = [corner - other for other in behind]
    total = steps[0].square()
    for step in steps[1:]:
        total.addcmul_(step, step)
    return steps, total.add_(_SMOOTH).sqrt_()


def _neighbours(cube: Tensor, spectral: bool) -> list[Tensor]:
    """Pixels that have all neighbours, then the neighbours: one up, one to the left and, if wanted, one band before."""
    here = cube[:, 1:] if spectral else cube
    found = [here[:, :, 1:, 1:], here[:, :, :-1, 1:], here[:, :, 1:, :-1]]
    return [*found, cube[:, :-1, 1:, 1:]] if spectral else found


def _with_mean(cube: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(cube[:, :1]), cube], dim=1)
