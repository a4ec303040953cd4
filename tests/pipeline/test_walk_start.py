"""From which candidate a walk to float starts."""

from __future__ import annotations

from made_by_hand import raced

from mlopt.pipeline.execute import _rivals
from mlopt.pipeline.proposing import _walk
from mlopt.search.mixed_precision import MixedPrecision
from mlopt.types.candidate import PlannedCandidate, Step
from mlopt.types.plan import Plan, Refinement
from mlopt.types.run import CandidateResult, Failure, Run

RECIPES = ("int8-static", "int8-nncf")


def seen(name: str, ratio: float, loss: float, **choices: int) -> CandidateResult:
    """A candidate that was measured; 0.02 may be lost."""
    quantizer = name.partition("@")[0].partition("[")[0].replace("-", "_")
    steps = () if name.startswith("fp32") else (Step(transformation=quantizer),)
    plan = PlannedCandidate(
        name=name,
        role="baseline" if name == "fp32" else "candidate",
        recipe=name.partition("@")[0].partition("[")[0],
        provider="cpu",
        runner="onnxruntime",
        steps=steps,
        choices=dict(choices),
    )
    return raced(plan, ratio, loss, max_drop=0.02)


PLAN = Plan.model_construct(
    budget=(), allow_fallback=False, refinement=Refinement(mixed_precision=RECIPES)
)


def layers(_: str) -> list[tuple[str, ...]]:
    return [(f"conv{i}",) for i in range(4)]


def start(*results: CandidateResult) -> str | None:
    """The candidate whose layers are kept in float; None where there is no walk."""
    proposer = _walk(layers, Run.model_construct(candidates=results, plan=PLAN))
    batch = None if proposer is None else proposer.ask()
    return None if batch is None else batch.candidates[0].name.partition("[")[0]


FLOAT = seen("fp32", 1.0, 0.0)


def test_starts_from_the_fastest_that_loses_too_much() -> None:
    assert start(FLOAT, seen("int8-static", 0.5, 0.1), seen("int8-nncf", 0.4, 0.3)) == "int8-nncf"


def test_what_may_ship_as_it_is_needs_no_walk_and_neither_does_what_is_slower() -> None:
    assert start(FLOAT, seen("int8-static", 0.4, 0.019)) is None
    assert start(FLOAT, seen("int8-nncf", 0.3, 0.01), seen("int8-static", 0.4, 0.1)) is None
    assert start(FLOAT, seen("int8-nncf", 0.5, 0.01), seen("int8-static", 0.4, 0.1)) is not None


def test_what_is_hardly_ahead_starts_no_walk_since_float_costs_more() -> None:
    may_ship = seen("int8-nncf", 0.4, 0.01)
    assert start(FLOAT, may_ship, seen("int8-static", 0.381, 0.1)) is None
    assert start(FLOAT, may_ship, seen("int8-static", 0.379, 0.1)) is not None


def test_other_recipes_and_what_failed_start_no_walk() -> None:
    assert start(FLOAT, seen("weight-only", 0.4, 0.1)) is None
    broken = seen("int8-static", 0.4, 0.1).model_copy(
        update={"failure": Failure(during="time", cause="it broke")}
    )
    assert start(FLOAT, broken) is None


def test_what_ran_elsewhere_starts_no_walk_as_it_may_not_ship_anyway() -> None:
    elsewhere = seen("int8-static", 0.4, 0.1).model_copy(update={"fell_back": True})
    assert start(FLOAT, elsewhere) is None


def test_no_walk_starts_in_the_middle_of_another_one() -> None:
    assert start(FLOAT, seen("int8-static[float=3]", 0.4, 0.1, float=3)) is None


def test_a_walk_ends_where_the_whole_interval_lies_within_the_margin() -> None:
    results = (FLOAT, seen("int8-static", 0.4, 0.1))
    proposer = _walk(layers, Run.model_construct(candidates=results, plan=PLAN))
    assert proposer is not None
    losses = {1: 0.05, 2: 0.015, 3: 0.005}
    asked = []
    while (batch := proposer.ask()) and not batch.timed:
        (probe,) = batch.candidates
        asked.append(kept := probe.choices["float"])
        one = seen(probe.name, 0.6, losses[kept]).model_copy(update={"plan": probe})
        proposer.tell(Run.model_construct(candidates=(one,)))
    assert asked == [2, 3]
    assert isinstance(proposer, MixedPrecision)
    assert "with 3 of 4 layers" in proposer.notes[0]


def test_only_what_is_built_again_goes_on_beside_newcomers_when_a_run_is_resumed() -> None:
    known = (FLOAT, seen("int8-static", 0.5, 0.0), seen("int8-nncf", 0.4, 0.0))
    run = Run.model_construct(candidates=known, plan=PLAN)
    assert _rivals(run, {"fp32", "int8-static", "int8-nncf"}) == [
        "int8-nncf",
        "int8-static",
        "fp32",
    ]
    assert _rivals(run, {"fp32", "int8-static"}) == ["int8-static", "fp32"]
