"""Texts of coordinate reference systems, and the `map info` of ENVI headers.

A `Grid` holds its CRS as WKT2; files hold EPSG codes, WKT1, Esri's WKT, PROJ strings. Every format converts here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hypersharp.cube import Grid
from hypersharp.cube.grid import Affine6
from hypersharp.errors import CubeError, FileFormatError

# datum of ENVI (letters and digits only) -> EPSG code of the geographic CRS, base of the UTM zones north and south
_DATUMS = {
    "wgs84": (4326, 32600, 32700),
    "wgs72": (4322, 32200, 32300),
    "northamerica1983": (4269, 26900, None),
    "northamerica1927": (4267, 26700, None),
}
_DATUM_NAMES = {4326: "WGS-84", 4322: "WGS-72", 4269: "North America 1983", 4267: "North America 1927"}
_PROJ_DATUMS = {4326: "WGS84", 4269: "NAD83", 4267: "NAD27"}
_DEGREES = {"seconds": 1 / 3600, "minutes": 1 / 60, "radians": math.degrees(1)}
_METRES = ("", "meters", "metres", "meter", "metre", "m")
_FEET = ("feet", "foot", "ft")


class MapInfo(NamedTuple):
    """What a `map info` says.

    Attributes:
        affine: as in `Grid`.
        crs: WKT2 text, or None where none can be told.
        notes: lines for the history about what could not be taken over, or was taken by a decision of ours.
    """

    affine: Affine6
    crs: str | None
    notes: tuple[str, ...]


class MapFields(NamedTuple):
    """What is written for a grid.

    Attributes:
        map_info: fields of `map info`, or None for a grid that it cannot describe (sheared, or turned with pixels
            that are not square).
        coordinate_system_string: Esri WKT, or None where there is no CRS or it has no such form.
    """

    map_info: list[str] | None
    coordinate_system_string: str | None


def to_wkt2(crs: str | int) -> str:
    """The WKT2 text of a CRS given as EPSG number, ``EPSG:n``, WKT1, WKT2, Esri WKT, PROJ string or PROJ JSON.

    Where the CRS is known to be one of the EPSG registry, the text is that of the registry.

    Raises:
        CubeError: it is not a CRS.
    """
    return _text(_parse(crs))


def to_esri_wkt(wkt2: str) -> str | None:
    """The Esri WKT that comes nearest to a CRS (`same_crs` tells how near), or None where there is none.

    Raises:
        CubeError: `wkt2` is not a CRS.
    """
    crs = _parse(wkt2)
    try:
        with rasterio.Env():
            text = str(crs.to_wkt(version="WKT1_ESRI"))
        _parse(text)
    except (CRSError, CubeError):
        return None
    return text


def same_crs(one: str | None, other: str | None) -> bool:
    """Whether two CRS texts mean the same.

    Coordinates are (x, y) = (east, north) here whatever the order of the axes, so that does not count.

    Raises:
        CubeError: a text is not a CRS.
    """
    if one is None or other is None:
        return one is other
    if one == other or _parse(one) == _parse(other):
        return True
    esri = to_esri_wkt(one)  # has no axes
    return esri is not None and esri == to_esri_wkt(other)


def _parse(crs: str | int) -> CRS:
    try:
        with rasterio.Env():  # so that GDAL's own messages go to logging, not to the terminal
            parsed = CRS.from_user_input(crs)
            code = parsed.to_epsg()
            return parsed if code is None else CRS.from_epsg(code)
    except (CRSError, ValueError, TypeError):
        shown = str(crs) if len(str(crs)) <= 40 else str(crs)[:37] + "..."
        raise CubeError(f"expected a coordinate reference system (EPSG code or WKT), got {shown!r}") from None


def _text(crs: CRS) -> str:
    with rasterio.Env():
        return str(crs.to_wkt(version="WKT2_2019"))


def from_envi_map_info(fields: Sequence[str], coordinate_system_string: str | None) -> MapInfo:
    """Affine and CRS from the fields of an ENVI `map info`.

    The reference pixel counts from 1 at the *corner* of the first pixel, and lies at the given coordinates; `rotation`
    turns the image counter-clockwise about it, and pixels keep their sizes. GDAL agrees for reference pixel (1, 1) and
    square pixels, or no rotation; elsewhere it leaves the reference pixel or bends the pixel, which is noted. With
    `rotation=180` GDAL means an image whose rows run northwards and writes it so; read so here, and noted.

    The CRS is that of the coordinate system string; without one, UTM and Geographic Lat/Lon are known for the datums
    WGS-84, WGS-72, North America 1983 and 1927. Any other projection or datum gives no CRS and a note: none is assumed.

    Raises:
        FileFormatError: fields are missing or not numbers, or a pixel has no size.
    """
    options = dict(_option(field) for field in fields if "=" in field)
    plain = [field.strip() for field in fields if "=" not in field]
    if len(plain) < 7:
        raise FileFormatError(f"expected at least 7 fields in 'map info', got {len(plain)}; correct or delete it")
    name = plain[0]
    rx, ry, east, north, xsize, ysize = (_number(field) for field in plain[1:7])
    rotation = _number(options["rotation"]) if options.get("rotation") else 0.0
    if xsize == 0 or ysize == 0:
        raise FileFormatError("a pixel size in 'map info' is 0; correct or delete it")
    units = options.get("units", "").lower()
    notes: list[str] = []
    if name.lower().startswith("geographic") and units in _DEGREES:
        east, north, xsize, ysize = (value * _DEGREES[units] for value in (east, north, xsize, ysize))
    a, b, d, e = _linear(xsize, ysize, rotation)
    if rotation % 360 == 180:
        a = -a
        notes.append("ENVI map info has rotation=180, read as GDAL writes it: rows run northwards, nothing is turned")
    elif rotation and (xsize != ysize or (rx, ry) != (1, 1)):
        notes.append("ENVI map info turns the image about its reference pixel; GDAL places such an image elsewhere")
    affine = (a, b, east - a * (rx - 1) - b * (ry - 1), d, e, north - d * (rx - 1) - e * (ry - 1))
    crs, note = _crs(name, plain[7:], units, coordinate_system_string)
    return MapInfo(affine, crs, (*notes, *note))


def _linear(xsize: float, ysize: float, rotation: float) -> tuple[float, float, float, float]:
    """The terms `a, b, d, e` of an image turned counter-clockwise by `rotation` degrees."""
    quarter = {0: (1.0, 0.0), 90: (0.0, 1.0), 180: (-1.0, 0.0), 270: (0.0, -1.0)}
    turn = math.radians(rotation)
    cos, sin = quarter.get(rotation % 360, (math.cos(turn), math.sin(turn)))  # type: ignore[call-overload]
    return xsize * cos, ysize * sin + 0.0, xsize * sin + 0.0, -ysize * cos


def _option(field: str) -> tuple[str, str]:
    key, _, value = field.partition("=")
    return key.strip().lower(), value.strip()


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FileFormatError(f"expected a number in 'map info', got {text[:40]!r}; correct or delete it")
    return value


def _crs(name: str, rest: list[str], units: str, string: str | None) -> tuple[str | None, list[str]]:
    """WKT2 text and notes, from the coordinate system string, else from the names in `map info`."""
    notes: list[str] = []
    if string:
        try:
            return to_wkt2(string), notes
        except CubeError:
            notes.append("ENVI coordinate system string cannot be read")
    kind = name.lower()
    known: str | int | None = None
    if kind == "utm":
        known = _utm(rest, units)
    elif kind.startswith("geographic") and rest and (units in _DEGREES or units in ("", "degrees", "degree")):
        known = _datum(rest[0])[0]
    elif kind == "arbitrary" and not string:
        return None, notes
    if known is not None:
        try:
            return to_wkt2(known), notes
        except CubeError:
            pass  # a zone that the registry does not have: said below
    what = ", ".join([name, *rest, *([units] if units else [])])
    return None, [*notes, f"no CRS: ENVI map info {what!r} is not known and has no usable coordinate system string"]


def _datum(name: str) -> tuple[int | None, int | None, int | None]:
    return _DATUMS.get(re.sub("[^a-z0-9]", "", name.lower()), (None, None, None))


def _utm(rest: list[str], units: str) -> str | int | None:
    """EPSG code of a UTM zone, or a PROJ string for one in feet; None where zone, hemisphere or datum is not known."""
    if len(rest) < 3 or not re.fullmatch("[0-9]{1,2}", rest[0]) or not 1 <= int(rest[0]) <= 60:
        return None
    zone, side = int(rest[0]), rest[1].lower()[:1]
    geographic, north, south = _datum(rest[2])
    base = {"n": north, "s": south}.get(side)
    if geographic is None or base is None:
        return None
    if units in _METRES:
        return base + zone
    if units in _FEET and geographic in _PROJ_DATUMS:
        hemisphere = " +south" if side == "s" else ""
        return f"+proj=utm +zone={zone}{hemisphere} +datum={_PROJ_DATUMS[geographic]} +units=ft +no_defs"
    return None


def to_envi_map_info(grid: Grid) -> MapFields:
    """The `map info` and coordinate system string of a grid, with reference pixel (1, 1) and full precision.

    Raises:
        CubeError: the grid's CRS text is not a CRS.
    """
    a, b, c, d, e, f = grid.affine
    esri = None if grid.crs is None else to_esri_wkt(grid.crs)
    turned: list[str] = []
    xsize, ysize = a, -e
    if b != 0 or d != 0:
        xsize = ysize = math.hypot(a, d)
        if max(abs(a + e), abs(b - d)) > 1e-9 * xsize:
            return MapFields(None, esri)
        turned = [f"rotation={math.degrees(math.atan2(d, a))!r}"]
    kind, units = _kind(None if grid.crs is None else _parse(grid.crs))
    place = ["1", "1", *(repr(value) for value in (c, f, xsize, ysize))]
    return MapFields([kind[0], *place, *kind[1:], *units, *turned], esri)


def _kind(crs: CRS | None) -> tuple[list[str], list[str]]:
    """Projection name with what follows the pixel sizes, and the `units` field where it is metres.

    GDAL changes the coordinate system string to the units named here, even degrees to degrees: others are left to it.
    """
    if crs is None:
        return ["Arbitrary", "0", "North"], []
    code = crs.to_epsg()
    if crs.is_geographic:
        return ["Geographic Lat/Lon", *([_DATUM_NAMES[code]] if code in _DATUM_NAMES else [])], []
    for geographic, north, south in _DATUMS.values():
        for base, side in ((north, "North"), (south, "South")):
            if code is not None and base is not None and 1 <= code - base <= 60:
                return ["UTM", str(code - base), side, _DATUM_NAMES[geographic]], ["units=Meters"]
    found = re.match(r'\w+\["([^"]*)"', _text(crs))
    name = re.sub(r"[^\w/ .()-]+", " ", found[1]).strip() if found else ""
    return [name or "Unknown"], ["units=Meters"] if crs.is_projected and crs.units_factor[1] == 1 else []
