"""Proposers one after the other."""

from __future__ import annotations

from proposer_cases import planned, run_of, seen

from mlopt.search import Chain, FixedList, Proposer
from mlopt.types.run import Run


def asked(proposer: Proposer, run: Run) -> list[str]:
    """The names that a proposer asks for, until it has no more."""
    found: list[str] = []
    while (batch := proposer.ask()) is not None:
        found += [c.name for c in batch.candidates]
        proposer.tell(run)
    return found


def test_the_next_proposer_is_made_of_what_was_seen_by_then() -> None:
    told: list[Run] = []

    def second(run: Run) -> Proposer:
        told.append(run)
        return FixedList([planned("b")])

    run = run_of(seen(planned("a"), 0.5))
    chain = Chain(FixedList([planned("a")]), [second, lambda run: FixedList([planned("c")])])
    assert asked(chain, run) == ["a", "b", "c"]
    assert told == [run]


def test_a_stage_with_nothing_to_propose_is_passed_over() -> None:
    stages = [lambda run: None, lambda run: FixedList([]), lambda run: FixedList([planned("b")])]
    assert asked(Chain(FixedList([planned("a")]), stages), run_of()) == ["a", "b"]


def test_nothing_follows_before_the_first_was_told() -> None:
    chain = Chain(FixedList([]), [lambda run: FixedList([planned("b")])])
    assert chain.ask() is None
