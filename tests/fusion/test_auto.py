"""The choice of a method: right where the truth is known, and sensible where nothing can be tried."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from hypersharp.cube import Cube
from hypersharp.degrade.psf import Psf
from hypersharp.fusing import prepare_fusion
from hypersharp.fusion.auto import CANDIDATES, choose, trial_of, zones_of
from hypersharp.fusion.methods import list_fusion_methods

from .cubes import cubes_of
from .made import jasper, mpsnr_db, stated, synthetic

WITHIN_DB = 0.5
"""Of the best single method: what the issue asks."""


@pytest.fixture(scope="module")
def pair():
    return synthetic(scale=4, sigma=1.7, shape_lr=(24, 24), noise_db=35, msi_noise_db=40)


@pytest.fixture
def trial(pair):
    lr, msi = cubes_of(pair)
    return trial_of(lr, msi, pair.calibration, pair.calibration.psf)


def flat(values):
    """A scorer that knows the answer: so many decibels for each candidate in turn, the same for all bands."""
    given = iter(values)
    return lambda trial, run: np.full(trial.reference.shape[0], next(given), dtype=float)


class TestTrial:
    def test_the_coarser_pair(self, pair, trial):
        """24 LR pixels allow a ratio of 2 only; the blur is the same in LR pixels, the shift in parts of the scene."""
        assert trial.calibration.scale == 2
        assert trial.psf == Psf("sigma", (0.85, 0.85))
        lr, msi = cubes_of(pair)
        shifted = replace(pair.calibration, shift_yx=(1.0, -2.0))
        assert trial_of(lr, msi, shifted, pair.calibration.psf).calibration.shift_yx == (0.25, -0.5)
        assert trial.reference.shape == (20, 24, 24)
        assert trial.msi.shape == (4, 24, 24)
        np.testing.assert_array_equal(trial.reference.read()[0], pair.window.lr)

    def test_the_msi_is_as_noisy_as_it_was(self, pair, trial):
        clean = pair.calibration.blur((96, 96)).apply(np.tensordot(pair.calibration.srf, pair.hr, 1))
        noise = (trial.msi.read()[0] - clean).std(axis=(1, 2))
        np.testing.assert_allclose(noise, pair.calibration.noise_msi, rtol=0.12)

    def test_the_ratio_of_the_pair_where_there_is_room(self):
        pair = synthetic(scale=2, sigma=0.85, shape_lr=(30, 30))
        assert trial_of(*cubes_of(pair), pair.calibration, pair.calibration.psf).calibration.scale == 2
        pair = synthetic(scale=3, sigma=1.3, shape_lr=(40, 40))
        assert trial_of(*cubes_of(pair), pair.calibration, pair.calibration.psf).calibration.scale == 3

    def test_too_small_a_scene(self):
        pair = synthetic(scale=2, sigma=0.85, shape_lr=(9, 9))
        assert trial_of(*cubes_of(pair), pair.calibration, pair.calibration.psf) is None

    def test_a_large_scene_is_tried_in_its_middle_or_where_it_is_valid(self):
        pair = synthetic(scale=2, sigma=0.85, shape_lr=(300, 20), bands=6, rank=3, msi_bands=3)
        lr, msi = cubes_of(pair)
        trial = trial_of(lr, msi, pair.calibration, pair.calibration.psf)
        np.testing.assert_array_equal(trial.reference.read()[0], pair.window.lr[:, 22:278])
        values = pair.window.lr.copy()
        values[:, 40:] = np.nan
        trial = trial_of(replace(lr, values=Cube.from_array(values).values), msi, pair.calibration, trial.psf)
        assert trial.reference.read()[1][:, :40].all()

    def test_an_estimator_makes_an_estimate_of_the_reference(self, trial):
        lr = trial.reference.read()[0].astype(np.float64)
        low = trial.psf.operator((24, 24), 2).apply(lr).astype(np.float32)
        error = {}
        for name in ("exp", "glp"):
            made, valid = trial.estimator(name)(Cube.from_array(low)).read()
            assert valid.all()
            error[name] = ((made - lr) ** 2).mean()
        assert error["glp"] < 0.2 * error["exp"]


class TestZones:
    def test_by_support_and_wavelength(self, pair):
        seen = np.ones(20, dtype=bool)
        seen[[1, 15]] = False
        changed = stated(pair, supported=seen).calibration
        zones = zones_of(changed, np.linspace(400, 2300, 20))
        assert [zone.name for zone in zones] == ["VNIR seen", "VNIR extrapolated", "SWIR seen", "SWIR extrapolated"]
        assert sorted(np.concatenate([zone.bands for zone in zones])) == list(range(20))
        assert list(zones[1].bands) == [1]
        assert list(zones[3].bands) == [15]

    def test_without_wavelengths_or_support_all_bands_are_one(self, pair):
        (zone,) = zones_of(pair.calibration, None)
        assert zone.name == "all bands"
        assert len(zone.bands) == 20


class TestChoice:
    def test_the_best(self, pair, trial):
        zones = zones_of(pair.calibration, None)
        found = choose(trial, zones, flat([1, 2, 4, 3, 2, 1]))
        assert found.methods == ("glp",)
        assert found.gain_db["fuse"] == (3.0,)
        assert "ratio 2" in found.reason

    def test_a_method_of_many_passes_has_to_be_worth_them(self, trial, pair):
        zones = zones_of(pair.calibration, None)
        assert choose(trial, zones, flat([1, 1, 1, 4, 4.4, 1])).methods == ("fuse",)
        assert choose(trial, zones, flat([1, 1, 1, 4, 4.6, 1])).methods == ("hysure",)

    def test_a_zone_has_its_own_where_it_is_worth_it(self, trial, pair):
        zones = zones_of(pair.calibration, np.linspace(400, 2300, 20))
        table = {"glp": (5.0, 2.0), "fuse": (4.0, 2.2), "sfim": (1.0, 2.9)}

        def scorer(names):
            given = iter(names)

            def score(trial, run):
                gains = np.empty(20)
                for zone, gain in zip(zones, table[next(given)], strict=True):
                    gains[zone.bands] = gain
                return gains

            return score

        assert choose(trial, zones, scorer(["glp", "fuse"]), candidates=("glp", "fuse")).methods == ("glp", "glp")
        found = choose(trial, zones, scorer(table), candidates=tuple(table))
        assert found.methods == ("glp", "sfim")
        assert found.words == "glp for VNIR, sfim for SWIR"

    def test_the_enlarged_cube_where_nothing_beats_it(self, trial, pair):
        assert choose(trial, zones_of(pair.calibration, None), flat([-3, -2, -1, -2, -3, -1])).methods == ("exp",)

    def test_bands_that_tell_nothing_do_not_count(self, trial, pair):
        def score(trial, run):
            return np.where(np.arange(20) < 18, np.nan, 3.0)

        assert choose(trial, zones_of(pair.calibration, None), score).gain_db["glp"] == (3.0,)

    def test_nothing_to_go_by(self, trial, pair):
        zones = zones_of(pair.calibration, None)
        for unknown in (choose(None, zones, flat([])), choose(trial, zones, lambda trial, run: None)):
            assert unknown.methods == ("fuse",)
            assert "too small or too noisy" in unknown.reason
        assert choose(None, zones, flat([]), trusted=False).methods == ("glp",)

    def test_candidates_exist(self):
        assert set(CANDIDATES) < set(list_fusion_methods())


@dataclass(frozen=True)
class Case:
    """What goes wrong, and what is stated about it."""

    name: str
    options: dict
    degradation: str | None = None


CASES = (
    Case("clean", {}),
    Case("noise", {"noise_db": 20.0, "msi_noise_db": 30.0}),
    Case("misregistration", {"shift": (1.0, 1.0)}),
    Case("stated PSF 1.5 times too wide", {}, "gaussian:sigma=2.548"),
)


def regret_db(data_dir, case: Case, methods) -> tuple[float, str]:
    pair = jasper(data_dir, **case.options)
    lr, msi = cubes_of(pair)

    def score(name):
        ready = prepare_fusion(lr, msi, method=name, degradation=case.degradation)
        return mpsnr_db(pair.hr, ready.cube.read()[0]), ready.choice.words

    best = max(score(name)[0] for name in methods)
    found, words = score("auto")
    return best - found, words


@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.name)
def test_close_to_the_best_of_the_quick_ones(data_dir, case):
    loss, words = regret_db(data_dir, case, ("gsa", "glp", "fuse"))
    assert loss < WITHIN_DB, words


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_close_to_the_best_of_all(data_dir, case):
    loss, words = regret_db(data_dir, case, list_fusion_methods())
    assert loss < WITHIN_DB, words
