"""Documents are run: every command and every line of Python in them, in the order in which they stand.

A fenced block says by its language how it is run: ``console`` commands, ``python`` statements, ``pycon`` a session
whose answers are compared, ``text`` nothing. Each document has a folder of its own with
a small scene, `scene.img`, in it.
"""

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import hypersharp
from hypersharp import cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/quickstart.md", "docs/cube.md", "docs/beware.md", "docs/fusion.md")
LANGUAGES = {"console", "python", "pycon", "text"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: language, text, and the line that it starts on."""

    language: str
    text: str
    line: int


def blocks(name):
    content = (ROOT / name).read_text(encoding="utf-8")
    assert content.count("\n```") % 2 == 0, f"{name}: a fence is left open"
    return [Block(m[1], m[2], content[: m.start()].count("\n") + 2) for m in FENCE.finditer(content)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the scene that the documents speak of."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:48, :64] / 8.0
    fields = np.stack([np.sin(rows + k) * np.cos(cols - k) for k in range(3)])
    spectra = 800 + 600 * rng.random((12, 3))
    values = np.tensordot(spectra, 1.5 + fields, axes=1) + rng.normal(0, 3, (12, 48, 64))
    cube = hypersharp.Cube.from_array(
        np.rint(values).astype(np.int16),
        bands=hypersharp.Bands(12, wavelength_nm=np.linspace(450, 890, 12)),
        grid=hypersharp.Grid((48, 64), (30.0, 0.0, 500_000.0, 0.0, -30.0, 4_000_000.0)),
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    hypersharp.write(cube, "scene.img")
    return tmp_path


def run_console(text):
    for line in text.splitlines():
        if not line.startswith("$ "):
            continue
        program, *arguments = shlex.split(line[2:], comments=True)
        if program == "hypersharp":
            assert cli.run(arguments) == 0, line
        elif program == "make":
            assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        elif program == "pip":
            extras = re.findall(r"\[(.*)\]", line)
            known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert all(extra in known for group in extras for extra in group.split(",")), line
        elif program == "python":
            assert (ROOT / arguments[0]).is_file(), line
        else:
            raise AssertionError(f"a document must not ask for {program!r}")


def run_session(block, name, names):
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    test = parser.get_doctest(block.text, names, name, name, block.line - 1)
    assert test.examples, f"{name}:{block.line}: a session without a prompt"
    said = []
    runner.run(test, out=said.append, clear_globs=False)
    assert not said, "".join(said)
    names |= test.globs


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_shows_works(name, folder, capsys):
    names = {"__name__": "__main__"}
    found = blocks(name)
    assert {block.language for block in found} <= LANGUAGES, "each block says how it is run"
    assert any(block.language != "text" for block in found)
    for block in found:
        if block.language == "console":
            run_console(block.text)
        elif block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, name, "exec"), names)
        elif block.language == "pycon":
            run_session(block, name, names)


def test_contributing_names_commands_that_exist():
    consoles = [block for block in blocks("CONTRIBUTING.md") if block.language == "console"]
    assert consoles
    for block in consoles:
        run_console(block.text)


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))])
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_tree_in_the_readme_is_the_tree():
    """A line for every room, and no room that is not there."""
    (tree,) = [block.text for block in blocks("README.md") if "src/hypersharp/" in block.text]
    inside = tree.split("src/hypersharp/")[1]
    named = {word.rstrip("/") for line in inside.splitlines() for word in line.split("  ")[0].strip(" ├└─│").split()}
    source = ROOT / "src" / "hypersharp"
    rooms = {path.name for path in source.iterdir() if path.is_dir() and not path.name.startswith("__")}
    files = {path.name for path in source.glob("*.py")}
    assert rooms <= named, f"rooms without a line: {rooms - named}"
    assert {name for name in named if name} <= rooms | files, "a line about something that is not there"


class TestReaderRecipe:
    """CONTRIBUTING.md, 'Add a reader', done in a copy of the repository."""

    @pytest.fixture(scope="class")
    @staticmethod
    def recipe():
        found = [block for block in blocks("CONTRIBUTING.md") if block.language == "python"]
        reader, maker, row = (block.text for block in found[:3])
        return reader, maker, row

    @pytest.fixture
    def copy(self, tmp_path):
        def ignored(_folder, names):
            return [name for name in names if name == "__pycache__"]

        for part in ("src/hypersharp", "tests/io"):
            shutil.copytree(ROOT / part, tmp_path / part, ignore=ignored)
        for part in ("pyproject.toml", "tests/conftest.py"):
            shutil.copy(ROOT / part, tmp_path / part)
        return tmp_path

    def suite(self, copy):
        """The common suite of the readers, as far as it is about the new one."""
        command = [sys.executable, "-m", "pytest", "tests/io/test_readers_common.py", "-p", "no:cacheprovider"]
        chosen = ["-k", "erdas or has_a_row", "--color=no"]
        return subprocess.run(command + chosen, cwd=copy, env=self.environment(copy), capture_output=True, text=True)

    def environment(self, copy):
        return os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}

    def add_row(self, copy, maker, row):
        table = copy / "tests" / "io" / "table.py"
        before, rows = table.read_text().split("ROWS = {\n    row.reader: row\n    for row in (\n")
        table.write_text(f"{before}{maker}\n\nROWS = {{\n    row.reader: row\n    for row in (\n{row}{rows}")

    def test_one_file_and_one_row_make_a_reader(self, copy, recipe):
        reader, maker, row = recipe
        (copy / "src/hypersharp/io/readers/erdas.py").write_text(reader)
        self.add_row(copy, maker, row)
        done = self.suite(copy)
        assert done.returncode == 0, done.stdout
        assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 15, done.stdout
        lint = [sys.executable, "-m", "ruff", "check", "src/hypersharp/io/readers/erdas.py", "tests/io/table.py"]
        done = subprocess.run(lint, cwd=copy, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

    def test_a_file_without_a_row_fails_the_suite(self, copy, recipe):
        (copy / "src/hypersharp/io/readers/erdas.py").write_text(recipe[0])
        done = self.suite(copy)
        assert done.returncode == 1
        assert "a reader needs one row" in done.stdout

    def test_the_command_line_knows_it(self, copy, recipe, tmp_path):
        (copy / "src/hypersharp/io/readers/erdas.py").write_text(recipe[0])
        header = np.array([2, 3, 0, 0, 0], "<i2").tobytes() + np.array([5, 4], "<i4").tobytes()
        numbers = np.arange(60, dtype="<i2").tobytes()
        scene = tmp_path / "scene.lan"
        scene.write_bytes((b"HEAD74" + header).ljust(128, b"\0") + numbers)
        command = [sys.executable, "-m", "hypersharp", "info", str(scene)]
        done = subprocess.run(command, env=self.environment(copy), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "scene.lan (ERDAS)" in done.stdout
        assert "4 rows x 5 columns" in done.stdout
