"""What consistency gains over bicubic on the real scenes under HYPERSHARP_DATA, and what each part of it is good for.

Each scene is degraded with a known PSF, white noise of a stated SNR is added to every band, and the result of each
variant is compared with the scene. Gains are in dB of MPSNR (peak: 99.9 % quantile) and in per cent of SAM; a negative
change of SAM is an improvement. Variants: `noise`, the default; `per band`, the same without components; `no guard`,
the same without the limit of undershoot; `exact`, which does not stop at the noise.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube
from hypersharp.degrade.psf import parse_psf
from hypersharp.infer import consistency
from hypersharp.infer.consistency import Residual
from hypersharp.infer.sharpen import Sharpened
from hypersharp.metrics import mpsnr, sam
from hypersharp.pipeline import Prepared, prepare

CASES = (
    ("gaussian", 2, None),
    ("gaussian", 2, 25.0),
    ("gaussian", 4, 25.0),
    ("bicubic", 4, None),
    ("bicubic", 4, 25.0),
    ("mtf:0.3", 2, 25.0),
    ("gaussian", 8, 25.0),
)
VARIANTS = ("noise", "per band", "no guard", "exact")
Cell = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="*", default=None, help="parts of scene names; default: every scene")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    given = parser.parse_args()
    folder = os.environ.get("HYPERSHARP_DATA")
    if not folder:
        print("skipped: HYPERSHARP_DATA is not set, no real scenes here")
        return
    files = sorted(Path(folder, "scenes").glob("*.h5"))
    files = [file for file in files if given.scenes is None or any(part in file.stem for part in given.scenes)]
    if not files:
        sys.exit("no scene has such a name")
    print(f"{'scene':<28}{'PSF':<10}{'x':>2}{'SNR':>6}{'bicubic':>10}" + "".join(f"{v:>19}" for v in given.variants))
    table: dict[tuple[str, int, float | None], list[list[Cell]]] = {case: [] for case in CASES}
    for file in files:
        scene = load(file)
        for case in CASES:
            base, cells = gains(scene, *case, given.variants)
            table[case].append(cells)
            print(f"{file.stem[:27]:<28}{label(case)}{base:>7.2f} dB{row(cells)}", flush=True)
    print(f"\nmean over {len(files)} scenes, then the worst of each")
    for case, found in table.items():
        values = np.array(found)
        worst = np.stack([values[:, :, 0].min(axis=0), values[:, :, 1].max(axis=0)], axis=1)
        print(f"{'mean':<28}{label(case)}{'':>10}{row(values.mean(axis=0))}")
        print(f"{'worst':<28}{label(case)}{'':>10}{row(worst)}")


def label(case: tuple[str, int, float | None]) -> str:
    psf, scale, snr_db = case
    return f"{psf:<10}{scale:>2}{'clean' if snr_db is None else f'{snr_db:g}':>6}"


def row(cells: Sequence[Cell] | NDArray[np.float64]) -> str:
    return "".join(f"{gain:>+9.2f} {change:>+7.1f} %" for gain, change in cells)


def load(path: Path) -> NDArray[np.float32]:
    """A scene `(C, H, W)` without its constant bands, NaN as 0."""
    with h5py.File(path) as file:
        values = np.nan_to_num(file["cube"][...].astype(np.float32).transpose(2, 0, 1))
    moving: NDArray[np.float32] = values[values.reshape(len(values), -1).std(axis=1) > 0]
    return moving


def gains(
    scene: NDArray[np.float32], psf: str, scale: int, snr_db: float | None, variants: Sequence[str]
) -> tuple[float, list[Cell]]:
    """MPSNR of bicubic, and the gain in dB and change of SAM in % of each variant over it."""
    rows, cols = (size // scale * scale for size in scene.shape[1:])
    reference = scene[:, :rows, :cols]
    lr = parse_psf(psf).operator((rows, cols), scale).apply(reference)
    if snr_db is not None:
        spread = np.sqrt((lr.astype(np.float64) ** 2).mean(axis=(1, 2)) * 10 ** (-snr_db / 10))
        lr = lr + np.random.default_rng(0).normal(size=lr.shape) * spread[:, None, None]
    cube = Cube.from_array(lr.astype(np.float32))
    peak = float(np.quantile(reference, 0.999))

    def scores(ready: Prepared) -> tuple[float, float]:
        estimate, _ = ready.cube.read()
        return mpsnr(reference, estimate, data_range=peak), sam(reference, estimate)

    base_db, base_deg = scores(prepare(cube, scale=scale, method="bicubic", degradation=psf, consistency="off"))
    cells = []
    for variant in variants:
        found_db, found_deg = scores(prepared(cube, scale, psf, variant))
        cells.append((found_db - base_db, 100 * (found_deg / base_deg - 1)))
    return base_db, cells


def prepared(cube: Cube, scale: int, psf: str, variant: str) -> Prepared:
    if variant == "exact":
        return prepare(cube, scale=scale, method="bicubic", degradation=psf, consistency="exact")
    if variant == "per band":
        with per_band():
            return prepare(cube, scale=scale, method="bicubic", degradation=psf)
    ready = prepare(cube, scale=scale, method="bicubic", degradation=psf)
    if variant == "no guard" and ready.consistency is not None:
        values = ready.cube.values
        assert isinstance(values, Sharpened)
        free = replace(values, consistency=replace(ready.consistency, guarded=False))
        return replace(ready, cube=replace(ready.cube, values=free))
    return ready


@contextmanager
def per_band() -> Iterator[None]:
    """Each band a component of its own, in units of its noise."""

    def components(
        noise: NDArray[np.float64], residuals: Sequence[Residual]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        stacked = np.concatenate([part.values[:, part.valid] for part in residuals], axis=1)
        spread = np.maximum(np.nan_to_num(noise), 1e-3 * stacked.std(axis=1)) * np.isfinite(noise)
        inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
        return np.diag(inverse), np.diag(spread)

    with patch.object(consistency, "_components", components):
        yield


if __name__ == "__main__":
    main()
