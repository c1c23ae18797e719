"""GDAL on a short lead: little memory, no files besides the ones asked for, and its errors as ours.

GDAL keeps blocks in a cache of 5 % of the machine's memory, and writes `.aux.xml` files beside what it touches. Every
use of rasterio's data sets goes through `gdal()`, which bounds the first and forbids the second.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.env import get_gdal_config, set_gdal_config
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError

from hypersharp.errors import FileFormatError

CACHE_BYTES = 32 << 20
"""Block cache of GDAL while we use it. Smaller than the processor's own caches pays; measured best from 8 to 32 MiB."""

GDAL_ERRORS = (RasterioError, CPLE_BaseError, CRSError, OSError, UnicodeError)
"""What rasterio raises for a file that it cannot read or write."""

_lock = threading.Lock()
_users = 0
_cache_before = 0


@contextmanager
def gdal(*, cache_bytes: int = CACHE_BYTES, **options: str) -> Iterator[None]:
    """Use GDAL within bounds: block cache, no listing of folders, and the given configuration options.

    The cache belongs to the process, so the first of several threads sets it and the last one puts it back.
    """
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE", **options):
        _enter(cache_bytes)
        try:
            yield
        finally:
            _leave()


def _enter(cache_bytes: int) -> None:
    global _users, _cache_before
    with _lock:
        if _users == 0:
            _cache_before = get_gdal_config("GDAL_CACHEMAX")
        _users += 1
        set_gdal_config("GDAL_CACHEMAX", min(cache_bytes, _cache_before))


def _leave() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            set_gdal_config("GDAL_CACHEMAX", _cache_before)


def open_quietly(target: str | Path, mode: str = "r", **profile: Any) -> Any:
    """`rasterio.open` of a GeoTIFF, without its warning about files that are not georeferenced."""
    with _lock, warnings.catch_warnings():  # which is not safe among threads, hence the lock
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(target, mode, driver="GTiff", **profile)


@contextmanager
def reading(path: Path, target: str | Path) -> Iterator[Any]:
    """A rasterio data set open for reading.

    Args:
        path: the file, for messages.
        target: what to open: the file, or the name of an image inside it.

    Raises:
        FileFormatError: the file cannot be opened, or cannot be read while it is open.
    """
    with gdal():
        try:
            with open_quietly(target) as dataset:
                yield dataset
        except GDAL_ERRORS as error:
            raise FileFormatError(
                f"{path.name}: expected a whole GeoTIFF, got one that is damaged or cut short ({reason(error)})"
            ) from None


def reason(error: BaseException) -> str:
    """What GDAL said, in one line."""
    text = str(error.__cause__ or error)
    return " ".join(text.split())[:200] or type(error).__name__


def interleave(dataset: Any) -> str:
    """``"pixel"`` or ``"band"``; a single band is always the latter."""
    return dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE", "band").lower() if dataset.count > 1 else "band"
