"""The log for TensorBoard: the curves that it gets, and what is said where TensorBoard is not installed."""

from __future__ import annotations

import sys
import types

import pytest

from hypersharp.errors import MissingExtraError
from hypersharp.train.config import load_config
from hypersharp.train.log import read_lines
from hypersharp.train.loop import train

CHANGES = ["train.epochs=2", "data.per_epoch=8", "train.tensorboard=true", "train.ema=0"]


@pytest.fixture
def writers(monkeypatch):
    """Stand-ins for TensorBoard, so that nothing needs to be installed; every writer that was opened."""
    opened = []

    class Writer:
        def __init__(self, folder, purge_step):
            self.folder, self.purge_step, self.points, self.closed = folder, purge_step, [], False
            opened.append(self)

        def add_scalar(self, tag, scalar_value, global_step):
            assert not self.closed
            self.points.append((tag, scalar_value, global_step))

        def close(self):
            self.closed = True

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return opened


def test_every_number_of_the_log_is_a_point(recipe, tmp_path, writers):
    train(load_config(recipe, CHANGES), tmp_path / "run", quiet=True)
    (board,) = writers
    assert board.folder == str(tmp_path / "run" / "tensorboard")
    assert board.closed
    steps = [line for line in read_lines(tmp_path / "run") if line["kind"] == "step"]
    for line in steps:
        assert ("total", line["total"], line["step"]) in board.points
        assert ("parts/sam", line["parts"]["sam"], line["step"]) in board.points
    (last,) = [line for line in read_lines(tmp_path / "run") if line["kind"] == "validation" and line["epoch"] == 2]
    assert ("mpsnr_db/held", last["scores"]["held"]["mpsnr_db"], 2) in board.points


def test_a_resumed_run_forgets_the_points_after_its_state(recipe, tmp_path, writers, stop_after):
    config, go_on = load_config(recipe, CHANGES), stop_after(1)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", quiet=True)
    go_on()
    train(config, tmp_path / "run", resume=True, quiet=True)
    assert [board.purge_step for board in writers] == [1, 2]
    assert {step for _, _, step in writers[1].points} == {2}


def test_without_tensorboard_the_pip_line_is_given(recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hypersharp\[tensorboard\]'"):
        train(load_config(recipe, CHANGES), tmp_path / "run", quiet=True)
