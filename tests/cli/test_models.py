"""`hypersharp models`, and the counts that are stored for machines without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hypersharp import models
from hypersharp.cli import run
from hypersharp.models import _catalogue as catalogue
from hypersharp.models._count import count_macs, count_parameters

STORED = {entry.name: entry for entry in catalogue.stored()}


@pytest.mark.parametrize("name", models.list_models())
def test_what_is_stored_is_what_torch_says(name):
    """Where this fails a network was added or changed: `hypersharp models --store` writes the file anew."""
    made = catalogue.counted(name, bands=catalogue.BANDS, scale=catalogue.SCALE, lr_size=catalogue.LR_SIZE)
    assert STORED.get(name) == made


def test_nothing_is_stored_of_networks_that_are_gone():
    assert list(STORED) == models.list_models()


def test_counting_without_computing_counts_the_same():
    net = models.build("lkca_lr", bands=7, scale=4)
    made = catalogue.counted("lkca_lr", bands=7, scale=4, lr_size=(9, 5))
    assert (made.parameters, made.macs) == (count_parameters(net), count_macs(net, bands=7, lr_size=(9, 5)))


def test_the_list_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from hypersharp.cli import run\n"
        "assert run(['models']) == 0\n"
        "assert run(['models', '--json']) == 0\n"
        "assert run(['models', '--bands', '3']) == 1\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "edlgfs" in shown.stdout
    assert "pip install 'hypersharp[train]'" in shown.stderr


def test_counts_for_other_sizes(capsys):
    """LKCA's Table VI: 1.364 M weights at 48 bands, x4, with the 8,960 that the paper counts and never uses."""
    assert run(["models", "--bands", "48", "--scale", "4", "--lr-size", "16x16", "--msi-bands", "6", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["counted_at"] == {"bands": 48, "scale": 4, "lr_size": [16, 16]}
    (row,) = [row for row in said["models"] if row["name"] == "lkca_lr"]
    assert round((row["parameters"] + 512 * 16 + 48 * 16) / 1e6, 3) == 1.364
    assert {row["msi_bands"] for row in said["models"]} == {None, 6}
    assert run(["models", "--scale", "6", "--lr-size", "8", "--bands", "8"]) == 0
    shown = capsys.readouterr().out
    assert " -  " in shown
    assert "LR 8 x 8" in shown


def test_what_the_published_code_never_uses_is_named(capsys):
    """5,760 weights of CST; 749,040 and 0.059 G of MSDformer at LR 16 x 16, 128 bands, x4."""
    assert run(["models", "--bands", "128", "--scale", "4", "--lr-size", "16", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert (rows["cst"]["unused"], rows["cst"]["unused_macs"]) == (5760, 0)
    assert rows["msdformer"]["unused"] == 749_040
    assert round(rows["msdformer"]["unused_macs"] / 1e9, 3) == 0.059
    assert round((rows["msdformer"]["parameters"] + 749_040) / 1e6, 3) == 15.527
    assert round((rows["cst"]["parameters"] + 5760) / 1e6, 3) == 11.119
    assert rows["vdsr"]["unused"] == 0


def test_the_table_for_the_documents(capsys):
    assert run(["models", "--markdown"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].count("|") == shown[1].count("|") == 9
    assert "| lkca_net | sharpen | 2 3 4 8 | 3.697 M | 13.84 G | 10,240 weights | window |" in "\n".join(shown)
    document = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    assert document.endswith("\n".join(shown) + "\n"), "make docs brings docs/models.md up to date"


@pytest.mark.parametrize(
    "arguments", [["--lr-size", "64x"], ["--scale", "9"], ["--lr-size", "0x3"], ["--lr-size", "1x2x3"]]
)
def test_wrong_options(arguments, capsys):
    assert run(["models", *arguments]) == 2
    assert capsys.readouterr().err.startswith("hypersharp: error: ")
