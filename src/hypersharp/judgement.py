"""Judge a sharpened cube without a reference: from the cube that it was made of, an MSI, and its own history."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube
from hypersharp.degrade.noise import estimate_noise
from hypersharp.degrade.psf import Psf, parse_psf
from hypersharp.errors import UsageError
from hypersharp.evaluate import (
    Agreement,
    GuideIndices,
    NotRun,
    Reduced,
    check_guide,
    consistency,
    guide_indices,
    reduced_test,
)
from hypersharp.infer import sample
from hypersharp.infer.session import OnnxSession
from hypersharp.pipeline import METHODS, Tiling, Using, opened, prepare, psf_of
from hypersharp.weights import serving

if TYPE_CHECKING:
    import xarray

    from hypersharp.degrade.blur import PairBlur

CAVEATS = {
    "consistency": "0 after any consistency step that is run to the end, that of bicubic included; the truth does not "
    "reach 0, as LR is noisy. It can prove an estimate wrong, never right",
    "D_lambda": "lower for bicubic, which keeps the relations between bands and adds nothing, than for the truth",
    "D_s": "random texture of the right strength lowers it: of two estimates the worse can have the lower D_s and the "
    "higher QNR and HQNR",
    "RQNR": "to paste each band of the MSI into one band of the estimate brings its D_s to 0, whatever the other bands",
    "reduced test": "made one scale down, where the scene has other detail: the sign is an indication, decibels are "
    "another scale's. A wrong PSF is wrong in the test too, and a network may rank otherwise at another resolution",
}
"""Which figure can be fooled, and how."""

_SPECTRAL = ("D_lambda", "D_s", "RQNR")
_PAIR_WINDOWS = 4
_STRAY = 0.5  # HR pixels; a larger shift between cube and MSI is worth a word


@dataclass(frozen=True)
class Settings:
    """How an estimate was made, as far as its history says.

    Attributes:
        scale: HR pixels per LR pixel.
        method: name of the method or network.
        weights: first digits of the hash of a network's file; None for a method without.
        degradation: text of the declared PSF.
        consistency: its mode.
    """

    scale: int
    method: str
    weights: str | None
    degradation: str
    consistency: str

    @property
    def words(self) -> str:
        """The method, and which weights it has."""
        return self.method + (f" (weights {self.weights})" if self.weights else "")


_LINE = re.compile(
    r"hypersharp \S+ sharpen: scale (?P<scale>\d+); "
    r"method (?P<method>[^;]+?)(?: \(weights (?P<weights>[0-9a-f]+)[^)]*\))?; "
    r"degradation (?P<psf>[^;]+?) \([^;()]*\); consistency (?P<mode>\w+)"
)


@dataclass(frozen=True, eq=False)
class Assessment:
    """What can be said of an estimate without a reference.

    Attributes:
        scale: HR pixels per LR pixel, from the shapes.
        psf: the declared degradation.
        psf_from: where it comes from.
        method: what was run in the reduced test, in words; empty where nothing was.
        consistency: degrade(sr) against lr.
        guide: the indices that need an MSI, or None without one.
        reduced: the reduced-resolution test, or why it was not run.
        notes: what else is worth knowing.
    """

    scale: int
    psf: Psf
    psf_from: str
    method: str
    consistency: Agreement
    guide: GuideIndices | None
    reduced: Reduced | NotRun
    notes: tuple[str, ...] = ()

    @property
    def caveats(self) -> dict[str, str]:
        """How each figure of this assessment can be fooled."""
        return {name: text for name, text in CAVEATS.items() if self.guide is not None or name not in _SPECTRAL}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = {
            "scale": self.scale,
            "degradation": {"psf": str(self.psf), "from": self.psf_from, "text": self.psf.describe(self.scale)},
            "consistency": self.consistency.to_dict(),
            "with_msi": None if self.guide is None else self.guide.to_dict(),
            "reduced_test": {"method": self.method, **self.reduced.to_dict()},
            "notes": list(self.notes),
            "caveats": self.caveats,
        }
        return plain


def assess(
    lr: Cube | xarray.DataArray | str | os.PathLike[str],
    sr: Cube | xarray.DataArray | str | os.PathLike[str],
    *,
    msi: Cube | xarray.DataArray | str | os.PathLike[str] | None = None,
    scale: int | None = None,
    degradation: str | None = None,
    method: str | None = None,
    model: str | os.PathLike[str] | None = None,
    seed: int = 0,
    tiling: Tiling = Tiling(),  # noqa: B008  frozen
    progress: Callable[[str], Callable[[int, int], None]] | None = None,
) -> Assessment:
    """Judge an estimate of a cube for which there is no reference.

    Args:
        lr: the cube that was sharpened, a DataArray `(band, y, x)` or a path.
        sr: the estimate, with the same bands on `scale` times as many rows and columns.
        msi: a multispectral or panchromatic image on the grid of `sr`.
        scale: HR pixels per LR pixel; None to take it from the shapes.
        degradation: how the sensor blurs, as `degrade.psf.parse_psf` takes it, or ``"estimate"``; None for what the
            history of `sr` says, else what the reader knows of the sensor, else ``"mtf:0.3"``.
        method: what is run in the reduced test; None for what the history of `sr` says.
        model: an exported `.onnx` network in place of a method.
        seed: of the test's noise and bootstrap, and of the sample of band pairs.
        tiling: memory and threads of the reduced test.
        progress: asked, with a title, for a function that is called with steps done and steps in all.

    Raises:
        UsageError: shapes, bands or grids do not fit, or an option is wrong.
        FileFormatError: a file cannot be read.
        NoDataError: no pixel is valid.
    """
    low, high = (given if isinstance(given, Cube) else opened(given) for given in (lr, sr))
    guide = msi if msi is None or isinstance(msi, Cube) else opened(msi)
    factor = scale_of(low, high, scale)
    if guide is not None:
        check_guide(high, guide)
    said = settings_of(high)
    psf, psf_from, notes = _declared(low, guide, said, degradation, factor)
    noise, dead = _noise(low)
    if dead:
        notes.append(f"bands constant or without data, left out: {', '.join(str(band + 1) for band in dead)}")
    bar = progress or (lambda title: lambda done, total: None)
    agreement = consistency(low, high, scale=factor, psf=psf, noise=noise, progress=bar("consistency"))
    indices = None
    if guide is not None:
        indices = _indices(low, high, guide, factor, psf, dead, seed, bar("indices with the MSI"))
    run, name = _method(said, method, model, factor, psf, tiling)
    if run is None:
        return Assessment(factor, psf, psf_from, "", agreement, indices, NotRun(name), tuple(notes))
    bicubic = _Sharpener("bicubic", None, "off", factor, psf, tiling)
    reduced = reduced_test(
        run, low, scale=factor, psf=psf, bicubic=bicubic, noise=noise, seed=seed, progress=bar("reduced test")
    )
    if said is not None and run.made is not None and said.words != run.made.words:
        notes.append(f"SR was made by {said.words}, the reduced test ran {run.made.words}")
    return Assessment(factor, psf, psf_from, name, agreement, indices, reduced, tuple(notes))


def _noise(lr: Cube) -> tuple[NDArray[np.float64], list[int]]:
    """The noise of each band, NaN for dead ones, and which these are."""
    windows = sample.sample_windows(lr.values)
    dead = sample.dead_bands(windows)
    noise = estimate_noise([(values, valid) for _, values, valid in windows])
    noise[dead] = np.nan
    return noise, dead


def settings_of(cube: Cube) -> Settings | None:
    """What the latest line about sharpening in a cube's history says; None where there is none."""
    for line in reversed(cube.history):
        found = _LINE.match(line)
        if found is not None:
            return Settings(int(found["scale"]), found["method"], found["weights"], found["psf"], found["mode"])
    return None


def scale_of(lr: Cube, sr: Cube, stated: int | None) -> int:
    """The whole number by which the sides of `sr` are longer than those of `lr`.

    Raises:
        UsageError: there is none of at least 2, or another was stated.
    """
    (rows, cols), (high_rows, high_cols) = lr.shape[1:], sr.shape[1:]
    shapes = f"got LR {rows} x {cols} and SR {high_rows} x {high_cols}"
    scale = high_rows // rows
    if scale < 2 or (high_rows, high_cols) != (rows * scale, cols * scale):
        raise UsageError(f"expected SR to have a whole number of times the rows and columns of LR, {shapes}")
    if stated is not None and stated != scale:
        raise UsageError(f"scale {stated} does not fit the shapes, which say {scale}: {shapes}")
    return scale


def _declared(
    lr: Cube, msi: Cube | None, said: Settings | None, degradation: str | None, scale: int
) -> tuple[Psf, str, list[str]]:
    """The PSF, where it comes from, and what is worth saying about it."""
    if degradation is None and said is not None:
        return parse_psf(said.degradation), "SR's history", []
    notes = []
    if degradation == "estimate" and msi is not None:
        found = pair_blur(lr, msi, scale)
        if found.reason:
            raise UsageError(f"the blur is not identifiable from cube and MSI: {found.reason}; state the PSF")
        psf, psf_from = found.psf, f"estimate from cube and MSI, residual {found.misfit:.3f}"
        if max(map(abs, found.shift_yx)) > _STRAY:
            dy, dx = found.shift_yx
            notes.append(
                f"LR looks {dy:+.2f}, {dx:+.2f} HR pixels (down, right) from where the MSI says; not corrected"
            )
    else:
        psf, psf_from = psf_of(lr, degradation, scale)
    if said is not None and parse_psf(said.degradation) != psf:
        notes.append(f"SR was made for the PSF {said.degradation}, and is judged by {psf}")
    return psf, psf_from, notes


def pair_blur(lr: Cube, msi: Cube, scale: int) -> PairBlur:
    """`degrade.blur.blur_of_pair` of a sample of a scene.

    Raises:
        NoDataError: too few valid pixels.
    """
    from hypersharp.degrade.blur import blur_of_pair

    windows = []
    for (row, col), values, valid in sample.sample_windows(lr.values, count=_PAIR_WINDOWS):
        rows, cols = (slice(at * scale, (at + n) * scale) for at, n in ((row, values.shape[1]), (col, values.shape[2])))
        windows.append(((values, valid), msi.read(rows=rows, cols=cols)))
    return blur_of_pair(windows, scale=scale)


def _indices(
    lr: Cube,
    sr: Cube,
    msi: Cube,
    scale: int,
    psf: Psf,
    dead: list[int],
    seed: int,
    progress: Callable[[int, int], None],
) -> GuideIndices:
    bands = [int(b) for b in np.flatnonzero(lr.bands.good & sr.bands.good) if b not in dead]
    return guide_indices(lr, sr, msi, scale=scale, psf=psf, bands=bands, seed=seed, progress=progress)


@dataclass
class _Sharpener:
    """A method as a function; `made` is what the history of its latest result says of it."""

    method: str
    model: str | os.PathLike[str] | None
    mode: str
    scale: int
    psf: Psf
    tiling: Tiling
    made: Settings | None = None

    def __call__(self, cube: Cube) -> Cube:
        ready = prepare(
            cube,
            scale=self.scale,
            method=self.method,
            model=self.model,
            degradation=str(self.psf),
            consistency=self.mode,
            using=Using(force=True),
            tiling=self.tiling,
        )
        self.made = settings_of(ready.cube)
        return ready.cube


def _shipped_weights(scale: int) -> str | None:
    """How the history names the weights that come with the package."""
    path = serving(scale)
    return None if path is None else OnnxSession(path).sha256[:12]


def _method(
    said: Settings | None,
    method: str | None,
    model: str | os.PathLike[str] | None,
    scale: int,
    psf: Psf,
    tiling: Tiling,
) -> tuple[_Sharpener | None, str]:
    """What the reduced test runs and its name; None and the reason where it is not known."""
    if method is not None and model is not None:
        raise UsageError("choose one of a method and a model")
    mode = "noise" if said is None else said.consistency
    if method is None and model is None:
        if said is None:
            return None, "SR's history does not say how it was sharpened; name it with --method or --model"
        if said.weights is not None and said.weights == _shipped_weights(scale):
            return _Sharpener("default", None, mode, scale, psf, tiling), f"{said.words}, consistency {mode}"
        if said.weights is not None:
            return None, f"SR was made by {said.words}; give its file with --model"
        if said.method not in METHODS:
            return None, f"SR was made by {said.method}, which is not at hand here; name another with --method"
        method = said.method
    name = os.fspath(model) if model is not None else method
    return _Sharpener(method or "bicubic", model, mode, scale, psf, tiling), f"{name}, consistency {mode}"
