"""Pairs for the tests of fusion: synthetic ones of known rank, and the published set-up on a real scene."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from hypersharp.cube import Bands
from hypersharp.degrade.psf import Psf
from hypersharp.degrade.srf import Srf, srf_matrix, super_gaussian
from hypersharp.fusion._spec import Calibration, Window


@dataclass(frozen=True, eq=False)
class Pair:
    """A pair with its truth."""

    hr: np.ndarray
    window: Window
    calibration: Calibration

    def part(self, rows: tuple[int, int], cols: tuple[int, int]) -> Window:
        """The LR pixels of a rectangle and the MSI under them."""
        scale = self.calibration.scale
        (r0, r1), (c0, c1) = rows, cols
        window = self.window
        return Window(
            window.lr[:, r0:r1, c0:c1],
            window.msi[:, scale * r0 : scale * r1, scale * c0 : scale * c1],
            window.valid[r0:r1, c0:c1],
        )


def made(hr, srf, *, scale, sigma, shift=(0.0, 0.0), noise_db=None, msi_noise_db=None, seed=0) -> Pair:
    """Degrade a cube `(C, H, W)` as the model of fusion says; noise is relative to each band's power."""
    hr = np.asarray(hr, dtype=np.float64)
    psf = Psf("sigma", (sigma, sigma))
    lr = psf.operator(hr.shape[1:], scale, shift_yx=shift).apply(hr)
    msi = np.tensordot(srf, hr, axes=1)
    levels = []
    rng = np.random.default_rng(seed)
    for values, level_db in ((lr, noise_db), (msi, msi_noise_db)):
        level = np.sqrt((values**2).mean(axis=(1, 2))) * (0.0 if level_db is None else 10 ** (-level_db / 20))
        values += level[:, None, None] * rng.standard_normal(values.shape)
        levels.append(level)
    calibration = Calibration(scale, psf, shift, srf, np.zeros(len(srf)), *levels, (srf > 0).any(axis=0))
    window = Window(lr.astype(np.float32), msi.astype(np.float32), np.ones(lr.shape[1:], dtype=bool))
    return Pair(hr.astype(np.float32), window, calibration)


def synthetic(*, bands=20, msi_bands=4, rank=4, shape_lr=(12, 12), scale=2, sigma=1.0, seed=0, **options) -> Pair:
    """A cube of exactly that rank: smooth spectra, fields with sharp borders and a smooth texture."""
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 1, bands)
    spectra = np.exp(-(((at[:, None] - (np.arange(rank) + 0.5) / rank) / (0.1 + 0.2 * rng.random(rank))) ** 2))
    height, width = (scale * n for n in shape_lr)
    fields = rng.random((rank, height // 5 + 1, width // 5 + 1)).repeat(5, axis=1).repeat(5, axis=2)
    y, x = np.arange(height)[:, None], np.arange(width)
    waves = [np.sin(y * a + b) * np.sin(x * c + d) for a, b, c, d in rng.random((rank, 4)) * 2]
    hr = np.tensordot(spectra, 0.5 + fields[:, :height, :width] + 0.2 * np.array(waves), axes=1)
    edges = np.linspace(0, bands, msi_bands + 1)
    srf = np.array([(np.arange(bands) + 1 > a) & (np.arange(bands) < b) for a, b in pairwise(edges)])
    srf = srf / srf.sum(axis=1, keepdims=True)
    return made(hr, srf, scale=scale, sigma=sigma, seed=seed, **options)


JASPER_DROPPED = (*range(3), *range(107, 112), *range(153, 166), *range(219, 224))
"""Bands 1-3, 108-112, 154-166 and 220-224 of 224, as this scene is customarily used; all dead bands are among them."""

_JASPER_SRF = ((480, 60), (560, 60), (660, 60), (840, 110), (1610, 90), (2200, 180))


def jasper(folder: Path, *, msi_bands=6, scale=4, noise_db=35.0, msi_noise_db=40.0, **options) -> Pair:
    """AVIRIS Jasper Ridge, 96 x 96 x 198: PSF of FWHM = scale, super-Gaussian responses."""
    with h5py.File(folder / "scenes" / "aviris_jasper_ridge_224.h5") as file:
        cube = file["cube"][:96, :96].astype(np.float64).transpose(2, 0, 1)
    kept = np.setdiff1d(np.arange(224), JASPER_DROPPED)
    hr = cube[kept] / np.percentile(cube[kept], 99.9)
    bands = Bands(count=len(kept), wavelength_nm=np.linspace(380, 2500, 224)[kept])  # the file has none
    responses = tuple(super_gaussian(f"{at} nm", at, width, 6.0) for at, width in _JASPER_SRF[:msi_bands])
    srf = srf_matrix(Srf("", "", responses), bands).weights
    return made(hr, srf, scale=scale, sigma=scale / 2.355, noise_db=noise_db, msi_noise_db=msi_noise_db, **options)


def stated(pair: Pair, **changes) -> Pair:
    """The same pair with other words about it."""
    return replace(pair, calibration=replace(pair.calibration, **changes))


def mpsnr_db(hr: np.ndarray, sr: np.ndarray) -> float:
    """Mean over the bands of the PSNR against each band's maximum."""
    mse = ((hr.astype(np.float64) - sr) ** 2).mean(axis=(1, 2))
    return float((10 * np.log10(hr.max(axis=(1, 2)).astype(np.float64) ** 2 / mse)).mean())
