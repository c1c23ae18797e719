"""Laws that every metric keeps. A metric without a row in `ROWS` fails."""

import dataclasses
import math

import numpy as np
import pytest

from hypersharp import metrics
from hypersharp.errors import NoDataError, UsageError

RNG = np.random.default_rng(3)
REFERENCE = np.cumsum(RNG.random((5, 40, 37)), axis=2) * 40 + 300.0
REFERENCE += 80 * np.sin(np.arange(40) / 4.0)[None, :, None]
ESTIMATE = REFERENCE + RNG.normal(0, 20, REFERENCE.shape)


@dataclasses.dataclass(frozen=True)
class Row:
    """How the suite calls a metric.

    window: the window it takes. peak: it takes a data range. scale: it takes the scale. mapped: it has a pixel map.
    """

    window: str = "none"
    peak: bool = False
    scale: bool = False
    mapped: bool = False


ROWS = {
    "mpsnr_db": Row(peak=True, mapped=True),
    "psnr_db": Row(peak=True, mapped=True),
    "mssim": Row(peak=True, window="uniform_7", mapped=True),
    "sam_deg": Row(mapped=True),
    "cc": Row(),
    "rmse": Row(mapped=True),
    "mae": Row(mapped=True),
    "ergas": Row(scale=True),
    "uiqi": Row(window="uniform_8", mapped=True),
    "q2n": Row(window="block_8"),
    "scc": Row(),
    "sid": Row(mapped=True),
    "edge_psnr_db": Row(peak=True),
    "spectral_difference": Row(),
}
NAMES = sorted(ROWS)


def record_of(name, *, peak=2000.0, scale=4, window=None):
    row = ROWS[name]
    return metrics.Record(
        name,
        peak="given" if row.peak else "none",
        peak_value=peak if row.peak else None,
        window=window or row.window,
        ratio="100/scale" if row.scale else "none",
        scale=scale if row.scale else None,
    )


def score(name, reference, estimate, *, valid=None, tiles=None, **options):
    protocol = metrics.Protocol("test", "test", (record_of(name, **options),))
    tiles = [metrics.Tile.whole(reference, estimate, valid=valid)] if tiles is None else tiles
    (found,) = metrics.evaluate_tiles(tiles, [protocol], scale=options.get("scale", 4), peaks=None)
    return found.scores[name]


def cut(reference, estimate, valid, *, tile, halo):
    """The scene as tiles of `tile` rows and columns, with up to `halo` pixels around each core."""
    rows, cols = reference.shape[1:]
    for top in range(0, rows, tile[0]):
        for left in range(0, cols, tile[1]):
            first = (max(top - halo, 0), max(left - halo, 0))
            window = (
                slice(first[0], min(top + tile[0] + halo, rows)),
                slice(first[1], min(left + tile[1] + halo, cols)),
            )
            yield metrics.Tile(
                reference[(slice(None), *window)],
                estimate[(slice(None), *window)],
                None if valid is None else valid[(..., *window)],
                core=(
                    slice(top - first[0], min(top + tile[0], rows) - first[0]),
                    slice(left - first[1], min(left + tile[1], cols) - first[1]),
                ),
                origin=first,
                scene=(rows, cols),
            )


def test_every_metric_has_a_row():
    assert set(ROWS) == set(metrics.list_metrics())


def test_every_function_is_public():
    public = {name for name in metrics.__all__ if callable(getattr(metrics, name))}
    assert {"mpsnr", "psnr", "mssim", "sam", "cc", "rmse", "mae", "ergas", "uiqi", "q2n", "scc", "sid"} <= public
    assert {"edge_psnr", "spectral_difference"} <= public


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_estimate_is_perfect(name):
    perfect = metrics.list_metrics()[name].perfect
    # exactly so where nothing is divided; a correlation of a band with itself may miss 1 by a rounding
    assert score(name, REFERENCE, REFERENCE.copy()).value == pytest.approx(perfect, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_more_noise_is_worse(name):
    sign = 1 if metrics.list_metrics()[name].better == "higher" else -1
    values = [score(name, REFERENCE, REFERENCE + k * (ESTIMATE - REFERENCE)).value for k in (0.5, 1.0, 2.0)]
    assert sign * values[0] > sign * values[1] > sign * values[2]


@pytest.mark.parametrize("shape", ["(H, W)", "(C, H, W)"])
@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_a_masked_pixel_changes_nothing(name, shape):
    valid = np.ones(REFERENCE.shape[1:] if shape == "(H, W)" else REFERENCE.shape, dtype=bool)
    valid[..., 12, 20] = False
    valid[..., 30:33, 1:3] = False
    holes = np.broadcast_to(~valid, REFERENCE.shape)
    values = []
    for reference_hole, estimate_hole in ((0.0, 0.0), (np.nan, np.nan), (np.inf, -np.inf), (1e30, np.nan)):
        reference, estimate = np.where(holes, reference_hole, REFERENCE), np.where(holes, estimate_hole, ESTIMATE)
        values.append(score(name, reference, estimate, valid=valid).value)
    assert values == [values[0]] * 4
    assert values[0] != score(name, REFERENCE, ESTIMATE).value


@pytest.mark.parametrize("tile", [(40, 37), (16, 16), (7, 37), (13, 5), (1, 37)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_tiles_equal_the_whole(name, masked, tile):
    valid = None
    if masked:
        valid = RNG.random(REFERENCE.shape) > 0.0005
        valid[2] = False
    whole = score(name, REFERENCE, ESTIMATE, valid=valid)
    halo = metrics.halo_of([metrics.Protocol("test", "test", (record_of(name),))])
    tiled = score(name, REFERENCE, ESTIMATE, tiles=cut(REFERENCE, ESTIMATE, valid, tile=tile, halo=halo))
    assert tiled.value == pytest.approx(whole.value, rel=1e-9)
    assert tiled.counts == whole.counts
    if whole.per_band is not None:
        np.testing.assert_allclose(tiled.per_band, whole.per_band, rtol=1e-9)


@pytest.mark.parametrize("window", ["gaussian_11", "gaussian_11_mirrored", "uniform_2"])
@pytest.mark.parametrize("tile", [(16, 16), (13, 5), (1, 37)])
def test_tiles_equal_the_whole_for_each_window_of_ssim(window, tile):
    halo = metrics.halo_of([metrics.Protocol("test", "test", (record_of("mssim", window=window),))])
    tiles = cut(REFERENCE, ESTIMATE, None, tile=tile, halo=halo)
    whole = score("mssim", REFERENCE, ESTIMATE, window=window)
    assert score("mssim", REFERENCE, ESTIMATE, window=window, tiles=tiles).value == pytest.approx(whole.value, rel=1e-9)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("rmse", "mae", "sam_deg", "sid")])
def test_a_large_offset_does_not_cancel(name):
    """300 K or a DN offset of 30 000 must not eat the variance: still equal in tiles, still near the shifted truth."""
    reference, estimate = REFERENCE + 1e7, ESTIMATE + 1e7
    halo = metrics.halo_of([metrics.Protocol("test", "test", (record_of(name),))])
    whole = score(name, reference, estimate).value
    tiled = score(name, reference, estimate, tiles=cut(reference, estimate, None, tile=(9, 11), halo=halo)).value
    assert tiled == pytest.approx(whole, rel=1e-9)
    if name in ("cc", "scc", "mpsnr_db", "psnr_db", "edge_psnr_db"):  # these do not see an offset at all
        assert whole == pytest.approx(score(name, REFERENCE, ESTIMATE).value, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint16])
def test_stored_type_does_not_matter(name, dtype):
    reference, estimate = (np.round(cube).astype(dtype) for cube in (REFERENCE, ESTIMATE))
    expected = score(name, reference.astype(np.float64), estimate.astype(np.float64)).value
    assert score(name, reference, estimate).value == expected


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_left_as_they_were(name):
    reference, estimate = REFERENCE.copy(), ESTIMATE.copy()
    score(name, reference, estimate)
    np.testing.assert_array_equal(reference, REFERENCE)
    np.testing.assert_array_equal(estimate, ESTIMATE)


@pytest.mark.parametrize("name", NAMES)
def test_threads_do_not_change_the_number(name):
    protocol = metrics.Protocol("test", "test", (record_of(name),))
    one, two = (
        metrics.evaluate_arrays(REFERENCE, ESTIMATE, [protocol], scale=4, workers=workers)[0].scores[name].value
        for workers in (1, 3)
    )
    assert one == two


@pytest.mark.parametrize("name", [name for name in NAMES if ROWS[name].mapped])
def test_the_map_of_tiles_is_the_map_of_the_scene(name):
    record = record_of(name)
    halo = metrics.halo_of([metrics.Protocol("test", "test", (record,))])
    whole = metrics.pixel_map(name, metrics.Tile.whole(REFERENCE, ESTIMATE), record)
    assert whole.shape == REFERENCE.shape[1:]
    built = np.full(whole.shape, -1.0)
    for tile in cut(REFERENCE, ESTIMATE, None, tile=(13, 16), halo=halo):
        rows, cols = (
            slice(start + core.start, start + core.stop) for start, core in zip(tile.origin, tile.core, strict=True)
        )
        built[rows, cols] = metrics.pixel_map(name, tile, record)
    np.testing.assert_allclose(built, whole, rtol=1e-9)


@pytest.mark.parametrize("name", ["sam_deg", "sid", "mae", "mssim", "uiqi"])
def test_the_map_averages_to_the_number(name):
    record = record_of(name)
    whole = metrics.pixel_map(name, metrics.Tile.whole(REFERENCE, ESTIMATE), record)
    assert np.nanmean(whole) == pytest.approx(score(name, REFERENCE, ESTIMATE).value, rel=1e-9)


@pytest.mark.parametrize("name", [name for name in NAMES if not ROWS[name].mapped])
def test_a_metric_without_a_map_says_so(name):
    with pytest.raises(UsageError, match=f"got '{name}'"):
        metrics.pixel_map(name, metrics.Tile.whole(REFERENCE, ESTIMATE), record_of(name))


# ------------------------------------------------------------------------------------------ laws of single metrics


@pytest.mark.parametrize("gain", [0.25, 3.7])
def test_sam_and_sid_ignore_brightness(gain):
    shade = gain * (1.0 + RNG.random(REFERENCE.shape[1:]))
    assert metrics.sam(REFERENCE, REFERENCE * shade) == pytest.approx(0, abs=2e-6)  # arccos near 1 has 8 digits
    assert metrics.sam(REFERENCE, ESTIMATE * shade) == pytest.approx(metrics.sam(REFERENCE, ESTIMATE), rel=1e-9)
    assert metrics.sid(REFERENCE, REFERENCE * shade) == pytest.approx(0, abs=1e-12)
    assert metrics.sid(REFERENCE, ESTIMATE * shade) == pytest.approx(metrics.sid(REFERENCE, ESTIMATE), rel=1e-9)


def test_ergas_scales_as_one_over_scale():
    values = [metrics.ergas(REFERENCE, ESTIMATE, scale=scale) * scale for scale in (1, 2, 3, 4, 8)]
    assert values == pytest.approx([values[0]] * 5)


def test_decibels_and_units():
    """Twice the peak is 6.02 dB; peak and cubes in other units are the same decibels."""
    values = [metrics.mpsnr(REFERENCE, ESTIMATE, data_range=peak) for peak in (1000, 2000)]
    assert values[1] - values[0] == pytest.approx(20 * math.log10(2))
    assert metrics.mpsnr(REFERENCE / 8, ESTIMATE / 8, data_range=125) == pytest.approx(values[0], rel=1e-12)


def test_cube_psnr_never_exceeds_the_mean_of_the_bands():
    """Jensen; equal where every band has the same error."""
    uneven = REFERENCE + (ESTIMATE - REFERENCE) * np.array([0.1, 0.5, 1.0, 2.0, 4.0])[:, None, None]
    assert metrics.psnr(REFERENCE, uneven, data_range=1000) < metrics.mpsnr(REFERENCE, uneven, data_range=1000) - 1
    even = REFERENCE + 7.0
    assert metrics.psnr(REFERENCE, even, data_range=1000) == pytest.approx(
        metrics.mpsnr(REFERENCE, even, data_range=1000)
    )


@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_correlations_ignore_gain_and_offset(gain):
    assert metrics.cc(REFERENCE, gain * ESTIMATE - 40) == pytest.approx(metrics.cc(REFERENCE, ESTIMATE), rel=1e-12)
    assert metrics.scc(REFERENCE, gain * ESTIMATE - 40) == pytest.approx(metrics.scc(REFERENCE, ESTIMATE), rel=1e-9)
    assert metrics.cc(REFERENCE, -REFERENCE) == pytest.approx(-1)


def test_edge_psnr_sees_only_edges():
    """An error on a flat plain costs edge-PSNR nothing, the same error at the step costs both."""
    step = np.zeros((1, 20, 20))
    step[:, :, 10:] = 100.0
    plain, edge = step.copy(), step.copy()
    plain[0, 5:15, 3] += 10.0
    edge[0, 5:15, 10] += 10.0
    assert metrics.mpsnr(step, plain, data_range=100) == pytest.approx(metrics.mpsnr(step, edge, data_range=100))
    assert metrics.edge_psnr(step, plain, data_range=100) == math.inf
    assert metrics.edge_psnr(step, edge, data_range=100) < metrics.mpsnr(step, edge, data_range=100)


# ------------------------------------------------------------------------------------------ bands and pixels left out


def with_dead_band(value):
    reference, estimate = REFERENCE.copy(), ESTIMATE.copy()
    reference[1] = value
    estimate[1] = value
    return reference, estimate


@pytest.mark.parametrize("value", [0.0, 512.3])
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"sam_deg", "sid", "q2n"}))
def test_a_constant_band_is_left_out_and_counted(name, value):
    """But for the three that mix the bands of a pixel, to which it is a part of the spectrum like any other."""
    others = [0, 2, 3, 4]
    found = score(name, *with_dead_band(value))
    expected = score(name, REFERENCE[others], ESTIMATE[others])
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    assert found.counts["bands_excluded"] == 1
    if found.per_band is not None:
        assert np.isnan(found.per_band).tolist() == [False, True, False, False, False]


def test_an_invalid_band_leaves_everything():
    valid = np.ones(REFERENCE.shape, dtype=bool)
    valid[1] = False
    reference = np.where(valid, REFERENCE, np.nan)
    others = [0, 2, 3, 4]
    for name in set(NAMES) - {"q2n"}:  # there it is a zero component, see test_q2n.py
        found = score(name, reference, ESTIMATE, valid=valid)
        assert found.value == pytest.approx(score(name, REFERENCE[others], ESTIMATE[others]).value, rel=1e-12), name


def test_cc_leaves_out_a_band_that_the_estimate_made_constant():
    estimate = ESTIMATE.copy()
    estimate[3] = 0.1
    found = score("cc", REFERENCE, estimate)
    assert found.counts["bands_excluded"] == 1
    assert found.value == pytest.approx(score("cc", REFERENCE[[0, 1, 2, 4]], ESTIMATE[[0, 1, 2, 4]]).value)


def test_ergas_leaves_out_a_band_of_mean_zero():
    reference = REFERENCE.copy()
    reference[2] = np.where(np.arange(40)[:, None] % 2 == 0, 1.0, -1.0)
    found = score("ergas", reference, ESTIMATE)
    assert found.counts["bands_excluded"] == 1
    assert math.isfinite(found.value)


def test_where_every_band_is_constant_none_is_left_out():
    flat = np.full((3, 9, 9), 5.0)
    assert metrics.mpsnr(flat, flat + 0.1, data_range=1) == pytest.approx(20)
    assert metrics.mpsnr(flat, flat, data_range=1) == math.inf
    with pytest.raises(NoDataError, match="cc is not defined"):
        metrics.cc(flat, flat + 0.1)


def test_a_ramp_has_no_laplacian_to_correlate():
    ramp = np.tile(np.linspace(0.1, 0.7, 20), (1, 20, 1))
    with pytest.raises(NoDataError, match="scc is not defined"):
        metrics.scc(ramp, 1.1 * ramp)


def test_zero_spectra_are_left_out_and_counted():
    reference, estimate = REFERENCE.copy(), ESTIMATE.copy()
    reference[:, 0, 0] = 0.0
    estimate[:, 5, 5] = 0.0
    valid = np.ones(REFERENCE.shape[1:], dtype=bool)
    valid[[0, 5, 7], [0, 5, 7]] = False
    found = score("sam_deg", reference, estimate)
    assert found.counts == {"pixels": 40 * 37 - 2, "zero_spectra": 2, "invalid_pixels": 0}
    found = score("sam_deg", reference, estimate, valid=valid)
    assert found.counts == {"pixels": 40 * 37 - 3, "zero_spectra": 0, "invalid_pixels": 3}
    with pytest.raises(NoDataError, match="zero spectrum"):
        metrics.sam(np.zeros((3, 2, 2)), np.ones((3, 2, 2)))


def test_sid_leaves_out_values_that_have_no_logarithm():
    reference, estimate = REFERENCE.copy(), ESTIMATE.copy()
    reference[1], estimate[2, 4, 4] = 0.0, -3.0
    found = score("sid", reference, estimate)
    assert found.counts["values_not_positive"] == 40 * 37 + 1
    assert found.counts["pixels"] == 40 * 37
    estimate[[0, 2, 3], 9, 9] = 0.0  # band 4 alone is left there: one band is no spectrum
    assert score("sid", reference, estimate).counts["pixels_left_out"] == 1
    with pytest.raises(NoDataError, match="positive"):
        metrics.sid(-REFERENCE, ESTIMATE)


def test_counts_of_windows_and_blocks():
    valid = np.ones(REFERENCE.shape[1:], dtype=bool)
    valid[20, 20] = False
    assert score("mssim", REFERENCE, ESTIMATE, valid=valid).counts["windows"] == 5 * (34 * 31 - 49)
    assert score("q2n", REFERENCE, ESTIMATE, valid=valid).counts == {"blocks": 5 * 4 - 1, "blocks_left_out": 1}


def test_a_scene_smaller_than_the_window_has_no_value():
    small = (REFERENCE[:, :6, :30], ESTIMATE[:, :6, :30])
    for call in (
        lambda: metrics.mssim(*small, data_range=1000, window="uniform_7"),
        lambda: metrics.mssim(*(cube[:, :5] for cube in small), data_range=1000, window="gaussian_11_mirrored"),
        lambda: metrics.uiqi(*small, window="uniform_8"),
        lambda: metrics.q2n(*small, window="block_8"),
        lambda: metrics.scc(*(cube[:, :2] for cube in small)),
        lambda: metrics.edge_psnr(*(cube[:, :2] for cube in small), data_range=1000),
    ):
        with pytest.raises(NoDataError, match="is not defined"):
            call()
