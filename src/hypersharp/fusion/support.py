"""Which bands of a cube each band of an MSI sees: from a stated response, or from the MSI's own wavelengths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Bands
from hypersharp.degrade.srf import Srf, parse_srf, srf_matrix, super_gaussian
from hypersharp.errors import UsageError

__all__ = ["Support", "seen_bands"]

Support = tuple[NDArray[np.bool_] | None, str]
"""`(B, C)` bands seen, None where nothing is known, and where it comes from in words."""

_SEEN = 1e-2  # of a response's largest weight; a band with less is not seen
_ORDER = 6.0  # of a super-Gaussian, where a band is known by centre and width: steep edges, as filters have


def seen_bands(cube: Bands, msi: Bands, srf: str | None) -> Support:
    """Restrict the response of each MSI band to where it can be.

    Args:
        cube: its bands; only those that are fused.
        msi: its bands.
        srf: as `degrade.srf.parse_srf` takes it, one response for each band in order; None for what `msi` says.

    Raises:
        UsageError: the responses are not as many as the bands, lie outside of the cube, or the cube has no wavelengths.
        FileFormatError: a file of responses is no such table.
    """
    if srf is not None:
        known = parse_srf(srf)
        if len(known.responses) != msi.count:
            raise UsageError(
                f"the SRF {known} has {len(known.responses)} bands and the MSI {msi.count}; name one for each band of "
                "the file in its order, or choose bands with --msi-bands"
            )
        return _seen(known, cube), f"SRF {known}"
    if cube.wavelength_nm is None or msi.wavelength_nm is None or msi.fwhm_nm is None:
        return None, "all bands, as wavelengths or widths are not known on both sides"
    widths = np.stack([msi.wavelength_nm, msi.fwhm_nm])
    if not (np.isfinite(widths).all() and (widths > 0).all()):
        return None, "all bands, as wavelengths or widths are not known on both sides"
    responses = tuple(
        super_gaussian(msi.label(band), float(centre), float(width), _ORDER)
        for band, (centre, width) in enumerate(widths.T)
    )
    return _seen(Srf("the MSI's wavelengths", "", responses), cube), "the MSI's own wavelengths and widths"


def _seen(srf: Srf, cube: Bands) -> NDArray[np.bool_]:
    weights = srf_matrix(srf, cube).weights
    return np.asarray(weights > _SEEN * weights.max(axis=1, keepdims=True))
