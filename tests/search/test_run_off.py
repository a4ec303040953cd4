"""The run-off."""

from __future__ import annotations

from proposer_cases import run_of

from mlopt.search import RunOff


def test_those_it_is_between_are_asked_for_once_and_nobody_new() -> None:
    proposer = RunOff(("a", "b"), 5.0)
    batch = proposer.ask()
    assert batch is not None
    assert (batch.candidates, batch.again, batch.seconds) == ((), ("a", "b"), 5.0)
    proposer.tell(run_of())
    assert proposer.ask() is None
