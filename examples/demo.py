"""`make demo`: a real scene through the whole of hypersharp, into one folder.

AVIRIS Indian Pines is written as an ENVI file, sharpened x2 by the command line into a GeoTIFF with all 200 bands,
drawn beside bicubic, and the method is scored by a Wald test on it: degrade the scene, sharpen, compare with the scene.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from indian_pines import indian_pines

import hypersharp
from hypersharp import Cube, cli, metrics
from hypersharp.degrade.psf import DEFAULT
from hypersharp.figures import side_by_side

SCALE = 2
WAYS = {
    "bicubic": ("bicubic", "off"),
    "bicubic + consistency": ("bicubic", "noise"),
    "hypersharp": ("default", "noise"),
}
DETAIL = (slice(0, 48), slice(8, 56))


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("demo"), help="default: demo")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    scene, sharp, picture = (
        folder / name for name in ("indian_pines.img", "indian_pines_x2.tif", "indian_pines_x2.png")
    )

    print("1. AVIRIS Indian Pines as an ENVI file (its grid is synthetic)", flush=True)
    hypersharp.write(indian_pines(), scene, overwrite=True)
    hypersharp_command("info", str(scene))

    print(f"\n2. sharpened x{SCALE}, every band", flush=True)
    sharpen = ("sharpen", str(scene), str(sharp), "--scale", str(SCALE), "--compress", "deflate", "--overwrite")
    hypersharp_command(*sharpen)

    print("\n3. side by side", flush=True)
    lr = hypersharp.open(scene)
    bicubic = hypersharp.sharpen(lr, scale=SCALE, method="bicubic", consistency="off")
    assert isinstance(bicubic, Cube)
    panels = [("input", lr), ("bicubic", bicubic), ("hypersharp", hypersharp.open(sharp))]
    note = "AVIRIS Indian Pines (doi:10.4231/R7RX991C, CC BY 3.0) in natural colours, stretched alike; below, a detail"
    side_by_side(panels, picture, views=[(slice(None), slice(None)), DETAIL], least_width_px=1200, note=note)

    scores = wald_test(lr)
    (folder / "scores.txt").write_text(scores + "\n", encoding="utf-8")
    print(f"\n4. {scores}\n")
    for what, path in (("input", scene), ("sharpened", sharp), ("picture", picture), ("scores", folder / "scores.txt")):
        print(f"{what + ':':<11}{path}")


def hypersharp_command(*arguments: str) -> None:
    """Show and run a command as a user would.

    Raises:
        SystemExit: it failed; it has said why.
    """
    print("$ hypersharp", *arguments, flush=True)
    status = cli.run(list(arguments))
    if status:
        raise SystemExit(status)


def wald_test(cube: Cube) -> str:
    """Degrade by `SCALE`, sharpen back, compare with the cube itself; a table with the conventions behind it."""
    rows, cols = (size // SCALE * SCALE for size in cube.shape[1:])
    reference, valid = cube.crop(slice(0, rows), slice(0, cols)).read()
    assert valid.all()
    blurred = DEFAULT.operator((rows, cols), SCALE).apply(reference).astype(np.float32)
    lr = replace(Cube.from_array(blurred), bands=cube.bands)
    peak = float(np.quantile(reference, 0.999))
    lines = [
        f"Wald test: x{SCALE}, {rows} x {cols} pixels, {len(reference)} bands, degraded with {DEFAULT} and sharpened "
        "with the same;",
        f"peak {peak:.4g} {cube.units} (99.9 % quantile), SSIM 11 x 11 Gaussian, ERGAS 100/scale. A real sensor's blur",
        "is known less well, and the noise of the scene averages out when it is degraded: expect less on your own.",
        "",
        f"{'':<24}{'MPSNR dB':>10}{'MSSIM':>10}{'SAM deg':>10}{'ERGAS':>10}",
    ]
    for name, (method, consistency) in WAYS.items():
        sharp = hypersharp.sharpen(lr, scale=SCALE, method=method, degradation=str(DEFAULT), consistency=consistency)
        assert isinstance(sharp, Cube)
        estimate, _ = sharp.read()
        lines.append(
            f"{name:<24}{metrics.mpsnr(reference, estimate, data_range=peak):10.2f}"
            f"{metrics.mssim(reference, estimate, data_range=peak, window='gaussian_11'):10.4f}"
            f"{metrics.sam(reference, estimate):10.3f}{metrics.ergas(reference, estimate, scale=SCALE):10.3f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
