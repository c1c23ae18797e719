"""Recipes: wrong ones are refused in one line with the nearest name, and every one that we ship can be built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hypersharp import models
from hypersharp.errors import FileFormatError, UsageError
from hypersharp.models._card import config_from_dict, config_to_dict
from hypersharp.train.config import load_config

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))


def test_settings_are_changed_by_dotted_keys(recipe):
    changes = ["train.epochs=5", "data.domain=subspace", "objective.loss={l1 = 1.0}", "data.train=['one']"]
    config = load_config(recipe, changes)
    assert config.train.epochs == 5
    assert config.data.domain == "subspace"
    assert config.objective.loss == {"l1": 1.0}
    assert config.data.train == ["one"]


def test_the_saved_recipe_is_the_recipe(recipe, tmp_path):
    config = load_config(recipe)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    assert load_config(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("trian.epochs=3", "unknown key 'trian'; did you mean 'train'"),
        ("train.epoch=3", "unknown key 'train.epoch'; did you mean 'epochs'"),
        ("data.block.sise=3", "did you mean 'size'"),
        ("train.epochs=0", r"train\.epochs: .*greater than or equal to 1, got 0"),
        ("train.epochs=many", "train.epochs: .*valid integer"),
        ("train.schedule=cosin", "schedule: .*'constant', 'cosine' or 'step'"),
        ("data.patch=15", "multiples of the scale 2"),
        ("data.degradation=bicubik", "bicubic"),
        ("objective.loss={gradiant = 1}", "expected a term out of .*, got 'gradiant'; did you mean 'gradient'"),
        ("train.epochs", "--set takes KEY=VALUE"),
        ("seed=-1", "seed: .*greater than or equal to 0, got -1"),
        ("seed=9223372036854775808", "seed: .*less than 9223372036854775808"),
        ("train.lr=inf", r"train\.lr: .*finite number, got inf"),
        ("train.minutes=inf", r"train\.minutes: .*finite number"),
        ("objective.loss={l1 = inf}", r"objective\.loss\.l1: .*finite number"),
        ("data.vary={instances = 2, sigma = [0.3, nan]}", "finite number"),
        ("train.precision=64-true", r"train\.precision: .*'32-true', 'bf16-mixed' or '16-mixed'"),
        ("about.x=1", "'about' is a value and no table"),
    ],
)
def test_a_wrong_setting_is_named(recipe, change, said):
    with pytest.raises(UsageError, match=said) as caught:
        load_config(recipe, [change])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "said"), [("[train", "not a recipe"), (None, "cannot be read")])
def test_a_file_that_is_no_recipe(tmp_path, text, said):
    path = tmp_path / "recipe.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FileFormatError, match=said):
        load_config(path)


def test_a_saved_recipe_is_changed_and_a_list_is_none(recipe, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(load_config(recipe).model_dump_json())
    assert load_config(path, ["data.block.size=16"]).data.block.size == 16
    path.write_text("[1]")
    with pytest.raises(FileFormatError, match=r"config\.json: expected a table of settings, got \[1\]"):
        load_config(path, ["train.epochs=5"])


def test_a_missing_key_is_named(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("[data]\ntrain = ['a']\nscale = 2\n[train]\nepochs = 1\n")
    with pytest.raises(UsageError, match="the key 'model' is missing"):
        load_config(path)


def test_network_settings_round_trip_and_are_checked():
    kind = models.get_spec("lkca_lr").config
    config = config_from_dict(kind, {"blocks": 3, "kernels": [3, 5], "upsampler": {"kind": "rank", "rank": 7}}, "x")
    assert config.kernels == (3, 5)
    assert config.upsampler.rank == 7
    assert config_from_dict(kind, json.loads(json.dumps(config_to_dict(config))), "x") == config
    with pytest.raises(UsageError, match="has no setting 'block'; did you mean 'blocks'"):
        config_from_dict(kind, {"block": 3}, "lkca_lr")
    with pytest.raises(UsageError, match="upsampler has no setting 'ranks'; did you mean 'rank'"):
        config_from_dict(kind, {"upsampler": {"ranks": 3}}, "lkca_lr")
    with pytest.raises(UsageError, match=r"blocks: .*integer"):
        config_from_dict(kind, {"blocks": "many"}, "lkca_lr")


def test_there_are_recipes():
    names = {path.relative_to(ROOT / "recipes").as_posix() for path in RECIPES}
    assert {"bands_la/lkca_lr.toml", "subspace/lkca_lr.toml", "papers/edlgfs_houston2018_x4.toml"} <= names


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_read_and_its_network_exists(path):
    config = load_config(path)
    spec = models.get_spec(config.model.name)
    made = config_from_dict(spec.config, config.model.config, path.name)
    assert config.data.scale in spec.scales
    assert config.about
    if config.objective.kind == "edge":
        assert config.objective.edge_taps in spec.taps(made)
