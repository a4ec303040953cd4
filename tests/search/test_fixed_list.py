"""The proposer of a list that is known beforehand."""

from __future__ import annotations

from mlopt.search import FixedList, Proposer
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.run import CandidateResult, Failure


def candidate(name: str) -> PlannedCandidate:
    return PlannedCandidate(
        name=name, role="candidate", recipe=name, provider="cpu", runner="onnxruntime"
    )


def test_proposes_every_candidate_once_in_its_order() -> None:
    candidates = [candidate("a"), candidate("b"), candidate("c")]
    proposer = FixedList(candidates)
    assert list(proposer.ask()) == candidates
    assert list(proposer.ask()) == []


def test_an_empty_list_proposes_nothing() -> None:
    assert list(FixedList([]).ask()) == []


def test_nothing_that_was_seen_changes_the_list() -> None:
    proposer = FixedList([candidate("a")])
    failure = Failure(during="build", cause="it broke")
    proposer.tell([CandidateResult(plan=candidate("b"), status="failed", failure=failure)])
    assert [c.name for c in proposer.ask()] == ["a"]
    proposer.tell([CandidateResult(plan=candidate("a"), status="failed", failure=failure)])
    assert list(proposer.ask()) == []


def test_later_changes_of_the_given_list_do_not_reach_the_proposer() -> None:
    candidates = [candidate("a")]
    proposer = FixedList(candidates)
    candidates.append(candidate("b"))
    assert [c.name for c in proposer.ask()] == ["a"]


def test_it_is_a_proposer_with_a_name_for_the_plan() -> None:
    proposer: Proposer = FixedList([])
    assert proposer.name
