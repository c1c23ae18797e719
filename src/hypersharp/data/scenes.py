"""Scenes for training: read through the readers of the package, dead and noisy bands dropped, sides cut to fit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hypersharp.data.split import Rectangle
from hypersharp.degrade.noise import estimate_noise
from hypersharp.errors import FileFormatError, UsageError
from hypersharp.io import open_cube

ENDINGS = (".h5", ".hdf5", ".mat", ".npy", ".npz", ".tif", ".img", ".nc")
"""Endings that are tried, in this order, for a name without one."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A cube that networks are trained or validated on, in memory.

    Attributes:
        name: name of the file without its ending.
        hr: `(C, H, W)` float32 in physical units, finite.
        valid: `(H, W)` pixels that were valid in every band that is kept; the others hold 0.
        kept: `(C,)` bands of the file that are kept.
        wavelength_nm: `(C,)`, or None where unknown.
        bands: of the file; None where there is none.
    """

    name: str
    hr: NDArray[np.float32]
    valid: NDArray[np.bool_]
    kept: NDArray[np.intp]
    wavelength_nm: NDArray[np.float64] | None
    bands: int | None = None

    def part(self, where: Rectangle) -> Scene:
        """The scene's pixels inside a rectangle."""
        rows, cols = slice(*where.rows), slice(*where.cols)
        return replace(self, hr=self.hr[:, rows, cols], valid=self.valid[rows, cols])

    def fitted(self, scale: int) -> Scene:
        """Without the last rows and columns that are no multiple of the scale."""
        height, width = (n // scale * scale for n in self.hr.shape[1:])
        return self.part(Rectangle((0, height), (0, width)))

    def take(self, bands: NDArray[np.intp]) -> Scene:
        """Only those of the file's bands, all of which must be held."""
        at = np.searchsorted(self.kept, bands)
        waves = None if self.wavelength_nm is None else self.wavelength_nm[at]
        return replace(self, hr=self.hr[at], kept=self.kept[at], wavelength_nm=waves)


def find_scenes(root: str, names: Sequence[str]) -> list[Path]:
    """Files of scenes.

    Args:
        root: folder; environment variables are filled in.
        names: files relative to it, with or without ending, or shell patterns.

    Returns:
        Existing files in the order of the names, those of a pattern in alphabetical order, none twice.

    Raises:
        FileFormatError: a name or the folder does not exist.
    """
    filled = os.path.expandvars(root)
    if "$" in filled:
        raise FileFormatError(f"data.root {root!r} uses an environment variable that is not set; set it or change root")
    folder = Path(filled).expanduser()
    if not os.path.isdir(folder):
        raise FileFormatError(f"expected a folder of scenes, got {filled!r}; check data.root")
    found: list[Path] = []
    for name in names:
        if any(sign in name for sign in "*?["):
            here = _matching(folder, name)
        else:
            tried = [folder / name, *(folder / f"{name}{ending}" for ending in ENDINGS)]
            here = [path for path in tried if os.path.isfile(path)][:1]  # False for names that no file can have
        if not here:
            raise FileFormatError(f"no scene {name!r} in {filled!r}; check the names under [data]")
        found += [path for path in here if path not in found]
    return found


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Scenes that a shell pattern means, in alphabetical order; an absolute one is not of the folder."""
    root = Path(pattern).anchor
    try:
        found = Path(root).glob(str(Path(pattern).relative_to(root))) if root else folder.glob(pattern)
        return sorted(path for path in found if path.suffix in ENDINGS)
    except (ValueError, OSError) as error:
        raise FileFormatError(f"{pattern!r} is no pattern of names ({error}); check the names under [data]") from None


def load_scene(path: Path, *, drop_noisy_db: float | None = None) -> Scene:
    """Read a scene whole.

    Args:
        path: any file that `open_cube` reads.
        drop_noisy_db: leave out bands whose spread over the scene is less than this above their noise.

    Raises:
        FileFormatError: it cannot be read.
        UsageError: no band is left.
    """
    cube = open_cube(path)
    values, valid = cube.read()
    filled = np.where(valid, values, np.nan)
    with np.errstate(invalid="ignore"):
        known = valid.reshape(len(valid), -1).mean(axis=1)
        low = np.where(valid, values, np.inf).min(axis=(1, 2))
        high = np.where(valid, values, -np.inf).max(axis=(1, 2))
    kept = (high > low) & (known > 0.5 * known.max())
    if drop_noisy_db is not None and kept.any():
        noise = estimate_noise([(values, valid)])
        spread = np.array([np.nanstd(band) if keep else 0.0 for band, keep in zip(filled, kept, strict=True)])
        with np.errstate(divide="ignore", invalid="ignore"):
            kept &= ~(20 * np.log10(spread / noise) < drop_noisy_db)
    if not kept.any():
        raise UsageError(f"{path.name}: no band is left once dead and noisy ones are dropped; lower drop_noisy_db")
    whole = valid[kept].all(axis=0)
    waves = cube.bands.wavelength_nm
    return Scene(
        path.stem,
        np.where(whole, values[kept], 0).astype(np.float32),
        whole,
        np.flatnonzero(kept),
        None if waves is None else waves[kept],
        len(values),
    )


def common_bands(scenes: Sequence[Scene]) -> list[Scene]:
    """The same scenes with the bands that all of them hold, for a network that sees bands.

    Raises:
        UsageError: the files do not have the same bands.
    """
    first = scenes[0]
    for scene in scenes[1:]:
        known = first.wavelength_nm is not None and scene.wavelength_nm is not None
        if not known and None not in (first.bands, scene.bands) and first.bands != scene.bands:
            raise UsageError(
                f"{first.name} has {first.bands} bands and {scene.name} {scene.bands}, without wavelengths to match "
                "them by; give both files theirs, or train in the subspace domain"
            )
    both = first.kept
    for scene in scenes[1:]:
        both = np.intersect1d(both, scene.kept)
    if not both.size:
        raise UsageError("the scenes have no band in common; train in the subspace domain")
    cut = [scene.take(both) for scene in scenes]
    for scene in cut[1:]:
        one, other = cut[0].wavelength_nm, scene.wavelength_nm
        if one is not None and other is not None and np.abs(one - other).max() > 1:
            raise UsageError(f"{scene.name} has other wavelengths than {cut[0].name}; train in the subspace domain")
    return cut
