"""The terms: worked out by hand, finite everywhere, and the same in a subspace as on the spectra it stands for."""

from __future__ import annotations

import math

import pytest
import torch

from hypersharp.train import losses
from hypersharp.train.losses import Space, band_energy, cosine, gradient, l1, mse, sam, smooth_l1, sobel, swt, variation


def cube(*values: float) -> torch.Tensor:
    """One pixel with these bands."""
    return torch.tensor(values, dtype=torch.float32)[None, :, None, None]


def test_l1_by_hand():
    assert l1(cube(1, 5), cube(2, 2)).item() == 2.0
    weighted = Space(weight=torch.tensor([[0.5, 1.5]]))
    assert l1(cube(1, 5), cube(2, 2), weighted).item() == pytest.approx((0.5 * 1 + 1.5 * 3) / 2)


def test_mse_by_hand():
    assert mse(cube(1, 5), cube(2, 2)).item() == pytest.approx((1 + 9) / 2)
    weighted = Space(weight=torch.tensor([[0.5, 1.5]]))
    assert mse(cube(1, 5), cube(2, 2), weighted).item() == pytest.approx((0.5 * 1 + 1.5 * 9) / 2)


def test_variation_by_hand():
    """Band 0 rises by 1 down and 2 across; band 1 is 3 above it: 1 + 4 and 9 between the bands, whatever hr is."""
    plane = torch.arange(4.0)[:, None] + 2 * torch.arange(5.0)
    sr = torch.stack([plane, plane + 3])[None]
    assert variation(sr, torch.rand(1, 2, 4, 5)).item() == pytest.approx(1 + 4 + 9)
    space = Space(weight=torch.tensor([[0.5, 1.5]]), gram=torch.eye(3)[None])
    assert variation(sr, sr, space).item() == pytest.approx(1 + 4)


def test_smooth_l1_by_hand():
    """Errors of 0.5 and 3: a half of 0.25, and 3 less a half."""
    assert smooth_l1(cube(1, 5), cube(1.5, 2)).item() == pytest.approx((0.125 + 2.5) / 2)
    weighted = Space(weight=torch.tensor([[0.5, 1.5]]))
    assert smooth_l1(cube(1, 5), cube(1.5, 2), weighted).item() == pytest.approx((0.5 * 0.125 + 1.5 * 2.5) / 2)


def test_band_energy_by_hand():
    """Two pixels: errors 1 and 0 at energy (1 + 9) / 2 in one band, 2 and 2 at energy 0 in the other."""
    hr = torch.tensor([[[[1.0, 3.0]], [[0.0, 0.0]]]])
    sr = hr + torch.tensor([[[[1.0, 0.0]], [[2.0, -2.0]]]])
    one, other = 0.5 * 0.5 / 5.1, 0.5 * 4 / 0.1
    assert band_energy(sr, hr).item() == pytest.approx((one + other) / 2, rel=1e-6)
    assert band_energy(hr, hr).item() == 0.0
    weighted = Space(weight=torch.tensor([[2.0, 0.0]]))
    assert band_energy(sr, hr, weighted).item() == pytest.approx(one, rel=1e-5)


def test_swt_by_hand():
    """An error of 4 in one inner pixel: of each plane's entries, four hold a quarter of it, whatever their signs."""
    hr = torch.rand(1, 1, 5, 6)
    sr = hr.clone()
    sr[0, 0, 2, 3] += 4
    assert swt(sr, hr).item() == pytest.approx(4 * 1 / 30, rel=1e-5)


def test_swt_of_a_level_error_and_of_a_checkerboard():
    hr = torch.zeros(1, 2, 8, 8)
    checked = (-1.0) ** (torch.arange(8)[:, None] + torch.arange(8))
    assert swt(hr + 3, hr).item() == pytest.approx(3 / 4)
    entries = swt(hr + checked, hr).item() * 64 * 4  # of size 1; across a repeated edge the error is level
    assert entries == pytest.approx(49 + 7 + 7 + 1)


def test_swt_counts_each_channel_with_its_weight():
    sr = torch.zeros(1, 2, 4, 4)
    sr[:, 1] = 8
    weighted = Space(weight=torch.tensor([[1.5, 0.5]]))
    assert swt(sr, torch.zeros_like(sr), weighted).item() == pytest.approx(0.5 * 8 / 4 / 2)


@pytest.mark.parametrize(
    ("one", "other", "degrees"), [((1, 0), (0, 3), 90.0), ((1, 1), (2, 0), 45.0), ((1, 0), (-1, 1), 135.0)]
)
def test_sam_by_hand(one, other, degrees):
    assert sam(cube(*one), cube(*other)).item() * 180 == pytest.approx(degrees, rel=1e-5)


def test_sam_is_clamped_where_spectra_agree():
    """arccos(1 − 1e-6) = 0.0014142… rad; without the clamp its slope has no bound."""
    same = cube(1, 2, 3)
    assert sam(same, same).item() == pytest.approx(math.sqrt(2e-6) / math.pi, rel=0.05)


@pytest.mark.parametrize("term", list(losses.TERMS))
@pytest.mark.parametrize("space", [losses.BANDS, Space(torch.ones(2, 3), torch.eye(4).repeat(2, 1, 1))])
@pytest.mark.parametrize("start", ["zeros", "equal", "ordinary"])
def test_gradients_are_finite(term, space, start):
    hr = torch.rand(2, 3, 5, 4)
    sr = {"zeros": torch.zeros_like(hr), "equal": hr.clone(), "ordinary": torch.rand_like(hr)}[start]
    sr.requires_grad_()
    value = losses.TERMS[term](sr, hr, space)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(sr.grad).all()


def test_gradient_term_by_hand():
    """One corner has differences 3 (rows), 4 (columns) and 12 (bands): magnitude 13, against 0."""
    sr = torch.zeros(1, 2, 2, 2)
    sr[0, 1, 1, 1] = 12
    sr[0, 1, 0, 1] = 9
    sr[0, 1, 1, 0] = 8
    flat = torch.zeros_like(sr)
    assert gradient(sr, flat).item() == pytest.approx(13 - 1e-3, rel=1e-5)
    one_band = sr[:, 1:]
    assert gradient(one_band, flat[:, 1:]).item() == pytest.approx(5 - 1e-3, rel=1e-5)


@pytest.mark.parametrize("spectral", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_what_the_gradient_term_gives_back_is_its_derivative(spectral, weighted, monkeypatch):
    """Against differences of the formula as it stands in the text; one sample at a time, and all at once."""
    torch.manual_seed(0)
    sr, hr = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True), torch.rand(2, 3, 4, 5).double()
    weight = torch.rand(2, 3).double() if weighted else None
    space = Space(weight, None if spectral else torch.eye(4).repeat(2, 1, 1))

    def text(sr):
        def slope(cube):
            here = cube[:, 1:] if spectral else cube
            total = (here[..., 1:, 1:] - here[..., :-1, 1:]) ** 2 + (here[..., 1:, 1:] - here[..., 1:, :-1]) ** 2
            if spectral:
                total = total + (cube[:, 1:, 1:, 1:] - cube[:, :-1, 1:, 1:]) ** 2
            return (total + 1e-6).sqrt()

        error = (slope(sr) - slope(hr)).abs()
        return (error if weight is None else error * weight[:, -error.shape[1] :, None, None]).mean()

    (wanted,) = torch.autograd.grad(text(sr), sr)
    for cached in (1, 1 << 21):
        monkeypatch.setattr(losses, "_CACHED", cached)
        assert gradient(sr, hr, space).item() == pytest.approx(text(sr).item(), rel=1e-12)
        (found,) = torch.autograd.grad(3 * gradient(sr, hr, space), sr)
        torch.testing.assert_close(found, 3 * wanted, rtol=1e-9, atol=1e-12)


def test_cosine_by_hand():
    assert cosine(cube(1, 1), cube(1, 0)).item() == pytest.approx(1 - math.sqrt(0.5), rel=1e-5)


def test_the_weights_of_the_papers():
    assert losses.H_LOSS == {"l1": 1.0, "sam": 0.5, "gradient": 0.1}
    assert losses.KD_LOSS == {"cosine": 0.5, "sam": 0.5, "gradient": 0.1}
    terms = {"l1": torch.tensor(2.0), "sam": torch.tensor(4.0)}
    assert losses.weighted(terms, losses.H_LOSS).item() == 4.0


def test_angles_through_the_gram_matrix_are_those_of_the_spectra():
    generator = torch.Generator().manual_seed(0)
    mean, basis = torch.rand(7, generator=generator) + 1, torch.randn(7, 3, generator=generator)
    u, v = (0.3 * torch.randn(2, 3, 4, 5, generator=generator) for _ in range(2))
    both = torch.cat([mean[:, None], basis], 1)
    spectra = [mean[None, :, None, None] + torch.einsum("ck,nkhw->nchw", basis, part) for part in (u, v)]
    through = sam(u, v, Space(torch.ones(2, 3), (both.T @ both).repeat(2, 1, 1)))
    assert through.item() == pytest.approx(sam(*spectra).item(), rel=1e-4)


def test_sobel_by_hand():
    """A step of 4 between columns: kernels over 8 give 4 · 4 / 8 on both sides; nothing where it is flat."""
    step = torch.zeros(1, 1, 5, 6)
    step[..., 3:] = 4
    edges = sobel(step)
    assert edges[0, 0, 2].tolist() == [0, 0, 2, 2, 0, 0]
    assert torch.equal(sobel(step.transpose(2, 3)), edges.transpose(2, 3))


def test_sobel_and_what_it_gives_back_are_those_of_convolutions(monkeypatch):
    torch.manual_seed(0)
    cube = torch.rand(3, 2, 5, 6, dtype=torch.float32, requires_grad=True)
    weight = torch.rand(3, 2, 5, 6)
    smooth, step = torch.tensor([1.0, 2.0, 1.0]) / 4, torch.tensor([-1.0, 0.0, 1.0]) / 2
    planes = torch.nn.functional.pad(cube.flatten(0, 1).unsqueeze(1), (1, 1, 1, 1), mode="replicate")
    kernels = torch.stack([torch.outer(smooth, step), torch.outer(step, smooth)]).unsqueeze(1)
    text = torch.nn.functional.conv2d(planes, kernels).abs().sum(dim=1).reshape(cube.shape)
    (wanted,) = torch.autograd.grad((text * weight).sum(), cube)
    for cached in (1, 1 << 21):
        monkeypatch.setattr(losses, "_CACHED", cached)
        torch.testing.assert_close(sobel(cube), text)
        (found,) = torch.autograd.grad((sobel(cube) * weight).sum(), cube)
        torch.testing.assert_close(found, wanted)


def test_weighted_bands_have_weighted_slopes():
    """The slope along bands has none at the first; each other has its band's weight."""
    torch.manual_seed(0)
    hr = torch.rand(2, 3, 8, 8)
    sr = hr.clone()
    sr[:, 2] += torch.rand(2, 8, 8)
    heavy, light = (losses.Space(torch.tensor([[1.0, 1.0, weight]]).repeat(2, 1)) for weight in (2.0, 1.0))
    assert losses.gradient(sr, hr, heavy) == pytest.approx(2 * float(losses.gradient(sr, hr, light)), rel=1e-5)
    assert losses.l1(sr, hr, heavy) == pytest.approx(2 * float(losses.l1(sr, hr, light)), rel=1e-5)
