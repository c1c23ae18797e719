"""The subspace: projections, what bicubic carries, any sensor; and a network that adds nothing is bicubic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import hypersharp
from hypersharp.cube.source import array_source
from hypersharp.errors import NoDataError
from hypersharp.infer import subspace
from hypersharp.infer.fit import fit_scene
from hypersharp.infer.methods import Bicubic
from hypersharp.infer.network import method_for
from hypersharp.models._card import Card
from hypersharp.operators import bicubic_enlarge, bicubic_shrink


def mixture(bands=12, ends=3, size=(30, 26), noise=0.0, seed=0):
    """Linear mixtures of a few spectra: `(C, h, w)`."""
    draw = np.random.default_rng(seed)
    maps = ndimage.gaussian_filter(draw.normal(size=(ends, *size)), (0, 2, 2)) * 8 + 3
    spectra = draw.uniform(50, 400, (ends, bands))
    clean = np.tensordot(spectra.T, maps, axes=1)
    return clean + noise * draw.normal(size=clean.shape)


def whole(values):
    return [(values, np.ones(values.shape, bool))]


def fitted(values, count, noise=1.0):
    return subspace.fit(whole(values), np.full(len(values), noise), count=count)


def test_projecting_and_back_is_exact_where_the_scene_has_no_more_dimensions():
    values = mixture()
    found = fitted(values, 3)
    again = found.mean[:, None, None] + np.tensordot(found.basis, found.encode(values), axes=1)
    assert np.abs(again - values).max() < 1e-9 * np.abs(values).max()
    assert np.allclose(found.project @ found.basis, np.eye(3), atol=1e-9)


def test_eigenimages_have_mean_0_and_are_uncorrelated_and_the_first_has_spread_1():
    u = fitted(mixture(noise=2.0), 4).encode(mixture(noise=2.0)).reshape(4, -1)
    assert np.allclose(u.mean(axis=1), 0, atol=1e-9)
    covariance = np.cov(u, bias=True)
    assert np.allclose(covariance, np.diag(np.diag(covariance)), atol=1e-6)
    assert covariance.diagonal().max() == pytest.approx(1)


def test_what_matters_less_in_the_bands_is_less_loud():
    """Spread over the scene grows with the part of the bands' contrast that an eigenimage holds; here by hand."""
    draw = np.random.default_rng(3)
    strong, weak = draw.normal(size=(2, 40, 40))
    values = np.stack([strong, strong, strong, 0.1 * weak])
    found = subspace.fit(whole(values), np.full(4, 1e-3), count=2)
    spread = np.sort(found.encode(values).std(axis=(1, 2)))
    # three bands of contrast 1 against one: energies in the ratio of the root of 3
    assert spread[0] / spread[1] == pytest.approx(3 ** (-0.7 / 2), rel=0.02)


def test_a_noisy_band_does_not_rule_the_basis():
    """In plain principal components a band of pure strong noise would be the first."""
    values = mixture(noise=1.0)
    values[5] = np.random.default_rng(1).normal(0, 1e4, values[5].shape)
    noise = np.ones(12)
    noise[5] = 1e4
    found = subspace.fit(whole(values), noise, count=3)
    u = found.encode(values)
    assert max(abs(np.corrcoef(u[k].ravel(), values[5].ravel())[0, 1]) for k in range(3)) < 0.2


def test_a_scene_of_fewer_dimensions_is_padded_with_zeros():
    found = fitted(mixture(), 5)
    assert (found.spread() > 0).tolist() == [True] * 3 + [False] * 2
    assert not found.encode(mixture())[3:].any()


def test_bands_left_out_are_not_in_the_basis():
    values = mixture()
    values[2] = np.nan
    noise = np.ones(12)
    noise[2] = np.nan
    found = subspace.fit([(values, np.isfinite(values))], noise, count=3)
    assert not found.basis[2].any()
    assert not found.project[:, 2].any()
    with pytest.raises(NoDataError, match="no eigenimages"):
        subspace.fit([(values, np.isfinite(values))], np.ones(12), count=3)


@pytest.mark.parametrize("told", [1.0, 0.7])
def test_what_is_calmed_loses_noise_and_no_signal(told):
    """Five ends and noise of 2, two components in the basis; the noise may be estimated too low."""
    clean = mixture(bands=40, ends=5, size=(60, 60))
    noisy = clean + 2.0 * np.random.default_rng(1).normal(size=clean.shape)
    found = fitted(noisy, 2, noise=2.0 * told)
    calm = found.calm(noisy)
    assert np.sqrt(((calm - clean) ** 2).mean()) < 2.0 * 1.1 * np.sqrt(5 / 40)
    assert np.abs(found.encode(calm) - found.encode(noisy)).max() < 1e-9


def test_bands_left_out_are_calmed_to_themselves():
    values = mixture(bands=8, noise=1.0)
    noise = np.ones(8)
    noise[[1, 6]] = np.nan
    calm = subspace.fit(whole(values), noise, count=3).calm(values)
    np.testing.assert_allclose(calm[[1, 6]], values[[1, 6]], rtol=1e-12)
    assert np.abs(calm[0] - values[0]).max() > 0.1


def test_the_sign_does_not_depend_on_chance():
    one, other = fitted(mixture(), 3), fitted(mixture()[:, ::-1].copy(), 3)
    assert np.allclose(one.basis, other.basis, rtol=1e-6, atol=1e-6 * np.abs(one.basis).max())


class Fake:
    """A session that enlarges its channels by bicubic and adds a constant."""

    name, sha256 = "fake", "0" * 64

    def __init__(self, card, plus=0.0):
        self.card, self.plus = card, plus

    def __call__(self, lr):
        wide = bicubic_enlarge(lr.shape[2:], self.card.scale).apply(lr)
        return wide + np.float32(self.plus)


def method(values, plus, halo=2):
    source = array_source(values)
    card = Card("fake", 2, 4, halo, domain="subspace")
    bands = hypersharp.Bands(len(values))
    scene = fit_scene(source)
    return method_for(
        Fake(card, plus),
        source,
        bands,
        scene,
        operator=bicubic_shrink(tuple(2 * n for n in source.shape[1:]), 2),
        tile=8,
    ), scene


@pytest.mark.parametrize("bands", [12, 30])
@pytest.mark.parametrize("halo", [2, None])
def test_a_network_that_adds_nothing_is_bicubic_for_any_number_of_bands(bands, halo):
    """What the basis does not hold is carried by bicubic exactly, noise and dead bands too."""
    values = mixture(bands, noise=3.0).astype(np.float32)
    values[1] = 7.0
    plain = Bicubic.of(values.shape[1:], 2)(values, (0, 0), (0, 60), (0, 52))
    made = method(values, 0.0, halo)[0](values, (0, 0), (0, 60), (0, 52))
    assert np.abs(made - plain).max() < 2e-5 * np.abs(plain).max()


def test_what_the_network_adds_goes_along_the_basis():
    values = mixture(noise=3.0).astype(np.float32)
    one, scene = method(values, 0.5)
    fit = subspace.fit([(w, v) for _, w, v in scene.windows], scene.noise, count=4, drop_noise=True)
    plain = Bicubic.of(values.shape[1:], 2)(values, (0, 0), (0, 60), (0, 52))
    added = one(values, (0, 0), (0, 60), (0, 52)) - plain
    wanted = (fit.basis.sum(axis=1) * 0.5)[:, None, None]
    assert np.abs(added - wanted).max() < 1e-3 * np.abs(plain).max()


@pytest.mark.parametrize("rank", [1, 3])
def test_components_that_hold_no_more_than_noise_are_left_to_bicubic(rank):
    """Noise of known size on a scene of few materials: as many eigenimages as materials, never the noise's own."""
    draw = np.random.default_rng(rank)
    maps = draw.normal(size=(rank, 40, 40))
    scene = 100 + np.tensordot(draw.normal(size=(20, rank)), maps, 1) * 10 + draw.normal(size=(20, 40, 40))
    fitted = subspace.fit([(scene, np.ones(scene.shape, bool))], np.ones(20), count=6, drop_noise=True)
    assert int((fitted.spread() > 0).sum()) == rank
