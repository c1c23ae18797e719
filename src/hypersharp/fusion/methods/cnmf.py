"""CNMF: both images unmixed into the same endmembers.

Yokoya, Yairi, Iwasaki, IEEE TGRS 50, 2012. `lr = W · A(h)` and `msi - offset = (srf·W) · h` with endmembers `W` and
abundances `h`, none of them negative, abundances summing to about one; the result is `W · h`, never negative
(but for bands that are constant, which stay as they are).

Once per scene, on sampled windows, as the paper has it: endmembers from the purest LR pixels, both factors of the
cube, abundances enlarged and fitted to the MSI, degraded back, and the endmembers fitted again. Then `W` stands, and
each window solves for its abundances only, in a fixed number of steps: on LR, enlarged, on the MSI, and last on both at
once, which the paper leaves out. The steps end before convergence, from the enlarged abundances on: what the MSI does
not see stays near them. On Jasper Ridge, scale 4, that is 40.0 dB with noise 35/40 dB and 34.0 with 20/30.

Departures:
- Bands are weighted by one over their noise, or the two images could not be weighed against each other.
- Each multiplicative update is overdone, `h ← h · (1 + 1.9 · (target / got - 1))`. The update goes to the minimum of a
  separable quadratic that lies above the objective, so anything short of twice the way lowers it as well; it takes
  half as many steps.
- Purest pixels by successive projection (Gillis and Vavasis, IEEE TPAMI 36, 2014), which draws no random numbers.

Letters: C bands, B bands of the MSI, M endmembers, n pixels, s scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import NoDataError
from hypersharp.fusion._basis import LEAST_NOISE
from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion._regression import blur_halo, trusted, up_halo
from hypersharp.fusion._spec import Calibration, Floats, FusionSpec, Window
from hypersharp.operators import Separable

_ENDMEMBERS = 30
_ROUNDS = 3  # of LR and MSI in turn; more follow the noise of a noisy cube
_LR_STEPS, _MSI_STEPS, _BOTH_STEPS = 100, 100, 30
_FURTHER = 1.9  # how far an update goes, its own being 1; below 2, or the objective may rise
_MOST, _LEAST = 10.0, 0.1  # factors of one step: nothing goes to 0 at once, from where nothing returns
_FLOOR = 1e-6  # of abundances, and of endmembers in units of the mean signal
_SUM_WEIGHT = 0.2  # of the sum-to-one row over the norm of a mean spectrum
_PIECE, _PIECES = 32, 9  # side in LR pixels of a piece of a window that is fitted to both images, and how many
# Pixels solved together: they stay in the first cache, and 30 x 30 x 256 is below the size at which OpenBLAS wakes its
# threads, which on a busy machine cost a factor of ten.
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two images as a problem `‖[data; d] - [spectra; d] h‖²`, in units of the noise.

    Attributes:
        weight: `(C, 1)` one over the noise of each band, which is at least `LEAST_NOISE` of its size; 0 for constants.
        one: `d`, which draws the sum of the abundances towards one.
    """

    weight: Floats
    one: float

    def parts(self, spectra: Floats, data: Floats) -> tuple[Floats, Floats]:
        """Gram matrix `(M, M)` and target `(M, n)` for endmembers `(C, M)` and data `(C, n)`."""
        seen = spectra * self.weight
        square = np.float32(self.one**2)
        gram = np.asarray(seen.T @ seen, np.float32)
        gram += square
        target = np.asarray((seen * self.weight).T @ data, np.float32)
        target += square
        return gram, target


def side(values: Floats, noise: NDArray[np.float64]) -> Side:
    """Weights for an image.

    Args:
        values: `(C, n)` pixels, 0 or more.
        noise: `(C,)` standard deviations; NaN counts as none.
    """
    mean = values.mean(axis=1, dtype=np.float64)
    power = np.einsum("cn,cn->c", values, values, dtype=np.float64) / values.shape[1]
    floored = np.maximum(np.nan_to_num(noise), LEAST_NOISE * np.sqrt(power))
    weight = np.divide(1.0, floored, out=np.zeros_like(floored), where=np.ptp(values, axis=1) > 0)
    one = _SUM_WEIGHT * float(np.linalg.norm(weight * mean))
    return Side(weight[:, None].astype(np.float32), one or 1.0)


def overdone(h: Floats, target: Floats, got: Floats, *, floor: float = _FLOOR) -> Floats:
    """One update of `h`, written over `got`: both are the two parts of the gradient, `got - target`.

    With a PSF that has negative lobes either may be negative somewhere; the limits of a factor then hold.
    """
    np.maximum(got, np.float32(1e-30), out=got)
    np.divide(target, got, out=got)
    got -= 1
    got *= np.float32(_FURTHER)
    got += 1
    np.maximum(got, np.float32(_LEAST), out=got)
    np.minimum(got, np.float32(_MOST), out=got)
    got *= h
    return np.maximum(got, np.float32(floor), out=got)


def abundances(gram: Floats, target: Floats, start: Floats, *, steps: int) -> Floats:
    """Updates of `(M, n)` abundances, pixel by pixel."""
    out = np.empty_like(start)
    for first in range(0, start.shape[1], _CHUNK):
        some = slice(first, first + _CHUNK)
        h, aim = np.ascontiguousarray(start[:, some]), np.ascontiguousarray(target[:, some])
        for _ in range(steps):
            h = overdone(h, aim, gram @ h)
        out[:, some] = h
    return out


@dataclass(frozen=True, eq=False)
class Model:
    """What is fitted once per scene; a `Fuse`.

    Attributes:
        calibration: of the pair.
        endmembers: `(C, M)` spectra, physical units.
        lr: how LR counts.
        msi: how the MSI counts.
        constant: `(C,)` values of bands that are constant in the sample, and stay so; NaN for the others.
    """

    calibration: Calibration
    endmembers: Floats
    lr: Side
    msi: Side
    constant: Floats

    def __call__(self, window: Window) -> Floats:
        """See `Fuse`."""
        fused: Floats = (self.endmembers @ self.solve(window)).reshape(-1, *_shape(window))
        still = np.isfinite(self.constant)
        fused[still] = self.constant[still, None, None]
        return fused

    def solve(self, window: Window) -> Floats:
        """Abundances `(M, s·h·s·w)` of a window, from both images."""
        if self.endmembers.shape[1] == 1:  # nothing is mixed, and brightness alone is not for the MSI to change
            return np.ones((1, window.msi[0].size), np.float32)
        gram, target = self.msi.parts(self.seen(), self.msi_data(window))
        h = abundances(gram, target, self.enlarged(self.coarse(window), window), steps=_MSI_STEPS)
        lr_gram, lr_target = self.lr.parts(self.endmembers, _positive(window.lr))
        down, up = _planes(self.calibration.blur(_shape(window)))
        target += up(lr_target)
        for _ in range(_BOTH_STEPS):
            h = overdone(h, target, up(lr_gram @ down(h)) + gram @ h)
        return h

    def coarse(self, window: Window) -> Floats:
        """Abundances `(M, h·w)` of a window from LR alone."""
        gram, target = self.lr.parts(self.endmembers, _positive(window.lr))
        return abundances(gram, target, np.full(target.shape, 1 / len(target), np.float32), steps=_LR_STEPS)

    def seen(self) -> Floats:
        """`(B, M)` the endmembers as the MSI sees them; a fitted response may be slightly negative, they are not."""
        seen: Floats = np.maximum(self.calibration.srf.astype(np.float32) @ self.endmembers, 0)
        return seen

    def msi_data(self, window: Window) -> Floats:
        """`(B, n)` MSI less its offset, 0 or more."""
        return _positive(window.msi - self.calibration.offset.astype(np.float32)[:, None, None])

    def enlarged(self, coarse: Floats, window: Window) -> Floats:
        """`(M, s·h·s·w)` abundances from `(M, h·w)`, none negative."""
        shape = window.lr.shape[1:]
        wide = enlarge(shape, self.calibration).apply(coarse.reshape(-1, *shape))
        return np.maximum(wide.reshape(len(coarse), -1), np.float32(1e-4))


def _positive(values: Floats) -> Floats:
    """Pixels `(C, n)` of planes; radiance that noise or calibration made negative counts as none."""
    return np.maximum(values.reshape(len(values), -1), 0)


def _planes(blur: Separable) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]:
    """Blur with decimation and its adjoint, on pixels `(M, n)`."""

    def down(h: Floats) -> Floats:
        return blur.apply(h.reshape(-1, *blur.shape_in)).reshape(len(h), -1)

    def up(g: Floats) -> Floats:
        return blur.adjoint(g.reshape(-1, *blur.shape_out)).reshape(len(g), -1)

    return down, up


def purest(pixels: Floats, count: int) -> NDArray[np.intp]:
    """Indices of up to `count` columns of `(C, n)` of which the others are mixtures, by successive projection.

    Fewer where the others are exact mixtures of those already.
    """
    left = pixels.astype(np.float64)
    if len(left) > count:  # in the directions that matter: the noise of all the others would be extreme too
        left = np.linalg.eigh(left @ left.T)[1][:, -count:].T @ left
    found: list[int] = []
    first = 0.0
    for _ in range(min(count, left.shape[1])):
        energy = np.einsum("cn,cn->n", left, left)
        at = int(energy.argmax())
        first = first or float(energy[at])
        if found and energy[at] <= 1e-12 * first:
            break
        found.append(at)
        direction = left[:, at] / max(float(np.sqrt(energy[at])), 1e-300)
        left -= np.outer(direction, direction @ left)
    return np.array(found, dtype=np.intp)


def fit(windows: Sequence[Window], calibration: Calibration) -> Model:
    """Endmembers of a scene, by both images in turn.

    Raises:
        NoDataError: no pixel is valid.
    """
    pixels = np.concatenate([w.lr[:, w.valid] for w in windows], axis=1)
    if not pixels.size:
        raise NoDataError("no pixel is valid in both images, so there is nothing to fit fusion on; check the masks")
    pieces = _pieces(windows)
    constant = np.where(np.ptp(pixels, axis=1) > 0, np.float32(np.nan), pixels[:, 0])
    pixels = np.maximum(pixels, 0)
    lr_side = side(pixels, calibration.noise_lr)
    msi_side = side(_msi_pixels(pieces, calibration), calibration.noise_msi)
    ones = np.full((1, pixels.shape[1]), lr_side.one, np.float32)
    # With the row of ones C bands tell C + 1 endmembers apart.
    chosen = purest(np.concatenate([pixels * lr_side.weight, ones]), min(_ENDMEMBERS, len(pixels) + 1))
    spectra = np.maximum(pixels[:, chosen], np.float32(_least(pixels)))
    model = Model(calibration, spectra, lr_side, msi_side, constant)
    return _alternated(model, pieces) if len(chosen) > 1 else model


def _msi_pixels(windows: Sequence[Window], calibration: Calibration) -> Floats:
    """`(B, n)` MSI pixels under valid LR pixels, less the offset."""
    s, offset = calibration.scale, calibration.offset.astype(np.float32)[:, None]
    parts = [w.msi[:, w.valid.repeat(s, axis=0).repeat(s, axis=1)] - offset for w in windows]
    return _positive(np.concatenate(parts, axis=1))


def _alternated(model: Model, windows: Sequence[Window]) -> Model:
    """The endmembers fitted to both images in turn."""
    coarse = [model.coarse(w) for w in windows]
    model, coarse = unmixed(model, windows, coarse)
    fine = [model.enlarged(h, w) for h, w in zip(coarse, windows, strict=True)]
    for _ in range(_ROUNDS - 1):
        for i, window in enumerate(windows):
            gram, target = model.msi.parts(model.seen(), model.msi_data(window))
            fine[i] = abundances(gram, target, fine[i], steps=_MSI_STEPS)
            down, _ = _planes(model.calibration.blur(_shape(window)))
            coarse[i] = np.maximum(down(fine[i]), np.float32(_FLOOR))
        model, coarse = unmixed(model, windows, coarse)
    return model


def unmixed(model: Model, windows: Sequence[Window], start: list[Floats]) -> tuple[Model, list[Floats]]:
    """Endmembers and abundances of the cube alone, updated in turn.

    Args:
        model: its endmembers are where it starts.
        windows: of the scene.
        start: `(M, h·w)` abundances of each window.

    Returns:
        The model with the new endmembers, and the abundances of each window.
    """
    data = np.concatenate([_positive(w.lr) for w in windows], axis=1)
    h = np.concatenate(start, axis=1)
    used = np.concatenate([mask.ravel() for mask in trusted(windows, model.calibration)])
    known, spectra, least = data[:, used], model.endmembers, _least(model.endmembers)
    for _ in range(_LR_STEPS):
        own = h[:, used]
        spectra = overdone(spectra, known @ own.T, spectra @ (own @ own.T), floor=least)
        gram, target = model.lr.parts(spectra, data)
        h = overdone(h, target, gram @ h)
    ends = np.cumsum([part.shape[1] for part in start])[:-1]
    return replace(model, endmembers=spectra), np.split(h, ends, axis=1)


def _least(values: Floats) -> float:
    return _FLOOR * max(float(values.mean()), 1e-30)


def _shape(window: Window) -> tuple[int, int]:
    return window.msi.shape[1], window.msi.shape[2]


def _pieces(windows: Sequence[Window]) -> list[Window]:
    """Up to nine pieces of windows, spread evenly, with a valid pixel each."""
    found = []
    for window in windows:
        _, height, width = window.lr.shape
        s = window.msi.shape[1] // height
        for row, col in product(range(0, height, _PIECE), range(0, width, _PIECE)):
            rows, cols = slice(row, min(row + _PIECE, height)), slice(col, min(col + _PIECE, width))
            if window.valid[rows, cols].any():
                sharp = np.s_[:, s * rows.start : s * rows.stop, s * cols.start : s * cols.stop]
                found.append(Window(window.lr[:, rows, cols], window.msi[sharp], window.valid[rows, cols]))
    kept = np.unique(np.linspace(0, len(found) - 1, _PIECES).round().astype(int))
    return [found[i] for i in kept]


def _halo(calibration: Calibration) -> int:
    return blur_halo(calibration) + up_halo(calibration)


METHOD = FusionSpec(
    fit=fit,
    halo=_halo,
    title="coupled non-negative unmixing of both images",
    source="Yokoya et al., IEEE TGRS 50, 2012",
    iterative=True,
)
