"""Noise as a stated fact: the text of `--noise`, and what it means for the bands of one scene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp._nearest import nearest
from hypersharp.cube import Source
from hypersharp.errors import NoDataError, UsageError

__all__ = ["Layer", "Noise", "Statistics", "block_of", "generator", "measure", "parse_noise", "resolve"]

_FORMS = {
    "gaussian": "gaussian:snr_db=35 (per=band or per=cube) or gaussian:sigma=S",
    "poisson": "poisson:gain=G,read=S or poisson:snr_db=35",
    "stripes": "stripes:level=0.02,fraction=0.3",
    "dead-lines": "dead-lines:fraction=0.01,value=0",
    "dead-bands": "dead-bands:count=5,value=0 or dead-bands:bands=3+17",
    "impulse": "impulse:fraction=0.01",
    "random": "random:fraction=0.01",
}
# Of each kind: the settings of which exactly one is given, and the others with what they are by default.
_SETTINGS: dict[str, tuple[tuple[str, ...], dict[str, float | str]]] = {
    "gaussian": (("snr_db", "sigma"), {"per": "band"}),
    "poisson": (("gain", "snr_db"), {"read": 0.0}),
    "stripes": (("level",), {"fraction": 1.0}),
    "dead-lines": (("fraction",), {"value": 0.0}),
    "dead-bands": (("count", "bands"), {"value": 0.0}),
    "impulse": (("fraction",), {}),
    "random": (("fraction",), {}),
}


@dataclass(frozen=True)
class Noise:
    """One kind of noise and its settings.

    Attributes:
        kind: `gaussian`, white, by SNR or standard deviation; `poisson`, the signal-dependent Poisson-Gaussian
            noise, drawn as a normal number of variance gain · max(value, 0) + read² (the heteroscedastic form of
            Foi et al., IEEE TIP 17, 2008); `stripes`, an offset per column and band; `dead-lines`, columns of a
            band that hold one value; `dead-bands`; `impulse`, pixels at the band's lowest or highest value;
            `random`, pixels at a random value in between.
        settings: names and values, all of them, defaults included.
    """

    kind: str
    settings: tuple[tuple[str, float | str], ...]

    def __str__(self) -> str:
        """The text that `parse_noise` reads back to equal noise."""
        return f"{self.kind}:" + ",".join(f"{k}={v if isinstance(v, str) else _number(v)}" for k, v in self.settings)

    def get(self, name: str) -> float:
        """A setting that is a number; NaN where it was not given."""
        value = dict(self.settings).get(name, np.nan)
        assert not isinstance(value, str)
        return value

    @property
    def needs_statistics(self) -> bool:
        """Whether the noise depends on the band's power or range, which takes a pass over the scene."""
        given = dict(self.settings)
        return "snr_db" in given or self.kind in ("stripes", "impulse", "random")


def parse_noise(text: str) -> Noise:
    """Read the text of `--noise`.

    Args:
        text: a kind with its settings, such as `gaussian:snr_db=35` or `stripes:level=0.02,fraction=0.3`. Values
            (`sigma`, `read`, `value`) are in units of the cube; `level` is relative to the band's root mean square;
            `bands` are numbers from 1.

    Raises:
        UsageError: for anything else; it names the forms and the nearest of them.
    """
    kind, _, rest = text.strip().partition(":")
    kind = kind.strip().lower()
    if kind not in _FORMS:
        raise UsageError(f"expected noise as one of {' | '.join(_FORMS.values())}, got {text!r}{nearest(kind, _FORMS)}")
    needed, others = _SETTINGS[kind]
    found: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in rest.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name in found or name not in (*needed, *others):
            raise _refusal(kind, f"got {text!r}")
        found[name] = value
    given = [name for name in needed if name in found]
    if len(given) != 1 or ("per" in found and given != ["snr_db"]) or ("read" in found and given != ["gain"]):
        raise _refusal(kind, f"got {text!r}")
    names = [*given, *others]
    if given != ["snr_db"]:
        names = [name for name in names if name != "per"]
    if given != ["gain"]:
        names = [name for name in names if name != "read"]
    return Noise(kind, tuple((name, _value(kind, name, found.get(name, others.get(name)))) for name in names))


def _value(kind: str, name: str, given: float | str | None) -> float | str:
    if name == "per":
        if given not in ("band", "cube"):
            raise _refusal(kind, f"got per={given}")
        return given
    if name == "bands":
        parts = str(given).split("+")
        if not all(part.isdigit() and int(part) > 0 for part in parts):
            raise _refusal(kind, f"got bands={given}")
        return "+".join(str(number) for number in sorted({int(part) for part in parts}))
    try:
        value = float(given)  # type: ignore[arg-type]  # what is no number is refused
    except (TypeError, ValueError):
        raise _refusal(kind, f"got {name}={given}") from None
    low, high = {"fraction": (0.0, 1.0), "snr_db": (-100.0, 300.0), "value": (-np.inf, np.inf)}.get(name, (0.0, np.inf))
    if not (np.isfinite(value) and low <= value <= high) or (name == "count" and (value < 1 or value % 1)):
        raise _refusal(kind, f"got {name}={given}, which is out of range")
    return value


def _refusal(kind: str, got: str) -> UsageError:
    return UsageError(f"expected {kind} noise as {_FORMS[kind]}, {got}")


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


@dataclass(frozen=True)
class Statistics:
    """What noise may be relative to, over the valid pixels of each band before any noise; `(C,)` each, NaN if none.

    Attributes:
        power: mean of the squared values.
        signal: mean of the values above 0, others counting as 0.
        low: lowest value.
        high: highest value.
    """

    power: NDArray[np.float64]
    signal: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def _blocks(source: Source) -> Iterator[tuple[slice, slice]]:
    """Regions that partition a source, in the granularity that suits it; always the same for the same source."""
    height, width = source.shape[1:]
    _, step_row, step_col = block_of(source)
    for row in range(0, height, step_row):
        for col in range(0, width, step_col):
            yield slice(row, min(row + step_row, height)), slice(col, min(col + step_col, width))


def block_of(source: Source) -> tuple[int, int, int]:
    """Bands, rows and columns in which a source is best read."""
    block: tuple[int, int, int] = getattr(source, "block", (source.shape[0], 256, 256))
    return block


def measure(source: Source) -> Statistics:
    """Power and range of each band by one pass over a source, block by block.

    Raises:
        NoDataError: no band has a valid pixel.
    """
    bands = source.shape[0]
    count, power, signal = np.zeros(bands), np.zeros(bands), np.zeros(bands)
    low, high = np.full(bands, np.inf), np.full(bands, -np.inf)
    for rows, cols in _blocks(source):
        values, valid = source.read(slice(None), rows, cols)
        for band in range(bands):
            kept = values[band][valid[band]].astype(np.float64)
            if kept.size:
                count[band] += kept.size
                power[band] += float(kept @ kept)
                signal[band] += float(kept[kept > 0].sum())
                low[band], high[band] = min(low[band], kept.min()), max(high[band], kept.max())
    some = count > 0
    if not some.any():
        raise NoDataError("no pixel of the degraded scene is valid: nothing that noise could be relative to")
    count[~some] = np.nan
    none = ~some
    low[none], high[none] = np.nan, np.nan
    return Statistics(power / count, signal / count, low, high)


@dataclass(frozen=True, eq=False)
class Layer:
    """Noise with its numbers for each band of one scene.

    Attributes:
        kind: as in `Noise`.
        first: `(C,)`; standard deviation, gain, standard deviation of offsets, value, or lowest value.
        second: `(C,)`; read noise, or highest value; 0 where there is none.
        fraction: of pixels, columns or bands that are hit.
        bands: those that are dead.
    """

    kind: str
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    fraction: float = 1.0
    bands: tuple[int, ...] = ()

    def facts(self) -> dict[str, Any]:
        """The numbers as JSON knows them."""
        names = {
            "gaussian": ("sigma", ""),
            "poisson": ("gain", "read"),
            "stripes": ("sigma", ""),
            "dead-lines": ("value", ""),
            "dead-bands": ("value", ""),
            "impulse": ("low", "high"),
            "random": ("low", "high"),
        }[self.kind]
        said: dict[str, Any] = {"kind": self.kind}
        for name, values in zip(names, (self.first, self.second), strict=True):
            if name:
                said[f"{name}_of_band"] = [float(f"{v:.7g}") for v in values]
        if self.kind not in ("gaussian", "poisson", "dead-bands"):
            said["fraction"] = self.fraction
        if self.kind == "dead-bands":
            said["dead_bands"] = [band + 1 for band in self.bands]
        return said


def resolve(
    noises: Sequence[Noise], statistics: Statistics | None, *, bands: int, seed: int, stream: int
) -> list[Layer]:
    """The numbers behind each noise.

    Args:
        noises: in the order in which they are added.
        statistics: of the cube before noise; may be None where no noise needs them.
        bands: number of bands of the cube.
        seed: of all noise.
        stream: a number for each cube that is made from one seed.

    Raises:
        UsageError: dead bands that the cube does not have.
    """
    return [_layer(noise, statistics, bands, (seed, stream, at)) for at, noise in enumerate(noises)]


def _layer(noise: Noise, statistics: Statistics | None, bands: int, key: tuple[int, int, int]) -> Layer:
    none = np.zeros(bands)
    if noise.kind == "dead-bands":
        return Layer(noise.kind, none + noise.get("value"), none, bands=_dead(noise, bands, key))
    if noise.kind == "dead-lines":
        return Layer(noise.kind, none + noise.get("value"), none, noise.get("fraction"))
    if not noise.needs_statistics:
        name = "sigma" if noise.kind == "gaussian" else "gain"
        return Layer(noise.kind, none + noise.get(name), none + np.nan_to_num(noise.get("read")))
    assert statistics is not None
    if noise.kind in ("impulse", "random"):
        low, high = np.nan_to_num(statistics.low), np.nan_to_num(statistics.high)
        return Layer(noise.kind, low, high, noise.get("fraction"))
    power = np.nan_to_num(statistics.power)
    if noise.kind == "stripes":
        return Layer(noise.kind, noise.get("level") * np.sqrt(power), none, noise.get("fraction"))
    if dict(noise.settings).get("per") == "cube":
        power = none + np.nanmean(statistics.power)
    variance = power / 10 ** (noise.get("snr_db") / 10)
    if noise.kind == "gaussian":
        return Layer(noise.kind, np.sqrt(variance), none)
    signal = np.nan_to_num(statistics.signal)
    return Layer(noise.kind, np.divide(variance, signal, out=none.copy(), where=signal > 0), none)


def _dead(noise: Noise, bands: int, key: tuple[int, int, int]) -> tuple[int, ...]:
    listed = dict(noise.settings).get("bands")
    if isinstance(listed, str):
        dead = tuple(int(part) - 1 for part in listed.split("+"))
        if dead[-1] >= bands:
            raise UsageError(f"dead bands must lie within 1 to {bands}, got {dead[-1] + 1}")
        return dead
    count = int(noise.get("count"))
    if count > bands:
        raise UsageError(f"dead bands must be at most the cube's {bands}, got {count}")
    order = generator(key, (0, 0, 0)).random(bands).argsort()
    return tuple(sorted(int(band) for band in order[:count]))


def generator(key: tuple[int, int, int], place: tuple[int, int, int]) -> np.random.Generator:
    """The counter-based generator (Philox) of one place.

    Args:
        key: seed, stream and layer.
        place: band, block row and block column.
    """
    seed, stream, layer = key
    philox = np.random.Philox(
        key=np.array([seed, stream << 32 | layer], dtype=np.uint64), counter=np.array([0, *place], dtype=np.uint64)
    )
    return np.random.Generator(philox)
