"""A trained network as a fusion method: what it sees of a pair, its result in physical units, and the whole scene.

In the domain of a subspace the network sees eigenimages of the cube, whatever sensor it is of, and what these do not
hold is carried by the enlarged cube, less its noise. Each MSI band is taken less its mean and over its standard
deviation, so that neither its units, nor its gain or offset, which calibration knows but roughly, are seen. Or, in a
subspace, the network sees a linear draft of the eigenimages at HR (`draft`). What a band has to do with an
eigenimage, which differs from scene to scene, it then need not find out.

Letters: C bands of the cube, B bands of the MSI, K channels of the network that are the cube's, M those of the MSI,
h w rows and columns of LR, s scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp.cube import Bands, Source, all_valid, normalise, trivial_mask
from hypersharp.errors import UsageError
from hypersharp.fusion._enlarge import enlarge, realign
from hypersharp.fusion._regression import blur_halo, up_halo
from hypersharp.fusion._spec import Calibration, Floats, Fuse, FusionSpec, Window
from hypersharp.fusion.auto import Choice, zones_of
from hypersharp.fusion.draft import Draft, fit_draft
from hypersharp.fusion.scene import fuse_where_known, window_of
from hypersharp.infer import subspace
from hypersharp.infer.consistency import MODES
from hypersharp.infer.fit import SceneFit, fit_consistency, fit_scene
from hypersharp.infer.methods import Method, Span
from hypersharp.infer.network import CONTEXT, bounded, match_bands
from hypersharp.infer.session import Session
from hypersharp.infer.sharpen import Sharpened, halo_of
from hypersharp.infer.tiles import TilePlan, plan

__all__ = [
    "Guided",
    "Inputs",
    "Learned",
    "NetworkFuse",
    "Standardised",
    "check_network",
    "in_bands",
    "in_subspace",
    "mode_of",
    "network_spec",
    "whole_scene",
]

_LARGEST_TILE = 64  # LR pixels, without context; what a network holds of a window grows with its features
_LEFT_ALONE = 0.5  # HR pixels of shift: networks are trained with less; more is undone before they see the cube


@dataclass(frozen=True, eq=False)
class Standardised:
    """MSI bands, each of mean 0 and spread 1 over the scene; a constant one is 0.

    Attributes:
        mean: `(B,)`.
        white: `(B,)` one over the standard deviation.
    """

    mean: NDArray[np.float64]
    white: NDArray[np.float64]

    @classmethod
    def of(cls, windows: Sequence[Window]) -> Standardised:
        """From a sample of the scene."""
        scale = windows[0].msi.shape[1] // windows[0].lr.shape[1]
        known = (w.valid.repeat(scale, axis=0).repeat(scale, axis=1) for w in windows)
        pixels = np.concatenate([w.msi[:, at] for w, at in zip(windows, known, strict=True)], axis=1)
        spread = np.where(np.ptp(pixels, axis=1) > 0, pixels.std(axis=1, dtype=np.float64), 0.0)
        white = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
        return cls(pixels.mean(axis=1, dtype=np.float64), white)

    def __call__(self, lr: Floats, msi: Floats) -> Floats:
        """`(B, s·h, s·w)`; the cube adds nothing."""
        del lr
        mean, white = (values.astype(np.float32)[:, None, None] for values in (self.mean, self.white))
        return np.asarray((msi - mean) * white)


@dataclass(frozen=True, eq=False)
class Inputs:
    """How a pair becomes what a network sees; fitted once per scene on LR and MSI, never on HR.

    Attributes:
        offset: of the cube's values in the domain of bands.
        divisor: likewise.
        space: in its place the basis of the eigenimages; None in the domain of bands.
        guide: from what `cube` gives of an LR window that is not realigned, and the MSI `(B, s·h, s·w)`, to what the
            network sees as MSI, `(M, s·h, s·w)`.
    """

    offset: float
    divisor: float
    space: subspace.Subspace | None
    guide: Standardised | Draft

    def cube(self, values: Floats) -> Floats:
        """`(K, h, w)` of spectra `(C, h, w)`, be they of LR or of HR."""
        if self.space is not None:
            return self.space.encode(values).astype(np.float32)
        return ((values - self.offset) / self.divisor).astype(np.float32)


def in_bands(windows: Sequence[Window], *, quantile: float) -> Inputs:
    """Fit for a network that sees the cube's bands and the MSI's; training and inference both do.

    Args:
        windows: a sample of the scene.
        quantile: of the cube's magnitudes that becomes 1.

    Raises:
        NoDataError: no pixel is valid.
    """
    found = normalise.fit([(w.lr, np.broadcast_to(w.valid, w.lr.shape)) for w in windows], quantile=quantile)
    return Inputs(found.offset, found.divisor, None, Standardised.of(windows))


def in_subspace(windows: Sequence[Window], calibration: Calibration, *, count: int, draft: bool) -> Inputs:
    """Fit for a network that sees eigenimages of the cube; training and inference both do.

    Args:
        windows: a sample of the scene.
        calibration: of the pair; noise of NaN is that of bands that the basis leaves out.
        count: eigenimages.
        draft: whether in place of the MSI it sees a draft of the eigenimages.

    Raises:
        NoDataError: no pixel is valid.
    """
    pieces = [(w.lr, np.broadcast_to(w.valid, w.lr.shape)) for w in windows]
    space = subspace.fit(pieces, calibration.noise_lr, count=count)
    guide = fit_draft(windows, calibration, space) if draft else Standardised.of(windows)
    return Inputs(0.0, 1.0, space, guide)


@dataclass(frozen=True, eq=False)
class NetworkFuse:
    """A network on the windows of one scene; itself a `Fuse`.

    Attributes:
        session: the network.
        inputs: what it sees.
        calibration: of the pair; its shift, and for a draft its blur.
        index: `(C',)` bands that it takes, in its order; None for all as they are. The others are enlarged. Of a
            subspace always None.
    """

    session: Session
    inputs: Inputs
    calibration: Calibration
    index: NDArray[np.intp] | None = None

    def __call__(self, window: Window) -> Floats:
        """`(C, s·h, s·w)` of a window, in physical units."""
        inputs, index = self.inputs, self.index
        sharp = self._run(window.lr if index is None else window.lr[index], window.msi)
        if inputs.space is None:
            sharp = sharp * np.float32(inputs.divisor) + np.float32(inputs.offset)
            if index is None:
                return sharp
        enlarged = enlarge(window.lr.shape[1:], self.calibration)
        if inputs.space is not None:
            wide = enlarged.apply(inputs.space.calm(window.lr))
            away = sharp - inputs.cube(wide)
            return np.asarray(wide + np.tensordot(inputs.space.basis.astype(np.float32), away, axes=1))
        wide = enlarged.apply(window.lr)
        wide[index] = sharp
        return wide

    def _run(self, lr: Floats, msi: Floats) -> Floats:
        """The network; sides that do not divide are mirrored up to such that do, and cut again."""
        inputs, straight = self.inputs, realign(lr, self.calibration, beyond=_LEFT_ALONE)
        low, high = inputs.cube(straight)[None], inputs.guide(inputs.cube(lr), msi)[None]
        scale, step = self.calibration.scale, self.session.card.multiple_of
        rows, cols = (-n % step for n in low.shape[2:])
        if rows or cols:
            low = np.pad(low, ((0, 0), (0, 0), (0, rows), (0, cols)), mode="symmetric")
            high = np.pad(high, ((0, 0), (0, 0), (0, rows * scale), (0, cols * scale)), mode="symmetric")
        sharp: Floats = self.session(low, high)[0][:, : msi.shape[1], : msi.shape[2]]
        return sharp


def check_network(session: Session, *, scale: int, msi_bands: int) -> None:
    """Refuse a network that is not for such a pair, before anything is fitted.

    Raises:
        UsageError: it sharpens a cube alone, or is for another scale or number of MSI bands.
        FileFormatError: its file cannot be read.
    """
    card, name = session.card, session.name
    if card.msi_bands is None:
        raise UsageError(f"{name} sharpens a cube alone and takes no MSI; use hypersharp sharpen, or another network")
    if card.scale != scale:
        raise UsageError(f"{name} was made for scale {card.scale}, got a pair of scale {scale}; choose another")
    if card.msi_bands != msi_bands and not card.msi_drafted:
        raise UsageError(
            f"{name} takes an MSI of {card.msi_bands} bands, got one of {msi_bands}; choose bands with --msi-bands, or "
            "another network"
        )
    if card.domain == "subspace" and card.bands is None:
        raise UsageError(f"{name} does not say how many eigenimages it takes; export it again")


def _halo(own: int, calibration: Calibration) -> int:
    """LR pixels around a window, with those that a draft of the network's whole window needs."""
    return own + blur_halo(calibration) + up_halo(calibration)


def network_spec(session: Session, bands: Bands) -> FusionSpec:
    """A network as a fusion method for a cube of these bands.

    Raises:
        UsageError: a band that it was trained on is not in the cube (domain of bands).
    """
    card = session.card
    index = match_bands(session, bands) if card.domain == "bands" else None

    def fit(windows: Sequence[Window], calibration: Calibration) -> Fuse:
        if card.domain == "subspace":
            inputs = in_subspace(windows, calibration, count=card.bands or 0, draft=card.msi_drafted)
        else:
            taken = [w if index is None else Window(w.lr[index], w.msi, w.valid) for w in windows]
            inputs = in_bands(taken, quantile=card.quantile)
        return NetworkFuse(session, inputs, calibration, index)

    return FusionSpec(
        fit=fit,
        halo=lambda calibration: CONTEXT if card.halo is None else _halo(card.halo, calibration),
        title=f"{card.model} (weights {session.sha256[:12]})",
        source=str(card.about.get("paper", "")),
    )


@dataclass(frozen=True, eq=False)
class Learned:
    """A network in a method's place.

    Attributes:
        session: the network.
        spec: as a method.
        consistency: how far it follows the network.
    """

    session: Session
    spec: FusionSpec
    consistency: str

    def choice(self, calibration: Calibration, bands: Bands) -> Choice:
        """The network for every zone."""
        zones, why = zones_of(calibration, bands.wavelength_nm), f"its file was given; consistency {self.consistency}"
        return Choice((self.spec.title,) * len(zones), zones, {}, why)

    def scene(
        self,
        fuse: Fuse,
        pair: tuple[Source, Source],
        calibration: Calibration,
        live: NDArray[np.intp],
        *,
        tile: tuple[int, int],
    ) -> tuple[Sharpened, TilePlan]:
        """The whole scene of cube and MSI; see `Guided` and `whole_scene`."""
        guided = Guided.of(fuse, self.session, pair[1], calibration, live)
        return whole_scene(guided, pair[0], fit_scene(pair[0]), tile=tile, consistency=self.consistency)


def mode_of(consistency: str | None, *, model: bool, named: bool) -> str:
    """How far consistency follows.

    Args:
        consistency: what was asked for; None for nothing, which is ``"noise"``.
        model: whether there is a network for it to follow.
        named: whether a method was named.

    Raises:
        UsageError: there is none, there is a method besides, or no such mode.
    """
    if not model and consistency is not None:
        raise UsageError("consistency follows a network, and methods see to it themselves; name a network with --model")
    if model and named:
        raise UsageError("expected a method or a model, got both; leave one out")
    mode = "noise" if consistency is None else consistency
    if mode not in MODES:
        raise UsageError(f"consistency must be one of {', '.join(MODES)}, got {mode!r}")
    return mode


@dataclass(frozen=True, eq=False)
class Guided:
    """A fusion method as a `Method` of the cube, so that it is tiled, blended and made consistent as those are.

    Attributes:
        fuse: fitted.
        msi: source of the MSI on `scale` times as many pixels.
        calibration: of the bands that are fused.
        live: `(C',)` these bands; the others are enlarged as they are.
        halo: LR pixels, or None where there is no bound.
        multiple_of: as the card says.
        name: as it goes into the history.
    """

    fuse: Fuse
    msi: Source
    calibration: Calibration
    live: NDArray[np.intp]
    halo: int | None
    multiple_of: int
    name: str
    bandwise: bool = False

    @classmethod
    def of(cls, fuse: Fuse, session: Session, msi: Source, calibration: Calibration, live: NDArray[np.intp]) -> Guided:
        """For a network."""
        card = session.card
        halo = None if card.halo is None else _halo(card.halo, calibration)
        return cls(fuse, msi, calibration, live, halo, card.multiple_of, card.model)

    def __call__(
        self, lr: NDArray[np.floating[Any]], origin: tuple[int, int], hr_rows: Span, hr_cols: Span
    ) -> NDArray[np.floating[Any]]:
        """See `Method`."""
        scale = self.calibration.scale
        top, left = origin[0] * scale, origin[1] * scale
        height, width = (n * scale for n in lr.shape[1:])
        msi, seen = self.msi.read(slice(None), slice(top, top + height), slice(left, left + width))
        known = trivial_mask(seen.shape[1:]) if all_valid(seen) else np.asarray(seen.all(axis=0))
        everything = len(self.live) == len(lr)
        held = lr if everything else lr[self.live]
        window = window_of(held, trivial_mask(held.shape), msi, known, self.calibration, reach=0)
        part = slice(hr_rows[0] - top, hr_rows[1] - top), slice(hr_cols[0] - left, hr_cols[1] - left)
        sharp = fuse_where_known(self.fuse, window, known, self.calibration, part).astype(lr.dtype, copy=False)
        if everything:
            return sharp
        out = enlarge(lr.shape[1:], self.calibration).apply(lr)[:, part[0], part[1]]
        out[self.live] = sharp
        return out


def whole_scene(
    guided: Guided, lr: Source, scene: SceneFit, *, tile: tuple[int, int], consistency: str
) -> tuple[Sharpened, TilePlan]:
    """The whole scene as a lazy source, with what makes it agree with the cube.

    Args:
        guided: the network for this pair.
        lr: the cube.
        scene: fitted on it.
        tile: rows and columns of a tile's core in LR pixels.
        consistency: ``"noise"``, ``"exact"`` or ``"off"``; see `infer.consistency`.

    Returns:
        The source, and the tiles in which it is computed.
    """
    scale = guided.calibration.scale
    operator = guided.calibration.blur((lr.shape[1] * scale, lr.shape[2] * scale))
    method: Method = bounded(guided, lr, scale=scale, tile=min(*tile, _LARGEST_TILE))
    follow = fit_consistency(scene, method, operator, mode=consistency)
    halo = halo_of(method.halo or 0, follow, complete=lr.complete)
    tiles = plan(lr.shape[1:], tile=tile, halo=halo, scale=scale, multiple_of=method.multiple_of)
    return Sharpened(lr, method, follow, tiles), tiles
