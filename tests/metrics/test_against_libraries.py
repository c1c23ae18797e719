"""Our numbers against scikit-image, torchmetrics, sewar and scipy; where theirs mean something else, that is shown."""

import math
import warnings

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from hypersharp import metrics

RNG = np.random.default_rng(11)
SMOOTH = ndimage.gaussian_filter(RNG.random((6, 47, 53)), (0, 2, 2))
REFERENCE = (SMOOTH - SMOOTH.min()) / (SMOOTH.max() - SMOOTH.min()) + 0.05
ESTIMATE = np.clip(0.97 * REFERENCE + 0.04 * RNG.normal(size=REFERENCE.shape), 0.01, None)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def torchmetrics():
    with warnings.catch_warnings():  # what it deprecates at import is no business of ours
        warnings.simplefilter("ignore")
        pytest.importorskip("torchmetrics")
        import torchmetrics.functional as functional
        import torchmetrics.functional.image  # noqa: F401
    return functional


@pytest.fixture(scope="module")
def sewar():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("sewar")
        import sewar.full_ref as full_ref
    return full_ref


@pytest.fixture(scope="module")
def tensors(torch):
    """Estimate and reference as torchmetrics takes them: `(1, C, H, W)`, estimate first."""
    return torch.from_numpy(ESTIMATE)[None], torch.from_numpy(REFERENCE)[None]


def channels_last(cube):
    return np.ascontiguousarray(np.moveaxis(cube, 0, -1))


# ---------------------------------------------------------------------------------------------- scikit-image


def test_ssim_uniform_7_is_scikit_image_default():
    theirs = np.mean([structural_similarity(r, e, data_range=1.3) for r, e in zip(REFERENCE, ESTIMATE, strict=True)])
    assert metrics.mssim(REFERENCE, ESTIMATE, data_range=1.3, window="uniform_7") == pytest.approx(theirs, rel=1e-12)


def test_ssim_gaussian_11_is_scikit_image_with_gaussian_weights():
    theirs = np.mean(
        [
            structural_similarity(r, e, data_range=1.3, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
            for r, e in zip(REFERENCE, ESTIMATE, strict=True)
        ]
    )
    assert metrics.mssim(REFERENCE, ESTIMATE, data_range=1.3, window="gaussian_11") == pytest.approx(theirs, rel=1e-12)


def test_ssim_map_is_scikit_image_map_inside():
    full = [structural_similarity(r, e, data_range=1.3, full=True)[1] for r, e in zip(REFERENCE, ESTIMATE, strict=True)]
    record = metrics.Record("mssim", "given", 1.3, window="uniform_7")
    ours = metrics.pixel_map("mssim", metrics.Tile.whole(REFERENCE, ESTIMATE), record)
    assert np.isnan(ours[:3]).all()
    assert np.isnan(ours[:, -3:]).all()
    np.testing.assert_allclose(ours[3:-3, 3:-3], np.mean(full, axis=0)[3:-3, 3:-3], rtol=1e-10)


def test_psnr_and_mse():
    assert metrics.psnr(REFERENCE, ESTIMATE, data_range=1.3) == pytest.approx(
        peak_signal_noise_ratio(REFERENCE, ESTIMATE, data_range=1.3), rel=1e-12
    )
    per_band = [peak_signal_noise_ratio(r, e, data_range=1.3) for r, e in zip(REFERENCE, ESTIMATE, strict=True)]
    assert metrics.mpsnr(REFERENCE, ESTIMATE, data_range=1.3) == pytest.approx(np.mean(per_band), rel=1e-12)
    assert metrics.rmse(REFERENCE, ESTIMATE) == pytest.approx(math.sqrt(mean_squared_error(REFERENCE, ESTIMATE)))


def test_scikit_image_works_in_float32_where_we_do_not():
    """A scene in kelvin: 300 ± 3. In float32, x² - mean² has lost the variance; theirs moves, ours does not."""
    kelvin, sharpened = (300.0 + 3.0 * cube for cube in (REFERENCE, ESTIMATE))
    single = [cube.astype(np.float32) for cube in (kelvin, sharpened)]
    exact = metrics.mssim(kelvin, sharpened, data_range=3.9, window="uniform_7")
    ours = metrics.mssim(*single, data_range=3.9, window="uniform_7")
    theirs = np.mean([structural_similarity(r, e, data_range=3.9) for r, e in zip(*single, strict=True)])
    assert abs(ours - exact) < 1e-4
    assert abs(theirs - exact) > 5 * abs(ours - exact)


# ---------------------------------------------------------------------------------------------- torchmetrics


def test_torchmetrics_agrees(torchmetrics, torch, tensors):
    image = torchmetrics.image
    flat = [cube[0].reshape(6, -1).T for cube in tensors]
    pairs = {
        "psnr": (
            metrics.psnr(REFERENCE, ESTIMATE, data_range=1.3),
            image.peak_signal_noise_ratio(*tensors, data_range=1.3),
        ),
        "ssim": (
            metrics.mssim(REFERENCE, ESTIMATE, data_range=1.3, window="gaussian_11_mirrored"),
            image.structural_similarity_index_measure(*tensors, data_range=1.3),
        ),
        "sam": (math.radians(metrics.sam(REFERENCE, ESTIMATE)), image.spectral_angle_mapper(*tensors)),
        "ergas": (
            metrics.ergas(REFERENCE, ESTIMATE, scale=4),
            image.error_relative_global_dimensionless_synthesis(*tensors, ratio=4),
        ),
        "uiqi": (
            metrics.uiqi(REFERENCE, ESTIMATE, window="gaussian_11"),
            image.universal_image_quality_index(*tensors),
        ),
        "cc": (metrics.cc(REFERENCE, ESTIMATE), torchmetrics.pearson_corrcoef(*flat).mean()),
        "rmse": (metrics.rmse(REFERENCE, ESTIMATE), torchmetrics.mean_squared_error(*tensors, squared=False)),
        "mae": (metrics.mae(REFERENCE, ESTIMATE), torchmetrics.mean_absolute_error(*tensors)),
    }
    for name, (ours, theirs) in pairs.items():
        # torchmetrics keeps its sum of pixels in float32 for cc, so not every one reaches 1e-9
        assert ours == pytest.approx(float(theirs), rel=1e-6), name


def test_torchmetrics_ssim_counts_mirrored_borders(torchmetrics, tensors):
    """Wang's code and scikit-image keep to windows inside the scene: on a test image of 47×53 a difference of 0.002."""
    theirs = float(torchmetrics.image.structural_similarity_index_measure(*tensors, data_range=1.3))
    assert abs(metrics.mssim(REFERENCE, ESTIMATE, data_range=1.3, window="gaussian_11") - theirs) > 1e-3


def test_the_torchmetrics_preset_is_torchmetrics(torchmetrics, tensors):
    (found,) = metrics.evaluate_arrays(REFERENCE, ESTIMATE, [metrics.get_protocol("torchmetrics")], scale=2)
    image, peak = torchmetrics.image, float(REFERENCE.max() - REFERENCE.min())
    value = {name: score.value for name, score in found.scores.items()}
    assert value["psnr_db"] == pytest.approx(float(image.peak_signal_noise_ratio(*tensors, data_range=peak)))
    assert value["mssim"] == pytest.approx(float(image.structural_similarity_index_measure(*tensors, data_range=peak)))
    assert value["ergas"] == pytest.approx(
        float(image.error_relative_global_dimensionless_synthesis(*tensors, ratio=2))
    )


def test_torchmetrics_is_nan_where_a_spectrum_is_zero(torchmetrics, torch):
    reference, estimate = REFERENCE.copy(), ESTIMATE.copy()
    reference[:, 0, 0] = 0.0
    theirs = torchmetrics.image.spectral_angle_mapper(
        torch.from_numpy(estimate)[None], torch.from_numpy(reference)[None]
    )
    assert math.isnan(float(theirs))
    others = np.ones(reference.shape[1:], dtype=bool)
    others[0, 0] = False
    assert metrics.sam(reference, estimate) == metrics.sam(reference, estimate, valid=others)


def test_torchmetrics_uiqi_sinks_on_small_numbers(torchmetrics, torch):
    """It adds the float32 epsilon, 1.2e-7, to the denominator: reflectance in other units changes its index."""
    small = [1e-3 * cube.astype(np.float32) for cube in (ESTIMATE, REFERENCE)]
    theirs = float(torchmetrics.image.universal_image_quality_index(*(torch.from_numpy(cube)[None] for cube in small)))
    ours = metrics.uiqi(REFERENCE, ESTIMATE, window="gaussian_11")
    assert metrics.uiqi(small[1], small[0], window="gaussian_11") == pytest.approx(ours, rel=1e-3)
    assert theirs < 0.5 * ours


# ---------------------------------------------------------------------------------------------- sewar


def test_sewar_agrees_on_sam_and_gaussian_ssim(sewar):
    reference, estimate = channels_last(REFERENCE), channels_last(ESTIMATE)
    assert math.radians(metrics.sam(REFERENCE, ESTIMATE)) == pytest.approx(sewar.sam(reference, estimate))
    specs = {"fltr": sewar.Filter.GAUSSIAN, "sigma": 1.5, "ws": 11}
    theirs, _ = sewar.ssim(reference, estimate, MAX=1.3, fltr_specs=specs)
    assert metrics.mssim(REFERENCE, ESTIMATE, data_range=1.3, window="gaussian_11") == pytest.approx(theirs)


def test_sewar_ssim_default_is_a_third_definition(sewar):
    """Uniform 11×11 with population covariances: neither scikit-image's default nor Wang's."""
    theirs, _ = sewar.ssim(channels_last(REFERENCE), channels_last(ESTIMATE), MAX=1.3)
    for window in ("uniform_7", "gaussian_11"):
        assert abs(metrics.mssim(REFERENCE, ESTIMATE, data_range=1.3, window=window) - theirs) > 1e-3


def test_sewar_ergas_takes_the_inverse_of_our_scale(sewar):
    reference, estimate = channels_last(REFERENCE), channels_last(ESTIMATE)
    ours = metrics.ergas(REFERENCE, ESTIMATE, scale=4)
    assert sewar.ergas(reference, estimate, r=1 / 4) == pytest.approx(ours)
    assert sewar.ergas(reference, estimate, r=4) == pytest.approx(16 * ours)


def test_sewar_uqi_takes_means_for_sums(sewar):
    """Its window "sums" are means, so its variances are 64 E[x²] - E[x]²: it hardly sees structure at all."""
    reference, estimate = channels_last(REFERENCE), channels_last(ESTIMATE)
    shuffled = channels_last(RNG.permuted(ESTIMATE.reshape(6, -1), axis=1).reshape(ESTIMATE.shape))
    ours = metrics.uiqi(REFERENCE, ESTIMATE, window="uniform_8")
    assert sewar.uqi(reference, estimate) > ours + 0.1
    assert sewar.uqi(reference, shuffled) > 0.5
    assert abs(metrics.uiqi(REFERENCE, np.moveaxis(shuffled, -1, 0), window="uniform_8")) < 0.1


def test_scc_is_scipy_and_numpy_on_the_scene_and_not_the_windowed_one(sewar, torchmetrics, torch, tensors):
    kernel = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]])
    detail = [[ndimage.convolve(band, kernel)[1:-1, 1:-1].ravel() for band in cube] for cube in (REFERENCE, ESTIMATE)]
    expected = np.mean([np.corrcoef(r, e)[0, 1] for r, e in zip(*detail, strict=True)])
    ours = metrics.scc(REFERENCE, ESTIMATE)
    assert ours == pytest.approx(expected, rel=1e-9)
    windowed = float(torchmetrics.image.spatial_correlation_coefficient(*tensors))
    assert windowed == pytest.approx(sewar.scc(channels_last(REFERENCE), channels_last(ESTIMATE)), abs=0.02)
    assert abs(windowed - ours) > 1e-3


# ---------------------------------------------------------------------------------------------- scipy


def test_sid_is_the_symmetric_entropy_of_scipy():
    from scipy.stats import entropy

    expected = np.mean(entropy(REFERENCE, ESTIMATE, axis=0) + entropy(ESTIMATE, REFERENCE, axis=0))
    assert metrics.sid(REFERENCE, ESTIMATE) == pytest.approx(expected)


def test_edge_psnr_weights_are_scipy_sobel():
    edges = np.stack([np.hypot(ndimage.sobel(band, 0), ndimage.sobel(band, 1)) for band in REFERENCE])[:, 1:-1, 1:-1]
    squared = ((REFERENCE - ESTIMATE) ** 2)[:, 1:-1, 1:-1]
    mse = (edges * squared).sum(axis=(1, 2)) / edges.sum(axis=(1, 2))
    expected = np.mean(10 * np.log10(1.3**2 / mse))
    assert metrics.edge_psnr(REFERENCE, ESTIMATE, data_range=1.3) == pytest.approx(expected)
