"""From a network behind a session to a `Method` for one scene: bands, normalisation or basis, and blending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Bands, Source, normalise
from hypersharp.errors import UsageError
from hypersharp.infer import subspace
from hypersharp.infer.between import Reduced
from hypersharp.infer.blend import Blended
from hypersharp.infer.conditions import conditions_of
from hypersharp.infer.fit import SceneFit
from hypersharp.infer.methods import Bicubic, Images, Method, Mixture, Network, Span
from hypersharp.infer.session import Session
from hypersharp.infer.tiles import plan
from hypersharp.operators import Separable

M = TypeVar("M", bound=Images)

CONTEXT = 24
"""LR pixels around a tile of a network without finite halo, those that are blended among them."""
_OVERLAP = 8  # LR pixels on either side of a border over which tiles are mixed
_TILE_BYTES = 32 << 20  # of the images of a tile of finite halo
_KEPT_BYTES = 256 << 20  # of all such tiles that are kept
_ACTIVATION_BYTES = 2 << 10  # per LR pixel of a network on eigenimages while it runs; that of the package takes 1600
_SAME_NM = 1.0  # a band may be this far off, or a quarter of the spacing where that is more


@dataclass(frozen=True, eq=False)
class SomeBands:
    """A network for some bands of a cube; bicubic for those that it was not trained on.

    Attributes:
        network: takes the bands at `index`, in that order.
        bicubic: for the others.
        index: `(C',)` bands of the cube.
    """

    network: Network
    bicubic: Bicubic
    index: NDArray[np.intp]
    bandwise: bool = False

    @property
    def name(self) -> str:
        """That of the network, and how many bands it takes."""
        return f"{self.network.name}, {len(self.index)} bands, the others bicubic"

    @property
    def halo(self) -> int | None:
        """The larger of both."""
        own = self.network.halo
        return None if own is None else max(own, self.bicubic.halo)

    @property
    def multiple_of(self) -> int:
        """That of the network."""
        return self.network.multiple_of

    def __call__(
        self, lr: NDArray[np.floating[Any]], origin: tuple[int, int], hr_rows: Span, hr_cols: Span
    ) -> NDArray[np.floating[Any]]:
        """See `Method`."""
        out = self.bicubic(lr, origin, hr_rows, hr_cols)
        out[self.index] = self.network(lr[self.index], origin, hr_rows, hr_cols)
        return out


def method_for(
    session: Session,
    lr: Source,
    bands: Bands,
    scene: SceneFit,
    *,
    operator: Separable,
    tile: int,
    reduce: bool = False,
) -> Method:
    """Make a network ready for one LR scene.

    Args:
        session: the network.
        lr: values of the scene.
        bands: its bands.
        scene: what was fitted on it.
        operator: the declared degradation, HR to LR.
        tile: side of the windows of a network without finite halo, without their context, in LR pixels.
        reduce: whether a network on eigenimages may be for a larger scale; its images are reduced then.

    Raises:
        UsageError: the network is for another scale, for other bands, or takes an MSI besides.
    """
    card, scale = session.card, operator.shape_in[0] // operator.shape_out[0]
    if card.msi_bands is not None:
        raise UsageError(f"{session.name} fuses a cube with an MSI; give it both: hypersharp fuse CUBE MSI OUT --model")
    larger = reduce and card.domain == "subspace" and card.scale > scale
    if card.scale != scale and not larger:
        raise UsageError(f"{session.name} was made for scale {card.scale}, got scale {scale}; choose another")
    bicubic = Bicubic.of(lr.shape[1:], scale)
    method: Method
    if card.domain == "subspace":
        if card.bands is None:
            raise UsageError(f"{session.name} does not say how many eigenimages it takes; export it again")
        fitted = subspace.of_scene(scene, count=card.bands)
        told = conditions_of(operator, scene.live_noise, fitted.project) if card.described else None
        own = Bicubic.of(lr.shape[1:], card.scale) if larger else bicubic
        images = subspace.Eigenimages(session, fitted, own, card.scale, card.multiple_of, told)
        return mixture(Reduced.of(images, scale) if larger else images, fitted.basis, bicubic, lr, tile=tile)
    index = match_bands(session, bands)
    pieces = scene.pieces
    if index is not None:
        pieces = [(values[index], valid[index]) for values, valid in pieces]
    normal = normalise.fit(pieces, quantile=card.quantile)
    method = Network(session, normal.offset, normal.divisor, scale)
    if index is not None and list(index) != list(range(len(bands))):
        method = SomeBands(method, bicubic, index)
    return bounded(method, lr, scale=scale, tile=tile)


def mixture(images: Images, basis: NDArray[np.float64], bicubic: Bicubic, lr: Source, *, tile: int) -> Mixture:
    """Images of a scene in tiles of their own, which are kept while their neighbours need them.

    Args:
        images: of the scene.
        basis: `(C, K)` the share of each band in each.
        bicubic: what they are added to.
        lr: values of the scene.
        tile: as for `bounded`.
    """
    scale = bicubic.operator.shape_out[0] // bicubic.operator.shape_in[0]
    pixel = basis.shape[1] * scale**2 * 4
    if images.halo is None:
        kept = bounded(images, lr, scale=scale, tile=tile)
        assert isinstance(kept, Blended)
    else:
        side = next((side for side in (256, 128, 64) if side**2 * pixel <= _TILE_BYTES), 32)
        tiles = plan(lr.shape[1:], tile=side, halo=images.halo, scale=scale, multiple_of=images.multiple_of)
        fitting = _KEPT_BYTES // (tiles.core[0] * tiles.core[1] * pixel)
        keep = min(len(tiles), max(4, min(2 * len(tiles.col_spans) + 2, fitting)))
        kept = Blended(images, lr, tiles, overlap=0, keep=keep)
    core, window = (rows * cols for rows, cols in (kept.plan.core, kept.plan.window))
    held = kept.keep * core * pixel + window * _ACTIVATION_BYTES
    return Mixture(kept, basis, bicubic, held)


def bounded(method: M, lr: Source, *, scale: int, tile: int) -> M | Blended:
    """The method or images, blended from tiles of one size where its halo has no bound.

    Args:
        method: or images, of the scene.
        lr: its source.
        scale: HR pixels per LR pixel along a side.
        tile: side of the windows without their context, in LR pixels.
    """
    if method.halo is not None:
        return method
    tiles = plan(lr.shape[1:], tile=max(tile, 16), halo=CONTEXT, scale=scale, multiple_of=method.multiple_of)
    return Blended(method, lr, tiles, overlap=_OVERLAP)


def match_bands(session: Session, bands: Bands) -> NDArray[np.intp] | None:
    """Which bands of a cube the network takes, in its order; None for all of them as they are.

    Bands are matched by wavelength where both sides know theirs, and else by their number.

    Raises:
        UsageError: a band is not in the cube, or the numbers differ.
    """
    card = session.card
    if card.bands is None:
        return None
    if card.wavelength_nm is None or bands.wavelength_nm is None:
        if card.bands != len(bands):
            why = "it" if card.wavelength_nm is None else "the cube"
            raise UsageError(
                f"{session.name} takes {card.bands} bands, the cube has {len(bands)}, and {why} has no wavelengths to "
                "match them by; choose the bands with --bands"
            )
        return None
    wanted = np.asarray(card.wavelength_nm)
    apart = np.abs(bands.wavelength_nm[None, :] - wanted[:, None])
    apart[np.isnan(apart)] = np.inf
    index = apart.argmin(axis=1)
    ordered = np.sort(wanted)
    spacing = float(np.median(np.diff(ordered))) if len(ordered) > 1 else 0.0
    limit = max(_SAME_NM, spacing / 4)
    far = apart[np.arange(len(wanted)), index] > limit
    if far.any():
        worst = int(np.flatnonzero(far)[0])
        raise UsageError(
            f"{session.name} was trained on a band at {wanted[worst]:.1f} nm; the nearest of the cube is at "
            f"{bands.wavelength_nm[index[worst]]:.1f} nm ({int(far.sum())} of {len(wanted)} bands are further off than "
            f"{limit:.1f} nm); choose a network for this sensor, or one of domain subspace"
        )
    if len(set(index.tolist())) != len(index):
        raise UsageError(f"{session.name}: two of its bands match the same band of the cube; choose another network")
    return np.asarray(index, dtype=np.intp)
