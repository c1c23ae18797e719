"""CNMF, HySure and CSTF: their steps against dense algebra, their objectives, and their published figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize, nnls

from hypersharp.degrade.psf import Psf
from hypersharp.fusion.methods import cnmf, cstf, get_fusion_method, hysure
from hypersharp.operators import bicubic_enlarge

from .made import jasper, mpsnr_db, stated, synthetic

ITERATIVE = ["cnmf", "hysure", "cstf"]
NOISY = {"noise_db": 35.0, "msi_noise_db": 40.0}


def fused(name, pair):
    return get_fusion_method(name).fit([pair.window], pair.calibration)(pair.window)


def dense(operator):
    """`(h·w, H·W)` matrix of a degradation."""
    height, width = operator.shape_in
    unit = np.eye(height * width).reshape(-1, height, width)
    return operator.apply(unit).reshape(height * width, -1).T


# Whole methods


@pytest.mark.parametrize(
    ("name", "published_db", "noisy_db"), [("cnmf", 40.1, 33.8), ("hysure", 35.4, 33.4), ("cstf", 39.7, 33.8)]
)
def test_reaches_its_figure_on_a_real_scene(data_dir, name, published_db, noisy_db):
    """Figures of another implementation; for CSTF, of which there is none, those that GLP and CNMF have."""
    assert mpsnr_db((pair := jasper(data_dir)).hr, fused(name, pair)) > published_db - 1.5
    pair = jasper(data_dir, noise_db=20.0, msi_noise_db=30.0)
    assert mpsnr_db(pair.hr, fused(name, pair)) > noisy_db - 1.5


def test_order_on_a_real_scene(data_dir):
    pair = jasper(data_dir)
    found = {name: mpsnr_db(pair.hr, fused(name, pair)) for name in ("glp", "fuse", *ITERATIVE)}
    assert found["cnmf"] < found["fuse"] + 0.5
    assert found["glp"] < found["hysure"]


@pytest.mark.parametrize("name", ITERATIVE)
def test_beats_enlargement_by_far_without_noise(name):
    pair = synthetic(rank=4, msi_bands=4, bands=24, shape_lr=(24, 24), scale=4, sigma=1.7)
    plain = bicubic_enlarge((24, 24), 4).apply(pair.window.lr)
    assert mpsnr_db(pair.hr, fused(name, pair)) > mpsnr_db(pair.hr, plain) + 15


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("psf", [Psf("bicubic"), Psf("sigma", (2.4, 1.2), 30.0)], ids=str)
def test_any_psf(name, psf):
    """One with negative lobes, and one that is no product of rows and columns."""
    pair = synthetic(shape_lr=(16, 16), scale=4, rank=3, msi_bands=4)
    lr = psf.operator(pair.hr.shape[1:], 4).apply(pair.hr)
    pair = replace(stated(pair, psf=psf), window=replace(pair.window, lr=lr))
    plain = bicubic_enlarge((16, 16), 4).apply(lr)
    assert mpsnr_db(pair.hr, fused(name, pair)) > mpsnr_db(pair.hr, plain) + 8


@pytest.mark.parametrize("name", ITERATIVE)
def test_slightly_negative_radiance(name):
    pair = synthetic(shape_lr=(16, 16), **NOISY)
    level = pair.window.lr.min() + np.float32(0.01)  # the rows of the response sum to 1
    dark = replace(pair.window, lr=pair.window.lr - level, msi=pair.window.msi - level)
    sr = fused(name, replace(pair, window=dark))
    assert mpsnr_db(pair.hr, sr + level) > mpsnr_db(pair.hr, fused("exp", pair)) + 5


@pytest.mark.parametrize("scale", [2, 3])
def test_tensor_factorisation_differs_between_tiles_by_little(scale):
    """Its dictionaries belong to a window, so this is a bound on its known fault, not a law."""
    pair = synthetic(shape_lr=(40, 40), scale=scale, sigma=scale / 2.355, **NOISY)
    fuse = get_fusion_method("cstf").fit([pair.window], pair.calibration)
    halo = get_fusion_method("cstf").halo(pair.calibration)
    whole = fuse(pair.window)[:, 16 * scale : 24 * scale, 16 * scale : 24 * scale]
    part = fuse(pair.part((16 - halo, 24 + halo), (16 - halo, 24 + halo)))
    core = part[:, halo * scale : -halo * scale, halo * scale : -halo * scale]
    difference = np.abs(core - whole).max(axis=(1, 2)) / np.ptp(whole, axis=(1, 2))
    assert np.median(difference) < 0.03


# CNMF


def misfit(data, spectra, h):
    return float(((data.astype(np.float64) - spectra.astype(np.float64) @ h) ** 2).sum())


def never_rises(values):
    return (np.diff(values) <= 1e-5 * np.asarray(values[:-1])).all()


@pytest.mark.parametrize("both", [False, True])
def test_abundance_updates_never_raise_the_objective(both):
    rng = np.random.default_rng(1)
    spectra, other = rng.random((12, 5), np.float32), rng.random((3, 5), np.float32)
    blur = dense(Psf("sigma", (1.0, 1.0)).operator((6, 6), 2))
    fine, coarse = rng.random((3, 36), np.float32), rng.random((12, 9), np.float32)
    h = rng.random((5, 36), np.float32)
    found = []
    for _ in range(60):
        found.append(misfit(fine, other, h) + both * misfit(coarse, spectra, h @ blur.T))
        target, got = other.T @ fine, other.T @ other @ h
        if both:
            target = target + (spectra.T @ coarse @ blur).astype(np.float32)
            got = got + (spectra.T @ spectra @ (h @ blur.T) @ blur).astype(np.float32)
        h = cnmf.overdone(h, target, got)
    assert never_rises(found)
    assert found[-1] < 0.7 * found[0]


def test_abundances_end_at_the_non_negative_least_squares():
    rng = np.random.default_rng(2)
    spectra, data = rng.random((20, 4), np.float32), rng.random((20, 6), np.float32)
    start = np.full((4, 6), 0.25, np.float32)
    found = cnmf.abundances(spectra.T @ spectra, spectra.T @ data, start, steps=3000)
    expected = np.stack([nnls(spectra.astype(float), pixel.astype(float))[0] for pixel in data.T], axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_endmembers_and_abundances_of_the_cube_never_fit_worse(monkeypatch):
    pair = synthetic(shape_lr=(14, 14), rank=5, **NOISY)
    model = cnmf.fit([pair.window], pair.calibration)
    rng = np.random.default_rng(3)
    model = replace(model, endmembers=rng.random(model.endmembers.shape, np.float32))
    monkeypatch.setattr(cnmf, "_LR_STEPS", 1)
    h, found = [rng.random((model.endmembers.shape[1], 196), np.float32)], []
    lr = pair.window.lr.reshape(20, -1) * model.lr.weight
    for _ in range(40):
        model, h = cnmf.unmixed(model, [pair.window], h)
        sums = model.lr.one**2 * ((1 - h[0].sum(axis=0)) ** 2).sum()
        found.append(misfit(lr, model.endmembers * model.lr.weight, h[0]) + sums)
    assert never_rises(found)
    assert found[-1] < 0.1 * found[0]


def test_purest_pixels_are_the_corners():
    rng = np.random.default_rng(4)
    corners = rng.random((9, 4))
    mixed = corners @ rng.dirichlet(np.ones(4), 200).T
    pixels = np.concatenate([mixed[:, :50], corners, mixed[:, 50:]], axis=1)
    with_sum = np.concatenate([pixels, np.ones((1, 204))]).astype(np.float32)
    assert sorted(cnmf.purest(with_sum, 4)) == [50, 51, 52, 53]
    assert len(cnmf.purest(with_sum.astype(np.float64), 8)) == 4  # the rest are mixtures, exactly


def test_unmixing_is_physical():
    pair = synthetic(shape_lr=(20, 20), **NOISY)
    model = cnmf.fit([pair.window], pair.calibration)
    h = model.solve(pair.window)
    assert h.min() >= 0
    assert (model(pair.window) >= 0).all()
    assert np.abs(h.sum(axis=0) - 1).mean() < 0.05
    assert model.endmembers.shape[1] <= 21  # one more than bands


# HySure


def rfft_of_sampled(x, scale):
    return np.fft.rfft2(x[:, ::scale, ::scale])


@pytest.mark.parametrize(("scale", "shape"), [(2, (8, 12)), (2, (6, 10)), (3, (9, 15)), (3, (12, 6)), (4, (4, 4))])
def test_folding_is_decimation_and_unfolding_its_adjoint(scale, shape):
    x = np.random.default_rng(5).standard_normal((2, *shape))
    found = hysure.fold(np.fft.rfft2(x), scale, shape[1]) / scale**2
    np.testing.assert_allclose(found, rfft_of_sampled(x, scale), atol=1e-12)
    spread = np.zeros_like(x)
    spread[:, ::scale, ::scale] = x[:, ::scale, ::scale]
    np.testing.assert_allclose(
        hysure.unfold(rfft_of_sampled(x, scale), scale, shape[1]), np.fft.rfft2(spread), atol=1e-12
    )


def periodic(operator, shape):
    """`(h·w, H·W)` matrix of a degradation with periodic borders, from its taps."""
    whole = np.zeros((shape[0] // 2 * (shape[1] // 2), shape[0] * shape[1]))
    for rows, cols in operator.terms:
        one = []
        for axis, n in ((rows, shape[0]), (cols, shape[1])):
            matrix = np.zeros((n // 2, n))
            at = 2 * np.arange(n // 2)[:, None] + axis.offset + np.arange(axis.weight.shape[1])
            np.add.at(matrix, (np.arange(n // 2)[:, None], at % n), axis.weight[0])
            one.append(matrix)
        whole += np.kron(*one)
    return whole


def differences(shape):
    """`(2·H·W, H·W)` periodic forward differences."""
    unit = np.eye(shape[0] * shape[1]).reshape(-1, *shape)
    parts = [(np.roll(unit, -1, axis) - unit).reshape(len(unit), -1).T for axis in (1, 2)]
    return np.concatenate(parts)


@pytest.mark.parametrize("gain", [(0.0, 3.0), (0.5, 40.0)])
def test_a_step_is_the_dense_solution(gain):
    shape, mu = (6, 10), 0.7
    operator = Psf("sigma", (1.1, 0.8)).operator(shape, 2, shift_yx=(0.4, -0.3))
    rng = np.random.default_rng(6)
    root = rng.standard_normal((2, 2))
    precision = root @ root.T + np.eye(2)
    form = hysure.quadratic(operator.otf(shape), np.linalg.inv(precision), np.array(gain), mu=mu, scale=2)
    right, lr = rng.standard_normal((2, *shape)), rng.standard_normal((2, 3, 5))
    found, left = form.solve(*(np.fft.rfft2(planes).astype(np.complex64) for planes in (right, lr)))
    found, left = np.fft.irfft2(found, s=shape), np.fft.irfft2(left, s=(3, 5))
    blur, steep, n = periodic(operator, shape), differences(shape), 60
    smooth = mu * (steep.T @ steep + 4 * np.sin(np.pi / 10) ** 2 * np.ones((n, n)) / n)  # the mean is held too
    hessian = np.kron(precision, blur.T @ blur) + np.kron(np.diag(gain), np.eye(n)) + np.kron(np.eye(2), smooth)
    slope = right.reshape(2, -1) + precision @ lr.reshape(2, -1) @ blur
    expected = np.linalg.solve(hessian, slope.ravel())
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(left.reshape(2, -1), lr.reshape(2, -1) - expected.reshape(2, -1) @ blur.T, atol=1e-4)


def test_shrinking_shortens_gradients_by_the_threshold():
    rng = np.random.default_rng(7)
    z = rng.standard_normal((3, 5, 6)).astype(np.float32)
    down, right = np.zeros_like(z), np.zeros_like(z)
    pull = hysure.shrink(z, down, right, threshold=0.8)
    gradient = (differences((5, 6)) @ z.reshape(3, -1).T.astype(np.float64)).reshape(2, 30, 3)
    length = np.sqrt((gradient**2).sum(axis=(0, 2)))
    kept = np.maximum(1 - 0.8 / length, 0)[:, None] * gradient
    dual = gradient - kept
    np.testing.assert_allclose(down.reshape(3, -1).T, dual[0], atol=1e-6)
    np.testing.assert_allclose(right.reshape(3, -1).T, dual[1], atol=1e-6)
    expected = differences((5, 6)).T @ (kept - dual).reshape(60, 3)
    np.testing.assert_allclose(pull.reshape(3, -1).T, expected, atol=1e-5)


@pytest.fixture(scope="module")
def small():
    """A model of three coordinates, and periodic planes for it: LR, MSI and a start."""
    pair = synthetic(shape_lr=(8, 8), rank=3, msi_bands=2, noise_db=30.0, msi_noise_db=35.0)
    model = hysure.fit([pair.window], pair.calibration)
    lr = np.tensordot(model.turned, model.basis.encode(pair.window.lr), axes=1).astype(np.float32)[:, 2:6, 2:6]
    msi = (pair.window.msi - model.mean_msi[:, None, None])[:, 4:12, 4:12]
    return model, np.ascontiguousarray(lr), np.ascontiguousarray(msi), bicubic_enlarge((4, 4), 2).apply(lr)


def objective(model, lr, msi, z, *, known=1.0, rounding=0.0):
    """Value and gradient at periodic planes, written out; total variation rounded off at 0 if asked."""
    shape, flat = z.shape[1:], z.reshape(len(z), -1)
    blur, steep = periodic(model.calibration.blur(shape), shape), differences(shape)
    # the weight of the MSI, from what the model multiplies its misfits by
    weight = np.linalg.norm(model.to_gradient, axis=0) / np.linalg.norm(model.response, axis=1)
    on_lr = np.ravel(known) * (model.back @ (lr.reshape(len(z), -1) - flat @ blur.T))
    on_msi = msi.reshape(len(msi), -1) - model.response @ flat
    gradient = (steep @ flat.T).reshape(2, -1, len(z))
    length = np.sqrt((gradient**2).sum(axis=(0, 2)) + rounding**2)
    value = 0.5 * (on_lr**2).sum() + 0.5 * (weight[:, None] * on_msi**2).sum() + model.strength * length.sum()
    unit = (gradient / np.maximum(length, 1e-12)[:, None]).reshape(-1, len(z))
    slope = model.strength * (steep.T @ unit).T - model.back.T @ on_lr @ blur
    return value, (slope - model.response.T @ (weight[:, None] * on_msi)).ravel()


def test_total_variation_steps_lower_the_objective_to_its_minimum(small):
    model, lr, msi, start = small
    known = np.ones((1, *lr.shape[1:]), np.float32)

    planes = [model.minimise(lr, msi, start=start, known=known, steps=n) for n in (1, 2, 4, 8, 16, 30)]
    found = [objective(model, lr, msi, z.astype(float))[0] for z in planes]
    assert (np.diff(found) <= 1e-4 * np.asarray(found[:-1])).all()
    assert found[-1] < least(model, lr, msi) * 1.001


def least(model, lr, msi, **options):
    """The minimum of the objective, found by another method."""
    shape = (len(lr), *msi.shape[1:])
    found = minimize(
        lambda v: objective(model, lr, msi, v.reshape(shape), rounding=1e-3, **options),
        np.zeros(np.prod(shape)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 2000},
    )
    return objective(model, lr, msi, found.x.reshape(shape), **options)[0]


def test_unknown_lr_pixels_say_nothing(small):
    model, lr, msi, start = small
    known = np.ones((1, *lr.shape[1:]), np.float32)
    known[0, 0], known[0, 2, 3] = 0, 0
    found = model.minimise(lr, msi, start=start, known=known, steps=100)
    other = model.minimise(lr + 9 * (1 - known), msi, start=start, known=known, steps=100)
    np.testing.assert_array_equal(other, found)
    value = objective(model, lr, msi, found.astype(float), known=known)[0]
    assert value < least(model, lr, msi, known=known) * 1.001


@pytest.mark.parametrize("shift", [(1.0, 1.0), (-1.0, -1.0), (6.0, 5.0)])
def test_a_known_shift_costs_little_along_the_border(data_dir, shift):
    """As `test_jasper.py` has it for the quick ones; what lies more than an LR pixel outside of the cube costs more."""
    pair, still = jasper(data_dir, shift=shift), jasper(data_dir)
    lost = mpsnr_db(still.hr, fused("hysure", still)) - mpsnr_db(pair.hr, fused("hysure", pair))
    assert lost < (0.2 if max(shift) <= 1 else 1.2)


# CSTF


@pytest.fixture(scope="module")
def tiny():
    rng = np.random.default_rng(8)
    blur = Psf("sigma", (0.9, 1.2)).operator((6, 8), 2).terms[0]
    response = rng.standard_normal((2, 3))
    rows, cols = (np.linalg.qr(rng.standard_normal((n, k)))[0] for n, k in ((6, 4), (8, 5)))
    arrays = rng.standard_normal((3, 3, 4)), rng.random(3) * 20 + 1, rng.standard_normal((3, 6, 8)) * 5
    single = [np.asarray(a, np.float32) for a in (*arrays, response.T @ response, blur[0].matrix(), blur[1].matrix())]
    core = rng.standard_normal((3, 4, 5)).astype(np.float32)
    return cstf.Problem(*single), core, rows.astype(np.float32), cols.astype(np.float32)


def data_terms(problem, core, rows, cols):
    """Value of both data terms but for a constant, in float64."""
    wide = np.einsum("pab,ia,jb->pij", core.astype(float), rows, cols)
    coarse = np.einsum("pij,ki,lj->pkl", wide, problem.blur_rows, problem.blur_cols)
    lr = 0.5 * (problem.precision[:, None, None] * (problem.lr - coarse) ** 2).sum()
    return lr + 0.5 * np.einsum("pij,pq,qij->", wide, problem.gram, wide) - (problem.msi * wide).sum()


def test_core_without_sparsity_is_the_dense_solution(tiny, monkeypatch):
    problem, core, rows, cols = tiny
    monkeypatch.setattr(cstf, "_SPARSITY", 1e-9)
    found = cstf.fit_core(problem, core, rows, cols, steps=1)
    down = np.kron(problem.blur_rows @ rows, problem.blur_cols @ cols).astype(float)
    stay = 10.0
    hessian = np.kron(np.diag(problem.precision), down.T @ down) + np.kron(problem.gram, np.eye(20)) + stay * np.eye(60)
    right = (problem.precision[:, None] * (problem.lr.reshape(3, -1) @ down)).ravel() + stay * core.ravel()
    right += (problem.msi.reshape(3, -1) @ np.kron(rows, cols)).ravel()
    np.testing.assert_allclose(found.ravel(), np.linalg.solve(hessian, right), rtol=1e-3, atol=1e-4)


def test_sparse_core_lowers_the_objective(tiny):
    problem, core, rows, cols = tiny
    found = [core, *(cstf.fit_core(problem, core, rows, cols, steps=n) for n in (10, 300))]
    values = [data_terms(problem, c, rows, cols) + np.abs(c).sum() + 5 * ((c - core) ** 2).sum() for c in found]
    assert values[0] > values[1] > values[2] - 1e-3 * abs(values[2])


def test_dictionaries_meet_both_images_and_stay_orthonormal(tiny):
    problem, core, rows, cols = tiny
    found, rest = cstf.fit_rows(problem, core, rows, cols)
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-5)
    best = data_terms(problem, rest, found, cols)
    assert best < data_terms(problem, core, rows, cols)
    flipped, other = cstf.fit_rows(problem.transposed(), rest.swapaxes(1, 2), cols, found)
    assert data_terms(problem, other.swapaxes(1, 2), found, flipped) < best
