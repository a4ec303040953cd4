"""A space of 3 x 4 x 5 combinations with a known front, and runs in which it was looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from made_by_hand import raced

from mlopt.search.optuna_search import OptunaSearch
from mlopt.types.candidate import PlannedCandidate, Role
from mlopt.types.run import CandidateResult, Failure, Run

SPACE: dict[str, list[Any]] = {
    "calibration": ["minmax", "entropy", "percentile"],
    "exclude": [[], ["Conv"], ["Conv", "Add"], ["Gemm"]],
    "threads": [1, 2, 4, 8, 16],
}

Fate = Callable[[Mapping[str, Any]], tuple[float, float] | str | None]
"""The p50 ratio and the loss of a combination, the cause of its failure, or None: nothing is known."""


def fate(choices: Mapping[str, Any]) -> tuple[float, float]:
    """More threads are faster and lose more; entropy without exclusions beats all the rest."""
    threads = choices["threads"]
    worse = 0.1 * (choices["calibration"] != "entropy") + 0.05 * len(choices["exclude"])
    return 1 / (1 + threads) + worse, 0.001 * threads + worse / 100


def planned(choices: Mapping[str, Any], *, role: Role = "candidate") -> PlannedCandidate:
    return PlannedCandidate(
        name="int8[" + ",".join(f"{k}={v}" for k, v in choices.items()) + "]",
        role=role,
        recipe="int8",
        provider="cpu",
        runner="onnxruntime",
        choices=dict(choices),
    )


def result(plan: PlannedCandidate, seen: tuple[float, float] | str | None) -> CandidateResult:
    """What became of a candidate."""
    if seen is None:
        return CandidateResult(plan=plan)
    if isinstance(seen, str):
        failure = Failure(during="build", cause=seen)
        return CandidateResult(plan=plan, status="failed", failure=failure)
    return raced(plan, *seen)


def run_of(*results: CandidateResult) -> Run:
    """A run of which nothing but its candidates is asked."""
    return Run.model_construct(candidates=results)


def search(trials: int = 20, batch: int = 4, seed: int = 0, **changes: Any) -> OptunaSearch:
    options = {"dimensions": SPACE, "make": planned, "recipe": "int8"} | changes
    return OptunaSearch(**options, trials=trials, batch=batch, seed=seed)


def explore(
    proposer: OptunaSearch, becomes: Fate = fate, *, known: tuple[CandidateResult, ...] = ()
) -> tuple[list[list[str]], Run]:
    """Answers every batch; returns the names in each, and the run at the end.

    Args:
        proposer: Is asked until it has no more.
        becomes: What is seen of a combination.
        known: What the run has from before.
    """
    results = {one.name: one for one in known}
    batches = []
    while batch := proposer.ask():
        batches.append([one.name for one in batch.candidates])
        for one in batch.candidates:
            if one.name not in results:
                results[one.name] = result(one, becomes(one.choices))
        proposer.tell(run_of(*results.values()))
    return batches, run_of(*results.values())
