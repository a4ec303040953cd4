"""Progress on stderr: a bar on a terminal, plain lines elsewhere, never silent for 2 seconds."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from mlopt.cli.console import print_warning

if TYPE_CHECKING:
    from mlopt.types.events import Event, OnEvent

LEAST_BETWEEN_LINES_S = 0.5
MOST_SILENCE_S = 1.5
"""Looked at every :data:`LEAST_BETWEEN_LINES_S`, so that a silence lasts 2 s at most."""


@contextmanager
def watching(*, quiet: bool) -> Iterator[OnEvent]:
    """Shows events while the block runs.

    What the block prints on stdout goes to stderr: stdout is for the result.

    Args:
        quiet: Show warnings only.

    Yields:
        The callback that takes the events, from one thread.
    """
    with redirect_stdout(sys.stderr):
        if quiet:
            yield _warnings_only
        elif sys.stderr.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}:
            from mlopt.cli.live_progress import LiveProgress

            with LiveProgress() as live:
                yield live
        else:
            with _beating(LineProgress(_write_line)) as lines:
                yield lines


class LineProgress:
    """Plain lines, for logs: one for each change, at a limited rate, and a sign of life."""

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Starts the clock.

        Args:
            write: Takes a line.
            clock: Seconds from any origin.
        """
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._started = self._received = clock()
        self._printed = self._started - LEAST_BETWEEN_LINES_S  # the first line need not wait
        self._event: Event | None = None
        self._pending = False

    def __call__(self, event: Event) -> None:
        """Takes an event; warnings are printed at once."""
        if event.level == "warning":
            print_warning(event.message)
            return
        with self._lock:
            last, self._event, self._received = self._event, event, self._clock()
            if last is None or (last.phase, last.message) != (event.phase, event.message):
                self._pending = True
            self._print_if_due()

    def tick(self) -> None:
        """Prints what is due: a change that had to wait, or a sign of life."""
        with self._lock:
            self._print_if_due()

    def close(self) -> None:
        """Prints the last change if it still waits."""
        with self._lock:
            if self._pending:
                self._print()

    def _print_if_due(self) -> None:
        silence = self._clock() - self._printed
        if silence >= (LEAST_BETWEEN_LINES_S if self._pending else MOST_SILENCE_S):
            self._print()

    def _print(self) -> None:
        now = self._clock()
        self._printed, self._pending = now, False
        elapsed = f"[{format_seconds(now - self._started):>5}]"
        if self._event is None:
            self._write(f"{elapsed} starting")
            return
        left = remaining(self._event, now - self._received)
        known = [] if self._event.done is None else [f"{self._event.done:.0%}"]
        known += [] if left is None else [f"about {format_seconds(left)} left"]
        suffix = f" ({', '.join(known)})" if known else ""
        self._write(f"{elapsed} {self._event.phase}: {self._event.message}{suffix}")


def remaining(event: Event, age_s: float) -> float | None:
    """Seconds that are left, by an estimate that is ``age_s`` old; None where none was made."""
    return None if event.left_s is None else max(0.0, event.left_s - age_s)


def format_seconds(seconds: float) -> str:
    """``7 s``, ``2m 05s`` or ``1h 02m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m {rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m"


@contextmanager
def _beating(lines: LineProgress) -> Iterator[LineProgress]:
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(LEAST_BETWEEN_LINES_S):
            lines.tick()

    thread = threading.Thread(target=beat, name="mlopt-progress", daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        stop.set()
        thread.join()
        lines.close()


def _warnings_only(event: Event) -> None:
    if event.level == "warning":
        print_warning(event.message)


def _write_line(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
