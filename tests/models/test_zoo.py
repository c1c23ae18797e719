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


def fuses(name):
    return models.get_spec(name).task == "fuse"


def fresh(name, bands=6, scale=2, msi_bands=3):
    config = table.TABLE[name].small
    return models.build(name, bands=bands, scale=scale, config=config, msi_bands=msi_bands if fuses(name) else None)


def small(name, bands=6, scale=2, seed=0):
    torch.manual_seed(seed)
    net = fresh(name, bands, scale).eval()
    with torch.no_grad():  # fresh weights of some networks give next to nothing beside the skip
        for weight in net.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    return net


def at_paper_size(name, figure):
    """On the meta device: shapes without numbers."""
    with torch.device("meta"):
        return models.build(
            name, bands=figure.bands, scale=figure.scale, config=figure.config, msi_bands=figure.msi_bands
        )


def images(name, batch, bands, *size, scale=2, msi_bands=3, make=torch.rand):
    """A cube, and the MSI that a fusing network takes with it."""
    lr = make(batch, bands, *size)
    return (lr, make(batch, msi_bands, *(side * scale for side in size))) if fuses(name) else (lr,)


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
    msi = (figure.msi_bands, figure.scale) if fuses(name) else None
    macs = count_macs(at_paper_size(name, figure), bands=figure.bands, lr_size=size, rules=row.rules, msi=msi)
    macs += spec.unused_macs(figure.bands, figure.scale, figure.config) * row.lr_size**2
    assert round(macs / 1e9, len(str(figure.macs_g).split(".")[1])) == figure.macs_g


@pytest.mark.parametrize(("name", "scale"), SCALES)
@pytest.mark.parametrize("size", [(8, 6), (7, 5), (1, 1), (1, 4)])
def test_shape_for_each_scale_odd_and_minimal_sizes(name, scale, size):
    out = small(name, scale=scale)(*images(name, 2, 6, *size, scale=scale))
    assert out.shape == (2, 6, size[0] * scale, size[1] * scale)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_where_torch_chooses_is_float32_but_for_its_rounding(name):
    net, inputs = small(name), images(name, 2, 6, 8, 6)
    with torch.no_grad():
        wanted = net(*inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = net(*inputs)
    assert (found - wanted).abs().max() < 0.15 * spread(wanted)
    found.float().square().mean().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in net.parameters() if weight.grad is not None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bands", [1, 5, 31])
def test_the_number_of_bands_is_free(name, bands):
    net = fresh(name, bands, 4)
    assert net(*images(name, 1, bands, 6, 6, scale=4)).shape == (1, bands, 24, 24)


@pytest.mark.parametrize("name", [name for name in NAMES if fuses(name)])
@pytest.mark.parametrize("msi_bands", [1, 9])
def test_the_number_of_bands_of_the_msi_is_free(name, msi_bands):
    net = fresh(name, 6, 2, msi_bands)
    assert net(*images(name, 1, 6, 5, 4, msi_bands=msi_bands)).shape == (1, 6, 10, 8)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_two_is_two_of_one(name):
    net, inputs = small(name), images(name, 2, 6, 8, 8)
    with torch.no_grad():
        together = net(*inputs)
        apart = torch.cat([net(*(part[i : i + 1] for part in inputs)) for i in range(2)])
    assert (together - apart).abs().max() <= table.TABLE[name].tolerance * spread(apart)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_gets_gradient(name):
    net = small(name).train()
    net(*images(name, 8, 6, 8, 8, make=torch.randn)).square().mean().backward()
    without = [key for key, weight in net.named_parameters() if weight.grad is None or not weight.grad.abs().max() > 0]
    assert without == []


@pytest.mark.parametrize("name", but_for("test_the_halo_is_true"))
def test_the_halo_is_true(name):
    halo = models.get_spec(name).halo(table.TABLE[name].small)
    side = 33
    inputs = [image.requires_grad_() for image in images(name, 1, 6, side, side)]
    small(name)(*inputs)[0, :, side, side].sum().backward()
    for image in inputs:
        ratio = image.shape[-1] // side
        at = torch.nonzero(image.grad[0].abs().amax(0) > 0) // ratio  # LR pixels
        reach = max(abs(at - side // 2).max().item(), 0)
        if halo is None:
            assert reach == side // 2, "a network that claims no bound should use the whole window"
        else:
            assert reach <= halo


@pytest.mark.parametrize("name", [n for n in NAMES if models.get_spec(n).halo(table.TABLE[n].small) is not None])
def test_a_tile_with_its_halo_is_the_whole(name):
    halo, net, cut, scale = models.get_spec(name).halo(table.TABLE[name].small), small(name), 3, 2
    inputs = images(name, 1, 6, cut + halo + 4, cut + halo + 3)
    starts = (cut, cut * scale)  # of the tile, in the cube and in the MSI
    with torch.no_grad():
        whole, tile = net(*inputs), net(*(part[:, :, at:, at:] for part, at in zip(inputs, starts, strict=False)))
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
    net(*images(name, 2, 6, 5, 5))
    assert sorted(seen) == sorted((part, 2) for part in set(wanted))


@pytest.mark.parametrize("name", NAMES)
def test_onnx_is_torch_at_any_size(name, tmp_path):
    import onnxruntime

    net, path = small(name), tmp_path / "net.onnx"
    names = ["lr", "msi"] if fuses(name) else ["lr"]
    axes = {"lr": {0: "n", 2: "h", 3: "w"}, "msi": {0: "n", 2: "sh", 3: "sw"}, "sr": {0: "n", 2: "sh", 3: "sw"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is on its way out, and says so
        torch.onnx.export(
            net,
            images(name, 2, 6, 9, 7),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=names,
            output_names=["sr"],
            dynamic_axes={key: axes[key] for key in (*names, "sr")},
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in ((1, 16, 16), (2, 9, 13), (1, 24, 7)):
        inputs = images(name, size[0], 6, *size[1:])
        with torch.no_grad():
            wanted = net(*inputs)
        given = {key: image.numpy() for key, image in zip(names, inputs, strict=True)}
        found = torch.from_numpy(session.run(None, given)[0])
        assert (found - wanted).abs().max() <= 1e-4 * spread(wanted)


@pytest.mark.parametrize("name", NAMES)
def test_weights_round_trip_and_the_seed_repeats(name, tmp_path):
    from safetensors.torch import load_file, save_file

    net, inputs = small(name), images(name, 1, 6, 8, 8)
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    other = fresh(name).eval()
    assert not torch.equal(other(*inputs), net(*inputs))
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(other(*inputs), net(*inputs))
    assert torch.equal(small(name, seed=3)(*inputs), small(name, seed=3)(*inputs))


@pytest.mark.parametrize("name", but_for("test_the_bicubic_skip_carries_the_scene"))
def test_the_bicubic_skip_carries_the_scene(name):
    """With every weight at zero a network with a plain skip is bicubic, one with a mixed skip or none is zero."""
    from hypersharp.operators import bicubic_enlarge

    net = fresh(name).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
    inputs = images(name, 1, 6, 7, 5)
    out = net(*inputs).detach().numpy()
    wide = bicubic_enlarge((7, 5), 2).apply(inputs[0].double().numpy())
    assert np.abs(out - wide if table.TABLE[name].plain_skip else out).max() < 1e-5


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
    with pytest.raises(UsageError, match="takes no MSI, got msi_bands 4"):
        models.build("edlgfs", bands=3, scale=4, msi_bands=4)
    for wrong in (None, 0):
        with pytest.raises(UsageError, match=f"hyfusion fuses a cube with an MSI .* got msi_bands {wrong}"):
            models.build("hyfusion", bands=3, scale=4, msi_bands=wrong)
