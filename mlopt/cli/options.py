"""Options that several commands share, and how their values are read.

Every option beats its environment variable, which beats what the project file says.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

import typer

from mlopt.cli.completion import complete_provider

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"^\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[a-z]*)\s*$")


def duration(text: str) -> float:
    """Seconds in ``90``, ``90s``, ``5m``, ``5min`` or ``1.5h``.

    Raises:
        BadParameter: It is none of them, or zero.
    """
    match = _DURATION.match(text.lower())
    if match is None or match["unit"] not in _SECONDS:
        raise typer.BadParameter(f"{text!r} is no duration. Write it as 90, 90s, 5m or 1h.")
    seconds = float(match["number"]) * _SECONDS[match["unit"]]
    if seconds == 0:
        raise typer.BadParameter(f"{text!r} leaves no time. Give more than 0 seconds.")
    return seconds


def positive(text: str) -> float:
    """A number above zero.

    Raises:
        BadParameter: It is none.
    """
    value = _number(text)
    if not 0 < value < math.inf:
        raise typer.BadParameter(f"{text!r} is no number above 0.")
    return value


def share(text: str) -> float:
    """A number between 0 and 1.

    Raises:
        BadParameter: It is none.
    """
    value = _number(text)
    if not 0 < value < 1:
        raise typer.BadParameter(f"{text!r} must lie between 0 and 1: 0.02 stands for 2%.")
    return value


def _number(text: str) -> float:
    """What ``text`` says; not a number where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _show_help(context: typer.Context, wanted: bool) -> None:
    if wanted:
        typer.echo(context.get_help())
        raise typer.Exit


# For what has commands below it. Typer reads the options of all levels before it shows the help of
# the lowest, and imports pydantic for each but a plain flag; its own --help is no plain flag.
GROUP: dict[str, Any] = {"add_help_option": False}
COMMAND: dict[str, Any] = {"context_settings": {"help_option_names": ["-h", "--help"]}}
GroupHelp = Annotated[
    bool,
    typer.Option(
        "--help", "-h", callback=_show_help, is_eager=True, help="Show this message and exit."
    ),
]

FORMS = "an .onnx file, the directory of an artifact or of a run, or RUN:CANDIDATE"
Model = Annotated[str, typer.Argument(help=f"What to run: {FORMS}, with @PROVIDER if need be.")]
Providers = Annotated[
    list[str] | None,
    typer.Option(
        "--provider",
        "-p",
        envvar="MLOPT_PROVIDER",
        help="Execution provider, such as cpu or cuda (repeatable).",
        autocompletion=complete_provider,
    ),
]
BatchSizes = Annotated[
    list[int] | None,
    typer.Option(
        "--batch-size",
        envvar="MLOPT_BATCH_SIZE",
        min=1,
        help="Examples in one inference (repeatable; the first one decides).",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed", envvar="MLOPT_SEED", min=0, help="The number that all randomness derives from."
    ),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        envvar="MLOPT_TIME_LIMIT",
        parser=duration,
        metavar="SECONDS",
        help="Wall-clock limit of the whole run, building included (90, 90s, 5m, 1h).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", envvar="MLOPT_QUIET", help="Only warnings and errors."),
]
Debug = Annotated[
    bool, typer.Option("--debug", envvar="MLOPT_DEBUG", help="Show the traceback of an error.")
]
"""Each command takes it; :mod:`mlopt.cli.app` acts on it, because it catches the errors."""
