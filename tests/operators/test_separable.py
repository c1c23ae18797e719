"""The operator: laws (adjoint, windows, constants), other libraries (torch, FFT), and array types."""

from __future__ import annotations

import numpy as np
import pytest

from hypersharp.errors import UsageError
from hypersharp.operators import (
    Separable,
    bicubic_enlarge,
    bicubic_shrink,
    block_support,
    gaussian_kernel,
    gaussian_shrink,
    kernel_shrink,
    product,
    sigma_from_fwhm,
    sigma_from_mtf,
)
from hypersharp.operators.axis import shrink_kernel


def _operators(h: int, w: int, scale: int) -> dict[str, Separable]:
    shape = (h * scale, w * scale)
    lopsided = np.random.default_rng(9).random((5, 2))
    turned = gaussian_kernel(0.4 * scale, 0.7 * scale, 30, scale=scale)
    return {
        "enlarge": bicubic_enlarge((h, w), scale),
        "shrink": bicubic_shrink(shape, scale),
        "block": gaussian_shrink(shape, scale, sigma=sigma_from_fwhm(scale), support=block_support(scale)),
        "mtf": gaussian_shrink(shape, scale, sigma=(sigma_from_mtf(0.3, scale), sigma_from_mtf(0.2, scale))),
        "turned": kernel_shrink(shape, scale, turned),
        "lopsided": kernel_shrink(shape, scale, lopsided),
    }


NAMES = tuple(_operators(1, 1, 2))
SHAPES = [
    (1, 1, 2),
    (1, 9, 3),
    (5, 7, 2),
    (4, 3, 5),
    (3, 4, 8),
    (37, 20, 2),
    (11, 13, 4),
    (6, 5, 6),
    (5, 4, 7),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SHAPES, ids=str)
class TestLaws:
    def test_the_adjoint_is_the_transpose(self, name: str, size: tuple[int, int, int]) -> None:
        op, rng = _operators(*size)[name], np.random.default_rng(1)
        x, y = rng.standard_normal((3, *op.shape_in)), rng.standard_normal((3, *op.shape_out))
        left, right = np.vdot(op.apply(x), y), np.vdot(x, op.adjoint(y))
        assert left == pytest.approx(right, rel=1e-12, abs=1e-11)

    def test_apply_is_the_dense_sum_of_pairs(self, name: str, size: tuple[int, int, int]) -> None:
        op, x = _operators(*size)[name], None
        x = np.random.default_rng(2).standard_normal((2, *op.shape_in))
        expected = sum(rows.matrix() @ x @ cols.matrix().T for rows, cols in op.terms)
        np.testing.assert_allclose(op.apply(x), expected, rtol=0, atol=1e-13)

    def test_a_constant_stays(self, name: str, size: tuple[int, int, int]) -> None:
        op = _operators(*size)[name]
        np.testing.assert_allclose(op.apply(np.full(op.shape_in, 3.0)), 3.0, rtol=0, atol=3e-12)

    def test_a_window_is_the_slice_of_the_whole(self, name: str, size: tuple[int, int, int]) -> None:
        op, rng = _operators(*size)[name], np.random.default_rng(3)
        x, y = rng.standard_normal((2, *op.shape_in)), rng.standard_normal((2, *op.shape_out))
        small, large = op.apply(x), op.adjoint(y)
        for _ in range(6):
            rows, cols = (_window(n, rng) for n in op.shape_out)
            (r0, r1), (c0, c1) = _wider(op.support(rows, cols), op.shape_in, rng)
            part = op.apply_window(x[:, r0:r1, c0:c1], rows, cols, origin=(r0, c0))
            np.testing.assert_allclose(part, small[:, slice(*rows), slice(*cols)], rtol=0, atol=1e-13)
            rows, cols = (_window(n, rng) for n in op.shape_in)
            (r0, r1), (c0, c1) = _wider(op.adjoint_support(rows, cols), op.shape_out, rng)
            part = op.adjoint_window(y[:, r0:r1, c0:c1], rows, cols, origin=(r0, c0))
            np.testing.assert_allclose(part, large[:, slice(*rows), slice(*cols)], rtol=0, atol=1e-13)

    def test_the_support_is_needed(self, name: str, size: tuple[int, int, int]) -> None:
        op = _operators(*size)[name]
        (r0, r1), (c0, c1) = op.support((0, 1), (0, 1))
        if r1 - r0 > 1:
            with pytest.raises(UsageError, match=f"reads inputs {r0}"):
                op.apply_window(np.ones((r1 - r0 - 1, c1 - c0)), (0, 1), (0, 1), origin=(r0, c0))


def _window(n: int, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(0, n))
    return start, int(rng.integers(start + 1, n + 1))


def _wider(
    needed: tuple[tuple[int, int], tuple[int, int]], shape: tuple[int, int], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """What is needed and up to two pixels more."""
    more = rng.integers(0, 3, (2, 2))
    return [(max(0, lo - int(a)), min(n, hi + int(b))) for (lo, hi), n, (a, b) in zip(needed, shape, more, strict=True)]


def test_outputs_that_are_not_at_hand_count_as_zero_in_the_adjoint() -> None:
    op = bicubic_shrink((40, 40), 4)
    y = np.random.default_rng(0).standard_normal((10, 10))
    masked = np.zeros_like(y)
    masked[3:6, 4:9] = y[3:6, 4:9]
    part = op.adjoint_window(y[3:6, 4:9], (0, 40), (0, 40), origin=(3, 4))
    np.testing.assert_allclose(part, op.adjoint(masked), rtol=0, atol=1e-14)
    assert np.abs(part - op.adjoint(y)).max() > 0.1
    assert not op.adjoint_window(y[:1, :1], (36, 40), (36, 40)).any()


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_halo_is_true_and_tight(scale: int) -> None:
    enlarge, shrink = bicubic_enlarge((20, 20), scale), bicubic_shrink((20 * scale, 20 * scale), scale)
    assert enlarge.halo == shrink.halo == 2  # Keys' cubic reaches two LR pixels
    assert enlarge.support((8 * scale, 12 * scale), (0, scale)) == ((6, 14), (0, 3))
    (top, bottom), _ = shrink.support((8, 12), (0, 1))
    assert 6 * scale <= top < 7 * scale
    assert 13 * scale < bottom <= 14 * scale
    taps = np.ones(scale + 2)  # one HR pixel beyond the block
    assert kernel_shrink((40 * scale, 40 * scale), scale, np.outer(taps, taps)).halo == 1
    assert kernel_shrink((40, 40), 2, np.ones((2, 2))).halo == 0
    assert shrink_kernel(40, 2, taps=np.ones(3), offset=0).halo == 1  # one beyond, on one side only
    assert shrink_kernel(40, 2, taps=np.ones(3), offset=-1).halo == 1


@pytest.mark.parametrize("scale", [2, 3, 4, 5, 8])
class TestTorchIsASecondOpinion:
    """With antialias it uses a = -0.5 as well; its border differs, so scenes are mirrored by hand first."""

    def test_shrinking(self, scale: int) -> None:
        x = np.random.default_rng(0).random((2, 12 * scale, 9 * scale))
        ours = bicubic_shrink(x.shape[1:], scale).apply(x)
        np.testing.assert_allclose(ours[:, 2:-2, 2:-2], _torch_resize(x, 1 / scale)[:, 2:-2, 2:-2], rtol=0, atol=1e-6)
        pad = 2 * scale
        wide = np.pad(x, ((0, 0), (pad, pad), (pad, pad)), mode="symmetric")
        np.testing.assert_allclose(ours, _torch_resize(wide, 1 / scale)[:, 2:-2, 2:-2], rtol=0, atol=1e-6)

    def test_enlarging(self, scale: int) -> None:
        x = np.random.default_rng(0).random((2, 12, 9))
        ours, cut = bicubic_enlarge((12, 9), scale).apply(x), slice(2 * scale, -2 * scale)
        np.testing.assert_allclose(ours[:, cut, cut], _torch_resize(x, scale)[:, cut, cut], rtol=0, atol=1e-6)
        wide = np.pad(x, ((0, 0), (2, 2), (2, 2)), mode="symmetric")
        np.testing.assert_allclose(ours, _torch_resize(wide, scale)[:, cut, cut], rtol=0, atol=1e-6)

    def test_its_plain_enlargement_is_another_kernel(self, scale: int) -> None:
        x = np.random.default_rng(0).random((2, 12, 9))
        ours, cut = bicubic_enlarge((12, 9), scale).apply(x), slice(2 * scale, -2 * scale)
        other = _torch_resize(x, scale, antialias=False)
        assert np.sqrt(np.mean((ours - other)[:, cut, cut] ** 2)) > 0.003


def _torch_resize(x: np.ndarray, factor: float, *, antialias: bool = True) -> np.ndarray:
    torch = pytest.importorskip("torch")
    size = [round(n * factor) for n in x.shape[-2:]]
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(x)[None], size=size, mode="bicubic", antialias=antialias, align_corners=False
    )
    return np.asarray(resized[0])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "enlarge"])
@pytest.mark.parametrize("scale", [2, 3, 4, 5])
def test_the_transfer_function_blurs_as_apply_does(name: str, scale: int) -> None:
    op = _operators(20, 24, scale)[name]
    x = np.random.default_rng(0).standard_normal(op.shape_in)
    blurred = np.fft.ifft2(np.fft.fft2(x) * op.otf(op.shape_in))
    inside = (slice(op.halo, -op.halo or None),) * 2
    np.testing.assert_allclose(blurred.imag, 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(blurred.real[::scale, ::scale][inside], op.apply(x)[inside], rtol=0, atol=1e-12)
    assert op.otf((4, 6))[0, 0] == pytest.approx(1, abs=1e-12)


def test_an_enlargement_has_no_transfer_function() -> None:
    with pytest.raises(UsageError, match="ask the shrinking operator"):
        bicubic_enlarge((4, 4), 2).otf((8, 8))


class TestArrays:
    def test_float32_stays_float32(self) -> None:
        for op in _operators(40, 30, 3).values():
            x = np.random.default_rng(0).random((5, *op.shape_in), dtype=np.float32)
            small, back = op.apply(x), op.adjoint(op.apply(x))
            assert small.dtype == back.dtype == np.float32
            assert small.flags.c_contiguous
            np.testing.assert_allclose(small, op.apply(x.astype(np.float64)), rtol=0, atol=1e-5)

    @pytest.mark.parametrize("group", [1, 100_000, 1 << 30])
    def test_groups_of_bands_and_strips_do_not_change_the_values(
        self, group: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(product, "_GROUP_BYTES", group)
        monkeypatch.setattr(product, "_STRIP", 7)
        op = _operators(20, 70, 2)["turned"]
        x = np.random.default_rng(0).standard_normal((2, 3, *op.shape_in))
        expected = sum(rows.matrix() @ x @ cols.matrix().T for rows, cols in op.terms)
        np.testing.assert_allclose(op.apply(x), expected, rtol=0, atol=1e-13)

    def test_any_memory_layout_and_any_number_of_bands(self) -> None:
        op = bicubic_enlarge((8, 6), 2)
        x = np.random.default_rng(0).standard_normal((4, 8, 6))
        expected = op.apply(x)
        by_pixel = np.ascontiguousarray(x.transpose(1, 2, 0)).transpose(2, 0, 1)
        flipped = np.ascontiguousarray(x[:, ::-1, ::-1])[:, ::-1, ::-1]
        for other in (by_pixel, np.asfortranarray(x), flipped, x.reshape(2, 2, 8, 6)):
            np.testing.assert_allclose(op.apply(other).reshape(expected.shape), expected, rtol=0, atol=1e-14)
        np.testing.assert_allclose(op.apply(x[0]), expected[0], rtol=0, atol=1e-14)
        assert op.apply(x[:0]).shape == (0, 16, 12)
        same = np.broadcast_to(x[0, 0], (8, 6))
        np.testing.assert_allclose(op.apply(same), op.apply(same.copy()), rtol=0, atol=1e-14)

    @pytest.mark.parametrize("dtype", ["int16", "float16", ">f4", "complex64"])
    def test_other_dtypes_are_refused(self, dtype: str) -> None:
        with pytest.raises(UsageError, match="expected float32 or float64"):
            bicubic_enlarge((4, 4), 2).apply(
                np.ones((4, 4), np.dtype(dtype).newbyteorder(dtype[0]) if dtype[0] == ">" else dtype)
            )

    def test_wrong_shapes_are_refused_with_both_sides(self) -> None:
        op = bicubic_shrink((8, 6), 2)
        with pytest.raises(UsageError, match=r"\(\.\.\., 8, 6\), got shape \(6, 8\)"):
            op.apply(np.ones((6, 8)))
        with pytest.raises(UsageError, match=r"\(\.\.\., 4, 3\), got shape \(8, 6\)"):
            op.adjoint(np.ones((8, 6)))
        with pytest.raises(UsageError, match="window 0:5 leaves"):
            op.apply_window(np.ones((8, 6)), (0, 5), (0, 3))
        with pytest.raises(UsageError, match="window 1:9 leaves"):
            op.apply_window(np.ones((8, 6)), (0, 4), (0, 3), origin=(1, 0))
        with pytest.raises(UsageError, match="rows, columns"):
            op.apply_window(np.ones(8), (0, 4), (0, 3))


class TestTensors:
    @pytest.mark.parametrize("name", NAMES)
    def test_the_same_values_in_the_same_type(self, name: str) -> None:
        torch = pytest.importorskip("torch")
        op = _operators(9, 150, 2)[name]  # more columns than one dense block
        x = np.random.default_rng(0).random((2, *op.shape_in))
        expected = {"apply": op.apply(x), "adjoint": op.adjoint(op.apply(x))}
        for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 2e-6), (torch.bfloat16, 0.02)):
            small = op.apply(torch.from_numpy(x).to(dtype))
            back = op.adjoint(torch.from_numpy(expected["apply"]).to(dtype))
            assert small.dtype == back.dtype == dtype
            np.testing.assert_allclose(small.double().numpy(), expected["apply"], rtol=tolerance, atol=tolerance)
            np.testing.assert_allclose(back.double().numpy(), expected["adjoint"], rtol=tolerance, atol=tolerance)

    def test_half_precision_is_rounded_once(self) -> None:
        torch = pytest.importorskip("torch")
        x = torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(0)).bfloat16()
        op = bicubic_enlarge((9, 11), 3)
        assert torch.equal(op.apply(x), op.apply(x.float()).bfloat16())

    @pytest.mark.parametrize("name", NAMES)
    def test_the_gradient_is_the_adjoint(self, name: str) -> None:
        torch = pytest.importorskip("torch")
        op = _operators(3, 140, 2)[name]
        rng = np.random.default_rng(0)
        x = torch.from_numpy(rng.random((2, 3, *op.shape_in))).requires_grad_()
        y = rng.standard_normal((2, 3, *op.shape_out))
        (op.apply(x) * torch.from_numpy(y)).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), op.adjoint(y), rtol=0, atol=1e-12)

    def test_a_window(self) -> None:
        torch = pytest.importorskip("torch")
        op = bicubic_enlarge((9, 11), 3)
        x = torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        part = op.apply_window(x[:, 2:, 1:], (12, 20), (9, 24), origin=(2, 1))
        np.testing.assert_allclose(part.numpy(), op.apply(x)[:, 12:20, 9:24].numpy(), rtol=0, atol=1e-14)

    def test_whole_numbers_are_refused(self) -> None:
        torch = pytest.importorskip("torch")
        with pytest.raises(UsageError, match="expected a floating tensor"):
            bicubic_enlarge((4, 4), 2).apply(torch.ones(4, 4, dtype=torch.int32))


@pytest.mark.parametrize("scale", [2, 3])
def test_two_maps_in_one_are_the_two_one_after_the_other(scale):
    inner, outer = bicubic_enlarge((9, 7), scale), gaussian_shrink((9 * scale, 7 * scale), scale, sigma=0.9)
    x = np.random.default_rng(0).normal(size=(2, 9, 7))
    both = outer.after(inner)
    assert np.allclose(both.apply(x), outer.apply(inner.apply(x)), atol=1e-13)
    rows, cols = both.support((2, 4), (5, 7))
    part = both.apply_window(x[:, slice(*rows), slice(*cols)], (2, 4), (5, 7), (rows[0], cols[0]))
    assert np.allclose(part, both.apply(x)[:, 2:4, 5:7], atol=1e-13)
