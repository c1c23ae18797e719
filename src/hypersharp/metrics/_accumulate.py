"""Runs metrics over tiles: checks each tile, shares statistics between metrics, turns them into scores."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from hypersharp.errors import NoDataError, UsageError
from hypersharp.metrics._spec import Array, Extent, Mask, MetricSpec, Recipe, Score, Scratch, Statistics, Tile, view_of
from hypersharp.metrics.protocol import Record

Item = TypeVar("Item")
Result = TypeVar("Result")
Wanted = tuple[MetricSpec, Record]
View = tuple[float, float, float | None]


def each(function: Callable[[Item, Scratch], Result], items: Iterable[Item], workers: int) -> list[Result]:
    """`function` of each item and of its thread's scratch, in order, on up to `workers` threads.

    Threads help because numpy releases the interpreter lock; the answers do not depend on their number.
    """
    if workers <= 1:
        scratch = Scratch()
        return [function(item, scratch) for item in items]
    own = threading.local()

    def run(item: Item) -> Result:
        if not hasattr(own, "scratch"):
            own.scratch = Scratch()
        return function(item, own.scratch)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, items))


class Accumulator:
    """Scores of some metrics over one scene that arrives in tiles.

    Args:
        wanted: metrics with resolved records.
        workers: threads that may share the work.
    """

    def __init__(self, wanted: Sequence[Wanted], *, workers: int = 1) -> None:
        self._wanted = list(wanted)
        self._workers = workers
        self._extent: Extent | None = None
        self._scene: tuple[int, ...] = ()
        self._counted = 0
        self._gathered: dict[tuple[View, Recipe], Statistics] = {}

    def update(self, tile: Tile) -> None:
        """Add a tile.

        Raises:
            UsageError: shapes differ, the mask does not fit, a valid value is not finite, or the halo is too small.
        """
        tile.checked()
        bands = int(tile.reference.shape[0])
        if self._extent is None:
            self._scene = (bands, *tile.scene)
            self._gathered = {key: key[1][0](bands, *key[1][1:]) for key in map(_key, self._wanted)}
        if self._scene != (bands, *tile.scene):
            raise UsageError(f"every tile must come from one scene {self._scene}; got {(bands, *tile.scene)}")
        self._extent = _widen(self._extent, tile, self._workers)
        self._counted += _pixels(tile)
        for ((offset, divisor, clip), _), statistics in self._gathered.items():
            _check_halo(tile, statistics.margin())
            seen = dataclasses.replace(tile, offset=offset, divisor=divisor, clip=clip)
            statistics.update(seen, workers=self._workers)

    def result(self) -> list[Score]:
        """One score per wanted metric; one that is not defined has no value and a note.

        Raises:
            NoDataError: no tile, or no valid pixel in any of them.
            UsageError: the cores did not cover the scene once.
        """
        return [self._finish(spec, record) for spec, record in self._wanted]

    def _finish(self, spec: MetricSpec, record: Record) -> Score:
        extent = self._checked_extent()
        try:
            return spec.finish(self._gathered[_key((spec, record))], record, extent)
        except NoDataError as error:
            return Score(None, note=str(error))

    def _checked_extent(self) -> Extent:
        if self._extent is None or not self._extent.count.any():
            bands, rows, cols = self._scene or (0, 0, 0)
            raise NoDataError(
                f"metrics need a valid pixel; got none in {bands} bands of {rows}×{cols} pixels; check the mask"
            )
        expected = self._scene[1] * self._scene[2]
        if self._counted != expected:
            raise UsageError(
                f"the cores of the tiles must cover the scene's {expected} pixels once; got {self._counted}; "
                "check the tile plan"
            )
        return self._extent


def measure(spec: MetricSpec, record: Record, reference: Array, estimate: Array, *, valid: Mask | None) -> Score:
    """One metric of two whole cubes `(C, H, W)`: the accumulator run on a single tile.

    Raises:
        UsageError: as `Accumulator.update`.
        NoDataError: the value is not defined.
    """
    run = Accumulator([(spec, record)])
    mask = None if valid is None else np.asarray(valid)
    run.update(Tile.whole(np.asarray(reference), np.asarray(estimate), valid=mask))
    (score,) = run.result()
    if score.value is None:
        raise NoDataError(score.note)
    return score


def value(spec: MetricSpec, record: Record, reference: Array, estimate: Array, *, valid: Mask | None) -> float:
    """The value of `measure`."""
    score = measure(spec, record, reference, estimate, valid=valid)
    assert score.value is not None
    return score.value


def _key(wanted: Wanted) -> tuple[View, Recipe]:
    spec, record = wanted
    return view_of(record), spec.gather(record)


def _pixels(tile: Tile) -> int:
    rows, cols = tile.core
    return int((rows.stop - rows.start) * (cols.stop - cols.start))


def _check_halo(tile: Tile, margin: int) -> None:
    for axis, name in ((0, "rows"), (1, "columns")):
        core, start = tile.core[axis], tile.origin[axis]
        before, after = core.start, tile.reference.shape[axis + 1] - core.stop
        to_start = start + core.start
        to_end = tile.scene[axis] - (start + core.stop)
        if before < min(margin, to_start) or after < min(margin, to_end):
            raise UsageError(
                f"tiles need {margin} {name} around their core; got {before} before and {after} after; "
                "plan them with the halo of these metrics"
            )


def _widen(extent: Extent | None, tile: Tile, workers: int) -> Extent:
    """`extent` with the tile's core counted and its values seen; refuses what is not finite."""
    everywhere = (slice(0, tile.reference.shape[1]), slice(0, tile.reference.shape[2]))

    def look(band: int, _: Scratch) -> tuple[int, list[float]]:
        ok = tile.ok(band, *everywhere)
        pair = [cube[band] if ok is None else cube[band][ok] for cube in (tile.reference, tile.estimate)]
        if pair[0].size == 0:
            return 0, [np.inf, -np.inf, np.inf, -np.inf]
        bounds = [float(bound) for part in pair for bound in (part.min(), part.max())]
        if not np.isfinite(bounds).all():  # a NaN is the minimum and the maximum of what holds it
            _refuse_not_finite(tile, band)
        return _pixels(tile) if ok is None else int(ok[tile.core].sum()), bounds

    seen = each(look, range(tile.reference.shape[0]), workers)
    count = np.array([number for number, _ in seen], dtype=np.int64)
    bounds = np.array([found for _, found in seen])
    if extent is None:
        return Extent(count, *bounds.T)
    return Extent(
        extent.count + count,
        np.minimum(extent.reference_low, bounds[:, 0]),
        np.maximum(extent.reference_high, bounds[:, 1]),
        np.minimum(extent.estimate_low, bounds[:, 2]),
        np.maximum(extent.estimate_high, bounds[:, 3]),
    )


def _refuse_not_finite(tile: Tile, band: int) -> None:
    rows, cols = tile.reference.shape[1:]
    ok = tile.ok(band, slice(0, rows), slice(0, cols))
    inside = np.ones((rows, cols), dtype=np.bool_) if ok is None else ok
    bad = [~np.isfinite(cube[band]) & inside for cube in (tile.reference, tile.estimate)]
    row, col = (int(index) for index in np.argwhere(bad[0] | bad[1])[0])
    raise UsageError(
        f"values that count must be finite; got {int(bad[0].sum())} NaN or infinite in the reference and "
        f"{int(bad[1].sum())} in the estimate of band {band}, first at row {row + tile.origin[0]}, column "
        f"{col + tile.origin[1]}; mark them False in valid"
    )
