"""Fuse a pair with every registered method: time, also as ratio to EXP taken in the same run, and peak memory.

A method's time is that of its fit and of fusing the whole pair as one window. Peak memory is that of a process of its
own that does so, over one that only makes the pair; the fused cube itself is in it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

from _measure import interleave, median_ratio, run
from hypersharp.degrade.psf import Psf
from hypersharp.fusion._spec import Calibration, Window
from hypersharp.fusion.methods import get_fusion_method, list_fusion_methods

MATERIALS = 20
MSI_BANDS = 6
FIELD = 12  # HR pixels along a side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=384, help="HR pixels along a side")
    parser.add_argument("--bands", type=int, default=198)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--methods", default="", help="names with commas; all by default")
    parser.add_argument("--quick", action="store_true", help="leave out iterative methods")
    parser.add_argument("--only", default=None, help=argparse.SUPPRESS)  # what a child process is asked to do
    given = parser.parse_args()
    shape = (given.bands, given.size, given.scale)
    if given.only is not None:
        pair = make_pair(*shape)
        if given.only:
            fuse(given.only, *pair)
        return
    names = [name for name in list_fusion_methods() if not (given.quick and get_fusion_method(name).iterative)]
    names = given.methods.split(",") if given.methods else names
    memory(names, shape)
    times(names, shape, given.repeats)


def memory(names: list[str], shape: tuple[int, int, int]) -> None:
    bands, size, scale = shape
    fused = 4 * bands * size**2
    print(f"Peak memory, {size} x {size} x {bands}, x{scale}; the fused cube alone is {fused / 1e6:.0f} MB", flush=True)
    options = ["--bands", str(bands), "--size", str(size), "--scale", str(scale)]
    peaks = {name: run([sys.executable, __file__, *options, "--only", name]).peak_bytes for name in ("", *names)}
    for name in names:
        over = peaks[name] - peaks[""]
        print(f"  {name:<24}{over / 1e6:9.0f} MB, {over / fused:.2f} of the fused cube", flush=True)


def times(names: list[str], shape: tuple[int, int, int], repeats: int) -> None:
    pair = make_pair(*shape)
    processor: dict[str, list[float]] = {name: [] for name in names}

    def timed(name: str) -> float:
        wall, own = time.perf_counter(), time.process_time()
        fuse(name, *pair)
        processor[name].append(time.process_time() - own)
        return time.perf_counter() - wall

    print(f"Time, {shape[1]} x {shape[1]} x {shape[0]}, x{shape[2]}", flush=True)
    found = interleave({name: lambda name=name: timed(name) for name in names}, repeats)
    for name in names:
        ratio = f", {median_ratio(found[name], found['exp']):7.1f} of EXP" if "exp" in found else ""
        wall, own = statistics.median(found[name]), statistics.median(processor[name])
        print(f"time, {name:<12}{wall:8.2f} s, processor {own:8.2f} s{ratio}")


def fuse(name: str, window: Window, calibration: Calibration) -> None:
    """Fit and fuse; the result is thrown away."""
    get_fusion_method(name).fit([window], calibration)(window)


def make_pair(bands: int, size: int, scale: int) -> tuple[Window, Calibration]:
    """Mixtures of materials in fields, with noise; the HR cube is never made."""
    rng = np.random.default_rng(0)
    count = -(-size // FIELD)
    fields = rng.dirichlet(np.full(MATERIALS, 0.2), (count, count)).transpose(2, 0, 1)
    share = fields.repeat(FIELD, axis=1).repeat(FIELD, axis=2)[:, :size, :size].astype(np.float32)
    share *= 1 + 0.2 * rng.standard_normal((size, size), dtype=np.float32)
    at = np.linspace(0, 1, bands)
    centre, width = rng.random((2, MATERIALS))
    spectra = np.exp(-(((at[:, None] - centre) / (0.05 + 0.2 * width)) ** 2)).astype(np.float32)
    srf = np.exp(-(((at - (np.arange(MSI_BANDS)[:, None] + 0.5) / MSI_BANDS) * 2.5 * MSI_BANDS) ** 6))
    srf /= srf.sum(axis=1, keepdims=True)
    psf = Psf("sigma", (scale / 2.355, scale / 2.355))
    low = psf.operator((size, size), scale).apply(share)
    lr = np.tensordot(spectra, low, axes=1)
    msi = np.tensordot((srf @ spectra).astype(np.float32), share, axes=1)
    levels = []
    for values, relative in ((lr, 0.02), (msi, 0.01)):
        level = relative * values.std(axis=(1, 2))
        values += level[:, None, None] * rng.standard_normal(values.shape, dtype=np.float32)
        levels.append(level.astype(np.float64))
    calibration = Calibration(scale, psf, (0.0, 0.0), srf, np.zeros(MSI_BANDS), *levels, (srf > 1e-3).any(axis=0))
    return Window(lr, msi, np.ones(lr.shape[1:], dtype=bool)), calibration


if __name__ == "__main__":
    main()
