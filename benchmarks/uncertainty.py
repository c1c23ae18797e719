"""Fits the weights of `--uncertainty` on scenes with a known truth, and measures them on scenes never trained on.

With `--fit`, each train scene of `recipes/default/x4.toml` is degraded with each PSF and noise level and sharpened as a
user would, and the weights are those of the greatest Laplace likelihood of the errors in random windows; they are
printed as `hypersharp.infer.uncertainty` holds them. Without it, the scenes that no recipe trains on are done likewise,
whole, and for each is printed: the lowest and highest coverage of ±2.303·b over the quintiles of b; Spearman's
correlation of b and the size of the error; the interval score at 90 % (Gneiting and Raftery, JASA 102, 2007) beside
that of the best constant width for each band, which is chosen with the truth in hand; and the time of b over that of
sharpening.
"""

from __future__ import annotations

import argparse
import math
import os
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import rankdata

from hypersharp.infer.uncertainty import NINETY, ErrorScale, Law, fit_uncertainty, law_for
from hypersharp.pipeline import Prepared, Using, prepare
from universal import simulated

RECIPE = Path(__file__).parents[1] / "recipes" / "default" / "x4.toml"
CASES = tuple(product(("bicubic", "mtf:0.3"), (None, 35.0)))
KINDS = {"network": (2, 4), "bicubic": (2, 3, 4, 8)}
_TERMS, _BURIED = 8, 1  # the latter: noise of HR where a band holds nothing else
_WINDOWS, _SIDE, _EACH = 4, 6, 4  # random windows of a scene, their side in HR pixels, and every which band
_MOST = 300_000  # errors that are ranked


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors of a sharpened scene beside the terms of b.

    Attributes:
        terms: `(n, 8)`.
        size: `(n,)` of the error.
        blur: logarithm of `s²·Σ k²`.
    """

    terms: NDArray[np.float64]
    size: NDArray[np.float64]
    blur: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="fit the weights and print them")
    parser.add_argument("--kind", choices=tuple(KINDS), default=None, help="only this one")
    parser.add_argument("--scale", type=int, default=None, help="only this one")
    given = parser.parse_args()
    folder = os.environ.get("HYPERSHARP_DATA")
    if not folder:
        print("skipped: HYPERSHARP_DATA is not set, no real scenes here")
        return
    data = tomllib.loads(RECIPE.read_text(encoding="utf-8"))["data"]
    scenes = Path(folder, "scenes")
    for kind, scales in KINDS.items():
        for scale in scales:
            if given.kind in (None, kind) and given.scale in (None, scale):
                if given.fit:
                    print(f'    ("{kind}", {scale}): {fitted(scenes, data["train"], kind, scale)},', flush=True)
                else:
                    measure(scenes, [*data["test"], *data["validation"]], kind, scale)


def done(
    folder: Path, names: list[str], kind: str, scale: int
) -> Iterator[tuple[str, NDArray[np.float32], Prepared, str]]:
    """Each scene in each case: its name, its truth, its sharpening, and the case."""
    method = "default" if kind == "network" else "bicubic"
    for (psf, snr_db), name in product(CASES, names):
        hr, cube = simulated(folder / f"{name}.h5", psf, scale, snr_db)
        ready = prepare(cube, scale=scale, method=method, degradation=psf, using=Using(force=True))
        yield name, hr, ready, f"{psf}, {'no noise' if snr_db is None else f'{snr_db:g} dB'}"


def error_scale(ready: Prepared, law: Law) -> ErrorScale:
    """Values of b for a prepared sharpening under a law."""
    scale, (rows, cols) = ready.plan.scale, ready.lr.shape[1:]
    operator = ready.psf.operator((rows * scale, cols * scale), scale)
    return ErrorScale(ready.lr.values, fit_uncertainty(ready.scene, operator, law), ready.plan.core)


def fitted(folder: Path, names: list[str], kind: str, scale: int) -> Law:
    """The law of the greatest likelihood."""
    draw = np.random.default_rng(0)
    found = [sampled(hr, ready, draw) for _, hr, ready, _ in done(folder, names, kind, scale)]
    terms, size = np.concatenate([f.terms for f in found]), np.concatenate([f.size for f in found])
    blur = np.concatenate([np.full(len(f.size), f.blur) for f in found])
    unit = np.median(size) / (terms.mean(axis=0) + 1e-300) / _TERMS

    def loss(free: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight, factor = np.exp(free[:_TERMS]) * unit, np.exp(free[_TERMS] * blur)
        noise, rough = terms[:, :3] @ weight[:3], factor * (terms[:, 3:] @ weight[3:])
        b = noise + rough + 1e-30
        slope = (1 - size / b) / b / len(b)
        gradient = np.concatenate([slope @ terms[:, :3], (slope * factor) @ terms[:, 3:]]) * weight
        return float((np.log(b) + size / b).mean()), np.append(gradient, (slope * rough * blur).sum())

    bounds = [(-12.0, 8.0)] * _TERMS + [(-2.0, 2.0)]
    # The train scenes have next to no bands of pure noise; there the mean size of a Gaussian error is known.
    unit[_BURIED], bounds[_BURIED] = math.sqrt(2 / math.pi), (0.0, 0.0)
    best = minimize(loss, np.zeros(_TERMS + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    weight = [float(f"{w:.3g}") if w > 1e-3 else 0.0 for w in np.exp(best.x[:_TERMS]) * unit]
    return Law((*weight[:4],), (*weight[4:],), float(f"{best.x[_TERMS]:.3g}"))  # type: ignore[arg-type]


def sampled(hr: NDArray[np.float32], ready: Prepared, draw: np.random.Generator) -> Errors:
    """Errors in random windows, and what each term alone would have b be."""
    ones = [tuple(row) for row in np.eye(_TERMS).tolist()]
    alone = [error_scale(ready, Law(one[:4], one[4:], 0.0)) for one in ones[:1]]
    alone += [replace(alone[0], fitted=replace(alone[0].fitted, law=Law(one[:4], one[4:], 0.0))) for one in ones[1:]]
    terms, size = [], []
    for _ in range(_WINDOWS):
        top, left = (int(draw.integers(0, n - _SIDE)) for n in hr.shape[1:])
        at = (slice(int(draw.integers(_EACH)), None, _EACH), slice(top, top + _SIDE), slice(left, left + _SIDE))
        terms.append(np.stack([one.read(*at)[0].ravel() for one in alone], axis=1))
        size.append(np.abs(hr[at] - ready.cube.values.read(*at)[0]).ravel())
    fit = alone[0].fitted
    return Errors(np.concatenate(terms), np.concatenate(size), float(np.log(fit.passed * fit.scale**2)))


def measure(folder: Path, names: list[str], kind: str, scale: int) -> None:
    """One block of the table."""
    print(f"\n{kind}, x{scale}\n{'':<30}{'coverage':>16}{'Spearman':>10}{'interval score':>16}{'time':>8}")
    case = ""
    for name, hr, ready, now in done(folder, names, kind, scale):
        if now != case:
            case = now
            print(case)
        started = time.perf_counter()
        sr = ready.cube.read()[0]
        middle = time.perf_counter()
        b = error_scale(ready, law_for(scale, network=kind == "network")).read(slice(None), slice(None), slice(None))[0]
        taken = (time.perf_counter() - middle) / (middle - started)
        print(f"  {name:<28}{line(scores(b, np.abs(hr - sr)))}{taken:>8.2f}", flush=True)


def scores(b: NDArray[Any], size: NDArray[Any]) -> tuple[float, float, float, float]:
    """Lowest and highest coverage over quintiles of b, Spearman's correlation, and the gain in interval score."""
    some = np.random.default_rng(0).permutation(b.size)[:_MOST]
    scale, error = b.ravel()[some], size.ravel()[some]
    group = np.digitize(scale, np.quantile(scale, [0.2, 0.4, 0.6, 0.8]))
    inside = [float((error <= NINETY * scale)[group == k].mean()) for k in range(5) if (group == k).any()]
    ranks = np.corrcoef(rankdata(scale), rankdata(error))[0, 1]
    best = np.quantile(size, 0.9, axis=(1, 2), keepdims=True)
    ours, constant = (float((2 * half + 20 * np.maximum(size - half, 0)).mean()) for half in (NINETY * b, best))
    return min(inside), max(inside), float(ranks), 1 - ours / constant


def line(found: tuple[float, float, float, float]) -> str:
    low, high, ranks, gain = found
    return f"{100 * low:>7.0f} to {100 * high:>3.0f} %{ranks:>10.2f}{100 * gain:>+14.1f} %"


if __name__ == "__main__":
    main()
