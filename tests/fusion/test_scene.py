"""Windows without holes, and a fused cube that does not depend on who reads what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hypersharp.cube import Bands, Cube
from hypersharp.errors import NoDataError
from hypersharp.fusion._enlarge import enlarge
from hypersharp.fusion.methods import get_fusion_method
from hypersharp.fusion.scene import Coverage, Fused, Joint, by_zone, sample_pair, window_of
from hypersharp.infer.tiles import plan

from .made import synthetic


@pytest.fixture(scope="module")
def pair():
    return synthetic(scale=2, sigma=0.85, shape_lr=(40, 36), noise_db=40, msi_noise_db=45)


def source(values):
    return Cube.from_array(values).values


def fused(pair, name="glp", *, tile=64, lr=None, msi=None, live=None):
    spec = get_fusion_method(name)
    halo = spec.halo(pair.calibration)
    lr = pair.window.lr if lr is None else lr
    return Fused(
        source(lr),
        source(pair.window.msi if msi is None else msi),
        spec.fit([pair.window], pair.calibration),
        pair.calibration,
        np.arange(20) if live is None else live,
        plan(lr.shape[1:], tile=tile, halo=halo + 1, scale=2),
        halo,
    )


def whole(made):
    return made.read(slice(None), slice(0, made.shape[1]), slice(0, made.shape[2]))


def holes(pair):
    """A gap in the MSI, one missing band of a pixel there, and LR pixels without data."""
    lr, msi = pair.window.lr.copy(), pair.window.msi.copy()
    msi[:, 30:42, 20:31] = np.nan
    msi[1, 60, 50] = np.nan
    lr[:, 5:7, 9] = np.nan
    lr[4, 20, 20] = np.nan
    return lr, msi


@pytest.mark.parametrize("name", ["glp", "fuse"])
@pytest.mark.parametrize("gaps", [False, True])
def test_tiled_is_whole(pair, name, gaps):
    lr, msi = holes(pair) if gaps else (None, None)
    once, known = whole(fused(pair, name, lr=lr, msi=msi))
    for tile in (13, 8):
        made, valid = whole(fused(pair, name, tile=tile, lr=lr, msi=msi))
        np.testing.assert_array_equal(valid, known)
        spread = np.ptp(pair.hr, axis=(1, 2))[:, None, None]
        assert np.nanmax(np.abs(made - once) / spread) < 1e-3


def test_a_window_of_some_bands_is_part_of_the_whole(pair):
    lr, msi = holes(pair)
    made = fused(pair, tile=13, lr=lr, msi=msi)
    once, known = whole(made)
    part, valid = made.read([7, 4], slice(11, 45), slice(33, 34))
    np.testing.assert_array_equal(part, once[[7, 4], 11:45, 33:34])
    np.testing.assert_array_equal(valid, known[[7, 4], 11:45, 33:34])


def test_it_is_the_method_where_nothing_is_missing(pair):
    direct = get_fusion_method("glp").fit([pair.window], pair.calibration)(pair.window)
    np.testing.assert_allclose(whole(fused(pair))[0], direct, rtol=1e-5)


class TestMissing:
    def test_no_hole_in_the_result_but_those_of_the_cube(self, pair):
        lr, msi = holes(pair)
        values, valid = whole(fused(pair, lr=lr, msi=msi))
        np.testing.assert_array_equal(np.isfinite(values), valid)
        np.testing.assert_array_equal(valid, np.isfinite(lr).repeat(2, axis=1).repeat(2, axis=2))

    def test_the_enlarged_cube_stands_where_the_msi_is_missing(self, pair):
        _, msi = holes(pair)
        values, _ = whole(fused(pair, msi=msi))
        plain = enlarge((40, 36), pair.calibration).apply(pair.window.lr)
        np.testing.assert_allclose(values[:, 30:42, 20:31], plain[:, 30:42, 20:31], rtol=1e-5)
        np.testing.assert_allclose(values[:, 60, 50], plain[:, 60, 50], rtol=1e-5)
        untouched = whole(fused(pair))[0]
        assert np.abs(values[:, 34, 60] - untouched[:, 34, 60]).max() < 1e-5  # far from the gap

    def test_no_msi_at_all(self, pair):
        values, valid = whole(fused(pair, msi=np.full_like(pair.window.msi, np.nan)))
        assert valid.all()
        np.testing.assert_allclose(values, enlarge((40, 36), pair.calibration).apply(pair.window.lr), rtol=1e-5)

    def test_what_is_flagged_is_within_an_lr_pixel_of_a_gap(self, pair):
        _, msi = holes(pair)
        flags = Coverage(source(msi), 2)
        used, valid = flags.read([0], slice(0, 80), slice(0, 72))
        assert valid.all()
        expected = np.ones((80, 72))
        expected[28:44, 18:33] = 0
        expected[58:63, 48:53] = 0
        np.testing.assert_array_equal(used[0], expected)
        part, _ = flags.read(slice(None), slice(27, 45), slice(17, 30))
        np.testing.assert_array_equal(part[0], expected[27:45, 17:30])

    @pytest.mark.parametrize(
        ("shift", "rows", "cols"),
        [((2, -2), (0, 80), (0, 72)), ((3.6, -1), (2, 80), (0, 72)), ((-5, 6.5), (0, 77), (4, 72))],
    )
    def test_where_a_shifted_cube_does_not_reach_is_flagged(self, shift, rows, cols):
        """20 x 18 LR pixels of 4 x 4: the first looks at 1.5 + shift, the last at 77.5 and 69.5 + shift."""
        msi = source(np.ones((2, 80, 72), np.float32))
        found, _ = Coverage(msi, 4, shift).read([0], slice(0, 80), slice(0, 72))
        expected = np.zeros((80, 72))
        expected[slice(*rows), slice(*cols)] = 1
        np.testing.assert_array_equal(found[0], expected)
        part, _ = Coverage(msi, 4, shift).read([0], slice(1, 79), slice(2, 71))
        np.testing.assert_array_equal(part[0], expected[1:79, 2:71])

    def test_the_filling_is_what_the_response_makes_of_the_enlarged_cube(self, pair):
        """A pair without noise, of smooth fields: the filled MSI is close to the one that was there."""
        lr, msi = pair.window.lr.copy(), pair.window.msi.copy()
        known = np.ones(msi.shape[1:], dtype=bool)
        known[30:42, 20:31] = False
        msi[:, ~known] = np.nan
        found = window_of(lr, np.isfinite(lr), msi, known, pair.calibration, reach=4)
        assert np.isfinite(found.msi).all()
        seen = np.tensordot(pair.calibration.srf, enlarge((40, 36), pair.calibration).apply(lr), 1)
        np.testing.assert_allclose(found.msi[:, ~known], seen[:, ~known], rtol=1e-4)
        assert not found.valid[15:21, 10:16].any()
        assert found.valid.sum() == 40 * 36 - 36


def test_bands_that_are_not_fused_are_enlarged(pair):
    live = np.setdiff1d(np.arange(20), [3, 11])
    small = replace(
        pair,
        window=replace(pair.window, lr=pair.window.lr[live]),
        calibration=replace(
            pair.calibration,
            srf=pair.calibration.srf[:, live],
            noise_lr=pair.calibration.noise_lr[live],
            supported=pair.calibration.supported[live],
        ),
    )
    made = fused(small, lr=pair.window.lr, live=live)
    values, _ = whole(made)
    plain = enlarge((40, 36), pair.calibration).apply(pair.window.lr)
    np.testing.assert_allclose(values[[3, 11]], plain[[3, 11]], rtol=1e-6)
    assert np.abs(values[live] - plain[live]).max() > 0.05


def test_each_zone_has_its_method(pair):
    one, other = (get_fusion_method(name).fit([pair.window], pair.calibration) for name in ("glp", "exp"))
    both = by_zone([(np.arange(5), one), (np.arange(5, 20), other)])(pair.window)
    np.testing.assert_array_equal(both[:5], one(pair.window)[:5])
    np.testing.assert_array_equal(both[5:], other(pair.window)[5:])


class TestSample:
    def test_a_pixel_counts_where_its_whole_block_is_valid(self, pair):
        lr, msi = holes(pair)
        _, valid = Joint(source(lr), source(msi), 2).read(slice(None), slice(0, 40), slice(0, 36))
        assert not valid[:, 15:21, 10:16].any()
        assert not valid[:, 30, 25].any()
        assert not valid[4, 20, 20]
        assert valid[5, 20, 20]

    def test_bands_that_say_nothing_are_left_out(self, pair):
        values = pair.window.lr.copy()
        values[2], values[9] = 7, np.nan
        lr = Cube.from_array(values, bands=Bands(20, good=np.arange(20) != 5))
        live, places = sample_pair(lr, Cube.from_array(pair.window.msi), 2)
        assert list(live) == sorted(set(range(20)) - {2, 5, 9})
        assert places == [(slice(0, 40), slice(0, 36))]
        all_bad = Cube.from_array(values, bands=Bands(20, good=np.zeros(20, dtype=bool)))
        assert len(sample_pair(all_bad, Cube.from_array(pair.window.msi), 2)[0]) == 18

    def test_clouds_over_everything(self, pair):
        nothing = Cube.from_array(np.full_like(pair.window.msi, np.nan))
        with pytest.raises(NoDataError, match="all no-data or clouds"):
            sample_pair(Cube.from_array(pair.window.lr), nothing, 2)
