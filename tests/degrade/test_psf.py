"""The text of `--degradation`: what it names, that it reads back, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hypersharp.degrade import psf
from hypersharp.degrade.psf import Psf, parse_psf
from hypersharp.errors import FileFormatError, HypersharpError, UsageError
from hypersharp.operators import Separable, bicubic_shrink


def _taps(op: Separable, part: int) -> np.ndarray:
    return op.terms[0][part].weight[0]


def _spread(taps: np.ndarray) -> float:
    d = np.arange(len(taps)) - (len(taps) - 1) / 2
    return float(np.sqrt((taps * d**2).sum()))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("bicubic", "bicubic"),
        (" Gaussian ", "gaussian"),
        ("gaussian:fwhm=2.50", "gaussian:fwhm=2.5"),
        ("gaussian:sigma=1.2", "gaussian:sigma=1.2"),
        ("gaussian: sigma = 1.2 , 0.8", "gaussian:sigma=1.2,0.8"),
        ("gaussian:sigma=1.2,.8,angle=-30", "gaussian:sigma=1.2,0.8,angle=-30"),
        ("gaussian:angle=30,sigma=2,1", "gaussian:sigma=2,1,angle=30"),
        ("gaussian:sigma=3,3", "gaussian:sigma=3"),
        ("gaussian:fwhm=1e-3", "gaussian:fwhm=0.001"),
        ("mtf:.3", "mtf:0.3"),
        ("MTF:0.3,0.25", "mtf:0.3,0.25"),
        (f"mtf:{1 / 3}", f"mtf:{1 / 3}"),
        ("kernel:a:b,c=1.npy", "kernel:a:b,c=1.npy"),
    ],
)
def test_text_reads_back_to_an_equal_psf(text: str, canonical: str) -> None:
    parsed = parse_psf(text)
    assert str(parsed) == canonical
    assert parse_psf(str(parsed)) == parsed


def test_the_default_is_said() -> None:
    assert parse_psf("mtf:0.3") == psf.DEFAULT


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_each_form_names_its_operator(scale: int, tmp_path: Path) -> None:
    shape = (20 * scale, 20 * scale)
    x = np.random.default_rng(0).random(shape)
    bicubic = parse_psf("bicubic").operator(shape, scale)
    np.testing.assert_array_equal(bicubic.apply(x), bicubic_shrink(shape, scale).apply(x))

    block = _taps(parse_psf("gaussian").operator(shape, scale), 0)
    assert len(block) == 2 * scale + scale % 2
    d = np.arange(len(block)) - (len(block) - 1) / 2
    by_hand = np.exp(-4 * np.log(2) * d**2 / scale**2)
    np.testing.assert_allclose(block, by_hand / by_hand.sum(), rtol=1e-12)

    by_fwhm = parse_psf("gaussian:fwhm=3.2").operator(shape, scale)
    assert _spread(_taps(by_fwhm, 0)) == pytest.approx(3.2 / 2.354820045, rel=2e-3)
    by_sigma = parse_psf("gaussian:sigma=2,1").operator(shape, scale)
    assert _spread(_taps(by_sigma, 0)) == pytest.approx(2, rel=2e-3)
    assert _spread(_taps(by_sigma, 1)) == pytest.approx(1, rel=2e-3)

    by_mtf = parse_psf("mtf:0.3,0.2").operator(shape, scale)
    gain = np.abs(by_mtf.otf(shape))
    at_nyquist = 10  # of 20·scale samples: 1 / (2·scale) cycles per pixel
    assert gain[at_nyquist, 0] == pytest.approx(0.3, abs=2e-3)
    assert gain[0, at_nyquist] == pytest.approx(0.2, abs=2e-3)

    kernel = np.arange(1.0, 17).reshape(4, 4) if scale % 2 == 0 else np.arange(1.0, 10).reshape(3, 3)
    np.save(tmp_path / "k.npy", kernel)
    low = parse_psf(f"kernel:{tmp_path / 'k.npy'}").operator(shape, scale).apply(x)
    first = scale + (scale - len(kernel)) // 2
    under = x[first : first + len(kernel), first : first + len(kernel)]
    assert low[1, 1] == pytest.approx((under * kernel).sum() / kernel.sum(), abs=1e-12)


def test_an_angle_turns_the_blur() -> None:
    bright = np.zeros((60, 60))
    bright[30, 30] = 1
    turned = parse_psf("gaussian:sigma=1,4,angle=45").operator((60, 60), 1)
    assert turned.rank > 1
    seen = turned.apply(bright)
    assert seen[25, 35] > 10 * seen[35, 35]  # up and to the right
    # turning by 90 deg swaps the widths
    np.testing.assert_allclose(
        parse_psf("gaussian:sigma=1,4,angle=90").operator((60, 60), 1).apply(bright),
        parse_psf("gaussian:sigma=4,1").operator((60, 60), 1).apply(bright),
        rtol=0,
        atol=1e-4,
    )


def test_sigma_in_hr_pixels() -> None:
    assert parse_psf("mtf:0.3").sigma_yx(4) == pytest.approx((1.9757, 1.9757), abs=1e-3)
    assert parse_psf("gaussian").sigma_yx(4) == pytest.approx((1.699, 1.699), abs=1e-3)
    assert parse_psf("gaussian:fwhm=4").sigma_yx(2) == pytest.approx((1.699, 1.699), abs=1e-3)
    assert parse_psf("gaussian:sigma=1,2").sigma_yx(8) == (1, 2)
    assert parse_psf("bicubic").sigma_yx(4) is None


def test_the_description_says_what_is_done(tmp_path: Path) -> None:
    said = parse_psf("mtf:0.3,0.2").describe(4)
    assert said == ("mtf:0.3,0.2: Gaussian, sigma 1.98 x 2.28 HR pixels, MTF 0.3 x 0.2 at the LR Nyquist frequency")
    assert "turned 30 deg" in parse_psf("gaussian:sigma=1,2,angle=30").describe(2)
    # the box [1/2, 1/2] has the MTF cos(pi f), at f = 1/4
    np.save(tmp_path / "box.npy", np.ones((2, 2)))
    assert f"MTF {np.cos(np.pi / 4):.3g} at" in parse_psf(f"kernel:{tmp_path / 'box.npy'}").describe(2)
    # the truth of the samples, not the wish: two samples cannot hold an MTF of 0.9 at scale 2
    assert "MTF 0.9 " not in parse_psf("mtf:0.9").describe(2)
    np.save(tmp_path / "edge.npy", np.array([[-1.0, 3, 3, -1]] * 4))
    assert "no Gaussian is as wide" in parse_psf(f"kernel:{tmp_path / 'edge.npy'}").describe(2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bicubc", "nearest: bicubic"),
        ("gausian", "nearest: gaussian"),
        ("mft:0.3", "nearest: mtf:0.3"),
        ("kernal:a.npy", "nearest: kernel:FILE.npy"),
        ("fwhm=2", "nearest: gaussian:fwhm=F"),
        ("sigma:2", "nearest: gaussian:sigma=S"),
        ("", "got ''"),
        ("bicubic:2", "got 'bicubic:2'; nearest: bicubic"),
        ("gaussian:", "got 'gaussian:'"),
        ("gaussian:2", "nearest: gaussian:sigma=S"),
        ("gaussian:width=2", "nearest: gaussian:sigma=S"),
        ("gaussian:fwhm=2,sigma=1", "nearest: gaussian:fwhm=F"),
        ("gaussian:sigma=1,sigma=2", "sigma twice"),
        ("gaussian:sigma=1,2,3", "nearest: gaussian:sigma=S"),
        ("gaussian:sigma=1,angle=3,4", "nearest: gaussian:sigma=S"),
        ("gaussian:angle=3", "nearest: gaussian:sigma=S"),
        ("gaussian:sigma=wide", "got 'gaussian:sigma=wide'"),
        ("gaussian:sigma=0", "above 0, got 0"),
        ("gaussian:sigma=-1", "above 0, got -1"),
        ("gaussian:fwhm=nan", "above 0, got nan"),
        ("gaussian:fwhm=inf", "above 0, got inf"),
        ("gaussian:sigma=1,angle=inf", "angle inf"),
        ("mtf", "nearest: mtf:0.3"),
        ("mtf:", "nearest: mtf:0.3"),
        ("mtf:0", "between 0 and 1, got 0"),
        ("mtf:1", "between 0 and 1, got 1"),
        ("mtf:30", "between 0 and 1, got 30"),
        ("mtf:nan", "between 0 and 1, got nan"),
        ("mtf:0.3,0.2,0.1", "nearest: mtf:0.3"),
        ("kernel:", "nearest: kernel:FILE.npy"),
    ],
)
def test_bad_text_is_one_clear_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_psf(text)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message


def test_a_refusal_names_every_form() -> None:
    with pytest.raises(UsageError, match="bicubic") as caught:
        parse_psf("box")
    for form in ("gaussian:fwhm=F", "gaussian:sigma=S", "mtf:0.3", "kernel:FILE.npy"):
        assert form in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Psf("box"),
        lambda: Psf("mtf"),
        lambda: Psf("bicubic", (1.0, 1.0)),
        lambda: Psf("kernel"),
        lambda: Psf("mtf", (0.3, 0.3), path="a.npy"),
        lambda: Psf("mtf", (0.3, 0.3), angle_deg=10),
    ],
)
def test_a_psf_is_checked_at_birth(make: Callable[[], Psf]) -> None:
    with pytest.raises(UsageError, match="expected a PSF"):
        make()


def test_a_bad_kernel_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("not an array")
    np.save(tmp_path / "objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "many.npz", a=np.ones((2, 2)))
    np.save(tmp_path / "line.npy", np.ones(4))
    cases: list[tuple[str, type[HypersharpError], str]] = [
        ("missing.npy", UsageError, "does not exist"),
        ("text.npy", FileFormatError, "unreadable"),
        ("objects.npy", FileFormatError, "unreadable"),
        ("many.npz", FileFormatError, "an archive"),
        ("line.npy", UsageError, "2-D kernel"),
    ]
    for name, error, words in cases:
        with pytest.raises(error, match=words):
            parse_psf(f"kernel:{tmp_path / name}").operator((8, 8), 2)
