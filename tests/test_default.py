"""The network that comes with the package: any cube in, right numbers or a clear line out; and it does no harm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import hypersharp
from hypersharp import Cube, Tiling, Using, pipeline
from hypersharp.degrade.psf import parse_psf
from hypersharp.errors import NoDataError
from hypersharp.evaluate.reduced import Reduced
from hypersharp.infer.session import Ensemble, OnnxSession
from hypersharp.pipeline import prepare
from hypersharp.weights import shipped, shipped_scales

SCALES = shipped_scales()


def scene(bands=12, size=(32, 28), seed=0, noise=0.01):
    """Blocks of materials, a few of them brighter than the rest, with a little noise: `(C, H, W)` about 1."""
    draw = np.random.default_rng(seed)
    labels = np.kron(draw.integers(0, 6, (size[0] // 4 + 1, size[1] // 4 + 1)), np.ones((4, 4), int))
    spectra = ndimage.gaussian_filter1d(draw.uniform(0.2, 2, (6, bands)), 2, axis=1, mode="nearest")
    cube = spectra[labels[: size[0], : size[1]]].transpose(2, 0, 1)
    return (cube + draw.normal(0, noise, cube.shape)).astype(np.float32)


def test_the_weights_are_there_and_say_what_they_are():
    assert {2, 4} <= set(SCALES)
    assert sum(path.stat().st_size for scale in SCALES if (path := shipped(scale))) <= 10e6
    for scale in SCALES:
        path = shipped(scale)
        assert path is not None
        card = OnnxSession(path).card
        assert (card.scale, card.domain, card.described) == (scale, "subspace", True)
        assert card.halo is not None
        assert card.about["scores"]
        assert not {"rosis", "neon"} & {name.split("_")[0] for name in card.about["split"]["train"]}
    assert shipped(11) is None


@pytest.mark.parametrize("scale", SCALES)
def test_it_is_what_sharpening_does_with_no_option_given(scale):
    ready = prepare(Cube.from_array(scene()), scale=scale)
    assert ready.method.name.startswith("lean (weights ")
    assert "lean (weights" in ready.cube.history[-1]
    assert ready.cube.read()[0].shape == (12, 32 * scale, 28 * scale)


@pytest.mark.parametrize("consistency", ["off", "noise"])
def test_tiles_give_the_whole(consistency):
    values = scene(size=(60, 70))
    whole, tiled = (
        prepare(Cube.from_array(values), scale=2, consistency=consistency, tiling=Tiling(tile=tile)).cube.read()[0]
        for tile in (70, 13)
    )
    assert np.abs(whole - tiled).max() < 1e-5 * np.ptp(values)


@pytest.mark.parametrize("scale", SCALES)
def test_nothing_is_shifted(scale):
    """The result lies where the truth does: moved by a quarter of an HR pixel or more it fits worse.

    At x8 by half of one, a sixteenth of an LR pixel: a quarter is within the chance of one scene, for bicubic too.
    """
    step = max(0.25, scale / 16)
    draw = np.random.default_rng(4)
    maps = ndimage.gaussian_filter(draw.normal(size=(3, 26 * scale, 24 * scale)), (0, scale / 2, scale / 2))
    hr = (3 + np.tensordot(draw.uniform(0, 1, (9, 3)), maps / maps.std(), 1)).astype(np.float32)
    lr = parse_psf("mtf:0.3").operator(hr.shape[1:], scale).apply(hr)
    sharp = hypersharp.sharpen(Cube.from_array(lr), scale=scale, degradation="mtf:0.3").read()[0]
    inside = np.s_[:, 2 * scale : -2 * scale, 2 * scale : -2 * scale]

    def misfit(dy: float, dx: float) -> float:
        moved = ndimage.shift(sharp, (0, dy, dx), order=3, mode="nearest")
        return float(np.square(moved - hr)[inside].mean())

    around = [(dy, dx) for dy in (-step, 0, step) for dx in (-step, 0, step) if dy or dx]
    assert misfit(0, 0) < min(misfit(dy * reach, dx * reach) for dy, dx in around for reach in (1, 2, 4))


BRIGHT = scene()
BRIGHT[3] = np.random.default_rng(1).normal(0, 1e6, BRIGHT[3].shape)
HOLES = scene()
HOLES[:, 5:9, 5:9] = np.nan
APART = scene()
for band in range(12):
    APART[band, :, band * 2 : band * 2 + 5] = np.nan
DEAD = scene()
DEAD[4] = 7
ODD = {
    "one band": scene(1),
    "two bands": scene(2),
    "smaller than a tile": scene(size=(7, 5)),
    "one pixel": scene(size=(1, 1)),
    "one row": scene(size=(1, 30)),
    "constant": np.full((5, 20, 20), 3, np.float32),
    "a noisy band a million times brighter": BRIGHT,
    "tiny": scene() * 1e-6,
    "large": scene() * 1e6,
    "negative": scene() - 1,
    "integers": (scene() * 1000).astype(np.int16),
    "double": scene().astype(np.float64),
    "holes": HOLES,
    "holes of each band for itself": APART,
    "a dead band": DEAD,
}


@pytest.mark.parametrize("name", ODD)
def test_odd_cubes_come_out_near_bicubic_and_never_worse_than_they_went_in(name):
    """Block means stay near what was given: nothing invented, nothing lost, no NaN where there was a number."""
    values = ODD[name]
    sharp, valid = hypersharp.sharpen(Cube.from_array(values), scale=2).read()
    known = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    np.testing.assert_array_equal(valid, known.repeat(2, axis=1).repeat(2, axis=2))
    assert np.isfinite(sharp[valid]).all()
    bands, rows, cols = values.shape
    means = sharp.reshape(bands, rows, 2, cols, 2).mean(axis=(2, 4))
    for band in range(bands):
        here = known[band]
        reach = np.ptp(values[band][here]) + 1e-6 * np.abs(values[band][here]).max()
        assert np.abs(means[band][here] - values[band][here]).mean() <= 0.35 * reach


def test_two_thousand_bands():
    values = scene(2000, size=(12, 10))
    assert hypersharp.sharpen(Cube.from_array(values), scale=4).read()[0].shape == (2000, 48, 40)


def test_units_do_not_matter():
    one, other = (hypersharp.sharpen(Cube.from_array(scene() * unit), scale=4).read()[0] for unit in (1, 1024.0))
    np.testing.assert_allclose(other / 1024, one, atol=1e-4)


def test_a_scene_without_any_valid_pixel_is_refused():
    with pytest.raises(NoDataError):
        hypersharp.sharpen(Cube.from_array(np.full((3, 9, 9), np.nan, np.float32)), scale=2)


def test_where_it_cannot_be_used_bicubic_is_and_the_history_says_so():
    ready = prepare(Cube.from_array(scene(size=(1, 1))), scale=2)
    assert ready.method.name == "bicubic"
    assert "default network not used" in ready.note
    assert any(ready.note in line for line in ready.cube.history)
    with pytest.raises(NoDataError, match="bicubic"):
        prepare(Cube.from_array(scene(size=(1, 1))), scale=2, using=Using(force=True))


@pytest.mark.parametrize(("low", "high", "used"), [(-0.9, -0.1, False), (-0.9, 0.1, True), (0.1, 0.9, True)])
def test_it_is_dropped_only_where_the_whole_interval_says_harm(monkeypatch, low, high, used):
    found = Reduced((low + high) / 2, low, high, (12, 16, 14), 12, 0, 9, 8, np.zeros(12))
    monkeypatch.setattr(pipeline, "harm_test", lambda *args, **options: found)
    ready = prepare(Cube.from_array(scene()), scale=2)
    assert ready.method.name.startswith("lean") == used
    assert bool(ready.note) != used
    assert prepare(Cube.from_array(scene()), scale=2, using=Using(force=True)).method.name.startswith("lean")


def test_the_test_for_harm_runs_on_a_scene_that_is_large_enough(monkeypatch):
    asked = []
    inner = pipeline.harm_test
    monkeypatch.setattr(pipeline, "harm_test", lambda *args, **options: asked.append(inner(*args, **options)))
    with pytest.raises(AttributeError):  # it gave None here, which no caller takes
        prepare(Cube.from_array(scene(size=(60, 64))), scale=2)
    (found,) = asked
    assert isinstance(found, Reduced)
    assert found.input_shape == (12, 30, 32)


def test_the_mean_over_eight_turns():
    """Turning the scene turns the result: what a single run of a network does not promise."""
    path = shipped(2)
    assert path is not None
    session = Ensemble(OnnxSession(path))
    draw = np.random.default_rng(0)
    lr = draw.normal(size=(1, session.card.channels, 9, 9)).astype(np.float32)
    lr[:, session.card.bands :] = 0.3
    np.testing.assert_allclose(
        session(np.ascontiguousarray(np.rot90(lr, 1, (2, 3)))), np.rot90(session(lr), 1, (2, 3)), atol=1e-5
    )
    single = prepare(Cube.from_array(scene()), scale=2).cube.read()[0]
    eight = prepare(Cube.from_array(scene()), scale=2, using=Using(ensemble=True)).cube.read()[0]
    assert 0 < np.abs(single - eight).max() < np.ptp(scene())
