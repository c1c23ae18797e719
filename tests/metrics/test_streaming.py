"""Tiles, borders, peaks of a first pass, and memory that does not grow with the scene."""

import dataclasses
import tracemalloc

import numpy as np
import pytest

from hypersharp import metrics
from hypersharp.errors import NoDataError, UsageError

RNG = np.random.default_rng(23)
REFERENCE = (1000 * RNG.random((3, 48, 44))).astype(np.float32)
ESTIMATE = REFERENCE + RNG.normal(0, 30, REFERENCE.shape).astype(np.float32)
SIX = metrics.get_protocol("lkca")


def stripe(top, bottom, *, halo, scene=48):
    """Full-width rows as a tile."""
    first, last = max(top - halo, 0), min(bottom + halo, scene)
    return metrics.Tile(
        REFERENCE[:, first:last],
        ESTIMATE[:, first:last],
        None,
        core=(slice(top - first, bottom - first), slice(0, 44)),
        origin=(first, 0),
        scene=(scene, 44),
    )


def peaks_of(reference, *, valid=None, quantile=True):
    return metrics.reference_peaks(lambda: [(reference, valid)], quantile=quantile)


def test_every_preset_in_stripes_is_the_whole():
    protocols = list(metrics.PROTOCOLS.values())
    halo = metrics.halo_of(protocols)
    assert halo == 31  # the blocks of q2n
    whole = metrics.evaluate_arrays(REFERENCE, ESTIMATE, protocols, scale=4)
    tiles = [stripe(top, min(top + 11, 48), halo=halo) for top in range(0, 48, 11)]
    tiled = metrics.evaluate_tiles(tiles, protocols, scale=4, peaks=peaks_of(REFERENCE))
    for one, other in zip(whole, tiled, strict=True):
        assert one.protocol == other.protocol
        for name, score in one.scores.items():
            assert other.scores[name].value == pytest.approx(score.value, rel=1e-9), (one.protocol.name, name)


def test_halo_is_that_of_the_widest_window():
    assert metrics.halo_of([]) == 0
    assert metrics.halo_of([SIX]) == 3
    assert metrics.halo_of([SIX, metrics.get_protocol("mcnet")]) == 5
    assert metrics.halo_of([metrics.get_protocol("ours").only(["sam_deg", "cc"])]) == 0


def test_a_halo_that_is_too_small_is_refused():
    tiles = [stripe(0, 24, halo=2), stripe(24, 48, halo=2)]
    with pytest.raises(UsageError, match="need 3 rows around their core; got 0 before and 2 after"):
        metrics.evaluate_tiles(tiles, [SIX], scale=4, peaks=peaks_of(REFERENCE))


def test_a_short_halo_at_the_scenes_edge_is_all_there_is():
    tiles = [stripe(0, 46, halo=3), stripe(46, 48, halo=3)]
    whole = metrics.evaluate_arrays(REFERENCE, ESTIMATE, [SIX], scale=4)
    tiled = metrics.evaluate_tiles(tiles, [SIX], scale=4, peaks=peaks_of(REFERENCE))
    assert tiled[0].scores["mssim"].value == pytest.approx(whole[0].scores["mssim"].value, rel=1e-12)


@pytest.mark.parametrize("rows", [[(0, 24)], [(0, 30), (24, 48)], []])
def test_cores_that_do_not_cover_the_scene_once_are_refused(rows):
    tiles = [stripe(top, bottom, halo=3) for top, bottom in rows]
    with pytest.raises((UsageError, NoDataError), match=r"cover the scene|need a valid pixel"):
        metrics.evaluate_tiles(tiles, [SIX], scale=4, peaks=peaks_of(REFERENCE))


def test_tiles_of_two_scenes_are_refused():
    other = dataclasses.replace(stripe(24, 48, halo=3), scene=(50, 44))
    with pytest.raises(UsageError, match=r"one scene \(3, 48, 44\); got \(3, 50, 44\)"):
        metrics.evaluate_tiles([stripe(0, 24, halo=3), other], [SIX], scale=4, peaks=peaks_of(REFERENCE))


def test_a_tile_without_a_valid_pixel_is_no_obstacle():
    valid = np.ones((48, 44), dtype=bool)
    valid[:24] = False
    tiles = [
        dataclasses.replace(stripe(top, top + 24, halo=3), valid=valid[max(top - 3, 0) : top + 27]) for top in (0, 24)
    ]
    tiled = metrics.evaluate_tiles(tiles, [SIX], scale=4, peaks=peaks_of(REFERENCE))
    whole = metrics.evaluate_arrays(REFERENCE, ESTIMATE, [SIX], scale=4, valid=valid, peaks=peaks_of(REFERENCE))
    for name, score in whole[0].scores.items():
        assert tiled[0].scores[name].value == pytest.approx(score.value, rel=1e-9)


def test_border_is_a_crop_whose_peak_is_the_scenes():
    spike = REFERENCE.copy()
    spike[0, 0, 0] = 5000
    (found,) = metrics.evaluate_arrays(spike, ESTIMATE, [SIX], scale=4, border=4)
    inner = (slice(None), slice(4, -4), slice(4, -4))
    (cropped,) = metrics.evaluate_arrays(spike[inner], ESTIMATE[inner], [SIX], scale=4, peaks=peaks_of(spike))
    assert found.scores["mpsnr_db"].value == cropped.scores["mpsnr_db"].value
    assert found.protocol.records[0].border == 4
    assert cropped.protocol.records[0].divisor == 5000


@pytest.mark.parametrize("border", [-1, 22, 100])
def test_a_border_that_leaves_nothing_is_refused(border):
    with pytest.raises(UsageError, match="border must leave a pixel of 48×44"):
        metrics.evaluate_arrays(REFERENCE, ESTIMATE, [SIX], scale=4, border=border)


def test_the_smallest_cube():
    reference, estimate = np.array([[[2.0]]]), np.array([[[3.0]]])
    (found,) = metrics.evaluate_arrays(reference, estimate, [metrics.get_protocol("ours")], scale=4)
    assert found.scores["rmse"].value == 1.0
    assert found.scores["sam_deg"].value == 0.0
    assert found.scores["ergas"].value == 12.5
    assert found.scores["cc"].value is None
    assert "cc is not defined" in found.scores["cc"].note


def test_memory_does_not_grow_with_the_scene():
    """Four times the rows, the same peak: tiles are made on the fly and forgotten."""

    def peak(rows):
        def tiles():
            for top in range(0, rows, 64):
                first, last = max(top - 31, 0), min(top + 64 + 31, rows)
                cube = np.random.default_rng(top).random((4, last - first, 64), dtype=np.float32)
                core = (slice(top - first, min(top + 64, rows) - first), slice(0, 64))
                yield metrics.Tile(cube, cube * 1.1, None, core=core, origin=(first, 0), scene=(rows, 64))

        protocols = [metrics.get_protocol("ours"), SIX]
        peaks = metrics.Peaks(0.0, 1.0, (1.0,) * 4, 1.0)
        tracemalloc.start()
        metrics.evaluate_tiles(tiles(), protocols, scale=4, peaks=peaks)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(192)  # imports and tables
    assert peak(768) < 1.05 * peak(192)


def test_extra_memory_is_a_fraction_of_the_pair():
    reference = np.random.default_rng(0).random((64, 256, 256), dtype=np.float32)
    estimate = reference * np.float32(1.1)
    tracemalloc.start()
    metrics.evaluate_arrays(reference, estimate, [SIX, metrics.get_protocol("mcnet")], scale=4, workers=2)
    extra = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert extra < 0.25 * (reference.nbytes + estimate.nbytes)


# ---------------------------------------------------------------------------------------------- the first pass


@pytest.mark.parametrize(
    "values",
    [
        RNG.random(5000, dtype=np.float32),
        RNG.normal(0, 1000, 4999).astype(np.float32),
        RNG.normal(-50, 1, 1234).astype(np.float32),
        np.repeat(np.float32(7.5), 40),
        np.array([1, 2], dtype=np.float32),
        np.array([3.25], dtype=np.float32),
        RNG.integers(-3000, 12000, 3000).astype(np.int16),
        np.concatenate([np.zeros(998), np.full(2, 1e30)]).astype(np.float32),
        np.array([-0.0, 0.0, -1e-40, 1e-40] * 300, dtype=np.float32),
    ],
)
def test_the_quantile_is_numpys(values):
    cube = values.reshape(1, 1, -1)
    assert peaks_of(cube).quantile == pytest.approx(np.quantile(values.astype(np.float64), 0.999), rel=1e-12, abs=1e-50)


def test_the_quantile_of_float64_is_within_its_stated_error():
    cube = RNG.random((2, 40, 40)) * 1e4
    assert peaks_of(cube).quantile == pytest.approx(np.quantile(cube, 0.999), rel=6e-8)


def test_peaks_in_parts_are_those_of_the_whole():
    parts = [(REFERENCE[:, :20], None), (REFERENCE[:, 20:], None)]
    assert metrics.reference_peaks(lambda: parts, quantile=True) == peaks_of(REFERENCE)
    found = peaks_of(REFERENCE)
    assert (found.minimum, found.maximum) == (REFERENCE.min(), REFERENCE.max())
    assert found.band_maximum == tuple(REFERENCE.max(axis=(1, 2)))
    assert peaks_of(REFERENCE, quantile=False).quantile is None


@pytest.mark.parametrize("shape", [(48, 44), (3, 48, 44)])
def test_peaks_ignore_what_is_masked(shape):
    valid = RNG.random(shape) > 0.3
    holes = np.broadcast_to(~valid, REFERENCE.shape)
    found = peaks_of(np.where(holes, np.nan, REFERENCE), valid=valid)
    kept = REFERENCE[~holes]
    assert found.maximum == kept.max()
    assert found.quantile == pytest.approx(np.quantile(kept.astype(np.float64), 0.999), rel=1e-12)


def test_peaks_refuse_what_they_cannot_use():
    with pytest.raises(NoDataError, match="got none in 3 bands"):
        peaks_of(REFERENCE, valid=np.zeros((48, 44), dtype=bool))
    holed = REFERENCE.copy()
    holed[1, 2, 3] = np.nan
    with pytest.raises(UsageError, match="band 1 of the reference"):
        peaks_of(holed)
