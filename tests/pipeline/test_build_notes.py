"""What a run notes of builds that the time limit met."""

from __future__ import annotations

import threading
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from mlopt.errors import BuildError, MloptError, WorkerError
from mlopt.pipeline.builder import Turn
from mlopt.pipeline.deadline import Deadline
from mlopt.pipeline.execute import _build_one, _note_build, _skip
from mlopt.pipeline.recorder import Recorder
from mlopt.workers import Limits, side_by_side

BUILDING = "the time limit ended building before every candidate was built"


class Notes(Recorder):
    """A recorder of a run that is on no disk."""

    def __init__(self) -> None:
        self.run: Any = SimpleNamespace(partial=None)
        self.status: dict[str, str] = {}

    def set(self, **changes: Any) -> None:
        vars(self.run).update(changes)

    def update(self, name: str, **changes: Any) -> Any:
        self.status[name] = changes["status"]

    def fail(self, name: str, failure: Any) -> None:
        self.status[name] = f"failed: {failure.cause}"


class Builds:
    """A builder that fails at some moment of a fake clock."""

    def __init__(self, error: MloptError, until: float) -> None:
        self.error = error
        self.until = until
        self.now = 0.0

    def build(self, *_: Any) -> Any:
        self.now = self.until
        raise self.error


def noted(builder: Builds) -> Notes:
    """What a run notes of a candidate that is built like this, within 100 s."""
    notes = Notes()
    deadline = Deadline(100.0, clock=lambda: builder.now, start=0.0)
    tools: Any = SimpleNamespace(builder=builder, limits=Limits(), deadline=deadline)
    candidate: Any = SimpleNamespace(name="distill", steps=())
    turn = Turn(frozenset("a"), {"a": threading.Event()})
    (result,) = side_by_side([partial(_build_one, tools, candidate, turn)], lambda *_: None, 1)
    assert _note_build(notes, candidate, result) == {}
    return notes


@pytest.mark.parametrize(
    ("until", "error", "status"),
    [
        (1.0, BuildError("no student"), "failed: no student"),
        (1.0, WorkerError("killed"), "failed: killed"),
        (99.0, BuildError("no student"), "failed: no student"),
        (99.0, WorkerError("ran longer than its limit"), "skipped"),
    ],
)
def test_what_a_pass_refuses_has_failed_however_late_it_is(
    until: float, error: MloptError, status: str
) -> None:
    notes = noted(Builds(error, until))
    assert notes.status == {"distill": status}
    assert notes.run.partial == (BUILDING if status == "skipped" else None)


def test_what_would_begin_too_late_is_not_built() -> None:
    builder = Builds(BuildError("nobody asks"), 99.0)
    builder.now = 99.0
    assert noted(builder).status == {"distill": "skipped"}


def test_a_run_that_was_cut_short_twice_says_both_and_each_once() -> None:
    notes = Notes()
    for _ in range(2):
        _skip(notes, SimpleNamespace(name="a"))  # type: ignore[arg-type]  # its name is enough
        notes.cut_short("nobody was timed")
    assert notes.run.partial == f"{BUILDING}; nobody was timed"
