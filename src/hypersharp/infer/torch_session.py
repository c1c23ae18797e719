"""Running a network through torch: checkpoints, and the network that is being trained.

Torch is imported when a session is made, never with this file: the core runs `.onnx` without it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp import models
from hypersharp._require import require
from hypersharp.errors import FileFormatError
from hypersharp.infer.session import OnnxSession, Session, check_file
from hypersharp.models._card import CARD_KEY, Card, config_from_dict

ENDINGS = (".safetensors", ".pth", ".pt")
"""Endings of files that hold weights for torch."""


@dataclass(frozen=True, eq=False)
class ModuleSession:
    """A network in memory.

    Attributes:
        module: it takes `(N, C, h, w)` tensors, and one of the MSI where it fuses.
        card: what it is.
        name: for messages.
        sha256: hash of its weights; empty while it is trained.
    """

    module: Any
    card: Card
    name: str = "the network"
    sha256: str = ""

    def __call__(self, lr: NDArray[np.float32], msi: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See `Session`. Runs on the network's device, without gradients, as for inference."""
        torch = require("torch", "train", "running a checkpoint")
        device = next(self.module.parameters()).device
        training = self.module.training
        self.module.eval()
        try:
            with torch.inference_mode():
                given = [
                    torch.from_numpy(np.ascontiguousarray(part)).to(device, memory_format=torch.channels_last)
                    for part in (lr, msi)
                    if part is not None
                ]
                sharp: NDArray[np.float32] = self.module(*given).float().contiguous().cpu().numpy()
        finally:
            self.module.train(training)
        batch, channels, height, width = lr.shape
        bands = self.card.bands if self.card.described else channels
        wanted = (batch, bands, height * self.card.scale, width * self.card.scale)
        if sharp.shape != wanted:
            raise FileFormatError(f"{self.name}: expected an output {wanted}, the model gave {sharp.shape}")
        return sharp


@dataclass(frozen=True, eq=False)
class TorchSession:
    """A checkpoint ready to run on the CPU.

    Attributes:
        path: a `.safetensors` file of ours, or a foreign `.pth` with a card beside it (`NAME.card.json`).
        threads: threads of torch from the first run on; 0 for torch's own choice.
    """

    path: Path
    threads: int = 0

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @cached_property
    def sha256(self) -> str:
        """Hash of the file, for the history."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @cached_property
    def card(self) -> Card:
        """The card in the file, else the one beside it."""
        return read_card(self.path)

    @cached_property
    def _session(self) -> ModuleSession:
        torch = require("torch", "train", "running a checkpoint")
        if self.threads:
            torch.set_num_threads(self.threads)
        return ModuleSession(channels_last(load_model(self.path)), self.card, self.name, self.sha256)

    def __call__(self, lr: NDArray[np.float32], msi: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See `Session`."""
        return self._session(lr, msi)


def session_of(path: Path, threads: int = 0) -> Session:
    """A file of weights ready to run, by its ending: with torch, else with ONNX Runtime."""
    return TorchSession(path, threads) if path.suffix in ENDINGS else OnnxSession(path, threads)


def channels_last(module: Any) -> Any:
    """The network with the weights of its 2-D convolutions laid out as their windows are; 3-D ones stay as they are."""
    torch = require("torch", "train", "running a network")
    for weight in module.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return module


def card_beside(path: Path) -> Path:
    """Where the card of a file of weights lies: its stem with `.card.json` after it."""
    return path.with_name(f"{path.stem}.card.json")


def read_card(path: Path) -> Card:
    """The card of a checkpoint: in a `.safetensors` file, else beside it.

    Raises:
        FileFormatError: the file is missing or damaged, or there is no card.
    """
    check_file(path)
    text = None
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                text = (file.metadata() or {}).get(CARD_KEY)
        except (SafetensorError, OSError) as error:
            raise FileFormatError(f"{path.name}: not a checkpoint that can be read ({error}); fetch it again") from None
    beside = card_beside(path)
    if text is None and beside.is_file():
        try:
            text = beside.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FileFormatError(f"{beside.name}: cannot be read ({error})") from None
    if text is None:
        raise FileFormatError(
            f"{path.name}: carries no card; write {beside.name} beside it with model, scale, bands and config"
        )
    return Card.from_json(text, path.name)


def load_model(path: Path) -> Any:
    """The network of a checkpoint with its weights, ready for inference; code in a file is never run.

    Raises:
        FileFormatError: the file is damaged, holds anything but weights, or weights of another network.
        UsageError: its card names a network or setting that does not exist.
    """
    card = read_card(path)
    if card.bands is None:
        raise FileFormatError(f"{path.name}: its card does not say how many bands the network takes; add bands")
    spec = models.get_spec(card.model)
    config = config_from_dict(spec.config, card.config, f"{path.name}: {card.model}")
    module = models.build(card.model, bands=card.bands, scale=card.scale, config=config, msi_bands=card.msi_bands)
    weights = load_weights(path)
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    wrong = sorted(name for name in own.keys() | found.keys() if own.get(name) != found.get(name))
    if wrong:
        raise FileFormatError(
            f"{path.name}: expected the weights of {card.model} as its card says, but {len(wrong)} differ, "
            f"the first {wrong[0]} ({found.get(wrong[0], 'absent')} for {own.get(wrong[0], 'none')})"
        )
    module.load_state_dict(weights)
    return module.eval()


def load_weights(path: Path) -> dict[str, Any]:
    """Name to tensor; a foreign file may hold them under `state_dict`, `model` or `params`.

    Raises:
        FileFormatError: the file is damaged, or holds anything but weights.
    """
    torch = require("torch", "train", "reading a checkpoint")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise FileFormatError(f"{path.name}: not a checkpoint that can be read ({error}); fetch it again") from None
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch raise many kinds
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileFormatError(f"{path.name}: not a file of plain weights; nothing in it was run ({first})") from None
    for name in ("state_dict", "model", "params"):
        if isinstance(held, dict) and isinstance(held.get(name), dict):
            held = held[name]
    if not isinstance(held, dict) or not all(isinstance(value, torch.Tensor) for value in held.values()):
        raise FileFormatError(f"{path.name}: expected a dictionary of weights, got {type(held).__name__}")
    return dict(held)
