"""Ways to estimate a sharp cube from a window of the LR one, all behind one call."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hypersharp.errors import UsageError
from hypersharp.infer.session import Session
from hypersharp.operators import Separable, bicubic_enlarge

Span = tuple[int, int]
Floats = NDArray[np.floating[Any]]


class Images(Protocol):
    """A few HR images from a window of all bands, or all bands themselves (`Method`)."""

    @property
    def name(self) -> str:
        """As it goes into the history."""
        ...

    @property
    def halo(self) -> int | None:
        """LR pixels around a region that its HR pixels depend on; None where there is no bound."""
        ...

    @property
    def multiple_of(self) -> int:
        """Windows should have sides that are multiples of this."""
        ...

    def __call__(self, lr: Floats, origin: tuple[int, int], hr_rows: Span, hr_cols: Span) -> Floats:
        """The HR region `(K, rows, cols)` from an LR window `(C, h, w)` that starts at `origin`; all finite."""
        ...


class Method(Images, Protocol):
    """An estimate of the HR cube without consistency: its images are the bands, `K = C`."""

    @property
    def bandwise(self) -> bool:
        """Whether it is the same linear map of each band, so that mixtures of bands may be enlarged in their place."""
        ...


@dataclass(frozen=True, eq=False)
class Bicubic:
    """MATLAB's bicubic enlargement of every band."""

    operator: Separable
    name: str = "bicubic"
    multiple_of: int = 1
    bandwise: bool = True

    @classmethod
    def of(cls, shape: tuple[int, int], scale: int) -> Bicubic:
        """For a scene of `(H, W)` LR pixels."""
        return cls(bicubic_enlarge(shape, scale))

    @property
    def halo(self) -> int:
        """Two LR pixels."""
        return self.operator.halo

    def __call__(self, lr: Floats, origin: tuple[int, int], hr_rows: Span, hr_cols: Span) -> Floats:
        """See `Method`."""
        return self.operator.apply_window(lr, hr_rows, hr_cols, origin)


@dataclass(frozen=True, eq=False)
class Mixture:
    """`bicubic(lr) + basis · images(lr)`; the bands can be had one by one once the images are there.

    Attributes:
        images: computed from all bands at once.
        basis: `(C, K)` the share of each band in each image.
        bicubic: carries what the images do not.
        held_bytes: memory that the images take beside what is asked for.
    """

    images: Images
    basis: NDArray[np.float64]
    bicubic: Bicubic
    held_bytes: int = 0
    bandwise: bool = False

    @property
    def name(self) -> str:
        """That of the images."""
        return self.images.name

    @property
    def halo(self) -> int | None:
        """The larger of both."""
        own = self.images.halo
        return None if own is None else max(own, self.bicubic.halo)

    @property
    def multiple_of(self) -> int:
        """That of the images."""
        return self.images.multiple_of

    def __call__(self, lr: Floats, origin: tuple[int, int], hr_rows: Span, hr_cols: Span) -> Floats:
        """See `Method`."""
        images = self.images(lr, origin, hr_rows, hr_cols)
        out: Floats = self.bicubic(lr, origin, hr_rows, hr_cols)
        out += np.tensordot(self.basis.astype(lr.dtype), images.astype(lr.dtype), axes=1)
        return out


@dataclass(frozen=True, eq=False)
class Network:
    """A network behind a session, fed with values that one offset and divisor per scene bring to about 0 … 1."""

    session: Session
    offset: float
    divisor: float
    scale: int

    @property
    def name(self) -> str:
        """Model name and the first digits of the hash of its file."""
        return f"{self.session.card.model} (weights {self.session.sha256[:12]})"

    @property
    def halo(self) -> int | None:
        """As the card says."""
        return self.session.card.halo

    @property
    def multiple_of(self) -> int:
        """As the card says."""
        return self.session.card.multiple_of

    @property
    def bandwise(self) -> bool:
        """A network may mix all bands."""
        return False

    def __call__(self, lr: Floats, origin: tuple[int, int], hr_rows: Span, hr_cols: Span) -> Floats:
        """See `Method`. Sides that do not divide are padded by mirroring and cut again."""
        normalised = ((lr - self.offset) / self.divisor).astype(np.float32)[None]
        height, width = normalised.shape[2:]
        step = self.multiple_of
        pad = (-height % step, -width % step)
        if any(pad):
            normalised = np.pad(normalised, ((0, 0), (0, 0), (0, pad[0]), (0, pad[1])), mode="symmetric")
        sharp = self.session(normalised)[0]
        top, left = origin[0] * self.scale, origin[1] * self.scale
        sharp = sharp[:, hr_rows[0] - top : hr_rows[1] - top, hr_cols[0] - left : hr_cols[1] - left]
        physical: Floats = (sharp * self.divisor + self.offset).astype(lr.dtype)
        return physical


def check_scale(scale: object) -> int:
    """An integer scale from 2 to 8.

    Raises:
        UsageError: anything else.
    """
    if isinstance(scale, float) and math.isfinite(scale) and scale.is_integer():
        scale = int(scale)
    if isinstance(scale, bool) or not isinstance(scale, int | np.integer) or not 2 <= scale <= 8:
        raise UsageError(f"scale must be a whole number from 2 to 8, got {scale!r}")
    return int(scale)
