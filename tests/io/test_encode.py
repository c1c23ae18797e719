"""From physical values to stored numbers: type, scale, marker, rounding, clipping."""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp.cube import Cube, Storage, array_source
from hypersharp.errors import NoDataError, UsageError
from hypersharp.io.encode import DTYPES, choose_storage, copies_stored, encode, needs_range

INTEGERS = [name for name in DTYPES if "int" in name]


def encoded(values, storage, valid=None):
    values = np.array(values, dtype=storage.value_dtype, ndmin=3)
    return encode(values, np.ones(values.shape, bool) if valid is None else np.array(valid, ndmin=3), storage)


def float_cube(values) -> Cube:
    return Cube.from_array(np.array(values, dtype=np.float64, ndmin=3))


def held(cube: Cube, dtype: str) -> Storage:
    values = cube.read()[0]
    with np.errstate(all="ignore"):
        value_range = (np.nanmin(values, axis=(1, 2)), np.nanmax(values, axis=(1, 2)))
    return choose_storage(cube, dtype, value_range=value_range)


# ---- rounding and clipping -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_come_back_as_they_were(name):
    info = np.iinfo(name)
    numbers = np.array([info.min, info.min + 1, 0, 1, 100, info.max - 1, info.max], dtype=name)
    if info.bits > 32:  # beyond 2^53 a float64 holds no odd integers
        numbers = np.clip(numbers, max(info.min, -(2**53)), 2**53)
    stored, clipped = encoded(numbers.astype(np.float64), Storage(np.dtype(name)))
    np.testing.assert_array_equal(stored.ravel(), numbers)
    assert stored.dtype == name
    assert clipped == 0


def test_rounding_is_to_the_nearest():
    stored, _ = encoded([-1.51, -1.49, -0.2, 0.49, 0.51, 2.5, 3.5], Storage(np.dtype(np.int16)))
    np.testing.assert_array_equal(stored.ravel(), [-2, -1, 0, 0, 1, 2, 4])


@pytest.mark.parametrize("name", INTEGERS)
def test_what_lies_outside_is_clipped_and_counted(name):
    info = np.iinfo(name)
    values = [float(info.min) * 4 - 9e9, 1.0, 2.0, float(info.max) * 4 + 9e9, 3.0, 1e30]
    stored, clipped = encoded(values, Storage(np.dtype(name)))
    assert clipped == 3
    np.testing.assert_array_equal(stored.ravel()[[1, 2, 4]], [1, 2, 3])
    assert int(stored.min()) == info.min
    assert float(stored.max()) == pytest.approx(float(info.max), rel=1e-6)
    assert stored.ravel()[3] == stored.ravel()[5] == stored.max()


def test_floats_beyond_float32_are_clipped_and_counted():
    """float64 values of 1e300 would become infinite, and so no-data when read again."""
    stored, clipped = encode(
        np.array([[[1e300, -1e300, 2.0]]]), np.ones((1, 1, 3), bool), Storage(np.dtype(np.float32))
    )
    assert clipped == 2
    assert np.isfinite(stored).all()
    assert stored[0, 0, 2] == 2.0


def test_scale_and_offset_of_each_band():
    storage = Storage(np.dtype(np.int16), scale=np.array([0.5, 2.0]), offset=np.array([10.0, -4.0]))
    values = np.array([[[10.0, 11.0]], [[-4.0, 6.0]]], dtype=np.float32)
    stored, _ = encode(values, np.ones(values.shape, bool), storage)
    np.testing.assert_array_equal(stored, [[[0, 2]], [[0, 5]]])
    as_float = Storage(np.dtype(np.float64), scale=np.array([0.5, 2.0]), offset=np.array([10.0, -4.0]))
    values = np.array([[[10.0, 11.0]], [[-4.0, 6.0]]])
    np.testing.assert_allclose(encode(values, np.ones(values.shape, bool), as_float)[0], [[[0, 2]], [[0, 5]]])


# ---- markers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INTEGERS)
def test_a_valid_value_is_never_stored_as_the_marker(name):
    info = np.iinfo(name)
    for marker in (info.min, 0, 50, info.max):
        if abs(marker) > 2**53:
            continue
        values = np.array([marker, marker, 20], dtype=np.float64)
        stored, clipped = encoded(values, Storage(np.dtype(name), nodata=marker), [True, False, True])
        assert clipped == 0
        assert stored.ravel()[1] == marker
        assert stored.ravel()[0] != marker
        assert abs(int(stored.ravel()[0]) - int(marker)) == 1
        assert stored.ravel()[2] == 20


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("marker", [-9999.0, 0.0, 1e20])
def test_a_valid_float_is_never_stored_as_the_marker(name, marker):
    storage = Storage(np.dtype(name), nodata=marker)
    stored, _ = encoded([marker, marker, 3.0], storage, [True, False, True])
    assert stored.ravel()[1] == np.dtype(name).type(marker)
    assert stored.ravel()[0] != np.dtype(name).type(marker)
    assert stored.ravel()[0] == pytest.approx(marker, rel=1e-6, abs=1e-30)


def test_markers_of_floats_that_are_no_numbers():
    for marker, check in (
        (None, np.isnan),
        (float("nan"), np.isnan),
        (-1.8e308, np.isneginf),
        (float("inf"), np.isinf),
    ):
        stored, _ = encoded([5.0, 6.0], Storage(np.dtype(np.float32), nodata=marker), [True, False])
        assert stored.ravel()[0] == 5.0
        assert check(stored.ravel()[1])


def test_invalid_pixels_need_a_marker():
    with pytest.raises(NoDataError, match="give one"):
        encoded([1.0, 2.0], Storage(np.dtype(np.int16)), [True, False])


def test_numbers_under_an_invalid_pixel_are_not_counted():
    stored, clipped = encoded([np.nan, 5.0], Storage(np.dtype(np.uint8), nodata=255), [False, True])
    np.testing.assert_array_equal(stored.ravel(), [255, 5])
    assert clipped == 0


# ---- choice of the storage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scaled_integers_are_off_by_half_a_step_at_most(name, dtype):
    rng = np.random.default_rng(0)
    values = np.stack([rng.uniform(-3, 5, (9, 9)), rng.uniform(1000, 1001, (9, 9)), np.full((9, 9), 7.0)]).astype(dtype)
    values[0, 2, 3] = np.nan
    cube = Cube.from_array(values)
    storage = held(cube, name)
    exact, valid = cube.read()
    stored, clipped = encode(exact.copy(), valid, storage)
    assert clipped == 0
    back, again = array_source(stored, storage).read(slice(None), slice(None), slice(None))
    np.testing.assert_array_equal(again, valid)
    rounding = np.finfo(min(dtype, back.dtype, key=lambda kind: np.dtype(kind).itemsize)).eps * 2
    step = np.broadcast_to(storage.scale, 3)
    for band in range(3):
        limit = 0.5 * step[band] * (1 + 1e-6) + rounding * np.nanmax(np.abs(values[band]))
        if np.iinfo(name).bits < 32:
            limit += step[band] * 0.005  # the division in float32
        assert np.nanmax(np.abs(back[band].astype(np.float64) - values[band])) <= limit


def test_scaled_integers_use_their_range():
    cube = float_cube([[[0.0, 1.0, 0.5]]])
    stored, _ = encode(*cube.read(), held(cube, "int16"))
    assert int(stored.max()) - int(stored.min()) > 65000


def test_a_band_without_data_can_be_scaled():
    values = np.stack([np.full((2, 2), np.nan), np.ones((2, 2))])
    cube = Cube.from_array(values)
    storage = choose_storage(cube, "int16", value_range=(np.array([np.nan, 1.0]), np.array([np.nan, 1.0])))
    stored, _ = encode(*cube.read(), storage)
    assert (stored[0] == storage.nodata).all()
    assert (stored[1] != storage.nodata).all()


@pytest.mark.parametrize(
    ("old", "new", "scaled"),
    [
        ("uint8", "int16", False),
        ("int16", "int32", False),
        ("uint16", "uint16", False),
        ("int16", "uint16", True),
        ("uint16", "int16", True),
        ("int32", "int16", True),
        ("float32", "int16", True),
        ("float64", "uint8", True),
        ("int16", "float32", False),
        ("float32", "float64", False),
    ],
)
def test_integers_keep_their_numbers_where_the_type_holds_them(old, new, scaled):
    cube = Cube.from_array(np.array([[[3, 7]]], dtype=old))
    assert needs_range(cube, new) == scaled
    storage = held(cube, new)
    assert storage.dtype == new
    assert storage.is_scaled == scaled


def test_same_keeps_everything():
    storage = Storage(np.dtype(np.int16), 0.5, 3.0, -7, "bil")
    cube = Cube(array_source(np.zeros((2, 2, 2), np.int16), storage), Cube.from_array(np.zeros((2, 2, 2))).bands)
    assert choose_storage(cube, "same", value_range=None) == cube.storage
    assert not needs_range(cube, "same")


def test_an_integer_cube_with_a_mask_gets_a_marker():
    source = array_source(np.array([[[3, 7]]], dtype=np.uint8))
    masked = type(source)(source.shape, source.storage, source.fetch, lambda b, r, c: np.array([[[True, False]]]))
    cube = Cube(masked, Cube.from_array(np.zeros((1, 1, 2))).bands)
    assert choose_storage(cube, "same", value_range=None).nodata == 255
    assert choose_storage(cube, "int16", value_range=None).nodata == -32768
    assert np.isnan(choose_storage(cube, "float32", value_range=None).nodata)
    assert not copies_stored(cube, choose_storage(cube, "same", value_range=None))


def test_a_float_type_keeps_a_marker_that_it_can_hold():
    for marker, kept in ((-9999, -9999.0), (16777217, None)):  # 2^24 + 1 is no float32
        source = array_source(np.zeros((1, 1, 1), np.int32), Storage(np.dtype(np.int32), nodata=marker))
        cube = Cube(source, Cube.from_array(np.zeros((1, 1, 1))).bands)
        found = choose_storage(cube, "float32", value_range=None).nodata
        assert found == kept if kept is not None else np.isnan(found)


def test_unknown_types_are_refused():
    for name in ("foo", "complex64", "float16", "int", ""):
        with pytest.raises(UsageError, match="dtype must be one of same"):
            choose_storage(float_cube([[[1.0]]]), name, value_range=None)
    with pytest.raises(UsageError, match="range"):
        choose_storage(float_cube([[[1.0]]]), "int16", value_range=None)
