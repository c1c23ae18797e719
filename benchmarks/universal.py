"""What the weights that come with the package are worth on scenes they were never trained on, beside doing without.

Each scene under HYPERSHARP_DATA that no recipe trains on is degraded with a known PSF, white noise of a stated SNR is
added to every band, and it is sharpened as a user would. Rows: bicubic; bicubic + consistency; the default network;
and with `--ensemble` that on eight turns; and with `--models` other checkpoints, at their own scale. Scores after the
protocol `lkca` (all divided by the scene's maximum, peak 1), constant bands left out; gains are in dB of MPSNR,
changes of SAM in per cent, a negative one being better. Degradations and noise levels are never averaged together.
Seconds are medians of interleaved repeats in this run.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Cube
from hypersharp.degrade.psf import parse_psf
from hypersharp.errors import NoDataError
from hypersharp.infer.torch_session import read_card
from hypersharp.metrics import evaluate_arrays, get_protocol
from hypersharp.pipeline import Using, prepare

GROUPS = {
    "validation": ("aviris_abu_airport_4", "aviris_abu_urban_3"),
    "other sensors": ("rosis_pavia_centre_crop100", "neon_osbs_426"),
}
CASES = (
    ("bicubic", 4, None),
    ("bicubic", 2, None),
    ("mtf:0.3", 4, None),
    ("mtf:0.3", 2, None),
    ("bicubic", 4, 35.0),
    ("bicubic", 3, None),
    ("bicubic", 8, None),
    *(("mtf:0.3", scale, None) for scale in (3, 5, 6, 7, 8)),
)
_REPEATS = 5


@dataclass(frozen=True)
class Row:
    """A way to sharpen."""

    name: str
    method: str
    consistency: str
    using: Using = Using(force=True)  # noqa: RUF009  frozen
    model: Path | None = None


ROWS = (
    Row("bicubic", "bicubic", "off"),
    Row("bicubic + consistency", "bicubic", "noise"),
    Row("default", "default", "noise"),
)
ENSEMBLE = Row("default, ensemble", "default", "noise", Using(ensemble=True, force=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ensemble", action="store_true", help="also on eight turns of each scene")
    parser.add_argument("--models", default="", help="NAME=CHECKPOINT,… of networks on eigenimages, beside it")
    parser.add_argument("--scale", type=int, default=None, help="only this one")
    given = parser.parse_args()
    folder = os.environ.get("HYPERSHARP_DATA")
    if not folder:
        print("skipped: HYPERSHARP_DATA is not set, no real scenes here")
        return
    rows = [*ROWS, ENSEMBLE] if given.ensemble else list(ROWS)
    for text in filter(None, given.models.split(",")):
        name, _, path = text.partition("=")
        rows.append(Row(name, "default", "noise", model=Path(path)))
    for psf, scale, snr_db in CASES:
        if given.scale in (None, scale):
            print(f"\nx{scale}, {psf}, {'no noise added' if snr_db is None else f'SNR {snr_db:g} dB'}")
            compare(Path(folder, "scenes"), [row for row in rows if fits(row, scale)], psf, scale, snr_db)
    print()
    speed([row for row in rows if fits(row, 4)])


def fits(row: Row, scale: int) -> bool:
    return row.model is None or read_card(row.model).scale == scale


def compare(folder: Path, rows: list[Row], psf: str, scale: int, snr_db: float | None) -> None:
    """One block of the table."""
    print(f"{'':<30}{'bicubic':>16}" + "".join(f"{row.name:>30}" for row in rows[1:]))
    for group, names in GROUPS.items():
        every = []
        for name in names:
            hr, cube = simulated(folder / f"{name}.h5", psf, scale, snr_db)
            found = np.array([scores(hr, sharpened(cube, row, psf, scale), scale) for row in rows])
            every.append(found)
            print(f"  {name:<28}{line(found)}")
        print(f"{'mean, ' + group:<30}{line(np.mean(every, axis=0))}")


def line(found: NDArray[np.float64]) -> str:
    """MPSNR and SAM of bicubic, then the gain and the change of SAM of each other row."""
    (base_db, base_deg), others = found[0], found[1:]
    cells = [f"{db - base_db:>+21.2f} {100 * (deg / base_deg - 1):>+5.1f} %" for db, deg in others]
    return f"{base_db:>8.2f}{base_deg:>7.2f}°" + "".join(f"{cell:>30}" for cell in cells)


def simulated(path: Path, psf: str, scale: int, snr_db: float | None) -> tuple[NDArray[np.float32], Cube]:
    """A scene without constant bands, its sides multiples of the scale, and its LR cube."""
    with h5py.File(path) as file:
        values = np.nan_to_num(file["cube"][...].astype(np.float32).transpose(2, 0, 1))
    rows, cols = (size // scale * scale for size in values.shape[1:])
    hr = np.ascontiguousarray(values[values.reshape(len(values), -1).std(axis=1) > 0][:, :rows, :cols])
    lr = parse_psf(psf).operator((rows, cols), scale).apply(hr)
    if snr_db is not None:
        level = np.sqrt((lr.astype(np.float64) ** 2).mean(axis=(1, 2))) * 10 ** (-snr_db / 20)
        lr = lr + np.random.default_rng(0).normal(size=lr.shape) * level[:, None, None]
    return hr, Cube.from_array(lr.astype(np.float32))


def sharpened(cube: Cube, row: Row, psf: str, scale: int) -> NDArray[np.floating]:
    try:
        ready = prepare(
            cube,
            scale=scale,
            method=row.method,
            model=row.model,
            degradation=psf,
            consistency=row.consistency,
            using=row.using,
        )
    except NoDataError:  # too few pixels for eigenimages: then sharpening does without
        ready = prepare(cube, scale=scale, method="bicubic", degradation=psf, consistency=row.consistency)
    return ready.cube.read()[0]


def scores(hr: NDArray[np.float32], sr: NDArray[np.floating], scale: int) -> tuple[float, float]:
    """MPSNR in dB and SAM in degrees."""
    protocol = get_protocol("lkca").only(("mpsnr_db", "sam_deg"))
    (found,) = evaluate_arrays(hr, sr, [protocol], scale=scale)
    return tuple(found.scores[name].value or float("nan") for name in ("mpsnr_db", "sam_deg"))  # type: ignore[return-value]


def speed(rows: list[Row]) -> None:
    """Whole calls in memory, LR 64 x 64 x 128 to x4, in turn."""
    draw = np.random.default_rng(0)
    waves = np.cumsum(draw.normal(size=(3, 128)), axis=1)
    planes = np.cumsum(np.cumsum(draw.normal(size=(3, 64, 64)), axis=1), axis=2)
    lr = np.einsum("kc,khw->chw", waves, planes) + draw.normal(size=(128, 64, 64))
    cube = Cube.from_array(lr.astype(np.float32))
    calls: list[Callable[[], object]] = [lambda row=row: sharpened(cube, row, "mtf:0.3", 4) for row in rows]  # type: ignore[misc]
    taken: list[list[float]] = [[] for _ in rows]
    for turn in range(_REPEATS + 1):
        for call, seconds in zip(calls, taken, strict=True):
            started = time.perf_counter()
            call()
            if turn:
                seconds.append(time.perf_counter() - started)
    base = statistics.median(taken[0])
    print("LR 64 x 64, 128 bands, x4, whole call in memory, fits included")
    for row, seconds in zip(rows, taken, strict=True):
        middle = statistics.median(seconds)
        print(f"  {row.name:<24}{middle:7.3f} s {middle / base:7.2f} x bicubic {middle / (256 * 256 / 1e6):7.2f} s/Mpx")
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
