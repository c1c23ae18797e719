"""The operators by name: bicubic both ways, Gaussians, and any sampled kernel.

Kernels are laid over the scene as they are (correlation) and centred on the block of HR pixels that one
LR pixel covers. Widths are in HR pixels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hypersharp.errors import UsageError
from hypersharp.operators.axis import check_scale, enlarge_bicubic, shrink_bicubic, shrink_kernel
from hypersharp.operators.separable import Separable

__all__ = [
    "bicubic_enlarge",
    "bicubic_shrink",
    "block_support",
    "gaussian_kernel",
    "gaussian_shrink",
    "kernel_shrink",
    "sigma_from_fwhm",
    "sigma_from_mtf",
]

_SVD_CUT = 1e-7
_SIGMAS_EACH_SIDE = 4
_NARROWEST = 1e-3  # HR pixels; a Gaussian below this is a point already
_WIDEST = 64  # LR pixels; a sigma above this is a wrong unit
# Lagrange's interpolation half-way between six samples: keeps a kernel's sum, centre and width.
_HALF_PIXEL = np.array([3, -25, 150, 150, -25, 3]) / 256


def bicubic_shrink(shape_hr: tuple[int, int], scale: int) -> Separable:
    """Antialiased bicubic shrinking, equal to MATLAB's `imresize(hr, 1/scale)`.

    Args:
        shape_hr: `(H, W)`, multiples of `scale`.
        scale: integer HR/LR ratio.

    Raises:
        UsageError: where the sizes do not fit.
    """
    return Separable(((shrink_bicubic(shape_hr[0], scale), shrink_bicubic(shape_hr[1], scale)),))


def bicubic_enlarge(shape_lr: tuple[int, int], scale: int) -> Separable:
    """Centre-aligned bicubic enlargement, equal to MATLAB's `imresize(lr, scale)`.

    Args:
        shape_lr: `(h, w)`.
        scale: integer HR/LR ratio.

    Raises:
        UsageError: where the sizes do not fit.
    """
    return Separable(((enlarge_bicubic(shape_lr[0], scale), enlarge_bicubic(shape_lr[1], scale)),))


def gaussian_shrink(
    shape_hr: tuple[int, int],
    scale: int,
    *,
    sigma: float | tuple[float, float],
    support: int | None = None,
) -> Separable:
    """Gaussian blur and one value per block, border mirrored.

    The EDLGFS line (the degradation of Mei's 3D-FCNN) is `sigma=sigma_from_fwhm(scale)` with
    `support=block_support(scale)`. Its published code cuts the kernel to one block at the border of the
    scene; ours mirrors the scene there.

    Args:
        shape_hr: `(H, W)`, multiples of `scale`.
        scale: integer HR/LR ratio.
        sigma: standard deviation in HR pixels, one or `(y, x)`.
        support: number of samples across; by default at least 4 sigma each side of the centre.

    Raises:
        UsageError: where the sizes do not fit, sigma is not positive, or `support` cannot be centred on the
            block.
    """
    check_scale(scale)
    sigma_y, sigma_x = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    rows = shrink_kernel(shape_hr[0], scale, taps=_gaussian_taps(sigma_y, scale, support))
    cols = shrink_kernel(shape_hr[1], scale, taps=_gaussian_taps(sigma_x, scale, support))
    return Separable(((rows, cols),))


def kernel_shrink(shape_hr: tuple[int, int], scale: int, kernel: ArrayLike) -> Separable:
    """Blur with any 2-D kernel and one value per block, border mirrored.

    The kernel is split by SVD into separable terms; those below 1e-7 of the largest are dropped.

    Args:
        shape_hr: `(H, W)`, multiples of `scale`.
        scale: integer HR/LR ratio.
        kernel: `(ky, kx)` weights of the HR pixels under it, normalised here to sum 1. To use the image of a
            point source instead, flip it both ways. Its centre lies on the block's centre. An odd size at an
            even scale, or the reverse, puts that half-way between samples: there it is interpolated, which
            keeps sum, centre and second moments and takes 5 % off the MTF at the LR Nyquist frequency
            at scale 2, 0.1 % at scale 4.

    Raises:
        UsageError: where the sizes do not fit, or the kernel is not 2-D, finite and of positive sum.
    """
    check_scale(scale)
    plane = np.asarray(kernel)
    if plane.ndim != 2 or plane.size == 0 or plane.dtype.kind not in "fiub":
        raise UsageError(f"expected a 2-D kernel of real weights, got shape {plane.shape}, {plane.dtype}")
    plane = plane.astype(np.float64)
    if not np.isfinite(plane).all() or plane.sum() <= 0:
        raise UsageError(f"expected a kernel of finite weights with a positive sum, got sum {plane.sum():g}")
    left, size, right = np.linalg.svd(plane, full_matrices=False)
    keep = size > _SVD_CUT * size[0]
    ys, xs = left[:, keep].T * size[keep, None], right[keep]
    # normalised after the cut, so that a constant scene stays to the last digit
    ys /= (ys.sum(axis=1) * xs.sum(axis=1)).sum()
    return Separable(
        tuple(
            (
                shrink_kernel(shape_hr[0], scale, taps=_on_block(y, scale)),
                shrink_kernel(shape_hr[1], scale, taps=_on_block(x, scale)),
            )
            for y, x in zip(ys, xs, strict=True)
        )
    )


def gaussian_kernel(sigma_y: float, sigma_x: float, angle_deg: float = 0.0, *, scale: int) -> NDArray[np.float64]:
    """A sampled Gaussian of two widths, turned.

    Args:
        sigma_y: standard deviation across rows before turning, in HR pixels.
        sigma_x: standard deviation across columns before turning, in HR pixels.
        angle_deg: anticlockwise turn as seen on the screen (rows run down).
        scale: integer HR/LR ratio; the size is odd for an odd one and even for an even one.

    Returns:
        `(k, k)` float64 of sum 1, reaching at least 4 of the larger sigma each side of the centre.

    Raises:
        UsageError: if a sigma is not positive.
    """
    check_scale(scale)
    sigma_y, sigma_x = _check_sigma(sigma_y, scale), _check_sigma(sigma_x, scale)
    if not math.isfinite(angle_deg):
        raise UsageError(f"the angle must be a number of degrees, got {angle_deg}")
    d = _distances(_enough(max(sigma_y, sigma_x), scale))
    down, right = d[:, None], d[None, :]
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    along, across = right * cos - down * sin, right * sin + down * cos
    exponent = (along / sigma_x) ** 2 / 2 + (across / sigma_y) ** 2 / 2
    kernel = np.exp(exponent.min() - exponent)
    return np.asarray(kernel / kernel.sum())


def block_support(scale: int) -> int:
    """Support of the EDLGFS line in HR pixels: 2·scale for an even scale, 2·scale + 1 for an odd one."""
    return 2 * scale + scale % 2


def sigma_from_fwhm(fwhm: float) -> float:
    """Standard deviation of a Gaussian from its full width at half maximum, in the same unit."""
    return fwhm / (2 * math.sqrt(2 * math.log(2)))


def sigma_from_mtf(gain: float, scale: int) -> float:
    """Standard deviation of a Gaussian, in HR pixels, from its MTF at the LR Nyquist frequency.

    exp(-2 π² σ² f²) = gain at f = 1 / (2·scale) cycles per HR pixel, solved for σ.

    Args:
        gain: amplitude between 0 and 1.
        scale: integer HR/LR ratio.

    Raises:
        UsageError: if the gain lies outside.
    """
    if not 0 < gain < 1:
        raise UsageError(f"the MTF gain must lie between 0 and 1, got {gain}")
    return scale * math.sqrt(-2 * math.log(gain)) / math.pi


def _gaussian_taps(sigma: float, scale: int, support: int | None) -> NDArray[np.float64]:
    sigma = _check_sigma(sigma, scale)
    if support is not None and (support < 1 or (support - scale) % 2):
        parity = "odd" if scale % 2 else "even"
        raise UsageError(f"at scale {scale} the support must be a positive {parity} number, got {support}")
    d = _distances(_enough(sigma, scale) if support is None else support)
    # the nearest sample's exponent first, or a very narrow Gaussian is 0 / 0
    taps = np.exp((np.min(d**2) - d**2) / (2 * sigma**2))
    return np.asarray(taps / taps.sum(), dtype=np.float64)


def _check_sigma(sigma: float, scale: int) -> float:
    if not (math.isfinite(sigma) and sigma > 0):
        raise UsageError(f"the width of a Gaussian must be finite and above 0, got {sigma}")
    if sigma > _WIDEST * scale:
        raise UsageError(f"sigma, in HR pixels, is at most {_WIDEST * scale} at scale {scale}, got {sigma:g}")
    return max(sigma, _NARROWEST)


def _enough(sigma: float, scale: int) -> int:
    """The least number of samples, of the block's parity, that reaches 4 sigma each side."""
    reach = _SIGMAS_EACH_SIDE * sigma
    return 2 * math.ceil(reach) + 1 if scale % 2 else 2 * math.ceil(reach + 0.5)


def _distances(support: int) -> NDArray[np.float64]:
    return np.arange(support, dtype=np.float64) - (support - 1) / 2


def _on_block(taps: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    return np.convolve(taps, _HALF_PIXEL) if (scale - taps.size) % 2 else taps
