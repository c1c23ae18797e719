"""Any network behind a session: a tiny ONNX file through the same tiles, blend, no-data and consistency."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hypersharp.errors import FileFormatError, UsageError
from hypersharp.pipeline import Tiling, prepare

from .made import cube_of, holes, save_network, scene

CARD = {"model": "nearest", "scale": 2, "bands": 3, "halo": 0}


def sharpened(values, model, *, tile=None, scale=2, consistency="off"):
    cube = values if not isinstance(values, np.ndarray) else cube_of(values)
    return prepare(cube, scale=scale, model=model, consistency=consistency, tiling=Tiling(tile=tile))


def nearest(values, scale=2):
    return values.repeat(scale, axis=1).repeat(scale, axis=2)


@pytest.fixture
def model(tmp_path):
    return save_network(tmp_path / "nearest.onnx", scale=2, bands=3, card=CARD)


@pytest.mark.parametrize("tile", [1, 4, 7, 100])
def test_a_nearest_neighbour_network_repeats_every_pixel(model, tile):
    values = scene((3, 11, 13))
    made = sharpened(values, model, tile=tile)
    np.testing.assert_allclose(made.cube.read()[0], nearest(values), rtol=2e-6)
    assert "nearest (weights " in made.cube.history[-1]


def test_nodata_stays_where_it_is(model):
    values = scene((3, 11, 13))
    values[:, holes(11, 13)] = np.nan
    sharp, valid = sharpened(values, model, tile=5).cube.read()
    np.testing.assert_array_equal(valid, nearest(np.isfinite(values)))
    np.testing.assert_allclose(sharp, nearest(values), rtol=2e-6, equal_nan=True)


@pytest.mark.parametrize("gaps", [False, True])
def test_consistency_follows_a_network_tile_by_tile(model, gaps):
    """float32 all the way: tiles and whole agree to its rounding."""
    values = scene((3, 60, 5), noise=1.0, detail=2.2).astype(np.float32)
    if gaps:
        values[:, holes(60, 5, share=0.03)] = np.nan
    whole = sharpened(values, model, consistency="noise", tile=60)
    assert whole.consistency is not None
    got = sharpened(values, model, consistency="noise", tile=7).cube.read()[0]
    expected = whole.cube.read()[0]
    np.testing.assert_allclose(got, expected, atol=1e-6 * np.nanmax(values), rtol=0, equal_nan=True)
    assert np.nanmax(np.abs(got - nearest(values))) > 1, "consistency has done something"


def test_a_network_without_halo_is_blended(tmp_path):
    card = {"model": "mean", "scale": 2, "bands": 2}
    path = save_network(tmp_path / "mean.onnx", scale=2, bands=2, card=card, mean=True)
    values = scene((2, 20, 90)).astype(np.float32) + np.linspace(0, 3000, 90, dtype=np.float32)
    made = sharpened(values, path, tile=16)
    added = made.cube.read()[0] - nearest(values)
    jumps = np.abs(np.diff(added, axis=2))
    assert added.max() - added.min() > 300, "the windows' means must differ"
    assert jumps.max() < (added.max() - added.min()) / 20
    part = made.cube.read(slice(None), slice(3, 17), slice(50, 111))[0]
    np.testing.assert_allclose(part, made.cube.read()[0][:, 3:17, 50:111], rtol=1e-6)


def test_any_number_of_bands(tmp_path):
    path = save_network(tmp_path / "any.onnx", scale=3, bands=None, card={"model": "any", "scale": 3, "halo": 0})
    for bands in (1, 5):
        values = scene((bands, 6, 7))
        np.testing.assert_allclose(sharpened(values, path, scale=3).cube.read()[0], nearest(values, 3), rtol=2e-6)


def pooling(path):
    """Means of 2 × 2 input pixels, each spread over 4 × 4 output pixels: the phase of a window matters."""
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], [1.0, 1.0, 4.0, 4.0])
    up = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["lr"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Resize", ["pooled", "", "scales"], ["sr"], **up),
        ],
        "pooling",
        [helper.make_tensor_value_info("lr", TensorProto.FLOAT, ["N", 1, "H", "W"])],
        [helper.make_tensor_value_info("sr", TensorProto.FLOAT, ["N", 1, "sH", "sW"])],
        [scales],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    made.ir_version = 8
    card = {"model": "pooling", "scale": 2, "bands": 1, "halo": 1, "multiple_of": 2}
    helper.set_model_props(made, {"hypersharp_card": json.dumps(card)})
    onnx.save(made, str(path))
    return path


@pytest.mark.parametrize("size", [12, 13])
def test_windows_start_where_a_pooling_network_expects_them(tmp_path, size):
    path = pooling(tmp_path / "pooling.onnx")
    values = scene((1, size, size))
    expected = sharpened(values, path, tile=size).cube.read()[0]
    for tile in (3, 4, 5):
        np.testing.assert_allclose(sharpened(values, path, tile=tile).cube.read()[0], expected, rtol=1e-5)


# ---- what is wrong with a network ------------------------------------------------------------------------------------


def test_the_wrong_scale_is_refused(model):
    with pytest.raises(UsageError, match="made for scale 2, got scale 3"):
        sharpened(scene((3, 6, 6)), model, scale=3)


def test_the_wrong_number_of_bands_is_refused(model):
    with pytest.raises(UsageError, match="takes 3 bands, the cube has 4"):
        sharpened(scene((4, 6, 6)), model)


CARDS = [
    {"model": "x"},
    {"model": "x", "scale": 0},
    {"model": "x", "scale": 2, "halo": -1},
    {"model": "x", "scale": 2, "multiple_of": 0},
    {"model": "x", "scale": "two"},
    [1, 2],
    {"model": ["x"], "scale": 2},
]


@pytest.mark.parametrize("card", CARDS, ids=json.dumps)
def test_a_damaged_card_is_refused(tmp_path, card):
    path = save_network(tmp_path / "bad.onnx", scale=2, bands=3, card=card)
    with pytest.raises(FileFormatError, match=r"bad\.onnx: its card is damaged"):
        sharpened(scene((3, 6, 6)), path)


def test_files_that_are_no_network_are_refused(tmp_path):
    values = scene((3, 6, 6))
    none = save_network(tmp_path / "none.onnx", scale=2, bands=3, card=None)
    with pytest.raises(FileFormatError, match="carries no card"):
        sharpened(values, none)
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(none.read_bytes()[:-40])
    text = tmp_path / "text.onnx"
    text.write_text("this is no network")
    empty = tmp_path / "empty.onnx"
    empty.touch()
    for path in (cut, text, empty, tmp_path / "missing.onnx", tmp_path):
        with pytest.raises((FileFormatError, UsageError)) as caught:
            sharpened(values, path)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)


def test_a_card_that_lies_about_its_scale_is_refused(tmp_path):
    path = save_network(tmp_path / "lies.onnx", scale=3, bands=3, card=CARD)
    with pytest.raises(FileFormatError, match="expected an output"):
        sharpened(scene((3, 6, 6)), path).cube.read()


def test_a_network_that_takes_other_bands_than_its_card_says_is_refused(tmp_path):
    path = save_network(tmp_path / "lies.onnx", scale=2, bands=5, card=CARD)
    with pytest.raises(FileFormatError, match="failed on a window"):
        sharpened(scene((3, 6, 6)), path).cube.read()


def test_a_network_that_gives_no_numbers_is_refused(tmp_path):
    """NaN would come out as no-data, or as a number."""
    graph = helper.make_graph(
        [
            helper.make_node("Log", ["lr"], ["log"]),
            helper.make_node("Resize", ["log", "", "scales"], ["sr"], mode="nearest"),
        ],
        "log",
        [helper.make_tensor_value_info("lr", TensorProto.FLOAT, ["N", 1, "H", "W"])],
        [helper.make_tensor_value_info("sr", TensorProto.FLOAT, ["N", 1, "sH", "sW"])],
        [helper.make_tensor("scales", TensorProto.FLOAT, [4], [1.0, 1.0, 2.0, 2.0])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    made.ir_version = 8
    helper.set_model_props(made, {"hypersharp_card": json.dumps({"model": "log", "scale": 2, "halo": 0})})
    onnx.save(made, str(tmp_path / "log.onnx"))
    values = scene((1, 6, 6))
    values[0, 2, 2] = -5.0
    with pytest.raises(FileFormatError, match="finite"):
        sharpened(values, tmp_path / "log.onnx").cube.read()
