"""The recipe: that it reads back, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hypersharp.cube import Bands, Cube
from hypersharp.degrade.recipe import Recipe, read_recipe
from hypersharp.degrade.wald import simulate
from hypersharp.errors import FileFormatError, UsageError


def _cube() -> Cube:
    values = np.random.default_rng(0).random((6, 16, 16)).astype(np.float32)
    return Cube.from_array(values, bands=Bands(6, np.linspace(450, 700, 6)))


def test_a_recipe_reads_back_from_its_own_json(tmp_path: Path) -> None:
    recipe = Recipe(
        scale=4,
        degradation="mtf:0.25",
        shift_yx=(0.5, -1),
        noise=("gaussian:snr_db=35",),
        srf="sentinel2a:B2",
        msi_noise=("stripes:level=0.1",),
        seed=2**64 - 1,
        input={"bands": "1-5"},
        output={"dtype": "int16", "cog": True},
    )
    (tmp_path / "r.json").write_text(json.dumps({"hypersharp": "9.9", "recipe": recipe.as_dict()}))
    again, version = read_recipe(tmp_path / "r.json")
    assert again == recipe
    assert version == "9.9"
    assert Recipe.from_dict(Recipe(scale=2).as_dict()) == Recipe(scale=2)
    assert json.loads(recipe.line().partition("simulate: ")[2]) == recipe.as_dict()
    assert "\n" not in recipe.line()


def test_what_was_followed_names_everything() -> None:
    done = simulate(_cube(), Recipe(scale=2, noise=(" Gaussian:sigma=0.1",), srf="supergaussian:550/100"))
    assert done.recipe.degradation == "mtf:0.3"
    assert done.recipe.noise == ("gaussian:sigma=0.1",)
    assert done.msi is not None
    assert done.lr.history[-1] == done.msi.history[-1] == done.recipe.line()
    np.testing.assert_array_equal(simulate(_cube(), done.recipe).lr.read()[0], done.lr.read()[0])


def test_a_file_that_changed_since_is_refused(tmp_path: Path) -> None:
    kernel = tmp_path / "k.npy"
    np.save(kernel, np.ones((4, 4)))
    done = simulate(_cube(), Recipe(scale=4, degradation=f"kernel:{kernel}"))
    assert list(done.recipe.files) == [str(kernel)]
    simulate(_cube(), done.recipe)
    np.save(kernel, np.ones((2, 2)))
    with pytest.raises(UsageError, match="is not the file that the recipe was made with"):
        simulate(_cube(), done.recipe)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scale": 0}, "scale must be a whole number"),
        ({"scale": True}, "scale must be a whole number"),
        ({"scale": 2, "seed": -1}, "seed must be a whole number"),
        ({"scale": 2, "seed": 2**64}, "seed must be a whole number"),
        ({"scale": 2, "shift_yx": [1.0]}, "two numbers"),
        ({"scale": 2, "shift_yx": [1.0, "x"]}, "list of numbers"),
        ({"scale": 2, "shift_yx": [float("nan"), 0.0]}, "two numbers"),
        ({"scale": 2, "noise": "gaussian:sigma=1"}, "noise is of a wrong kind"),
        ({"scale": 2, "noise": [3]}, "lists of texts"),
        ({"scale": 2, "msi_noise": ["gaussian:sigma=1"]}, "needs an SRF"),
        ({"scale": "2"}, "scale is of a wrong kind"),
        ({}, "no scale"),
        ({"scale": 2, "psf": "mtf:0.3"}, "unknown psf"),
    ],
)
def test_a_wrong_recipe_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Recipe.from_dict(wrong)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"recipe": 3}', b"\xff\xfe"])
def test_a_file_that_is_no_sidecar_is_refused(tmp_path: Path, content: str | bytes | None) -> None:
    path = tmp_path / "x.recipe.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FileFormatError, match=r"x\.recipe\.json") as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)
