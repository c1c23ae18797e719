"""The six metrics of the LKCA tables on 512×512×128 float32, against scikit-image and torchmetrics.

Theirs: scikit-image `structural_similarity` (7×7, per band) in a pool of threads, torchmetrics for the other five.
Ours: one pass. Both on two threads, in one process, in turn; the ratio is that of the medians. Wanted: a ratio of 3 in
wall time, and at most 25 % of the pair as extra memory. Processor time tells how far other work disturbed the run.

    python benchmarks/metrics_speed.py [ROUNDS]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")

import statistics
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from skimage.metrics import structural_similarity

from hypersharp import metrics

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torchmetrics.functional as functional
    import torchmetrics.functional.image as image

THREADS = 2
SHAPE = (128, 512, 512)
SCALE = 4
PEAKS = metrics.Peaks(minimum=0.0, maximum=1.0, band_maximum=(1.0,) * SHAPE[0])  # known, as for theirs


def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    reference = rng.random(SHAPE, dtype=np.float32)
    return reference, np.clip(reference + 0.05 * rng.standard_normal(SHAPE, dtype=np.float32), 0, 1)


def theirs_ssim(reference: np.ndarray, estimate: np.ndarray) -> float:
    def band(index: int) -> float:
        return float(structural_similarity(reference[index], estimate[index], data_range=1.0))

    with ThreadPoolExecutor(THREADS) as pool:
        return float(np.mean(list(pool.map(band, range(SHAPE[0])))))


def theirs_five(reference: np.ndarray, estimate: np.ndarray) -> list[float]:
    target, preds = torch.from_numpy(reference)[None], torch.from_numpy(estimate)[None]
    found = [
        image.peak_signal_noise_ratio(preds, target, data_range=1.0, dim=(2, 3)),
        image.spectral_angle_mapper(preds, target),
        functional.pearson_corrcoef(preds[0].flatten(1).T, target[0].flatten(1).T).mean(),
        functional.mean_squared_error(preds, target, squared=False),
        image.error_relative_global_dimensionless_synthesis(preds, target, ratio=SCALE),
    ]
    return [float(value) for value in found]


def ours(reference: np.ndarray, estimate: np.ndarray) -> dict[str, float | None]:
    protocol = metrics.get_protocol("lkca")
    (found,) = metrics.evaluate_arrays(reference, estimate, [protocol], scale=SCALE, peaks=PEAKS, workers=THREADS)
    return {name: score.value for name, score in found.scores.items()}


def seconds(function: Callable[[np.ndarray, np.ndarray], object], cubes: tuple[np.ndarray, ...]) -> tuple[float, float]:
    """Wall and processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    function(*cubes)
    return time.perf_counter() - wall, time.process_time() - cpu


def main(rounds: int) -> None:
    torch.set_num_threads(THREADS)
    cubes = pair()
    small = tuple(cube[:, :64, :64].copy() for cube in cubes)
    for function in (ours, theirs_ssim, theirs_five):  # first calls load libraries
        function(*small)
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "scikit-image": [], "torchmetrics": []}
    for _ in range(rounds):
        times["ours"].append(seconds(ours, cubes))
        times["scikit-image"].append(seconds(theirs_ssim, cubes))
        times["torchmetrics"].append(seconds(theirs_five, cubes))
    for kind, label in enumerate(("wall", "processor")):
        spread = {name: [both[kind] for both in values] for name, values in times.items()}
        median = {name: statistics.median(values) for name, values in spread.items()}
        for name, value in median.items():
            print(f"{label:9s} {name:13s} {value:7.3f} s   ({min(spread[name]):.3f} to {max(spread[name]):.3f})")
        print(f"{label:9s} ratio         {(median['scikit-image'] + median['torchmetrics']) / median['ours']:7.2f}")

    tracemalloc.start()
    values = ours(*cubes)
    extra = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    share = extra / sum(cube.nbytes for cube in cubes)
    print(f"extra memory {extra / 2**20:.1f} MiB, {100 * share:.1f} % of the pair")
    print("ours:   " + "  ".join(f"{name} {value:.6g}" for name, value in values.items()))
    mpsnr, sam, cc, rmse, ergas = theirs_five(*cubes)
    print(
        f"theirs: mpsnr_db {mpsnr:.6g}  mssim {theirs_ssim(*cubes):.6g}  sam_deg {np.degrees(sam):.6g}  "
        f"cc {cc:.6g}  rmse {rmse:.6g}  ergas {ergas:.6g}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
