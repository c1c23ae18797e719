"""The pairs of `made.py` as georeferenced cubes, for whatever starts from files or cubes."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio import warp
from rasterio.crs import CRS

from hypersharp.cube import Bands, Cube, Grid
from hypersharp.io.crs import to_wkt2

from .made import Pair

PLACE = (500_000.0, 4_200_000.0)
EPSG = 32633


def cubes_of(pair: Pair, *, gsd_m: float = 30.0, wavelengths: bool = True) -> tuple[Cube, Cube]:
    """LR cube and MSI on nested grids of one UTM zone; only the cube has wavelengths."""
    bands, rows, cols = pair.window.lr.shape
    grid = Grid((rows, cols), (gsd_m, 0.0, PLACE[0], 0.0, -gsd_m, PLACE[1]), to_wkt2(EPSG))
    known = Bands(bands, np.linspace(400.0, 2400.0, bands)) if wavelengths else Bands(bands)
    lr = Cube.from_array(pair.window.lr, bands=known, grid=grid, quantity="reflectance")
    return lr, Cube.from_array(pair.window.msi, grid=grid.zoom(pair.calibration.scale))


def moved(cube: Cube, *, right: float = 0.0, down: float = 0.0, gsd: float = 1.0) -> Cube:
    """The same pixels, said to lie so many metres elsewhere, or `gsd` times as large."""
    a, b, c, d, e, f = cube.grid.affine
    grid = Grid(cube.shape[1:], (a * gsd, b * gsd, c + right, d * gsd, e * gsd, f - down), cube.grid.crs)
    return Cube(cube.values, cube.bands, grid)


def elsewhere(msi: Cube, epsg: int, *, gsd: float, margin: int = 8) -> Cube:
    """The MSI as a file of another CRS would have it, resampled by rasterio with Lanczos' kernel; a margin is empty."""
    values, _ = msi.read()
    source, target = CRS.from_wkt(msi.grid.crs), CRS.from_epsg(epsg)
    a, _, c, _, e, f = msi.grid.affine
    rows, cols = msi.grid.shape
    left, bottom, right, top = warp.transform_bounds(source, target, c, f + e * rows, c + a * cols, f)
    left, top = left - margin * gsd, top + margin * gsd
    shape = (int((top - bottom) / gsd) + margin, int((right - left) / gsd) + margin)
    out = np.full((len(values), *shape), np.nan, np.float32)
    affine = rasterio.Affine(gsd, 0, left, 0, -gsd, top)
    warp.reproject(
        values,
        out,
        src_transform=rasterio.Affine(*msi.grid.affine),
        src_crs=source,
        src_nodata=np.nan,
        dst_transform=affine,
        dst_crs=target,
        dst_nodata=np.nan,
        resampling=warp.Resampling.lanczos,
        tolerance=0.0,
    )
    return Cube.from_array(out, grid=Grid(shape, tuple(affine)[:6], to_wkt2(epsg)))
