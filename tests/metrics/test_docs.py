"""The traps in docs/metrics.md: each block is run and must print what stands below it."""

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BLOCKS = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")


def numbers(text):
    return [float(found) for found in NUMBER.findall(text)]


def run(page):
    """Code and printed text of each block, in order, in one session."""
    session = {}
    for code, said in BLOCKS.findall(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(PAGE), "exec"), session)
        yield code, said, printed.getvalue()


def test_what_the_page_prints_is_so(data_dir):
    assert data_dir
    pytest.importorskip("sewar")
    pytest.importorskip("torchmetrics")
    blocks = list(run(PAGE.read_text(encoding="utf-8")))
    assert len(blocks) > 8
    for _, said, printed in blocks:
        assert NUMBER.sub("#", printed) == NUMBER.sub("#", said)
        assert numbers(printed) == pytest.approx(numbers(said), rel=2e-3)  # other libraries' versions may round else
