"""Small scenes and a plan whose networks train in a moment."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

import hypersharp
from hypersharp.bench import Plan
from hypersharp.train.config import DataConfig

SMALL = (
    "train.device=cpu",
    "train.batch=4",
    "vdsr_lr:model.config.features=4",
    "vdsr_lr:model.config.depth=3",
    "fcnn3d_lr:model.config.features=[4, 4, 4]",
)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """A folder with two scenes to train on, one to validate and one to test."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed, name in enumerate(("one", "two", "held", "other")):
        draw = np.random.default_rng(seed)
        blocks = np.kron(draw.uniform(500, 4000, (5, 8, 8)), np.ones((1, 4, 4)))
        values = ndimage.gaussian_filter(blocks, (1, 0.7, 0.7)) + draw.normal(0, 10, blocks.shape)
        hypersharp.write(hypersharp.Cube.from_array(values.astype(np.float32)), folder / f"{name}.h5")
    return folder


@pytest.fixture
def data(scenes):
    """Scenes and protocol at scale 2."""
    return DataConfig(
        root=str(scenes),
        train=["one", "two"],
        validation=["held"],
        test=["other"],
        scale=2,
        domain="subspace",
        components=3,
        patch=8,
    )


@pytest.fixture
def plan(data):
    """Two networks, 32 patches in 8 steps each."""
    return Plan(("fcnn3d_lr", "vdsr_lr"), data, patches=32, cap_minutes=0, settings=SMALL)
