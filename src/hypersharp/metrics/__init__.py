"""Full-reference metrics of hyperspectral cubes `(C, H, W)`: one file each, every convention explicit."""

from __future__ import annotations

from hypersharp.metrics._peaks import reference_peaks
from hypersharp.metrics._spec import MetricSpec, Score, Tile
from hypersharp.metrics.cc import cc
from hypersharp.metrics.edge_psnr import edge_psnr
from hypersharp.metrics.ergas import ergas
from hypersharp.metrics.mae import mae
from hypersharp.metrics.mpsnr import mpsnr
from hypersharp.metrics.mssim import mssim
from hypersharp.metrics.protocol import PROTOCOLS, Peaks, Protocol, Record, get_protocol
from hypersharp.metrics.psnr import psnr
from hypersharp.metrics.q2n import q2n
from hypersharp.metrics.rmse import rmse
from hypersharp.metrics.sam import sam
from hypersharp.metrics.scc import scc
from hypersharp.metrics.sid import sid
from hypersharp.metrics.spectral_difference import DifferenceCurve, spectral_difference
from hypersharp.metrics.streaming import (
    Evaluation,
    evaluate_arrays,
    evaluate_tiles,
    halo_of,
    list_metrics,
    pixel_map,
)
from hypersharp.metrics.uiqi import uiqi

__all__ = [
    "PROTOCOLS",
    "DifferenceCurve",
    "Evaluation",
    "MetricSpec",
    "Peaks",
    "Protocol",
    "Record",
    "Score",
    "Tile",
    "cc",
    "edge_psnr",
    "ergas",
    "evaluate_arrays",
    "evaluate_tiles",
    "get_protocol",
    "halo_of",
    "list_metrics",
    "mae",
    "mpsnr",
    "mssim",
    "pixel_map",
    "psnr",
    "q2n",
    "reference_peaks",
    "rmse",
    "sam",
    "scc",
    "sid",
    "spectral_difference",
    "uiqi",
]
