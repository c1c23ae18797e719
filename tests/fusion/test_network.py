"""Networks in a method's place: what they see, how windows become a scene, and what does not fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from hypersharp.cube import Bands
from hypersharp.cube.source import array_source
from hypersharp.errors import UsageError
from hypersharp.fusion._spec import Window
from hypersharp.fusion.network import Guided, check_network, in_bands, in_subspace, mode_of, network_spec, whole_scene
from hypersharp.infer.fit import fit_scene
from hypersharp.models._card import Card
from hypersharp.operators import bicubic_enlarge

from .made import mpsnr_db, stated, synthetic


@dataclass(frozen=True, eq=False)
class Stub:
    """A session that enlarges the cube, or answers with the MSI's channels where it is told to."""

    card: Card
    answers_with_msi: bool = False
    name: str = "stub.onnx"
    sha256: str = "0" * 64

    def __call__(self, lr, msi=None):
        assert msi.shape[1] == self.card.msi_bands
        assert msi.shape[2:] == tuple(n * self.card.scale for n in lr.shape[2:])
        if self.answers_with_msi:
            return msi
        return bicubic_enlarge(lr.shape[2:], self.card.scale).apply(lr[0])[None]


def card(**facts) -> Card:
    return Card(**({"model": "stub", "scale": 2, "bands": 4, "msi_bands": 4, "domain": "subspace", "halo": 4} | facts))


@pytest.fixture(scope="module")
def pair():
    return synthetic(scale=2, sigma=0.9, rank=4, shape_lr=(24, 26), noise_db=45, msi_noise_db=45)


def test_neither_gain_nor_offset_of_the_msi_is_seen(pair):
    """The law that makes a network blind to an MSI's units."""
    other = Window(pair.window.lr, 7 + 250 * pair.window.msi, pair.window.valid)
    for fit in (
        lambda window: in_bands([window], quantile=0.999),
        lambda window: in_subspace([window], pair.calibration, count=4, draft=False),
        lambda window: in_subspace([window], pair.calibration, count=4, draft=True),
    ):
        found, wanted = (fit(one) for one in (other, pair.window))
        u = wanted.cube(pair.window.lr)
        np.testing.assert_allclose(found.guide(u, other.msi), wanted.guide(u, pair.window.msi), atol=2e-3)


def test_each_msi_band_is_standardised_and_a_constant_one_is_nothing(pair):
    msi = pair.window.msi.copy()
    msi[2] = 5.0
    seen = in_bands([Window(pair.window.lr, msi, pair.window.valid)], quantile=1.0).guide(pair.window.lr, msi)
    np.testing.assert_allclose(seen.mean(axis=(1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(axis=(1, 2)), [1, 1, 0, 1], atol=1e-4)


def test_a_draft_foretells_the_eigenimages():
    """Without noise and with as many MSI bands as the scene has directions, all but exactly."""
    pair = synthetic(scale=2, sigma=0.9, rank=4, shape_lr=(24, 26))
    inputs = in_subspace([pair.window], pair.calibration, count=4, draft=True)
    wanted = inputs.cube(pair.hr)
    found = inputs.guide(inputs.cube(pair.window.lr), pair.window.msi)
    np.testing.assert_allclose(found, wanted, atol=0.02 * wanted.std())


def test_a_network_that_gives_the_draft_gives_the_scene(pair):
    """Through basis and back: what is answered in eigenimages comes out in physical units."""
    session = Stub(card(msi_drafted=True), answers_with_msi=True)
    fused = network_spec(session, Bands(20)).fit([pair.window], pair.calibration)(pair.window)
    enlarged = bicubic_enlarge(pair.window.lr.shape[1:], 2).apply(pair.window.lr)
    assert mpsnr_db(pair.hr, fused) > mpsnr_db(pair.hr, enlarged) + 10


def test_a_network_that_enlarges_bands_gives_the_enlarged_cube(pair):
    session = Stub(card(domain="bands", bands=20))
    fused = network_spec(session, Bands(20)).fit([pair.window], pair.calibration)(pair.window)
    enlarged = bicubic_enlarge(pair.window.lr.shape[1:], 2).apply(pair.window.lr)
    np.testing.assert_allclose(fused, enlarged, atol=1e-4 * enlarged.max())


def test_a_network_that_enlarges_eigenimages_gives_the_enlarged_cube_with_less_noise():
    """Noise is 20 dB below the cube; four of twenty dimensions hold signal, so a fifth of its power stays."""
    clean, noisy = (synthetic(scale=2, sigma=0.9, rank=4, shape_lr=(24, 26), noise_db=db) for db in (None, 20))
    enlarge = bicubic_enlarge((24, 26), 2)
    wanted, noise = enlarge.apply(clean.window.lr), enlarge.apply(noisy.window.lr - clean.window.lr)
    fused = network_spec(Stub(card()), Bands(20)).fit([noisy.window], noisy.calibration)(noisy.window)
    left = ((fused - wanted) ** 2).mean() / (noise**2).mean()
    assert 0.1 < left < 0.3


def test_bands_that_the_network_does_not_know_are_enlarged(pair):
    waves = np.linspace(400, 2400, 20)
    session = Stub(card(domain="bands", bands=4, wavelength_nm=tuple(waves[[9, 3, 4, 5]])), answers_with_msi=True)
    fused = network_spec(session, Bands(20, waves)).fit([pair.window], pair.calibration)(pair.window)
    enlarged = bicubic_enlarge(pair.window.lr.shape[1:], 2).apply(pair.window.lr)
    others = np.setdiff1d(np.arange(20), [9, 3, 4, 5])
    np.testing.assert_array_equal(fused[others], enlarged[others])
    assert np.corrcoef(fused[9].ravel(), pair.window.msi[0].ravel())[0, 1] == pytest.approx(1, abs=1e-5)


def test_a_large_shift_is_undone_before_the_network_sees_the_cube():
    """The cube looks 1.5 HR pixels further down; a network that enlarges then still gives it in the right place."""
    there, straight = (
        synthetic(scale=2, sigma=0.9, shape_lr=(24, 26), shift=shift) for shift in ((1.5, 0.0), (0.0, 0.0))
    )
    inner = np.s_[:, 6:-6, 6:-6]
    for pair, least in ((there, -1.0), (stated(there, shift_yx=(0.0, 0.0)), None)):
        fused = network_spec(Stub(card(domain="bands", bands=20)), Bands(20)).fit([pair.window], pair.calibration)
        found = mpsnr_db(straight.hr[inner], fused(pair.window)[inner])
        plain = bicubic_enlarge((24, 26), 2).apply(straight.window.lr)
        gain = found - mpsnr_db(straight.hr[inner], plain[inner])
        assert gain > least if least is not None else gain < -1.0


@pytest.mark.parametrize("halo", [4, None])
def test_tiles_give_the_scene_at_once(pair, halo):
    """With a finite halo to rounding; without, each region is the same however it is read."""
    session = Stub(card(msi_drafted=True, halo=halo), answers_with_msi=True)
    fuse = network_spec(session, Bands(20)).fit([pair.window], pair.calibration)
    guided = Guided.of(fuse, session, array_source(pair.window.msi), pair.calibration, np.arange(20))
    lr = array_source(pair.window.lr)
    source, tiles = whole_scene(guided, lr, fit_scene(lr), tile=(9, 9), consistency="off")
    assert len(tiles) == 9
    whole, valid = source.read(slice(None), slice(None), slice(None))
    assert valid.all()
    np.testing.assert_allclose(whole, fuse(pair.window), atol=1e-4 * whole.max())
    part, _ = source.read(slice(3, 5), slice(13, 30), slice(7, 21))
    np.testing.assert_array_equal(part, whole[3:5, 13:30, 7:21])


def test_consistency_brings_the_result_to_the_cube(pair):
    session = Stub(card(bands=1, msi_bands=4))
    fuse = network_spec(session, Bands(20)).fit([pair.window], pair.calibration)
    guided = Guided.of(fuse, session, array_source(pair.window.msi), pair.calibration, np.arange(20))
    lr, misses = array_source(pair.window.lr), []
    for mode in ("off", "noise"):
        source, _ = whole_scene(guided, lr, fit_scene(lr), tile=(24, 26), consistency=mode)
        made, _ = source.read(slice(None), slice(None), slice(None))
        again = pair.calibration.blur(made.shape[1:]).apply(made)
        misses.append(float(np.sqrt(((again - pair.window.lr) ** 2).mean())))
    assert misses[1] < 0.5 * misses[0]


def test_where_the_msi_is_missing_the_enlarged_cube_stands(pair):
    msi = pair.window.msi.copy()
    msi[:, 20:30, 10:24] = np.nan
    session = Stub(card(msi_drafted=True), answers_with_msi=True)
    fuse = network_spec(session, Bands(20)).fit([pair.window], pair.calibration)
    live = np.arange(1, 20)
    calibration = replace(pair.calibration, srf=pair.calibration.srf[:, 1:], noise_lr=pair.calibration.noise_lr[1:])
    fuse = network_spec(session, Bands(19)).fit(
        [Window(pair.window.lr[1:], pair.window.msi, pair.window.valid)], calibration
    )
    guided = Guided.of(fuse, session, array_source(msi), calibration, live)
    made = guided(pair.window.lr.copy(), (0, 0), (0, 48), (0, 52))
    enlarged = bicubic_enlarge((24, 26), 2).apply(pair.window.lr)
    np.testing.assert_allclose(made[:, 20:30, 10:24], enlarged[:, 20:30, 10:24], rtol=1e-5)
    np.testing.assert_array_equal(made[0], enlarged[0])  # a band that is not fused
    assert np.isfinite(made).all()
    assert np.abs(made[1:, :10] - enlarged[1:, :10]).max() > 0.01


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"msi_bands": None}, "sharpens a cube alone and takes no MSI; use hypersharp sharpen"),
        ({"scale": 4}, "was made for scale 4, got a pair of scale 2"),
        ({"msi_bands": 6}, "takes an MSI of 6 bands, got one of 4; choose bands with --msi-bands"),
        ({"bands": None}, "does not say how many eigenimages"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(facts, said):
    with pytest.raises(UsageError, match=said) as caught:
        check_network(Stub(card(**facts)), scale=2, msi_bands=4)
    assert "\n" not in str(caught.value)


def test_a_projected_msi_may_have_any_number_of_bands():
    check_network(Stub(card(msi_drafted=True)), scale=2, msi_bands=9)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("noise", False, False), "consistency follows a network"),
        ((None, True, True), "a method or a model, got both"),
        (("some", True, False), "one of noise, exact, off"),
    ],
)
def test_modes_that_make_no_sense(asked, said):
    consistency, model, named = asked
    with pytest.raises(UsageError, match=said):
        mode_of(consistency, model=model, named=named)
    assert mode_of(None, model=True, named=False) == "noise"
