"""The papers' bicubic rows, made anew from the real scenes: split, degradation, enlargement and metrics in one check.

Source: Shi et al. (LKCA), Tables V to VII, for the rows and, for the test images, its section on data and the scripts
of SSPSR, whose bicubic rows of Chikusei LKCA repeats.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp._nearest import nearest
from hypersharp.cube import Cube
from hypersharp.data.catalogue import DATASETS
from hypersharp.errors import FileFormatError, UsageError
from hypersharp.io import open_cube
from hypersharp.metrics import evaluate_arrays, get_protocol, reference_peaks
from hypersharp.operators import bicubic_enlarge, bicubic_shrink
from hypersharp.train.domain import METRICS

_ROWS_AT_ONCE = 64
TOLERANCE = {"mpsnr_db": 0.005, "mssim": 0.001, "sam_deg": 0.005, "cc": 0.0005, "rmse": 0.0001, "ergas": 0.005}
"""How far a value may be off: a few units of the last printed digit. Papers with the same data print MSSIM up to 0.0005
and RMSE up to 0.0001 apart."""


@dataclass(frozen=True)
class Images:
    """The test images of a scene, side by side from its first pixel.

    Attributes:
        side: of an image in HR pixels.
        down: images below each other.
        across: images beside each other.
        rows: scale to the published scores of bicubic, their mean over the images, in the order of `METRICS`.
    """

    side: int
    down: int
    across: int
    rows: Mapping[int, tuple[float, ...]]


IMAGES = {
    "chikusei": Images(
        512,
        1,
        4,
        {
            4: (37.6377, 0.8953, 3.4040, 0.9212, 0.0155, 6.7563),
            8: (34.5049, 0.8069, 5.0436, 0.8314, 0.0224, 4.8488),
        },
    ),
    "houston2018": Images(
        256,
        2,
        4,
        {
            4: (43.0272, 0.9613, 2.5453, 0.9741, 0.0086, 2.9085),
            8: (38.1083, 0.8987, 4.6704, 0.9177, 0.0152, 2.5615),
        },
    ),
    "pavia": Images(
        224,
        1,
        3,
        {
            4: (30.6810, 0.8323, 6.8835, 0.9205, 0.0325, 7.7000),
            8: (27.4155, 0.6782, 8.3665, 0.8291, 0.0472, 5.5958),
        },
    ),
}


@dataclass(frozen=True)
class Checked:
    """A published row beside ours.

    Attributes:
        data_set: key of `IMAGES`.
        scale: HR/LR ratio.
        published: metric to value.
        ours: metric to value.
    """

    data_set: str
    scale: int
    published: dict[str, float]
    ours: dict[str, float]

    @property
    def apart(self) -> list[str]:
        """Metrics that are further off than `TOLERANCE`."""
        return [name for name in METRICS if not abs(self.ours[name] - self.published[name]) <= TOLERANCE[name]]

    @property
    def agrees(self) -> bool:
        """Whether none is."""
        return not self.apart

    def line(self) -> str:
        """For people."""
        said = ", ".join(f"{name} {self.ours[name]:.4f} ({self.published[name]:.4f})" for name in METRICS)
        verdict = "agrees" if self.agrees else f"differs in {', '.join(self.apart)}"
        return f"{self.data_set} x{self.scale} bicubic, ours (published): {said}: {verdict}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"agrees": self.agrees}


def check(name: str, path: Path, *, images: Mapping[str, Images] = IMAGES) -> list[Checked]:
    """Score bicubic on the test images of a scene and set it beside the published rows.

    As in the papers: the scene is divided by its maximum, every image is cut first and then degraded by bicubic, and
    the scores of the images are averaged (protocol *lkca*).

    Args:
        name: key of `images`.
        path: the scene as `hypersharp data prepare` writes it.
        images: the test images.

    Raises:
        UsageError: there are no such rows, or the scene is too small for the test images.
        FileFormatError: the file is absent or cannot be read.
    """
    if name not in images:
        raise UsageError(f"expected a data set out of {', '.join(images)}, got {name!r}{nearest(name, images)}")
    if not path.is_file():
        known = DATASETS[name]
        raise FileFormatError(
            f"{path}: not found; get {known.title} from {known.where} and make it with hypersharp data prepare {name}"
        )
    cube, test = open_cube(path), images[name]
    height, width = test.side * test.down, test.side * test.across
    if cube.shape[1] < height or cube.shape[2] < width:
        raise UsageError(
            f"{path.name}: expected at least {height} x {width} pixels for the test images of {name}, got "
            f"{cube.shape[1]} x {cube.shape[2]}; make it with hypersharp data prepare {name}"
        )
    peaks = reference_peaks(lambda: _blocks(cube), quantile=False)
    protocol = get_protocol("lkca")
    found = []
    for scale, published in test.rows.items():
        scored = []
        for hr, valid in _images(cube, test):
            lr = bicubic_shrink(hr.shape[1:], scale).apply(hr)
            sr = bicubic_enlarge(lr.shape[1:], scale).apply(lr)
            (one,) = evaluate_arrays(hr, sr, [protocol], scale=scale, valid=valid, peaks=peaks)
            values = [one.scores[metric].value for metric in METRICS]
            scored.append([math.nan if value is None else value for value in values])
        ours = dict(zip(METRICS, np.mean(scored, axis=0).tolist(), strict=True))
        found.append(Checked(name, scale, dict(zip(METRICS, published, strict=True)), ours))
    return found


def _blocks(cube: Cube) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """The scene, some rows at a time: the largest ones take gigabytes."""
    for top in range(0, cube.shape[1], _ROWS_AT_ONCE):
        yield cube.read(rows=slice(top, min(top + _ROWS_AT_ONCE, cube.shape[1])))


def _images(cube: Cube, test: Images) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    for down in range(test.down):
        for across in range(test.across):
            rows, cols = (slice(at * test.side, (at + 1) * test.side) for at in (down, across))
            values, valid = cube.read(rows=rows, cols=cols)
            whole: NDArray[np.bool_] = np.asarray(valid.all(axis=0))
            yield np.where(whole, values, 0).astype(np.float32), whole
