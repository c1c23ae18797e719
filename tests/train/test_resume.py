"""A run that is killed at any moment ends with the weights of one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import torch
from safetensors.torch import load_file

import hypersharp
from hypersharp.errors import FileFormatError, UsageError
from hypersharp.train.config import load_config
from hypersharp.train.loop import train

CODE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from hypersharp.train.config import load_config
from hypersharp.train.loop import train
train(load_config(sys.argv[1], sys.argv[3:]), Path(sys.argv[2]), resume=True, quiet=True)
"""
CHANGES = ["train.epochs=4", "train.save_every=1", "data.per_epoch=48"]


SHORT = ["train.epochs=1", "data.per_epoch=8"]


@pytest.fixture
def finished(recipe, tmp_path):
    """A recipe and the folder of its run."""
    config = load_config(recipe, SHORT)
    train(config, tmp_path / "run", quiet=True)
    return config, tmp_path / "run"


def same(one, other):
    left, right = load_file(one), load_file(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_killed_at_random_moments_and_resumed(recipe, tmp_path):
    """SIGKILL twice, then to the end: weights, best weights and log are those of the run that went through.

    Dropped paths, turns, optimiser and averaged weights all have to be where they were. The seed of the moments is
    printed when it fails.
    """
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(load_config(recipe, CHANGES), whole, quiet=True)
    seed = int.from_bytes(os.urandom(4), "little")
    draw = random.Random(seed)
    command = [sys.executable, "-c", CODE, str(recipe), str(broken), *CHANGES]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for kill in (draw.randint(1, 8), draw.randint(12, 22)):
        with (tmp_path / "errors").open("ab") as errors:
            process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=errors)
        started = time.monotonic()
        while process.poll() is None and time.monotonic() - started < 100:
            if (broken / "log.jsonl").exists() and len((broken / "log.jsonl").read_text().splitlines()) >= kill:
                time.sleep(draw.uniform(0, 0.1))
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL, f"ended before it was killed: {(tmp_path / 'errors').read_text()}"
    train(load_config(recipe, CHANGES), broken, resume=True, quiet=True)
    for name in ("last.safetensors", "best.safetensors"):
        assert same(whole / name, broken / name), f"{name} differs, seed {seed}"
    names = [path.name for path in broken.iterdir() if ".part-" not in path.name]
    assert sorted(names) == sorted(path.name for path in whole.iterdir())

    def told(folder):
        import json

        logged = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        return [{key: line[key] for key in line if key not in ("seconds", "patches_per_s")} for line in logged]

    assert told(whole) == told(broken)


def test_resuming_a_finished_run_changes_nothing(recipe, tmp_path):
    config = load_config(recipe, ["train.epochs=1", "data.per_epoch=8"])
    first = train(config, tmp_path / "run", quiet=True)
    before = (tmp_path / "run" / "last.safetensors").read_bytes()
    again = train(config, tmp_path / "run", resume=True, quiet=True)
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == before
    assert again.table == first.table


def test_a_damaged_state_is_said_and_can_be_left_behind(finished, tmp_path):
    """No zip at all, one flipped bit in a weight, a part that is not there."""
    config, folder = finished
    state = folder / "last.state"
    whole = state.read_bytes()
    with zipfile.ZipFile(state) as held:
        largest = max(held.infolist(), key=lambda info: info.file_size)
    at = largest.header_offset + largest.file_size // 2 + 64
    flipped = whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]
    lacking = torch.load(state, weights_only=True)
    del lacking["optimiser"]
    torch.save(lacking, tmp_path / "lacking")
    for content in (b"PK nothing", flipped, (tmp_path / "lacking").read_bytes()):
        state.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"last\.state is damaged; delete it, and --resume begins anew, or"):
            train(config, folder, resume=True, quiet=True)
    state.unlink()
    train(config, folder, resume=True, quiet=True)


def test_a_finished_run_without_its_state_is_not_written_over(finished):
    config, folder = finished
    (folder / "last.state").unlink()
    for name in ("config.json", "best.safetensors", "last.safetensors"):
        with pytest.raises(UsageError, match="holds a run already; go on with --resume"):
            train(config, folder, quiet=True)
        (folder / name).unlink()
    train(config, folder, quiet=True)


def test_settings_that_change_no_result_may_change_and_others_are_named(finished, recipe):
    _, folder = finished
    train(load_config(recipe, [*SHORT, "about=other", "train.log_every=7"]), folder, resume=True, quiet=True)
    changes = ["train.lr=0.5", "model.config.blocks=1", "data.block={size=16}", "data.share=0.5"]
    with pytest.raises(
        UsageError, match=r"another recipe: model\.config\.blocks was 2 and is 1, data\.block was"
    ) as at:
        train(load_config(recipe, [*SHORT, *changes]), folder, resume=True, quiet=True)
    assert "data.block was null and is {" in str(at.value)
    assert "data.share was 1.0 and is 0.5 and 1 more; resume with" in str(at.value)


def test_other_scenes_are_refused_by_the_first_that_differs(finished, recipe, scenes, make_scene, tmp_path):
    """Also where the state does not say its scenes, as those of earlier versions."""
    _, folder = finished
    for name in ("one", "two", "held"):
        other = make_scene(1, bands=5)
        hypersharp.write(hypersharp.Cube.from_array(other), tmp_path / f"{name}.h5")
    config = load_config(recipe, [*SHORT, f"data.root={tmp_path}"])
    with pytest.raises(
        UsageError, match=r"was one of 48 x 40 pixels with 6 bands .* is one of 48 x 40 pixels with 5 ban"
    ):
        train(config, folder, resume=True, quiet=True)
    state = torch.load(folder / "last.state", weights_only=True)
    del state["scenes"]
    torch.save(state, folder / "last.state")
    with pytest.raises(UsageError, match="the state of another network than lkca_lr with 5 channels") as caught:
        train(config, folder, resume=True, quiet=True)
    assert "\n" not in str(caught.value)


def test_a_state_from_before_a_setting_was_there_is_that_of_its_default(recipe, tmp_path):
    config = load_config(recipe, [*CHANGES, "train.epochs=1"])
    first = train(config, tmp_path / "run", quiet=True)
    state = torch.load(tmp_path / "run/last.state", weights_only=True)
    told = json.loads(state["settings"])
    assert told["data"].pop("share") == 1.0
    torch.save({**state, "settings": json.dumps(told)}, tmp_path / "run/last.state")
    again = train(config, tmp_path / "run", resume=True, quiet=True)
    assert again.steps == first.steps
    with pytest.raises(UsageError, match="another recipe"):
        train(load_config(recipe, [*CHANGES, "train.epochs=1", "data.share=0.5"]), tmp_path / "run", resume=True)
