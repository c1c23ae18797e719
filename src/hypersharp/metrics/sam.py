"""SAM: the mean angle between the spectra of reference and estimate, in degrees."""

from __future__ import annotations

import numpy as np

from hypersharp.errors import NoDataError
from hypersharp.metrics._accumulate import each, value
from hypersharp.metrics._spec import (
    Array,
    Extent,
    Floats,
    Mask,
    MetricSpec,
    Recipe,
    Score,
    Scratch,
    Statistics,
    Tile,
    row_blocks,
)
from hypersharp.metrics.protocol import Record


def sam(reference: Array, estimate: Array, *, valid: Mask | None = None) -> float:
    """Mean spectral angle `arccos(⟨r, e⟩ / (|r| |e|))` over the pixels, in degrees.

    A pixel's spectrum is made of the bands valid there. Pixels where either spectrum is zero have no angle: they are
    left out and counted. The cosine is clamped to ±1.

    Args:
        reference: `(C, H, W)`.
        estimate: `(C, H, W)`.
        valid: `(H, W)` or `(C, H, W)` bool, True where a pixel counts.

    Raises:
        UsageError: shapes differ or a valid value is not finite.
        NoDataError: no pixel with two spectra other than zero.
    """
    return value(METRIC, Record(METRIC.name), reference, estimate, valid=valid)


class Angles(Statistics):
    """Sum of the angles, and how many pixels had one."""

    def __init__(self, bands: int) -> None:
        self.total = 0.0
        self.pixels = 0
        self.zero = 0
        self.invalid = 0

    def update(self, tile: Tile, *, workers: int) -> None:
        """Add the core of `tile`, block of rows by block of rows."""
        rows, cols = tile.core

        def add(block: slice, scratch: Scratch) -> tuple[float, int, int, int]:
            angle, bands = _angles(tile, block, cols, scratch)
            found = ~np.isnan(angle)
            pixels, invalid = int(found.sum()), int((bands == 0).sum())
            return float(angle[found].sum()), pixels, angle.size - pixels - invalid, invalid

        for total, pixels, zero, invalid in each(add, row_blocks(rows, cols.stop - cols.start), workers):
            self.total += total
            self.pixels += pixels
            self.zero += zero
            self.invalid += invalid


def _angles(tile: Tile, rows: slice, cols: slice, scratch: Scratch) -> tuple[Floats, Floats]:
    """Angle in degrees of each pixel, NaN where there is none, and its number of valid bands, both `(rows, cols)`."""
    shape = (rows.stop - rows.start, cols.stop - cols.start)
    *out, product, dot, energy_r, energy_e, bands = (
        vector.reshape(shape) for vector in scratch.vectors(7, shape[0] * shape[1])
    )
    for total in (dot, energy_r, energy_e, bands):
        total.fill(0.0)
    for band in range(tile.reference.shape[0]):
        reference, estimate, ok = tile.load(band, rows, cols, [vector.reshape(-1) for vector in out])
        dot += np.multiply(reference, estimate, out=product)
        energy_r += np.square(reference, out=reference)
        energy_e += np.square(estimate, out=estimate)
        bands += 1 if ok is None else ok
    energy_r *= energy_e
    # one root of the product, not a product of roots: a spectrum then is at an angle of exactly 0 to itself
    norm = np.sqrt(energy_r, out=energy_r)
    cosine = np.divide(dot, norm, out=np.full(shape, np.nan), where=norm > 0)
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0, out=cosine), out=cosine), out=cosine), bands


def _gather(_: Record) -> Recipe:
    return (Angles,)


def _finish(angles: Angles, record: Record, _: Extent) -> Score:
    if angles.pixels == 0:
        raise NoDataError(
            f"{record.metric} is not defined: {angles.zero} pixels have a zero spectrum, none has an angle"
        )
    counts = {"pixels": angles.pixels, "zero_spectra": angles.zero, "invalid_pixels": angles.invalid}
    return Score(angles.total / angles.pixels, counts=counts)


def _pixel_sam(tile: Tile, _: Record) -> Floats:
    return _angles(tile, *tile.core, Scratch())[0]


METRIC = MetricSpec(
    name="sam_deg",
    units="degrees",
    better="lower",
    perfect=0.0,
    reduction="mean over pixels of the angle",
    source="Kruse et al. 1993; Yuhas, Goetz, Boardman 1992",
    gather=_gather,
    finish=_finish,
    pixel_map=_pixel_sam,
)
