"""A run with a limit of time ends with the step at hand, and is a finished run."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file

from hypersharp.infer.torch_session import read_card
from hypersharp.train import loop
from hypersharp.train.config import load_config
from hypersharp.train.loop import train

CHANGES = ["train.epochs=4", "data.per_epoch=24", "train.warm_up=0", "train.ema=0"]


@pytest.fixture
def clock(monkeypatch):
    """Time stands still until a number of steps are done, then the limit has passed."""
    done = [0]
    real = loop._step

    def counted(*arguments):
        done[0] += 1
        return real(*arguments)

    monkeypatch.setattr(loop, "_step", counted)
    monkeypatch.setattr(loop.Run, "seconds", property(lambda run: 600.0 if done[0] >= 5 else 1.0))
    return done


def test_it_ends_with_the_step_that_passes_the_limit(recipe, tmp_path, clock):
    folder = tmp_path / "run"
    result = train(load_config(recipe, [*CHANGES, "train.minutes=10", "train.log_every=100"]), folder, quiet=True)
    assert (clock[0], result.steps) == (5, 5), "three steps of the first epoch, two of the second"
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in lines][-2:] == [("step", 5), ("validation", 5)]
    assert read_card(folder / "last.safetensors").about["epoch"] == 1
    assert set(result.table) == {"bicubic", "bicubic + consistency", "lkca_lr", "lkca_lr + consistency"}


def test_schedules_follow_the_epochs_all_the_same(recipe, tmp_path, clock):
    rates = []
    for name, changes in (("capped", ["train.minutes=10"]), ("whole", [])):
        train(load_config(recipe, [*CHANGES, *changes]), tmp_path / name, quiet=True)
        lines = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        rates.append([line["lr"] for line in lines if line["kind"] == "step"])
    assert rates[0] == rates[1][:5]
    assert len(rates[1]) == 12


def test_a_run_that_its_limit_ended_is_resumed_without_a_step(recipe, tmp_path, clock):
    config = load_config(recipe, [*CHANGES, "train.minutes=10"])
    first = train(config, tmp_path / "run", quiet=True)
    before = load_file(tmp_path / "run" / "last.safetensors")
    again = train(config, tmp_path / "run", resume=True, quiet=True)
    assert clock[0] == 5
    assert (again.steps, again.table) == (first.steps, first.table)
    after = load_file(tmp_path / "run" / "last.safetensors")
    assert all((before[name] == after[name]).all() for name in before)
