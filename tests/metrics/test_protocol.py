"""Presets: what each paper's line does, that the numbers follow it, and that the record says it."""

import dataclasses
import json
import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from hypersharp import metrics
from hypersharp.errors import UsageError

RNG = np.random.default_rng(19)
REFERENCE = 200.0 + 3000.0 * RNG.random((4, 36, 36)) * np.array([0.2, 0.5, 0.9, 1.0])[:, None, None]
ESTIMATE = REFERENCE + RNG.normal(0, 90, REFERENCE.shape)
ESTIMATE[0, 0, 0] = 9000.0  # clipped by mcnet only


def values(name, *, scale=4, **options):
    (found,) = metrics.evaluate_arrays(REFERENCE, ESTIMATE, [metrics.get_protocol(name)], scale=scale, **options)
    return {metric: score.value for metric, score in found.scores.items()}


def test_the_presets_are_those_of_the_papers():
    assert set(metrics.PROTOCOLS) == {"ours", "lkca", "edlgfs", "mcnet", "csakd", "torchmetrics"}
    for name, protocol in metrics.PROTOCOLS.items():
        assert protocol.name == name
        assert {record.metric for record in protocol.records} <= set(metrics.list_metrics())


def test_ours_has_every_metric_and_its_peak_is_the_quantile():
    found = values("ours")
    assert set(found) == set(metrics.list_metrics())
    peak = np.quantile(REFERENCE, 0.999)
    assert found["mpsnr_db"] == pytest.approx(metrics.mpsnr(REFERENCE, ESTIMATE, data_range=peak), rel=1e-6)
    assert found["mssim"] == pytest.approx(
        metrics.mssim(REFERENCE, ESTIMATE, data_range=peak, window="gaussian_11"), rel=1e-6
    )
    assert found["ergas"] == metrics.ergas(REFERENCE, ESTIMATE, scale=4)
    assert found["rmse"] == metrics.rmse(REFERENCE, ESTIMATE)


def test_lkca_divides_both_by_the_maximum():
    found, top = values("lkca"), REFERENCE.max()
    reference, estimate = REFERENCE / top, ESTIMATE / top
    assert list(found) == ["mpsnr_db", "mssim", "sam_deg", "cc", "rmse", "ergas"]
    band_mse = ((reference - estimate) ** 2).mean(axis=(1, 2))
    assert found["mpsnr_db"] == pytest.approx(np.mean(-10 * np.log10(band_mse)))
    ssim = [structural_similarity(r, e, data_range=1) for r, e in zip(reference, estimate, strict=True)]
    assert found["mssim"] == pytest.approx(np.mean(ssim))
    assert found["rmse"] == pytest.approx(math.sqrt(band_mse.mean()))
    assert found["ergas"] == pytest.approx(25 * math.sqrt(np.mean(band_mse / reference.mean(axis=(1, 2)) ** 2)))
    assert values("lkca", scale=8)["ergas"] == pytest.approx(found["ergas"] / 2)


def test_mcnet_clips_and_takes_one_mse():
    found, top = values("mcnet"), REFERENCE.max()
    reference, estimate = REFERENCE / top, np.clip(ESTIMATE / top, 0, 1)
    assert found["psnr_db"] == pytest.approx(-10 * math.log10(((reference - estimate) ** 2).mean()))
    ssim = [
        structural_similarity(r, e, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        for r, e in zip(reference, estimate, strict=True)
    ]
    assert found["mssim"] == pytest.approx(np.mean(ssim))
    assert found["psnr_db"] > metrics.psnr(REFERENCE, ESTIMATE, data_range=top) + 0.1


def test_csakd_stretches_and_takes_each_bands_maximum():
    found = values("csakd", scale=2)
    low, top = REFERENCE.min(), REFERENCE.max()
    reference, estimate = ((cube - low) / (top - low) for cube in (REFERENCE, ESTIMATE))
    band_mse = ((reference - estimate) ** 2).mean(axis=(1, 2))
    assert found["mpsnr_db"] == pytest.approx(np.mean(10 * np.log10(reference.max(axis=(1, 2)) ** 2 / band_mse)))
    # 100/4 whatever the scale, as written in the code
    assert found["ergas"] == pytest.approx(25 * math.sqrt(np.mean(band_mse / reference.mean(axis=(1, 2)) ** 2)))
    assert found["sam_deg"] == pytest.approx(metrics.sam(reference, estimate))
    assert abs(found["sam_deg"] - metrics.sam(REFERENCE, ESTIMATE)) > 0.05
    assert found["rmse"] == pytest.approx(metrics.rmse(REFERENCE, ESTIMATE))


def test_edlgfs_says_what_it_does_not_say():
    (found,) = metrics.evaluate_arrays(REFERENCE, ESTIMATE, [metrics.get_protocol("edlgfs")], scale=4)
    record = found.to_dict()["protocol"]["records"]["mpsnr_db"]
    assert record["peak"] == "not stated; ours: quantile_99.9"
    assert record["normalise"] == "not stated; ours: none"
    assert record["window"].startswith("not stated; ours")
    assert record["scale"] == 4


def test_the_same_estimate_spreads_over_decibels():
    """Why a number needs its record."""
    found = metrics.evaluate_arrays(REFERENCE, ESTIMATE, list(metrics.PROTOCOLS.values()), scale=4)
    decibels = [
        score.value for one in found for metric, score in one.scores.items() if metric in ("mpsnr_db", "psnr_db")
    ]
    assert max(decibels) - min(decibels) > 3


def test_several_protocols_at_once_are_each_alone():
    together = metrics.evaluate_arrays(REFERENCE, ESTIMATE, list(metrics.PROTOCOLS.values()), scale=4)
    for one in together:
        assert {name: score.value for name, score in one.scores.items()} == values(one.protocol.name)


def test_the_record_is_complete_and_is_json():
    (found,) = metrics.evaluate_arrays(REFERENCE, ESTIMATE, [metrics.get_protocol("lkca")], scale=4, border=3)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert list(plain) == ["protocol", "metrics", "details"]
    assert plain["metrics"] == {name: score.value for name, score in found.scores.items()}
    record = plain["protocol"]["records"]["mssim"]
    assert record["peak_value"] == 1.0
    assert record["divisor"] == REFERENCE.max()
    assert record["window"] == "uniform_7"
    assert record["border"] == 3
    assert record["reduction"] == "mean over bands of the mean over windows"
    assert set(record) >= {"metric", "peak", "reduction", "window", "ratio", "border", "mask", "bands", "clip", "dtype"}
    assert len(plain["details"]["mpsnr_db"]["per_band"]) == 4


def test_what_has_no_value_is_null_in_json_and_infinity_is_text():
    protocol = metrics.get_protocol("ours").only(["mpsnr_db", "q2n"])
    (found,) = metrics.evaluate_arrays(REFERENCE[:, :9], REFERENCE[:, :9], [protocol], scale=4)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["metrics"] == {"mpsnr_db": "inf", "q2n": None}
    assert "no 32×32 block" in plain["details"]["q2n"]["note"]


def test_only_keeps_the_named_metrics():
    protocol = metrics.get_protocol("ours").only(["sam_deg", "mpsnr_db"])
    assert [record.metric for record in protocol.records] == ["mpsnr_db", "sam_deg"]
    assert not protocol.only(["sam_deg"]).needs_peaks
    with pytest.raises(UsageError, match="got 'q2n'"):
        metrics.get_protocol("lkca").only(["q2n"])


def test_records_are_frozen():
    record = metrics.get_protocol("ours").records[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.peak = "one"


def test_a_near_miss_is_named():
    with pytest.raises(UsageError, match="did you mean 'lkca'"):
        metrics.get_protocol("lkka")
    with pytest.raises(UsageError, match="choose one of them"):
        metrics.get_protocol("zzz")


def test_a_missing_scale_is_refused_only_where_it_matters():
    with pytest.raises(UsageError, match="ergas needs the scale"):
        values("ours", scale=None)
    assert set(values("mcnet", scale=None)) == {"psnr_db", "mssim", "sam_deg"}


def test_missing_peaks_are_refused():
    tile = metrics.Tile.whole(REFERENCE, ESTIMATE)
    for name, peaks in (("lkca", None), ("ours", None), ("ours", metrics.Peaks(0.0, 1.0, (1.0,)))):
        with pytest.raises(UsageError, match="reference_peaks"):
            metrics.evaluate_tiles([tile], [metrics.get_protocol(name)], scale=4, peaks=peaks)


def test_a_reference_without_a_range_cannot_be_divided_by_it():
    zero = np.zeros((2, 8, 8))
    for name in ("lkca", "csakd"):
        with pytest.raises(UsageError, match="must be positive; got 0"):
            metrics.evaluate_arrays(zero, zero + 1, [metrics.get_protocol(name)], scale=4)


def test_an_unknown_metric_is_named():
    protocol = metrics.Protocol("mine", "mine", (metrics.Record("vif"),))
    with pytest.raises(UsageError, match="got 'vif'"):
        metrics.evaluate_arrays(REFERENCE, ESTIMATE, [protocol], scale=4)
