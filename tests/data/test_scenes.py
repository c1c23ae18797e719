"""Scenes: dead and noisy bands go, common bands stay, names are found."""

from __future__ import annotations

import numpy as np
import pytest

import hypersharp
from hypersharp.data.scenes import common_bands, find_scenes, load_scene
from hypersharp.errors import FileFormatError, UsageError


def write(path, values, waves=None):
    bands = None if waves is None else hypersharp.Bands(len(values), np.asarray(waves, float))
    hypersharp.write(hypersharp.Cube.from_array(values, bands=bands), path)
    return path


def ramp(bands=6, size=(40, 40)):
    """Smooth bands of little noise."""
    y, x = np.mgrid[: size[0], : size[1]] / 10
    draw = np.random.default_rng(0)
    return np.stack([np.sin(y + b) + np.cos(x * b / 3) + draw.normal(0, 0.01, size) for b in range(1, bands + 1)])


def test_dead_and_noisy_bands_are_left_out(tmp_path):
    values = ramp()
    values[1] = 4.0
    values[4] = np.nan
    values[5] = np.random.default_rng(1).normal(0, 1, values[5].shape)
    path = write(tmp_path / "scene.h5", values.astype(np.float32))
    assert load_scene(path).kept.tolist() == [0, 2, 3, 5]
    assert load_scene(path, drop_noisy_db=3).kept.tolist() == [0, 2, 3]
    with pytest.raises(UsageError, match="no band is left"):
        load_scene(path, drop_noisy_db=90)


def test_invalid_pixels_are_known_and_finite(tmp_path):
    values = ramp(3).astype(np.float32)
    values[1, 5, 7] = np.nan
    scene = load_scene(write(tmp_path / "scene.h5", values))
    assert np.isfinite(scene.hr).all()
    assert np.argwhere(~scene.valid).tolist() == [[5, 7]]


def test_common_bands_are_those_of_the_files(tmp_path):
    one, two = ramp(), ramp()
    one[0], two[3] = 1, 2
    scenes = [load_scene(write(tmp_path / name, cube)) for name, cube in (("one.h5", one), ("two.h5", two))]
    cut = common_bands(scenes)
    assert [scene.kept.tolist() for scene in cut] == [[1, 2, 4, 5]] * 2
    assert np.array_equal(cut[1].hr, two[[1, 2, 4, 5]].astype(np.float32))


def test_scenes_of_different_sensors_do_not_mix_as_bands(tmp_path):
    one = load_scene(write(tmp_path / "one.h5", ramp(), np.arange(6) * 10 + 500))
    two = load_scene(write(tmp_path / "two.h5", ramp(), np.arange(6) * 12 + 500))
    with pytest.raises(UsageError, match="two has other wavelengths than one; train in the subspace"):
        common_bands([one, two])


def test_scenes_of_other_bands_do_not_mix_without_wavelengths(tmp_path):
    one = load_scene(write(tmp_path / "one.h5", ramp(6), np.arange(6) * 10 + 500))
    two = load_scene(write(tmp_path / "two.h5", ramp(5)))
    with pytest.raises(UsageError, match="one has 6 bands and two 5, without wavelengths to match"):
        common_bands([one, two])
    more = load_scene(write(tmp_path / "more.h5", ramp(7), np.arange(7) * 10 + 500))
    assert [len(scene.kept) for scene in common_bands([one, more])] == [6, 6]


def test_names_patterns_and_variables(tmp_path, monkeypatch):
    for name in ("a1", "a2", "b"):
        write(tmp_path / f"{name}.h5", ramp(2, (4, 4)))
    monkeypatch.setenv("SOME_SCENES", str(tmp_path))
    found = find_scenes("${SOME_SCENES}", ["b", "a*", "a1.h5"])
    assert [path.name for path in found] == ["b.h5", "a1.h5", "a2.h5"]
    with pytest.raises(FileFormatError, match="no scene 'c' in"):
        find_scenes(str(tmp_path), ["c"])
    with pytest.raises(FileFormatError, match="environment variable that is not set"):
        find_scenes("${NOT_SET_ANYWHERE}/x", ["c"])
    with pytest.raises(FileFormatError, match="expected a folder"):
        find_scenes(str(tmp_path / "none"), ["c"])


def test_patterns_of_any_place_and_none(tmp_path):
    (tmp_path / "other").mkdir()
    for name in ("a1", "a2"):
        write(tmp_path / f"{name}.h5", ramp(2, (4, 4)))
    found = find_scenes(str(tmp_path / "other"), [f"{tmp_path}/a*.h5"])
    assert [path.name for path in found] == ["a1.h5", "a2.h5"]
    for name in ("../a**", "x" * 5000, f"/none/at/all/{'x' * 300}*"):
        with pytest.raises(FileFormatError, match="check the names under") as caught:
            find_scenes(str(tmp_path / "other"), [name])
        assert "\n" not in str(caught.value)
    with pytest.raises(FileFormatError, match="expected a folder"):
        find_scenes("x" * 5000, ["a"])
