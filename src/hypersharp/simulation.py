"""File to file: a cube degraded as a sensor would, with all that was done written down."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hypersharp.cube import Cube, all_valid
from hypersharp.degrade import wald
from hypersharp.degrade.recipe import Recipe
from hypersharp.errors import UsageError
from hypersharp.infer import sample
from hypersharp.io.contract import WriteOptions
from hypersharp.io.sidecar import check_sidecar, write_sidecar
from hypersharp.io.writing import check_target, write_cube
from hypersharp.pipeline import Save, opened, psf_of

if TYPE_CHECKING:
    import xarray


def simulate(
    source: Cube | xarray.DataArray | str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    recipe: Recipe,
    msi: str | os.PathLike[str] | None = None,
    save: Save = Save(WriteOptions(dtype="float32")),  # noqa: B008  frozen
    memory_bytes: int = 1 << 30,
) -> wald.Simulated:
    """Degrade a cube as a sensor would, after the Wald protocol: its LR cube, and an MSI if the recipe has an SRF.

    Args:
        source: the HR cube, a DataArray `(band, y, x)` or a path.
        output: file for the LR cube, beside which a sidecar `….recipe.json` is written; None for lazy cubes only.
        recipe: what is done; see `Recipe`.
        msi: file for the MSI.
        save: how the files are written; floats by default, as rounding to integers is noise too.
        memory_bytes: about how much memory the blocks in flight may take.

    Returns:
        The cubes, and the recipe as it was followed.

    Raises:
        UsageError: an option is wrong, or the recipe cannot be followed with this cube.
        FileFormatError: a file cannot be read.
        NoDataError: the scene has no valid pixel.
        WriteError: an output cannot be written; nothing was left under its name.
    """
    hr = source if isinstance(source, Cube) else opened(source)
    if msi is not None and (output is None or recipe.srf is None or Path(msi).resolve() == Path(output).resolve()):
        raise UsageError("an MSI needs an SRF and an LR output of another name: give --srf and a name for each")
    for target in (output, msi):
        if target is not None:
            check_target(Path(target), hr, overwrite=save.overwrite)
    if output is not None:
        check_sidecar(Path(output), overwrite=save.overwrite)
    windows = sample.sample_windows(hr.values)
    dead = sample.dead_bands(windows)
    if dead:
        listed = ", ".join(str(band + 1) for band in dead)
        hr = replace(hr, bands=hr.bands.flagged(dead)).with_history(f"bands constant or without data: {listed}")
    psf, _ = psf_of(hr, recipe.degradation)
    done = wald.simulate(hr, replace(recipe, degradation=str(psf), output=_said(save.options)))
    if not any(all_valid(valid) for _, _, valid in windows):
        sample.sample_windows(done.lr.values)  # refuses a scene of which no LR pixel is valid
    for cube, target in ((done.lr, output), (done.msi, msi)):
        if cube is not None and target is not None:
            write_cube(
                cube,
                target,
                overwrite=save.overwrite,
                options=save.options,
                memory_bytes=memory_bytes,
                progress=save.progress,
            )
    if output is not None:
        write_sidecar(Path(output), {"recipe": done.recipe.as_dict(), "facts": done.facts})
    return done


def _said(options: WriteOptions) -> dict[str, str | bool]:
    """What of the options decides the bytes of a file: the type, and what else is not as it is by default."""
    parts = {name: getattr(options, name) for name in ("compress", "interleave", "cog", "dataset")}
    unusual = {name: value for name, value in parts.items() if value != getattr(WriteOptions(), name)}
    return {"dtype": options.dtype} | unusual
