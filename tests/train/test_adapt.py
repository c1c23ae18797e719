"""Fine-tuning on the scene itself: kept where a part that nothing was learnt on improves, and only there."""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

import hypersharp
from hypersharp import models
from hypersharp.cube import Cube
from hypersharp.degrade.psf import parse_psf
from hypersharp.degrade.wald import degrade
from hypersharp.errors import TrainingError, UsageError
from hypersharp.infer.torch_session import load_model, read_card
from hypersharp.models import lean
from hypersharp.models._card import Card, config_to_dict
from hypersharp.train import adapt as adapting
from hypersharp.train.adapt import Effort, adapt
from hypersharp.train.checkpoint import save_checkpoint
from hypersharp.train.start import start_from_bicubic

PSF = parse_psf("mtf:0.3")


def checkpoint(path, *, scale=2, domain="subspace"):
    """A network that knows nothing: what it gives is no change, so it stands where consistency alone does."""
    config = lean.Config(features=12, blocks=1, describing=5, skip=False)
    torch.manual_seed(0)
    module = models.build("lean", bands=3, scale=scale, config=config)
    start_from_bicubic(module, channels=3, scale=scale, described=5)
    card = Card("lean", scale, 3, 4, domain=domain, gives="change", described=True, config=config_to_dict(config))
    save_checkpoint(path, module.state_dict(), card)
    return path


def stripes(rows=128, cols=64, seed=0):
    """`(8, rows, cols)` int16: straight borders of the same few directions everywhere, so that they can be learnt."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:cols]
    planes = [np.sign(np.sin((a * y + b * x) / 2.2 + 0.3)) for a, b in ((1, 0.3), (0.2, 1), (0.8, -0.7))]
    spectra = draw.uniform(-300, 300, (3, 8))
    cube = 2000 + np.tensordot(spectra.T, np.stack(planes), axes=1) + draw.normal(0, 3, (8, rows, cols))
    return cube.round().astype(np.int16)


@pytest.fixture
def weak(tmp_path):
    """A checkpoint that everything is still to be learnt by."""
    return checkpoint(tmp_path / "weak.safetensors")


def of(path, values, *, rate=1e-2, **effort):
    """At a rate for weights that know nothing, where not said otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapting, "_RATE", rate)
        return adapt(path, Cube.from_array(values), scale=2, psf=PSF, effort=Effort(**effort))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One scene learnt from, and the checkpoint that it began with."""
    torch.set_num_threads(1)
    path = checkpoint(tmp_path_factory.mktemp("weak") / "weak.safetensors")
    return path, of(path, stripes(), steps=60)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one | other)


def test_a_scene_is_learnt_from_and_the_rest_of_it_improves(done):
    path, found = done
    assert found.kept
    assert found.gain.gain_db > found.gain.low_db > 0
    assert not same(found.weights, load_model(path).state_dict())
    # It started at what no network gives, so the gain over both is the same; the test's fits are not to the last bit.
    assert found.plain.gain_db == pytest.approx(found.gain.gain_db, abs=0.01)
    assert not found.harmful
    said = found.card.about["adapted"]
    assert said["from"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (said["degradation"], said["scene"], said["steps"]) == ("mtf:0.3", "a cube in memory", 60)
    assert said["gain_db"] == pytest.approx(found.gain.gain_db, abs=1e-4)
    assert f"{found.gain.gain_db:+.2f} dB" in found.note


def test_a_fixed_number_of_steps_gives_the_same_weights(done):
    path, found = done
    again = of(path, stripes(), steps=60)
    assert same(again.weights, found.weights)
    assert again.gain.gain_db == found.gain.gain_db


def test_what_is_kept_can_be_saved_and_sharpens_the_whole_scene_better(done, tmp_path):
    """The truth is known here, and the whole scene is sharpened: what the test one scale down promises holds."""
    _, found = done
    draw = np.random.default_rng(1)  # blobs, for borders are alike at every scale, which stripes are not
    planes = np.sign(ndimage.gaussian_filter(draw.normal(size=(3, 256, 128)), (0, 6, 6)))
    truth = (2000 + np.tensordot(draw.uniform(-300, 300, (8, 3)), planes, axes=1)).astype(np.float32)
    lr = degrade(Cube.from_array(truth), scale=2, psf=PSF)
    again = of(done[0], lr.read()[0], steps=60)
    assert again.kept
    errors = {}
    for name, weights, card in (
        ("before", load_model(done[0]).state_dict(), found.card),
        ("after", again.weights, again.card),
    ):
        path = tmp_path / f"{name}.safetensors"
        save_checkpoint(path, weights, card)
        sharp = hypersharp.sharpen(lr, scale=2, model=path, degradation="mtf:0.3")
        errors[name] = np.square(sharp.read()[0] - truth).mean()
    assert read_card(tmp_path / "after.safetensors").about["adapted"]["steps"] == 60
    assert 10 * np.log10(errors["before"] / errors["after"]) > 0


def test_steps_that_lead_nowhere_are_not_kept(weak):
    found = of(weak, stripes(), rate=0.0, steps=6)
    assert (found.kept, found.gain.gain_db) == (False, pytest.approx(0, abs=1e-6))
    assert same(found.weights, load_model(weak).state_dict())
    assert "adapted" not in found.card.about
    assert "no sure gain" in found.note


def test_what_is_learnt_of_wrong_targets_is_not_kept(weak, monkeypatch):
    """The opposite of what is missing makes a blur, which the part that is held back does not like."""
    true = adapting._instance

    def destroyed(*what):
        one = true(*what)
        return replace(one, pair=replace(one.pair, hr=-one.pair.hr))

    monkeypatch.setattr(adapting, "_instance", destroyed)
    found = of(weak, stripes(), steps=30)
    assert not found.kept
    assert same(found.weights, load_model(weak).state_dict())
    assert found.steps < 30, "three looks in a row that are worse end it"


def test_time_is_up_after_a_handful_of_steps(weak, monkeypatch):
    """The clock is ours here: it jumps by an hour whenever it is asked."""
    hours = itertools.count()
    monkeypatch.setattr(adapting.time, "monotonic", lambda: 3600.0 * next(hours))
    assert of(weak, stripes(), seconds=60).steps == adapting._LEAST_STEPS


def test_invalid_pixels_and_bands_are_left_out(weak):
    values = stripes().astype(np.float32)
    values[2] = np.nan
    values[5] = 7.0
    values[:, 10:14, 20:30] = np.nan
    values[:, 120:, :3] = np.nan
    found = of(weak, values, steps=4)
    assert found.gain is not None
    assert np.isfinite(found.gain.gain_db)
    assert found.gain.bands_left_out == 2


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (stripes(62, 60), "62 x 60 pixels are too few"),
        (stripes(128, 30), "scale 2 takes 64 x 32"),
        (np.full((4, 96, 64), 3.0), "no eigenimages"),
        (np.where(np.add.outer(np.arange(96), np.arange(64)) % 9 < 1, np.nan, stripes(96, 64)), "free of invalid"),
        (np.full((4, 96, 64), np.nan), "no-data"),
    ],
)
def test_scenes_that_say_nothing_change_nothing(weak, values, said):
    found = of(weak, values, steps=4)
    assert (found.kept, found.steps, found.gain) == (False, 0, None)
    assert said in found.note
    assert same(found.weights, load_model(weak).state_dict())


def test_a_large_scene_gives_its_middle(monkeypatch):
    monkeypatch.setattr(adapting, "_MOST_VALUES", 8 * 100 * 100)
    whole = Cube.from_array(np.arange(300 * 200).reshape(1, 300, 200).repeat(8, axis=0))
    learnt, held = adapting._parts(whole, 2)
    assert (learnt.shape, held.shape) == ((8, 60, 100), (8, 32, 100))  # 8 pixels between them
    assert int(learnt.read()[0][0, 0, 0]) == 100 * 200 + 50
    assert int(held.read()[0][0, 0, 0]) == 168 * 200 + 50


@pytest.mark.parametrize(
    ("made", "scale", "effort", "said"),
    [
        ({"domain": "bands"}, 2, {}, "domain subspace"),
        ({"scale": 3}, 2, {}, "made for scale 3, got scale 2"),
        ({}, 2, {"seconds": 0.0}, "got 0"),
        ({}, 2, {"seconds": math.nan}, "got nan"),
    ],
)
def test_what_cannot_be_adapted_is_refused(tmp_path, made, scale, effort, said):
    path = checkpoint(tmp_path / "net.safetensors", **made)
    with pytest.raises(UsageError, match=said):
        adapt(path, Cube.from_array(stripes()), scale=scale, psf=PSF, effort=Effort(**effort))


def test_numbers_that_run_away_stop_it(weak):
    with pytest.raises(TrainingError, match="not finite at step 2"):
        of(weak, stripes(), rate=1e38, steps=20)
