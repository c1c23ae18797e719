"""`hypersharp convert IN OUT`."""

from __future__ import annotations

import json

from hypersharp.cli import _options as options

NAME = "convert"


def command(
    source: options.Input,
    output: options.Output,
    window: options.Window = None,
    bands: options.Bands = None,
    nodata: options.Nodata = None,
    dtype: options.Dtype = "same",
    compress: options.Compress = "none",
    interleave: options.Interleave = None,
    cog: options.Cog = False,
    dataset: options.Dataset = None,
    axes: options.Axes = None,
    wavelengths: options.Wavelengths = None,
    quantity: options.Quantity = None,
    memory: options.Memory = "1GiB",
    threads: options.Threads = 0,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Write a cube in another format; stored numbers are copied bit for bit unless a type is named."""
    from hypersharp._version import __version__
    from hypersharp.io import WriteOptions, write_cube

    cube = options.open_part(
        source,
        dataset=dataset,
        axes=axes,
        wavelengths=wavelengths,
        quantity=quantity,
        nodata=nodata,
        window=window,
        bands=bands,
    )
    what = "".join(f"; {name} {text}" for name, text in (("bands", bands), ("window", window)) if text is not None)
    cube = cube.with_history(f"hypersharp {__version__} convert: dtype {dtype}{what}")
    how = WriteOptions(dtype, compress, interleave, cog, dataset or "cube", threads)
    with options.progress_bar("converting", quiet=as_json) as progress:
        write_cube(
            cube,
            output,
            overwrite=overwrite,
            options=how,
            memory_bytes=options.parse_bytes(memory),
            progress=progress,
        )
    if as_json:
        print(json.dumps({"input": source, "output": output, "shape": list(cube.shape)}))
    else:
        print(f"{output}: {cube.shape[0]} bands, {cube.shape[1]} x {cube.shape[2]} pixels")
