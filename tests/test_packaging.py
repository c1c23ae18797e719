"""The wheel, installed alone into an empty environment, sharpens a file; and nothing heavy comes with it."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

import hypersharp

ROOT = Path(__file__).parents[1]
NO_NETWORK = (
    "Temporary failure in name resolution",
    "Network is unreachable",
    "Max retries exceeded",
    "ConnectionError",
)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def empty_environment(wheel, tmp_path_factory):
    """An environment with nothing but the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    command = [sys.executable, "-m", "pip", "--python", str(folder), "install", "--quiet", "--no-compile", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and any(sign in done.stderr for sign in NO_NETWORK):
        pytest.skip("no package registry can be reached, so nothing can be installed")
    assert done.returncode == 0, done.stderr
    return folder


def run(environment, *command):
    """Run a program of the environment, away from the repository and without what this test was started with."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [environment / "bin" / command[0], *command[1:]], capture_output=True, text=True, env=kept, cwd=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_and_its_licence_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"hypersharp", f"hypersharp-{hypersharp.__version__}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    inside = {name for name in names if name.endswith(".py")}
    source = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "hypersharp").rglob("*.py")}
    assert inside == source
    assert "hypersharp/py.typed" in names


def test_the_version_is_said_in_two_places_alike():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == hypersharp.__version__


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_alone_it_sharpens_an_envi_file(empty_environment, tmp_path):
    grid = hypersharp.Grid((24, 20), (30.0, 0.0, 500_000.0, 0.0, -30.0, 4_000_000.0))
    bands = hypersharp.Bands(6, wavelength_nm=[450.125, 550, 650, 750, 850, 950])
    values = np.random.default_rng(0).integers(200, 3000, (6, 24, 20)).astype(np.int16)
    cube = hypersharp.Cube.from_array(values, bands=bands, grid=grid)
    scene, sharp = tmp_path / "scene.img", tmp_path / "sharp.tif"
    hypersharp.write(cube, scene)
    run(empty_environment, "hypersharp", "sharpen", str(scene), str(sharp), "--scale", "2")
    with rasterio.open(sharp) as file:
        assert (file.count, file.height, file.width, file.dtypes[0]) == (6, 48, 40, "int16")
        assert tuple(file.transform)[:6] == (15.0, 0.0, 500_000.0, 0.0, -15.0, 4_000_000.0)
        assert float(file.tags(1)["wavelength"]) == 450.125
        mean = file.read().mean()
    assert abs(mean - values.mean()) < 0.02 * values.mean()


def test_alone_it_brings_no_torch_and_stays_small(empty_environment):
    code = "import importlib.util as u, json; print(json.dumps([n for n in ('torch', 'pip') if u.find_spec(n)]))"
    assert json.loads(run(empty_environment, "python", "-c", code)) == []
    (packages,) = empty_environment.glob("lib/python*/site-packages")
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file())
    assert size <= 500e6, f"the core install takes {size / 1e6:.0f} MB"


def test_the_module_is_the_command(empty_environment):
    for option in ("--help", "--version"):
        by_module = run(empty_environment, "python", "-m", "hypersharp", option)
        assert by_module == run(empty_environment, "hypersharp", option)
    assert run(empty_environment, "hypersharp", "--version").strip() == hypersharp.__version__
