"""Running a network: the only file with ONNX Runtime.

An `.onnx` file of ours carries its card in its metadata, under the key ``hypersharp_card``, as JSON.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hypersharp._require import require
from hypersharp.errors import FileFormatError
from hypersharp.models._card import CARD_KEY, Card

__all__ = ["CARD_KEY", "Card", "OnnxSession", "Session"]


class Session(Protocol):
    """A network ready to run, whatever runs it."""

    @property
    def name(self) -> str:
        """As it goes into messages: the file, or what is being trained."""
        ...

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        ...

    @property
    def card(self) -> Card:
        """What the network is."""
        ...

    def __call__(self, lr: NDArray[np.float32], msi: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Run the network on `(N, C, h, w)`, giving `(N, C, s·h, s·w)`, both normalised float32.

        A network that fuses takes an MSI `(N, B, s·h, s·w)` besides, normalised too.
        """
        ...


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A network run on the eight turns and mirror images of its window, and the mean of what it gives.

    Eight times the work; numbers that describe a scene hold for all eight, as they are means over both directions.
    """

    session: Session

    @property
    def name(self) -> str:
        """For messages and the history."""
        return self.session.name

    @property
    def sha256(self) -> str:
        """Hash of the network's file."""
        return self.session.sha256

    @property
    def card(self) -> Card:
        """What the network is."""
        return self.session.card

    def __call__(self, lr: NDArray[np.float32], msi: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See `Session`."""
        total: NDArray[np.float32] | None = None
        for turn in range(8):
            seen = None if msi is None else _turned(msi, turn)
            sharp = np.rot90(self.session(_turned(lr, turn), seen), -(turn % 4), (2, 3))
            sharp = sharp[..., ::-1] if turn >= 4 else sharp
            total = sharp.copy() if total is None else np.add(total, sharp, out=total)
        assert total is not None
        total /= 8
        return total


def check_file(path: Path) -> None:
    """Refuse what is no file.

    Raises:
        FileFormatError: it is missing, or a folder.
    """
    if not path.is_file():
        what = "name the weights in it, best.safetensors" if path.is_dir() else "check the path"
        raise FileFormatError(f"expected an existing model file, got {os.fspath(path)!r}; {what}")


def _turned(planes: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.rot90(planes[..., ::-1] if turn >= 4 else planes, turn % 4, (2, 3)))


@dataclass(frozen=True, eq=False)
class OnnxSession:
    """An `.onnx` file ready to run on the CPU.

    Attributes:
        path: the file.
        threads: threads of one run; 0 for the library's own choice.
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
        """The card that the file carries.

        Raises:
            FileFormatError: the file carries none.
        """
        text = self._session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
        if text is None:
            raise FileFormatError(
                f"{self.path.name}: the model carries no card (metadata {CARD_KEY!r}); export it with hypersharp"
            )
        return Card.from_json(text, self.path.name)

    @cached_property
    def _session(self) -> Any:
        runtime = require("onnxruntime", "", "running an .onnx model")
        check_file(self.path)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        try:
            return runtime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's exceptions share no base but Exception
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FileFormatError(f"{self.path.name}: not a model that can be run ({first})") from None

    def __call__(self, lr: NDArray[np.float32], msi: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See `Session`.

        Raises:
            FileFormatError: the network does not take this window, or answers with another shape.
        """
        given = [np.ascontiguousarray(part) for part in (lr, msi) if part is not None]
        try:
            named = {into.name: part for into, part in zip(self._session.get_inputs(), given, strict=True)}
            sharp = np.asarray(self._session.run(None, named)[0])
        except Exception as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FileFormatError(f"{self.path.name}: the model failed on a window {lr.shape} ({first})") from None
        batch, channels, height, width = lr.shape
        bands = self.card.bands if self.card.described else channels
        wanted = (batch, bands, height * self.card.scale, width * self.card.scale)
        if sharp.shape != wanted:
            raise FileFormatError(f"{self.path.name}: expected an output {wanted}, the model gave {sharp.shape}")
        if not np.isfinite(sharp).all():
            raise FileFormatError(f"{self.path.name}: the model gave values that are not finite; use another")
        return sharp
