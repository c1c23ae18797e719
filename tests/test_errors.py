"""The tree of errors: what a user catches."""

from __future__ import annotations

import re

import pytest

from hypersharp import errors
from hypersharp._require import require
from hypersharp.errors import HypersharpError, MissingExtraError


def test_every_error_is_ours_public_and_drawn_in_the_docstring():
    found = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert found == set(errors.__all__)
    for name in found:
        assert issubclass(getattr(errors, name), HypersharpError)
        assert name in errors.__doc__


def test_the_tree_is_as_drawn():
    depth = {}
    for line in errors.__doc__.splitlines():
        match = re.match(r"([ │├└─]*)(\w+Error)\b", line)
        if match:
            depth[match[2]] = len(match[1])
    names = list(depth)
    for name in names[1:]:
        above = [other for other in names[: names.index(name)] if depth[other] < depth[name]]
        assert getattr(errors, above[-1]) in getattr(errors, name).__mro__


@pytest.mark.parametrize(
    ("name", "builtin"), [("UsageError", ValueError), ("CubeError", ValueError), ("MissingExtraError", ImportError)]
)
def test_some_are_also_what_python_calls_them(name, builtin):
    assert issubclass(getattr(errors, name), builtin)


def test_a_missing_package_is_answered_with_the_line_that_brings_it():
    with pytest.raises(
        MissingExtraError, match=r"dancing needs the package 'no_such_one\.part'.*pip install 'hypersharp\[dev\]'"
    ):
        require("no_such_one.part", "dev", "dancing")
    assert require("json.decoder", "dev", "nothing").JSONDecoder


def test_a_package_that_is_there_but_broken_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_one.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency") as caught:
        require("broken_one", "dev", "dancing")
    assert not isinstance(caught.value, HypersharpError)
