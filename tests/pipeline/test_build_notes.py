"""What a run notes of builds that the time limit met."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mlopt.errors import BuildError, MloptError, WorkerError
from mlopt.pipeline.deadline import Deadline
from mlopt.pipeline.execute import _note_build, _skip
from mlopt.pipeline.recorder import Recorder

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


@pytest.mark.parametrize(
    ("late", "error", "status"),
    [
        (False, BuildError("no student"), "failed: no student"),
        (False, WorkerError("killed"), "failed: killed"),
        (True, BuildError("no student"), "failed: no student"),
        (True, WorkerError("ran longer than its limit"), "skipped"),
        (True, None, "skipped"),
    ],
)
def test_what_a_pass_refuses_has_failed_however_late_it_is(
    late: bool, error: MloptError | None, status: str
) -> None:
    notes = Notes()
    deadline = Deadline(100.0, clock=lambda: 99.0 if late else 0.0, start=0.0)
    tools: Any = SimpleNamespace(recorder=notes, deadline=deadline)
    candidate: Any = SimpleNamespace(name="distill")

    assert _note_build(tools, candidate, error) == {}

    assert notes.status == {"distill": status}
    assert notes.run.partial == (BUILDING if status == "skipped" else None)


def test_a_run_that_was_cut_short_twice_says_both_and_each_once() -> None:
    notes = Notes()
    for _ in range(2):
        _skip(notes, SimpleNamespace(name="a"))  # type: ignore[arg-type]  # its name is enough
        notes.cut_short("nobody was timed")
    assert notes.run.partial == f"{BUILDING}; nobody was timed"
