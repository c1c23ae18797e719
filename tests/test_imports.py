"""What is loaded when: importing the package is cheap, and no command loads what it does not need."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import hypersharp

HEAVY = {"numpy", "scipy", "rasterio", "h5py", "onnxruntime", "torch", "xarray", "dask", "matplotlib", "typer"}
NETWORKS = {"torch", "onnxruntime"}


def loaded_by(code: str) -> set[str]:
    """The heavy libraries that a fresh interpreter has loaded after `code`; its own output is thrown away."""
    wrapped = (
        "import contextlib, io, json, sys\n"
        f"with contextlib.redirect_stdout(io.StringIO()):\n    {code}\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    shown = subprocess.run([sys.executable, "-W", "error", "-c", wrapped], capture_output=True, text=True, check=True)
    return HEAVY & set(json.loads(shown.stdout))


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("imports") / "scene.img"
    values = np.random.default_rng(0).integers(100, 2000, (4, 12, 12)).astype(np.int16)
    hypersharp.write(hypersharp.Cube.from_array(values), path)
    return path


def test_importing_the_package_loads_no_library():
    assert loaded_by("import hypersharp") == set()


def test_help_loads_only_the_command_line():
    assert loaded_by("from hypersharp.cli import run; assert run(['--help']) == 0") == {"typer"}


@pytest.mark.parametrize("command", [["--help"], ["info", "--help"], ["info", "SCENE"], ["info", "SCENE", "--json"]])
def test_help_and_info_load_no_network_runtime_even_where_installed(scene, command):
    assert all(find_spec(name) for name in NETWORKS), "both must be installed for this to say anything"
    arguments = [str(scene) if part == "SCENE" else part for part in command]
    assert not NETWORKS & loaded_by(f"from hypersharp.cli import run; assert run({arguments!r}) == 0")


def test_sharpening_without_a_network_loads_no_network_runtime(scene, tmp_path):
    arguments = ["sharpen", str(scene), str(tmp_path / "sharp.tif"), "--scale", "2", "--method", "bicubic"]
    assert not NETWORKS & loaded_by(f"from hypersharp.cli import run; assert run({arguments!r}) == 0")
