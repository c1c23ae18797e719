"""The one contract of this room: a metric gathers statistics over tiles, then finishes them into a score.

Metrics that need the same statistics share them, so a table of fourteen costs hardly more than its slowest entry.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from hypersharp.errors import NoDataError, UsageError
from hypersharp.metrics.protocol import Record

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

PIXELS_PER_BLOCK = 32768  # float64 scratch of one block (256 KiB each) stays within a core's second-level cache


@dataclass(frozen=True)
class Tile:
    """A window of a scene, reference and estimate, of which the core is to be counted.

    Attributes:
        reference: `(C, h, w)`, any real dtype.
        estimate: `(C, h, w)`.
        valid: `(h, w)` or `(C, h, w)` bool, or None where every pixel is valid.
        core: rows and columns of this window that belong to it alone; the cores of a scene partition it.
        origin: scene row and column of the window's first pixel.
        scene: rows and columns of the whole scene.
        offset: subtracted from both cubes before anything is measured.
        divisor: divides both after that.
        clip: upper bound of the estimate after that (its lower bound is then 0), or None.
    """

    reference: Array
    estimate: Array
    valid: Mask | None
    core: tuple[slice, slice]
    origin: tuple[int, int]
    scene: tuple[int, int]
    offset: float = 0.0
    divisor: float = 1.0
    clip: float | None = None

    @classmethod
    def whole(cls, reference: Array, estimate: Array, *, valid: Mask | None = None) -> Tile:
        """The whole scene as one tile; `reference` and `estimate` `(C, H, W)`."""
        rows, cols = (0, 0, *reference.shape)[-2:]
        core = (slice(0, rows), slice(0, cols))
        return cls(reference, estimate, valid, core=core, origin=(0, 0), scene=(rows, cols))

    def checked(self) -> Tile:
        """This tile.

        Raises:
            UsageError: the shapes differ, a cube does not hold real numbers, or the mask does not fit.
        """
        reference, estimate, valid = self.reference, self.estimate, self.valid
        if reference.ndim != 3 or reference.shape != estimate.shape or 0 in reference.shape:
            raise UsageError(
                f"metrics compare two cubes (C, H, W) of one shape; got reference {reference.shape} and estimate "
                f"{estimate.shape}; bring them to one grid and one set of bands first"
            )
        for name, cube in (("reference", reference), ("estimate", estimate)):
            if cube.dtype.kind not in "iuf":
                raise UsageError(f"metrics compare real numbers; got {name} of dtype {cube.dtype}; convert it first")
        if valid is not None and (valid.dtype != np.bool_ or valid.shape not in (reference.shape, reference.shape[1:])):
            raise UsageError(
                f"valid must be bool of shape {reference.shape[1:]} or {reference.shape}; got {valid.dtype} "
                f"{valid.shape}; True marks a pixel that counts"
            )
        return self

    def seen_through(self, record: Record) -> Tile:
        """This tile, to be normalised and clipped as `record` says."""
        offset, divisor, clip = view_of(record)
        return dataclasses.replace(self, offset=offset, divisor=divisor, clip=clip)

    def ok(self, band: int, rows: slice, cols: slice) -> Mask | None:
        """The valid mask of one band in a window as of `load`, or None where all of it is valid."""
        if self.valid is None:
            return None
        mask = (self.valid if self.valid.ndim == 2 else self.valid[band])[self._index(rows, cols)]
        return None if mask.all() else mask

    def _index(self, rows: slice, cols: slice) -> Any:
        """What takes a window out of one band; past the tile's edge the band is mirrored, the edge not repeated."""
        lengths = self.reference.shape[1:]
        if all(part.start >= 0 and part.stop <= length for part, length in zip((rows, cols), lengths, strict=True)):
            return rows, cols
        folded = [np.abs(np.arange(part.start, part.stop)) for part in (rows, cols)]
        return np.ix_(*(np.where(at < n, at, 2 * (n - 1) - at) for at, n in zip(folded, lengths, strict=True)))

    def load(
        self, band: int, rows: slice, cols: slice, out: Sequence[Floats] = ()
    ) -> tuple[Floats, Floats, Mask | None]:
        """One band of a window as float64, normalised and clipped, 0 where invalid.

        Args:
            band: band index.
            rows: rows of this tile; may reach over its edges by less than its size, there the band is mirrored.
            cols: columns, likewise.
            out: two scratch vectors at least as long as the window, to spare allocations.

        Returns:
            Reference and estimate `(rows, cols)`, and the mask or None where all is valid.
        """
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        count = shape[0] * shape[1]
        reference, estimate = (part[:count].reshape(shape) for part in (out or [np.empty(count), np.empty(count)]))
        ok, index = self.ok(band, rows, cols), self._index(rows, cols)
        for given, loaded in ((self.reference, reference), (self.estimate, estimate)):
            np.copyto(loaded, given[band][index])
            if ok is not None:
                loaded[~ok] = self.offset  # becomes 0 below, whatever stood there
            if self.offset != 0.0:
                loaded -= self.offset
            if self.divisor != 1.0:
                loaded /= self.divisor
        if self.clip is not None:
            np.clip(estimate, 0.0, self.clip, out=estimate)
        return reference, estimate, ok


def view_of(record: Record) -> tuple[float, float, float | None]:
    """Offset, divisor and clip of a record: metrics that see the same values can share statistics."""
    clip = record.peak_value if record.clip == "0_to_peak" else None
    assert not isinstance(clip, tuple), "no protocol clips per band"
    return record.offset, record.divisor, clip


class Scratch:
    """Vectors that one thread uses again and again: fresh memory costs more than the arithmetic done in it."""

    def __init__(self) -> None:
        self._vectors: list[Floats] = []

    def vectors(self, number: int, length: int) -> list[Floats]:
        """`number` vectors `(length,)` with anything in them, the same memory at every call."""
        if len(self._vectors) < number or self._vectors[0].size < length:
            self._vectors = [np.empty(length) for _ in range(max(number, len(self._vectors)))]
        return [vector[:length] for vector in self._vectors[:number]]


def row_blocks(rows: slice, width: int, *, margin: int = 0) -> list[slice]:
    """Cut `rows` into blocks of about `PIXELS_PER_BLOCK` pixels of a window `width` pixels wide.

    In a very wide window blocks are larger, so that the `margin` rows loaded beside each stay the smaller part.
    """
    step = max(1, 4 * margin, PIXELS_PER_BLOCK // max(1, width))
    return [slice(start, min(start + step, rows.stop)) for start in range(rows.start, rows.stop, step)]


@dataclass
class Extent:
    """What is known of each band over the valid pixels, as stored: how many, and between which values.

    Attributes:
        count: valid pixels, `(C,)`.
        reference_low: smallest value, `(C,)`; likewise the other three.
    """

    count: npt.NDArray[np.int64]
    reference_low: Floats
    reference_high: Floats
    estimate_low: Floats
    estimate_high: Floats

    @property
    def empty(self) -> Mask:
        """Bands without a valid pixel, `(C,)`."""
        return np.asarray(self.count == 0)

    @property
    def constant(self) -> Mask:
        """Bands whose reference has one value over its valid pixels, `(C,)`."""
        return np.asarray(self.reference_low == self.reference_high) & ~self.empty

    @property
    def constant_estimate(self) -> Mask:
        """Bands whose estimate has one value over its valid pixels, `(C,)`."""
        return np.asarray(self.estimate_low == self.estimate_high) & ~self.empty

    @property
    def live(self) -> Mask:
        """Bands that enter band means, `(C,)`: not empty, and not constant beside bands that are not."""
        varying = ~self.empty & ~self.constant
        return varying if varying.any() else ~self.empty


class Statistics(ABC):
    """What one or several metrics gather; starts empty, sees each tile once.

    Subclasses take the number of bands and then whatever distinguishes them (a window, a peak).
    """

    halo: ClassVar[int] = 0

    @abstractmethod
    def update(self, tile: Tile, *, workers: int) -> None:
        """Add the core of `tile`; `workers` threads may share the work, without changing the result."""

    def margin(self) -> int:
        """Pixels needed around a core where the scene goes on."""
        return self.halo


@dataclass(frozen=True)
class Score:
    """A number and what it counted.

    Attributes:
        value: the number, or None where it is not defined; `note` then says why.
        per_band: `(C,)`, NaN where a band was left out; None for metrics that mix bands.
        counts: pixels, bands, windows or blocks counted and left out, by name.
        note: why there is no value.
    """

    value: float | None
    per_band: Floats | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    note: str = ""

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON: what is not defined is None, an infinite value reads ``"inf"``."""
        per_band = None if self.per_band is None else [_plain(float(value)) for value in self.per_band]
        return {"value": _plain(self.value), "per_band": per_band, "counts": dict(self.counts), "note": self.note}


def _plain(value: float | None) -> float | str | None:
    if value is None or math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


Recipe = tuple[Any, ...]  # (Statistics subclass, its arguments after the number of bands)


@dataclass(frozen=True)
class MetricSpec:
    """A metric: one file offers one of these as `METRIC`.

    Attributes:
        name: result name with its unit.
        units: unit of the value; "" where it has none.
        better: which way is good.
        perfect: value of a perfect estimate.
        reduction: how pixels and bands become one number.
        source: where the definition comes from.
        gather: statistics it needs, from the record that says how.
        finish: turns them into a score; raises `NoDataError` where the value is not defined.
        pixel_map: map of a tile's core `(h, w)`, NaN where not defined; None where a map makes no sense.
    """

    name: str
    units: str
    better: Literal["higher", "lower"]
    perfect: float
    reduction: str
    source: str
    gather: Callable[[Record], Recipe]
    finish: Callable[[Any, Record, Extent], Score]
    pixel_map: Callable[[Tile, Record], Floats] | None = None


def peak_of(record: Record, bands: int) -> Floats:
    """The peak of each band, `(bands,)`.

    Raises:
        UsageError: there is none, or it is not positive, or it has another number of bands.
    """
    if record.peak_value is None:
        raise UsageError(f"{record.metric} needs data_range, the peak value; got none; state it")
    peak = np.asarray(record.peak_value, dtype=np.float64)
    if peak.shape not in ((), (bands,)):
        raise UsageError(f"{record.metric} takes one data_range or one per band ({bands}); got {peak.size}")
    if peak.shape == () and not (np.isfinite(peak) and peak > 0):
        raise UsageError(f"{record.metric} needs a positive data_range; got {peak:g}; give the largest possible value")
    return np.broadcast_to(peak, (bands,))


def window_of(record: Record, known: tuple[str, ...]) -> tuple[str, int, bool]:
    """Kind and size of the record's window, and whether it is mirrored: `("uniform", 7, False)`.

    Args:
        record: whose `window` is read.
        known: what the metric takes, N for any size: `("uniform_N", "gaussian_11")`.

    Raises:
        UsageError: it takes another.
    """
    kind, _, rest = record.window.partition("_")
    digits, _, suffix = rest.partition("_")
    pattern = "_".join(part for part in (kind, digits if kind == "gaussian" else "N", suffix) if part)
    if not digits.isdecimal() or int(digits) < 2 or pattern not in known:
        raise UsageError(f"{record.metric} takes window={' or '.join(known)}; got {record.window!r}; name one")
    return kind, int(digits), suffix == "mirrored"


def band_mean(record: Record, per_band: Floats, keep: Mask, counts: Mapping[str, int]) -> Score:
    """The mean over the bands in `keep`, `(C,)`; the others become NaN and are counted.

    Raises:
        NoDataError: no band is left.
    """
    if not keep.any():
        raise NoDataError(f"{record.metric} is not defined: none of the {keep.size} bands can enter its mean")
    kept = np.where(keep, per_band, np.nan)
    counts = {"bands": int(keep.sum()), "bands_excluded": int((~keep).sum()), **counts}
    return Score(float(np.mean(per_band[keep])), per_band=kept, counts=counts)
