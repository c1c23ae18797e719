"""File to file: every hop of sharpening a scene, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hypersharp import _version
from hypersharp._nearest import nearest
from hypersharp.cube import Cube
from hypersharp.degrade.psf import DEFAULT, Psf, parse_psf
from hypersharp.errors import NoDataError, UsageError
from hypersharp.evaluate.reduced import NotRun, harm_test
from hypersharp.infer.consistency import MODES, Consistency
from hypersharp.infer.fit import SceneFit, estimate_psf, fit_consistency, fit_scene
from hypersharp.infer.methods import Bicubic, Method, Mixture, check_scale
from hypersharp.infer.network import CONTEXT, method_for
from hypersharp.infer.session import Ensemble
from hypersharp.infer.sharpen import Sharpened, halo_of
from hypersharp.infer.tiles import TilePlan, plan, strip_for_memory, tile_for_memory
from hypersharp.infer.torch_session import session_of
from hypersharp.infer.uncertainty import ErrorScale, described, fit_uncertainty, law_for
from hypersharp.io.contract import WriteOptions
from hypersharp.io.encode import choose_storage, needs_range
from hypersharp.io.reading import open_cube, reader_of
from hypersharp.io.together import check_pair, written_with
from hypersharp.io.writing import Progress, check_target, range_of, write_cube
from hypersharp.operators import Separable
from hypersharp.weights import serving

if TYPE_CHECKING:
    import xarray

METHODS = ("default", "bicubic")
"""What `method` can be: the network that comes with the package, where there is one for the scale; and without any."""
_BASE_BYTES = 256 << 20  # the interpreter, its libraries, the sample, GDAL's blocks and the groups of bands at work
_OVERSHOOT = 0.5  # of a band's range; how far beyond it a sharpened band may go when a scale is chosen


@dataclass(frozen=True)
class Tiling:
    """How a scene is cut.

    Attributes:
        tile: side of a tile's core in LR pixels; None to let `memory_bytes` decide.
        memory_bytes: about how much memory the whole process may take.
        threads: threads of a network; 0 for all. Those of computing and compression are in `WriteOptions`.
    """

    tile: int | None = None
    memory_bytes: int = 1 << 30
    threads: int = 0


@dataclass(frozen=True)
class Using:
    """How a network is used.

    Attributes:
        ensemble: run it on eight turns and mirror images, and take the mean: a little better, eight times the work.
        force: use the default network even where the reduced-resolution test says that it does harm.
    """

    ensemble: bool = False
    force: bool = False


@dataclass(frozen=True)
class Save:
    """How the output file is written.

    Attributes:
        options: type, compression and so on.
        overwrite: replace an existing file.
        progress: called with blocks done and blocks in all.
        uncertainty: a second file, for how far off each value may be (`uncertainty_of`); None for none.
    """

    options: WriteOptions = field(default_factory=WriteOptions)
    overwrite: bool = False
    progress: Progress | None = None
    uncertainty: str | os.PathLike[str] | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A sharpening that is planned and fitted, and not yet computed.

    Attributes:
        cube: the sharpened cube; lazy.
        lr: the cube that is sharpened.
        scene: what was fitted on the LR scene.
        psf: the declared degradation.
        psf_from: where it comes from: ``"stated"``, ``"sensor"``, ``"default"``, or an estimate with its interval.
        method: the estimate.
        consistency: what follows it, or None.
        plan: tiles of the scene.
        memory_bytes: about what the process will take.
        note: what a user should be told besides; empty for nothing.
    """

    cube: Cube
    lr: Cube
    scene: SceneFit
    psf: Psf
    psf_from: str
    method: Method
    consistency: Consistency | None
    plan: TilePlan
    memory_bytes: int
    note: str = ""


def sharpen(
    source: Cube | xarray.DataArray | str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    scale: int,
    method: str = "default",
    model: str | os.PathLike[str] | None = None,
    degradation: str | None = None,
    consistency: str = "noise",
    using: Using = Using(),
    tiling: Tiling = Tiling(),
    save: Save = Save(),
) -> Cube | xarray.DataArray | Path:
    """Sharpen a hyperspectral scene: `scale` times as many rows and columns, everything else as it was.

    Args:
        source: a cube, a DataArray `(band, y, x)` or a path.
        output: file to write; None to get the result in hand, which for a cube or path is lazy: regions are computed
            when they are read.
        scale: HR pixels per LR pixel along a side, 2 to 8.
        method: ``"default"``, the network that comes with the package where there is one for this scale and it does
            no harm, else as ``"bicubic"``.
        model: a network to use in place of a named method: an exported `.onnx` file, or a `.safetensors` checkpoint
            (which needs torch).
        degradation: how the sensor blurs, as `degrade.psf.parse_psf` takes it; None for what the reader knows of the
            sensor, else ``"mtf:0.3"``. ``"estimate"`` has it estimated from the cube, which is no more than a guess.
        consistency: ``"noise"`` corrects the result until it degrades to the input within the input's noise,
            ``"exact"`` without regard to noise, ``"off"`` not at all.
        using: how a network is used.
        tiling: tile size, memory and threads.
        save: how `output` is written.

    Returns:
        The path written; or a lazy `Cube` for a cube or path; or a DataArray for a DataArray.

    Raises:
        UsageError: an option is wrong.
        FileFormatError: a file cannot be read.
        NoDataError: the scene has no valid pixel.
        WriteError: the output cannot be written; nothing was left under its name.
    """
    lr = source if isinstance(source, Cube) else opened(source)
    if output is not None:
        check_outputs(output, lr, save)
    elif save.uncertainty is not None:
        raise UsageError("an uncertainty file goes beside an output file, got none; give one, or use uncertainty_of")
    ready = prepare(
        lr,
        scale=scale,
        method=method,
        model=model,
        degradation=degradation,
        consistency=consistency,
        using=using,
        tiling=tiling,
    )
    if output is not None:
        return write_prepared(ready, output, save=save, tiling=tiling)
    return ready.cube if isinstance(source, Cube | str | os.PathLike) else ready.cube.to_xarray()


def prepare(
    lr: Cube,
    *,
    scale: int,
    method: str = "default",
    model: str | os.PathLike[str] | None = None,
    degradation: str | None = None,
    consistency: str = "noise",
    using: Using = Using(),
    tiling: Tiling = Tiling(),
) -> Prepared:
    """All that is decided once per scene; see `sharpen` for the arguments. Nothing but a sample is read."""
    if method == "default" and model is None and not using.force and serving(check_scale(scale)) is not None:
        again = partial(prepare, scale=scale, consistency=consistency, tiling=tiling)
        return _without_harm(lr, again, degradation, using)
    scale = check_scale(scale)
    if consistency not in MODES:
        raise UsageError(f"consistency must be one of {', '.join(MODES)}, got {consistency!r}")
    psf, psf_from = psf_of(lr, degradation, scale)
    shape = lr.shape[1:]
    operator = psf.operator((shape[0] * scale, shape[1] * scale), scale)
    scene = fit_scene(lr.values)
    estimate = _method_of(lr, scene, operator, method, model, using, tiling)
    follow = fit_consistency(scene, estimate, operator, mode=consistency)
    halo = halo_of(estimate.halo or 0, follow, complete=lr.values.complete)
    components = 0 if follow is None else len(follow.lam)
    tile, memory = _tile_of(lr, scale, halo, tiling, components=components, method=estimate)
    tiles = plan(shape, tile=tile, halo=halo, scale=scale, multiple_of=estimate.multiple_of)
    line = _history(scale, estimate, psf, psf_from, consistency, follow, scene)
    cube = Cube(
        values=Sharpened(lr.values, estimate, follow, tiles),
        bands=lr.bands.flagged(scene.dead),
        grid=None if lr.grid is None else lr.grid.zoom(scale),
        storage=lr.storage,
        quantity=lr.quantity,
        units=lr.units,
        attrs=lr.lasting_attrs,
        history=(*lr.history, line),
    )
    return Prepared(cube, lr, scene, psf, psf_from, estimate, follow, tiles, memory)


def write_prepared(ready: Prepared, output: str | os.PathLike[str], *, save: Save, tiling: Tiling) -> Path:
    """Compute a prepared sharpening tile by tile into a file, or into two that appear together."""
    if save.uncertainty is not None:
        check_outputs(output, ready.lr, save)
        options, alone = replace(save.options, dtype="float32"), replace(save, uncertainty=None)
        b, memory = uncertainty_of(ready), tiling.memory_bytes
        with written_with(b, save.uncertainty, overwrite=save.overwrite, options=options, memory_bytes=memory):
            return write_prepared(ready, output, save=alone, tiling=tiling)
    value_range = None
    if needs_range(ready.cube, save.options.dtype):
        low, high = range_of(ready.lr, memory_bytes=tiling.memory_bytes)
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


def check_outputs(output: str | os.PathLike[str], lr: Cube, save: Save) -> None:
    """Refuse outputs that cannot or must not be written, before any work is done; see `check_target`."""
    check_target(Path(output), lr, overwrite=save.overwrite)
    if save.uncertainty is not None:
        check_target(Path(save.uncertainty), lr, overwrite=save.overwrite)
        check_pair(output, save.uncertainty)


def uncertainty_of(ready: Prepared) -> Cube:
    """The scale b of Laplace's law for each value of a prepared sharpening, in its units; lazy.

    Raises:
        NoDataError: the scene is too small to say anything of its roughness.
    """
    scale, (rows, cols) = ready.plan.scale, ready.lr.shape[1:]
    law = law_for(scale, network=not isinstance(ready.method, Bicubic))
    fitted = fit_uncertainty(ready.scene, ready.psf.operator((rows * scale, cols * scale), scale), law)
    high, wide = ready.plan.core
    wide = max(1, wide * min(ready.lr.storage.dtype.itemsize, 4) // 4)  # the tiles are cut for the stored type
    return described(replace(ready.cube, values=ErrorScale(ready.lr.values, fitted, (high, wide))))


def output_bytes(ready: Prepared, options: WriteOptions) -> int:
    """Size of the values of the output before compression."""
    kind = options.dtype
    itemsize = (
        np.dtype(kind).itemsize
        if needs_range(ready.cube, kind)
        else choose_storage(ready.cube, kind, value_range=None).dtype.itemsize
    )
    return int(np.prod(ready.cube.shape, dtype=np.int64)) * itemsize


def opened(source: xarray.DataArray | str | os.PathLike[str]) -> Cube:
    """The cube of a path or DataArray; nothing is read of its values."""
    return open_cube(source) if isinstance(source, str | os.PathLike) else Cube.from_xarray(source)


def psf_of(lr: Cube, degradation: str | None, scale: int | None = None) -> tuple[Psf, str]:
    """The declared PSF and where it comes from; with a `scale`, ``"estimate"`` has it estimated from the cube."""
    if degradation == "estimate" and scale is not None:
        return estimate_psf(lr.values, scale)
    if degradation is not None:
        return parse_psf(degradation), "stated"
    if lr.values.files:
        mtf = reader_of(lr.values.files[0]).mtf
        if mtf is not None:
            return parse_psf(f"mtf:{mtf}"), "sensor"
    return DEFAULT, "default"


def _method_of(
    lr: Cube,
    scene: SceneFit,
    operator: Separable,
    name: str,
    model: str | os.PathLike[str] | None,
    using: Using,
    tiling: Tiling,
) -> Method:
    scale = operator.shape_in[0] // operator.shape_out[0]
    if name not in METHODS:
        raise UsageError(f"expected a method out of {', '.join(METHODS)}, got {name!r}{nearest(name, METHODS)}")
    ours = model is None and name == "default"
    if ours:
        model = serving(scale)
    if model is None:
        return Bicubic.of(lr.shape[1:], scale)
    (tile, _), _ = _tile_of(lr, scale, CONTEXT, tiling)
    session = session_of(Path(model), tiling.threads)
    if using.ensemble:
        session = Ensemble(session)
    return method_for(session, lr.values, lr.bands, scene, operator=operator, tile=tile, reduce=ours)


def _without_harm(lr: Cube, again: Callable[..., Prepared], degradation: str | None, using: Using) -> Prepared:
    """The default network, or bicubic where the reduced-resolution test says that the network does harm."""

    def without(why: str) -> Prepared:
        plain: Prepared = again(lr, method="bicubic", degradation=degradation)
        said = f"default network not used: {why}"
        line = f"hypersharp {_version.__version__} sharpen: {said}"
        history = (*lr.history, line, *plain.cube.history[len(lr.history) :])
        return replace(plain, cube=replace(plain.cube, history=history), note=said)

    try:
        ready: Prepared = again(lr, degradation=degradation, using=replace(using, force=True))
    except NoDataError as error:
        return without(str(error))

    def made(method: str) -> Callable[[Cube], Cube]:
        forced = Using(force=True)
        return lambda cube: again(cube, method=method, degradation=str(ready.psf), using=forced).cube

    noise = ready.scene.live_noise
    found = harm_test(made("default"), made("bicubic"), lr, scale=ready.plan.scale, psf=ready.psf, noise=noise)
    if isinstance(found, NotRun) or found.sign != "worse":
        return ready
    return without(f"{-found.gain_db:.2f} dB worse than without in the reduced-resolution test; --force uses it")


def _tile_of(
    lr: Cube, scale: int, halo: int, tiling: Tiling, *, components: int = 0, method: Method | None = None
) -> tuple[tuple[int, int], int]:
    """Rows and columns of a tile's core, and the memory that the process is expected to take.

    A tile's window is held as stored numbers and as values, its core as stored numbers twice: one tile is computed
    while the one before is written. HR values exist for a few bands, and for all only where the method mixes them; a
    mixture holds the tiles of its images besides.
    """
    bands, value, stored = lr.shape[0], lr.values.dtype.itemsize, lr.storage.dtype.itemsize
    mask = 0 if lr.values.complete else 2
    window_bytes = bands * (stored + value + mask) + components * value * 4
    core_bytes = scale**2 * 2 * bands * stored
    base, strips = _BASE_BYTES, isinstance(method, Bicubic | Mixture)
    if isinstance(method, Mixture):
        base += method.held_bytes
        window_bytes += method.basis.shape[1] * value * 2 * scale**2
    elif not strips:
        window_bytes += bands * value * (2 + 2 * scale**2)
    budget = max(tiling.memory_bytes - base, tiling.memory_bytes // 4)
    height, width = lr.shape[1:]
    if tiling.tile is not None:
        if tiling.tile < 1:
            raise UsageError(f"tile must be at least 1 LR pixel, got {tiling.tile}")
        rows = cols = tiling.tile
    elif strips:
        rows, cols = strip_for_memory(
            budget, width, window_bytes=window_bytes, core_bytes=core_bytes, halo=halo, scale=scale
        )
    else:
        rows = cols = tile_for_memory(budget, window_bytes=window_bytes, core_bytes=core_bytes, halo=halo, scale=scale)
    window = min(rows + 2 * halo, height) * min(cols + 2 * halo, width)
    return (rows, cols), base + window * window_bytes + min(rows, height) * min(cols, width) * core_bytes


def _history(
    scale: int,
    method: Method,
    psf: Psf,
    psf_from: str,
    mode: str,
    follow: Consistency | None,
    scene: SceneFit,
) -> str:
    parts = [f"scale {scale}", f"method {method.name}", f"degradation {psf} ({psf_from})", f"consistency {mode}"]
    if mode != "off":
        parts.append(f"{0 if follow is None else len(follow.lam)} components corrected")
    if scene.dead:
        parts.append(f"bands constant or without data: {', '.join(str(b + 1) for b in scene.dead)}")
    return f"hypersharp {_version.__version__} sharpen: {'; '.join(parts)}"
