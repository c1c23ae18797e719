"""File to file: every hop of fusing a cube with a sharper image, one after the other, and the report of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hypersharp._nearest import nearest
from hypersharp.cube import Bands, Cube, Source, Storage
from hypersharp.degrade.psf import parse_psf
from hypersharp.errors import NoDataError, UsageError
from hypersharp.evaluate import NotRun, reduced_test
from hypersharp.fusion import auto
from hypersharp.fusion._spec import Calibration, Fuse, FusionSpec, Window
from hypersharp.fusion.agreement import agreement
from hypersharp.fusion.calibrate import Calibrated, calibrate, reconciled
from hypersharp.fusion.methods import get_fusion_method, list_fusion_methods
from hypersharp.fusion.network import Learned, check_network, mode_of, network_spec
from hypersharp.fusion.report import check_report, remarks, report_of, write_report
from hypersharp.fusion.scene import Coverage, Fused, Place, by_zone, pairs_at, sample_pair, window_of
from hypersharp.fusion.support import seen_bands
from hypersharp.fusion.tiling import tile_of
from hypersharp.infer.fill import reach_of
from hypersharp.infer.methods import check_scale
from hypersharp.infer.tiles import TilePlan, plan
from hypersharp.infer.torch_session import session_of
from hypersharp.io.encode import needs_range
from hypersharp.io.warp import Nested, nest
from hypersharp.io.writing import check_target, range_of, write_cube
from hypersharp.pipeline import Save, Tiling, opened

if TYPE_CHECKING:
    import xarray

    from hypersharp.figures.fusion_page import FusionPanels

__all__ = ["Fusion", "check_fusion_target", "draw_fusion", "fuse", "prepare_fusion", "report_fusion", "write_fusion"]

AUTO = "auto"
"""In place of a method's name: try several, and choose."""

_OVERSHOOT = 0.5  # of a band's range; how far beyond it a fused band may go when a scale is chosen
_SHOWN_PX = 600  # rows and columns of the result that a picture shows at most
_TESTED = 2  # windows on which the report tests consistency
_LEAST_SIDE = 6  # pixels of the reduced test's input

Progress = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True, eq=False)
class Fusion:
    """A fusion that is planned and fitted, and not yet computed.

    Attributes:
        cube: the fused cube; lazy.
        nested: the pair on nested grids.
        calibrated: what relates the two.
        choice: the method of each zone, and why.
        live: `(C',)` bands that are fused; the others are dead or flagged as bad, and enlarged.
        coverage: one lazy band, 1 where both images say something, 0 where only one does.
        plan: tiles of the scene.
        memory_bytes: about what the process will take.
        report: all that is worth knowing, plain values for JSON.
        notes: what of it is worth a warning.
    """

    cube: Cube
    nested: Nested
    calibrated: Calibrated
    choice: auto.Choice
    live: NDArray[np.intp]
    coverage: Cube
    plan: TilePlan
    memory_bytes: int
    report: dict[str, Any]
    notes: tuple[str, ...]


def fuse(
    cube: Cube | xarray.DataArray | str | os.PathLike[str],
    msi: Cube | xarray.DataArray | str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    method: str = AUTO,
    model: str | os.PathLike[str] | None = None,
    consistency: str | None = None,
    srf: str | None = None,
    degradation: str | None = None,
    assume_aligned: bool = False,
    tiling: Tiling = Tiling(),  # noqa: B008  frozen
    save: Save = Save(),  # noqa: B008  frozen
    report: str | os.PathLike[str] | None = None,
) -> Cube | xarray.DataArray | Path:
    """Fuse a hyperspectral cube with a sharper multispectral or panchromatic image of the same ground.

    The result lies where the MSI says, on the grid that nests in the cube's, and covers what both extents share. Where
    the MSI is missing the enlarged cube stands. `prepare_fusion` offers more, and gives the report and masks in hand.

    Args:
        cube: the LR cube, a DataArray `(band, y, x)` or a path.
        msi: the HR image likewise; another CRS, grid or unit is no matter.
        output: file to write; None to get the result in hand, which for cubes and paths is lazy.
        method: ``"auto"`` tries several one scale down and takes the best for each spectral zone; or a name out of
            `hypersharp.fuse` methods.
        model: a network that fuses, to use in place of a method: an exported `.onnx` file, or a `.safetensors`
            checkpoint (which needs torch).
        consistency: how far a network's result is brought to degrade to the cube: ``"noise"``, as far as the cube's
            noise allows, ``"exact"`` or ``"off"``; None for ``"noise"``. Methods see to that themselves.
        srf: the MSI's bands as `degrade.srf.parse_srf` takes them, in their order in the file; it says which bands
            of the cube they see. None for what the MSI's own wavelengths and widths say, else all.
        degradation: how the cube's sensor blurs, as `degrade.psf.parse_psf` takes it; None to estimate it from the two.
        assume_aligned: take both for exactly the same ground, whatever their georeferencing says.
        tiling: tile size and memory.
        save: how `output` is written.
        report: file to write what was found and chosen to: `.json`, or `.html` for a page with pictures (which needs
            matplotlib).

    Returns:
        The path written; or a lazy `Cube`; or a DataArray where `cube` was one.

    Raises:
        UsageError: an option is wrong, or the two images cannot be related.
        FileFormatError: a file cannot be read.
        NoDataError: too few pixels are valid in both.
        WriteError: a file cannot be written; nothing was left under its name.
        MissingExtraError: a part that is asked for is not installed.
    """
    low, high = (given if isinstance(given, Cube) else opened(given) for given in (cube, msi))
    if output is not None:
        check_fusion_target(output, low, high, overwrite=save.overwrite)
    if report is not None:
        check_report(report, "report", overwrite=save.overwrite)
    ready = prepare_fusion(
        low,
        high,
        method=method,
        model=model,
        consistency=consistency,
        srf=srf,
        degradation=degradation,
        assume_aligned=assume_aligned,
        tiling=tiling,
    )
    written = None if output is None else write_fusion(ready, output, save=save, tiling=tiling)
    if report is not None:
        named = {"cube": cube, "msi": msi, "output": output}
        files = {key: str(held) if isinstance(held, str | os.PathLike) else None for key, held in named.items()}
        report_fusion(ready, report, {**files, **ready.report})
    if written is not None:
        return written
    return ready.cube if isinstance(cube, Cube | str | os.PathLike) else ready.cube.to_xarray()


def prepare_fusion(
    cube: Cube,
    msi: Cube,
    *,
    method: str = AUTO,
    candidates: Sequence[str] = auto.CANDIDATES,
    model: str | os.PathLike[str] | None = None,
    consistency: str | None = None,
    scale: int | None = None,
    srf: str | None = None,
    degradation: str | None = None,
    assume_aligned: bool = False,
    resampling: str = "cubic",
    tiling: Tiling = Tiling(),  # noqa: B008  frozen
    progress: Progress | None = None,
) -> Fusion:
    """All that is decided once per scene; nothing but a sample of both images is read. See `fuse` for the arguments.

    Args:
        cube: the LR cube.
        msi: the HR image.
        method: a name or ``"auto"``.
        candidates: what ``"auto"`` tries.
        model: see `fuse`.
        consistency: see `fuse`.
        scale: LR pixel over HR pixel along a side; None to take it from the grids.
        srf: see `fuse`.
        degradation: see `fuse`.
        assume_aligned: see `fuse`.
        resampling: kernel for an MSI whose pixels do not nest in the cube's: `io.warp` knows which.
        tiling: tile size and memory.
        progress: asked, with a title, for a function that is called with steps done and steps in all.
    """
    _check_methods(method, candidates)
    mode = mode_of(consistency, model=model is not None, named=method != AUTO)
    stated = None if degradation in (None, "estimate") else (parse_psf(str(degradation)), "stated")
    nested = nest(cube, msi, scale=scale, assume_aligned=assume_aligned, resampling=resampling)
    scale = check_scale(nested.scale)
    session = None if model is None else session_of(Path(model), tiling.threads)
    if session is not None:
        check_network(session, scale=scale, msi_bands=nested.msi.shape[0])
    live, places = sample_pair(nested.lr, nested.msi, scale)
    fused = nested.lr.select([int(b) for b in live])
    support, response_from = seen_bands(fused.bands, nested.msi.bands, srf)
    calibrated = reconciled(
        lambda psf: calibrate(
            lambda move: pairs_at(fused, nested.moved(*move).msi, places, scale),
            scale=scale,
            psf=psf,
            support=support,
            order=_by_wavelength(fused.bands),
            response_from=response_from,
        ),
        stated,
        free=method == AUTO,
    )
    if session is None:
        choice = _chosen(method, candidates, fused, nested, calibrated, progress)
        return _planned(nested, fused, calibrated, choice, live, places, tiling)
    network = Learned(session, network_spec(session, fused.bands), mode)
    choice = network.choice(calibrated.calibration, fused.bands)
    return _planned(nested, fused, calibrated, choice, live, places, tiling, network)


def _planned(
    nested: Nested,
    fused: Cube,
    calibrated: Calibrated,
    choice: auto.Choice,
    live: NDArray[np.intp],
    places: Sequence[Place],
    tiling: Tiling,
    network: Learned | None = None,
) -> Fusion:
    """The lazy cube, and the report, of what was found and chosen."""
    lr, scale, calibration = nested.lr, nested.scale, calibrated.calibration
    known = {name: get_fusion_method(name) if network is None else network.spec for name in choice.methods}
    (fuse_window, windows), halo = _fitted(choice, known, fused, nested, places, calibration)
    tile, memory = tile_of(nested, len(live), halo=halo, tile=tiling.tile, most_bytes=tiling.memory_bytes)
    values: Source
    if network is None:
        tiles = plan(lr.shape[1:], tile=tile, halo=halo + 1, scale=scale)
        values = Fused(lr.values, nested.msi.values, fuse_window, calibration, live, tiles, halo)
    else:
        pair = lr.values, nested.msi.values
        values, tiles = network.scene(fuse_window, pair, calibration, live, tile=tile)
    notes = (*nested.notes, *calibrated.notes, *remarks(nested, choice, calibration))
    report = report_of(nested, calibrated, choice, live, notes)
    report["consistency"] = agreement(windows[:_TESTED], fuse_window, calibration)
    grid = None if lr.grid is None else lr.grid.zoom(scale)
    out = replace(
        lr,
        values=values,
        grid=grid,
        attrs=lr.lasting_attrs,
        history=(*lr.history, report["history"]),
    )
    covered = Coverage(nested.msi.values, scale, calibration.shift_yx)
    flags = Cube(covered, Bands(1, name=("both used",)), grid, Storage(np.dtype(np.uint8)))
    return Fusion(out, nested, calibrated, choice, live, flags, tiles, memory, report, notes)


def write_fusion(ready: Fusion, output: str | os.PathLike[str], *, save: Save, tiling: Tiling) -> Path:
    """Compute a prepared fusion tile by tile into a file."""
    value_range = None
    if needs_range(ready.cube, save.options.dtype):
        low, high = range_of(ready.nested.lr, memory_bytes=tiling.memory_bytes)
        room = _OVERSHOOT * (high - low)
        value_range = (low - room, high + room)
    return write_cube(
        ready.cube,
        output,
        overwrite=save.overwrite,
        options=save.options,
        memory_bytes=tiling.memory_bytes,
        value_range=value_range,
        progress=save.progress,
    )


def report_fusion(ready: Fusion, path: str | os.PathLike[str], facts: dict[str, Any]) -> None:
    """Write the report of a fusion, as JSON or as a page; `fusion.report.check_report` says beforehand whether it can.

    Args:
        ready: the fusion.
        path: `.json` or `.html` file; replaced where it exists.
        facts: its `report`, and names of the files as ``cube``, ``msi`` and ``output``.

    Raises:
        WriteError: the file cannot be written.
        MissingExtraError: the page needs matplotlib, and it is not installed.
    """
    from hypersharp.figures.fusion_page import PAGE_PX, fusion_page

    write_report(path, facts, page=lambda: fusion_page(facts, _panels(ready, PAGE_PX)))


def draw_fusion(ready: Fusion, path: str | os.PathLike[str]) -> Path:
    """Draw a piece of a scene: the cube, the MSI in the cube's units, and the result; see `figures.fusion_panels`.

    Args:
        ready: the fusion.
        path: PNG file; replaced where it exists.

    Raises:
        UsageError: the cube has no wavelengths.
        WriteError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    from hypersharp.figures.side_by_side import NATURAL_NM, colour_bands, side_by_side

    colour_bands(ready.nested.lr.bands, NATURAL_NM)  # bands by number, which a page explains, would mislead here
    panels = _panels(ready, _SHOWN_PX)
    return side_by_side(panels.columns, path, note=panels.note)


def _panels(ready: Fusion, most_px: int) -> FusionPanels:
    from hypersharp.figures.fusion_page import fusion_panels

    one = len(set(ready.choice.methods)) == 1
    title = f"fused: {ready.choice.words if one else 'a method for each zone'}"
    return fusion_panels(
        ready.nested, ready.calibrated, fused=ready.cube, live=ready.live, title=title, most_px=most_px
    )


def check_fusion_target(output: str | os.PathLike[str], cube: Cube, msi: Cube, *, overwrite: bool) -> None:
    """Refuse a target that cannot or must not be written, be it one of the inputs; see `io.writing.check_target`."""
    for given in (cube, msi):
        check_target(Path(output), given, overwrite=overwrite)


def _check_methods(method: str, candidates: Sequence[str]) -> None:
    known = (AUTO, *list_fusion_methods())
    if method not in known:
        raise UsageError(f"expected a method out of {', '.join(known)}, got {method!r}{nearest(method, known)}")
    for name in candidates:
        get_fusion_method(name)


def _by_wavelength(bands: Bands) -> NDArray[np.intp] | None:
    return None if bands.wavelength_nm is None else np.argsort(bands.wavelength_nm, kind="stable")


def _chosen(
    method: str,
    candidates: Sequence[str],
    lr: Cube,
    nested: Nested,
    calibrated: Calibrated,
    progress: Progress | None,
) -> auto.Choice:
    zones = auto.zones_of(calibrated.calibration, lr.bands.wavelength_nm)
    if method != AUTO:
        return auto.Choice((method,) * len(zones), zones, {}, "asked for")
    return auto.choose(
        auto.trial_of(lr, nested.msi, calibrated.calibration, calibrated.measured),
        zones,
        _score,
        candidates=candidates,
        trusted=calibrated.blur is not None and not calibrated.blur.reason,
        progress=None if progress is None else progress("trying methods one scale down"),
    )


def _score(trial: auto.Trial, run: Callable[[Cube], Cube]) -> NDArray[np.float64] | None:
    try:
        found = reduced_test(
            run,
            trial.reference,
            scale=trial.calibration.scale,
            psf=trial.psf,
            bicubic=trial.estimator("exp"),
            noise=trial.calibration.noise_lr,
            seed=0,
            shift_yx=trial.calibration.shift_yx,
            least_side=_LEAST_SIDE,
        )
    except NoDataError:  # one scale down no pixel is left that every band has
        return None
    return None if isinstance(found, NotRun) else found.gain_of_band


def _fitted(
    choice: auto.Choice,
    used: Mapping[str, FusionSpec],
    lr: Cube,
    nested: Nested,
    places: Sequence[Place],
    calibration: Calibration,
) -> tuple[tuple[Fuse, list[Window]], int]:
    """The methods of all zones as one, with the windows that they were fitted on; and their halo."""
    halo = max(spec.halo(calibration) for spec in used.values())
    windows = []
    for (low, valid), (high, seen) in pairs_at(lr, nested.msi, places, nested.scale):
        known = np.asarray(seen.all(axis=0))
        windows.append(window_of(low, valid, high, known, calibration, reach=reach_of(halo)))
    parts = []
    for name, spec in used.items():
        bands = [zone.bands for zone, picked in zip(choice.zones, choice.methods, strict=True) if picked == name]
        parts.append((np.concatenate(bands), spec.fit(windows, calibration)))
    return (by_zone(parts), windows), halo
