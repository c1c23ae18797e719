"""Recipes of a comparison: the papers' losses and optimisers, one budget, schedules scaled to it."""

from __future__ import annotations

import dataclasses

import pytest

from hypersharp import models
from hypersharp.bench.plan import Plan, default_recipe, known_names, names_of, recipe_of
from hypersharp.bench.running import _budget_of
from hypersharp.errors import UsageError
from hypersharp.models._card import config_from_dict
from hypersharp.train.config import DataConfig, RunConfig


def step(every, factor):
    return {"schedule": "step", "step_every": every, "step_factor": factor}


H_LOSS = {"l1": 1.0, "sam": 0.5, "gradient": 0.1}
# What the papers and their published code state: terms of the loss, how the optimiser goes; not what they leave open.
ADAM, CONSTANT = {"optimiser": "adam", "weight_decay": 0.0, "clip": 0.0}, {"schedule": "constant"}
STATED = {
    "cst": ({"l1": 1.0, "sam": 0.3, "gradient": 0.1}, ADAM | {"lr": 1e-4, "batch": 32, "epochs": 300} | step(150, 0.5)),
    "edlgfs": ({"l1": 1.0}, ADAM | {"lr": 1e-4, "batch": 32, "epochs": 100}),
    "fcnn3d": ({"mse": 1.0}, ADAM | CONSTANT | {"lr": 5e-5}),
    "lkca_lr": (H_LOSS, ADAM | {"lr": 2e-3, "lr_end": 2e-4}),
    "lkca_net": (H_LOSS, ADAM | {"lr": 2e-3, "lr_end": 2e-4}),
    "mcnet": ({"l1": 1.0}, ADAM | {"lr": 1e-4, "batch": 16, "epochs": 200} | step(35, 0.5)),
    "msdformer": (H_LOSS, ADAM | {"lr": 5e-5, "batch": 32, "epochs": 300} | step(150, 0.1)),
    "snlsr": ({"l1": 1.0}, ADAM | CONSTANT | {"lr": 2e-4, "batch": 8}),
    "sspsr": ({"l1": 1.0, "variation": 1e-3}, ADAM | {"lr": 1e-4, "batch": 32, "epochs": 40} | step(30, 0.1)),
    "vdsr": (
        {"mse": 1e4},
        {"optimiser": "sgd", "weight_decay": 1e-4, "lr": 0.1, "batch": 64, "epochs": 80} | step(20, 0.1),
    ),
}
STATED["vdsr_lr"], STATED["fcnn3d_lr"] = STATED["vdsr"], STATED["fcnn3d"]


@pytest.fixture
def paper_plan():
    data = DataConfig(train=["one"], validation=["held"], scale=4, domain="subspace", patch=48)
    return Plan(("sspsr",), data)


def test_every_network_that_sharpens_alone_has_a_default():
    alone = [name for name in models.list_models() if models.get_spec(name).task == "sharpen"]
    assert list(known_names()) == alone
    assert names_of("all") == known_names()


@pytest.mark.parametrize("name", known_names())
def test_a_default_names_its_network_and_leaves_the_data_open(name, paper_plan):
    raw = default_recipe(name)
    assert set(raw) == {"model", "objective", "train"}
    assert raw["model"]["name"] == name
    recipe = recipe_of(paper_plan, name, seed=0)
    spec = models.get_spec(name)
    config_from_dict(spec.config, recipe.model.config, name)
    assert recipe.objective.kind == ("edge" if name == "edlgfs" else "supervised")


@pytest.mark.parametrize("name", STATED)
def test_loss_and_optimiser_are_the_paper_s(name):
    data = {"train": ["one"], "validation": ["held"], "scale": 4}
    recipe = RunConfig.model_validate(default_recipe(name) | {"data": data})
    loss, train = STATED[name]
    assert recipe.objective.loss == loss
    assert {key: getattr(recipe.train, key) for key in train} == train


def test_the_budget_is_that_of_the_plan(paper_plan):
    """16,000 patches in steps of 16 are 1,000 steps: 20 epochs of 50."""
    recipe = recipe_of(paper_plan, "lkca_lr", seed=7)
    assert (recipe.train.batch, recipe.train.epochs, recipe.data.per_epoch) == (16, 20, 800)
    assert (recipe.train.minutes, recipe.seed) == (60, 7)
    small = recipe_of(dataclasses.replace(paper_plan, patches=50), "lkca_lr", seed=0)
    assert (small.train.epochs, small.data.per_epoch) == (3, 16)


@pytest.mark.parametrize(
    ("patches", "epochs", "steps"), [(624, 13, 3), (5000, 13, 24), (16, 1, 1), (313 * 16, 13, 24), (304, 19, 1)]
)
def test_few_patches_are_lost_to_whole_epochs(patches, epochs, steps, paper_plan):
    recipe = recipe_of(dataclasses.replace(paper_plan, patches=patches), "lkca_lr", seed=0)
    assert (recipe.train.epochs, recipe.data.per_epoch) == (epochs, 16 * steps)
    assert len(range(0, epochs, recipe.train.validate_every)) <= 5


def test_the_warm_up_fits_a_small_budget(paper_plan):
    assert recipe_of(paper_plan, "lean", seed=0).train.warm_up == 50
    small = dataclasses.replace(paper_plan, patches=640)
    assert recipe_of(small, "lean", seed=0).train.warm_up == 4
    assert recipe_of(dataclasses.replace(small, settings=("train.warm_up=30",)), "lean", seed=0).train.warm_up == 30


def test_the_header_says_what_whole_epochs_hold(paper_plan):
    def said(plan):
        return _budget_of(plan, [recipe_of(plan, name, seed=0) for name in ("vdsr", "lean")])

    assert said(paper_plan).startswith("Budget: 16,000 patches, at most")
    few = dataclasses.replace(paper_plan, patches=5000)
    assert said(few).startswith("Budget: 5,000 patches (of which whole steps and epochs hold 4,992), at most")
    other = said(dataclasses.replace(few, settings=("vdsr:train.batch=10",)))
    assert other.startswith("Budget: 5,000 patches (of which whole steps and epochs hold 4,992 (lean)), at most")


@pytest.mark.parametrize(("name", "epochs"), [("sspsr", 15), ("msdformer", 10), ("mcnet", 4), ("vdsr", 5)])
def test_schedules_fall_at_the_paper_s_share_of_the_run(name, epochs, paper_plan):
    """30 of 40, 150 of 300, 35 of 200 and 20 of 80 epochs, of 20."""
    assert recipe_of(paper_plan, name, seed=0).train.step_every == epochs


def test_settings_for_all_and_for_one(paper_plan):
    told = dataclasses.replace(paper_plan, settings=("train.batch=8", "vdsr:train.lr=0.5", "mcnet:train.step_every=2"))
    assert recipe_of(told, "vdsr", seed=0).train.lr == 0.5
    assert recipe_of(told, "sspsr", seed=0).train.lr == 1e-4
    assert recipe_of(told, "sspsr", seed=0).data.per_epoch == 800, "2,000 steps of 8 in 20 epochs"
    assert recipe_of(told, "mcnet", seed=0).train.step_every == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["train.epochs=3"], "say it with --patches"),
        (["seed=3"], "say it with --seeds"),
        (["vdsr:train.minutes=3"], "say it with --cap-minutes"),
        (["train={epochs=3}"], r"got a whole table; say train\.NAME=VALUE for each"),
        (["vdsr:model = {name='lean'}"], "got a whole table"),
        (["data={per_epoch=3}"], "got a whole table"),
        (["data.per_epoch=3"], "say it with --patches"),
        (["data.patch=3"], "the data are the same for all"),
        (["train.epoch=3"], "did you mean 'epochs'"),
        (["vdrs:train.lr=3"], "got 'vdrs'; did you mean 'vdsr'"),
        (["train.batch=16001"], "hold no step of 16001"),
    ],
)
def test_a_setting_that_breaks_the_comparison_is_refused(paper_plan, settings, said):
    with pytest.raises(UsageError, match=said) as caught:
        recipe_of(dataclasses.replace(paper_plan, settings=tuple(settings)), "vdsr", seed=0)
    assert "\n" not in str(caught.value)


def test_names():
    assert names_of("bicubic") == ()
    assert names_of(" vdsr, bicubic,vdsr ,mcnet") == ("vdsr", "mcnet")
    with pytest.raises(UsageError, match=r"expected networks with commas, all, or bicubic .* got ' ,'"):
        names_of(" ,")
    with pytest.raises(UsageError, match="got 'mcnett'; did you mean 'mcnet'"):
        names_of("mcnett")


@pytest.mark.parametrize(
    ("change", "said"),
    [({"models": ("hyfusion",)}, "expected a network"), ({"seeds": 0}, "1 seed"), ({"cap_minutes": -1}, "0 minutes")]
    + [({"cap_minutes": float(text)}, f"got 1 and {text}; 0 minutes are no limit") for text in ("inf", "nan")],
)
def test_a_plan_that_no_run_could_follow_is_refused(paper_plan, change, said):
    with pytest.raises(UsageError, match=said):
        dataclasses.replace(paper_plan, **change)


def test_data_for_networks_that_fuse_are_refused(paper_plan):
    data = DataConfig(train=["one"], validation=["held"], scale=4, msi={"bands": 4})
    with pytest.raises(UsageError, match=r"sharpen a cube alone, got data with a table \[data\.msi\]"):
        dataclasses.replace(paper_plan, data=data)


def test_a_plan_without_scenes_to_score_is_refused():
    with pytest.raises(UsageError, match="needs scenes to score"):
        Plan(("vdsr",), DataConfig(train=["one"], scale=2))
