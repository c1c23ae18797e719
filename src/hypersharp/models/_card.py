"""The card: what a file of weights says about itself; JSON inside the file, and beside it for people.

No torch here: the core reads the card of an `.onnx` file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from hypersharp._nearest import nearest
from hypersharp.errors import FileFormatError, UsageError

CARD_KEY = "hypersharp_card"
"""Name of the card in the metadata of `.onnx` and `.safetensors` files."""
PSF_NUMBERS = 2
"""Numbers that describe a blur to a conditioned network, before one for the noise of each eigenimage."""
DOMAINS = ("bands", "subspace")


@dataclass(frozen=True)
class Card:
    """What inference needs to know about a network, and where it comes from.

    Attributes:
        model: its name, as in `models.list_models` or free for a foreign one.
        scale: HR pixels per LR pixel along a side.
        bands: channels it takes, or None for any; in a subspace the number of eigenimages.
        halo: LR pixels that an output pixel depends on, or None where there is no bound.
        multiple_of: sides of its input must be multiples of this.
        domain: ``"bands"`` or ``"subspace"``.
        gives: ``"image"``, or ``"change"`` where the network gives what is to be added to the estimate that
            consistency makes of bicubic enlargement (subspace).
        described: whether it takes the numbers of `infer.conditions` as channels after the eigenimages.
        msi_bands: channels of the MSI that it takes besides; None for a network that sharpens a cube alone.
        msi_drafted: whether these are a draft of the eigenimages, as many as `bands`
            (subspace; `fusion.draft`), so that the MSI may have any number of bands; else the bands themselves.
        quantile: of the LR scene's magnitudes that becomes 1 (bands); 1 for the maximum.
        wavelength_nm: of the bands that it was trained on, where known.
        config: the network's own configuration, by field.
        about: degradation, data, split, seed, commit, scores: text and numbers for people.
    """

    model: str
    scale: int
    bands: int | None = None
    halo: int | None = None
    multiple_of: int = 1
    domain: str = "bands"
    gives: Literal["image", "change"] = "image"
    described: bool = False
    msi_bands: int | None = None
    msi_drafted: bool = False
    quantile: float = 0.999
    wavelength_nm: tuple[float, ...] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> int | None:
        """Of its input: bands or eigenimages, and what describes the scene."""
        return self.bands if self.bands is None or not self.described else 2 * self.bands + PSF_NUMBERS

    @classmethod
    def from_json(cls, text: str, where: str) -> Card:
        """Read a card.

        Raises:
            FileFormatError: not JSON, or a field is missing or of the wrong kind.
        """
        try:
            raw = json.loads(text)
            known = {name: raw[name] for name in (item.name for item in fields(cls)) if name in raw}
            card = cls(**TypeAdapter(cls).dump_python(TypeAdapter(cls).validate_python(known)))
            sizes = card.scale >= 1 and card.multiple_of >= 1 and (card.halo or 0) >= 0
            sizes = sizes and (card.msi_bands is None or card.msi_bands >= 1)
            if card.domain not in DOMAINS or not sizes or not 0 < card.quantile <= 1:
                raise ValueError("a value is out of range")
        except (ValueError, TypeError, KeyError) as error:
            first = str(error).splitlines()[0]
            raise FileFormatError(f"{where}: its card is damaged ({first}); export the model again") from None
        return card

    def to_json(self) -> str:
        """The card as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


def config_to_dict(config: Any) -> dict[str, Any]:
    """A network's `Config` as plain values."""
    return asdict(config)


def config_from_dict(kind: Any, plain: Mapping[str, Any], where: str) -> Any:
    """A network's `Config` from plain values; what is not said stays as it is by default.

    Args:
        kind: the `Config` class.
        plain: field to value; nested for nested records.
        where: what is configured, for the message.

    Raises:
        UsageError: an unknown field, or a value of the wrong kind.
    """
    _check_fields(kind, plain, where)
    try:
        return TypeAdapter(kind).validate_python(dict(plain))
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {at}: {first['msg']}, got {first['input']!r}; correct it") from None


def _check_fields(kind: Any, plain: Mapping[str, Any], where: str) -> None:
    known = {item.name: item for item in fields(kind)}
    for name, value in plain.items():
        if name not in known:
            raise UsageError(
                f"{where} has no setting {name!r}{nearest(name, known)}; it knows {', '.join(sorted(known))}"
            )
        factory = known[name].default_factory
        if isinstance(value, Mapping) and factory is not MISSING and is_dataclass(factory()):
            _check_fields(type(factory()), value, f"{where}, {name}")
