"""The application: its commands, and what becomes of errors."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, NoReturn

import typer

from mlopt import __version__
from mlopt.cli import cache, recipes
from mlopt.cli.compare import compare
from mlopt.cli.console import flush_output, print_error, print_note, tolerate_any_encoding
from mlopt.cli.diagnose import diagnose
from mlopt.cli.doctor import doctor
from mlopt.cli.gate import gate
from mlopt.cli.init import init
from mlopt.cli.optimize import optimize
from mlopt.cli.options import COMMAND, GROUP, GroupHelp
from mlopt.cli.profile import profile
from mlopt.cli.report import report
from mlopt.cli.schema import schema
from mlopt.errors import MloptError

EXIT_CODES = (
    "Exit codes: 0 the budget is met, or there is none; 1 internal error; 2 wrong usage, "
    "configuration or input; 3 the budget fails for every candidate, a gate fails, or a run is not "
    "what its samples say; 4 inconclusive; 130 interrupted."
)
INTERNAL_ERROR = 1
INTERRUPTED = 130

COMPLETION_VARIABLE = "_MLOPT_COMPLETE"


def application(*, completion: bool = True) -> typer.Typer:
    """The commands and what they share.

    Args:
        completion: Whether to take ``--install-completion`` and ``--show-completion``.
    """
    app = typer.Typer(
        name="mlopt",
        no_args_is_help=True,
        add_completion=completion,
        epilog=EXIT_CODES,
        pretty_exceptions_enable=False,
        **GROUP,
    )
    app.callback()(_root)
    for command in (optimize, profile, compare, diagnose, gate, report, schema, doctor, init):
        app.command(**COMMAND)(command)
    app.add_typer(recipes.app, name="recipes")
    app.add_typer(cache.app, name="cache")
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mlopt {__version__}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    _help: GroupHelp = False,
) -> None:
    """Find out which form of a trained model to ship, and prove it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Without the program's name; None: those of this process.

    Returns:
        The exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    tolerate_any_encoding()
    with _sigterm_interrupts():
        code = _run(given, debug=_wants_debug(given))
    if code == INTERRUPTED:
        print_note("interrupted")
    flush_output()
    return code


def _run(arguments: list[str], *, debug: bool) -> int:
    command = typer.main.get_command(application(completion=_may_complete(arguments)))
    try:
        code = command.main(arguments, prog_name="mlopt", standalone_mode=False)
    except MloptError as e:
        _print_traceback(debug)
        print_error(str(e))
        return e.exit_code
    except typer.TyperException as e:
        return _usage_error(e)
    except (typer.Abort, KeyboardInterrupt):
        _print_traceback(debug)
        return INTERRUPTED
    except Exception as e:  # noqa: BLE001  # nothing but a message may reach the user
        _print_traceback(debug)
        print_error(f"{type(e).__name__}: {e}\n{_what_to_do(debug)}", label="internal error")
        return INTERNAL_ERROR
    return code if isinstance(code, int) else 0


def _usage_error(error: typer.TyperException) -> int:
    message = error.format_message().strip().replace(": Value error, ", ": ")
    if message:  # there is none when 'mlopt' alone has shown its help
        context = getattr(error, "ctx", None)
        path = "mlopt" if context is None else context.command_path
        print_error(f"{message}\nTry '{path} --help'.")
    return 2


def _what_to_do(debug: bool) -> str:
    if debug:
        return "This is a mistake in mlopt: report it with the traceback above."
    return "This is a mistake in mlopt: run again with --debug and report it."


def _may_complete(arguments: list[str]) -> bool:
    # The options for it stand before a command; they are no plain flags (see GROUP in options).
    return COMPLETION_VARIABLE in os.environ or not arguments or arguments[0].startswith("-")


def _wants_debug(arguments: list[str]) -> bool:
    # Looked up without the parser, whose own mistakes should have a traceback as well.
    variable = os.environ.get("MLOPT_DEBUG", "").lower()
    return "--debug" in arguments or variable in {"1", "true", "t", "yes", "y", "on"}


def _print_traceback(debug: bool) -> None:
    if debug:
        traceback.print_exc()


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Lets SIGTERM end a run in the way that Ctrl-C does: with a report of what there is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
