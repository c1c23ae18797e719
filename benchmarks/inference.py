"""How fast and how large inference is, against a straightforward eager version of the same network.

For every network that sharpens: seconds, share of the machine's own rate of dense convolution, peak memory. The
straightforward version has the same weights in torch's own layout, attention with its matrix, torch's own depthwise
convolution, and goes through in one piece. Both give a contiguous array, as a session does. Ratios are medians over
rounds in which all parts take turns; memory is that of a process of its own (Linux only).

`python benchmarks/inference.py [--only NAME,NAME] [--repeats 5] [--lr-size 64] [--threads 2] [--profile NAME]`
`python benchmarks/inference.py --attention` for EDLGFS's attention: time, and memory at 128 and at 256 LR pixels.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional

from _measure import median_ratio
from hypersharp import models
from hypersharp.infer.torch_session import channels_last
from hypersharp.models import edlgfs
from hypersharp.models._count import count_macs

BANDS, SCALE, FEATURES = 128, 4, 128
FORMS = ("ours", "plain")
SHORT = edlgfs.Config(stages=2, layers=1)  # layers follow one another, so more of them hold no more memory


def matrix_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *, scale: float | None = None
) -> Tensor:
    """Attention as it is written, with the matrix of all pairs."""
    products = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    return torch.softmax(products if attn_mask is None else products + attn_mask, dim=-1) @ value


@contextmanager
def straightforward() -> Iterator[None]:
    """Networks run as they are written: no order of sums that suits a processor, attention with its matrix."""
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("hypersharp.models.") and hasattr(module, "eager_on_cpu"):
                stack.enter_context(mock.patch.object(module, "eager_on_cpu", return_value=False))
        stack.enter_context(mock.patch.object(functional, "scaled_dot_product_attention", matrix_attention))
        yield


def build(name: str, form: str, *, short: bool = False) -> nn.Module:
    """A network of seed 0 in one of the `FORMS`; `short` for few layers of EDLGFS."""
    torch.manual_seed(0)
    config = SHORT if short else models.get_spec(name).config()
    if form == "plain" and hasattr(config, "voxels"):
        config = dataclasses.replace(config, voxels=1 << 62)
    net = models.build(name, bands=BANDS, scale=SCALE, config=config).eval()
    return channels_last(net) if form == "ours" else net  # type: ignore[no-any-return]


def call(net: nn.Module, form: str, side: int) -> Callable[[], Tensor]:
    """One forward pass of a cube of `side` LR pixels to a contiguous array."""
    torch.manual_seed(1)
    lr = torch.rand(1, BANDS, side, side)
    if form == "ours":
        lr = lr.to(memory_format=torch.channels_last)
        return lambda: net(lr).contiguous()  # type: ignore[no-any-return]

    def plain() -> Tensor:
        with straightforward():
            return net(lr).contiguous()  # type: ignore[no-any-return]

    return plain


def convolution(side: int) -> tuple[int, Callable[[], Tensor]]:
    """Multiply-accumulates of a dense 3 x 3 convolution in `channels_last`, and the call."""
    x = torch.rand(1, FEATURES, side, side).to(memory_format=torch.channels_last)
    weight = torch.rand(FEATURES, FEATURES, 3, 3).to(memory_format=torch.channels_last)
    return 9 * FEATURES**2 * side**2, lambda: functional.conv2d(x, weight, padding=1)


def in_turn(parts: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every part in each round, after one that warms up."""
    found: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(repeats + 1):
        for name, part in parts.items():
            started = time.perf_counter()
            part()
            if turn:
                found[name].append(time.perf_counter() - started)
    return found


def row(name: str, side: int, repeats: int) -> str:
    """One network's line of the table."""
    nets = {form: build(name, form) for form in FORMS}
    parts = {form: call(net, form, side) for form, net in nets.items()}
    one, other = (parts[form]() for form in FORMS)
    apart = float((one - other).abs().max() / other.abs().max())
    work, parts["rate"] = convolution(side)
    seconds = in_turn(parts, repeats)
    macs = count_macs(nets["ours"], bands=BANDS, lr_size=(side, side))
    share = macs / work * statistics.median(b / a for a, b in zip(seconds["ours"], seconds["rate"], strict=True))
    held = {form: peak(name, form, side) for form in FORMS}
    return (
        f"| {name} | {macs / 1e9:.1f} | {statistics.median(seconds['ours']):.2f} | {share:.0%} "
        f"| {median_ratio(seconds['plain'], seconds['ours']):.2f} | {held['ours'] / 1e6:.0f} "
        f"| {held['plain'] / held['ours']:.2f} | {apart:.0e} |"
    )


def peak(name: str, form: str, side: int, *, short: bool = False) -> int:
    """Bytes that a forward pass holds at its height beyond what the process held before, in a process of its own."""
    command = [sys.executable, __file__, "--child", f"{name}:{form}", "--lr-size", str(side)]
    command += ["--threads", str(torch.get_num_threads())] + ["--short"] * short
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"exit status {done.returncode}: {' '.join(command)}\n{done.stderr}")
    return int(done.stdout)


def child(name: str, form: str, side: int, *, short: bool) -> None:
    """Print the growth of the resident set's height over one pass, after a small pass that loads the libraries."""

    def status(key: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))

    net = build(name, form, short=short)
    call(net, form, 16)()
    work = call(net, form, side)
    Path("/proc/self/clear_refs").write_text("5")  # the height starts again from here
    before = status("VmRSS:")
    work()
    print(status("VmHWM:") - before)


def table(names: list[str], side: int, repeats: int) -> None:
    """Print a line for each network."""
    work, run = convolution(side)
    rate = work / statistics.median(in_turn({"rate": run}, 9)["rate"])
    print(
        f"LR {side} x {side}, {BANDS} bands, x{SCALE}, {torch.get_num_threads()} threads; medians of {repeats} rounds."
    )
    print(f"Dense 3 x 3 convolution of {FEATURES} features here: {rate / 1e9:.0f} GMAC/s.\n")
    print("| network | GMAC | s | share of the rate | plain / ours, time | MB | plain / ours, MB | difference |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in names:
        print(row(name, side, repeats), flush=True)


def attention(repeats: int) -> None:
    """Print what EDLGFS gains by attention without the matrix, all else equal, and what it holds."""
    config = models.get_spec("edlgfs").config()
    parts = {}
    for fused in (True, False):
        net = models.build("edlgfs", bands=BANDS, scale=SCALE, config=dataclasses.replace(config, fused=fused)).eval()
        parts[f"fused {fused}"] = call(channels_last(net), "ours", 64)
    seconds = in_turn(parts, repeats)
    ratio = median_ratio(seconds["fused False"], seconds["fused True"])
    print("| EDLGFS | figure | wanted |\n|---|---:|---:|")
    print(f"| LR 64 x 64: time with the matrix / without | {ratio:.2f} | at least 1.4 |", flush=True)
    ours, plain = (peak("edlgfs", form, 128, short=True) for form in FORMS)
    print(f"| LR 128 x 128: memory without the matrix / with | {ours / plain:.2f} | at most 0.25 |", flush=True)
    ours = peak("edlgfs", "ours", 256, short=True)
    print(f"| LR 256 x 256: GB beyond the idle process | {ours / 1e9:.2f} | at most 2 |")


def profile(name: str, side: int) -> None:
    """Print where a pass spends its time."""
    run = call(build(name, "ours"), "ours", side)
    run()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as found:
        run()
    rows = found.key_averages(group_by_input_shape=True)
    print(rows.table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40, max_shapes_column_width=60))


def main() -> None:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="names of networks, by commas; all that sharpen by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--lr-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--profile", metavar="NAME")
    parser.add_argument("--attention", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sharpen = [name for name in models.list_models() if models.get_spec(name).task == "sharpen"]
    with torch.no_grad():  # the count of operations does not see into inference mode
        if given.child:
            child(*given.child.split(":"), given.lr_size, short=given.short)
        elif given.profile:
            profile(given.profile, given.lr_size)
        elif given.attention:
            attention(given.repeats)
        else:
            table(given.only.split(",") if given.only else sharpen, given.lr_size, given.repeats)


if __name__ == "__main__":
    main()
