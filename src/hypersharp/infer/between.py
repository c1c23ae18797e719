"""Scales between those of the networks: the images of a network for a larger scale, reduced."""

from __future__ import annotations

from dataclasses import dataclass

from hypersharp.infer.methods import Floats, Span
from hypersharp.infer.subspace import Eigenimages
from hypersharp.operators import Separable
from hypersharp.operators.axis import reduce_bicubic


@dataclass(frozen=True, eq=False)
class Reduced:
    """`Images` of a smaller scale than the network's.

    Attributes:
        images: of the network, at its own scale.
        operator: from its pixels to those wanted.
        scale: that is wanted.
    """

    images: Eigenimages
    operator: Separable
    scale: int

    @classmethod
    def of(cls, images: Eigenimages, scale: int) -> Reduced:
        """Antialiased bicubic reduction to `scale`."""
        sides = [(n * images.scale, n * scale) for n in images.bicubic.operator.shape_in]
        rows, cols = (reduce_bicubic(*side) for side in sides)
        return cls(images, Separable(((rows, cols),)), scale)

    @property
    def name(self) -> str:
        """That of the images, and both scales."""
        return f"{self.images.name} reduced from x{self.images.scale}"

    @property
    def halo(self) -> int | None:
        """One LR pixel more: the reduction reads less than that beyond its own."""
        own = self.images.halo
        return None if own is None else own + 1

    @property
    def multiple_of(self) -> int:
        """That of the images."""
        return self.images.multiple_of

    def __call__(self, lr: Floats, origin: tuple[int, int], hr_rows: Span, hr_cols: Span) -> Floats:
        """See `Images`."""
        rows, cols = self.operator.support(hr_rows, hr_cols)
        return self.operator.apply_window(self.images(lr, origin, rows, cols), hr_rows, hr_cols, (rows[0], cols[0]))
