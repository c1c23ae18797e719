"""The command line: one file per command, thin. Errors become one line and a non-zero exit status here.

Exit status: 0 done, 1 something about the files or the machine, 2 a wrong option, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import typer

from hypersharp import _version
from hypersharp.errors import HypersharpError, UsageError

# Old releases of typer raise click's errors, newer ones those of a copy of it; both derive from this class.
_ClickError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
_INTERRUPTED = 130

app = typer.Typer(
    name="hypersharp",
    help="Sharpen hyperspectral cubes: one file in, a sharper file out.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version_and_leave(value: bool) -> None:
    if value:
        print(_version.__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", help="Print the version and leave.", callback=_version_and_leave, is_eager=True
    ),
) -> None:
    """Sharpen hyperspectral cubes: one file in, a sharper file out."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def _register() -> None:
    from hypersharp.cli import (
        assess,
        bench,
        convert,
        data,
        doctor,
        evaluate,
        export,
        fuse,
        info,
        lowrank,
        models,
        sharpen,
        simulate,
    )
    from hypersharp.cli import train as training

    for module in (
        info,
        sharpen,
        fuse,
        convert,
        simulate,
        evaluate,
        assess,
        training,
        bench,
        export,
        lowrank,
        models,
        doctor,
    ):
        app.command(name=module.NAME)(module.command)
    app.command(name="distill")(training.distill)
    app.add_typer(data.app)


def run(arguments: list[str] | None = None) -> int:
    """Run one command and answer with its exit status; every error is one line on standard error."""
    _register_once()
    with warnings.catch_warnings():
        warnings.showwarning = _say_warning
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", module="hypersharp")
        try:
            result = app(args=arguments, prog_name="hypersharp", standalone_mode=False)
            if result == _INTERRUPTED:  # newer releases of typer make this of Ctrl-C
                raise typer.Abort
            return result if isinstance(result, int) else 0
        except HypersharpError as error:
            return _fail(str(error), 2 if isinstance(error, UsageError) else 1)
        except typer.Abort as stop:  # a command that leaves something behind says what
            return _fail(str(stop) or "interrupted; nothing was left behind", _INTERRUPTED)
        except _ClickError as error:
            return _fail(f"{error.format_message().rstrip('.')}; see hypersharp --help", 2)
        except KeyboardInterrupt:
            return _fail("interrupted; nothing was left behind", _INTERRUPTED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except MemoryError:
            return _fail("not enough memory; give a smaller --memory or --tile", 1)
        except Exception as error:
            if os.environ.get("HYPERSHARP_DEBUG"):
                raise
            kind = type(error).__name__
            return _fail(f"a mistake of ours, please report it ({kind}: {error}); HYPERSHARP_DEBUG=1 shows where", 1)


_registered = False


def _register_once() -> None:
    global _registered
    if not _registered:
        _register()
        _registered = True


def _fail(message: str, status: int) -> int:
    print(f"hypersharp: error: {' '.join(message.split())}", file=sys.stderr)
    return status


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"hypersharp: note: {' '.join(str(message).split())}", file=sys.stderr)
