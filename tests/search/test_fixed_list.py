"""The proposer of a list that is known beforehand."""

from __future__ import annotations

from proposer_cases import planned, run_of

from mlopt.search import Batch, FixedList, Proposer
from mlopt.types.run import CandidateResult, Failure


def names(batch: Batch | None) -> list[str]:
    return [] if batch is None else [c.name for c in batch.candidates]


def test_proposes_every_candidate_once_in_its_order() -> None:
    proposer = FixedList([planned("a"), planned("b"), planned("c")])
    assert names(proposer.ask()) == ["a", "b", "c"]
    assert proposer.ask() is None


def test_an_empty_list_proposes_nothing() -> None:
    assert FixedList([]).ask() is None


def test_nothing_that_was_seen_changes_the_list() -> None:
    proposer = FixedList([planned("a")])
    failure = Failure(during="build", cause="it broke")
    broken = CandidateResult(plan=planned("a"), status="failed", failure=failure)
    proposer.tell(run_of(broken))
    assert names(proposer.ask()) == ["a"]
    proposer.tell(run_of(broken))
    assert proposer.ask() is None


def test_later_changes_of_the_given_list_do_not_reach_the_proposer() -> None:
    candidates = [planned("a")]
    proposer = FixedList(candidates)
    candidates.append(planned("b"))
    assert names(proposer.ask()) == ["a"]


def test_it_is_a_proposer_with_a_name_for_the_plan() -> None:
    proposer: Proposer = FixedList([])
    assert proposer.name
