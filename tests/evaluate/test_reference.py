"""Scores of whole cubes against their reference: the same in tiles, and refusals that print both sides."""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp.cube import Bands, Cube, Grid
from hypersharp.errors import NoDataError, UsageError
from hypersharp.evaluate import error_map, evaluate, reference
from hypersharp.metrics import PROTOCOLS, evaluate_arrays, get_protocol, sam

GRID = Grid((40, 50), (10.0, 0, 600_000, 0, -10.0, 5_800_000))


def pair(rows=40, cols=50, bands=5, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.uniform(100, 4000, (bands, rows, cols)).astype(np.float32)
    return true, (true + rng.normal(0, 60, true.shape)).astype(np.float32)


def cube(values, wavelength_nm=None, grid=None):
    return Cube.from_array(values, bands=Bands(len(values), wavelength_nm=wavelength_nm), grid=grid)


def values_of(results):
    return [np.nan if score.value is None else score.value for result in results for score in result.scores.values()]


@pytest.mark.parametrize("border", [0, 3])
def test_tiles_give_the_scores_of_the_whole(monkeypatch, border):
    monkeypatch.setattr(reference, "TILE", 37)
    true, guess = pair(90, 75)
    true[:, 5:9, 60:] = np.nan
    guess[:, 5:9, 60:] = np.nan
    valid = np.isfinite(true)
    protocols = list(PROTOCOLS.values())
    found = evaluate(cube(true), cube(guess), protocols, scale=4, border=border)
    whole = evaluate_arrays(true, guess, protocols, scale=4, valid=valid, border=border)
    np.testing.assert_allclose(values_of(found), values_of(whole), rtol=1e-9)


def test_a_map_has_the_mean_of_its_metric(monkeypatch):
    monkeypatch.setattr(reference, "TILE", 16)
    true, guess = pair()
    plane = np.full(true.shape[1:], np.nan)
    for row, col, part in error_map("sam_deg", cube(true), cube(guess), get_protocol("ours"), scale=4):
        assert np.isnan(plane[row : row + part.shape[0], col : col + part.shape[1]]).all()
        plane[row : row + part.shape[0], col : col + part.shape[1]] = part
    assert plane.mean() == pytest.approx(sam(true, guess), rel=1e-12)


def test_constant_bands_are_left_out_and_counted():
    true, guess = pair()
    true[2] = 7.0
    score = evaluate(cube(true), cube(guess), [get_protocol("ours").only(["mpsnr_db"])], scale=4)[0].scores["mpsnr_db"]
    others = [0, 1, 3, 4]
    peak = float(np.quantile(true, 0.999))
    error = np.square(true.astype(float) - guess).mean(axis=(1, 2))
    assert score.value == pytest.approx(np.mean(10 * np.log10(peak**2 / error[others])), rel=1e-6)
    assert (score.counts["bands"], score.counts["bands_excluded"]) == (4, 1)
    assert np.isnan(score.per_band[2])


def wrong_inputs():
    true, guess = pair()
    hole = guess.copy()
    hole[1, 7, 9] = np.nan
    nothing = np.full_like(true, np.nan)
    nm, other_nm = np.linspace(400, 900, 5), np.linspace(405, 905, 5)
    moved = Grid(GRID.shape, (10.0, 0, 600_005, 0, -10.0, 5_800_000))
    return {
        "rows": (cube(true), cube(guess[:, 1:]), "5 bands x 40 rows x 50 columns.*got 5 bands x 39 rows x 50 columns"),
        "bands": (cube(true), cube(guess[1:]), "5 bands x 40 rows.*got 4 bands x 40 rows"),
        "wavelengths": (cube(true, nm), cube(guess, other_nm), "band 1 is 400 nm in the reference and 405 nm in"),
        "grid": (cube(true, grid=GRID), cube(guess, grid=moved), "600000.*600005"),
        "NaN in the estimate": (cube(true), cube(hole), "estimate is invalid at 1 values where the reference is valid"),
        "all invalid": (cube(nothing), cube(guess), "valid"),
    }


@pytest.mark.parametrize("name", list(wrong_inputs()))
def test_what_does_not_fit_is_refused_with_both_sides(name):
    true, guess, message = wrong_inputs()[name]
    kind = NoDataError if name == "all invalid" else UsageError
    with pytest.raises(kind, match=message):
        evaluate(true, guess, [get_protocol("ours")], scale=4)


@pytest.mark.parametrize("border", [-1, 20, 100])
def test_a_border_that_leaves_nothing_is_refused(border):
    true, guess = pair()
    with pytest.raises(UsageError, match=f"border must leave a pixel of 40 x 50, got {border}"):
        evaluate(cube(true), cube(guess), [get_protocol("ours")], scale=4, border=border)


def test_what_lies_outside_of_the_mask_does_not_count():
    true, guess = pair()
    true[:, 3, 4] = np.nan
    results = []
    for value in (0.0, 1e6):
        guess[:, 3, 4] = value
        results.append(values_of(evaluate(cube(true), cube(guess), [get_protocol("ours")], scale=4)))
    np.testing.assert_array_equal(*results)
