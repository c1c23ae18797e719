"""Small scenes and recipes that train in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

import hypersharp


@pytest.fixture(autouse=True)
def _one_thread():
    """Small products on shared machines are faster so, and always sum in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scene(seed: int, bands: int = 6, size: tuple[int, int] = (48, 40)) -> np.ndarray:
    """Blocks of a few materials with smooth spectra, a little texture, whole numbers: `(C, H, W)` int16."""
    draw = np.random.default_rng(seed)
    labels = np.kron(draw.integers(0, 5, (size[0] // 4 + 1, size[1] // 4 + 1)), np.ones((4, 4), int))
    labels = labels[: size[0], : size[1]]
    spectra = ndimage.gaussian_filter1d(draw.uniform(500, 4000, (5, bands)), 1.0, axis=1)
    cube = spectra[labels].transpose(2, 0, 1) + draw.normal(0, 20, (bands, *size))
    return cube.round().astype(np.int16)


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., np.ndarray]:
    """`scene` for tests that need more of them."""
    return scene


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three small scenes of one sensor."""
    folder = tmp_path_factory.mktemp("scenes")
    waves = hypersharp.Bands(6, np.linspace(450, 900, 6))
    for seed, name in enumerate(("one", "two", "held")):
        hypersharp.write(hypersharp.Cube.from_array(scene(seed), bands=waves), folder / f"{name}.h5")
    return folder


RECIPE = """
about = "tiny"
seed = 3

[model]
name = "lkca_lr"

[model.config]
features = 16
blocks = 2
reduction = 4
drop_path = 0.2
upsampler = {{ kind = "grouped", groups = 2 }}

[data]
root = "{root}"
train = ["one", "two"]
validation = ["held"]
scale = 2
patch = 16
per_epoch = 24
domain = "{domain}"
components = 3

[train]
epochs = 2
batch = 8
lr = 2e-3
schedule = "cosine"
warm_up = 2
clip = 1.0
ema = 0.9
device = "cpu"
tile = 16
log_every = 1
"""


@pytest.fixture(scope="session")
def recipe_text(scenes: Path) -> str:
    """A recipe in the domain of bands."""
    return RECIPE.format(root=scenes, domain="bands")


@pytest.fixture
def recipe(recipe_text: str, tmp_path: Path) -> Path:
    """The same as a file."""
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text)
    return path


@pytest.fixture
def subspace_recipe(scenes: Path, tmp_path: Path) -> Path:
    """The same in the subspace."""
    path = tmp_path / "recipe_subspace.toml"
    path.write_text(RECIPE.format(root=scenes, domain="subspace"))
    return path
