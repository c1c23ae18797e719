"""Local means of sums and products over sliding windows, the common ground of SSIM and UIQI.

Everything works on flattened rows: a shift by one column is a shift by 1, a shift by one row a shift by the width, so
each pass is one contiguous vector operation. The last `size - 1` columns of each row are nonsense and cut off.

The four maps kept are those of the sum s = r + e and the difference d = r - e, since
`var(r) + var(e) = (var(s) + var(d)) / 2` and `cov(r, e) = (var(s) - var(d)) / 4`: four filters instead of five.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hypersharp.errors import NoDataError
from hypersharp.metrics._accumulate import each
from hypersharp.metrics._spec import Extent, Floats, Mask, Score, Scratch, Statistics, Tile, band_mean, row_blocks
from hypersharp.metrics.protocol import Record

GAUSSIAN_SIGMA = 1.5  # Wang, Bovik, Sheikh, Simoncelli 2004


@dataclass(frozen=True)
class Window:
    """A square window of weights that sum to 1.

    Attributes:
        kind: ``"uniform"`` or ``"gaussian"``.
        size: its side in pixels.
        mirrored: whether windows go over the scene's edge, where the scene is mirrored; else they stay inside.
    """

    kind: str
    size: int
    mirrored: bool = False

    @property
    def before(self) -> int:
        """Rows and columns of the window before the pixel it is counted for (its centre, or left of it)."""
        return (self.size - 1) // 2

    def mean(self, values: Floats, stride: int, out: Floats, spare: tuple[Floats, Floats]) -> Floats:
        """Weighted sums of `size` values `stride` apart; `(n,)` gives `(n - (size - 1) · stride,)`, a view of `out`."""
        if self.kind == "uniform":
            return _running_sum(values, self.size, stride, out, spare)
        return _gaussian_sum(values, self.size, stride, out, spare[0])

    @property
    def weight(self) -> float:
        """What the weights of `mean` along both axes sum to."""
        return float(self.size**2) if self.kind == "uniform" else 1.0


def _running_sum(values: Floats, size: int, stride: int, out: Floats, spare: tuple[Floats, Floats]) -> Floats:
    """Sums of `size` values by doubling: 7 = 4 + 2 + 1 takes four additions, not six.

    Doubling also keeps the sum of 2^k equal values exact, so that a constant window has a variance of exactly 0.
    """
    length = values.size - (size - 1) * stride
    total, done, power = out[:length], 0, 1
    partial, free = values, list(spare)
    while True:
        if size & power:
            part = partial[done * stride : done * stride + length]
            if done == 0:
                np.copyto(total, part)
            else:
                np.add(total, part, out=total)
            done += power
        if done == size:
            return total
        doubled = free[0][: partial.size - power * stride]
        np.add(partial[: -power * stride], partial[power * stride :], out=doubled)
        partial, free, power = doubled, free[::-1], 2 * power


def _gaussian_sum(values: Floats, size: int, stride: int, out: Floats, spare: Floats) -> Floats:
    """Gaussian sums of `size` values, adding symmetric pairs before weighting them."""
    length, middle = values.size - (size - 1) * stride, size // 2
    weights = np.exp(-0.5 * (np.arange(size) - middle) ** 2 / GAUSSIAN_SIGMA**2)
    weights /= weights.sum()
    total = out[:length]
    np.multiply(values[middle * stride : middle * stride + length], weights[middle], out=total)
    pair = spare[:length]
    for k in range(middle):
        left, right = k * stride, (size - 1 - k) * stride
        np.add(values[left : left + length], values[right : right + length], out=pair)
        np.multiply(pair, weights[k], out=pair)
        np.add(total, pair, out=total)
    return total


@dataclass(frozen=True)
class LocalSums:
    """Window sums of s = r + e, d = r - e and their squares, flat `(n,)`, to be overwritten at will.

    Attributes:
        s: sums of s; of s - `shift` where a shift was taken out before squaring.
        d: sums of d.
        ss: sums of the square of what `s` sums.
        dd: sums of d².
        weight: what the weights sum to.
        shift: constant taken out of s.
        spare: one more vector of that length.
    """

    s: Floats
    d: Floats
    ss: Floats
    dd: Floats
    weight: float
    shift: float
    spare: Floats


@dataclass(frozen=True)
class Index(ABC):
    """A local index: a function of `LocalSums`. Hashable, so that equal ones are computed once.

    Attributes:
        centred: whether the block's mean is to be taken out before squaring, for indices without a constant that
            hides the rounding.
    """

    centred: bool

    @abstractmethod
    def of(self, sums: LocalSums) -> Floats:
        """The index of each window, flat; may be written over `sums`."""


def local_maps(
    tile: Tile, band: int, window: Window, index: Index, scratch: Scratch
) -> Iterator[tuple[slice, slice, Floats, Mask | None]]:
    """The index of the windows counted for core pixels, block of rows by block of rows.

    Yields:
        Rows and columns of the tile that the windows are counted for, the index `(rows, cols)` (valid until the next
        block is asked for), and which windows hold valid pixels only, or None for all of them.
    """
    size, before = window.size, window.before
    lengths = tile.reference.shape[1:]
    (top, bottom), (left, right) = ((core.start - before, core.stop - before) for core in tile.core)
    if not window.mirrored:  # the tile only ends at the scene's edge: elsewhere the halo has been checked to be there
        top, left = max(top, 0), max(left, 0)
        bottom, right = min(bottom, lengths[0] - size + 1), min(right, lengths[1] - size + 1)
    if bottom <= top or right <= left or min(lengths) <= size // 2:
        return
    width = right - left + size - 1
    blocks = row_blocks(slice(top, bottom), width, margin=size - 1)
    length = (blocks[0].stop - blocks[0].start + size - 1) * width
    buffers = scratch.vectors(9, length)
    for block in blocks:
        rows, cols = slice(block.start, block.stop + size - 1), slice(left, left + width)
        sums, ok = _local_sums(tile, band, rows, cols, window, index.centred, buffers)
        count = block.stop - block.start
        flat = index.of(sums)
        # the last row of windows ends before its nonsense columns do: lengthen the view, cut the columns
        base = flat.base if isinstance(flat.base, np.ndarray) else flat
        found = base[: count * width].reshape(count, width)[:, : right - left]
        counted = slice(block.start + before, block.stop + before), slice(left + before, right + before)
        yield *counted, found, None if ok is None else _whole(ok, size)


def _local_sums(
    tile: Tile,
    band: int,
    rows: slice,
    cols: slice,
    window: Window,
    centred: bool,
    buffers: Sequence[Floats],
) -> tuple[LocalSums, Mask | None]:
    reference, estimate, ok = tile.load(band, rows, cols, (buffers[0], buffers[1]))
    width, shift = reference.shape[1], 0.0
    r, e = reference.reshape(-1), estimate.reshape(-1)
    if centred:
        shift = 2.0 * float(r.mean())
    s, d = np.add(r, e, out=buffers[2][: r.size]), np.subtract(r, e, out=buffers[3][: r.size])
    if shift != 0.0:
        s -= shift
    between, spare, sums = buffers[4], (buffers[0], buffers[1]), []
    for values, out in ((s, buffers[5]), (d, buffers[6])):
        sums.append(window.mean(window.mean(values, width, between, spare), 1, out, spare))
    for values, out in ((s, buffers[7]), (d, buffers[8])):
        squares = np.square(values, out=values)
        sums.append(window.mean(window.mean(squares, width, between, spare), 1, out, spare))
    mean_s, mean_d, mean_ss, mean_dd = sums
    spare_sum = between[: mean_s.size]
    return LocalSums(mean_s, mean_d, mean_ss, mean_dd, window.weight, shift, spare_sum), ok


def _whole(ok: Mask, size: int) -> Mask:
    """Windows `(h - size + 1, w - size + 1)` in which every pixel of `ok` `(h, w)` is True."""
    bad = np.zeros((ok.shape[0] + 1, ok.shape[1] + 1), dtype=np.int64)
    np.cumsum(np.cumsum(~ok, axis=0), axis=1, out=bad[1:, 1:])
    return np.asarray(bad[size:, size:] - bad[:-size, size:] - bad[size:, :-size] + bad[:-size, :-size] == 0)


class LocalIndex(Statistics):
    """Per-band sums of a local index over the windows that are whole and valid."""

    def __init__(self, bands: int, window: Window, index: Index) -> None:
        self._window = window
        self._index = index
        self._total = np.zeros(bands)
        self._count = np.zeros(bands, dtype=np.int64)

    def margin(self) -> int:
        """Half the window."""
        return self._window.size // 2

    def update(self, tile: Tile, *, workers: int) -> None:
        """Add the windows counted for the core of `tile`."""

        def add(band: int, scratch: Scratch) -> tuple[float, int]:
            total, count = 0.0, 0
            for _, _, found, whole in local_maps(tile, band, self._window, self._index, scratch):
                total += float(found.sum() if whole is None else found[whole].sum())
                count += found.size if whole is None else int(whole.sum())
            return total, count

        for band, (total, count) in enumerate(each(add, range(self._total.size), workers)):
            self._total[band] += total
            self._count[band] += count

    def score(self, record: Record, extent: Extent) -> Score:
        """Mean over the bands of the mean over the windows.

        Raises:
            NoDataError: no window fits.
        """
        if not self._count.any():
            size = self._window.size
            raise NoDataError(f"{record.metric} is not defined: no {size}×{size} window of valid pixels fits the scene")
        keep = extent.live & (self._count > 0)
        per_band = np.divide(self._total, self._count, out=np.full(keep.shape, np.nan), where=self._count > 0)
        return band_mean(record, per_band, keep, {"windows": int(self._count[keep].sum())})


def local_pixel_map(tile: Tile, window: Window, index: Index) -> Floats:
    """Mean over the bands of the index at each core pixel `(h, w)`, NaN where no window is whole."""
    shape = tile.reference.shape[1:]
    total, bands, scratch = np.zeros(shape), np.zeros(shape), Scratch()
    for band in range(tile.reference.shape[0]):
        for rows, cols, found, whole in local_maps(tile, band, window, index, scratch):
            keep = np.ones(found.shape, dtype=np.bool_) if whole is None else whole
            total[rows, cols] += np.where(keep, found, 0.0)
            bands[rows, cols] += keep
    mean: Floats = np.divide(total, bands, out=np.full(shape, np.nan), where=bands > 0)
    return mean[tile.core]
