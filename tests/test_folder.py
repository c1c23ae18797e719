"""A folder is a registry."""

from __future__ import annotations

import sys

import pytest

from hypersharp import _folder
from hypersharp._folder import load_folder, module_names


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "zoo_of_tests"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name, text in (("yak", "ANIMAL = 'y'"), ("ant", "ANIMAL = 'a'"), ("_hidden", "raise RuntimeError")):
        (folder / f"{name}.py").write_text(text)
    (folder / "notes.txt").write_text("not a module")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == folder.name]:
        del sys.modules[name]


def test_every_public_module_is_an_entry_in_alphabetical_order(package):
    assert module_names("zoo_of_tests") == ["ant", "yak"]
    assert list(load_folder("zoo_of_tests", "ANIMAL").items()) == [("ant", "a"), ("yak", "y")]


def test_adding_a_file_adds_an_entry(package):
    (package / "bee.py").write_text("ANIMAL = 'b'")
    assert load_folder("zoo_of_tests", "ANIMAL")["bee"] == "b"


def test_a_module_without_the_object_is_our_mistake(package):
    (package / "cow.py").write_text("")
    with pytest.raises(AttributeError, match="ANIMAL"):
        load_folder("zoo_of_tests", "ANIMAL")


def test_plug_ins_join_last_and_never_replace(package, monkeypatch):
    class Entry:
        def __init__(self, name):
            self.name = name

        def load(self):
            return f"plug-in {self.name}"

    asked = []
    monkeypatch.setattr(_folder, "entry_points", lambda group: asked.append(group) or [Entry("yak"), Entry("aardvark")])
    found = load_folder("zoo_of_tests", "ANIMAL", group="hypersharp.animals")
    assert asked == ["hypersharp.animals"]
    assert list(found.items()) == [("ant", "a"), ("yak", "y"), ("aardvark", "plug-in aardvark")]
