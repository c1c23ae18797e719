"""The spatial response of a sensor as a stated fact: the text of `--degradation`, and its operator."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import FileFormatError, UsageError
from hypersharp.operators import (
    Axis,
    Separable,
    bicubic_shrink,
    block_support,
    gaussian_kernel,
    gaussian_shrink,
    kernel_shrink,
    sigma_from_fwhm,
    sigma_from_mtf,
)
from hypersharp.operators.axis import shrink_kernel

__all__ = ["DEFAULT", "Psf", "parse_psf"]

Kind = Literal["bicubic", "gaussian", "fwhm", "sigma", "mtf", "kernel"]
_FURTHEST = 16  # LR pixels; a larger shift is a wrong unit
_FORMS = {
    "bicubic": "bicubic",
    "gaussian": "gaussian",
    "fwhm": "gaussian:fwhm=F",
    "sigma": "gaussian:sigma=S or gaussian:sigma=SY,SX,angle=DEG",
    "mtf": "mtf:0.3 or mtf:GY,GX",
    "kernel": "kernel:FILE.npy",
}


@dataclass(frozen=True)
class Psf:
    """How the HR scene is blurred before one value per LR pixel is taken.

    Attributes:
        kind: `bicubic` (antialiased, MATLAB's); `gaussian` (FWHM = scale, on the support of EDLGFS); `fwhm` and
            `sigma` (a Gaussian of that width in HR pixels); `mtf` (a Gaussian by its gain at the LR Nyquist
            frequency); `kernel` (a 2-D array in a `.npy` file, laid over the scene as it is).
        values_yx: widths or gains across rows and columns; None for a kind without any.
        angle_deg: anticlockwise turn of a Gaussian by `fwhm` or `sigma`, as seen on the screen.
        path: the file of a `kernel`.

    Raises:
        UsageError: for values that make no PSF.
    """

    kind: Kind
    values_yx: tuple[float, float] | None = None
    angle_deg: float = 0.0
    path: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that make no PSF."""
        if self.kind not in _FORMS:
            raise _refusal(f"got kind {self.kind!r}", nearest=None)
        if (self.values_yx is None) != (self.kind in ("bicubic", "gaussian", "kernel")):
            raise _refusal(f"got {self.kind} with values {self.values_yx}", nearest=self.kind)
        if bool(self.path) != (self.kind == "kernel"):
            raise _refusal(f"got {self.kind} with file {self.path!r}", nearest=self.kind)
        for value in self.values_yx or ():
            if self.kind == "mtf" and not 0 < value < 1:
                raise UsageError(f"the MTF gain must lie between 0 and 1, got {value:g}: write e.g. mtf:0.3")
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{self.kind} must be a finite number of HR pixels above 0, got {value:g}")
        if not math.isfinite(self.angle_deg) or (self.angle_deg and self.kind not in ("fwhm", "sigma")):
            raise _refusal(f"got {self.kind} with angle {self.angle_deg:g}", nearest="sigma")

    def __str__(self) -> str:
        """The text that `parse_psf` reads back to an equal PSF."""
        if self.kind == "kernel":
            return f"kernel:{self.path}"
        if self.values_yx is None:
            return self.kind
        y, x = self.values_yx
        text = _number(y) if y == x else f"{_number(y)},{_number(x)}"
        if self.kind == "mtf":
            return f"mtf:{text}"
        angle = f",angle={_number(self.angle_deg)}" if self.angle_deg else ""
        return f"gaussian:{self.kind}={text}{angle}"

    def sigma_yx(self, scale: int) -> tuple[float, float] | None:
        """Standard deviations across rows and columns in HR pixels, before turning; None unless Gaussian."""
        if self.kind == "gaussian":
            return sigma_from_fwhm(scale), sigma_from_fwhm(scale)
        if self.values_yx is None:
            return None
        y, x = self.values_yx
        if self.kind == "mtf":
            return sigma_from_mtf(y, scale), sigma_from_mtf(x, scale)
        if self.kind == "fwhm":
            return sigma_from_fwhm(y), sigma_from_fwhm(x)
        return y, x

    def operator(
        self, shape_hr: tuple[int, int], scale: int, *, shift_yx: tuple[float, float] = (0.0, 0.0)
    ) -> Separable:
        """The blur with decimation of a scene of this shape.

        Args:
            shape_hr: `(H, W)`, multiples of `scale`.
            scale: integer HR/LR ratio.
            shift_yx: how far down and right of the block's centre the PSF lies, in HR pixels; LR pixel (i, j) then
                sees what lies that much further down and right. Fractions are exact for Gaussians that are not
                turned (the samples of the shifted Gaussian); all others are moved by Lagrange's interpolation of six
                samples, which keeps the kernel's sum and centre. Whole pixels are exact for every kind.

        Raises:
            UsageError: where the sizes do not fit, the kernel cannot be used or found, or the shift is out of range.
            FileFormatError: if the kernel's file is no NumPy array.
        """
        dy, dx = shift_yx
        if not (math.isfinite(dy) and math.isfinite(dx) and max(abs(dy), abs(dx)) <= _FURTHEST * scale):
            raise UsageError(f"the shift, in HR pixels, is at most {_FURTHEST * scale} at scale {scale}, got {dy},{dx}")
        if not (dy or dx):
            return self._centred(shape_hr, scale)
        sigma = self.sigma_yx(scale)
        if sigma is None or (self.angle_deg and sigma[0] != sigma[1]):
            centred = self._centred(shape_hr, scale)
            return Separable(tuple((_moved(y, scale, dy), _moved(x, scale, dx)) for y, x in centred.terms))
        support = block_support(scale) if self.kind == "gaussian" else None
        rows = _shifted_gaussian(shape_hr[0], scale, sigma[0], support, dy)
        return Separable(((rows, _shifted_gaussian(shape_hr[1], scale, sigma[1], support, dx)),))

    def _centred(self, shape_hr: tuple[int, int], scale: int) -> Separable:
        if self.kind == "bicubic":
            return bicubic_shrink(shape_hr, scale)
        if self.path is not None:
            return kernel_shrink(shape_hr, scale, _load(self.path))
        sigma = self.sigma_yx(scale)
        assert sigma is not None
        if self.angle_deg and sigma[0] != sigma[1]:
            return kernel_shrink(shape_hr, scale, gaussian_kernel(*sigma, self.angle_deg, scale=scale))
        support = block_support(scale) if self.kind == "gaussian" else None
        return gaussian_shrink(shape_hr, scale, sigma=sigma, support=support)

    def describe(self, scale: int) -> str:
        """One line for people: what it is, its sigma, and its MTF at the LR Nyquist frequency as sampled."""
        y, x = self._mtf_yx(scale)
        sigma = self.sigma_yx(scale)
        name = {"bicubic": "antialiased bicubic", "kernel": f"kernel from {self.path}"}.get(self.kind, "Gaussian")
        if sigma is not None:
            width = f"sigma {_pair(*sigma)} HR pixels"
        elif 0 < y < 1 and 0 < x < 1:
            same = (sigma_from_mtf(y, scale), sigma_from_mtf(x, scale))
            width = f"as wide as a Gaussian of sigma {_pair(*same)} HR pixels"
        else:
            width = "no Gaussian is as wide"
        turned = f", turned {self.angle_deg:g} deg" if self.angle_deg else ""
        return f"{self}: {name}, {width}{turned}, MTF {_pair(y, x)} at the LR Nyquist frequency"

    def _mtf_yx(self, scale: int) -> tuple[float, float]:
        # on 2·scale samples the first frequency is the LR Nyquist frequency, whatever the kernel's size
        shape = (2 * scale, 2 * scale)
        gain = np.abs(self.operator(shape, scale).otf(shape))
        return float(gain[1, 0]), float(gain[0, 1])


def parse_psf(text: str) -> Psf:
    """Read the text of `--degradation`.

    Args:
        text: `bicubic`, `gaussian`, `gaussian:fwhm=F`, `gaussian:sigma=S`, `gaussian:sigma=SY,SX,angle=DEG`,
            `mtf:G`, `mtf:GY,GX` or `kernel:FILE.npy`; widths in HR pixels.

    Raises:
        UsageError: for anything else; it names the forms and the nearest of them.
    """
    head, colon, rest = text.strip().partition(":")
    head, rest = head.strip().lower(), rest.strip()
    got = f"got {text!r}"
    if head in ("bicubic", "gaussian") and not colon:
        return Psf(cast(Kind, head))
    if head == "kernel" and rest:
        return Psf("kernel", path=rest)
    if head == "mtf" and rest:
        return Psf("mtf", _pair_of(rest.split(","), got, "mtf"))
    if head == "gaussian" and rest:
        return _parse_gaussian(rest, got)
    raise _refusal(got, nearest=_nearest(head))


DEFAULT = Psf("mtf", (0.3, 0.3))
"""The PSF of a sensor that nothing is known of."""


def _parse_gaussian(rest: str, got: str) -> Psf:
    options: dict[str, list[str]] = {}
    values: list[str] | None = None
    for part in rest.split(","):
        key, equals, value = part.partition("=")
        if equals:
            values = options.setdefault(key.strip().lower(), [])
            if values:
                raise _refusal(f"{got} with {key.strip()} twice", nearest="sigma")
        if values is None:
            raise _refusal(got, nearest="sigma")
        values.append(value if equals else part)
    widths = [key for key in options if key in ("fwhm", "sigma")]
    unknown = sorted(options.keys() - {"fwhm", "sigma", "angle"})
    if unknown or len(widths) != 1 or len(options.get("angle", ["0"])) != 1:
        raise _refusal(got, nearest="fwhm" if "fwhm" in options else "sigma")
    kind = cast(Kind, widths[0])
    angle = _float(options.get("angle", ["0"])[0], got, "sigma")
    return Psf(kind, _pair_of(options[kind], got, kind), angle)


def _pair_of(parts: list[str], got: str, kind: Kind) -> tuple[float, float]:
    numbers = [_float(part, got, kind) for part in parts]
    if len(numbers) > 2:
        raise _refusal(got, nearest=kind)
    return numbers[0], numbers[-1]


def _float(part: str, got: str, kind: Kind) -> float:
    try:
        return float(part)
    except ValueError:
        raise _refusal(got, nearest=kind) from None


def _nearest(head: str) -> Kind:
    best = max(_FORMS, key=lambda kind: difflib.SequenceMatcher(None, head, kind).ratio())
    return cast(Kind, best)


def _refusal(got: str, *, nearest: Kind | None) -> UsageError:
    hint = f"; nearest: {_FORMS[nearest]}" if nearest else ""
    return UsageError(f"expected a PSF as one of {' | '.join(_FORMS.values())}, {got}{hint}")


def _shifted_gaussian(n_hr: int, scale: int, sigma: float, support: int | None, shift: float) -> Axis:
    """Blur along one axis with the samples of a Gaussian whose centre lies `shift` after the block's centre.

    As many samples as the unshifted Gaussian has, those nearest to the centre.
    """
    plain = gaussian_shrink((n_hr, n_hr), scale, sigma=sigma, support=support).terms[0][0]
    count = plain.weight.shape[1]
    centre = (scale - 1) / 2 + shift
    offset = math.ceil(centre - count / 2)
    d = offset + np.arange(count) - centre
    taps = np.exp((np.min(d**2) - d**2) / (2 * max(sigma, 1e-3) ** 2))
    return shrink_kernel(n_hr, scale, taps=taps / taps.sum(), offset=offset)


def _moved(axis: Axis, scale: int, shift: float) -> Axis:
    """The same blur, laid `shift` HR pixels further along."""
    assert axis.offset is not None
    whole = math.floor(shift)
    part = shift - whole
    taps, offset = axis.weight[0], axis.offset + whole
    if part:
        nodes = np.arange(-2, 4)
        delay = np.array([np.prod([(part - m) / (n - m) for m in nodes if m != n]) for n in nodes])
        taps, offset = np.convolve(taps, delay), offset - 2
    return shrink_kernel(axis.n_in, scale, taps=taps, offset=offset)


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _pair(y: float, x: float) -> str:
    return f"{y:.3g}" if math.isclose(y, x, rel_tol=1e-9) else f"{y:.3g} x {x:.3g}"


def _load(path: str) -> NDArray[np.generic]:
    if not Path(path).is_file():
        raise UsageError(f"the PSF names the kernel file {path}, which does not exist: give a .npy file")
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileFormatError(f"expected a 2-D NumPy array in {path}, got an unreadable file: {error}") from error
    if not isinstance(array, np.ndarray):
        raise FileFormatError(f"expected a 2-D NumPy array in {path}, got an archive: save it with numpy.save")
    return array
