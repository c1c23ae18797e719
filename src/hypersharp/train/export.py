"""From a checkpoint to an `.onnx` file with its card inside, checked against torch before it gets its name."""

from __future__ import annotations

import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hypersharp._require import require
from hypersharp.errors import FileFormatError, UsageError, WriteError
from hypersharp.infer.session import OnnxSession
from hypersharp.infer.torch_session import load_model, read_card
from hypersharp.models._card import CARD_KEY, Card

SIZES = ((16, 16), (9, 13), (24, 7))
"""LR sizes at which the file is compared with torch; odd ones among them."""
_LARGEST = 1e-4  # difference over the spread of torch's output
_OPSET = 17


def export(checkpoint: Path, output: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write a checkpoint as `.onnx` with dynamic batch, height and width.

    Args:
        checkpoint: `.safetensors` of ours, or weights with a card beside them.
        output: ends in `.onnx`.
        overwrite: replace an existing file.

    Returns:
        The check: largest difference to torch over the spread of its output, by LR size.

    Raises:
        UsageError: the name of the output is no `.onnx`.
        FileFormatError: the checkpoint cannot be read, or the exported network differs from it.
        WriteError: the output exists or cannot be written.
    """
    onnx = require("onnx", "train", "exporting a network")
    if output.suffix != ".onnx":
        raise UsageError(f"expected an output that ends in .onnx, got {output.name}")
    if os.path.isdir(output):
        raise WriteError(f"{output} is a folder; choose another name")
    if os.path.exists(output) and not overwrite:
        raise WriteError(f"{output} exists; say --overwrite to replace it")
    scratch = output.with_name(f".{output.name}.part-{os.getpid()}.onnx")
    try:
        scratch.touch()  # known before the slow part
    except OSError as error:
        raise WriteError(f"{output}: cannot be written ({error.strerror or error}); choose another name") from None
    try:
        return _checked(onnx, checkpoint, output, scratch)
    except OSError as error:
        raise WriteError(f"{output}: writing failed ({error.strerror or error}); nothing was left") from None
    finally:
        scratch.unlink(missing_ok=True)


def _checked(onnx: Any, checkpoint: Path, output: Path, scratch: Path) -> dict[str, Any]:
    """Trace, compare and name the file."""
    card, model = read_card(checkpoint), load_model(checkpoint)
    given = _given(card, 2, (9, 7), np.random.default_rng(0))
    names = ["lr", "msi"][: len(given)]
    axes = {"lr": {0: "n", 2: "h", 3: "w"}, "msi": {0: "n", 2: "sh", 3: "sw"}, "sr": {0: "n", 2: "sh", 3: "sw"}}
    with warnings.catch_warnings():
        # The newer exporter of torch fails on the bicubic skip; the tracing one is within every torch we allow.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            tuple(torch.from_numpy(part) for part in given),
            str(scratch),
            dynamo=False,
            opset_version=_OPSET,
            input_names=names,
            output_names=["sr"],
            dynamic_axes={name: axes[name] for name in (*names, "sr")},
        )
    graph = onnx.load(str(scratch))
    _write_card(onnx, graph, card, scratch)
    found = _compare(scratch, model, card)
    _write_card(onnx, graph, Card(**{**asdict(card), "about": {**card.about, "export": found}}), scratch)
    os.replace(scratch, output)
    return found


def _write_card(onnx: Any, graph: Any, card: Card, path: Path) -> None:
    del graph.metadata_props[:]
    entry = graph.metadata_props.add()
    entry.key, entry.value = CARD_KEY, card.to_json()
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


def _given(card: Card, count: int, size: tuple[int, int], draw: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
    """What the network takes, drawn: a batch of cubes of this LR size, and of MSIs where it fuses."""
    assert card.channels is not None
    lr = draw.random((count, card.channels, *size), dtype=np.float32)
    if card.msi_bands is None:
        return (lr,)
    return lr, draw.random((count, card.msi_bands, size[0] * card.scale, size[1] * card.scale), dtype=np.float32)


def _compare(path: Path, model: torch.nn.Module, card: Card) -> dict[str, Any]:
    session, draw = OnnxSession(path), np.random.default_rng(0)
    largest: dict[str, float] = {}
    for at, (height, width) in enumerate(SIZES):
        step = card.multiple_of
        size = (-(-height // step) * step, -(-width // step) * step)
        given = _given(card, 1 + at % 2, size, draw)
        with torch.inference_mode():
            wanted = model(*(torch.from_numpy(part) for part in given)).numpy()
        apart = float(np.abs(session(*given) - wanted).max())
        largest[f"{size[0]}x{size[1]}"] = apart / max(float(wanted.std()), 1e-12)
    worst = max(largest.values())
    if not worst <= _LARGEST:
        raise FileFormatError(f"the exported network differs from torch by {worst:.1e} of its spread; nothing was left")
    return {"largest_difference_over_spread": largest, "limit": _LARGEST, "opset": _OPSET, "torch": torch.__version__}
