"""Every refusal: one line, our error, both sides of the disagreement in it."""

import numpy as np
import pytest

from hypersharp import metrics
from hypersharp.errors import HypersharpError, NoDataError, UsageError

RNG = np.random.default_rng(5)
CUBE = RNG.random((3, 40, 40))
OTHER = RNG.random((3, 40, 40))
CALLS = {
    "mpsnr": lambda r, e, valid=None: metrics.mpsnr(r, e, data_range=1.0, valid=valid),
    "psnr": lambda r, e, valid=None: metrics.psnr(r, e, data_range=1.0, valid=valid),
    "mssim": lambda r, e, valid=None: metrics.mssim(r, e, data_range=1.0, window="uniform_7", valid=valid),
    "sam": lambda r, e, valid=None: metrics.sam(r, e, valid=valid),
    "cc": lambda r, e, valid=None: metrics.cc(r, e, valid=valid),
    "rmse": lambda r, e, valid=None: metrics.rmse(r, e, valid=valid),
    "mae": lambda r, e, valid=None: metrics.mae(r, e, valid=valid),
    "ergas": lambda r, e, valid=None: metrics.ergas(r, e, scale=4, valid=valid),
    "uiqi": lambda r, e, valid=None: metrics.uiqi(r, e, window="uniform_8", valid=valid),
    "q2n": lambda r, e, valid=None: metrics.q2n(r, e, window="block_32", valid=valid),
    "scc": lambda r, e, valid=None: metrics.scc(r, e, valid=valid),
    "sid": lambda r, e, valid=None: metrics.sid(r, e, valid=valid),
    "edge_psnr": lambda r, e, valid=None: metrics.edge_psnr(r, e, data_range=1.0, valid=valid),
    "spectral_difference": lambda r, e, valid=None: metrics.spectral_difference(r, e, valid=valid),
}


def spoiled(cube, value):
    cube = cube.copy()
    cube[2, 7, 9] = value
    return cube


CASES = {
    "other columns": (CUBE, OTHER[:, :, :-1], None, UsageError, ["(3, 40, 40)", "(3, 40, 39)"]),
    "other bands": (CUBE[:2], OTHER, None, UsageError, ["(2, 40, 40)", "(3, 40, 40)"]),
    "a single band without its axis": (CUBE[0], OTHER[0], None, UsageError, ["(40, 40)"]),
    "a vector": (CUBE[0, 0], OTHER[0, 0], None, UsageError, ["(40,)"]),
    "empty": (CUBE[:0], OTHER[:0], None, UsageError, ["(0, 40, 40)"]),
    "complex": (CUBE, OTHER * 1j, None, UsageError, ["complex128", "estimate"]),
    "bool": (CUBE > 0.5, OTHER, None, UsageError, ["bool", "reference"]),
    "NaN in the estimate": (CUBE, spoiled(OTHER, np.nan), None, UsageError, ["got 0 NaN", "1 in the estimate"]),
    "infinity in the reference": (spoiled(CUBE, -np.inf), OTHER, None, UsageError, ["got 1 NaN or infinite", "band 2"]),
    "all invalid": (CUBE, OTHER, np.zeros((40, 40), dtype=bool), NoDataError, ["valid pixel", "3 bands of 40×40"]),
    "mask of another shape": (CUBE, OTHER, np.ones((40, 39), dtype=bool), UsageError, ["(40, 40)", "(40, 39)"]),
    "mask of numbers": (CUBE, OTHER, np.ones((40, 40)), UsageError, ["bool", "float64"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", CALLS)
def test_bad_cubes(name, case):
    reference, estimate, valid, error, said = CASES[case]
    with pytest.raises(error) as caught:
        CALLS[name](reference, estimate, valid)
    message = str(caught.value)
    assert isinstance(caught.value, HypersharpError)
    assert "\n" not in message
    for text in said:
        assert text in message


@pytest.mark.parametrize("data_range", [0, -1.0, float("nan"), float("inf"), (1.0, 1.0)])
@pytest.mark.parametrize("metric", [metrics.mpsnr, metrics.psnr, metrics.edge_psnr])
def test_bad_data_range(metric, data_range):
    with pytest.raises(UsageError, match="data_range"):
        metric(CUBE, OTHER, data_range=data_range)


def test_one_peak_where_there_is_one_mse():
    for call in (
        lambda: metrics.psnr(CUBE, OTHER, data_range=(1.0, 1.0, 1.0)),
        lambda: metrics.mssim(CUBE, OTHER, data_range=(1.0, 1.0, 1.0), window="uniform_7"),
    ):
        with pytest.raises(UsageError, match="one data_range"):
            call()


@pytest.mark.parametrize("scale", [0, -4, 0.25])
def test_bad_scale_names_the_trap(scale):
    with pytest.raises(UsageError, match="1/scale"):
        metrics.ergas(CUBE, OTHER, scale=scale)


@pytest.mark.parametrize("window", ["", "none", "uniform", "uniform_1", "gaussian_7", "block_8", "uniform_7_mirrored"])
def test_bad_window_of_ssim(window):
    with pytest.raises(UsageError, match="uniform_N or gaussian_11"):
        metrics.mssim(CUBE, OTHER, data_range=1.0, window=window)


@pytest.mark.parametrize("window", ["none", "block_32", "gaussian_11_mirrored"])
def test_bad_window_of_uiqi(window):
    with pytest.raises(UsageError, match="uniform_N or gaussian_11"):
        metrics.uiqi(CUBE, OTHER, window=window)


def test_bad_window_of_q2n():
    with pytest.raises(UsageError, match="block_N"):
        metrics.q2n(CUBE, OTHER, window="uniform_32")


@pytest.mark.parametrize("function", ["mpsnr", "psnr", "mssim", "ergas", "uiqi", "q2n", "edge_psnr"])
def test_what_could_mislead_has_no_default(function):
    with pytest.raises(TypeError, match="required keyword-only"):
        getattr(metrics, function)(CUBE, OTHER)
