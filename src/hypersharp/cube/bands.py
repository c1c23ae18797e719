"""What each spectral plane of a cube is: wavelength, width, whether it is good, and its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import CubeError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Bands:
    """Spectral description of the `C` bands of a cube. Not assumed increasing: detectors overlap.

    Attributes:
        count: number of bands `C`.
        wavelength_nm: `(C,)` centre wavelengths in nm, NaN where a band has none; None where no band has one.
        fwhm_nm: `(C,)` full widths at half maximum in nm, NaN where unknown; None where no band has one.
        good: `(C,)` flags; False for bands that the file or we mark as bad (ENVI `bbl` 0).
        name: `(C,)` names, or None.
    """

    count: int
    wavelength_nm: Floats | None = None
    fwhm_nm: Floats | None = None
    good: Flags = None  # type: ignore[assignment]  # filled in __post_init__
    name: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check every length and freeze the arrays."""
        if self.count < 1:
            raise CubeError(f"a cube needs at least one band, got {self.count}")
        for field in ("wavelength_nm", "fwhm_nm"):
            object.__setattr__(self, field, self._checked(field, getattr(self, field), np.float64))
        good = np.ones(self.count, dtype=bool) if self.good is None else self.good
        object.__setattr__(self, "good", self._checked("good", good, np.bool_))
        if self.name is not None:
            names = tuple(str(name) for name in self.name)
            if len(names) != self.count:
                raise CubeError(f"expected {self.count} band names, got {len(names)}")
            object.__setattr__(self, "name", names)
        for field, called in (("wavelength_nm", "wavelengths"), ("fwhm_nm", "FWHM")):
            value = getattr(self, field)
            if value is None:
                continue
            known = value[~np.isnan(value)]
            if known.size == 0:
                object.__setattr__(self, field, None)
            elif not np.isfinite(known).all() or (known < 0).any():
                raise CubeError(f"{called} must be finite and not negative, in nm")

    def _checked(self, field: str, value: Any, dtype: Any) -> Any:
        if value is None:
            return None
        array = np.array(value, dtype=dtype)
        if array.shape != (self.count,):
            raise CubeError(f"expected {self.count} values of {field}, got shape {array.shape}")
        array.flags.writeable = False
        return array

    def __len__(self) -> int:
        """Number of bands."""
        return self.count

    def __eq__(self, other: object) -> bool:
        """Equal when every field is, NaN counting as equal to NaN."""
        if not isinstance(other, Bands):
            return NotImplemented
        return (
            self.count == other.count
            and _same(self.wavelength_nm, other.wavelength_nm)
            and _same(self.fwhm_nm, other.fwhm_nm)
            and bool((self.good == other.good).all())
            and self.name == other.name
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def take(self, index: Sequence[int] | slice) -> Bands:
        """The bands at `index`, in that order."""
        at = np.arange(self.count)[index if isinstance(index, slice) else list(index)]
        return Bands(
            count=len(at),
            wavelength_nm=None if self.wavelength_nm is None else self.wavelength_nm[at],
            fwhm_nm=None if self.fwhm_nm is None else self.fwhm_nm[at],
            good=self.good[at],
            name=None if self.name is None else tuple(self.name[i] for i in at),
        )

    def flagged(self, bad: Sequence[int]) -> Bands:
        """A copy with the bands at `bad` marked as not good."""
        good = self.good.copy()
        good[list(bad)] = False
        return replace(self, good=good)

    def label(self, band: int) -> str:
        """A short text for one band: its name, else its wavelength, else its number (from 1)."""
        if self.name is not None and self.name[band]:
            return self.name[band]
        if self.wavelength_nm is not None and not np.isnan(self.wavelength_nm[band]):
            return f"{self.wavelength_nm[band]:.2f} nm"
        return f"band {band + 1}"


def _same(one: Floats | None, other: Floats | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other, equal_nan=True))
