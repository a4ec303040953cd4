"""The worker's side of the pipe to its parent."""

from __future__ import annotations

import json
import os
from typing import Any, TextIO

_channel: TextIO | None = None


def open_channel() -> TextIO:
    """Takes standard input and output for messages; whoever else reads or prints does not see them.

    What anybody prints goes to standard error, and what anybody reads is at its end.

    Returns:
        The requests of the parent; one JSON document a line.
    """
    global _channel  # noqa: PLW0603  # a process has one
    _channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return requests


def send(message: dict[str, Any]) -> None:
    """Sends one message to the parent; outside of a worker it goes nowhere."""
    if _channel is not None:
        _channel.write(json.dumps(message) + "\n")
        _channel.flush()


def emit(message: str, done: float | None = None) -> None:
    """Tells the parent what is going on; ``done`` is the share of the task, 0 to 1."""
    send({"event": {"message": message, "done": done}})
