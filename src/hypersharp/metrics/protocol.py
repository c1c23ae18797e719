"""The conventions behind a number: one frozen `Record` per metric, and the named sets of them (presets).

The same estimate differs by 3 dB between two definitions of PSNR, so no number leaves this package without its record.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hypersharp.errors import UsageError

PeakRule = Literal["none", "given", "one", "quantile_99.9", "maximum", "band_maximum", "range"]
Normalise = Literal["none", "maximum", "minimum_to_maximum"]
Clip = Literal["none", "0_to_peak"]
Ratio = Literal["none", "100/scale", "100/4"]

NOT_STATED = "not stated; ours"


@dataclass(frozen=True)
class Peaks:
    """What a scene's reference says about its own range, over valid pixels, in its own units.

    Attributes:
        minimum: smallest value.
        maximum: largest value.
        band_maximum: largest value of each band, `(C,)`; minus infinity for a band without a valid pixel.
        quantile: the 99.9 % quantile (linear interpolation), or None where it was not asked for.
    """

    minimum: float
    maximum: float
    band_maximum: tuple[float, ...]
    quantile: float | None = None


@dataclass(frozen=True)
class Record:
    """How one number is made; travels with it into JSON, CSV and tables.

    Attributes:
        metric: result name, for example ``"mpsnr_db"``.
        peak: rule for the peak (data range) L of PSNR and SSIM, applied after `normalise`.
        peak_value: the peak itself, once known; `(C,)` where the rule is per band.
        normalise: what both cubes go through first, with the reference's own numbers.
        offset: subtracted from both cubes, once known.
        divisor: divides both cubes after that, once known.
        reduction: how pixels and bands become one number (filled in from the metric).
        window: local window: ``"uniform_7"``, ``"gaussian_11"`` (sigma 1.5), ``"block_32"`` or ``"none"``;
            windows lie inside the scene, unless ``"_mirrored"`` follows.
        ratio: factor of ERGAS. Libraries disagree on the direction of their argument, a factor scale² apart.
        scale: HR/LR ratio, once known.
        border: HR pixels cut from each side of the scene first.
        mask: which pixels count.
        bands: which bands count.
        clip: what happens to the estimate after `normalise`.
        dtype: type the sums are taken in.
        not_stated: fields that the preset's source does not state; they hold what `ours` does.
        note: one sentence where the source and its code disagree.
    """

    metric: str
    peak: PeakRule = "none"
    peak_value: float | tuple[float, ...] | None = None
    normalise: Normalise = "none"
    offset: float = 0.0
    divisor: float = 1.0
    reduction: str = ""
    window: str = "none"
    ratio: Ratio = "none"
    scale: int | None = None
    border: int = 0
    mask: str = "valid pixels"
    bands: str = "all given but constant ones"
    clip: Clip = "none"
    dtype: str = "float64"
    not_stated: tuple[str, ...] = ()
    note: str = ""

    def resolve(self, *, peaks: Peaks | None, scale: int | None) -> Record:
        """Fill in the numbers that the rules ask for.

        Args:
            peaks: the reference's range; None where no rule needs it.
            scale: HR/LR ratio; None where no metric needs it.

        Raises:
            UsageError: a rule needs a number that is not there.
        """
        if self.ratio == "100/scale" and scale is None:
            raise UsageError(f"{self.metric} needs the scale (HR/LR ratio); got none; give scale=, for example scale=4")
        offset, divisor = 0.0, 1.0
        if self.normalise != "none":
            known = self._known(peaks)
            offset = known.minimum if self.normalise == "minimum_to_maximum" else 0.0
            divisor = known.maximum - offset
            if not divisor > 0:
                raise UsageError(
                    f"{self.metric} divides by the reference's range, which must be positive; got {divisor:g}; "
                    "choose a protocol without normalisation"
                )
        peak_value = self.peak_value if self.peak == "given" else self._peak(peaks, offset, divisor)
        return dataclasses.replace(self, peak_value=peak_value, offset=offset, divisor=divisor, scale=scale)

    def _known(self, peaks: Peaks | None) -> Peaks:
        if peaks is None:
            raise UsageError(f"{self.metric} needs the reference's range; got none; compute it with reference_peaks")
        return peaks

    def _peak(self, peaks: Peaks | None, offset: float, divisor: float) -> float | tuple[float, ...] | None:
        if self.peak == "none":
            return None
        if self.peak == "one":
            return 1.0
        known = self._known(peaks)
        if self.peak == "maximum":
            return (known.maximum - offset) / divisor
        if self.peak == "range":
            return (known.maximum - known.minimum) / divisor
        if self.peak == "band_maximum":
            return tuple((value - offset) / divisor for value in known.band_maximum)
        if known.quantile is None:
            raise UsageError(
                f"{self.metric} needs the 99.9 % quantile of the reference; got peaks without one; "
                "call reference_peaks with quantile=True"
            )
        return (known.quantile - offset) / divisor

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; a field the source does not state reads ``"not stated; ours: …"``."""
        plain: dict[str, object] = {}
        for field in dataclasses.fields(self):
            if field.name == "not_stated":
                continue
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                value = [item if math.isfinite(item) else None for item in value]
            plain[field.name] = f"{NOT_STATED}: {value}" if field.name in self.not_stated else value
        return plain


@dataclass(frozen=True)
class Protocol:
    """A named set of records: everything needed to say how a table was made.

    Attributes:
        name: how it is called on the command line.
        source: the paper, repository or library whose convention this is.
        records: one per metric, in the order of the table.
    """

    name: str
    source: str
    records: tuple[Record, ...]

    def only(self, metrics: Iterable[str]) -> Protocol:
        """The same protocol with some of its metrics, named as in `Record.metric`.

        Raises:
            UsageError: the protocol does not define one of them.
        """
        wanted = tuple(metrics)
        known = [record.metric for record in self.records]
        for name in wanted:
            if name not in known:
                raise UsageError(f"protocol {self.name!r} defines {', '.join(known)}; got {name!r}; leave it out")
        return dataclasses.replace(self, records=tuple(r for r in self.records if r.metric in wanted))

    def resolve(self, *, peaks: Peaks | None, scale: int | None) -> Protocol:
        """`Record.resolve` for each record."""
        records = tuple(record.resolve(peaks=peaks, scale=scale) for record in self.records)
        return dataclasses.replace(self, records=records)

    @property
    def needs_peaks(self) -> bool:
        """Whether a first pass over the reference is needed."""
        return any(r.normalise != "none" or r.peak not in ("none", "given", "one") for r in self.records)

    @property
    def needs_quantile(self) -> bool:
        """Whether that pass has to find the 99.9 % quantile."""
        return any(record.peak == "quantile_99.9" for record in self.records)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "source": self.source,
            "records": {record.metric: record.to_dict() for record in self.records},
        }


_OURS = Protocol(
    name="ours",
    source="hypersharp: docs/metrics.md",
    records=(
        Record("mpsnr_db", peak="quantile_99.9"),
        Record("psnr_db", peak="quantile_99.9"),
        Record("mssim", peak="quantile_99.9", window="gaussian_11"),
        Record("sam_deg"),
        Record("cc"),
        Record("rmse"),
        Record("mae"),
        Record("ergas", ratio="100/scale"),
        Record("uiqi", window="uniform_8"),
        Record("q2n", window="block_32"),
        Record("scc"),
        Record("sid"),
        Record("edge_psnr_db", peak="quantile_99.9"),
        Record("spectral_difference"),
    ),
)

_PER_IMAGE = "the papers score each test image and average; the maximum is that of the whole scene"
_LKCA = Protocol(
    name="lkca",
    source="SSPSR family: SSPSR, MSDformer, CST, SNLSR repositories; LKCA Tables I-VII",
    records=(
        Record("mpsnr_db", peak="one", normalise="maximum", note=_PER_IMAGE),
        Record("mssim", peak="one", normalise="maximum", window="uniform_7", note=_PER_IMAGE),
        Record("sam_deg", normalise="maximum", note="the repositories differ on clamping the cosine; clamped here"),
        Record("cc", normalise="maximum", note=_PER_IMAGE),
        Record(
            "rmse",
            normalise="maximum",
            note="one value over the whole cube, as in the code; LKCA's text says per-band mean",
        ),
        Record(
            "ergas",
            normalise="maximum",
            ratio="100/scale",
            note="the repositories hard-code 100/4; the published tables follow 100/scale",
        ),
    ),
)

_EDLGFS_OPEN = ("peak", "peak_value", "normalise", "reduction", "window", "border", "mask", "bands", "clip", "dtype")
_EDLGFS = Protocol(
    name="edlgfs",
    source="EDLGFS, section 4.2: PSNR, SSIM and SAM by name, 'after normalization', no formula",
    records=(
        Record("mpsnr_db", peak="quantile_99.9", not_stated=_EDLGFS_OPEN, note="the paper says PSNR"),
        Record(
            "mssim", peak="quantile_99.9", window="gaussian_11", not_stated=_EDLGFS_OPEN, note="the paper says SSIM"
        ),
        Record("sam_deg", not_stated=_EDLGFS_OPEN, note="the unit is not stated either"),
    ),
)

_MCNET_OPEN = ("border", "mask", "bands", "dtype")
_MCNET_NOTE = "divided by a constant of the data set in the code; here by the reference's maximum"
_MCNET = Protocol(
    name="mcnet",
    source="MCNet family repositories: cube PSNR of the clipped estimate, SSIM 11×11 Gaussian",
    records=(
        Record("psnr_db", peak="one", normalise="maximum", clip="0_to_peak", not_stated=_MCNET_OPEN, note=_MCNET_NOTE),
        Record(
            "mssim",
            peak="one",
            normalise="maximum",
            clip="0_to_peak",
            window="gaussian_11",
            not_stated=_MCNET_OPEN,
            note=_MCNET_NOTE,
        ),
        Record(
            "sam_deg",
            normalise="maximum",
            clip="0_to_peak",
            not_stated=_MCNET_OPEN,
            note="the code counts zero spectra (as 2.2e-16, NaN as 0); excluded and counted here",
        ),
    ),
)

_CSAKD_OPEN = ("border", "mask", "bands", "dtype")
_CSAKD = Protocol(
    name="csakd",
    source="CSAKD and S3RNet repositories: each reference tile stretched from its minimum..maximum to 0..1",
    records=(
        Record(
            "mpsnr_db",
            peak="band_maximum",
            normalise="minimum_to_maximum",
            not_stated=_CSAKD_OPEN,
            note="peak of each band is that band's maximum in the reference",
        ),
        Record(
            "sam_deg",
            normalise="minimum_to_maximum",
            not_stated=_CSAKD_OPEN,
            note="angles after the stretch, which moves the origin; the code does not clamp the cosine",
        ),
        Record(
            "rmse", not_stated=_CSAKD_OPEN, note="in stored units, as its validation; its test code adds the minimum"
        ),
        Record(
            "ergas",
            normalise="minimum_to_maximum",
            ratio="100/4",
            not_stated=_CSAKD_OPEN,
            note="100/4 is written into the code; the method is built for scale 4",
        ),
    ),
)

_TORCH_PEAK = "torchmetrics leaves the peak to the caller; here maximum − minimum of the reference"
_TORCHMETRICS = Protocol(
    name="torchmetrics",
    source="torchmetrics 1.9 functional.image on one cube, arguments as its pages show them",
    records=(
        Record("psnr_db", peak="range", not_stated=("peak", "peak_value"), note=_TORCH_PEAK),
        Record(
            "mssim", peak="range", window="gaussian_11_mirrored", not_stated=("peak", "peak_value"), note=_TORCH_PEAK
        ),
        Record("sam_deg", note="torchmetrics answers in radians, and NaN where one spectrum is zero"),
        Record("cc", note="pearson_corrcoef of each band"),
        Record("rmse", note="mean_squared_error with squared=False"),
        Record("mae", note="mean_absolute_error"),
        Record("ergas", ratio="100/scale", note="its ratio is the scale; sewar's r is 1/scale: swapped, 16 times off"),
        Record("uiqi", window="gaussian_11", note="torchmetrics adds 1.2e-7 to the denominator (float32 epsilon)"),
    ),
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol for protocol in (_OURS, _LKCA, _EDLGFS, _MCNET, _CSAKD, _TORCHMETRICS)
}


def get_protocol(name: str) -> Protocol:
    """The preset called `name`.

    Raises:
        UsageError: there is none; the message offers the nearest name.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    near = difflib.get_close_matches(name, PROTOCOLS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "choose one of them"
    raise UsageError(f"protocol must be one of {', '.join(PROTOCOLS)}; got {name!r}; {hint}")
