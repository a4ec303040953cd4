"""Progress on a terminal: one line that is drawn again and again."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task
from rich.table import Column
from rich.text import Text

from mlopt.cli.console import error_output
from mlopt.cli.progress import format_seconds, remaining

if TYPE_CHECKING:
    from mlopt.types.events import Event

DRAWINGS_A_SECOND = 2
"""Few: drawing takes processor time from what is being timed."""


class LiveProgress:
    """Phase, message, bar, time left and time elapsed, drawn by a thread until the block ends."""

    def __init__(self) -> None:
        """Prepares the line."""
        self._progress = Progress(
            SpinnerColumn(),
            _Words(table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            BarColumn(bar_width=14),
            _Times(table_column=Column(no_wrap=True, justify="right")),
            console=error_output(),
            refresh_per_second=DRAWINGS_A_SECOND,
            transient=True,
            expand=True,
        )
        self._task = self._progress.add_task("starting", total=None, event=None, received=0.0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Takes an event; a warning stays above the line."""
        if event.level == "warning":
            warning = Text.assemble(("warning:", "bold yellow"), " ", event.message)
            self._progress.console.print(warning, soft_wrap=True)
            return
        self._progress.update(
            self._task,
            total=None if event.done is None else 1.0,
            # A task that was full once counts as finished, though the next phase begins at 0.
            completed=min(event.done or 0.0, 0.999),
            event=event,
            received=time.monotonic(),
        )


class _Words(ProgressColumn):
    def render(self, task: Task) -> Text:
        event: Event | None = task.fields["event"]
        if event is None:
            return Text(task.description)
        return Text.assemble((event.phase, "bold"), " ", event.message)


class _Times(ProgressColumn):
    def render(self, task: Task) -> Text:
        event: Event | None = task.fields["event"]
        elapsed = format_seconds(task.elapsed or 0.0)
        age = time.monotonic() - task.fields["received"]
        left = None if event is None else remaining(event, age)
        return Text(elapsed if left is None else f"{elapsed}, {format_seconds(left)} left")
