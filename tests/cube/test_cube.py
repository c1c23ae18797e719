"""The noun: every check at its birth, and the lazy parts that can be taken of it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypersharp.cube import Bands, Cube, Grid, Source, Storage, StoredSource, array_source, trivial_mask, view
from hypersharp.errors import CubeError

ALL = slice(None)
STORED = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)


class Computed:
    """A source that computes: no stored numbers behind it."""

    shape = (3, 4, 5)
    dtype = np.dtype(np.float32)
    complete = True
    files = (Path("origin.img"),)

    def __init__(self):
        self.reads = 0

    def read(self, bands, rows, cols):
        self.reads += 1
        values = STORED[bands][:, rows, cols].astype(np.float32)
        return values, trivial_mask(values.shape)


def cube(**changes):
    fields = {
        "values": array_source(STORED, Storage(np.int16, [1.0, 2.0, 4.0], 0.5, 7)),
        "bands": Bands(3, [400.0, 500.0, 600.0], name=("a", "b", "c")),
        "grid": Grid((4, 5), (10, 1, 100, -1, -10, 200), "WKT"),
        "quantity": "radiance",
        "units": "W",
        "attrs": {"sensor": "none"},
        "history": ("made",),
    }
    return Cube(**(fields | changes))


def source_of(shape):
    """A source that claims a shape."""
    computed = Computed()
    computed.shape = shape
    return computed


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"values": STORED}, "must be a Source .for an array: Cube.from_array., got ndarray"),
        ({"values": source_of((3, 4))}, "three sizes"),
        ({"values": source_of((3, 0, 5))}, "three sizes"),
        ({"bands": Bands(4)}, "3 bands but 4 are described"),
        ({"grid": Grid((5, 4), (1, 0, 0, 0, -1, 0))}, r"4 x 5 pixels but the grid is \(5, 4\)"),
        ({"quantity": "temperature"}, "quantity must be one of radiance, reflectance, dn, got 'temperature'"),
        ({"storage": Storage(np.int16, [1.0, 2.0])}, "storage scale must be one value or 3, got 2"),
        ({"storage": Storage(np.int16, 1.0, [1.0, 2.0, 3.0, 4.0])}, "storage offset must be one value or 3, got 4"),
        ({"attrs": {"sensor": 3}}, "attributes are text by text, got 'sensor': 3"),
        ({"attrs": {3: "sensor"}}, "attributes are text by text"),
        ({"history": "one line"}, "sequence of lines"),
        ({"history": ("line", 3)}, "sequence of lines"),
        ({"history": ("two\nlines",)}, "one line of text"),
        ({"history": ("",)}, "one line of text"),
    ],
)
def test_what_is_refused_at_birth(changes, match):
    with pytest.raises(CubeError, match=match):
        cube(**changes)


def test_a_cube_cannot_be_changed():
    attrs = {"sensor": "none"}
    held = cube(attrs=attrs)
    attrs["sensor"] = "other"
    assert held.attrs == {"sensor": "none"}
    with pytest.raises(TypeError):
        held.attrs["sensor"] = "other"
    with pytest.raises(FrozenInstanceError):
        held.units = "K"
    assert cube(history=["listed"]).history == ("listed",)


def test_the_storage_is_that_of_the_source_unless_stated():
    assert cube().storage.nodata == 7
    assert Cube(Computed(), Bands(3)).storage.dtype == np.float32
    assert cube(storage=Storage(np.float64)).storage.dtype == np.float64


def test_reading():
    values, valid = cube().read([2, 0], slice(1, 2), slice(2, 4))
    # 2 * 20 + 5 + 2 = 47, times 4 plus 0.5; in the first band 7 is no data
    assert values[0].tolist() == [[188.5, 192.5]]
    assert valid.tolist() == [[[True, True]], [[False, True]]]
    assert np.isnan(values[1, 0, 0])
    assert values[1, 0, 1] == 8.5


def test_a_cube_of_one_pixel_and_of_one_band():
    assert Cube.from_array(np.ones((1, 1, 1))).shape == (1, 1, 1)
    assert Cube.from_array(np.ones((1, 4, 5))).read()[0].shape == (1, 4, 5)


def test_from_array_takes_what_belongs_to_it():
    grid = Grid((4, 5), (1, 0, 0, 0, -1, 0))
    made = Cube.from_array(
        STORED,
        bands=Bands(3, [1.0, 2.0, 3.0]),
        grid=grid,
        storage=Storage(np.int16, 2.0),
        quantity="reflectance",
        units="1",
    )
    assert (made.grid, made.quantity, made.units, made.storage.scale) == (grid, "reflectance", "1", 2.0)
    np.testing.assert_array_equal(made.read()[0], 2.0 * STORED)
    assert Cube.from_array(STORED).bands == Bands(3)


def test_history_grows_by_a_line_in_a_copy():
    held = cube()
    assert held.with_history("sharpened").history == ("made", "sharpened")
    assert held.history == ("made",)


# ---------------------------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize("values", [array_source(STORED, Storage(np.int16, [1.0, 2.0, 4.0])), Computed()])
@pytest.mark.parametrize("index", [[2, 0], [1], [0, 1, 2], (2, 2), np.array([1, 2])])
def test_selecting_bands(values, index):
    whole = cube(values=values)
    part = whole.select(index)
    np.testing.assert_array_equal(part.read()[0], whole.read()[0][list(index)])
    np.testing.assert_array_equal(part.read([0], slice(1, 3), ALL)[0], whole.read()[0][list(index)][:1, 1:3])
    assert part.bands == whole.bands.take(list(index))
    assert part.bands.name == tuple("abc"[i] for i in index)
    assert (part.grid, part.attrs, part.history) == (whole.grid, whole.attrs, whole.history)
    if np.size(whole.storage.scale) == 3:
        assert np.size(part.storage.scale) in (1, len(index))


@pytest.mark.parametrize("index", [[], [3], [-1], [0, 1, 2, 3]])
def test_bands_that_are_not_there(index):
    with pytest.raises(CubeError, match="numbers from 0 to 2"):
        cube().select(index)


@pytest.mark.parametrize("values", [array_source(STORED), Computed()])
def test_cropping(values):
    whole = cube(values=values, storage=None)
    part = whole.crop(slice(1, 4), slice(2, None))
    assert part.shape == (3, 3, 3)
    np.testing.assert_array_equal(part.read()[0], STORED[:, 1:4, 2:])
    np.testing.assert_array_equal(part.read([1], slice(1, 2), slice(0, 2))[0], STORED[[1], 2:3, 2:4])
    assert part.grid.xy(0, 0) == whole.grid.xy(1, 2)
    assert part.values.files == whole.values.files
    assert part.values.complete == whole.values.complete
    assert part.values.dtype == whole.values.dtype


@pytest.mark.parametrize(
    "window", [slice(2, 2), slice(3, 2), slice(-2, None), slice(0, 6), slice(5, 6), slice(0, -1), slice(0, 4, 2)]
)
@pytest.mark.parametrize("grid", [None, Grid((4, 4), (1, 0, 0, 0, -1, 0))])
def test_windows_that_are_not_there(window, grid):
    square = Cube.from_array(np.zeros((1, 4, 4)), grid=grid)
    with pytest.raises(CubeError, match="rows of a window must lie within 0 to 4"):
        square.crop(window, ALL)
    with pytest.raises(CubeError, match="columns of a window must lie within 0 to 4"):
        square.crop(ALL, window)


def test_taking_parts_reads_nothing():
    computed = Computed()
    part = cube(values=computed, storage=None).select([2, 0]).crop(slice(1, 2), ALL)
    assert computed.reads == 0
    part.read()
    assert computed.reads == 1


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_parts_of_parts_are_parts(data):
    mask = np.random.default_rng(0).random(STORED.shape) > 0.3
    values = StoredSource(
        STORED.shape,
        Storage(np.int16, [1.0, 2.0, 4.0], nodata=30),
        lambda b, r, c: STORED[b][:, r, c].copy(),
        lambda b, r, c: mask[b][:, r, c],
    )
    part = cube(values=values, storage=None)
    whole, valid = part.read()
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.lists(st.integers(0, part.shape[0] - 1), min_size=1, max_size=4))
        top, left = (data.draw(st.integers(0, n - 1)) for n in part.shape[1:])
        rows = slice(top, data.draw(st.integers(top + 1, part.shape[1])))
        cols = slice(left, data.draw(st.integers(left + 1, part.shape[2])))
        part = part.select(index).crop(rows, cols)
        whole, valid = whole[index][:, rows, cols], valid[index][:, rows, cols]
    assert part.shape == whole.shape
    np.testing.assert_array_equal(part.read()[0], whole)
    np.testing.assert_array_equal(part.read()[1], valid)


def test_a_view_of_some_bands_asks_for_no_more_than_these():
    asked = []

    class Asked(Computed):
        def read(self, bands, rows, cols):
            asked.append((bands, rows, cols))
            return super().read(bands, rows, cols)

    part = view(Asked(), bands=[0, 1, 2], rows=slice(1, 3), cols=slice(2, 5))
    assert isinstance(part, Source)
    part.read(ALL, slice(0, 1), slice(1, 3))
    part.read([2, 0], ALL, ALL)
    assert asked == [(slice(0, 3), slice(1, 2), slice(3, 5)), ([2, 0], slice(1, 3), slice(2, 5))]


def test_files_are_kept_through_parts():
    values = replace(array_source(STORED), files=(Path("a.img"), Path("a.hdr")))
    assert cube(values=values, storage=None).select([1]).crop(slice(0, 1), ALL).values.files == values.files


def test_attributes_of_the_old_pixels_do_not_outlive_them():
    made = cube(attrs={"x_start": "3", "description": "kept", "default_bands": "1,2,1"})
    assert dict(made.crop(slice(0, 1), slice(0, 1)).attrs) == {"description": "kept", "default_bands": "1,2,1"}


def test_default_bands_follow_a_choice_of_bands_or_go():
    made = cube(attrs={"default_bands": "3,1,2"})
    assert made.select([2, 0, 1]).attrs["default_bands"] == "1,2,3"
    assert "default_bands" not in made.select([0, 1]).attrs
