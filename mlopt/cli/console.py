"""Where the command line writes: results on stdout, everything else on stderr."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, TextIO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

WIDE = 400
"""Columns for a stdout that is no terminal: a file or a pipe has no edge to fold at."""


class _Output(Console):
    """A console on stdout. A reader that has gone away does not change the exit code."""

    def on_broken_pipe(self) -> None:
        _discard(sys.stdout)


def output() -> Console:
    """A console on stdout."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
    return _Output(highlight=False, markup=False, emoji=False, width=width, color_system=_colours())


def error_output() -> Console:
    """A console on stderr."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, color_system=_colours())


def print_result(*renderables: RenderableType) -> None:
    """Prints on stdout, one below the other."""
    console = output()
    for renderable in renderables:
        console.print(renderable)


def print_json(document: Mapping[str, Any]) -> None:
    """Prints the one document of ``--json`` on stdout."""
    print_text(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_text(text: str) -> None:
    """Prints ``text`` on stdout as it is."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)


def print_error(message: str, label: str = "error") -> None:
    """Prints a message on stderr, in one piece: it is never folded, so that it can be copied."""
    _print_labelled(label, "bold red", message)


def print_warning(message: str) -> None:
    """Prints a warning on stderr."""
    _print_labelled("warning", "bold yellow", message)


def print_note(message: str) -> None:
    """Prints a line on stderr."""
    error_output().print(message, soft_wrap=True)


def table(rows: Iterable[Any], headers: Mapping[str, str], numbers: Collection[str] = ()) -> Table:
    """A table of named tuples of strings.

    Args:
        rows: Of one type.
        headers: Field to title, in the order of the columns. Columns in which every row is empty
            are left out.
        numbers: Fields that are aligned on the right.
    """
    rows = list(rows)
    shown = {f: title for f, title in headers.items() if any(getattr(row, f) for row in rows)}
    found = Table(box=None, pad_edge=False, header_style="bold")
    for field, title in shown.items():
        # Folding loses nothing on a narrow terminal, where an ellipsis would hide a number.
        found.add_column(title, overflow="fold", justify="right" if field in numbers else "left")
    for row in rows:
        found.add_row(*(Text(str(getattr(row, field))) for field in shown))
    return found


def tolerate_any_encoding() -> None:
    """Lets a terminal that cannot show a character show a stand-in, and not an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def flush_output() -> None:
    """Writes what is still buffered, so that a closed pipe is noticed here and not at the exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)


def _print_labelled(label: str, style: str, message: str) -> None:
    text = Text.assemble((f"{label}:", style), " ", message)
    error_output().print(text, soft_wrap=True)


def _colours() -> Literal["auto"] | None:
    return None if os.environ.get("NO_COLOR") else "auto"


def _discard(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
