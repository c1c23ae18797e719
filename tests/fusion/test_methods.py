"""What every fusion method must do, from one row of `table.py` each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hypersharp.errors import NoDataError, UsageError
from hypersharp.fusion._spec import Window
from hypersharp.fusion.methods import get_fusion_method, list_fusion_methods
from hypersharp.operators import bicubic_enlarge

from .made import mpsnr_db, stated, synthetic
from .table import ROWS, Row

EVERY = [pytest.param(row, id=name) for name, row in ROWS.items()]
every = pytest.mark.parametrize("row", EVERY)
NOISY = {"noise_db": 35.0, "msi_noise_db": 40.0}


@pytest.fixture(autouse=True)
def _excuse(request):
    row = request.node.callspec.params.get("row") if hasattr(request.node, "callspec") else None
    if row is not None and request.node.originalname in row.excused:
        pytest.skip(row.excused[request.node.originalname])


def test_excuses_name_laws():
    assert {law for row in ROWS.values() for law in row.excused} <= set(globals())


def fitted(row: Row, pair, windows=None):
    return get_fusion_method(row.method).fit(windows or [pair.window], pair.calibration)


def worst(a, b, like) -> float:
    """Largest difference as a share of its band's range."""
    return float((np.abs(a - b).max(axis=(1, 2)) / np.maximum(np.ptp(like, axis=(1, 2)), 1e-12)).max())


def test_every_method_has_a_row_and_every_row_a_method():
    assert sorted(list_fusion_methods()) == sorted(ROWS)


def test_near_miss_is_named():
    with pytest.raises(UsageError, match="glp"):
        get_fusion_method("gpl")


@every
def test_says_what_it_is(row):
    method = get_fusion_method(row.method)
    assert method.title
    assert method.source


@every
@pytest.mark.parametrize(("scale", "shape_lr"), [(2, (1, 1)), (2, (1, 9)), (3, (7, 5)), (4, (3, 17))])
def test_windows_of_any_shape(row, scale, shape_lr):
    sample = synthetic(scale=scale, shape_lr=(8, 8), sigma=scale / 2.355, **NOISY)
    other = synthetic(scale=scale, shape_lr=shape_lr, sigma=scale / 2.355, **NOISY)
    for windows in ([sample.window], [sample.part((0, 5), (0, 4)), sample.part((5, 8), (0, 8))], [other.window]):
        fused = fitted(row, sample, windows)(other.window)
        assert fused.dtype == np.float32
        assert fused.shape == other.hr.shape
        assert np.isfinite(fused).all()


@every
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.6, -1.3)])
def test_core_of_a_window_is_that_of_the_whole_scene(row, shift):
    scale, size = 2, 41
    pair = synthetic(scale=scale, shape_lr=(size, size), shift=shift, **NOISY)
    fuse = fitted(row, pair, [pair.part((3, 30), (8, 40))])
    halo = get_fusion_method(row.method).halo(pair.calibration)
    whole = fuse(pair.window)
    for rows, cols in (((18, 21), (19, 22)), ((0, 3), (20, 21)), ((30, 38), (37, 41))):
        window = [(max(0, a - halo), min(size, b + halo)) for a, b in (rows, cols)]
        inside = tuple(
            slice(scale * (a - lo), scale * (b - lo)) for (a, b), (lo, _) in zip((rows, cols), window, strict=True)
        )
        core = tuple(slice(scale * a, scale * b) for a, b in (rows, cols))
        part = fuse(pair.part(*window))
        assert worst(part[:, *inside], whole[:, *core], whole) < row.tiled


@every
def test_cube_of_known_rank_without_noise(row):
    pair = synthetic(rank=4, msi_bands=4, bands=24, shape_lr=(24, 24))
    assert mpsnr_db(pair.hr, fitted(row, pair)(pair.window)) >= row.exact_db


@every
def test_shift_costs_nothing_once_known(row):
    found = []
    for shift in ((0.0, 0.0), (0.7, -0.4), (-1.0, 2.0)):
        pair = synthetic(shape_lr=(24, 24), rank=6, scale=4, sigma=1.7, shift=shift, **NOISY)
        sr = fitted(row, pair)(pair.window)
        found.append(mpsnr_db(pair.hr[:, 8:-8, 8:-8], sr[:, 8:-8, 8:-8]))
    assert np.ptp(found) < 0.5


@every
def test_units_and_offset_of_the_msi_are_free(row):
    pair = synthetic(**NOISY)
    lr, msi, offset = np.float32(4096), np.float32(0.125), np.float32(0.0625)
    window = Window(pair.window.lr * lr, pair.window.msi * msi + offset, pair.window.valid)
    told = stated(
        pair,
        srf=pair.calibration.srf * float(msi / lr),
        offset=pair.calibration.offset + float(offset),
        noise_lr=pair.calibration.noise_lr * float(lr),
        noise_msi=pair.calibration.noise_msi * float(msi),
    )
    plain = fitted(row, pair)(pair.window)
    assert worst(fitted(row, told, [window])(window) / lr, plain, plain) < 1e-3


@every
def test_repeats_and_leaves_its_input_alone(row):
    pair = synthetic(**NOISY)
    before = pair.window.lr.copy(), pair.window.msi.copy()
    first, second = (fitted(row, pair)(pair.window) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(pair.window.lr, before[0])
    np.testing.assert_array_equal(pair.window.msi, before[1])


@every
def test_nothing_is_fitted_on_invalid_pixels(row):
    pair = synthetic(shape_lr=(30, 30), **NOISY)
    results = []
    for rubbish in (0.0, 37.0):
        lr, msi, valid = (np.array(a) for a in (pair.window.lr, pair.window.msi, pair.window.valid))
        lr[:, :4, :5], msi[:, :8, :10], valid[:4, :5] = rubbish, rubbish, False
        results.append(fitted(row, pair, [Window(lr, msi, valid)])(pair.window))
    np.testing.assert_array_equal(*results)


@every
def test_no_valid_pixel(row):
    pair = synthetic(shape_lr=(6, 6))
    window = replace(pair.window, valid=np.zeros((6, 6), dtype=bool))
    if row.fits:
        with pytest.raises(NoDataError):
            fitted(row, pair, [window])
    else:
        assert np.isfinite(fitted(row, pair, [window])(window)).all()


@every
@pytest.mark.parametrize(("bands", "msi_bands", "rank"), [(20, 1, 4), (3, 8, 3), (1, 1, 1), (1, 3, 1), (2, 2, 2)])
def test_any_number_of_bands(row, bands, msi_bands, rank):
    pair = synthetic(bands=bands, msi_bands=msi_bands, rank=rank, shape_lr=(10, 11), **NOISY)
    fused = fitted(row, pair)(pair.window)
    assert np.isfinite(fused).all()
    plain = bicubic_enlarge((10, 11), 2).apply(pair.window.lr)
    assert mpsnr_db(pair.hr, fused) > mpsnr_db(pair.hr, plain) - 0.5


@every
@pytest.mark.parametrize("level", [0.0, 0.3, -2.0])
def test_constant_band_stays_constant(row, level):
    pair = synthetic(**NOISY)
    lr = pair.window.lr.copy()
    lr[[0, 7]] = level
    noise = pair.calibration.noise_lr.copy()
    noise[[0, 7]] = 0
    window = replace(pair.window, lr=lr)
    fused = fitted(row, stated(pair, noise_lr=noise), [window])(window)
    assert np.isfinite(fused).all()
    np.testing.assert_allclose(fused[[0, 7]], level, atol=1e-5)


@every
@pytest.mark.parametrize("level", [0.0, 0.3])
def test_dead_msi_band_changes_nothing(row, level):
    pair = synthetic(**NOISY)
    window, told = pair.window, pair.calibration
    dead = np.full((1, *window.msi.shape[1:]), level, dtype=np.float32)
    with_dead = replace(window, msi=np.concatenate([window.msi, dead]))
    also = stated(
        pair,
        srf=np.concatenate([told.srf, told.srf[:1]]),
        offset=np.append(told.offset, 0.0),
        noise_msi=np.append(told.noise_msi, 0.0),
    )
    plain = fitted(row, pair)(window)
    assert worst(fitted(row, also, [with_dead])(with_dead), plain, plain) < 1e-3


@every
@pytest.mark.parametrize("constant", ["msi", "cube", "both"])
def test_without_variance_the_enlarged_cube_stands(row, constant):
    pair = synthetic(shape_lr=(9, 9))
    lr, msi = pair.window.lr.copy(), pair.window.msi.copy()
    if constant in ("msi", "both"):
        msi[:] = np.float32(0.1)
    if constant in ("cube", "both"):
        lr[:] = np.arange(len(lr), dtype=np.float32)[:, None, None] / 7
    window = Window(lr, msi, pair.window.valid)
    fused = fitted(row, pair, [window])(window)
    plain = bicubic_enlarge((9, 9), 2).apply(lr)
    assert np.isfinite(fused).all()
    if constant == "msi" and row.inverts:
        assert mpsnr_db(pair.hr, fused) > mpsnr_db(pair.hr, plain)
    else:
        np.testing.assert_allclose(fused, plain, atol=1e-5)
