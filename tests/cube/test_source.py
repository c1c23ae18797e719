"""Values: how stored numbers become physical ones, and that no-data never leaves as a number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypersharp.cube import Source, Storage, StoredSource, all_valid, array_source, same_nodata, trivial_mask
from hypersharp.errors import CubeError

ALL = slice(None)


def read(values, **storage):
    array = np.asarray(values)
    return array_source(array, Storage(array.dtype, **storage)).read(ALL, ALL, ALL)


# ------------------------------------------------------------------------------------------------------ Storage


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"dtype": np.complex64}, "integers or floats"),
        ({"dtype": object}, "integers or floats"),
        ({"dtype": bool}, "integers or floats"),
        ({"interleave": "bip "}, "interleave must be"),
        ({"scale": 0}, "scale must be finite and not 0"),
        ({"scale": np.nan}, "scale must be finite"),
        ({"scale": [1.0, 0.0]}, "scale must be finite and not 0 as float32, got 0"),
        ({"scale": 1e300}, "scale must be finite and not 0 as float32"),  # infinite where it is applied
        ({"scale": 1e-300}, "scale must be finite and not 0 as float32"),
        ({"scale": []}, "one value or one a band"),
        ({"scale": [[1.0], [2.0]]}, "one value or one a band"),
        ({"offset": np.inf}, "offset must be finite"),
        ({"offset": [1.0, np.nan]}, "offset must be finite"),
        ({"offset": 1e300}, "offset must be finite"),
    ],
)
def test_storage_that_is_refused(fields, match):
    with pytest.raises(CubeError, match=match) as caught:
        Storage(**({"dtype": np.int16} | fields))
    assert "\n" not in str(caught.value)


def test_wide_types_take_wide_scales():
    assert Storage(np.int32, 1e300, 1e-300).value_dtype == np.float64


def test_scales_that_are_all_equal_are_one_number():
    storage = Storage(np.int16, np.full(5, 0.5), np.zeros(1))
    assert storage.scale == 0.5
    assert storage.offset == 0.0
    assert isinstance(storage.scale, float)
    assert storage.is_scaled
    assert not Storage(np.int16).is_scaled
    assert Storage(np.int16, offset=1).is_scaled


def test_storage_keeps_its_own_copy():
    scale = np.array([1.0, 2.0])
    storage = Storage(np.int16, scale)
    scale[0] = 7  # still writeable, and without effect
    assert storage.scale.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        storage.scale[0] = 3


def test_the_type_is_native():
    assert Storage(np.dtype(">i2")).dtype == np.dtype("=i2")
    assert Storage(np.dtype(">i2")).dtype.isnative


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("int8", "float32"),
        ("uint16", "float32"),
        ("float32", "float32"),
        ("int32", "float64"),
        ("uint32", "float64"),
        ("int64", "float64"),
        ("float64", "float64"),
    ],
)
def test_physical_values_have_a_float_type_that_holds_every_stored_number(dtype, expected):
    assert Storage(np.dtype(dtype)).value_dtype == expected
    if np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize < 8:
        top = np.iinfo(dtype).max
        assert int(np.dtype(expected).type(top)) == top


def test_the_storage_of_some_bands():
    storage = Storage(np.int16, [1.0, 2.0, 3.0], 0.5, -9, "bil").take([2, 0])
    assert storage.scale.tolist() == [3, 1]
    assert (storage.offset, storage.nodata, storage.interleave) == (0.5, -9, "bil")
    assert Storage(np.int16, [1.0, 2.0, 3.0]).take(slice(1, 2)).scale == 2.0


def test_storages_that_store_the_same_numbers():
    one = Storage(np.int16, [1.0, 2.0], 0.5, -9)
    assert one.same_numbers(Storage(np.int16, [1.0, 2.0], 0.5, -9.0, "bip"))
    for other in (
        Storage(np.int32, [1.0, 2.0], 0.5, -9),
        Storage(np.int16, [1.0, 3.0], 0.5, -9),
        Storage(np.int16, [1.0, 2.0], 0.25, -9),
        Storage(np.int16, [1.0, 2.0], 0.5, -8),
        Storage(np.int16, [1.0, 2.0], 0.5),
    ):
        assert not one.same_numbers(other)


def test_markers_are_the_same_when_both_are_nan():
    assert same_nodata(np.nan, np.float32(np.nan))
    assert same_nodata(None, None)
    assert same_nodata(0, 0.0)
    assert not same_nodata(None, 0)
    assert not same_nodata(0, None)
    assert not same_nodata(np.nan, 0)
    assert not same_nodata(0, np.nan)


# ------------------------------------------------------------------------------------------------------ reading


def test_physical_is_stored_times_scale_plus_offset_for_each_band():
    values, valid = read(np.array([[[1, 2]], [[3, 4]]], np.int16), scale=[0.5, 10], offset=[1, -2])
    assert values.tolist() == [[[1.5, 2.0]], [[28.0, 38.0]]]
    assert values.dtype == np.float32
    assert all_valid(valid)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", 3),
        ("int16", -9999),
        ("int64", -(2**63)),
        ("uint64", 2**64 - 1),
        ("float32", -9999.9),  # not a float32: its rounded form marks
        ("float64", 1e30),
        ("float32", -1.7976931348623157e308),  # usual in float32 files: infinite there
    ],
)
def test_the_marker_never_leaves_as_a_number(dtype, nodata):
    stored = np.ones((1, 2, 2), dtype)
    with np.errstate(over="ignore"):
        stored[0, 1, 0] = np.array(nodata).astype(dtype)
    values, valid = read(stored, nodata=nodata)
    assert valid.tolist() == [[[True, True], [False, True]]]
    assert np.isnan(values[0, 1, 0])
    assert values[valid].tolist() == [1, 1, 1]


@pytest.mark.parametrize("nodata", [-9999, 256, 2.5, np.nan, np.inf, None])
def test_a_marker_that_the_type_cannot_hold_marks_nothing(nodata):
    values, valid = read(np.array([[[0, 255, 2]]], np.uint8), nodata=nodata)
    assert all_valid(valid)
    assert values.tolist() == [[[0, 255, 2]]]


def test_nan_and_infinity_are_invalid_with_and_without_a_marker():
    stored = np.array([[[1, np.nan, np.inf, -np.inf, 5]]], np.float32)
    assert read(stored)[1].tolist() == [[[True, False, False, False, True]]]
    values, valid = read(stored, nodata=5, scale=2)
    assert valid.tolist() == [[[True, False, False, False, False]]]
    assert values[0, 0, 0] == 2
    assert np.isnan(values[~valid]).all()


def test_the_marker_is_looked_for_among_stored_numbers():
    values, valid = read(np.array([[[10, 20]]], np.int16), nodata=20, scale=2)
    assert valid.tolist() == [[[True, False]]]
    assert values[0, 0, 0] == 20  # a physical value that equals the marker is none


@pytest.mark.parametrize("bands_of_mask", [1, 2])
@pytest.mark.parametrize("nodata", [None, 4])
def test_a_mask_of_the_file_counts_besides(bands_of_mask, nodata):
    stored = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    mask = np.ones((2, 2, 2), bool)
    mask[:, 0, 1] = False
    source = StoredSource(
        (2, 2, 2),
        Storage(np.int16, nodata=nodata),
        lambda b, r, c: stored[b][:, r, c].copy(),
        lambda b, r, c: mask[:bands_of_mask][:, r, c],
    )
    values, valid = source.read(ALL, ALL, ALL)
    expected = mask & (stored != 4) if nodata else mask
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(np.isnan(values), ~expected)
    assert not source.complete


def test_complete_means_that_nothing_can_be_invalid():
    assert array_source(np.zeros((1, 1, 1), np.int16)).complete
    assert not array_source(np.zeros((1, 1, 1), np.float32)).complete
    assert not array_source(np.zeros((1, 1, 1), np.int16), Storage(np.int16, nodata=0)).complete


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_window_is_the_slice_of_the_whole(data):
    shape = tuple(data.draw(st.integers(1, 6)) for _ in range(3))
    stored = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    source = array_source(stored, Storage(np.int16, np.arange(shape[0]) + 1.0, nodata=3))
    bands = data.draw(st.one_of(st.just(ALL), st.lists(st.integers(0, shape[0] - 1), min_size=1), st.slices(shape[0])))
    start = [data.draw(st.integers(0, n)) for n in shape[1:]]
    rows, cols = (slice(s, data.draw(st.integers(s, n))) for s, n in zip(start, shape[1:], strict=True))
    whole, all_of_it = source.read(ALL, ALL, ALL)
    part, valid = source.read(bands, rows, cols)
    np.testing.assert_array_equal(part, whole[bands][:, rows, cols])
    np.testing.assert_array_equal(valid, all_of_it[bands][:, rows, cols])


# ------------------------------------------------------------------------------------------------------- arrays


def test_the_caller_may_write_into_what_was_read():
    stored = np.ones((1, 2, 2), np.float32)
    source = array_source(stored)
    assert isinstance(source, Source)
    source.read(ALL, ALL, ALL)[0][:] = 9
    assert stored.max() == 1


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((2, 2)), r"3-D array \(bands, rows, columns\), got shape \(2, 2\)"),
        (np.zeros((2, 2, 2), complex), "integers or floats, got complex128"),
        (np.zeros((2, 2, 2), object), "integers or floats, got object"),
        (np.zeros((2, 0, 2)), "at least 1"),
    ],
)
def test_arrays_that_are_refused(array, match):
    with pytest.raises(CubeError, match=match):
        array_source(array)
    with pytest.raises(CubeError, match=match):
        array_source(array, Storage(np.float32))


def test_flags_and_half_floats_are_taken_as_the_nearest_type_that_files_know():
    assert array_source(np.ones((1, 1, 1), bool)).storage.dtype == np.uint8
    assert array_source(np.ones((1, 1, 1), np.float16)).storage.dtype == np.float32
    assert array_source(np.ones((1, 1, 1), ">i4")).read(ALL, ALL, ALL)[0].tolist() == [[[1]]]


def test_a_trivial_mask_takes_no_memory_and_is_known_to_be_valid():
    mask = trivial_mask((1000, 1000, 1000))
    assert mask.shape == (1000, 1000, 1000)
    assert mask.strides == (0, 0, 0)
    assert all_valid(mask)
    assert not all_valid(np.zeros((2, 2), bool))
    assert not all_valid(np.broadcast_to(np.False_, (3, 3)))
    assert all_valid(np.zeros((0, 2), bool))
