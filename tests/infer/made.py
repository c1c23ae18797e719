"""Scenes, cubes and tiny networks made for the tests of this room and of the pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from hypersharp.cube import Bands, Cube, Grid, array_source
from hypersharp.io.crs import to_wkt2


def scene(shape: tuple[int, int, int], *, seed: int = 0, noise: float = 0.0, detail: float = 3.0) -> np.ndarray:
    """`(C, H, W)` float64 of three materials with sharp borders, fields and smooth spectra, about 500 to 3000.

    Args:
        shape: `(C, H, W)`.
        seed: of borders, spectra and noise.
        noise: standard deviation of white noise.
        detail: pixels of the finest structures; below 2 they are not sampled properly.
    """
    bands, rows, cols = shape
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:cols] / detail
    maps = [np.sin(a * y + b * x + c) for a, b, c in rng.uniform(0.4, 1.6, (3, 3))]
    maps[1] = np.where(np.sin(1.3 * y - 0.7 * x) > 0.2, 1.0, -0.4) + 0.3 * maps[1]
    maps[2] = np.where((y // 2 + x // 3) % 2 < 1, 0.8, -0.8) + 0.2 * maps[2]
    at = np.linspace(0, 3, bands)
    spectra = [300 * (1 + 0.5 * np.sin((k + 1) * at + k)) for k in range(3)]
    values = 1500 + sum(spectrum[:, None, None] * plane for spectrum, plane in zip(spectra, maps, strict=True))
    return values + rng.normal(size=shape) * noise


def cube_of(values: np.ndarray, **parts: Any) -> Cube:
    """A cube with wavelengths and a grid over an array `(C, H, W)`."""
    bands, rows, cols = values.shape
    source = array_source(values)
    described = Bands(bands, np.linspace(400.0, 2400.0, bands), np.full(bands, 10.5))
    grid = Grid((rows, cols), (30.0, 0.0, 500000.0, 0.0, -30.0, 4200000.0), to_wkt2(32633))
    return Cube(source, described, grid, **parts)


def holes(rows: int, cols: int, *, share: float = 0.06, seed: int = 5) -> np.ndarray:
    """`(rows, cols)` mask, True where there is no data: a swath edge, a corner and single pixels."""
    rng = np.random.default_rng(seed)
    mask = rng.random((rows, cols)) < share
    mask[np.add.outer(np.arange(rows), np.arange(cols)) < (rows + cols) / 8] = True
    mask[rows // 2 : rows // 2 + 2, -3:] = True
    return mask


def save_network(path: Path, *, scale: int, bands: int | None, card: dict[str, Any] | None, mean: bool = False) -> Path:
    """A network that repeats each pixel `scale` × `scale` times; with `mean` it adds the mean of its window.

    Args:
        path: where to.
        scale: HR/LR ratio of the network itself.
        bands: bands of its input, or None for any.
        card: its card as JSON, or None for a model without one.
        mean: whether every output depends on every input.
    """
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], [1.0, 1.0, float(scale), float(scale)])
    up = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    nodes = [helper.make_node("Resize", ["lr", "", "scales"], ["up"], **up)]
    if mean:
        axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
        nodes.append(helper.make_node("ReduceMean", ["lr", "axes"], ["mean"], keepdims=1))
        nodes.append(helper.make_node("Add", ["up", "mean"], ["sr"]))
    else:
        axes = None
        nodes.append(helper.make_node("Identity", ["up"], ["sr"]))
    count: Any = "C" if bands is None else bands
    graph = helper.make_graph(
        nodes,
        "nearest",
        [helper.make_tensor_value_info("lr", TensorProto.FLOAT, ["N", count, "H", "W"])],
        [helper.make_tensor_value_info("sr", TensorProto.FLOAT, ["N", count, "sH", "sW"])],
        [scales] if axes is None else [scales, axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    if card is not None:
        helper.set_model_props(model, {"hypersharp_card": json.dumps(card)})
    onnx.save(model, str(path))
    return path
