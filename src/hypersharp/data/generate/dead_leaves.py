"""Scenes drawn by procedure: shapes that occlude each other, thin lines, rows of buildings, textures and shadows.

Occluding shapes whose sizes follow a power law have the statistics of natural images (Ruderman 1997, Vision Res. 37,
3385; Lee, Mumford and Huang 2001, Int. J. Comput. Vis. 41, 35). Shapes are drawn on a grid four times finer and
averaged, as a detector does: an edge pixel is a linear mixture of materials, and shapes go below one pixel.

Materials stay apart until the end: what is averaged is each material's abundance, and the bands are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hypersharp.data.generate.fields import fractal, smooth_curves

FINER = 4
"""Drawn pixels per scene pixel along a side."""

_KINDS = ("disc", "ellipse", "rectangle", "polygon", "blob")
_FAVOUR = (0.25, 0.4, 1.0, 1.0, 1.0)  # round things are rare among large ones
_MOST_SHAPES = 4000
_SEGMENT = 24  # scene pixels of a line that are drawn at once: a short piece has a small window
Mask = NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Style:
    """What one scene looks like; lengths in scene pixels.

    Attributes:
        kinds: how often each of disc, ellipse, rectangle, polygon and blob is drawn.
        exponent: of the power law of radii.
        radius: smallest and largest.
        cover: area of all shapes in parts of the scene; above 1 they hide each other.
        parcels: typical side of the fields or blocks that the scene is divided into first; 0 for none.
        lines: number of roads, rivers and walls.
        estates: number of groups of buildings.
        specks: number of small things on top: trees, cars, stones.
        shadow: length of shadows in parts of a thing's radius.
        sun: direction of shadows in radians.
        texture: strength of the textures of materials.
        sigma: of a Gaussian that the optics add.
    """

    kinds: tuple[float, ...]
    exponent: float
    radius: tuple[float, float]
    cover: float
    parcels: float
    lines: int
    estates: int
    specks: int
    shadow: float
    sun: float
    texture: float
    sigma: float

    @classmethod
    def random(cls, side: int, draw: np.random.Generator) -> Style:
        """Any mixture of city, fields and wild land."""
        area = side * side / 65536
        parcels = draw.uniform(8, 50) if draw.random() < 0.6 else 0.0
        return cls(
            tuple(draw.dirichlet(_FAVOUR).tolist()),
            draw.uniform(1.8, 3.0),
            (draw.uniform(0.4, 2.5), side * draw.uniform(0.05, 0.3)),
            draw.uniform(0.05, 0.7) if parcels else draw.uniform(1.2, 4.0),
            parcels,
            int(draw.integers(0, 14)),
            int(area * draw.integers(2, 40)) if draw.random() < 0.6 else 0,
            int(area * draw.choice([0, 100, 400, 900]) * draw.random()),
            draw.uniform(0.3, 1.5) if draw.random() < 0.7 else 0.0,
            draw.uniform(0, 2 * np.pi),
            draw.uniform(0.03, 0.22),
            draw.uniform(0.25, 0.6),
        )


def draw_scene(
    spectra: NDArray[np.float32], draw: np.random.Generator, *, shape: tuple[int, int], style: Style | None = None
) -> NDArray[np.float32]:
    """Draw a scene.

    Args:
        spectra: `(M, C)`, one of each material.
        draw: source of randomness.
        shape: `(H, W)`.
        style: random where not given.

    Returns:
        `(C, H, W)` float32 in the unit of the spectra.
    """
    style = Style.random(min(shape), draw) if style is None else style
    canvas = _Canvas.blank(shape, len(spectra), draw)
    if style.parcels:
        _parcels(canvas, style)
    _leaves(canvas, style)
    for _ in range(style.lines):
        _line(canvas)
    for _ in range(style.estates):
        _estate(canvas, style)
    _specks(canvas, style)
    return _mix(canvas, spectra, style)


@dataclass(eq=False)
class _Canvas:
    """The fine grid: which thing is seen at each place, whether it is lit, and what each thing is made of."""

    draw: np.random.Generator
    materials: int
    thing: NDArray[np.int32]
    dark: Mask
    made_of: list[int] = field(default_factory=list)
    stripes: list[tuple[float, float, float]] = field(default_factory=list)

    @classmethod
    def blank(cls, shape: tuple[int, int], materials: int, draw: np.random.Generator) -> _Canvas:
        fine = (shape[0] * FINER, shape[1] * FINER)
        canvas = cls(draw, materials, np.zeros(fine, np.int32), np.zeros(fine, bool))
        canvas.new()
        return canvas

    def new(self, material: int | None = None, *, striped: float = 0.0) -> int:
        """Number of a new thing; `striped` is how likely it has stripes, as crops and roofs do."""
        self.made_of.append(int(self.draw.integers(self.materials)) if material is None else material)
        amount, angle, wave = 0.0, self.draw.uniform(0, np.pi), self.draw.uniform(1.5, 10) * FINER
        if self.draw.random() < striped:
            amount = self.draw.uniform(0.05, 0.35)
        self.stripes.append((amount, 2 * np.pi * np.cos(angle) / wave, 2 * np.pi * np.sin(angle) / wave))
        return len(self.made_of) - 1

    def anywhere(self) -> tuple[float, float]:
        """A place, in fine pixels."""
        height, width = self.thing.shape
        return self.draw.uniform(0, height), self.draw.uniform(0, width)

    def window(
        self, centre: tuple[float, float], reach: float
    ) -> tuple[tuple[slice, slice], NDArray[np.float32], NDArray[np.float32]]:
        """The part within reach of a place, and offsets from it `(h, 1)` and `(1, w)`."""
        cut = [
            slice(min(max(int(at - reach), 0), size), min(max(int(at + reach) + 2, 0), size))
            for at, size in zip(centre, self.thing.shape, strict=True)
        ]
        y, x = (
            np.arange(s.start, s.stop, dtype=np.float32) - np.float32(at) for s, at in zip(cut, centre, strict=True)
        )
        return (cut[0], cut[1]), y[:, None], x[None, :]

    def paint(self, where: tuple[slice, slice], mask: Mask, thing: int) -> None:
        self.thing[where][mask] = thing
        self.dark[where][mask] = False


def _inside(
    kind: str, y: NDArray[np.float32], x: NDArray[np.float32], radius: float, draw: np.random.Generator
) -> Mask:
    """Which offsets `(h, 1)` and `(1, w)` lie in a randomly turned shape that reaches `radius` from its centre."""
    if kind == "disc":
        return np.asarray(x * x + y * y < radius * radius)
    angle, aspect = draw.uniform(0, np.pi), draw.uniform(0.25, 1)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = cos * x + sin * y, cos * y - sin * x
    if kind == "ellipse":
        return np.asarray(along**2 + (across / aspect) ** 2 < radius**2)
    if kind == "rectangle":
        half = radius / np.hypot(1, aspect)
        return np.asarray((np.abs(along) < half) & (np.abs(across) < half * aspect))
    if kind == "polygon":
        inside = np.asarray(along**2 + across**2 < radius**2)
        corners = int(draw.integers(3, 8))
        for turn in (np.arange(corners) + draw.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners:
            inside &= along * np.cos(turn) + across * np.sin(turn) < radius * draw.uniform(0.4, 0.9)
        return inside
    turn = np.arctan2(across, along)
    edge = np.full_like(turn, 0.7)
    for wave in range(2, 6):
        edge += np.float32(draw.normal(0, 0.5 / wave)) * np.cos(wave * turn + np.float32(draw.uniform(0, 2 * np.pi)))
    return np.asarray(along**2 + across**2 < (radius * np.clip(edge, 0.15, 1)) ** 2)


def _thing(
    canvas: _Canvas,
    kind: str,
    centre: tuple[float, float],
    radius: float,
    style: Style,
    *,
    tall: bool,
    material: int | None = None,
) -> None:
    """One shape of a radius in scene pixels, with its shadow where it is tall."""
    reach = radius * FINER
    where, y, x = canvas.window(centre, reach)
    mask = _inside(kind, y, x, reach, canvas.draw)
    if tall and style.shadow:
        _cast(canvas, where, mask, (style.shadow * reach * np.sin(style.sun), style.shadow * reach * np.cos(style.sun)))
    canvas.paint(where, mask, canvas.new(material, striped=0.15 if radius > 5 else 0.0))


def _cast(canvas: _Canvas, where: tuple[slice, slice], mask: Mask, by: tuple[float, float]) -> None:
    """Darken what lies behind a thing as seen from the sun: its mask, moved in steps of a third of the way."""
    for part in (1 / 3, 2 / 3, 1):
        to, own = [], []
        for cut, size, far in zip(where, canvas.dark.shape, by, strict=True):
            start = cut.start + round(far * part)
            low, high = max(start, 0), min(start + cut.stop - cut.start, size)
            to.append(slice(low, max(high, low)))
            own.append(slice(low - start, max(high, low) - start))
        canvas.dark[to[0], to[1]] |= mask[own[0], own[1]]


def _leaves(canvas: _Canvas, style: Style) -> None:
    """Shapes with a power law of radii, cut off at both ends, until they cover the scene several times."""
    low, high = style.radius
    power = 1 - style.exponent
    height, width = canvas.thing.shape
    share = canvas.draw.random(_MOST_SHAPES)
    radii = (low**power + share * (high**power - low**power)) ** (1 / power)
    area = np.cumsum(np.pi * 0.6 * radii**2) * FINER**2 / (height * width)
    for radius in radii[: int(np.searchsorted(area, style.cover)) + 1]:
        kind = _KINDS[canvas.draw.choice(len(_KINDS), p=style.kinds)]
        _thing(canvas, kind, canvas.anywhere(), radius, style, tall=radius < 8 and canvas.draw.random() < 0.25)


def _parcels(canvas: _Canvas, style: Style) -> None:
    """Rectangles of one direction that fill the scene, halved until they are small enough, with ways between them."""
    draw = canvas.draw
    centre = (canvas.thing.shape[0] / 2, canvas.thing.shape[1] / 2)
    angle, way = draw.uniform(0, np.pi / 2), FINER * draw.uniform(0, 1.2) * (draw.random() < 0.6)
    cos, sin, far = np.cos(angle), np.sin(angle), float(np.hypot(*centre))
    waiting = [(-far, far, -far, far)]
    while waiting:
        low, high, left, right = waiting.pop()
        if max(high - low, right - left) > style.parcels * FINER * draw.lognormal(0, 0.5):
            part = draw.uniform(0.3, 0.7)
            if high - low > right - left:
                cut = low + part * (high - low)
                waiting += [(low, cut, left, right), (cut, high, left, right)]
            else:
                cut = left + part * (right - left)
                waiting += [(low, high, left, cut), (low, high, cut, right)]
            continue
        v, u = (low + high) / 2, (left + right) / 2
        at = (centre[0] + sin * u + cos * v, centre[1] + cos * u - sin * v)
        where, dy, dx = canvas.window(at, float(np.hypot(high - low, right - left)) / 2)
        if dy.size and dx.size:
            along, across = cos * dx + sin * dy, cos * dy - sin * dx
            mask = (np.abs(along) < (right - left - way) / 2) & (np.abs(across) < (high - low - way) / 2)
            canvas.paint(where, mask, canvas.new(striped=0.2))


def _specks(canvas: _Canvas, style: Style) -> None:
    """Small things of a few materials, in groups that are tight or wide."""
    draw = canvas.draw
    left = style.specks
    while left > 0:
        count = min(left, int(draw.integers(1, 80)))
        left -= count
        middle, spread = canvas.anywhere(), FINER * draw.uniform(2, 50)
        material, kind = int(draw.integers(canvas.materials)), _KINDS[draw.integers(len(_KINDS))]
        size, tall = draw.lognormal(0.1, 0.5), draw.random() < 0.5
        for y, x in draw.normal(middle, spread, (count, 2)).tolist():
            own = material if draw.random() < 0.8 else None
            _thing(canvas, kind, (y, x), size * draw.lognormal(0, 0.3), style, tall=tall, material=own)


def _line(canvas: _Canvas) -> None:
    """A line that keeps or slowly turns its direction, 0.3 to 5 scene pixels wide."""
    draw = canvas.draw
    half = FINER * np.exp(draw.uniform(np.log(0.15), np.log(2.5)))
    thing = canvas.new()
    y, x = canvas.anywhere()
    heading, turn = draw.uniform(0, 2 * np.pi), draw.choice([0.0, 0.05, 0.25])
    step = _SEGMENT * FINER
    for _ in range(int(draw.integers(2, 2 + 2 * max(canvas.thing.shape) // step))):
        heading += draw.normal(0, turn)
        dy, dx = np.sin(heading), np.cos(heading)
        where, v, u = canvas.window((y + dy * step / 2, x + dx * step / 2), step / 2 + half)
        along, across = u * dx + v * dy, v * dx - u * dy
        canvas.paint(where, (np.abs(across) < half) & (np.abs(along) < step / 2 + half / 2), thing)
        y, x = y + dy * step, x + dx * step


def _estate(canvas: _Canvas, style: Style) -> None:
    """Rows of buildings that share direction, size and a few roof materials."""
    draw = canvas.draw
    (y0, x0), angle = canvas.anywhere(), draw.uniform(0, np.pi / 2)
    cos, sin = np.cos(angle), np.sin(angle)
    length, width = draw.uniform(1.5, 9), draw.uniform(1.0, 5)
    roofs = draw.integers(canvas.materials, size=3)
    rows, cols = draw.integers(1, 6), draw.integers(2, 9)
    shadow = style.shadow * width * FINER * np.array([np.sin(style.sun), np.cos(style.sun)])
    for row in range(rows):
        for col in range(cols):
            u = (col * length * draw.normal(1.5, 0.03)) * FINER
            v = (row * width * draw.normal(2.2, 0.05)) * FINER
            a, b = FINER / 2 * np.array([length, width]) * draw.uniform(0.7, 1.1, 2)
            where, dy, dx = canvas.window((y0 + sin * u + cos * v, x0 + cos * u - sin * v), float(np.hypot(a, b)))
            along, across = cos * dx + sin * dy, cos * dy - sin * dx
            mask = (np.abs(along) < a) & (np.abs(across) < b)
            if style.shadow:
                _cast(canvas, where, mask, (float(shadow[0]), float(shadow[1])))
            roof = int(draw.choice(roofs))
            canvas.paint(where, mask, canvas.new(roof))
            ridge = draw.uniform(0.75, 1.3)  # of a pitched roof one side faces the sun
            if ridge > 1:
                canvas.paint(where, mask & (across > 0), canvas.new(roof))


def _mix(canvas: _Canvas, spectra: NDArray[np.float32], style: Style) -> NDArray[np.float32]:
    """Average the fine grid to abundances, and mix the spectra: `(M, H, W)` and `(M, C)` to `(C, H, W)`."""
    draw, things, materials = canvas.draw, len(canvas.made_of), len(spectra)
    shape = (canvas.thing.shape[0] // FINER, canvas.thing.shape[1] // FINER)
    made_of = np.array(canvas.made_of, np.int32)
    kinds = made_of[canvas.thing]  # (4H, 4W)
    light = _brightness(canvas, style, made_of, kinds)
    pixel = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    at = (kinds * np.int32(pixel.size) + _enlarge(pixel)).ravel()

    def averaged(weight: NDArray[np.float32]) -> NDArray[np.float32]:
        total = np.bincount(at, weight.ravel(), materials * pixel.size) / FINER**2
        return total.reshape(materials, *shape).astype(np.float32)

    shares, parts = [averaged(light)], [spectra]
    for amount in draw.uniform(0.02, 0.12, 2):  # how things of one material, and places of one thing, differ
        own = draw.normal(size=things).astype(np.float32)[canvas.thing]
        own += _enlarge(fractal(shape, draw, slope=draw.uniform(0.5, 1.5)))
        shares.append(averaged(light * own))
        parts.append(spectra * np.float32(amount) * smooth_curves(materials, spectra.shape[1], draw))
    skylight = np.exp(0.4 * smooth_curves(1, spectra.shape[1], draw, length=0.5)) * spectra.mean(axis=0)
    lit_by_sky = canvas.dark.reshape(shape[0], FINER, shape[1], FINER).mean(axis=(1, 3))
    shares.append(lit_by_sky[None].astype(np.float32))
    parts.append(np.float32(draw.uniform(0.03, 0.12)) * skylight)
    share = np.concatenate(shares)
    for plane in share:
        ndimage.gaussian_filter(plane, style.sigma, output=plane, mode="nearest", truncate=3)
    return np.tensordot(np.concatenate(parts).astype(np.float32), share, axes=(0, 0)).astype(np.float32, copy=False)


def _brightness(
    canvas: _Canvas, style: Style, made_of: NDArray[np.int32], kinds: NDArray[np.int32]
) -> NDArray[np.float32]:
    """`(4H, 4W)` how bright each place is: the gain of its thing, stripes, texture, slope of the light, shadow."""
    draw, thing = canvas.draw, canvas.thing
    shape = (thing.shape[0] // FINER, thing.shape[1] // FINER)
    light = draw.lognormal(0, 0.2, len(made_of)).astype(np.float32)[thing]
    amount, down, right = np.array(canvas.stripes, np.float32).T
    if (striped := amount[thing] > 0).any():
        y, x = np.nonzero(striped)
        own = thing[y, x]
        light[y, x] *= 1 + amount[own] * np.sin(down[own] * y + right[own] * x)
    strength = (style.texture * draw.lognormal(0, 0.5, canvas.materials)).astype(np.float32)
    coarse = draw.random(canvas.materials) < 0.5
    rough, soft = (_enlarge(fractal(shape, draw, slope=slope)) for slope in (draw.uniform(0.2, 0.8), 1.2))
    light *= np.exp(strength[kinds] * np.where(coarse[kinds], soft, rough))
    light *= _enlarge(np.exp(draw.uniform(0, 0.1) * fractal(shape, draw, slope=2.5)).astype(np.float32))
    light[canvas.dark] *= np.float32(draw.uniform(0.15, 0.5))
    return light


def _enlarge(plane: NDArray[T]) -> NDArray[T]:
    """`(H, W)` to `(4H, 4W)`, each value repeated."""
    return np.repeat(np.repeat(plane, FINER, axis=0), FINER, axis=1)
