"""An MSI on the grid that nests in the cube's: cut where it nests, resampled to the right place where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp.cube import Cube, Grid
from hypersharp.errors import UsageError
from hypersharp.io.crs import to_wkt2
from hypersharp.io.warp import nest

from ..fusion.cubes import EPSG, PLACE, elsewhere

LOW = Grid((12, 15), (30.0, 0.0, PLACE[0], 0.0, -30.0, PLACE[1]), to_wkt2(EPSG))


def cube(grid: Grid | None, bands: int = 5, shape=None) -> Cube:
    rows, cols = shape or grid.shape
    values = np.random.default_rng(0).normal(size=(bands, rows, cols)).astype(np.float32)
    return Cube.from_array(values, grid=grid)


def ramp(grid: Grid) -> Cube:
    """Two bands: the row and the column of each pixel's centre, from the corner of the first."""
    rows, cols = np.mgrid[: grid.shape[0], : grid.shape[1]] + 0.5
    return Cube.from_array(np.stack([rows, cols]), grid=grid)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_nesting_pixels_are_only_cut_out(scale):
    msi = cube(LOW.zoom(scale).pad(5, 7, 3, 2), 3)
    found = nest(cube(LOW), msi)
    assert (found.scale, found.resampling, found.offset_yx, found.notes) == (scale, "none", (0.0, 0.0), ())
    assert found.msi.grid == LOW.zoom(scale)
    values, valid = found.msi.read()
    assert valid.all()
    np.testing.assert_array_equal(values, msi.read()[0][:, 5 : 5 + 12 * scale, 7 : 7 + 15 * scale])


def test_what_both_share_is_kept_in_whole_lr_pixels():
    """The MSI begins inside LR row 2 and column 3 and ends inside row 9; its missing pixels are invalid, not filled."""
    fine = LOW.zoom(3)
    msi = cube(fine.crop(slice(7, 29), slice(10, 45)), 2)
    found = nest(cube(LOW), msi)
    assert (found.rows, found.cols) == ((2, 10), (3, 15))
    assert found.lr.grid == LOW.crop(slice(2, 10), slice(3, 15))
    assert found.msi.grid == found.lr.grid.zoom(3)
    values, valid = found.msi.read()
    known = np.zeros((24, 36), dtype=bool)
    known[1:23, 1:] = True
    np.testing.assert_array_equal(valid, np.broadcast_to(known, valid.shape))
    np.testing.assert_array_equal(values[:, 1:23, 1:], msi.read()[0])
    assert np.isnan(values[:, ~known]).all()


def test_a_look_elsewhere_cuts_nothing_off():
    fine = LOW.zoom(2)
    msi = cube(fine, 1)
    found = nest(cube(LOW), msi).moved(3, -2)
    values, valid = found.msi.read()
    assert values.shape == (1, 24, 30)
    np.testing.assert_array_equal(values[:, :21, 2:], msi.read()[0][:, 3:, :28])
    assert valid[:, :21, 2:].all()
    assert not valid[:, 21:].any()
    assert not valid[:, :, :2].any()


@pytest.mark.parametrize("kernel", ["cubic", "bilinear"])
def test_an_offset_of_a_fraction_is_resampled_away(kernel):
    """On a ramp both kernels are exact, so each HR pixel has to show where its centre lies."""
    a, b, c, d, e, f = LOW.zoom(3).affine
    msi = ramp(Grid((60, 60), (a, b, c - 4.3 * a, d, e, f - 3.2 * e), LOW.crs))
    found = nest(cube(LOW), msi, resampling=kernel)
    assert found.resampling == kernel
    assert found.offset_yx == pytest.approx((-0.2, -0.3))
    values, valid = found.msi.read()
    rows, cols = np.mgrid[:36, :45] + 0.5
    assert valid.all()
    np.testing.assert_allclose(values[0], rows + 3.2, atol=0.005)
    np.testing.assert_allclose(values[1], cols + 4.3, atol=0.005)


@pytest.mark.parametrize("epsg", [32632, 3035])
def test_another_crs(epsg):
    """The value at each HR pixel's centre is what pyproj-like transformation of that one point says."""
    from rasterio import warp
    from rasterio.crs import CRS

    low = Grid((20, 20), LOW.affine, LOW.crs)
    msi = ramp(elsewhere(cube(low.zoom(3), 1), epsg, gsd=10.0).grid)
    found = nest(cube(low), msi)
    assert (found.scale, found.offset_yx, found.resampling) == (3, None, "cubic")
    values, valid = found.msi.read()
    assert valid.all()
    grid = found.msi.grid
    for row, col in ((0, 0), (59, 3), (31, 44)):
        (x,), (y,) = warp.transform(CRS.from_epsg(EPSG), CRS.from_epsg(epsg), *([v] for v in grid.xy(row, col)))
        a, _, c, _, e, f = msi.grid.affine
        assert values[:, row, col] == pytest.approx(((y - f) / e, (x - c) / a), abs=0.01)


def test_windows_agree():
    low = Grid((20, 20), LOW.affine, LOW.crs)
    found = nest(cube(low), ramp(elsewhere(cube(low.zoom(3), 1), 32632, gsd=10.0).grid))
    whole, _ = found.msi.read()
    for rows, cols in ((slice(0, 60), slice(20, 21)), (slice(17, 43), slice(5, 60))):
        part, _ = found.msi.read([1], rows, cols)
        np.testing.assert_allclose(part[0], whole[1, rows, cols], atol=0.005)


def test_no_data_of_the_msi_stays_no_data():
    a, b, c, d, e, f = LOW.zoom(3).affine
    msi = ramp(Grid((60, 60), (a, b, c - 4.5 * a, d, e, f - 3.2 * e), LOW.crs))
    values, _ = msi.read()
    values[:, 20:30, 20:30] = np.nan
    found = nest(cube(LOW), Cube.from_array(values, grid=msi.grid))
    out, valid = found.msi.read()
    assert not valid[:, 18:25, 17:24].any()
    assert valid[:, :14].all()
    assert (np.isfinite(out) == valid).all()


class TestEdgeOrCentre:
    """One of two files gives pixel centres for pixel corners: said, and resampled as the files say."""

    def pair(self, right_m: float, scale: int = 3):
        a, b, c, d, e, f = LOW.affine
        low = Grid(LOW.shape, (a, b, c + right_m, d, e, f - right_m), LOW.crs)
        return nest(cube(low), cube(LOW.zoom(scale), 2))

    def test_half_an_hr_pixel(self):
        (note,) = self.pair(5.0).notes
        assert "half an HR pixel" in note

    def test_half_an_lr_pixel(self):
        (note,) = self.pair(15.0, 2).notes
        assert "half an LR pixel" in note

    def test_first_pixel_centres_set_equal(self):
        """LR and HR centres at one point: (s - 1) / 2 HR pixels."""
        (note,) = self.pair(10.0).notes
        assert "half an LR less half an HR pixel" in note

    @pytest.mark.parametrize("right_m", [0.0, 2.0, 30.0])
    def test_other_offsets_are_no_such_sign(self, right_m):
        assert self.pair(right_m).notes == ()


class TestAligned:
    """Without georeferencing: only when said, and then the shapes give the scale."""

    def test_shapes_give_the_scale(self):
        found = nest(cube(None, shape=(12, 15)), cube(None, 3, shape=(36, 45)), assume_aligned=True)
        assert (found.scale, found.lr.grid, found.msi.grid) == (3, None, None)

    def test_what_the_grids_say_does_not_matter(self):
        found = nest(cube(LOW), cube(Grid((24, 30), (1.0, 0, 0, 0, -1.0, 0)), 3), assume_aligned=True)
        assert found.msi.grid == LOW.zoom(2)

    def test_refused_unless_said(self):
        with pytest.raises(UsageError, match=r"coordinate reference system for the MSI; .*--assume-aligned"):
            nest(cube(LOW), cube(None, 3, shape=(24, 30)))

    def test_shapes_that_do_not_fit(self):
        with pytest.raises(UsageError, match="12 x 15 and MSI 36 x 44"):
            nest(cube(None, shape=(12, 15)), cube(None, 3, shape=(36, 44)), assume_aligned=True)
        with pytest.raises(UsageError, match="scale 4 does not fit the shapes, which say 3"):
            nest(cube(None, shape=(12, 15)), cube(None, 3, shape=(36, 45)), assume_aligned=True, scale=4)


def scaled(ratio: float) -> Grid:
    a, b, c, d, e, f = LOW.affine
    return Grid((60, 60), (a / ratio, b, c, d, e / ratio, f), LOW.crs)


def test_a_ratio_that_is_nearly_whole_is_taken_as_whole():
    found = nest(cube(LOW), cube(scaled(3.02), 2))
    assert (found.scale, found.resampling) == (3, "cubic")


def test_a_stated_scale_has_the_msi_resampled():
    assert nest(cube(LOW), cube(scaled(2.8), 2), scale=3).scale == 3
    with pytest.raises(UsageError, match=r"scale 4 is more than 10% off the pixel sizes: .* 2.8 "):
        nest(cube(LOW), cube(scaled(2.8), 2), scale=4)


@pytest.mark.parametrize(
    ("msi", "bands", "words"),
    [
        (scaled(2.5), 2, r"whole ratio of at least 2 within 1%, got .* 2.5 \(rows\) and 2.5 \(columns\)"),
        (scaled(0.5), 2, "the MSI is coarser than the cube, got .* 0.5"),
        (scaled(1.0), 2, "finer pixels than the cube"),
        (scaled(0.25), 9, "look swapped: the first has 5 bands and the finer pixels, the second 9 bands"),
        (Grid((60, 60), (10.0, 0, PLACE[0] + 5000, 0, -10.0, PLACE[1]), LOW.crs), 2, "do not overlap: the cube covers"),
        (
            Grid((60, 60), (10.0, 0, 0, 0, -10.0, 0), 'LOCAL_CS["room",UNIT["metre",1]]'),
            2,
            "'room' and .* cannot be related .no transformation",
        ),
    ],
)
def test_what_cannot_be_nested_is_refused(msi, bands, words):
    with pytest.raises(UsageError, match=words):
        nest(cube(LOW), cube(msi, bands))


def test_unknown_kernel():
    with pytest.raises(UsageError, match="cubic, bilinear, nearest, got 'lanczos'"):
        nest(cube(LOW), cube(LOW.zoom(2)), resampling="lanczos")
