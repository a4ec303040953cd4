"""The run as it grows; every change is on disk before the next one happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from mlopt.store.rundir import RunDirectory
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.events import Event, OnEvent, Phase
from mlopt.types.run import CandidateResult, Failure, Run


class Recorder:
    """Holds the current :class:`Run`, and writes it after each change."""

    def __init__(self, directory: RunDirectory, run: Run, on_event: OnEvent) -> None:
        """Starts from ``run``, and writes it."""
        self.directory = directory
        self.run = run
        self._on_event = on_event
        self.directory.write_run(run)

    def set(self, **changes: Any) -> None:
        """Changes fields of the run."""
        self.run = self.run.model_copy(update=changes)
        self.directory.write_run(self.run)

    def cut_short(self, reason: str) -> None:
        """Marks the run as partial; the reasons that it has already stay."""
        reasons = [] if self.run.partial is None else self.run.partial.split("; ")
        if reason not in reasons:
            self.set(partial="; ".join((*reasons, reason)))

    def update(self, name: str, **changes: Any) -> CandidateResult:
        """Changes fields of one candidate."""
        changed = self.run.candidate(name).model_copy(update=changes)
        self.set(candidates=tuple(changed if c.name == name else c for c in self.run.candidates))
        return changed

    def add(self, candidates: Iterable[PlannedCandidate]) -> None:
        """Takes candidates into the run that the plan does not name; those it knows stay."""
        known = {c.name for c in self.run.candidates}
        new = tuple(CandidateResult(plan=c) for c in candidates if c.name not in known)
        if new:
            self.set(candidates=(*self.run.candidates, *new))

    def fail(self, name: str, failure: Failure) -> None:
        """Notes that a candidate fell out."""
        self.update(name, status="failed", failure=failure)
        self.warn("build", f"{name} failed to {failure.during}: {failure.cause}", keep=False)

    def warn(self, phase: Phase, message: str, keep: bool = True) -> None:
        """Tells the user; ``keep`` puts it into the run as well."""
        if keep and message not in self.run.warnings:
            self.set(warnings=(*self.run.warnings, message))
        self._on_event(Event(phase=phase, message=message, level="warning"))

    def tell(
        self, phase: Phase, message: str, done: float | None = None, left_s: float | None = None
    ) -> None:
        """Tells the user what is going on."""
        self._on_event(Event(phase=phase, message=message, done=done, left_s=left_s))

    def teller(
        self, phase: Phase, prefix: str | None, start: float, end: float
    ) -> Callable[[str, float | None], None]:
        """A callback for a worker whose task is the part from ``start`` to ``end`` of a phase."""
        before = "" if prefix is None else f"{prefix}: "
        return lambda message, done: self.tell(
            phase, f"{before}{message}", start + (end - start) * (done or 0.0)
        )

    @contextmanager
    def timing(self, phase: str) -> Iterator[None]:
        """Adds the wall-clock time of a block to the run."""
        start = time.monotonic()
        try:
            yield
        finally:
            seconds = self.run.seconds.get(phase, 0.0) + time.monotonic() - start
            self.set(seconds=self.run.seconds | {phase: round(seconds, 3)})


def utc_now() -> str:
    """The time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
