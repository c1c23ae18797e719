"""Networks that fuse, from recipe to fused file: what they train on, what is kept of it, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import hypersharp
from hypersharp import models
from hypersharp.bench.rows import read_run, rows_of
from hypersharp.cli import run
from hypersharp.data.patches import Patches
from hypersharp.data.scenes import Scene
from hypersharp.degrade.psf import parse_psf
from hypersharp.errors import FileFormatError, UsageError
from hypersharp.infer.session import Ensemble, OnnxSession
from hypersharp.infer.torch_session import ModuleSession, TorchSession, load_model, read_card
from hypersharp.models import csakd
from hypersharp.models._card import Card, config_to_dict
from hypersharp.operators import bicubic_enlarge
from hypersharp.train import pairs as module
from hypersharp.train.checkpoint import save_checkpoint
from hypersharp.train.config import DataConfig, MsiConfig, VaryConfig, load_config
from hypersharp.train.export import SIZES, export
from hypersharp.train.loop import train
from hypersharp.train.pairs import held_pair, observe, pairs, response_of
from hypersharp.train.start import start_from_bicubic

ROOT = Path(__file__).parents[2]
TINY = csakd.StudentConfig(features=8, growth=4, depths=(0, 1, 1, 1), cube_groups=1, inner=8, heads=2, skip="bicubic")
CONFIG = json.dumps(config_to_dict(TINY)).replace('":', '"=')
FUSE = ["model.name=csakd_student", f"model.config={CONFIG}", "data.msi={bands=2}", "train.start=bicubic"]
FUSE += ["data.per_epoch=16", "train.batch=4"]
SUBSPACE = ["data.domain=subspace", "data.components=3"]
VARY = ["data.vary={instances=4, describe=false, change=false}"]
DRAFT = ["data.msi.draft=true"]


def data(**facts) -> DataConfig:
    msi = facts.pop("msi", MsiConfig(bands=2, shift=0.0, snr_db=(80.0, 80.0)))
    return DataConfig(train=["a"], scale=2, components=3, patch=16, degradation="mtf:0.3", msi=msi, **facts)


def scene(make_scene, seed=0, *, waves=None, bands=12) -> Scene:
    hr = make_scene(seed, bands).astype(np.float32)
    return Scene(f"s{seed}", hr, np.ones(hr.shape[1:], bool), np.arange(bands), waves)


class TestResponse:
    def test_stated_by_name_at_the_scenes_own_wavelengths(self, make_scene):
        msi = MsiConfig(bands=2, srfs=["gaussian:500/20,800/20"])
        found = response_of(scene(make_scene, waves=np.linspace(400, 950, 12)), msi, None)
        assert found.argmax(axis=1).tolist() == [2, 8]
        np.testing.assert_allclose(found.sum(axis=1), 1)

    def test_assumed_evenly_over_the_files_bands_where_the_scene_does_not_say(self, make_scene):
        """Bands 0 and 1 of the file were dropped: the first that is kept lies a fifth of the way."""
        one = dataclasses.replace(scene(make_scene, bands=9), kept=np.arange(2, 11))
        msi = MsiConfig(bands=1, srfs=["gaussian:600/30"], assumed_wavelength_nm=(400, 1400))
        assert response_of(one, msi, None).argmax() == 0
        with pytest.raises(UsageError, match="s0 does not say its wavelengths"):
            response_of(one, MsiConfig(bands=1, srfs=["gaussian:600/30"]), None)
        with pytest.raises(UsageError, match="s0: the cube's good bands"):
            response_of(one, MsiConfig(bands=1, srfs=["gaussian:3000/30"], assumed_wavelength_nm=(400, 1400)), None)

    def test_drawn_ones_lie_in_order_and_differ(self, make_scene):
        draw, found = np.random.default_rng(0), []
        for _ in range(20):
            made = response_of(scene(make_scene, bands=60), MsiConfig(bands=4), draw)
            np.testing.assert_allclose(made.sum(axis=1), 1)
            centres = made @ np.arange(60)
            assert (np.diff(centres) > 0).all()
            found.append(centres)
        assert (np.std(found, axis=0) > 2).all()


class TestPairs:
    def test_the_msi_is_the_response_of_hr_and_lr_its_blur(self, make_scene):
        one = scene(make_scene)
        seen = held_pair(one, data())
        response = response_of(one, data().msi, None)
        wanted = np.einsum("bc,chw->bhw", response, one.hr)
        np.testing.assert_allclose(seen.msi, wanted, rtol=2e-3)
        again = seen.calibration.psf.operator((48, 40), 2).apply(one.hr.astype(float))
        np.testing.assert_allclose(seen.lr, again, rtol=2e-3)

    @pytest.mark.parametrize("draft", [False, True])
    def test_each_depends_on_the_seed_and_its_number_alone(self, make_scene, draft):
        scenes = [scene(make_scene, seed) for seed in range(3)]
        pools = []
        for count, seed in ((3, 5), (5, 5), (3, 6)):
            vary = VaryConfig(instances=count, describe=False, change=False)
            wanted = data(domain="subspace", vary=vary, msi=MsiConfig(bands=2, draft=draft))
            pools.append(list(pairs(scenes, [], wanted, seed=seed)))
        for one, same, other in zip(*pools, strict=False):
            assert one.pair.msi.shape == (3 if draft else 2, 48, 40)
            for name in ("lr", "hr", "msi"):
                assert getattr(one.pair, name).equal(getattr(same.pair, name))
                assert not getattr(one.pair, name).equal(getattr(other.pair, name))

    def test_noise_is_as_loud_as_the_recipe_says(self, make_scene):
        one, levels = scene(make_scene), []
        for snr_db in (80.0, 20.0):
            levels.append(held_pair(one, data(msi=MsiConfig(bands=2, snr_db=(snr_db, snr_db)))))
        for name in ("lr", "msi"):
            clean, noisy = (getattr(level, name).astype(float) for level in levels)
            snr_db = 10 * np.log10((clean**2).mean() / ((noisy - clean) ** 2).mean())
            assert snr_db == pytest.approx(20, abs=0.5)

    def test_a_shift_moves_the_cube_against_the_msi(self):
        """On a slope of one unit for each HR row, an LR pixel that looks a quarter further down sees a quarter more."""
        slope = np.broadcast_to(100 + np.arange(48.0)[:, None], (4, 48, 40)).astype(np.float32)
        seen = [
            observe(
                slope,
                slope[:2],
                np.ones((48, 40), bool),
                scale=2,
                psf=parse_psf("gaussian:sigma=0.9"),
                shift_yx=(down, 0.0),
                snr_db=(np.inf, np.inf),
                draw=np.random.default_rng(0),
            )
            for down in (0.0, 0.25)
        ]
        inner = np.s_[:, 4:-4]
        np.testing.assert_allclose(seen[1].lr[inner] - seen[0].lr[inner], 0.25, atol=1e-3)
        np.testing.assert_array_equal(seen[1].msi, slope[:2])

    def test_shifts_are_drawn_within_their_range(self, make_scene, monkeypatch):
        drawn = []
        monkeypatch.setattr(module, "observe", lambda *_, shift_yx, **__: drawn.extend(shift_yx) or 1 / 0)
        for seed in range(20):
            with pytest.raises(ZeroDivisionError):
                list(pairs([scene(make_scene)], [], data(msi=MsiConfig(bands=2, shift=0.3)), seed=seed))
        assert 0.2 < max(map(abs, drawn)) <= 0.3
        assert min(drawn) < 0 < max(drawn)

    def test_patches_of_all_three_lie_at_one_place_with_one_turn(self, make_scene):
        (made,) = pairs([scene(make_scene)], [], data(), seed=0)
        rows, cols = np.mgrid[:24, :20]
        place = torch.from_numpy((100 * rows + cols).astype(np.float32))[None]
        fine = place.repeat_interleave(2, 1).repeat_interleave(2, 2)
        marked = dataclasses.replace(made.pair, lr=place, hr=fine, msi=3 * fine)
        patches = Patches([marked], scale=2, patch=8, per_epoch=32, seed=1)
        batch = patches.batch(patches.plan(0))
        assert batch.msi.equal(3 * batch.hr)
        assert batch.hr[:, :, ::2, ::2].equal(batch.lr)


@pytest.fixture
def recipe_of(recipe_text, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text)
    return lambda *settings: load_config(path, [*FUSE, *settings])


@pytest.mark.parametrize("settings", [[], SUBSPACE, [*SUBSPACE, *VARY, *DRAFT]], ids=["bands", "subspace", "draft"])
def test_from_recipe_to_fused_file(recipe_of, tmp_path, make_scene, settings):
    result = train(recipe_of(*settings, "train.epochs=1"), tmp_path / "run", quiet=True)
    card = read_card(result.best)
    drafted = settings[-1:] == DRAFT
    assert (card.model, card.msi_bands, card.msi_drafted) == ("csakd_student", 3 if drafted else 2, drafted)
    assert card.about["msi"]["bands"] == 2
    rows = list(result.table)
    assert rows == ["bicubic", "bicubic + consistency", "csakd_student", "csakd_student + consistency"]
    scores = {row: groups["validation"]["mean"]["mpsnr_db"] for row, groups in result.table.items()}
    assert scores["csakd_student"] == pytest.approx(scores["bicubic"], abs=1.5)  # a few steps from where it starts
    row = rows_of([read_run(tmp_path / "run")])[2]
    assert row.parameters == sum(weight.numel() for weight in load_model(result.best).parameters())
    assert row.macs is not None
    assert row.macs > 2 * 64 * 64 * row.parameters  # the streams of the MSI run on HR pixels

    hr = make_scene(7, size=(96, 80)).astype(np.float32)
    bands = hypersharp.Bands(6, np.linspace(450, 900, 6))
    lr = hypersharp.Cube.from_array(hr.reshape(6, 48, 2, 40, 2).mean(axis=(2, 4)), bands=bands)
    msi = hypersharp.Cube.from_array(hr.reshape(2, 3, 96, 80).mean(axis=1))
    hypersharp.write(lr, tmp_path / "lr.h5")
    hypersharp.write(msi, tmp_path / "msi.h5")
    names = [str(tmp_path / name) for name in ("lr.h5", "msi.h5", "out.h5")]
    assert run(["fuse", *names, "--assume-aligned", "--model", str(result.best)]) == 0
    made = hypersharp.open(names[2])
    assert made.shape == hr.shape
    assert "csakd_student (weights " in made.history[-1]
    assert "consistency noise" in made.history[-1]
    values, valid = made.read()
    assert valid.all()
    enlarged = bicubic_enlarge((48, 40), 2).apply(lr.read()[0])
    assert np.abs(values - hr).mean() < 1.2 * np.abs(enlarged - hr).mean()


def test_a_killed_run_resumes_to_the_same_numbers(recipe_of, tmp_path, monkeypatch):
    settings = recipe_of(*SUBSPACE, *VARY, "train.save_every=1")
    whole = train(settings, tmp_path / "whole", quiet=True)
    from hypersharp.train import loop

    step, done = loop._step, []

    def dies(*arguments):
        if len(done) == 6:
            raise KeyboardInterrupt
        done.append(1)
        return step(*arguments)

    monkeypatch.setattr(loop, "_step", dies)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "killed", quiet=True)
    monkeypatch.setattr(loop, "_step", step)
    again = train(settings, tmp_path / "killed", resume=True, quiet=True)
    assert again.table == whole.table
    assert (tmp_path / "killed/last.safetensors").read_bytes() == (tmp_path / "whole/last.safetensors").read_bytes()


def test_a_student_learns_from_a_teacher(recipe_of, tmp_path):
    teacher = train(recipe_of(*SUBSPACE, "train.epochs=1"), tmp_path / "teacher", quiet=True).best
    told = ["objective.kind=distilled", f"objective.teacher='{teacher}'", "objective.distil_loss={smooth_l1=1.0}"]
    train(recipe_of(*SUBSPACE, *told, "train.epochs=1"), tmp_path / "student", quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "student/log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    assert steps[-1]["parts"]["kd_smooth_l1"] > 0
    with pytest.raises(UsageError, match="number of MSI channels 2, the student 3"):
        train(recipe_of(*SUBSPACE, *DRAFT, *told), tmp_path / "other", quiet=True)


def test_a_teacher_learns_beside_its_student(recipe_of, tmp_path, monkeypatch):
    """CSAKD's joint loss: its teacher takes the same steps, and nothing flows from the student's terms into it."""
    told = [*SUBSPACE, "objective.kind=distilled", "objective.features=0.1", "objective.feature_taps=['fuse', 'fuse']"]
    told += ["objective.distil_loss={smooth_l1=1.0}", "train.epochs=2"]
    beside = f"objective.together={{name='csakd_student', config={CONFIG}}}"
    train(recipe_of(*told, beside), tmp_path / "both", quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "both/log.jsonl").read_text().splitlines()]
    parts = [line for line in lines if line["kind"] == "step"][-1]["parts"]
    assert 0 < parts["kd_features"] < 2
    assert any(name.startswith("teacher_") for name in parts)
    card = read_card(tmp_path / "both/teacher.safetensors")
    assert (card.model, card.about["student"]) == ("csakd_student", "csakd_student")
    # Without the student's terms the teacher is the same: its gradients are its own alone.
    train(recipe_of(*told, beside, "objective.alpha=0", "objective.features=0"), tmp_path / "apart", quiet=True)
    one, other = (load_model(tmp_path / run / "teacher.safetensors").state_dict() for run in ("both", "apart"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["objective.features=0.1"], "features need feature_taps"),
        (["objective.teacher=a", "objective.together={name='csakd_student'}"], "either a checkpoint"),
        (["model.name=lkca_lr", "model.config={}"], "lkca_lr sharpens a cube alone, got a table"),
        (["objective.kind=edge"], "an edge branch teaches no network that fuses"),
        (["data.msi.srfs=['sentinel2a:B2']"], r"SRFs of 2 bands, sentinel2a:B2 has 1"),
        (["data.msi.srfs=['sentinel3:B2']"], "expected an SRF"),
        (["data.msi.draft=true"], 'msi.draft needs domain = "subspace"'),
        (["data.crop_then_degrade=true"], "msi needs scenes that are degraded whole"),
        ([*SUBSPACE, "data.vary={instances=2}"], "vary.describe and change = false"),
        (["data.msi.srf=['sentinel2a:B2,B3']"], "did you mean 'srfs'"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_scene_is_read(recipe_of, tmp_path, settings, said):
    with pytest.raises(UsageError, match=said):
        train(recipe_of("data.root=/nowhere", *settings), tmp_path / "run", quiet=True)


def test_a_network_that_fuses_needs_to_know_of_what(recipe_text, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text)
    with pytest.raises(UsageError, match=r"csakd_student fuses a cube with an MSI; say in the table \[data.msi\]"):
        train(load_config(path, FUSE[:2]), tmp_path / "run", quiet=True)


def checkpoint(path, name="csakd_student", config=TINY, **facts):
    torch.manual_seed(0)
    net = models.build(name, bands=4, scale=2, config=config, msi_bands=2).eval()
    plain = json.loads(json.dumps(config_to_dict(config)))
    card = Card(name, 2, 4, None, config=plain, msi_bands=2, domain="subspace", **facts)
    save_checkpoint(path, net.state_dict(), card)
    return net


def test_the_exported_file_takes_both_at_any_size(tmp_path):
    net = checkpoint(tmp_path / "net.safetensors")
    found = export(tmp_path / "net.safetensors", tmp_path / "net.onnx")
    assert list(found["largest_difference_over_spread"]) == [f"{rows}x{cols}" for rows, cols in SIZES]
    draw = np.random.default_rng(1)
    lr, msi = draw.random((3, 4, 11, 6), dtype=np.float32), draw.random((3, 2, 22, 12), dtype=np.float32)
    with torch.no_grad():
        wanted = net(torch.from_numpy(lr), torch.from_numpy(msi)).numpy()
    for session in (OnnxSession(tmp_path / "net.onnx"), TorchSession(tmp_path / "net.safetensors")):
        assert session.card.msi_bands == 2
        assert np.abs(session(lr, msi) - wanted).max() < 1e-4 * wanted.std()


def test_eight_turns_turn_both(tmp_path):
    """A mean over all turns commutes with a turn of what is given."""
    net = checkpoint(tmp_path / "net.safetensors")
    session = Ensemble(ModuleSession(net, read_card(tmp_path / "net.safetensors")))
    draw = np.random.default_rng(2)
    lr, msi = draw.random((1, 4, 6, 8), dtype=np.float32), draw.random((1, 2, 12, 16), dtype=np.float32)
    turned = session(*(np.rot90(part, 1, (2, 3)) for part in (lr, msi)))
    np.testing.assert_allclose(turned, np.rot90(session(lr, msi), 1, (2, 3)), atol=1e-5)


def test_a_network_that_starts_from_bicubic_ignores_the_msi():
    torch.manual_seed(1)
    net = models.build("csakd_student", bands=4, scale=2, config=TINY, msi_bands=2).eval()
    start_from_bicubic(net, channels=4, scale=2, msi_bands=2)
    lr, msi = torch.rand(1, 4, 9, 7), torch.rand(1, 2, 18, 14)
    with torch.no_grad():
        found = net(lr, msi)[0].numpy()
    np.testing.assert_allclose(found, bicubic_enlarge((9, 7), 2).apply(lr[0].numpy()), atol=1e-5)


def test_a_network_that_starts_from_a_draft_adds_nothing_to_it():
    torch.manual_seed(1)
    config = dataclasses.replace(TINY, skip="draft")
    net = models.build("csakd_student", bands=4, scale=2, config=config, msi_bands=4).eval()
    start_from_bicubic(net, channels=4, scale=2, msi_bands=4)
    lr, draft = torch.rand(1, 4, 9, 7), torch.rand(1, 4, 18, 14)
    with torch.no_grad():
        assert torch.equal(net(lr, draft), draft)


def test_a_file_that_does_not_fit_is_said_in_one_line(tmp_path, capsys):
    checkpoint(tmp_path / "net.safetensors")
    draw = np.random.default_rng(0)
    np.save(tmp_path / "lr.npy", draw.random((6, 24, 20), dtype=np.float32))
    np.save(tmp_path / "msi.npy", draw.random((3, 48, 40), dtype=np.float32))
    np.save(tmp_path / "wide.npy", draw.random((2, 96, 80), dtype=np.float32))
    lr, out, net = (str(tmp_path / name) for name in ("lr.npy", "out.npy", "net.safetensors"))
    axes = ["--axes", "chw", "--model", net]
    both = ["--assume-aligned", "--msi-axes", "chw"]
    for arguments, said in (
        (["fuse", lr, str(tmp_path / "msi.npy"), out, *axes, *both], "takes an MSI of 2 bands, got one of 3"),
        (["fuse", lr, str(tmp_path / "wide.npy"), out, *axes, *both], "was made for scale 2, got a pair of scale 4"),
        (["sharpen", lr, out, "--scale", "2", *axes], "fuses a cube with an MSI; give it both"),
    ):
        assert run(arguments) == 2
        shown = capsys.readouterr().err
        assert said in shown
        assert shown.count("\n") == 1
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize("path", sorted(ROOT.glob("recipes/fusion/*.toml")), ids=lambda path: path.stem)
def test_recipes_of_networks_that_fuse_say_what_with(path):
    config = load_config(path)
    assert models.get_spec(config.model.name).task == "fuse"
    assert config.data.msi_channels == config.data.components == 6
    assert config.data.msi.assumed_wavelength_nm == (380.0, 2500.0)


def test_a_card_of_no_msi_bands_is_damaged():
    with pytest.raises(FileFormatError, match="its card is damaged"):
        Card.from_json('{"model": "csakd_student", "scale": 2, "bands": 4, "msi_bands": 0}', "file")
