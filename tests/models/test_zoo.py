"""The common suite: every network of the zoo, one row each in `table.py`."""

from __future__ import annotations

import importlib.util
import pkgutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import hypersharp.models
from hypersharp import models
from hypersharp.errors import UsageError
from hypersharp.models._count import count_macs, count_parameters

_PATH = Path(__file__).with_name("table.py")
_SPEC = importlib.util.spec_from_file_location("zoo_table", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
table = importlib.util.module_from_spec(_SPEC)
sys.modules["zoo_table"] = table
_SPEC.loader.exec_module(table)

NAMES = models.list_models()
FIGURES = [(name, figure) for name, row in table.TABLE.items() for figure in row.published]
SCALES = [(name, scale) for name in NAMES for scale in models.get_spec(name).scales]


def small(name, bands=6, scale=2, seed=0):
    torch.manual_seed(seed)
    net = models.build(name, bands=bands, scale=scale, config=table.TABLE[name].small).eval()
    with torch.no_grad():  # fresh weights of some networks give next to nothing beside the skip
        for weight in net.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    return net


def at_paper_size(name, figure):
    """On the meta device: shapes without numbers."""
    with torch.device("meta"):
        return models.build(name, bands=figure.bands, scale=figure.scale, config=figure.config)


def but_for(test):
    """The networks that `test` has no allowance for in the table."""
    return [name for name in NAMES if test not in table.TABLE[name].allowed]


def spread(x):
    return float(x.std())


def test_every_network_has_a_row_and_every_file_a_name():
    assert set(table.TABLE) == set(NAMES)
    files = {info.name for info in pkgutil.iter_modules(hypersharp.models.__path__) if not info.name.startswith("_")}
    assert files == {file for file, _ in hypersharp.models._MODELS.values()}


@pytest.mark.parametrize(("name", "figure"), FIGURES, ids=lambda v: getattr(v, "source", v))
def test_published_parameters_are_ours_and_the_named_unused_ones(name, figure):
    row, spec = table.TABLE[name], models.get_spec(name)
    total = count_parameters(at_paper_size(name, figure)) + spec.unused(figure.bands, figure.scale, figure.config)
    assert round(total / 1e6, row.digits) == figure.parameters_m


@pytest.mark.parametrize(
    ("name", "figure"), [f for f in FIGURES if f[1].macs_g is not None], ids=lambda v: getattr(v, "source", v)
)
def test_published_macs(name, figure):
    row, spec = table.TABLE[name], models.get_spec(name)
    size = (row.lr_size, row.lr_size)
    macs = count_macs(at_paper_size(name, figure), bands=figure.bands, lr_size=size, rules=row.rules)
    macs += spec.unused_macs(figure.bands, figure.scale, figure.config) * row.lr_size**2
    assert round(macs / 1e9, len(str(figure.macs_g).split(".")[1])) == figure.macs_g


@pytest.mark.parametrize(("name", "scale"), SCALES)
@pytest.mark.parametrize("size", [(8, 6), (7, 5), (1, 1), (1, 4)])
def test_shape_for_each_scale_odd_and_minimal_sizes(name, scale, size):
    out = small(name, scale=scale)(torch.rand(2, 6, *size))
    assert out.shape == (2, 6, size[0] * scale, size[1] * scale)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bands", [1, 5, 31])
def test_the_number_of_bands_is_free(name, bands):
    net = models.build(name, bands=bands, scale=4, config=table.TABLE[name].small)
    assert net(torch.rand(1, bands, 6, 6)).shape == (1, bands, 24, 24)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_two_is_two_of_one(name):
    net, lr = small(name), torch.rand(2, 6, 8, 8)
    with torch.no_grad():
        together, apart = net(lr), torch.cat([net(lr[:1]), net(lr[1:])])
    assert (together - apart).abs().max() <= table.TABLE[name].tolerance * spread(apart)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_gets_gradient(name):
    net = small(name).train()
    net(torch.randn(8, 6, 8, 8)).square().mean().backward()
    without = [key for key, weight in net.named_parameters() if weight.grad is None or not weight.grad.abs().max() > 0]
    assert without == []


@pytest.mark.parametrize("name", but_for("test_the_halo_is_true"))
def test_the_halo_is_true(name):
    halo = models.get_spec(name).halo(table.TABLE[name].small)
    side = 33
    lr = torch.rand(1, 6, side, side, requires_grad=True)
    small(name)(lr)[0, :, side, side].sum().backward()
    touched = lr.grad[0].abs().amax(0) > 0
    reach = max(abs(torch.nonzero(touched) - side // 2).max().item(), 0)
    if halo is None:
        assert reach == side // 2, "a network that claims no bound should use the whole window"
    else:
        assert reach <= halo


@pytest.mark.parametrize("name", [n for n in NAMES if models.get_spec(n).halo(table.TABLE[n].small) is not None])
def test_a_tile_with_its_halo_is_the_whole(name):
    halo, net, cut, scale = models.get_spec(name).halo(table.TABLE[name].small), small(name), 3, 2
    lr = torch.rand(1, 6, cut + halo + 4, cut + halo + 3)
    with torch.no_grad():
        whole, tile = net(lr), net(lr[:, :, cut:, cut:])
    first = (cut + halo) * scale
    core, kept = tile[:, :, halo * scale :, halo * scale :], whole[:, :, first:, first:]
    assert core.shape == (1, 6, 8, 6)
    assert (core - kept).abs().max() <= table.TABLE[name].tolerance * spread(whole)


@pytest.mark.parametrize("name", NAMES)
def test_taps_are_features_of_the_whole_batch_given_once(name):
    net, seen = small(name), []
    parts = dict(net.named_modules())
    wanted = [part for taps in models.get_spec(name).taps(table.TABLE[name].small).values() for part in taps]
    for part in set(wanted):
        parts[part].register_forward_hook(lambda module, args, out, part=part: seen.append((part, out.shape[0])))
    net(torch.rand(2, 6, 5, 5))
    assert sorted(seen) == sorted((part, 2) for part in set(wanted))


@pytest.mark.parametrize("name", NAMES)
def test_onnx_is_torch_at_any_size(name, tmp_path):
    import onnxruntime

    net, path = small(name), tmp_path / "net.onnx"
    axes = {"lr": {0: "n", 2: "h", 3: "w"}, "sr": {0: "n", 2: "sh", 3: "sw"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is on its way out, and says so
        torch.onnx.export(
            net,
            (torch.rand(2, 6, 9, 7),),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["lr"],
            output_names=["sr"],
            dynamic_axes=axes,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in ((1, 16, 16), (2, 9, 13), (1, 24, 7)):
        lr = torch.rand(size[0], 6, *size[1:])
        with torch.no_grad():
            wanted = net(lr)
        found = torch.from_numpy(session.run(None, {"lr": lr.numpy()})[0])
        assert (found - wanted).abs().max() <= 1e-4 * spread(wanted)


@pytest.mark.parametrize("name", NAMES)
def test_weights_round_trip_and_the_seed_repeats(name, tmp_path):
    from safetensors.torch import load_file, save_file

    net, lr = small(name), torch.rand(1, 6, 8, 8)
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    other = models.build(name, bands=6, scale=2, config=table.TABLE[name].small).eval()
    assert not torch.equal(other(lr), net(lr))
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(other(lr), net(lr))
    assert torch.equal(small(name, seed=3)(lr), small(name, seed=3)(lr))


@pytest.mark.parametrize("name", but_for("test_the_bicubic_skip_carries_the_scene"))
def test_the_bicubic_skip_carries_the_scene(name):
    """With every weight at zero a network with a plain skip is bicubic, one with a mixed skip is zero."""
    from hypersharp.operators import bicubic_enlarge

    net = models.build(name, bands=6, scale=2, config=table.TABLE[name].small).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
    lr = torch.rand(1, 6, 7, 5)
    out = net(lr).detach().numpy()
    wide = bicubic_enlarge((7, 5), 2).apply(lr.double().numpy())
    assert np.abs(out - wide).max() < 1e-5 or np.abs(out).max() == 0


def test_an_allowance_names_a_test_that_is_here():
    for row in table.TABLE.values():
        assert set(row.allowed) <= set(globals())


def test_errors_name_what_is_near():
    with pytest.raises(UsageError, match="did you mean 'lkca_net'"):
        models.build("lkcanet", bands=3, scale=4)
    with pytest.raises(UsageError, match="scales 2, 3, 4, 8, got 5"):
        models.build("edlgfs", bands=3, scale=5)
    with pytest.raises(UsageError, match="takes a Config"):
        models.build("edlgfs", bands=3, scale=4, config=table.TABLE["lkca_net"].small)
