"""Networks that fuse beside the methods without training, on scenes that no recipe trains on, over the cube's noise.

A pair is made of each scene as recipes make theirs for validation: the recipe's blur, its first response, no shift. The
cube's noise is that of `--snr`, where `inf` is none; the MSI's is the middle of the recipe's range. `clean` is a pair
without noise on either. A pair goes through what `hypersharp.fuse` does, fits and calibration included: `--calibration
blind` is told nothing, `stated` the PSF, and the response where the scene says its wavelengths; `--say` states a PSF,
right or wrong, `--shift` moves the images apart, `--side` takes the middle of each scene alone. Scores are means over
the scenes, after the protocol `ours`; seconds are medians over them of the whole call, the file of weights read, and
only compare within one run. MACs are true ones for an LR cube of 64 x 64 pixels, a result of 256 x 256 at x4.

`python benchmarks/fusion_learned.py --checkpoints student=runs/csakd_student/best.safetensors --out runs/fusion`
prints a Markdown table for each noise, and leaves `scores.csv`, with each scene, and `robustness.png` in the folder.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hypersharp.cube import Bands, Cube
from hypersharp.data.scenes import Scene, find_scenes, load_scene
from hypersharp.degrade.psf import parse_psf
from hypersharp.errors import HypersharpError, UsageError
from hypersharp.figures.curves import Curve, Panel, draw_curves
from hypersharp.fusing import prepare_fusion
from hypersharp.infer.torch_session import load_model, read_card
from hypersharp.metrics import evaluate_arrays, get_protocol
from hypersharp.models._catalogue import LR_SIZE
from hypersharp.models._count import count_macs, count_parameters
from hypersharp.train.config import DataConfig, load_config
from hypersharp.train.pairs import observe, response_of

METHODS = ("exp", "gsa", "sfim", "glp", "lmmse", "fuse", "cnmf", "hysure", "cstf", "auto")
TITLES = {"mpsnr_db": "MPSNR (dB)", "mssim": "MSSIM", "sam_deg": "SAM (°)", "ergas": "ERGAS"}
METRICS = tuple(TITLES)
DRAWN = ("mpsnr_db", "sam_deg")  # as the CSAKD paper draws its robustness
_LOWER_IS_BETTER = ("sam_deg", "ergas")
_RECIPE = Path(__file__).parents[1] / "recipes" / "fusion" / "csakd_student.toml"
_NOTHING = (math.nan,) * len(METRICS)


@dataclass(frozen=True)
class Case:
    """Noise of a pair: SNR of cube and MSI in dB."""

    cube_db: float
    msi_db: float

    @property
    def title(self) -> str:
        """What stands above its table."""
        cube, msi = ("no noise" if math.isinf(v) else f"SNR {v:g} dB" for v in (self.cube_db, self.msi_db))
        return "Clean: no noise on either" if cube == msi == "no noise" else f"Noisy: cube {cube}, MSI {msi}"


@dataclass(frozen=True)
class Way:
    """A way to fuse; a method where `model` is None."""

    name: str
    model: Path | None = None
    parameters: int | None = None
    macs: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What a way made of a scene: values of `METRICS`, NaN where it failed; seconds; the method used, or why none."""

    case: Case
    scene: str
    way: str
    scores: tuple[float, ...]
    seconds: float
    words: str


@dataclass(frozen=True, eq=False)
class Fused:
    """A scene with its cube and MSI."""

    scene: Scene
    valid: np.ndarray
    lr: Cube
    msi: Cube


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", default="", metavar="NAME=PATH,…", help="networks; none by default")
    parser.add_argument("--recipe", default=str(_RECIPE), help="whose validation scenes, blur and response are taken")
    parser.add_argument("--scenes", default="", metavar="NAME,…", help="in place of the recipe's validation scenes")
    parser.add_argument("--snr", default="15,20,25,30,35,40,45,inf,clean", help="of the cube, in dB")
    parser.add_argument("--methods", default=",".join(METHODS), help="without training")
    parser.add_argument("--calibration", choices=("blind", "stated"), default="blind")
    parser.add_argument("--say", metavar="PSF", help="state this PSF, whatever the blur is")
    parser.add_argument("--side", type=int, metavar="N", help="HR pixels of each scene's middle; default: all")
    parser.add_argument("--shift", default="0,0", metavar="DY,DX", help="HR pixels between cube and MSI")
    parser.add_argument("--consistency", choices=("noise", "exact", "off"), default="noise", help="of the networks")
    parser.add_argument("--out", metavar="DIR", help="for scores.csv and robustness.png")
    given = parser.parse_args()
    if not os.environ.get("HYPERSHARP_DATA"):
        print("skipped: HYPERSHARP_DATA is not set, no real scenes here")
        return
    try:
        compare(given)
    except HypersharpError as error:
        sys.exit(f"error: {error}")


def compare(given: argparse.Namespace) -> None:
    """Everything, as the arguments ask for it."""
    data = load_config(given.recipe).data
    if data.msi is None:
        raise UsageError(f"{given.recipe} has no table [data.msi] and fuses nothing; name a recipe that fuses")
    cases = cases_of(given.snr, sum(data.msi.snr_db) / 2)
    methods = [Way(name) for name in split(given.methods)]
    ways = methods + [network(text) for text in split(given.checkpoints)]
    names = split(given.scenes) or data.validation
    scenes = [middle(load_scene(path).fitted(data.scale), given.side) for path in find_scenes(data.root, names)]
    if not (cases and ways and scenes):
        raise UsageError("expected at least one scene, one noise and one way to fuse, got none of one of them")
    seen = {path.stem for path in find_scenes(data.root, data.train)}
    told = ", ".join(one.name + " (trained on!)" * (one.name in seen) for one in scenes)
    print(f"{told}; x{data.scale}, {data.degradation}, MSI {data.msi.srfs[0] if data.msi.srfs else 'drawn'}", end="; ")
    print(f"shift {given.shift}, calibration {given.calibration}{f', {given.say} stated' * bool(given.say)}", end="; ")
    print(f"consistency of networks {given.consistency}", flush=True)
    found: list[Outcome] = []
    for case in cases:
        for scene in scenes:
            made = pair(scene, data, case, shift_of(given.shift))
            for way in ways:
                found.append(outcome(made, way, case, data, given))
                print(f"  {case.cube_db:g} dB, {scene.name}, {way.name}: {found[-1].words}", file=sys.stderr)
        print(f"\n**{case.title}**\n\n{markdown(found, case, ways)}", flush=True)
    if given.out:
        write(found, ways, Path(given.out))


def split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def cases_of(text: str, msi_db: float) -> list[Case]:
    """From `15,20,clean`.

    Raises:
        UsageError: a part is neither a number nor `clean`.
    """
    cases: dict[Case, None] = {}
    for part in split(text):
        try:
            cases[Case(math.inf, math.inf) if part == "clean" else Case(float(part), msi_db)] = None
        except ValueError:
            raise UsageError(f"--snr takes decibels, inf or clean with commas between, got {part!r}") from None
    return list(cases)


def middle(scene: Scene, side: int | None) -> Scene:
    """The middle of a scene, `side` HR pixels along either side; a smaller scene as it is."""
    if side is None:
        return scene
    rows, cols = (slice(max(0, (n - side) // 2), max(0, (n - side) // 2) + side) for n in scene.hr.shape[1:])
    return replace(scene, hr=np.ascontiguousarray(scene.hr[:, rows, cols]), valid=scene.valid[rows, cols])


def shift_of(text: str) -> tuple[float, float]:
    """From `1,-0.5`.

    Raises:
        UsageError: not two numbers.
    """
    try:
        down, right = map(float, split(text))
    except ValueError:
        raise UsageError(f"--shift takes two numbers with a comma between, HR pixels, got {text!r}") from None
    return down, right


def network(text: str) -> Way:
    """From `NAME=PATH`, with what it costs; an exported file does not say.

    Raises:
        UsageError: not of that form.
        FileFormatError: no file of weights.
    """
    name, equals, where = text.partition("=")
    if not (name and equals and where) or name in METHODS:
        raise UsageError(f"--checkpoints takes NAME=PATH with a name that is no method's, got {text!r}")
    path = Path(where)
    if path.suffix != ".safetensors":
        return Way(name, path)
    card, net = read_card(path), load_model(path)
    if card.msi_bands is None or card.channels is None:
        raise UsageError(f"{path.name} sharpens a cube alone; name a network that fuses")
    macs = count_macs(net, bands=card.channels, lr_size=LR_SIZE, msi=(card.msi_bands, card.scale))
    return Way(name, path, count_parameters(net), macs)


def pair(scene: Scene, data: DataConfig, case: Case, shift_yx: tuple[float, float] = (0.0, 0.0)) -> Fused:
    """Cube and MSI of a scene; the noise of a scene is the same at every level, only louder."""
    assert data.msi is not None
    seen = observe(
        scene.hr,
        np.tensordot(response_of(scene, data.msi, None).astype(np.float32), scene.hr, axes=1),
        scene.valid,
        scale=data.scale,
        psf=parse_psf(data.degradation),
        shift_yx=shift_yx,
        snr_db=(case.cube_db, case.msi_db),
        draw=np.random.default_rng(list(scene.name.encode())),
    )
    bands = Bands(len(seen.lr), wavelength_nm=scene.wavelength_nm)
    return Fused(
        scene,
        scene.valid & seen.whole.repeat(data.scale, axis=0).repeat(data.scale, axis=1),
        Cube.from_array(np.where(seen.whole, seen.lr, np.float32(np.nan)), bands=bands),
        Cube.from_array(np.where(scene.valid, seen.msi, np.float32(np.nan))),
    )


def outcome(made: Fused, way: Way, case: Case, data: DataConfig, given: argparse.Namespace) -> Outcome:
    """Fuse and score; a way that refuses a pair is said, and does not end the run."""
    assert data.msi is not None
    stated = given.calibration == "stated"
    named = stated and data.msi.srfs and made.scene.wavelength_nm is not None
    started = time.perf_counter()
    try:
        ready = prepare_fusion(
            made.lr,
            made.msi,
            method=way.name if way.model is None else "auto",
            model=way.model,
            consistency=None if way.model is None else given.consistency,
            srf=data.msi.srfs[0] if named else None,
            degradation=given.say or (data.degradation if stated else None),
            assume_aligned=True,
        )
        values, known = ready.cube.read()
    except HypersharpError as error:
        return Outcome(case, made.scene.name, way.name, _NOTHING, math.nan, f"failed: {error}")
    seconds = time.perf_counter() - started
    protocol = get_protocol("ours").only(METRICS)
    valid = made.valid & known.all(axis=0)
    (scored,) = evaluate_arrays(made.scene.hr, values, [protocol], scale=data.scale, valid=valid)
    scores = tuple(math.nan if (value := scored.scores[name].value) is None else value for name in METRICS)
    return Outcome(case, made.scene.name, way.name, scores, seconds, ready.choice.words)


def mean(found: Sequence[Outcome], case: Case, way: str, metric: str) -> float:
    """Over the scenes; NaN where one failed."""
    at = METRICS.index(metric)
    return statistics.fmean(one.scores[at] for one in found if one.case == case and one.way == way)


def markdown(found: Sequence[Outcome], case: Case, ways: Sequence[Way]) -> str:
    """A table of all ways, the best of each metric bold, and what is to be said about them."""
    columns, here = {}, [one for one in found if one.case == case]
    for metric in METRICS:
        values = [mean(found, case, way.name, metric) for way in ways]
        shown = ["-" if math.isnan(value) else f"{value:.4f}" for value in values]
        known = [value for value in values if not math.isnan(value)]
        best = (min if metric in _LOWER_IS_BETTER else max)(known, default=math.nan)
        columns[metric] = [f"**{t}**" if v == best else t for v, t in zip(values, shown, strict=True)]
    head = ["Method", *(TITLES[m] + (" ↓" if m in _LOWER_IS_BETTER else " ↑") for m in METRICS)]
    lines = [[*head, "Params (M)", "MACs (G)", "s"], ["---", *["---:"] * (len(head) + 2)]]
    for row, way in enumerate(ways):
        cost = ["-" if v is None else format(v / unit, ".3f") for v, unit in ((way.parameters, 1e6), (way.macs, 1e9))]
        seconds = [one.seconds for one in here if one.way == way.name and not math.isnan(one.seconds)]
        spent = f"{statistics.median(seconds):.2f}" if seconds else "-"
        lines.append([way.name, *(columns[metric][row] for metric in METRICS), *cost, spent])
    notes = [f"- {one.scene}: auto took {one.words}" for one in here if one.way == "auto" and one.scores != _NOTHING]
    notes += [f"- {one.scene}: {one.way} {one.words}" for one in here if math.isnan(one.seconds)]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", *notes]).rstrip()


def write(found: Sequence[Outcome], ways: Sequence[Way], folder: Path) -> None:
    """Every number of every scene, and the curves over the noise of the cube."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["snr_cube_db", "snr_msi_db", "scene", "method", *METRICS, "seconds", "used"])
        for one in found:
            noise = (one.case.cube_db, one.case.msi_db)
            table.writerow([*noise, one.scene, one.way, *one.scores, round(one.seconds, 3), one.words])
    cases = sorted({one.case for one in found if math.isfinite(one.case.cube_db)}, key=lambda case: case.cube_db)
    if not cases:
        return
    panels = []
    for metric in DRAWN:
        curves = [
            Curve.of(
                way.name,
                [case.cube_db for case in cases],
                [mean(found, case, way.name, metric) for case in cases],
                strong=way.model is not None,
            )
            for way in ways
        ]
        panels.append(Panel(TITLES[metric], tuple(curves)))
    title = f"Noise on the cube, MSI at {cases[0].msi_db:g} dB; mean over {len({one.scene for one in found})} scenes"
    draw_curves(panels, folder / "robustness.png", title=title, x_label="SNR of the cube (dB)")


if __name__ == "__main__":
    main()
