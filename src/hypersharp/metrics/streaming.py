"""Scores of a scene under one or several protocols, in one pass over its tiles and in bounded memory."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from hypersharp._folder import module_names
from hypersharp.errors import UsageError
from hypersharp.metrics._accumulate import Accumulator
from hypersharp.metrics._peaks import reference_peaks
from hypersharp.metrics._spec import Array, Floats, Mask, MetricSpec, Score, Tile
from hypersharp.metrics.protocol import Peaks, Protocol, Record

NOT_METRICS = ("protocol", "streaming")


@cache
def list_metrics() -> dict[str, MetricSpec]:
    """Every metric of this folder by its result name, for example ``"mpsnr_db"``."""
    package = "hypersharp.metrics"
    names = [name for name in module_names(package) if name not in NOT_METRICS]
    specs = [importlib.import_module(f"{package}.{name}").METRIC for name in names]
    return {spec.name: spec for spec in specs}


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one protocol, with the protocol.

    Attributes:
        protocol: with every peak, divisor and scale filled in.
        scores: by result name, in the protocol's order.
    """

    protocol: Protocol
    scores: dict[str, Score]

    def to_dict(self) -> dict[str, object]:
        """`{"protocol": {…}, "metrics": {name: value}, "details": {name: {per_band, counts, note}}}` for JSON."""
        plain = {name: score.to_dict() for name, score in self.scores.items()}
        values = {name: score.pop("value") for name, score in plain.items()}
        return {"protocol": self.protocol.to_dict(), "metrics": values, "details": plain}


def evaluate_tiles(
    tiles: Iterable[Tile],
    protocols: Sequence[Protocol],
    *,
    scale: int | None,
    peaks: Peaks | None,
    border: int = 0,
    workers: int = 1,
) -> list[Evaluation]:
    """Scores under each protocol, in one pass; what several metrics or protocols need is gathered once.

    Args:
        tiles: windows whose cores partition the scene, with `halo_of` pixels around each core where the scene goes
            on. With a border, the scene is what is left of it.
        protocols: presets, whole or `only` some of their metrics.
        scale: HR/LR ratio; None where no metric needs it.
        peaks: from `reference_peaks` of the whole reference; None where no protocol `needs_peaks`.
        border: HR pixels that were cut from each side; for the record.
        workers: threads that share the work.

    Raises:
        UsageError: tiles that do not fit each other or their masks, valid values that are not finite, a halo that is
            too small, cores that do not cover the scene, or a scale or peak that is missing.
        NoDataError: no valid pixel.
    """
    resolved = [_resolve(protocol, scale=scale, peaks=peaks, border=border) for protocol in protocols]
    wanted = [(_spec(record.metric), record) for protocol in resolved for record in protocol.records]
    run = Accumulator(wanted, workers=workers)
    for tile in tiles:
        run.update(tile)
    scores = iter(run.result())
    return [Evaluation(each, {record.metric: next(scores) for record in each.records}) for each in resolved]


def evaluate_arrays(
    reference: Array,
    estimate: Array,
    protocols: Sequence[Protocol],
    *,
    scale: int | None,
    valid: Mask | None = None,
    peaks: Peaks | None = None,
    border: int = 0,
    workers: int = 1,
) -> list[Evaluation]:
    """`evaluate_tiles` of two cubes in memory, as one tile.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        protocols: presets, whole or `only` some of their metrics.
        scale: HR/LR ratio; None where no metric needs it.
        valid: `(H, W)` or `(C, H, W)` bool, True where a pixel counts.
        peaks: range of the scene, where the cubes are only part of it; None takes it from `reference`.
        border: HR pixels to cut from each side before scoring; the peaks are those before the cut.
        workers: threads that share the work.

    Raises:
        UsageError: shapes differ, the border leaves nothing, or as `evaluate_tiles`.
        NoDataError: no valid pixel.
    """
    mask = None if valid is None else np.asarray(valid)
    tile = Tile.whole(np.asarray(reference), np.asarray(estimate), valid=mask).checked()
    rows, cols = tile.scene
    if not 0 <= border < (min(rows, cols) + 1) // 2:
        raise UsageError(f"border must leave a pixel of {rows}×{cols}; got {border}; cut less")
    if peaks is None and any(protocol.needs_peaks for protocol in protocols):
        quantile = any(protocol.needs_quantile for protocol in protocols)
        peaks = reference_peaks(lambda: [(tile.reference, tile.valid)], quantile=quantile)
    inner = (..., slice(border, rows - border), slice(border, cols - border))
    cut = Tile.whole(tile.reference[inner], tile.estimate[inner], valid=None if mask is None else mask[inner])
    return evaluate_tiles([cut], protocols, scale=scale, peaks=peaks, border=border, workers=workers)


def halo_of(protocols: Iterable[Protocol]) -> int:
    """Pixels that these protocols need around the core of a tile."""
    margins = [0]
    for protocol in protocols:
        for record in protocol.records:
            statistics, *arguments = _spec(record.metric).gather(dataclasses.replace(record, peak_value=1.0))
            margins.append(statistics(1, *arguments).margin())
    return max(margins)


def pixel_map(metric: str, tile: Tile, record: Record) -> Floats:
    """Map of one metric over the core of a tile `(h, w)`, NaN where it is not defined.

    Args:
        metric: result name, for example ``"sam_deg"``.
        tile: with the halo of that metric.
        record: how; resolved.

    Raises:
        UsageError: there is no map of this metric.
    """
    spec = _spec(metric)
    if spec.pixel_map is None:
        mapped = ", ".join(name for name, other in list_metrics().items() if other.pixel_map is not None)
        raise UsageError(f"a map must be of one of {mapped}; got {metric!r}; choose one of them")
    return spec.pixel_map(tile.checked().seen_through(record), record)


def _spec(metric: str) -> MetricSpec:
    if metric not in list_metrics():
        raise UsageError(f"metric must be one of {', '.join(list_metrics())}; got {metric!r}; choose one of them")
    return list_metrics()[metric]


def _resolve(protocol: Protocol, *, scale: int | None, peaks: Peaks | None, border: int) -> Protocol:
    records = tuple(
        dataclasses.replace(
            record.resolve(peaks=peaks, scale=scale), border=border, reduction=_spec(record.metric).reduction
        )
        for record in protocol.records
    )
    return dataclasses.replace(protocol, records=records)
