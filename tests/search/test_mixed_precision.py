"""The walk from 8 bits to float."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from mlopt.errors import BuildError
from mlopt.search import Proposer
from mlopt.search.mixed_precision import MixedPrecision, kept_in_float, quantizer_of
from mlopt.types.candidate import PlannedCandidate, Step
from mlopt.types.measurement import Evidence
from mlopt.types.run import CandidateResult, Failure, Run

NOTHING = Evidence(measurements=(), quality=None, cold_start_ms=None, peak_rss_bytes=None)
EXPORT = Step(transformation="export_onnx")


def start(name: str = "int8-static", **options: object) -> PlannedCandidate:
    return PlannedCandidate(
        name=name,
        role="candidate",
        recipe="int8-static",
        provider="cpu",
        runner="onnxruntime",
        steps=(EXPORT, Step(transformation="int8_static", options=options)),
    )


def layers(count: int) -> list[tuple[str, ...]]:
    return [(f"conv{i}", f"relu{i}") for i in range(count)]


def enough(fewest: int) -> Callable[[CandidateResult], bool]:
    """Good enough with at least so many layers in float."""
    return lambda result: kept_in_float(result.plan) >= fewest


def run_of(*results: CandidateResult) -> Run:
    return Run.model_construct(candidates=results)


def walk(proposer: MixedPrecision) -> list[tuple[list[str], bool]]:
    """Answers every question with a score; the names and whether they were to be timed."""
    asked, results = [], {}
    while batch := proposer.ask():
        asked.append(([one.name for one in batch.candidates], batch.timed))
        for one in batch.candidates:
            results[one.name] = CandidateResult(plan=one, status="measured", selection=NOTHING)
        proposer.tell(run_of(*results.values()))
    return asked


@pytest.mark.parametrize("count", [2, 3, 7, 8, 21, 64])
def test_finds_the_fewest_with_as_few_scores_as_a_bisection_allows(count: int) -> None:
    for fewest in range(1, count):
        proposer = MixedPrecision(start(), lambda _: layers(count), enough(fewest))
        *probes, (final, is_timed) = walk(proposer)
        assert len(probes) <= math.ceil(math.log2(count))
        assert not any(timed for _, timed in probes)
        assert is_timed
        tried = {name for names, _ in probes for name in names}
        assert set(final) == tried
        assert f"int8-static[float={fewest}]" in tried
        below = f"int8-static[float={fewest - 1}]"
        assert fewest == 1 or below in tried
        assert f"with {fewest} of {count} layers" in proposer.notes[0]


def test_ends_with_nothing_to_time_where_only_float_is_good_enough() -> None:
    proposer = MixedPrecision(start(), lambda _: layers(8), enough(8))
    asked = walk(proposer)
    assert [names for names, _ in asked] == [[f"int8-static[float={k}]"] for k in (4, 6, 7)]
    assert not any(timed for _, timed in asked)
    assert "tried: 4, 6, 7" in proposer.notes[0]
    assert proposer.ask() is None


def test_keeps_the_worst_layers_in_float_beside_what_was_excluded_already() -> None:
    first = start("int8-static[calibration=entropy]@openvino", exclude=["stem"], calibration="x")
    first = first.model_copy(update={"choices": {"calibration": "entropy"}, "role": "baseline"})
    proposer = MixedPrecision(first, lambda _: layers(4), enough(2))
    batch = proposer.ask()
    assert batch is not None
    (probe,) = batch.candidates
    assert probe.name == "int8-static[calibration=entropy,float=2]@openvino"
    assert probe.role == "candidate"
    assert probe.choices == {"calibration": "entropy", "float": 2}
    assert probe.steps[0] == EXPORT
    excluded = ["stem", "conv0", "relu0", "conv1", "relu1"]
    assert probe.steps[1].options == {"calibration": "x", "exclude": excluded}


def test_a_candidate_that_fails_is_not_good_enough() -> None:
    proposer = MixedPrecision(start(), lambda _: layers(4), enough(1))
    failure = Failure(during="build", cause="no kernel")
    asked = []
    while batch := proposer.ask():
        asked.append([one.name for one in batch.candidates])
        proposer.tell(
            run_of(
                *(
                    CandidateResult(plan=one, status="failed", failure=failure)
                    if kept_in_float(one) == 2
                    else CandidateResult(plan=one, selection=NOTHING)
                    for one in batch.candidates
                )
            )
        )
    assert asked == [
        ["int8-static[float=2]"],
        ["int8-static[float=3]"],
        ["int8-static[float=2]", "int8-static[float=3]"],
    ]


def test_ends_where_a_candidate_was_not_even_scored() -> None:
    proposer = MixedPrecision(start(), lambda _: layers(8), enough(1))
    batch = proposer.ask()
    assert batch is not None
    proposer.tell(run_of(CandidateResult(plan=batch.candidates[0], status="skipped")))
    assert proposer.ask() is None
    assert "ended before int8-static[float=4] was scored" in proposer.notes[0]


def test_proposes_nothing_and_says_why_where_nothing_can_be_ranked() -> None:
    def fail(_: str) -> list[tuple[str, ...]]:
        raise BuildError("no names are left")

    proposer = MixedPrecision(start(), fail, enough(1))
    assert proposer.ask() is None
    assert proposer.notes == ("the layers of int8-static were not ranked: no names are left",)


@pytest.mark.parametrize("count", [0, 1])
def test_one_layer_is_no_walk(count: int) -> None:
    proposer = MixedPrecision(start(), lambda _: layers(count), enough(1))
    assert proposer.ask() is None
    assert len(proposer.notes) == count


def test_a_candidate_without_a_quantizer_is_not_ranked() -> None:
    plain = start().model_copy(update={"steps": (EXPORT,)})
    proposer: Proposer = MixedPrecision(plain, lambda _: pytest.fail("ranked"), enough(1))
    assert proposer.ask() is None


def test_modules_that_are_excluded_before_the_export_are_no_nodes() -> None:
    sparse = Step(transformation="sparsify")
    assert quantizer_of((sparse, EXPORT)) is None
    assert quantizer_of((sparse, *start().steps)) == 2
