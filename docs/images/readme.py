"""Draws docs/images/indian_pines_x2.png, the picture of the README: `python docs/images/readme.py`, after `make demo`.

A Wald test on a real scene, so that the truth can stand beside the result: AVIRIS Indian Pines is degraded by 2 and
sharpened by 2 again.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import hypersharp
from hypersharp import Cube
from hypersharp.degrade.psf import DEFAULT
from hypersharp.figures import side_by_side

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "examples"))
from indian_pines import indian_pines  # noqa: E402  lies in a folder that is no package

SCALE = 2
VIEW = (slice(4, 40), slice(4, 40))


def main() -> None:
    """Draw it."""
    reference = indian_pines().crop(slice(0, 144), slice(0, 144))
    values, _ = reference.read()
    blurred = DEFAULT.operator(values.shape[1:], SCALE).apply(values).astype(np.float32)
    lr = replace(Cube.from_array(blurred), bands=reference.bands)
    panels = [("input, 40 m", lr)]
    psf = str(DEFAULT)
    plain = hypersharp.sharpen(lr, scale=SCALE, method="bicubic", degradation=psf, consistency="off")
    panels += [("bicubic, 20 m", plain), ("hypersharp, 20 m", hypersharp.sharpen(lr, scale=SCALE, degradation=psf))]
    panels.append(("truth, 20 m", reference))
    side_by_side(panels, HERE / "indian_pines_x2.png", views=[VIEW], least_width_px=1100)


if __name__ == "__main__":
    main()
