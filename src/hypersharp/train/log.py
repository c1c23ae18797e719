"""What a run says while it runs: JSON lines and a table as CSV always, a display on a terminal."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from hypersharp._require import require
from hypersharp.errors import WriteError
from hypersharp.train.checkpoint import write_text

LINES, TABLE, BOARD = "log.jsonl", "validation.csv", "tensorboard"


class Board(Protocol):
    """What is used of `torch.utils.tensorboard.SummaryWriter`."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Add a point to a curve."""

    def close(self) -> None:
        """Write what is left, and end."""


def open_board(folder: Path, *, done: int) -> Board:
    """A file for TensorBoard in the folder of a run; points after the steps that are done are forgotten.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    require("tensorboard", "tensorboard", "train.tensorboard")
    writer = require("torch.utils.tensorboard", "train", "train.tensorboard").SummaryWriter
    board: Board = writer(str(folder / BOARD), purge_step=done + 1)
    return board


class RunLog:
    """The log of a run in its folder; a run that is resumed forgets what came after its state."""

    def __init__(self, folder: Path, *, step: int, quiet: bool, total: int) -> None:
        """Begin, or go on after a number of steps.

        Args:
            folder: of the run.
            step: steps that are done.
            quiet: no display even on a terminal.
            total: steps of the whole run.
        """
        self.folder, self.total = folder, total
        self.lines = [line for line in read_lines(folder) if line["step"] <= step] if step else []
        write_text(folder / LINES, "".join(json.dumps(line) + "\n" for line in self.lines))
        self._write_table()
        self.display = _Display(step, total) if not quiet and sys.stderr.isatty() else None
        self.board: Board | None = None

    def __enter__(self) -> Self:
        """Start the display."""
        if self.display is not None:
            self.display.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the display and close TensorBoard's file."""
        if self.display is not None:
            self.display.bar.stop()
        if self.board is not None:
            self.board.close()

    def say(self, line: Mapping[str, Any]) -> None:
        """Add one line; those of kind ``"validation"`` go into the table, too."""
        self.lines.append(dict(line))
        try:
            with (self.folder / LINES).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise WriteError(f"{LINES}: writing failed ({error.strerror or error}); free space") from None
        if line["kind"] == "validation":
            self._write_table()
        if self.display is not None:
            self.display.show(line)
        if self.board is not None:
            for tag, value in _scalars(line):
                self.board.add_scalar(tag, value, line["step"])

    def advance(self, step: int, epoch: int) -> None:
        """Move the display."""
        if self.display is not None:
            self.display.bar.update(self.display.task, completed=step, epoch=f"epoch {epoch + 1}")

    def _write_table(self) -> None:
        rows = [line for line in self.lines if line["kind"] == "validation"]
        text = io.StringIO()
        if rows:
            names = ["epoch", "step", "seconds", *rows[0]["scores"]["mean"]]
            writer = csv.DictWriter(text, ["scene", *names], lineterminator="\n")
            writer.writeheader()
            for row in rows:
                for scene, scores in row["scores"].items():
                    known = {name: row[name] for name in ("epoch", "step", "seconds")}
                    writer.writerow({"scene": scene, **known, **scores})
        write_text(self.folder / TABLE, text.getvalue())


class _Display:
    """A bar with epoch, rate, time left and the parts of the loss; validations as a table above it."""

    def __init__(self, step: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.bar.add_task("", total=total, completed=step, epoch="", loss="")

    def show(self, line: Mapping[str, Any]) -> None:
        if line["kind"] == "step":
            parts = "  ".join(f"{name} {value:.4g}" for name, value in line["parts"].items())
            self.bar.update(self.task, loss=f"{line['patches_per_s']:.0f} patches/s  loss {line['total']:.4g}  {parts}")
            return
        from rich.table import Table

        table = Table(title=f"epoch {line['epoch']}")
        table.add_column("scene")
        for name in line["scores"]["mean"]:
            table.add_column(name, justify="right")
        for scene, scores in line["scores"].items():
            table.add_row(scene, *(f"{value:.4f}" for value in scores.values()))
        self.bar.console.print(table)


def _scalars(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The curves that a line has a point of; a validation has one per scene and metric."""
    if line["kind"] == "step":
        yield from ((name, line[name]) for name in ("total", "lr", "patches_per_s"))
        yield from ((f"parts/{name}", value) for name, value in line["parts"].items())
        return
    for scene, scores in line["scores"].items():
        yield from ((f"{name}/{scene}", value) for name, value in scores.items())


def read_lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of the log of a run; none where there is no log."""
    path = folder / LINES
    if not path.is_file():
        return []
    kept = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            kept.append(json.loads(text))
        except ValueError:  # the line that was being written when the run was killed
            break
    return kept
