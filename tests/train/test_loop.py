"""The loop: losses fall, files are there, what goes wrong is named."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hypersharp
from hypersharp.errors import TrainingError, UsageError
from hypersharp.infer.torch_session import read_card
from hypersharp.train import loop
from hypersharp.train.config import TrainConfig, load_config
from hypersharp.train.loop import train
from hypersharp.train.prepare import learning_rate

CODE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from hypersharp.train.config import load_config
from hypersharp.train.loop import train
train(load_config(sys.argv[1], sys.argv[3:]), Path(sys.argv[2]), resume=True, quiet=True)
"""


def lines(folder: Path, kind: str) -> list[dict]:
    """The log."""
    return [line for line in map(json.loads, (folder / "log.jsonl").read_text().splitlines()) if line["kind"] == kind]


@pytest.fixture(scope="module")
def done(recipe_text, tmp_path_factory):
    """A run long enough to be better than bicubic on its own kind of scene."""
    folder = tmp_path_factory.mktemp("done")
    path = folder / "recipe.toml"
    path.write_text(recipe_text)
    torch.set_num_threads(1)
    changes = ["train.epochs=6", "data.per_epoch=200", "train.lr=4e-3", "model.config.drop_path=0", "train.log_every=5"]
    return folder / "run", train(load_config(path, changes), folder / "run", quiet=True)


def test_the_loss_falls_and_the_result_is_sharper_than_bicubic(done):
    folder, result = done
    totals = [line["total"] for line in lines(folder, "step")]
    assert sum(totals[-5:]) < 0.7 * sum(totals[:5])
    mean = {row: groups["validation"]["mean"] for row, groups in result.table.items()}
    assert list(mean) == ["bicubic", "bicubic + consistency", "lkca_lr", "lkca_lr + consistency"]
    assert mean["lkca_lr"]["mpsnr_db"] > mean["bicubic"]["mpsnr_db"] + 0.2


def test_the_folder_holds_checkpoints_cards_log_table_and_recipe(done):
    folder, result = done
    names = {path.name for path in folder.iterdir()}
    checkpoints = {f"{which}.{end}" for which in ("best", "last") for end in ("safetensors", "card.json")}
    assert names == checkpoints | {"config.json", "last.state", "log.jsonl", "validation.csv", "scores.json"}
    assert json.loads((folder / "scores.json").read_text()) == result.table
    with (folder / "validation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["scene"] for row in rows] == ["held", "mean"] * 6
    logged = {line["epoch"]: line["scores"]["mean"]["mpsnr_db"] for line in lines(folder, "validation")}
    assert {int(row["epoch"]): float(row["mpsnr_db"]) for row in rows} == logged


def test_best_is_the_best(done):
    folder, result = done
    best = max(line["scores"]["mean"]["mpsnr_db"] for line in lines(folder, "validation"))
    assert read_card(folder / "best.safetensors").about["scores"]["mean"]["mpsnr_db"] == best
    assert result.table["lkca_lr"]["validation"]["mean"]["mpsnr_db"] == pytest.approx(best, abs=1e-6)


def test_the_card_says_what_was_done(done):
    card = read_card(done[0] / "last.safetensors")
    assert (card.model, card.scale, card.bands, card.domain) == ("lkca_lr", 2, 6, "bands")
    assert card.wavelength_nm == (450, 540, 630, 720, 810, 900)
    assert card.config["upsampler"] == {"kind": "grouped", "groups": 2, "rank": 60}
    assert card.about["degradation"] == "bicubic"
    assert card.about["split"]["train"] == ["one", "two"]
    assert card.about["seed"] == 3
    assert card.about["epoch"] == 6


def test_the_subspace_trains_too(subspace_recipe, tmp_path):
    result = train(load_config(subspace_recipe, ["train.epochs=1"]), tmp_path / "run", quiet=True)
    card = read_card(result.best)
    assert (card.domain, card.bands, card.wavelength_nm) == ("subspace", 3, None)
    assert set(lines(tmp_path / "run", "step")[0]["parts"]) == {"l1", "sam", "gradient"}


def test_an_edge_branch_is_in_no_checkpoint(recipe, tmp_path):
    config = load_config(
        recipe, ["train.epochs=1", "objective.kind=edge", "objective.loss={l1=1.0}", "data.per_epoch=8"]
    )
    result = train(config, tmp_path / "run", quiet=True)
    assert not [name for name in load_file(result.best) if "branch" in name or "logits" in name]
    assert "edge_features" in lines(tmp_path / "run", "step")[0]["parts"]


def test_a_teacher_teaches_and_one_of_another_kind_is_refused(done, recipe, tmp_path):
    teach = ["train.epochs=1", "data.per_epoch=8", "objective.kind=distilled", "train.precision=bf16-mixed"]
    teacher = f"objective.teacher={done[0] / 'best.safetensors'}"
    train(load_config(recipe, [*teach, teacher]), tmp_path / "run", quiet=True)
    assert {"l1", "kd_cosine", "kd_sam"} <= set(lines(tmp_path / "run", "step")[0]["parts"])
    with pytest.raises(UsageError, match=r"teacher best\.safetensors has the scale 2, the student 4"):
        train(load_config(recipe, [*teach, teacher, "data.scale=4"]), tmp_path / "no", quiet=True)
    with pytest.raises(UsageError, match="the domain bands, the student subspace"):
        train(load_config(recipe, [*teach, teacher, "data.domain=subspace"]), tmp_path / "no", quiet=True)
    with pytest.raises(UsageError, match="needs a teacher"):
        train(load_config(recipe, teach), tmp_path / "no", quiet=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["data.patch=64"], "less than a patch of 64"),
        (["train.batch=30"], "holds no batch of 30"),
        (["data.validation=['one']"], "one is under data.train and is to be scored"),
        (["data.test=['../scenes_of_them/held']"], "held is under data.validation and is to be scored under data.test"),
        (["data.train=['two']", "data.validation=['one', 'deep/one']"], "data.validation has two scenes called one: "),
        (["data.train=['one']", "data.test=['mean']"], "data.test has a scene called mean"),
        (["model.config.block=3"], "has no setting 'block'; did you mean 'blocks'"),
        (["model.name=lkca_lt"], "did you mean 'lkca_lr'"),
        (["data.scale=5", "data.patch=20"], "can be built for the scales"),
        (["objective.kind=edge", "objective.edge_taps=stagse"], "has the taps upsampled, stages, got 'stagse'"),
        (["data.block={size=60}"], "leaves nothing of 48"),
        pytest.param(
            ["train.device=cuda"],
            "no GPU can be used here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here"),
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(recipe, scenes, tmp_path, changes, said):
    for name in ("mean.h5", "deep/one.h5"):
        (scenes / name).parent.mkdir(exist_ok=True)
        shutil.copy(scenes / "one.h5", scenes / name)
    if not (scenes.parent / "scenes_of_them").exists():
        (scenes.parent / "scenes_of_them").symlink_to(scenes)
    with pytest.raises(UsageError, match=said) as caught:
        train(load_config(recipe, changes), tmp_path / "run", quiet=True)
    assert "\n" not in str(caught.value)


def test_a_scene_too_small_for_eigenimages_is_refused_before_training(subspace_recipe, scenes, make_scene, tmp_path):
    """8 x 8 LR pixels hold too few differences to tell the noise of 120 bands."""
    hypersharp.write(hypersharp.Cube.from_array(make_scene(5, bands=120, size=(8, 8))), scenes / "tiny.h5")
    with pytest.raises(UsageError, match=r"tiny has 4 x 4 LR pixels at x2, .* leave it out of data\.validation"):
        train(load_config(subspace_recipe, ["data.test=['tiny']"]), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_a_term_that_is_not_finite_is_named_and_its_batch_kept(recipe, tmp_path, monkeypatch):
    broken = {"l1": lambda sr, hr, space: (sr - hr).abs().mean(), "sam": lambda sr, hr, space: sr.sum() * torch.inf}
    monkeypatch.setattr("hypersharp.train.losses.TERMS", broken)
    config = load_config(recipe)
    config = config.model_copy(update={"objective": config.objective.model_copy(update={"loss": {"l1": 1, "sam": 1}})})
    with pytest.raises(TrainingError, match="the term sam is not finite at epoch 1, step 1"):
        train(config, tmp_path / "run", quiet=True)
    kept = load_file(tmp_path / "run" / "bad_batch.safetensors")
    assert kept["lr"].shape == (8, 6, 8, 8)
    assert kept["hr"].shape == (8, 6, 16, 16)


def test_a_network_that_diverged_in_its_last_step_is_named_and_not_its_scenes(recipe, tmp_path, monkeypatch):
    real, changes = loop._step, ["train.epochs=1", "data.per_epoch=8"]

    def diverged(to):
        def step(run, *arguments):
            scored = real(run, *arguments)
            with torch.no_grad():
                for weight in run.averaged.parameters():
                    weight.fill_(to)
            return scored

        return step

    for to, said in ((torch.nan, "the weights are not finite after epoch 1, step 1"), (3e38, "the output of the netw")):
        monkeypatch.setattr(loop, "_step", diverged(to))
        with pytest.raises(TrainingError, match=f"{said}.*lower the learning rate"):
            train(load_config(recipe, changes), tmp_path / f"{to}", quiet=True)
        assert not (tmp_path / f"{to}" / "last.state").exists()


def test_a_folder_with_a_run_is_not_written_over(done, recipe):
    with pytest.raises(UsageError, match="holds a run already; go on with --resume"):
        train(load_config(recipe), done[0], quiet=True)
    with pytest.raises(UsageError, match="state of another recipe"):
        train(load_config(recipe), done[0], resume=True, quiet=True)


def test_tiles_of_a_network_that_pools_are_the_whole_to_60_db(done, make_scene):
    """Blended tiles against one window: their difference, and the steps across borders against the same places."""
    lr = hypersharp.Cube.from_array(make_scene(7, size=(80, 72)).astype(np.float32))
    whole, tiled = (
        hypersharp.sharpen(
            lr, scale=2, model=done[1].best, consistency="off", tiling=hypersharp.Tiling(tile=tile)
        ).read()[0]
        for tile in (100, 16)
    )
    assert np.abs(tiled - whole).max() > 0, "the network should see the difference"
    peak = np.quantile(whole, 0.999)
    assert 10 * np.log10(peak**2 / np.square(tiled - whole).mean()) > 60
    borders = np.arange(32, 160, 32) - 1
    across, without = (np.abs(np.diff(cube, axis=1))[:, borders].mean() for cube in (tiled, whole))
    assert across < 1.02 * without


def test_early_stopping_counts_validations_without_a_better_one(recipe, tmp_path, monkeypatch):
    values = iter([30.0, 31.0, 30.5, 31.0, 99.0])
    real = loop.score_all

    def scripted(held, session, **options):
        table = real(held, session, **options)
        if getattr(session, "name", "") == "the network":  # that is being trained, not one of the final table
            table["mean"]["mpsnr_db"] = next(values)
        return table

    monkeypatch.setattr(loop, "score_all", scripted)
    train(load_config(recipe, ["train.epochs=9", "train.patience=2", "data.per_epoch=8"]), tmp_path / "run", quiet=True)
    assert [line["epoch"] for line in lines(tmp_path / "run", "validation")] == [1, 2, 3, 4]
    assert read_card(tmp_path / "run" / "best.safetensors").about["epoch"] == 2


def test_schedules_by_hand():
    cosine = TrainConfig(epochs=3, lr=1.0, lr_end=0.2, schedule="cosine", warm_up=2)
    rates = [learning_rate(cosine, step=step, steps=3) for step in range(9)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[5] == pytest.approx(0.6)
    assert rates[8] == pytest.approx(0.2)
    step = TrainConfig(epochs=4, lr=1.0, schedule="step", step_every=2, step_factor=0.1)
    assert [learning_rate(step, step=at, steps=1) for at in range(4)] == pytest.approx([1, 1, 0.1, 0.1])
    assert learning_rate(TrainConfig(epochs=4, lr=0.3), step=7, steps=2) == 0.3


def test_two_processes_give_the_loss_of_one(recipe, tmp_path):
    """The same global batch, shared: equal losses, and weights that differ by rounding only."""
    changes = ["model.config.drop_path=0", "train.epochs=1"]
    script = tmp_path / "script.py"
    script.write_text(CODE)
    one, two = tmp_path / "one", tmp_path / "two"
    train(load_config(recipe, changes), one, quiet=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--standalone"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    shown = subprocess.run(
        [*command, str(script), str(recipe), str(two), *changes], env=env, capture_output=True, text=True, timeout=200
    )
    assert shown.returncode == 0, shown.stderr[-3000:]
    alone, shared = lines(one, "step"), lines(two, "step")
    assert len(alone) == len(shared) == 3
    for left, right in zip(alone, shared, strict=True):
        assert right["total"] == pytest.approx(left["total"], rel=1e-5)
    weights, others = load_file(one / "last.safetensors"), load_file(two / "last.safetensors")
    for name, weight in weights.items():
        assert torch.allclose(weight, others[name], atol=1e-4), name
