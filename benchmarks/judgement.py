"""What judgement without a reference is worth, on the real scenes under HYPERSHARP_DATA where the truth is known.

`reduced`: how often the sign of the reduced-resolution test is that of the true gain. `fooled`: the indices of the
truth beside those of estimates made to fool them. `pair`: the blur estimated with an MSI. `cube`: the blur estimated
from the cube alone, each scene by a law fitted to the others. `noise`: what is estimated of a known noise, over that,
where a scene is seen in few broad bands. `--fit` prints the law that `degrade/blur.py` holds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hypersharp.cube import Bands, Cube
from hypersharp.degrade import blur
from hypersharp.degrade.noise import estimate_noise
from hypersharp.degrade.psf import Psf, parse_psf
from hypersharp.degrade.recipe import Recipe
from hypersharp.degrade.wald import simulate
from hypersharp.errors import NoDataError
from hypersharp.evaluate import Reduced, consistency, guide_indices, reduced, reduced_test
from hypersharp.metrics import mpsnr
from hypersharp.operators import bicubic_enlarge, gaussian_shrink
from hypersharp.pipeline import prepare

Array = NDArray[np.float32]
Method = Callable[[Cube], Cube]
PARTS = ("reduced", "fooled", "pair", "cube", "noise")
HELD_OUT = ("aviris_abu_airport_4", "aviris_abu_urban_3", "neon_osbs_426", "rosis_pavia_centre_crop100")
OVERLAPPING = {"aviris_abu_urban_5": "aviris_abu_airport_2"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=[], help=f"out of {', '.join(PARTS)}; default: all")
    parser.add_argument("--scenes", nargs="*", default=None, help="parts of scene names; default: every scene")
    parser.add_argument("--fit", action="store_true", help="print the law of the blur and stop")
    given = parser.parse_args()
    folder = os.environ.get("HYPERSHARP_DATA")
    if not folder:
        print("skipped: HYPERSHARP_DATA is not set, no real scenes here")
        return
    files = sorted(Path(folder, "scenes").glob("*.h5"))
    scenes = {
        file.stem: load(file)
        for file in files
        if given.scenes is None or any(part in file.stem for part in given.scenes)
    }
    if given.fit:
        fit(scenes)
        return
    for part in given.parts or PARTS:
        print(f"\n== {part}")
        parts = {
            "reduced": reduced_part,
            "fooled": fooled_part,
            "pair": pair_part,
            "cube": cube_part,
            "noise": noise_part,
        }
        parts[part](scenes)


def noise_part(scenes: dict[str, Array]) -> None:
    """Estimates over the truth, geometric mean and range over the bands: from the smoothest places, and from all."""
    print(f"{'':28} bands SNR   smoothest places      all places")
    for name, scene in scenes.items():
        for bands, snr_db in ((1, 30.0), (1, 40.0), (4, 30.0), (4, 40.0)):
            seen = broad(scene, bands)
            sigma = np.sqrt((seen.astype(np.float64) ** 2).mean(axis=(1, 2))) * 10 ** (-snr_db / 20)
            pair = [(noisy(seen, snr_db), np.ones(seen.shape, bool))]
            ways = [estimate_noise(pair) / sigma]
            with patch("hypersharp.degrade.noise._FEW", 0):
                ways.append(estimate_noise(pair) / sigma)
            words = (f"{np.exp(np.log(w).mean()):6.2f} ({w.min():.2f} to {w.max():.2f})" for w in ways)
            print(f"{name:28} {bands:5} {snr_db:3.0f} " + "  ".join(f"{text:>20}" for text in words))


def broad(scene: Array, bands: int) -> Array:
    """A scene `(C, H, W)` in so many bands of 3 % of its own, between 5 and 60 % of its range."""
    at, centres = np.arange(len(scene)), np.linspace(0.05, 0.6, bands) * len(scene)
    weights = np.exp(-0.5 * ((at - centres[:, None]) / (0.03 * len(scene))) ** 2)
    return np.tensordot(weights / weights.sum(axis=1, keepdims=True), scene, axes=1).astype(np.float32)


def load(path: Path) -> Array:
    """A scene `(C, H, W)` without its constant bands and those with NaN."""
    with h5py.File(path) as file:
        values = file["cube"][...].astype(np.float32).transpose(2, 0, 1)
    flat = values.reshape(len(values), -1)
    moving: Array = np.ascontiguousarray(values[np.isfinite(flat).all(axis=1) & (flat.std(axis=1) > 0)])
    return moving


def cut(scene: Array, scale: int) -> Array:
    rows, cols = (size // scale * scale for size in scene.shape[1:])
    return np.ascontiguousarray(scene[:, :rows, :cols])


def noisy(values: Array, snr_db: float | None, seed: int = 0) -> Array:
    """White noise added to each band `(C, h, w)`."""
    if snr_db is None:
        return values
    spread = np.sqrt((values.astype(np.float64) ** 2).mean(axis=(1, 2)) * 10 ** (-snr_db / 10))
    white = np.random.default_rng(seed).standard_normal(values.shape)
    mixed: Array = (values + white * spread[:, None, None]).astype(np.float32)
    return mixed


def whole(values: Array) -> tuple[Array, NDArray[np.bool_]]:
    return values, np.ones(values.shape, dtype=bool)


def sharpener(mode: str, scale: int, psf: str) -> Method:
    return lambda cube: prepare(cube, scale=scale, method="bicubic", degradation=psf, consistency=mode).cube


def methods(scale: int, psf: str) -> dict[str, Method]:
    """Good and bad ways to sharpen."""

    def nearest(cube: Cube) -> Cube:
        return Cube.from_array(cube.read()[0].repeat(scale, axis=1).repeat(scale, axis=2))

    def part(share: float) -> Method:
        def run(cube: Cube) -> Cube:
            base, full = (sharpener(mode, scale, psf)(cube).read()[0] for mode in ("off", "exact"))
            return Cube.from_array(base + share * (full - base))

        return run

    return {
        "consistency noise": sharpener("noise", scale, psf),
        "consistency exact": sharpener("exact", scale, psf),
        "half of exact": part(0.5),
        "1.5 times exact": part(1.5),
        "nearest": nearest,
    }


def gain_of(method: Method, lr: Cube, reference: Array, base: NDArray[np.float64]) -> float:
    """True gain over bicubic in dB: mean over bands of the ratio of squared errors."""
    error = np.square(method(lr).read()[0].astype(np.float64) - reference).mean(axis=(1, 2))
    return float(np.mean(10 * np.log10(base / error)))


def reduced_part(scenes: dict[str, Array]) -> None:
    """Declared PSF true; then declared wrongly; then inputs under 24 pixels."""
    right = [(2, psf, psf) for psf in ("gaussian", "bicubic", "mtf:0.3")]
    wrong = [(2, "mtf:0.5", "mtf:0.15"), (2, "mtf:0.15", "mtf:0.5")]
    for label, cases in (
        ("declared PSF is the true one", right),
        ("declared PSF is wrong", wrong),
        ("input of about 11 pixels", [(3, psf, psf) for psf in ("gaussian", "mtf:0.3")]),
    ):
        rows = []
        for scene in scenes.values():
            for case in cases:
                if min(scene.shape[1:]) >= 96 or (case[0] == 3 and min(scene.shape[1:]) >= 90):
                    rows += list(signs(cut(scene, case[0] ** 2), *case))
        tally(label, rows)
        for name in dict.fromkeys(row[0] for row in rows):
            tally(f"  {name}", [row for row in rows if row[0] == name])


Row = tuple[str, float, Reduced]


def signs(scene: Array, scale: int, true_psf: str, declared: str) -> Iterable[Row]:
    for snr_db in (None, 35.0, 25.0):
        lr = Cube.from_array(noisy(parse_psf(true_psf).operator(scene.shape[1:], scale).apply(scene), snr_db))
        noise = estimate_noise([lr.read()])
        bicubic = sharpener("off", scale, declared)
        base = np.square(bicubic(lr).read()[0].astype(np.float64) - scene).mean(axis=(1, 2))
        for name, method in methods(scale, declared).items():
            with patch.object(reduced, "LEAST_SIDE", 8):
                found = reduced_test(
                    method, lr, scale=scale, psf=parse_psf(declared), bicubic=bicubic, noise=noise, seed=0
                )
            assert isinstance(found, Reduced)
            yield name, gain_of(method, lr, scene, base), found


def tally(label: str, rows: list[Row]) -> None:
    true = np.array([row[1] for row in rows])
    found = np.array([row[2].gain_db for row in rows])
    decided = np.array([row[2].sign != "undecided" for row in rows])
    agree, clear = np.sign(true) == np.sign(found), np.abs(true) > 0.1
    both = decided & clear
    print(
        f"{label:<30}{len(rows):>5} cases, {decided.sum():>4} decided, {(decided & agree).sum():>4} rightly; with a "
        f"true gain beyond 0.1 dB {both.sum():>4}, {(both & agree).sum():>4} rightly; "
        f"test - truth {np.mean(found - true):+.2f} dB, spread {np.std(found - true):.2f} dB, "
        f"interval holds {np.mean([row[2].low_db <= row[1] <= row[2].high_db for row in rows]):.0%}"
    )


def fooled_part(scenes: dict[str, Array]) -> None:
    table: dict[str, list[list[float]]] = {}
    for scene in scenes.values():
        if min(scene.shape[1:]) < 96:
            continue
        for name, row in foolers(cut(scene, 4), 4, "gaussian:sigma=1.7"):
            table.setdefault(name, []).append(row)
    names = ("dMPSNR", "SAM(A sr,lr)", "D_lambda", "D_s", "QNR", "D_l Khan", "HQNR", "D_s regr.", "RQNR")
    print(f"{'':<16}" + "".join(f"{name:>13}" for name in names))
    for name, rows in table.items():
        print(f"{name:<16}" + "".join(f"{value:>13.4f}" for value in np.mean(rows, axis=0)))


def foolers(scene: Array, scale: int, psf: str) -> Iterable[tuple[str, list[float]]]:
    count = len(scene)
    bands = Bands(count, wavelength_nm=np.linspace(400, 2450, count))
    recipe = Recipe(scale, degradation=psf, srf="sentinel2:B2,B3,B4,B8", noise=("gaussian:snr_db=35",))
    made = simulate(Cube.from_array(scene, bands=bands), recipe)
    assert made.msi is not None
    lr, msi = made.lr.read()[0], made.msi.read()[0]
    cube, guide = Cube.from_array(lr, bands=bands), Cube.from_array(msi)
    off, full = (sharpener(mode, scale, psf)(cube).read()[0] for mode in ("off", "exact"))
    low = parse_psf(psf).operator(msi.shape[1:], scale).apply(msi)
    correlation = np.corrcoef(lr.reshape(count, -1), low.reshape(len(msi), -1))[:count, count:]
    best = np.abs(correlation).argmax(axis=1)
    slope = (correlation[np.arange(count), best] * lr.std(axis=(1, 2)) / low[best].std(axis=(1, 2)))[:, None, None]
    detail = slope * (msi - bicubic_enlarge(low.shape[1:], scale).apply(low))[best]
    estimates = {
        "truth": scene,
        "bicubic": off,
        "exact": full,
        "MSI's detail": off + detail,
        "texture": textured(off, msi[best], lr, low[best], scale),
        "pasted": pasted(off, msi, lr, low, np.abs(correlation).argmax(axis=0)),
    }
    peak = float(np.quantile(scene, 0.999))
    base = mpsnr(scene, off, data_range=peak)
    for name, values in estimates.items():
        sr = Cube.from_array(np.ascontiguousarray(values, dtype=np.float32), bands=bands)
        agreement = consistency(cube, sr, scale=scale, psf=parse_psf(psf), noise=np.ones(count))
        found = guide_indices(cube, sr, guide, scale=scale, psf=parse_psf(psf), bands=range(count), seed=0)
        gain = np.inf if name == "truth" else mpsnr(scene, sr.read()[0], data_range=peak) - base
        indices = (found.d_lambda, found.d_s, found.qnr, found.d_lambda_khan, found.hqnr)
        numbers = (agreement.sam_deg.value, *indices, found.d_s_regression, found.rqnr)
        yield name, [gain, *(float("nan") if number is None else number for number in numbers)]


def local(values: Array, size: int) -> tuple[Array, Array]:
    """Mean and spread of each band in windows of `size` pixels."""
    mean = ndimage.uniform_filter(values, (0, size, size), mode="nearest")
    power = ndimage.uniform_filter(values * values, (0, size, size), mode="nearest")
    return mean, np.sqrt(np.maximum(power - mean**2, 1e-6))


def textured(base: Array, guide: Array, lr: Array, low: Array, scale: int) -> Array:
    """Mean and spread of bicubic, correlated with the MSI just as lr is, the rest white noise."""
    wide, narrow = 8 * scale + 1, 9
    (mean, spread), (guide_mean, guide_spread) = local(base, wide), local(guide, wide)
    (a, a_spread), (b, b_spread) = local(lr, narrow), local(low, narrow)
    cross = ndimage.uniform_filter(lr * low, (0, narrow, narrow), mode="nearest") - a * b
    rho = np.clip(cross / (a_spread * b_spread), -1, 1).repeat(scale, axis=1).repeat(scale, axis=2)
    white = np.random.default_rng(0).standard_normal((1, *base.shape[1:])).astype(np.float32)
    white_mean, white_spread = local(white, wide)
    shape = rho * (guide - guide_mean) / guide_spread + np.sqrt(1 - rho**2) * (white - white_mean) / white_spread
    made: Array = mean + spread * shape
    return made


def pasted(base: Array, msi: Array, lr: Array, low: Array, where: NDArray[np.intp]) -> Array:
    """Bicubic with each band of the MSI in place of one of its bands."""
    out = base.copy()
    for plane, seen, band in zip(msi, low, where, strict=True):
        slope, offset = np.polyfit(seen.ravel(), lr[band].ravel(), 1)
        out[band] = slope * plane + offset
    return out


def pair_part(scenes: dict[str, Array], scale: int = 4) -> None:
    """Largest error of width (relative) and shift (HR pixels) over the three cases of each scene."""
    cases = ((1.70, (0.0, 0.0)), (1.70, (0.6, -0.4)), (2.40, (-1.3, 0.8)))
    for snr_db in (None, 35.0):
        widths, shifts, refused = [], [], 0
        for scene in scenes.values():
            hr = cut(scene, scale)
            at = np.arange(len(hr)) / len(hr)
            srf = np.array([np.exp(-(((at - centre) / 0.05) ** 4)) for centre in (0.1, 0.2, 0.3, 0.5)])
            exact = np.tensordot(srf / srf.sum(axis=1, keepdims=True), hr, 1).astype(np.float32)
            msi = noisy(exact, None if snr_db is None else snr_db + 5, seed=1)
            for sigma, shift in cases:
                operator = Psf("sigma", (sigma, sigma)).operator(hr.shape[1:], scale, shift_yx=shift)
                try:
                    found = blur.blur_of_pair([(whole(noisy(operator.apply(hr), snr_db)), whole(msi))], scale=scale)
                except NoDataError:
                    refused += 1
                    continue
                widths.append(abs(found.sigma / sigma - 1))
                shifts.append(max(abs(a - b) for a, b in zip(found.shift_yx, shift, strict=True)))
        print(
            f"noise {'none' if snr_db is None else f'{snr_db:g} dB'}: {len(widths)} pairs ({refused} too small), width "
            f"within {max(widths):.1%}, median {np.median(widths):.2%}; shift within {max(shifts):.3f} px, "
            f"95 % within {np.quantile(shifts, 0.95):.3f} px"
        )


Sample = tuple[str, int, float, float | None, float, float]


def samples(scenes: dict[str, Array], widths: Iterable[float]) -> list[Sample]:
    """Scene, scale, width in LR pixels, SNR, and the two numbers p and q of the law."""
    found: list[Sample] = []
    for name, scene in scenes.items():
        for scale in (2, 3, 4):
            hr = cut(scene, scale)
            if min(hr.shape[1:]) < 16 * scale:
                continue
            for width in widths:
                lr = gaussian_shrink((hr.shape[1], hr.shape[2]), scale, sigma=width * scale).apply(hr)
                for snr_db in (None, 35.0, 25.0):
                    structure = blur._structure([whole(noisy(lr, snr_db))])
                    if structure is not None:
                        one, two, four = structure
                        found.append((name, scale, width, snr_db, float(np.log(one / two)), float(np.log(two / four))))
    return found


def law_of(found: list[Sample]) -> NDArray[np.float64]:
    design, target = terms(found), np.array([np.hypot(s[2], blur._OWN / s[1]) for s in found])
    law: NDArray[np.float64] = np.linalg.lstsq(design, np.log(target), rcond=None)[0]
    return law


def terms(found: list[Sample]) -> NDArray[np.float64]:
    p, q = np.array([s[4:] for s in found]).T
    return np.stack([np.ones_like(p), p, q, p * p, q * q, p * q], axis=1)


def fit(scenes: dict[str, Array]) -> None:
    found = samples(
        {n: s for n, s in scenes.items() if n not in HELD_OUT}, (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
    )
    points = np.array([s[4:] for s in found])
    print("law", np.round(law_of(found), 4).tolist())
    print("centre", points.mean(axis=0).round(3).tolist())
    print("precision", np.linalg.inv(np.cov(points.T)).round(1).tolist())


def cube_part(scenes: dict[str, Array]) -> None:
    widths = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
    found = samples(scenes, (0.25, *widths, 0.7))
    family = np.array([OVERLAPPING.get(s[0], s[0]) for s in found])
    scale, width = np.array([s[1] for s in found]), np.array([s[2] for s in found])
    loo = np.empty(len(found))
    for name in set(family):
        others = [s for s, f in zip(found, family, strict=True) if f != name]
        loo[family == name] = terms([s for s, f in zip(found, family, strict=True) if f == name]) @ law_of(others)
    shipped = terms(found) @ np.array(blur._LAW)
    inside, held = np.isin(width, widths), np.isin(family, HELD_OUT)
    for label, logs, which in (("each scene left out", loo, inside), ("held-out scenes", shipped, inside & held)):
        own = blur._OWN / scale
        estimate = np.sqrt(np.maximum(np.exp(2 * logs) - own**2, 1e-4))
        low, high = (np.sqrt(np.maximum(np.exp(2 * logs) * f**2 - own**2, 0)) for f in (1 / blur._FACTOR, blur._FACTOR))
        error = np.abs(estimate / width - 1)
        covered = ((low <= width) & (width <= high))[which].mean()
        print(f"{label}: {which.sum()} cubes, median error {np.median(error[which]):.1%}, interval holds {covered:.1%}")
        print("  width  " + "".join(f"{w:>8g}" for w in widths))
        print("  median " + "".join(f"{np.median(error[which & (width == w)]):>8.1%}" for w in widths))
        print("  0.45   " + "".join(f"{abs(0.45 / w - 1):>8.1%}" for w in widths) + "   (always answering 0.45)")


if __name__ == "__main__":
    main()
