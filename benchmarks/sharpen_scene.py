"""Sharpen a large scene from file to file: peak memory, and time against what cannot be avoided.

A cube of int16 in ENVI BSQ is made on the fly and sharpened into an uncompressed GeoTIFF by the command line with its
default options: bicubic without and with consistency, and the default network. The time is set against writing as many
bytes plainly plus the two matrix products alone, that of the default network against writing plus the network alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from _measure import Run, interleave, median_ratio, run
from hypersharp.infer.torch_session import session_of
from hypersharp.operators import bicubic_enlarge
from hypersharp.weights import shipped

TILE = 128  # LR pixels; the arithmetic alone is done on tiles of this size
MATERIALS = 40  # so that consistency corrects some twenty components, as in real scenes
FIELD = 20  # pixels along a side
WAYS = {
    "consistency off": ["--method", "bicubic", "--consistency", "off"],
    "consistency noise": ["--method", "bicubic"],
    "default network": [],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=2, choices=[2, 3, 4, 8])
    parser.add_argument("--lines", type=int, default=4000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--bands", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where to work; several GB are written and deleted")
    parser.add_argument("--skip", choices=["memory", "time"], default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="hypersharp-bench-") as name:
        folder = Path(name)
        if given.skip != "memory":
            memory(folder, given.scale, given.lines, given.samples, given.bands)
        if given.skip != "time":
            times(folder, given.scale, given.lines, given.samples, given.bands, given.repeats)


def memory(folder: Path, scale: int, lines: int, samples: int, bands: int) -> None:
    print(f"Peak memory of the whole process, {samples} samples, {bands} bands, int16, x{scale}", flush=True)
    peaks: dict[tuple[str, int], int] = {}
    for count in (lines // 4, lines):
        scene = make_scene(folder / "memory.img", count, samples, bands)
        for way in WAYS:
            done = sharpen(scene, folder / "sharp.tif", way, scale)
            peaks[way, count] = done.peak_bytes
            print(f"  {count:>5} lines, {way:<18} {done.peak_bytes / 1e9:6.3f} GB {done.seconds:8.1f} s", flush=True)
        scene.unlink()
    for way in WAYS:
        print(f"peak, {way}, whole / quarter: {peaks[way, lines] / peaks[way, lines // 4]:.3f}")


def times(folder: Path, scale: int, lines: int, samples: int, bands: int, repeats: int) -> None:
    scene = make_scene(folder / "time.img", lines, samples, bands)
    output = folder / "sharp.tif"
    size = lines * samples * bands * scale**2 * 2
    print(f"Time, {lines} lines, {samples} samples, {bands} bands: {size / 1e9:.2f} GB to write", flush=True)
    found = interleave(
        {
            "writing alone": lambda: write_plainly(folder / "plain.bin", size),
            "arithmetic alone": lambda: enlarge_tiles(lines, samples, bands, scale),
            "network alone": lambda: run_network(lines, samples, scale),
        }
        | {way: lambda way=way: sharpen(scene, output, way, scale).seconds for way in WAYS},  # type: ignore[misc]
        repeats,
    )
    least = [a + b for a, b in zip(found["writing alone"], found["arithmetic alone"], strict=True)]
    plain, *others = WAYS
    print(f"time, {plain} / (writing + arithmetic): {median_ratio(found[plain], least):.2f}")
    for way in others:
        print(f"time, {way} / {plain}: {median_ratio(found[way], found[plain]):.2f}")
    least = [a + b for a, b in zip(found["writing alone"], found["network alone"], strict=True)]
    print(f"time, {others[-1]} / (writing + network): {median_ratio(found[others[-1]], least):.2f}")


def sharpen(scene: Path, output: Path, way: str, scale: int) -> Run:
    options = ["--scale", str(scale), "--compress", "none", *WAYS[way]]
    done = run([sys.executable, "-m", "hypersharp", "sharpen", str(scene), str(output), *options])
    output.unlink()
    return done


def write_plainly(path: Path, size: int) -> float:
    """Seconds of writing `size` bytes to a file in order."""
    chunk = np.random.default_rng(0).integers(0, 4000, 1 << 23, dtype=np.int16).tobytes()
    started = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for at in range(0, size, len(chunk)):
            file.write(chunk[: size - at])
    seconds = time.perf_counter() - started
    path.unlink()
    return seconds


def enlarge_tiles(lines: int, samples: int, bands: int, scale: int) -> float:
    """Seconds of the two matrix products on float32 tiles that are in memory, results thrown away."""
    operator = bicubic_enlarge((TILE + 4, TILE + 4), scale)
    tile = np.random.default_rng(0).random((bands, TILE + 4, TILE + 4), dtype=np.float32)
    inside = (2 * scale, (TILE + 2) * scale)
    started = time.perf_counter()
    for _ in range(round(lines * samples / TILE**2)):
        operator.apply_window(tile, inside, inside)
    return time.perf_counter() - started


def run_network(lines: int, samples: int, scale: int) -> float:
    """Seconds of the default network on as many pixels, in tiles without margins."""
    path = shipped(scale)
    assert path is not None
    session = session_of(path, 0)
    assert session.card.channels is not None
    tile = np.random.default_rng(0).random((1, session.card.channels, TILE, TILE), dtype=np.float32)
    session(tile)
    started = time.perf_counter()
    for _ in range(round(lines * samples / TILE**2)):
        session(tile)
    return time.perf_counter() - started


def make_scene(path: Path, lines: int, samples: int, bands: int) -> Path:
    """An ENVI BSQ scene of fields that mix many materials, with light that varies and noise of 1 %, band by band."""
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.full(MATERIALS, 0.1), (-(-lines // FIELD), -(-samples // FIELD)))
    light = 1 + 0.2 * rng.standard_normal((lines, samples), dtype=np.float32)
    at = np.linspace(0, 1, bands)
    centre, width = rng.random((2, MATERIALS, 6))
    spectra = 700 * np.exp(-(((at[:, None, None] - centre) / (0.02 + 0.15 * width)) ** 2)).sum(axis=2)
    with path.open("wb") as file:
        for spectrum in spectra:
            fields = (share @ spectrum).astype(np.float32)
            plane = light * fields.repeat(FIELD, axis=0).repeat(FIELD, axis=1)[:lines, :samples]
            plane += 0.01 * fields.mean() * rng.standard_normal(plane.shape, dtype=np.float32)
            file.write(np.rint(plane).astype("<i2").tobytes())
    path.with_suffix(".hdr").write_text(
        f"ENVI\nsamples = {samples}\nlines = {lines}\nbands = {bands}\nheader offset = 0\ndata type = 2\n"
        "interleave = bsq\nbyte order = 0\nwavelength units = Nanometers\n"
        f"wavelength = {{{', '.join(f'{400 + 2100 * x:.2f}' for x in at)}}}\n"
    )
    return path


if __name__ == "__main__":
    main()
