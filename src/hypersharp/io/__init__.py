"""Files in, files out: the only room with rasterio and h5py."""

from hypersharp.io.contract import Reader, ReadOptions, WriteOptions, Writer
from hypersharp.io.reading import list_readers, open_cube
from hypersharp.io.writing import MetadataLossWarning, list_writers, write_cube

__all__ = [
    "MetadataLossWarning",
    "ReadOptions",
    "Reader",
    "WriteOptions",
    "Writer",
    "list_readers",
    "list_writers",
    "open_cube",
    "write_cube",
]
