"""The published order of the methods on a real scene: AVIRIS Jasper Ridge, 96 x 96 x 198, scale 4, 6 MSI bands.

The figures of `table.py` were measured by another implementation of the same methods on the same crop.
"""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp.degrade.psf import Psf
from hypersharp.fusion.methods import get_fusion_method, list_fusion_methods

from .made import JASPER_DROPPED, jasper, mpsnr_db, stated
from .table import ROWS

WITHIN_DB = 1.5
QUICK = [name for name in list_fusion_methods() if not get_fusion_method(name).iterative]
MEASURED = [name for name in QUICK if ROWS[name].jasper_db is not None]


def score(pair, name) -> float:
    fuse = get_fusion_method(name).fit([pair.window], pair.calibration)
    return mpsnr_db(pair.hr, fuse(pair.window))


@pytest.fixture(scope="module")
def clean(data_dir):
    return jasper(data_dir)


@pytest.fixture(scope="module")
def found(clean):
    return {name: score(clean, name) for name in QUICK}


def test_scene_is_the_published_one(clean):
    assert clean.hr.shape == (198, 96, 96)
    assert len(JASPER_DROPPED) == 26
    assert (np.ptp(clean.hr, axis=(1, 2)) > 0).all()


@pytest.mark.parametrize("name", MEASURED)
def test_as_good_as_published(found, name):
    assert found[name] == pytest.approx(ROWS[name].jasper_db, abs=WITHIN_DB)


def test_order(found):
    assert found["exp"] + 10 < min(found["sfim"], found["gsa"])
    assert abs(found["sfim"] - found["gsa"]) < 1
    assert max(found["sfim"], found["gsa"]) + 1 < found["glp"]
    assert found["glp"] + 0.5 < found["fuse"]
    assert found["glp"] + 1 < found["lmmse"]


@pytest.mark.parametrize("name", MEASURED)
def test_with_much_noise(data_dir, name):
    pair = jasper(data_dir, noise_db=20.0, msi_noise_db=30.0)
    assert score(pair, name) == pytest.approx(ROWS[name].noisy_db, abs=WITHIN_DB)


def test_with_much_noise_the_linear_estimate_is_ahead_of_what_was_measured_in_closed_form(data_dir):
    pair = jasper(data_dir, noise_db=20.0, msi_noise_db=30.0)
    assert score(pair, "lmmse") > ROWS["fuse"].noisy_db + 0.5


@pytest.mark.parametrize(("name", "published_db"), [("gsa", 30.6), ("sfim", 30.6), ("glp", 33.8), ("fuse", 34.5)])
def test_with_four_msi_bands(data_dir, name, published_db):
    assert score(jasper(data_dir, msi_bands=4), name) == pytest.approx(published_db, abs=WITHIN_DB)


@pytest.mark.parametrize(("name", "published_db"), [("gsa", 32.7), ("sfim", 31.4), ("glp", 30.7), ("fuse", 38.8)])
def test_with_a_psf_one_and_a_half_times_too_wide(clean, name, published_db):
    wide = 1.5 * 4 / 2.355
    assert score(stated(clean, psf=Psf("sigma", (wide, wide))), name) == pytest.approx(published_db, abs=WITHIN_DB)


@pytest.mark.parametrize("name", QUICK)
def test_a_known_shift_costs_nothing(data_dir, found, name):
    assert score(jasper(data_dir, shift=(0.6, -1.4)), name) == pytest.approx(found[name], abs=0.3)
