"""What is fitted once per scene before its first tile: noise, dead bands and how far consistency goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Source
from hypersharp.degrade.noise import estimate_noise
from hypersharp.degrade.psf import Psf
from hypersharp.errors import UsageError
from hypersharp.infer import consistency, sample
from hypersharp.infer.blend import Blended
from hypersharp.infer.consistency import Consistency, Floats, Residual
from hypersharp.infer.fill import fill_invalid, reach_of
from hypersharp.infer.methods import Bicubic, Method, Mixture
from hypersharp.operators import Separable


@dataclass(frozen=True, eq=False)
class SceneFit:
    """Facts about one LR scene.

    Attributes:
        windows: the sample that everything is fitted on.
        dead: bands that are constant or invalid throughout the sample.
    """

    windows: list[sample.Window]
    dead: list[int]

    @cached_property
    def noise(self) -> NDArray[np.float64]:
        """`(C,)` standard deviation of each band's noise; NaN where it cannot be estimated. Takes a second or two."""
        return estimate_noise(self.pieces)

    @property
    def live_noise(self) -> NDArray[np.float64]:
        """A copy of it with NaN for dead bands too."""
        noise = self.noise.copy()
        noise[self.dead] = np.nan
        return noise

    @property
    def pieces(self) -> list[tuple[Floats, NDArray[np.bool_]]]:
        """The windows without their places."""
        return [(values, valid) for _, values, valid in self.windows]


def fit_scene(source: Source) -> SceneFit:
    """Sample a scene.

    Raises:
        NoDataError: the scene has no valid pixel.
    """
    windows = sample.sample_windows(source)
    return SceneFit(windows, sample.dead_bands(windows))


def estimate_psf(source: Source, scale: int) -> tuple[Psf, str]:
    """The blur of a scene, estimated from itself, and the words that say so, with its interval.

    Raises:
        UsageError: it is not identifiable.
        NoDataError: the scene has no valid pixel.
    """
    from hypersharp.degrade.blur import blur_of_cube  # brings an optimiser, which nothing else of a scene's path needs

    found = blur_of_cube([(values, valid) for _, values, valid in sample.sample_windows(source)], scale=scale)
    if found.sigma is None or found.low is None or found.high is None:
        raise UsageError(f"the blur is not identifiable from this cube: {found.reason}; state the PSF")
    sigma = round(found.sigma, 3)
    return Psf("sigma", (sigma, sigma)), f"estimate, 90 % interval of sigma {found.low:.2f} to {found.high:.2f}"


def fit_consistency(scene: SceneFit, method: Method, operator: Separable, *, mode: str) -> Consistency | None:
    """Decide how far consistency goes, from what the method leaves of the sample.

    Args:
        scene: the scene's sample and noise.
        method: the estimate that consistency follows; its halo must be finite.
        operator: the degradation of the whole scene, HR to LR.
        mode: ``"noise"``, ``"exact"`` or ``"off"``.

    Returns:
        None where nothing is to be done.
    """
    if mode == "off":
        return None
    noise = scene.noise.copy()
    if mode == "exact" and np.isnan(noise).all():
        noise[:] = 1.0  # too few pixels to estimate it, and not needed
    noise[scene.dead] = np.nan
    alive = np.isfinite(noise)
    if isinstance(method, Mixture) and isinstance(method.images, Blended) and not method.images.keeps_all:
        method = replace(method, images=method.images.method)  # a few small windows need no large tiles
    found = [_residual(*window, method, operator, alive) for window in scene.windows]
    return consistency.make(operator, mode=mode, noise=noise, residuals=[r for r in found if r is not None])


def _residual(
    origin: tuple[int, int],
    values: Floats,
    valid: NDArray[np.bool_],
    method: Method,
    operator: Separable,
    alive: NDArray[np.bool_],
) -> Residual | None:
    """Lr minus degraded estimate on the part of a window whose estimate does not reach outside of it."""
    margin = operator.halo + (method.halo or 0)
    spans = []
    for start, length, size in zip(origin, values.shape[1:], operator.shape_out, strict=True):
        low = start if start == 0 else start + margin
        high = start + length if start + length == size else start + length - margin
        if low >= high:
            return None
        spans.append((low, high))
    rows, cols = spans
    scale = operator.shape_in[0] // operator.shape_out[0]
    sharp_rows, sharp_cols = (
        (low // scale * scale, -(-high // scale) * scale) for low, high in operator.support(rows, cols)
    )
    lr = fill_invalid(values.copy(), valid, reach_of(method.halo or 0, operator.halo))
    inside = np.s_[:, rows[0] - origin[0] : rows[1] - origin[0], cols[0] - origin[1] : cols[1] - origin[1]]
    left = np.ascontiguousarray(lr[inside])
    known = np.asarray(valid[inside][alive].all(axis=0))
    corner = (sharp_rows[0], sharp_cols[0])
    if isinstance(method, Mixture):
        images = operator.apply_window(method.images(lr, origin, sharp_rows, sharp_cols), rows, cols, corner)
        left -= np.tensordot(method.basis.astype(left.dtype), images.astype(left.dtype), axes=1)
    plain = method.bicubic if isinstance(method, Mixture) else method
    if isinstance(plain, Bicubic):
        left -= operator.after(plain.operator).apply_window(lr, rows, cols, origin)
    else:
        left -= operator.apply_window(plain(lr, origin, sharp_rows, sharp_cols), rows, cols, corner)
    return Residual(left * known, known, (rows, cols)) if known.any() else None
