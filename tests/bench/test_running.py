"""A comparison of small networks on small scenes: trained, stopped, resumed, scored, timed, and collected again."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hypersharp.bench import collect, run
from hypersharp.bench.rows import read_run
from hypersharp.bench.running import _counting
from hypersharp.errors import FileFormatError, UsageError, WriteError
from hypersharp.infer.torch_session import TorchSession
from hypersharp.train.checkpoint import with_about
from hypersharp.train.config import load_config

NAMES = ["bicubic", "bicubic + consistency", "fcnn3d_lr", "fcnn3d_lr + consistency", "vdsr_lr", "vdsr_lr + consistency"]


@pytest.fixture(scope="module")
def finished(scenes, tmp_path_factory):
    """The folder of a comparison without speed, and what it gave; not to be changed."""
    from hypersharp.bench import Plan
    from hypersharp.train.config import DataConfig

    from .conftest import SMALL

    data = DataConfig(
        root=str(scenes), train=["one", "two"], validation=["held"], test=["other"], scale=2, domain="subspace"
    )
    data = data.model_copy(update={"components": 3, "patch": 8})
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("comparison") / "out"
    plan = Plan(("fcnn3d_lr", "vdsr_lr"), data, patches=32, cap_minutes=0, seeds=2, settings=SMALL)
    return plan, folder, run(plan, folder, quiet=True, speed=False)


def test_rows_come_from_the_runs(finished):
    _, folder, made = finished
    assert [row.title for row in made.rows] == NAMES
    for row in made.rows[2:]:
        assert row.patches == (32, 32)
        assert not row.notes
        for seed, means in enumerate(row.means):
            scores = json.loads((folder / f"{row.name}_seed{seed}" / "scores.json").read_text())
            for group in ("validation", "test"):
                assert means[group] == scores[row.title][group]["mean"]
    scores = json.loads((folder / "vdsr_lr_seed0" / "scores.json").read_text())
    assert made.rows[1].means[0]["test"] == pytest.approx(scores["bicubic + consistency"]["test"]["mean"])


def test_cost_is_that_of_the_configured_network(finished):
    """Three 3×3 convolutions without bias, 3 → 4 → 4 → 12: 108 + 144 + 432 weights, each once per LR pixel."""
    rows = {row.title: row for row in finished[2].rows}
    assert rows["vdsr_lr"].parameters == 684
    assert rows["vdsr_lr"].macs == 684 * 64 * 64


def test_the_tables_are_written(finished):
    _, folder, made = finished
    text = (folder / "table.md").read_text()
    assert "Budget: 32 patches, 2 seeds" in text
    assert "validation held, which chooses the best weights; test other" in text
    assert (folder / "table.tex").read_text().count(r"\begin{table}") == 4
    with (folder / "table.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * len(made.rows)


def test_the_runs_make_the_same_rows_again(finished):
    _, folder, made = finished
    names = [f"{name}_seed{seed}" for name in ("fcnn3d_lr", "vdsr_lr") for seed in (0, 1)]
    again = collect([(None, folder / name) for name in names], speed=False)
    assert again.rows[2:] == made.rows[2:]
    for one, other in zip(again.rows[:2], made.rows[:2], strict=True):
        assert one.means[0]["test"] == pytest.approx(other.means[0]["test"])


def test_what_is_finished_is_kept_and_networks_can_be_added(finished, tmp_path, monkeypatch):
    plan, folder, made = finished
    out = tmp_path / "out"
    shutil.copytree(folder, out)
    shutil.rmtree(out / "vdsr_lr_seed1")
    with pytest.raises(UsageError, match="holds a comparison already; go on with --resume"):
        run(plan, out, quiet=True, speed=False)
    said = []
    again = run(plan, out, resume=True, quiet=True, speed=False, say=said.append)
    assert [line for line in said if line.endswith("training")] == ["vdsr_lr, seed 1: training"]
    assert again.rows == made.rows
    with pytest.raises(UsageError, match="holds a run of other settings"):
        run(dataclasses.replace(plan, patches=64), out, resume=True, quiet=True, speed=False)
    assert json.loads((out / "plan.json").read_text())["patches"] == 32, "what is refused changes nothing"


def test_a_mistake_leaves_nothing_behind_and_resuming_nothing_begins(data, plan, tmp_path):
    wrong = data.model_copy(update={"validation": ["hold"]})
    with pytest.raises(FileFormatError, match="no scene 'hold'"):
        run(dataclasses.replace(plan, data=wrong), tmp_path / "out", speed=False)
    assert not (tmp_path / "out").exists()
    run(dataclasses.replace(plan, models=()), tmp_path / "out", resume=True, speed=False)
    assert (tmp_path / "out" / "table.md").is_file()


def test_a_network_that_was_half_trained_ends_as_if_it_had_not_been_stopped(finished, plan, tmp_path, stop_after):
    _, folder, _ = finished
    go_on = stop_after(11)
    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path / "out", quiet=True, speed=False)
    assert not (tmp_path / "out" / "vdsr_lr_seed0" / "scores.json").exists(), "8 steps of the first, 3 of the second"
    go_on()
    said = []
    run(plan, tmp_path / "out", resume=True, quiet=True, speed=False, say=said.append)
    assert said[0] == "fcnn3d_lr, seed 0: finished before"
    for name in ("fcnn3d_lr_seed0", "vdsr_lr_seed0"):
        left_, right = (load_file(at / name / "last.safetensors") for at in (folder, tmp_path / "out"))
        assert all(torch.equal(left_[key], right[key]) for key in right)


def test_a_network_at_its_cap_is_named_with_the_patches_it_saw(plan, tmp_path):
    made = run(dataclasses.replace(plan, cap_minutes=1e-6), tmp_path / "out", quiet=True, speed=False)
    for row in made.rows[2:]:
        assert row.patches == (4,), "the step that passes the cap is the last one"
        assert row.notes == ("stopped at its cap of 1e-06 minutes after 4 of 32 patches",)
    assert "- vdsr_lr: stopped at its cap" in (tmp_path / "out" / "table.md").read_text()


def test_a_network_at_its_cap_without_validation_is_not_said_to_have_stopped_early(data, plan, tmp_path):
    unseen = data.model_copy(update={"validation": []})
    alone = dataclasses.replace(plan, models=("vdsr_lr",), data=unseen, cap_minutes=1e-6)
    made = run(alone, tmp_path / "out", quiet=True, speed=False)
    assert made.rows[2].notes == ("stopped at its cap of 1e-06 minutes after 4 of 32 patches",)
    assert "; no validation: the last weights; test other" in made.about[0]
    settings = load_config(tmp_path / "out" / "vdsr_lr_seed0" / "config.json")
    one = read_run(tmp_path / "out" / "vdsr_lr_seed0")
    patient = settings.model_copy(update={"train": settings.train.model_copy(update={"minutes": 60, "patience": 2})})
    assert "early, no longer getting better" in dataclasses.replace(one, config=patient, seconds=30.0).note


def test_a_network_that_fails_is_named_and_the_others_go_on(plan, tmp_path):
    broken = dataclasses.replace(plan, settings=(*plan.settings, "fcnn3d_lr:train.lr=1e30"))
    made = run(broken, tmp_path / "out", quiet=True, speed=False)
    assert [row.title for row in made.rows] == [NAMES[0], NAMES[1], NAMES[4], NAMES[5]]
    assert "finite" in made.failed["fcnn3d_lr, seed 0"]
    assert "No row: fcnn3d_lr, seed 0: " in (tmp_path / "out" / "table.md").read_text()


def test_a_damaged_run_is_named_and_the_others_have_their_rows(finished, tmp_path):
    plan, folder, made = finished
    out = tmp_path / "out"
    shutil.copytree(folder, out)
    (out / "fcnn3d_lr_seed0" / "config.json").write_text("{")
    (out / "fcnn3d_lr_seed1" / "last.state").write_bytes(b"damaged")
    (out / "fcnn3d_lr_seed1" / "scores.json").unlink()
    again = run(plan, out, resume=True, quiet=True, speed=False)
    assert again.rows == [*made.rows[:2], *made.rows[4:]]
    assert "not a recipe that can be read" in again.failed["fcnn3d_lr, seed 0"]
    assert "last.state is damaged" in again.failed["fcnn3d_lr, seed 1"]


def test_bicubic_alone_needs_no_network_and_speed_is_kept(data, plan, tmp_path):
    alone = dataclasses.replace(plan, models=())
    said = []
    made = run(alone, tmp_path / "out", quiet=True, say=said.append)
    assert said == ["measuring the speed on held"]
    assert [row.title for row in made.rows] == NAMES[:2]
    assert all(row.seconds is not None and row.seconds > 0 for row in made.rows)
    said.clear()
    stored = tmp_path / "out" / "speed.json"
    stored.write_text(stored.read_text().replace("1 thread.", "7 threads."))
    again = run(alone, tmp_path / "out", resume=True, say=said.append)
    assert again.rows == made.rows
    assert said == []
    assert any("in turn, 7 threads." in line for line in again.about), "as it was when they were measured"
    stored.write_text(json.dumps({row.title: row.seconds for row in made.rows}))
    run(alone, tmp_path / "out", resume=True, say=said.append)
    assert said == ["measuring the speed on held"], "who wrote this did not say how"


def test_the_speed_of_every_row_is_measured(finished):
    _, folder, _ = finished
    made = collect([(None, folder / "vdsr_lr_seed0"), ("other", folder / "fcnn3d_lr_seed1")])
    assert [row.title for row in made.rows][2:] == ["vdsr_lr", "vdsr_lr + consistency", "other", "other + consistency"]
    assert all(row.seconds is not None and row.seconds > 0 for row in made.rows)
    assert any("held, 5 bands, 32 x 32 HR pixels" in line for line in made.about)


def test_a_network_of_3d_convolutions_trains_and_its_checkpoint_runs(plan, tmp_path):
    small = ("train.device=cpu", "train.batch=4", "fcnn3d:model.config.features=[4, 4, 4]")
    run(dataclasses.replace(plan, models=("fcnn3d",), settings=small), tmp_path / "out", quiet=True, speed=False)
    session = TorchSession(tmp_path / "out" / "fcnn3d_seed0" / "last.safetensors")
    assert session(np.zeros((1, 3, 12, 10), np.float32)).shape == (1, 3, 24, 20)


def test_what_cannot_be_compared_is_refused_before_anything_is_trained(plan, tmp_path):
    for change, said in (
        ({"settings": (*plan.settings, "vdsr_lr:model.config.feature=3")}, "did you mean 'features'"),
        ({"data": plan.data.model_copy(update={"scale": 5, "patch": 10})}, "can be built for the scales"),
    ):
        with pytest.raises(UsageError, match=said):
            run(dataclasses.replace(plan, **change), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be made"):
        run(plan, tmp_path / "file" / "out", quiet=True)


def changed(folder, to, **edits):
    """A copy of a run with a changed file: name to a function of its parsed content."""
    shutil.copytree(folder, to)
    for name, edit in edits.items():
        path = to / f"{name}.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
    return to


def test_runs_that_do_not_belong_together_are_refused(finished, tmp_path):
    _, folder, _ = finished
    base = folder / "vdsr_lr_seed0"
    slower = changed(base, tmp_path / "slower", config=lambda held: held["train"].update(lr=0.5))
    other = changed(base, tmp_path / "other", scores=lambda held: held["bicubic"]["test"]["mean"].update(mpsnr_db=1.0))
    scenes = changed(base, tmp_path / "scenes", scores=lambda held: held["bicubic"].pop("test"))
    unscored = changed(base, tmp_path / "none", scores=lambda held: [row.clear() for row in held.values()])
    for runs, said in (
        ([(None, base), (None, slower)], r"both called 'vdsr_lr' and differ in train\.lr"),
        ([(None, base), (None, base)], "have the same seed"),
        ([(None, base), ("else", other)], r"bicubic has the mpsnr_db 1 there"),
        ([(None, base), ("else", scenes)], "scored on other scenes"),
        ([], "at least one finished run"),
        ([(None, unscored)], r"expected scores of validation or test scenes, got none; train it with data\.validation"),
        ([("bicubic", base)], "got the name 'bicubic'; name it otherwise"),
        ([("a + consistency", base)], r"got the name 'a \+ consistency'; name it otherwise"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            collect(runs, speed=False)
        assert "\n" not in str(caught.value)
    assert len(collect([("a", base), ("b", slower)], speed=False).rows) == 6


def test_what_a_table_of_finished_runs_says_holds_for_every_row(finished, tmp_path):
    _, folder, _ = finished
    base = folder / "vdsr_lr_seed0"
    bands = changed(base, tmp_path / "bands", config=lambda held: held["data"].update(domain="bands"))
    block = changed(base, tmp_path / "block", config=lambda held: held["data"].update(block={"size": 4}))
    for other, key in ((bands, "domain"), (block, "block")):
        with pytest.raises(UsageError, match=rf"has another data\.{key} than .*; put it into a table of its own"):
            collect([(None, base), ("b", other)], speed=False)

    small = {"train": ["one"], "components": 2, "vary": {"instances": 5}}
    less = changed(base, tmp_path / "less", config=lambda held: held["data"].update(small))
    made = collect([(None, base), (None, folder / "vdsr_lr_seed1"), ("b", less)], speed=False)
    assert [row.notes for row in made.rows[:4]] == [()] * 4
    (note,) = made.rows[4].notes
    assert "data.components = 2" in note
    assert "data.train = [one]" in note
    assert "data.vary = {instances: 5, " in note
    assert note.endswith(", unlike vdsr_lr")
    assert "Patches seen: vdsr_lr 32, b 32." in made.about


def test_other_commits_and_all_patches_of_the_seeds_are_said(finished, tmp_path):
    _, folder, _ = finished
    base = read_run(folder / "vdsr_lr_seed0")
    ages = ("a" * 12, "b" * 12)
    runs = [
        dataclasses.replace(base, label=label, card=with_about(base.card, {"commit": at}))
        for label, at in zip("xyz", (ages[0], ages[0], ages[1]), strict=True)
    ]
    assert _counting(runs).endswith(f" Trained at commit {ages[0]} (x, y); {ages[1]} (z).")
    assert _counting(runs[:2]).endswith(f" Trained at commit {ages[0]}.")
    text = tmp_path / "short"
    shutil.copytree(folder / "vdsr_lr_seed1", text)
    log = [line for line in (text / "log.jsonl").read_text().splitlines() if json.loads(line)["step"] <= 4]
    (text / "log.jsonl").write_text("\n".join(log) + "\n")
    made = collect([(None, folder / "vdsr_lr_seed0"), (None, text)], speed=False)
    assert "Patches seen: vdsr_lr 16 to 32." in made.about


def test_folders_that_are_no_finished_runs_are_refused(finished, tmp_path):
    _, folder, _ = finished
    with pytest.raises(FileFormatError, match="expected the folder of a training run"):
        read_run(tmp_path)
    half = changed(folder / "vdsr_lr_seed0", tmp_path / "half")
    (half / "scores.json").unlink()
    with pytest.raises(UsageError, match="not finished"):
        read_run(half)
    (half / "scores.json").write_text('{"bicubic": 3}')
    with pytest.raises(FileFormatError, match="not the scores of a run of vdsr_lr"):
        read_run(half)
