"""CSTF: a coupled sparse tensor factorisation of both images.

Li, Dian, Fang, Bioucas-Dias, IEEE TIP 27, 2018. The wanted cube is a core tensor times three dictionaries,
`core ×₁ spectra ×₂ rows ×₃ cols`; LR is the same with degraded `rows` and `cols`, the MSI the same with `srf·spectra`.
Both are to be met with a sparse core, by proximal alternating minimisation of

    ½ ‖LR misfit / noise‖² + ½ ‖MSI misfit / noise‖² + λ ‖core‖₁

The spectral dictionary is fitted once per scene. The spatial ones span whole rows and columns, so they belong to one
window: **tiles cannot agree exactly**. The halo is a margin in which their differences are to fade by feathering, not
one that makes tiles equal to the whole. On Jasper Ridge, scale 4, a core of 6 x 6 LR pixels cut out with this halo
differs from that of the whole scene by at most 0.2 % of a band's range in the median band and 2.3 % in the worst.

Departures, and why:
- Spectra are the scene's principal components in noise units, each times its spread, instead of endmembers by SISAL:
  the core is then of one size in every spectral direction, and staying near and sparse shares what the MSI sees among
  the directions that it does not see, as the scene's covariance has them vary (see `hysure.py`).
- Data terms are in units of their noise. The paper's λ of 1e-5 and proximal weight of 1e-3 are for data in 0 … 1, where
  noise of 40 dB has a variance of 1e-4: of the order of 0.1 and 10 here. 1 and 10 are taken, by measurement: 40.9 dB
  on Jasper Ridge with noise 35/40 dB, 36.0 with 20/30.
- Spatial dictionaries are kept orthonormal (what is triangular goes into the core) and begin as the singular vectors
  of the MSI along its rows and columns. Every step is solved exactly through the eigenvectors of a few small matrices.
- A PSF that is no product of one along rows and one along columns counts as its leading product.

Letters: C bands, B bands of the MSI, p spectral atoms, a b row and column atoms, s scale, H W of HR, h w of LR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from hypersharp.fusion._basis import Basis, fit_basis, white_msi
from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion._regression import blur_halo
from hypersharp.fusion._spec import Calibration, Floats, FusionSpec, Window

_SPARSITY = 1.0  # λ; 2 is 0.1 dB lower on Jasper Ridge
_STAY = 10.0  # proximal weight of the core; without it a panchromatic image ends below the up-sampled cube
_STAY_ATOMS = 1e-3  # proximal weight of an atom, over the mean of what the images hold it by
_ATOMS = 250  # of a spatial dictionary at most; the paper takes 240 to 260
_ROUNDS = 2
_CORE_STEPS = 10  # of ADMM in each round


@dataclass(frozen=True, eq=False)
class Problem:
    """One window in the coordinates of the spectral dictionary.

    Attributes:
        lr: `(p, h, w)`.
        precision: `(p,)` of LR, one over its noise variance.
        msi: `(p, H, W)` the descent of the MSI's term at 0.
        gram: `(p, p)` curvature of the MSI's term.
        blur_rows: `(h, H)` the degradation from row to row.
        blur_cols: `(w, W)` the degradation from column to column.
    """

    lr: Floats
    precision: Floats
    msi: Floats
    gram: Floats
    blur_rows: Floats
    blur_cols: Floats

    def transposed(self) -> Problem:
        """The same with rows for columns."""
        return replace(
            self,
            lr=self.lr.swapaxes(1, 2),
            msi=self.msi.swapaxes(1, 2),
            blur_rows=self.blur_cols,
            blur_cols=self.blur_rows,
        )


def fit_core(problem: Problem, core: Floats, rows: Floats, cols: Floats, *, steps: int = _CORE_STEPS) -> Floats:
    """The sparse core that meets both images and stays near the one it had.

    ADMM with the l₁ norm split off; the rest is solved exactly, spectra by the pencil of both images' terms, rows and
    columns by the eigenvectors of the degraded dictionaries.

    Args:
        problem: the window.
        core: `(p, a, b)` to stay near.
        rows: `(H, a)` orthonormal.
        cols: `(W, b)` orthonormal.
        steps: number of iterations.

    Returns:
        `(p, a, b)`.
    """
    seen_rows, seen_cols = problem.blur_rows @ rows, problem.blur_cols @ cols
    energy_rows, turn_rows = np.linalg.eigh(seen_rows.T @ seen_rows)
    energy_cols, turn_cols = np.linalg.eigh(seen_cols.T @ seen_cols)
    mu = _SPARSITY / max(float(np.abs(core).mean()), 1e-6)  # so that a step takes off a typical entry
    hold = problem.gram.astype(np.float64) + (mu + _STAY) * np.eye(len(core))
    energy, turn = linalg.eigh(np.diag(problem.precision.astype(np.float64)), hold)
    turn = turn.astype(np.float32)
    spatial = np.maximum(np.multiply.outer(energy_rows, energy_cols), 0)
    inverse = (1 / (1 + np.multiply.outer(energy, spatial))).astype(np.float32)
    target = _along(problem.precision[:, None, None] * problem.lr, seen_rows.T, seen_cols.T)
    target += _along(problem.msi, rows.T, cols.T)
    target += np.float32(_STAY) * core
    dense = sparse = core
    dual = np.zeros_like(core)
    for _ in range(steps):
        right = _along(_times(turn.T, target + np.float32(mu) * (sparse - dual)), turn_rows.T, turn_cols.T)
        right *= inverse
        dense = _times(turn, _along(right, turn_rows, turn_cols))
        dual += dense
        sparse = np.sign(dual) * np.maximum(np.abs(dual) - np.float32(_SPARSITY / mu), 0)
        dual -= sparse
    return dense


def fit_rows(problem: Problem, core: Floats, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
    """The row dictionary that meets both images and stays near the one it had: one Sylvester equation.

    Args:
        problem: the window.
        core: `(p, a, b)`.
        rows: `(H, a)` to stay near.
        cols: `(W, b)` orthonormal.

    Returns:
        The dictionary `(H, a)`, orthonormal, and the core with what that took off it.
    """
    on_lr = np.matmul(core, (problem.blur_cols @ cols).T)  # (p, a, w)
    weighted = problem.precision[:, None, None] * on_lr
    gram_lr = _pairs(weighted, on_lr)
    gram_msi = _pairs(_times(problem.gram, core), core)
    target = problem.blur_rows.T @ _pairs(problem.lr, weighted) + _pairs(np.matmul(problem.msi, cols), core)
    stay = max(_STAY_ATOMS * float(np.trace(gram_msi) + np.trace(gram_lr)) / len(gram_msi), 1e-6)
    energy_atoms, turn_atoms = linalg.eigh(gram_lr, gram_msi + stay * np.eye(len(gram_msi)))
    blur = problem.blur_rows.astype(np.float64)
    energy_rows, turn_rows = np.linalg.eigh(blur.T @ blur)
    right = turn_rows.T @ (target + stay * rows) @ turn_atoms
    right /= 1 + np.maximum(np.multiply.outer(energy_rows, energy_atoms), 0)
    atoms, rest = np.linalg.qr(turn_rows @ right @ turn_atoms.T)
    return atoms.astype(np.float32), np.matmul(rest.astype(np.float32), core)


def _pairs(a: Floats, b: Floats) -> NDArray[np.float64]:
    """`(n, m)` products of `(p, n, k)` and `(p, m, k)` over the first and last axes."""
    return np.asarray(np.tensordot(a, b, axes=((0, 2), (0, 2))), dtype=np.float64)


def _along(planes: Floats, rows: NDArray[Any], cols: NDArray[Any]) -> Floats:
    """`rows · plane · colsᵀ` for each plane."""
    out: Floats = np.matmul(np.matmul(rows, planes), cols.T)
    return out


def _times(matrix: NDArray[Any], planes: Floats) -> Floats:
    """A matrix on the first axis."""
    out: Floats = np.tensordot(matrix, planes, axes=1)
    return out


@dataclass(frozen=True, eq=False)
class Model:
    """What is fitted once per scene; a `Fuse`.

    Attributes:
        calibration: of the pair.
        basis: of the cube's spectra.
        size: `(p, 1, 1)` spread of each of its coordinates, which scales the spectral dictionary.
        response: `(B, p)` the spectral dictionary as the MSI sees it.
        weight: `(B,)` one over the noise variance of the MSI.
        mean_msi: `(B, 1, 1)` the MSI of the mean spectrum.
    """

    calibration: Calibration
    basis: Basis
    size: Floats
    response: Floats
    weight: Floats
    mean_msi: Floats

    def __call__(self, window: Window) -> Floats:
        """See `Fuse`."""
        if not self.basis.count:
            return self.basis.decode(np.zeros((0, *window.msi.shape[1:]), np.float32))
        problem = self.problem(window)
        rows, cols = self.atoms(window)
        wide = enlarge(window.lr.shape[1:], self.calibration).apply(problem.lr)
        core = fit_core(problem, _along(wide, rows.T, cols.T), rows, cols)
        for _ in range(_ROUNDS - 1):
            rows, core = fit_rows(problem, core, rows, cols)
            cols, flipped = fit_rows(problem.transposed(), core.swapaxes(1, 2), cols, rows)
            core = fit_core(problem, np.ascontiguousarray(flipped.swapaxes(1, 2)), rows, cols)
        return self.basis.decode(_along(core, rows, cols) * self.size)

    def problem(self, window: Window) -> Problem:
        """A window's images in the coordinates of the spectral dictionary."""
        blur = self.calibration.blur((window.msi.shape[1], window.msi.shape[2])).terms[0]
        rows, cols = (axis.matrix() for axis in blur)
        descent = (self.response * self.weight[:, None]).T
        return Problem(
            self.basis.encode(window.lr) / self.size,
            self.size[:, 0, 0] ** 2,
            _times(descent, window.msi - self.mean_msi),
            np.asarray(descent @ self.response, dtype=np.float32),
            # each with sum 1, which the leading product of several has not
            (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32),
            (cols / cols.sum(axis=1, keepdims=True)).astype(np.float32),
        )

    def atoms(self, window: Window) -> tuple[Floats, Floats]:
        """Leading singular vectors `(H, a)` and `(W, b)` of a window's MSI along rows and columns."""
        msi = (window.msi - self.mean_msi) * np.sqrt(self.weight)[:, None, None]
        both = _pairs(msi, msi), _pairs(msi.swapaxes(1, 2), msi.swapaxes(1, 2))
        rows, cols = (np.linalg.eigh(gram)[1][:, -_ATOMS:].astype(np.float32) for gram in both)
        return rows, cols


def fit(windows: Sequence[Window], calibration: Calibration) -> Model:
    """The spectral dictionary of a scene.

    Raises:
        NoDataError: no pixel is valid.
    """
    basis = fit_basis(windows, calibration.noise_lr)
    size = np.sqrt(basis.variance)
    return Model(
        calibration,
        basis,
        size.astype(np.float32)[:, None, None],
        (calibration.srf @ (basis.vectors * size)).astype(np.float32),
        (white_msi(windows, calibration) ** 2).astype(np.float32),
        (calibration.srf @ basis.mean + calibration.offset).astype(np.float32)[:, None, None],
    )


def _halo(calibration: Calibration) -> int:
    return max(8, 2 * blur_halo(calibration))


METHOD = FusionSpec(
    fit=fit,
    halo=_halo,
    title="coupled sparse tensor factorisation",
    source="Li et al., IEEE TIP 27, 2018",
    iterative=True,
)
