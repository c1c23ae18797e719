"""One list of public names: `hypersharp.__all__`. Everything that repeats it agrees with it."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hypersharp
from hypersharp import errors

NAMES = sorted(hypersharp.__all__)


def typed_names() -> set[str]:
    """What type checkers and editors see: the imports under TYPE_CHECKING."""
    tree = ast.parse(Path(hypersharp.__file__).read_text(encoding="utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for node in ast.walk(guarded[0]) if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports for alias in node.names}


def test_the_list_is_the_same_for_people_type_checkers_and_the_import_system():
    assert list(hypersharp.__all__) == NAMES
    assert typed_names() | {"__version__"} == set(NAMES)
    assert dir(hypersharp) == NAMES
    # a fresh interpreter, where nothing of it has been asked for yet
    code = "from hypersharp import *; import hypersharp; print(sorted(n for n in dir() if n in hypersharp.__all__))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(shown.stdout) == sorted(set(NAMES))


def test_about_twenty_names():
    assert 10 <= len(NAMES) <= 30


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_every_name_exists_and_says_what_it_is(name):
    thing = getattr(hypersharp, name)
    assert thing.__module__.split(".")[0] == "hypersharp"
    assert inspect.getdoc(thing)


@pytest.mark.parametrize("name", [name for name in NAMES if inspect.isfunction(getattr(hypersharp, name))])
def test_signatures_are_explicit(name):
    parameters = inspect.signature(getattr(hypersharp, name)).parameters.values()
    kinds = [parameter.kind for parameter in parameters]
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    assert inspect.Parameter.VAR_POSITIONAL not in kinds
    assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) <= 2
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters)


def test_every_error_is_public_and_has_one_root():
    assert set(errors.__all__) <= set(NAMES)
    assert all(issubclass(getattr(errors, name), hypersharp.HypersharpError) for name in errors.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'sharpn'"):
        _ = hypersharp.sharpn
