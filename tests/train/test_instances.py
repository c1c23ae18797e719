"""Scenes as many sensors would have them: what is drawn, and that what the network is to learn is what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp.data.scenes import Scene
from hypersharp.errors import UsageError
from hypersharp.infer.torch_session import read_card
from hypersharp.train.config import DataConfig, VaryConfig, load_config
from hypersharp.train.instances import instances
from hypersharp.train.loop import train

DATA = DataConfig(train=["a"], scale=2, domain="subspace", components=3, patch=16)


def scenes(make_scene, count=3, bands=12):
    return [
        Scene(f"s{seed}", make_scene(seed, bands).astype(np.float32), np.ones((48, 40), bool), np.arange(bands), None)
        for seed in range(count)
    ]


def test_each_depends_on_the_seed_and_its_number_alone(make_scene):
    real = scenes(make_scene)
    few, more = (list(instances(real, [], DATA, VaryConfig(instances=n), seed=5)) for n in (3, 5))
    for one, other in zip(few, more, strict=False):
        assert one.pair.name == other.pair.name
        assert one.pair.lr.equal(other.pair.lr)
        assert one.pair.hr.equal(other.pair.hr)
    again = list(instances(real, [], DATA, VaryConfig(instances=3), seed=6))
    assert not again[0].pair.lr.equal(few[0].pair.lr)
    assert {one.pair.name.split("#")[0] for one in few} == {"s0", "s1", "s2"}  # each once before any twice


def test_what_is_missing_degrades_to_nothing_without_noise(make_scene):
    """Consistency leaves only what the sensor cannot see: A · (hr − base) = 0, the law that it solves for."""
    vary = VaryConfig(instances=4, clean=1.0, bicubic=1.0)
    for one in instances(scenes(make_scene), [], DATA, vary, seed=1):
        from hypersharp.operators import bicubic_shrink

        seen = bicubic_shrink((48, 40), 2).apply(one.pair.hr.double().numpy())
        inside = np.s_[:, 3:-3, 3:-3]
        assert np.abs(seen[inside]).std() < 0.35 * np.abs(one.pair.hr.numpy()).std()


def test_channels_and_weights(make_scene):
    (one,) = instances(scenes(make_scene, 1), [], DATA, VaryConfig(instances=1, clean=0.0, snr_db=(30, 30)), seed=2)
    assert one.pair.lr.shape == (3 + 2 + 3, 24, 20)
    assert one.pair.hr.shape == (3, 48, 40)
    assert (one.pair.lr[3:] == one.pair.lr[3:, :1, :1]).all()
    assert float(one.weight.mean()) == pytest.approx(1)
    plain = VaryConfig(instances=1, describe=False, change=False)
    (bare,) = instances(scenes(make_scene, 1), [], DATA, plain, seed=2)
    assert bare.pair.lr.shape == (3, 24, 20)


def test_generated_scenes_have_their_share(make_scene):
    real, made = scenes(make_scene, 2), [Scene("made", *_parts(one)) for one in scenes(make_scene, 1)]
    names = [one.pair.name for one in instances(real, made, DATA, VaryConfig(instances=40, generated=0.5), seed=3)]
    assert 10 <= sum(name.startswith("made") for name in names) <= 30


def _parts(scene: Scene):
    return scene.hr, scene.valid, scene.kept, None


LEAN = ["model.name=lean", "model.config={features=8, blocks=1, describing=5, skip=false}", "data.domain=subspace"]
VARY = ["data.components=3", "data.vary={instances=4}", "train.start=bicubic", "train.epochs=1"]


def test_a_network_of_changes_trains_and_says_what_it_is(recipe_text, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text)
    result = train(load_config(path, [*LEAN, *VARY]), tmp_path / "run", quiet=True)
    card = read_card(result.best)
    assert (card.gives, card.described, card.bands, card.channels) == ("change", True, 3, 8)
    scores = {row: groups["validation"]["mean"]["mpsnr_db"] for row, groups in result.table.items()}
    assert scores["lean + consistency"] == pytest.approx(scores["bicubic + consistency"], abs=0.5)


def test_a_network_that_cannot_be_told_is_refused(recipe_text, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text)
    with pytest.raises(UsageError, match="describing = 5"):
        train(load_config(path, ["data.domain=subspace", *VARY]), tmp_path / "run", quiet=True)
    with pytest.raises(UsageError, match="subspace"):
        load_config(path, ["data.vary={instances=4}"])
