"""Blur, decimation and interpolation as linear operators on arrays; nothing here knows a cube.

`Separable` is the operator, `Axis` its part along one axis; the functions build the operators of the field.
"""

from hypersharp.operators.axis import Axis
from hypersharp.operators.constructors import (
    bicubic_enlarge,
    bicubic_shrink,
    block_support,
    gaussian_kernel,
    gaussian_shrink,
    kernel_shrink,
    sigma_from_fwhm,
    sigma_from_mtf,
)
from hypersharp.operators.separable import Separable

__all__ = [
    "Axis",
    "Separable",
    "bicubic_enlarge",
    "bicubic_shrink",
    "block_support",
    "gaussian_kernel",
    "gaussian_shrink",
    "kernel_shrink",
    "sigma_from_fwhm",
    "sigma_from_mtf",
]
