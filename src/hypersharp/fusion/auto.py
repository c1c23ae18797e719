"""Which method a pair is fused with: the candidates, run one scale down where the truth is known.

Cube and MSI are degraded, the cube from LR to a coarser grid and the MSI to LR, each candidate fuses them, and the
cube as acquired is the reference. Degrading averages noise away, so noise is added to the MSI here, and to the cube by
the scorer, until both are as noisy as they were; without it methods that copy noise win and are up to 5 dB worse.

The scorer is handed in: this room knows no way to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube
from hypersharp.degrade.noise_models import Layer
from hypersharp.degrade.noisy import Noisy
from hypersharp.degrade.psf import DEFAULT, Psf
from hypersharp.degrade.wald import degrade
from hypersharp.fusion._spec import Calibration
from hypersharp.fusion.methods import get_fusion_method
from hypersharp.fusion.scene import window_of

__all__ = ["CANDIDATES", "Choice", "Score", "Trial", "Zone", "choose", "trial_of", "zones_of"]

CANDIDATES = ("gsa", "sfim", "glp", "fuse", "hysure", "cnmf")
"""What `auto` tries where nothing else is asked for; CNMF is best on some noisy pairs, and takes most of the time.

LMMSE is not among them: the test one scale down has it even with HySure on noisy cubes, and takes it where HySure is
1 dB ahead (docs/log.md).
"""

Estimator = Callable[[Cube], Cube]
Score = Callable[["Trial", Estimator], NDArray[np.float64] | None]
"""`(C,)` decibels by which an estimator beats the enlarged cube, NaN for bands that tell nothing; None if not run."""

_SIDE = 256  # LR pixels; of a larger scene the part with the most valid pixels is tried
_LEAST = 12  # pixels of the coarser cube along a side at which `scale` is kept; below, a smaller ratio is tried
_FILLED = 8  # LR pixels to which holes are filled
_SEED, _STREAM = 0, 11
_TIE_DB = 0.3  # by which another method must be better in one zone to be run beside the best of all
# By which a method that takes many passes must be better than one that takes a few: one scale down they gain more than
# on the scene. On five scenes with noise of 20 and 35 dB and without, whole and cut to 12 and 16 LR pixels, `auto` is
# up to 0.5 dB behind the best single method on the whole ones, 0.9 on the cut ones.
_WORTH_DB = 0.5
_SWIR_NM = 1000.0


@dataclass(frozen=True, eq=False)
class Zone:
    """Bands that are chosen for together.

    Attributes:
        name: in words.
        bands: `(n,)` indices among the bands that are fused.
    """

    name: str
    bands: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen, and why.

    Attributes:
        methods: name of the method for each zone, in their order.
        zones: the bands of each.
        gain_db: of each candidate in each zone over the enlarged cube, one scale down; empty where nothing was run.
        reason: in words.
        ratio: of the test; 0 where none was run.
    """

    methods: tuple[str, ...]
    zones: tuple[Zone, ...]
    gain_db: Mapping[str, tuple[float, ...]]
    reason: str
    ratio: int = 0

    @property
    def words(self) -> str:
        """The method, or each zone's."""
        if len(set(self.methods)) == 1:
            return self.methods[0]
        return ", ".join(f"{method} for {zone.name}" for method, zone in zip(self.methods, self.zones, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "methods": {zone.name: method for zone, method in zip(self.zones, self.methods, strict=True)},
            "bands_of_zone": {zone.name: len(zone.bands) for zone in self.zones},
            "reason": self.reason,
            "reduced_test": None
            if not self.gain_db
            else {
                "ratio": self.ratio,
                "gain_db_over_enlarged": {
                    name: {
                        zone.name: round(v, 3) if np.isfinite(v) else None
                        for zone, v in zip(self.zones, gains, strict=True)
                    }
                    for name, gains in self.gain_db.items()
                },
            },
        }


@dataclass(frozen=True, eq=False)
class Trial:
    """The pair one scale down.

    Attributes:
        reference: the cube as acquired, `(C, h, w)`, in memory.
        msi: the MSI on the same grid, as noisy as it was, in memory.
        calibration: of the coarser pair, as the methods know it, with a shift: some methods do worse along the border
            where there is one. It is as large a part of the coarser scene as that of the pair is of its own.
        psf: with which the cube is degraded. Where a PSF was stated and the pair says another, this is the pair's, so
            that the test shows what the difference does to each method.
    """

    reference: Cube
    msi: Cube
    calibration: Calibration
    psf: Psf

    def estimator(self, name: str) -> Estimator:
        """A method as a function from the coarser cube to an estimate of `reference`."""
        method, calibration = get_fusion_method(name), self.calibration

        def run(cube: Cube) -> Cube:
            (lr, valid), (msi, known) = cube.read(), self.msi.read()
            rows, cols = (n * calibration.scale for n in lr.shape[1:])
            seen = np.asarray(known[:, :rows, :cols].all(axis=0))
            window = window_of(lr, valid, msi[:, :rows, :cols], seen, calibration, reach=_FILLED)
            return Cube.from_array(method.fit([window], calibration)(window), bands=cube.bands)

        return run


def trial_of(lr: Cube, msi: Cube, calibration: Calibration, measured: Psf) -> Trial | None:
    """The pair one scale down, or None where it is too small for one.

    Args:
        lr: the bands that are fused.
        msi: on `scale` times as many pixels.
        calibration: of the pair.
        measured: the blur as the pair has it, where it can be told; else that of the calibration.
    """
    scale = calibration.scale
    rows, cols = _part(lr, msi, scale)
    side = min(rows.stop - rows.start, cols.stop - cols.start)
    ratio = min(scale, max(2, side // _LEAST))
    if side // ratio < _LEAST // 2:
        return None
    low_msi = degrade(msi, scale=scale, psf=measured, shift_yx=calibration.shift_yx)
    operator = measured.operator((8 * scale, 8 * scale), scale)
    kernel = np.asarray(sum(np.outer(y.weight[0], x.weight[0]) for y, x in operator.terms))
    lost = np.sqrt(max(0.0, 1 - float((kernel**2).sum()))) * calibration.noise_msi
    layer = Layer("gaussian", lost, np.zeros_like(lost))
    values, valid = Noisy(low_msi.values, (layer,), _SEED, _STREAM).read(slice(None), rows, cols)
    values[~valid] = np.nan
    truth, seen = lr.read(rows=rows, cols=cols)
    truth[~seen] = np.nan
    dy, dx = (part / scale for part in calibration.shift_yx)
    return Trial(
        Cube.from_array(truth.astype(np.float32), bands=lr.bands),
        Cube.from_array(values.astype(np.float32), bands=msi.bands),
        replace(calibration, scale=ratio, psf=_psf_at(calibration.psf, scale, ratio), shift_yx=(dy, dx)),
        _psf_at(measured, scale, ratio),
    )


def _part(lr: Cube, msi: Cube, scale: int) -> tuple[slice, slice]:
    """The middle of a large scene, or that of its corners with the most valid pixels if the middle has few."""
    height, width = lr.shape[1:]
    if height <= _SIDE and width <= _SIDE:
        return slice(0, height), slice(0, width)
    rows, cols = min(height, _SIDE), min(width, _SIDE)
    best, share = (slice(0, rows), slice(0, cols)), -1.0
    for down, right in ((0.5, 0.5), (0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)):
        top, left = int((height - rows) * down), int((width - cols) * right)
        here = (slice(top, top + rows), slice(left, left + cols))
        _, valid = lr.read([lr.shape[0] // 2], *here)
        _, known = msi.read([0], *(slice(part.start * scale, part.stop * scale) for part in here))
        found = float(valid.mean()) * float(known.mean())
        if found > share:
            best, share = here, found
        if share > 0.5:
            break
    return best


def _psf_at(psf: Psf, scale: int, ratio: int) -> Psf:
    """The same blur in LR pixels at another ratio."""
    if ratio == scale or psf.kind in ("bicubic", "gaussian", "mtf"):
        return psf
    if psf.values_yx is None:
        return DEFAULT  # a kernel has no other size
    y, x = psf.values_yx
    return replace(psf, values_yx=(y * ratio / scale, x * ratio / scale))


def zones_of(calibration: Calibration, wavelength_nm: NDArray[np.float64] | None) -> tuple[Zone, ...]:
    """Bands that the MSI sees and others, each below and above 1000 nm where wavelengths are known."""
    seen = calibration.supported
    swir = np.zeros(len(seen), dtype=bool) if wavelength_nm is None else np.nan_to_num(wavelength_nm) >= _SWIR_NM
    split = swir.any() and not swir.all()
    found = []
    for long in (False, True):
        for supported in (True, False):
            bands = np.flatnonzero((swir == long) & (seen == supported))
            if bands.size:
                words = [("SWIR" if long else "VNIR")] if split else []
                if not seen.all():
                    words.append("seen" if supported else "extrapolated")
                found.append(Zone(" ".join(words) or "all bands", bands))
    return tuple(found)


def choose(
    trial: Trial | None,
    zones: Sequence[Zone],
    score: Score,
    *,
    candidates: Sequence[str] = CANDIDATES,
    trusted: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Choice:
    """The method that scores best in each zone.

    The best over all bands is taken for every zone, but where another is better by more than 0.3 dB; an
    iterative method must be better than others by 0.5 dB more. Where none beats the enlarged cube, that stands.

    Args:
        trial: the pair one scale down, or None where it is too small.
        zones: of the bands.
        score: judges an estimator.
        candidates: names of methods.
        trusted: whether the calibration explains the MSI well, which decides where nothing can be tried.
        progress: called with candidates done and candidates in all.
    """
    gains: dict[str, NDArray[np.float64]] = {}
    for done, name in enumerate(candidates if trial is not None else ()):
        assert trial is not None
        found = score(trial, trial.estimator(name))
        if found is not None and np.isfinite(found).any():
            gains[name] = found
        if progress is not None:
            progress(done + 1, len(candidates))
    if not gains or trial is None:
        name = next((n for n in (("fuse", "glp") if trusted else ("glp", "fuse")) if n in candidates), candidates[0])
        why = f"the scene is too small or too noisy for a test one scale down; {name} is the choice for "
        why += "a pair that a linear model explains" if trusted else "a pair that no linear model explains well"
        return Choice((name,) * len(zones), tuple(zones), {}, why)
    table = {name: tuple(_mean(found[zone.bands]) for zone in zones) for name, found in gains.items()}
    cost = {name: _WORTH_DB if get_fusion_method(name).iterative else 0.0 for name in gains}
    best = max(gains, key=lambda name: _mean(gains[name]) - cost[name])
    picked = []
    for at in range(len(zones)):
        known = {name: row[at] - cost[name] for name, row in table.items() if np.isfinite(row[at])}
        top = max(known, key=lambda name: known[name], default=best)
        name = top if known.get(top, -np.inf) > known.get(best, -np.inf) + _TIE_DB else best
        picked.append("exp" if known and table[name][at] <= 0 else name)
    why = f"best of {', '.join(gains)} one scale down (ratio {trial.calibration.scale}), noise as in the pair"
    return Choice(tuple(picked), tuple(zones), table, why, trial.calibration.scale)


def _mean(gains: NDArray[np.float64]) -> float:
    known = gains[np.isfinite(gains)]
    return float(known.mean()) if known.size else float("nan")
