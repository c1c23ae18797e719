"""Cube and MSI out of one scene, as two sensors would see it: what networks that fuse train on and are validated with.

The pool is made as that of `instances`: other bands, gains, blur and noise where a recipe varies them, and with them
another response, shift and noise of the MSI. What a network sees is made by the code that users' pairs go through.

Letters: C bands of the cube, B bands of the MSI, h w rows and columns of LR, s scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hypersharp.cube import Bands
from hypersharp.cube.source import array_source
from hypersharp.data.patches import Pair
from hypersharp.data.scenes import Scene
from hypersharp.degrade.psf import Psf, parse_psf
from hypersharp.degrade.srf import Srf, parse_srf, srf_matrix, super_gaussian
from hypersharp.errors import UsageError
from hypersharp.fusion._spec import Calibration, Window
from hypersharp.fusion.network import Inputs, in_bands, in_subspace
from hypersharp.infer.fit import SceneFit, fit_scene
from hypersharp.train.config import DataConfig, MsiConfig
from hypersharp.train.instances import (
    Floats,
    Instance,
    draw_psf,
    drawn,
    in_space,
    other_bands,
    whole_of,
    with_noise,
)

_STREAM = 17  # of the random numbers of scenes that are not varied, and of validation
_ORDER = 6.0  # of a drawn response: steep edges, as filters have
_WIDTHS = (0.02, 0.12)  # of a drawn response, as shares of the bands: those of the sensors that have a table
_AWAY = 10  # times the bands: where places of bands begin, which are no wavelengths and have to be above 0


@dataclass(frozen=True, eq=False)
class Observed:
    """A scene as cube and MSI.

    Attributes:
        lr: `(C, h, w)` physical, noisy.
        msi: `(B, s·h, s·w)` in the cube's units, noisy.
        whole: `(h, w)` LR pixels all of whose HR pixels are valid.
        fit: of the LR scene.
        calibration: what relates the two, as it is.
    """

    lr: Floats
    msi: Floats
    whole: NDArray[np.bool_]
    fit: SceneFit
    calibration: Calibration

    def windows(self) -> list[Window]:
        """The sample that everything is fitted on."""
        scale, found = self.calibration.scale, []
        for (row, col), values, known in self.fit.windows:
            height, width = (n * scale for n in values.shape[1:])
            fine = np.s_[:, row * scale : row * scale + height, col * scale : col * scale + width]
            found.append(Window(np.nan_to_num(values), self.msi[fine], np.asarray(known.all(axis=0))))
        return found

    def inputs(self, data: DataConfig) -> Inputs:
        """How a network sees it."""
        assert data.msi is not None
        windows, known = self.windows(), self.calibration
        if data.domain == "bands":
            return in_bands(windows, quantile=data.divisor)
        return in_subspace(windows, known, count=data.components, draft=data.msi.draft)


def pairs(scenes: Sequence[Scene], generated: Sequence[Scene], data: DataConfig, *, seed: int) -> Iterator[Instance]:
    """The pool of a recipe with an MSI: as many as it varies, else every scene once.

    Args:
        scenes: real scenes, sides multiples of the scale.
        generated: drawn or lifted ones, likewise; may be empty.
        data: the recipe's data.
        seed: of the run.

    Raises:
        UsageError: a scene does not say its wavelengths and a response needs them, or it does not hold a response.
    """
    if data.vary is not None:
        for scene, draw, name in drawn(scenes, generated, data.vary, seed=seed):
            yield make_pair(scene, data, draw, name=name)
        return
    for number, scene in enumerate([*scenes, *generated]):
        yield make_pair(scene, data, np.random.default_rng([seed, _STREAM, number]), name=scene.name)


def make_pair(scene: Scene, data: DataConfig, draw: np.random.Generator, *, name: str) -> Instance:
    """One scene with drawn response, shift and noise, and with drawn bands, gains and blur where these are varied."""
    msi, vary = data.msi, data.vary
    assert msi is not None
    response, hr = response_of(scene, msi, draw), scene.hr
    sharp = np.tensordot(response.astype(np.float32), hr, axes=1)
    psf, snr_db = parse_psf(data.degradation), float(draw.uniform(*msi.snr_db))
    if vary is not None:
        hr = other_bands(hr, vary, draw)
        psf = draw_psf(vary, draw, data.scale)
        snr_db = np.inf if draw.random() < vary.clean else float(draw.uniform(*vary.snr_db))
    shift = draw.uniform(-msi.shift, msi.shift, 2)
    seen = observe(
        hr,
        sharp,
        scene.valid,
        scale=data.scale,
        psf=psf,
        shift_yx=(float(shift[0]), float(shift[1])),
        snr_db=(snr_db, float(draw.uniform(*msi.snr_db))),
        draw=draw,
    )
    inputs = seen.inputs(data)
    cube = inputs.cube(seen.lr)
    pair = Pair(
        name,
        torch.from_numpy(cube),
        torch.from_numpy(inputs.cube(hr)),
        scene.valid & seen.whole.repeat(data.scale, axis=0).repeat(data.scale, axis=1),
        torch.from_numpy(inputs.guide(cube, seen.msi)),
    )
    return Instance(pair, torch.zeros(0), torch.zeros(0)) if inputs.space is None else in_space(pair, inputs.space)


def held_pair(scene: Scene, data: DataConfig) -> Observed:
    """A scene for validation: the recipe's blur, its first response, no shift, noise in the middle of its range."""
    msi = data.msi
    assert msi is not None
    draw = np.random.default_rng([_STREAM, *scene.name.encode()])
    response = response_of(scene, msi, None)
    sharp = np.tensordot(response.astype(np.float32), scene.hr, axes=1)
    middle = sum(msi.snr_db) / 2
    return observe(
        scene.hr,
        sharp,
        scene.valid,
        scale=data.scale,
        psf=parse_psf(data.degradation),
        shift_yx=(0.0, 0.0),
        snr_db=(middle, middle),
        draw=draw,
    )


def observe(
    hr: Floats,
    sharp: Floats,
    valid: NDArray[np.bool_],
    *,
    scale: int,
    psf: Psf,
    shift_yx: tuple[float, float],
    snr_db: tuple[float, float],
    draw: np.random.Generator,
) -> Observed:
    """Blur, decimate and add noise.

    Args:
        hr: `(C, s·h, s·w)` the scene in the cube's bands.
        sharp: `(B, s·h, s·w)` the same in the MSI's.
        valid: `(s·h, s·w)`.
        scale: HR pixels per LR pixel along a side.
        psf: of the cube.
        shift_yx: how far down and right of its block an LR pixel looks, in HR pixels.
        snr_db: of cube and MSI; infinite for none.
        draw: of the noise.
    """
    whole = whole_of(valid, scale)
    lr = with_noise(psf.operator(hr.shape[1:], scale, shift_yx=shift_yx).apply(hr), whole, snr_db[0], draw)
    msi = with_noise(sharp, valid, snr_db[1], draw)
    fitted = fit_scene(array_source(np.where(whole, lr, np.float32(np.nan))))
    bands, others = len(lr), len(msi)
    # A network is told neither the response nor the MSI's noise; what is not used is not made up.
    unknown = np.full((others, bands), np.nan)
    known = Calibration(
        scale,
        psf,
        shift_yx,
        unknown,
        np.zeros(others),
        fitted.live_noise,
        np.full(others, np.nan),
        np.ones(bands, dtype=bool),
    )
    return Observed(lr, msi, whole, fitted, known)


def response_of(scene: Scene, msi: MsiConfig, draw: np.random.Generator | None) -> NDArray[np.float64]:
    """`(B, C)` response of the MSI over a scene's bands, each row summing to 1.

    Args:
        scene: one that does not say its wavelengths is taken to have its file's bands evenly between those that the
            recipe assumes, the last of them being the last that is kept.
        msi: what can be drawn.
        draw: chooses; None for the first that is stated, or always the same drawn one.

    Raises:
        UsageError: the scene's wavelengths are needed and neither known nor assumed, or hold less than half a response.
    """
    if not msi.srfs:
        return _any_response(len(scene.hr), msi.bands, np.random.default_rng(_STREAM) if draw is None else draw)
    waves = scene.wavelength_nm
    if waves is None:
        if msi.assumed_wavelength_nm is None:
            raise UsageError(
                f"{scene.name} does not say its wavelengths, which data.msi.srfs needs; say "
                "data.msi.assumed_wavelength_nm = [FIRST, LAST], or leave out srfs"
            )
        waves = np.linspace(*msi.assumed_wavelength_nm, int(scene.kept.max()) + 1)[scene.kept]
    srf = parse_srf(msi.srfs[0 if draw is None else int(draw.integers(len(msi.srfs)))])
    try:
        return srf_matrix(srf, Bands(len(scene.hr), wavelength_nm=waves)).weights
    except UsageError as error:
        raise UsageError(f"{scene.name}: {error}; or leave the scene or this SRF out") from None


def _any_response(bands: int, count: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Super-Gaussians over the places of the bands, one in each part of equally many, in order."""
    places = _AWAY * bands + np.arange(bands, dtype=np.float64)
    centres = places[0] + (np.arange(count) + draw.random(count)) * (bands - 1) / count
    widths = np.maximum(1.0, bands * np.exp(draw.uniform(np.log(_WIDTHS[0]), np.log(_WIDTHS[1]), count)))
    each = tuple(
        super_gaussian(f"{i}", float(c), float(w), _ORDER) for i, (c, w) in enumerate(zip(centres, widths, strict=True))
    )
    return srf_matrix(Srf("drawn", "", each), Bands(bands, wavelength_nm=places)).weights
