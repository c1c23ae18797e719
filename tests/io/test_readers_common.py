"""What every reader must do, from one row of `table.py` each."""

from __future__ import annotations

import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hypersharp.cube import Cube
from hypersharp.errors import FileFormatError, HypersharpError
from hypersharp.io import list_readers, open_cube
from hypersharp.io.crs import same_crs, to_wkt2

from .table import AFFINE, EPSG, FWHM, GOOD, MARKER, NAMES, ROWS, WAVELENGTHS, Row, stored_numbers

EVERY = [pytest.param(row, id=name) for name, row in ROWS.items()]


def opened(row: Row, path: Path) -> Cube:
    return open_cube(path, axes=row.axes)


def expected(row: Row, stored: np.ndarray) -> np.ndarray:
    """Physical values in float64, written out band by band."""
    values = stored.astype(np.float64)
    for band in range(len(values)):
        values[band] = values[band] * row.scale[band] + row.offset[band]
    if "nodata" in row.says:
        values[stored == MARKER] = np.nan
    return values


def with_hole(row: Row, seed: int = 0) -> np.ndarray:
    stored = stored_numbers(seed)
    if "nodata" in row.says:
        stored[2, 1, 3] = stored[0, 0, 0] = MARKER
    return stored


def test_every_reader_has_a_row():
    own = {name for name, reader in list_readers().items() if reader.read.__module__.startswith("hypersharp.")}
    assert own == set(ROWS), "a reader needs one row in tests/io/table.py, and a row its reader"


@pytest.mark.parametrize("row", EVERY)
def test_only_its_own_sniff_accepts_it(row, tmp_path):
    path = row.write(tmp_path, stored_numbers())
    assert [name for name, reader in list_readers().items() if reader.sniff(path)] == [row.reader]


@pytest.mark.parametrize("row", EVERY)
def test_sniff_never_raises(row, tmp_path):
    sniff = list_readers()[row.reader].sniff
    ours = row.write(tmp_path, stored_numbers())
    junk = np.random.default_rng(3).bytes(999)
    shapes = [b"", b"E", b"ENVI", b"II*", b"\x89HDF", b"PK\x03\x04" + b"\xff" * 26, b"MATLAB 5.0", b"\x93NUMPY", junk]
    for at, content in enumerate(shapes):
        path = tmp_path / f"other{at}{ours.suffix}"
        path.write_bytes(content)
        assert isinstance(sniff(path), bool)
    assert sniff(tmp_path) is False
    assert sniff(tmp_path / "missing") is False
    loop = tmp_path / f"loop{ours.suffix}"
    loop.symlink_to(loop)
    assert sniff(loop) is False


@pytest.mark.parametrize("row", EVERY)
def test_values_of_every_band_and_corner(row, tmp_path):
    stored = with_hole(row)
    cube = opened(row, row.write(tmp_path, stored))
    values, valid = cube.read()
    assert cube.shape == stored.shape == values.shape
    np.testing.assert_allclose(values, expected(row, stored), rtol=1e-6, equal_nan=True)
    assert (valid == ~np.isnan(expected(row, stored))).all()
    assert values.dtype == np.float32  # holds every 16-bit integer


@pytest.mark.parametrize("row", EVERY)
def test_what_the_file_says_of_its_bands(row, tmp_path):
    bands = opened(row, row.write(tmp_path, stored_numbers())).bands
    for fact, found, wanted in (
        ("wavelength", bands.wavelength_nm, WAVELENGTHS),
        ("fwhm", bands.fwhm_nm, FWHM),
    ):
        if fact in row.says:
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
        else:
            assert found is None
    assert tuple(bands.good) == (GOOD if "good" in row.says else (True,) * 4)
    assert bands.name == (NAMES if "name" in row.says else None)


@pytest.mark.parametrize("row", EVERY)
def test_what_the_file_says_of_its_numbers(row, tmp_path):
    cube = opened(row, row.write(tmp_path, stored_numbers()))
    assert cube.storage.dtype == np.int16
    np.testing.assert_array_equal(np.broadcast_to(cube.storage.scale, 4), row.scale)
    np.testing.assert_array_equal(np.broadcast_to(cube.storage.offset, 4), row.offset)
    assert cube.storage.nodata == (MARKER if "nodata" in row.says else None)
    assert (cube.quantity, cube.units) == (row.quantity, row.units)


@pytest.mark.parametrize("row", EVERY)
def test_where_the_file_says_it_lies(row, tmp_path):
    grid = opened(row, row.write(tmp_path, stored_numbers())).grid
    if "grid" not in row.says:
        assert grid is None
        return
    assert grid is not None
    assert grid.affine == AFFINE
    assert same_crs(grid.crs, to_wkt2(EPSG))


@pytest.mark.parametrize("row", EVERY)
def test_a_window_is_the_slice(row, tmp_path):
    cube = opened(row, row.write(tmp_path, with_hole(row)))
    values, valid = cube.read()
    for bands in (slice(None), slice(1, 3), [3, 0, 0, 2], [1], slice(3, None)):
        for rows, cols in (
            (slice(None), slice(None)),
            (slice(1, 2), slice(4, 5)),
            (slice(0, 3), slice(2, 4)),
            (slice(2, 3), slice(0, 5)),
            (slice(0, 99), slice(3, 99)),
        ):
            part, mask = cube.read(bands, rows, cols)
            np.testing.assert_array_equal(part, values[bands][:, rows, cols])
            np.testing.assert_array_equal(mask, valid[bands][:, rows, cols])
            part[...] = 0  # what was given belongs to the caller
    np.testing.assert_array_equal(cube.read()[0], values)


@pytest.mark.parametrize("row", EVERY)
def test_threads_read_what_one_reads(row, tmp_path):
    cube = opened(row, row.write(tmp_path, with_hole(row)))
    whole = cube.read()[0]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: cube.read([n % 4], slice(n % 3, n % 3 + 1)), range(48)))
    for n, (values, _) in enumerate(found):
        np.testing.assert_array_equal(values, whole[[n % 4], n % 3 : n % 3 + 1])


@pytest.mark.parametrize("row", EVERY)
def test_opening_reads_no_pixels(row, tmp_path):
    """Opening takes little memory; what is read afterwards is what the file holds by then."""
    big = stored_numbers(1, (4, 512, 512), np.int16)
    path = row.write(tmp_path, big)
    tracemalloc.start()
    try:
        cube = opened(row, path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < big.nbytes // 4
    other = stored_numbers(2, (4, 512, 512), np.int16)
    row.write(tmp_path, other)
    np.testing.assert_allclose(
        cube.read(rows=slice(100, 102))[0], expected(row, other)[:, 100:102], rtol=1e-6, equal_nan=True
    )


@pytest.mark.parametrize("row", EVERY)
def test_no_handle_stays_open(row, tmp_path):
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("no /proc here: open files cannot be listed")
    cube = opened(row, row.write(tmp_path, stored_numbers()))
    cube.read()
    targets = [os.readlink(folder / name) for name in os.listdir(folder) if (folder / name).is_symlink()]
    assert not [target for target in targets if str(tmp_path) in target]


@pytest.mark.parametrize("row", EVERY)
def test_the_file_and_its_folder_stay_as_they_were(row, tmp_path):
    path = row.write(tmp_path, with_hole(row))
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()}
    opened(row, path).read()
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("row", EVERY)
@pytest.mark.parametrize("left", [0.0, 0.02, 0.3, 0.9, -1], ids=["empty", "2 %", "30 %", "90 %", "less a byte"])
def test_a_truncated_file_gives_our_error(row, left, tmp_path):
    path = row.write(tmp_path, stored_numbers(0, (4, 30, 50)))
    content = path.read_bytes()
    path.write_bytes(content[: -1 if left < 0 else int(left * len(content))])
    with pytest.raises(FileFormatError) as caught:
        opened(row, path).read()
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("row", EVERY)
def test_a_file_cut_after_opening_gives_our_error(row, tmp_path):
    path = row.write(tmp_path, stored_numbers(0, (4, 30, 50)))
    cube = opened(row, path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 3)
    with pytest.raises(FileFormatError):
        cube.read()
    path.unlink()
    with pytest.raises(FileFormatError):
        cube.read()


@pytest.mark.parametrize("row", EVERY)
def test_a_damaged_file_gives_values_or_our_error(row, tmp_path):
    """Flipped bytes at random places, headers included: nothing else may come out, and no huge allocation."""
    path = row.write(tmp_path, stored_numbers())
    files = [p for p in tmp_path.iterdir() if p.is_file()]
    contents = {p: p.read_bytes() for p in files}
    rng = np.random.default_rng(11)
    refused = 0
    for _ in range(50):
        victim = files[rng.integers(len(files))]
        damaged = bytearray(contents[victim])
        near = min(len(damaged), 3000)
        for at in rng.integers(near, size=rng.integers(1, 4)):
            damaged[at] = rng.integers(256)
        victim.write_bytes(damaged)
        try:
            cube = opened(row, path)
            if np.prod(cube.shape, dtype=float) < 1e6:
                cube.read()
        except HypersharpError as error:
            refused += 1 if "\n" not in str(error) else -1000
        finally:
            victim.write_bytes(contents[victim])
    opened(row, path).read()
    assert refused > 0
