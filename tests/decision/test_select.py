"""The choice: the fastest that may ship, the simplest where none is fastest, with reasons."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from made_by_hand import candidate, evidence, interval, measured, metric

from mlopt.decision import SELECTION_RULE, Choice, Ratio, choose, contenders
from mlopt.types.budget import BudgetLine
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Diagnostic
from mlopt.types.run import CandidateResult, Failure

P50 = BudgetLine.parse("p50 <= 5 ms")
P99 = BudgetLine.parse("p99 <= 5 ms")
WANDERED = Diagnostic(name="random walk", status="warning", seen="0.2")
TIED = Estimate(value=1.01, low=0.99, high=1.03)


def ratios(
    results: list[CandidateResult], known: Mapping[tuple[str, str], Estimate] | None = None
) -> Ratio:
    """Ratios of the p50s to 1%, but for those that are ``known``; the other way round too."""

    def ratio(one: str, other: str) -> Estimate:
        given = known or {}
        if (one, other) in given:
            return given[one, other]
        if (other, one) in given:
            found = given[other, one]
            if found.low is None or found.high is None:
                return Estimate(value=1 / found.value)
            return Estimate(value=1 / found.value, low=1 / found.high, high=1 / found.low)
        p50 = {r.name: r.selection.measurements[0].p50_ms.value for r in results if r.selection}
        return interval(p50[one] / p50[other])

    return ratio


def chosen_of(
    *results: CandidateResult,
    budget: tuple[BudgetLine, ...] = (P50,),
    allow_fallback: bool = False,
    known: Mapping[tuple[str, str], Estimate] | None = None,
) -> Choice:
    choice = choose(results, budget, allow_fallback, ratios(list(results), known))
    others = {r.name for r in results if r.plan.role != "reference"} - {choice.chosen}
    assert {r.name for r in choice.rejected} == others, "everyone else has a reason"
    assert len(choice.rejected) == len(others)
    return choice


def reason(choice: Choice, name: str) -> str:
    return next(r.reason for r in choice.rejected if r.name == name)


def test_the_fastest_wins_whatever_its_steps() -> None:
    choice = chosen_of(
        candidate("fp32", 3, steps=0, role="baseline"),
        candidate("int8", 1, steps=3),
        candidate("pruned", 2, steps=1),
    )
    assert choice.chosen == "int8"
    assert choice.outcome == "PASS"
    assert choice.tied_with == ()
    assert "smallest p50 of 3 candidates" in choice.reason
    assert "3.00 times the p50 of int8 (2.97 to 3.03)" in reason(choice, "fp32")


def test_of_candidates_that_cannot_be_told_apart_the_one_with_the_fewest_steps_wins() -> None:
    choice = chosen_of(
        candidate("fast", 1.00, steps=3),
        candidate("simple", 1.01, steps=1, size=9999),
        candidate("slow", 2.0, steps=0),
        known={("simple", "fast"): TIED},
    )
    assert choice.chosen == "simple"
    assert choice.tied_with == ("fast",)
    assert "simplest" in choice.reason
    assert "not certainly faster than simple" in reason(choice, "fast")
    assert "times the p50 of" in reason(choice, "slow")


def test_of_as_many_steps_the_smallest_artifact_wins() -> None:
    choice = chosen_of(
        candidate("fast", 1.00, size=2000),
        candidate("small", 1.01, size=1000),
        known={("small", "fast"): TIED},
    )
    assert choice.chosen == "small"


def test_a_faster_artifact_that_is_hardly_larger_is_as_small() -> None:
    known = {("small", "fast"): TIED}
    small = candidate("small", 1.01, size=1000)
    assert chosen_of(candidate("fast", 1.0, size=1100), small, known=known).chosen == "fast"
    assert chosen_of(candidate("fast", 1.0, size=1101), small, known=known).chosen == "small"


def test_of_as_many_steps_and_bytes_the_fastest_wins() -> None:
    choice = chosen_of(
        candidate("slower", 1.01), candidate("faster", 1.00), known={("slower", "faster"): TIED}
    )
    assert choice.chosen == "faster"


def test_a_candidate_that_is_certainly_slower_is_no_tie_however_simple() -> None:
    slower = Estimate(value=1.02, low=1.001, high=1.04)
    choice = chosen_of(
        candidate("fast", 1.00, steps=5),
        candidate("simple", 1.02, steps=0),
        known={("simple", "fast"): slower},
    )
    assert choice.chosen == "fast"


def test_of_as_many_steps_one_on_the_baselines_provider_wins() -> None:
    elsewhere = candidate("elsewhere", 1.00, size=500)
    plan = elsewhere.plan.model_copy(update={"provider": "openvino"})
    choice = chosen_of(
        candidate("fp32", 3, steps=0, role="baseline"),
        elsewhere.model_copy(update={"plan": plan}),
        candidate("here", 1.01, size=1000),
        known={("here", "elsewhere"): TIED},
    )
    assert choice.chosen == "here"
    assert "not certainly faster than here, which is simpler" in reason(choice, "elsewhere")


def test_of_as_many_steps_one_without_settings_of_its_own_wins() -> None:
    def with_threads(name: str, choices: dict[str, object]) -> CandidateResult:
        found = candidate(name, 1.00, size=100)
        plan = {"choices": choices, "settings": {"intra_op_threads": 1, "static_shapes": False}}
        return found.model_copy(update={"plan": found.plan.model_copy(update=plan)})

    plain = candidate("plain", 1.01, size=1000)
    known = {("plain", "set"): TIED}
    chosen = chosen_of(with_threads("set", {"intra_op_threads": 1}), plain, known=known)
    assert chosen.chosen == "plain"
    # An option of a pass is no setting that whoever deploys it has to keep.
    assert chosen_of(with_threads("set", {"bits": 8}), plain, known=known).chosen == "set"


def test_a_ratio_without_an_interval_tells_little_apart() -> None:
    known = {("simple", "fast"): Estimate(value=1.015)}
    results = candidate("fast", 1.00, steps=2), candidate("simple", 1.015, steps=1)
    assert chosen_of(*results, known=known).chosen == "simple"


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Estimate(value=1.4, low=0.7, high=2.9), "1.40 times the p50 of fast (0.70 to 2.90)"),
        (Estimate(value=1.4), "1.40 times the p50 of fast"),
    ],
)
def test_who_seems_much_slower_is_not_taken_for_being_simple(seen: Estimate, words: str) -> None:
    choice = chosen_of(
        candidate("fast", 1.00, steps=2),
        candidate("simple", 1.4, steps=1),
        known={("simple", "fast"): seen},
    )
    assert choice.chosen == "fast"
    assert reason(choice, "simple") == words


def test_who_is_slower_than_the_fastest_is_told_so_though_not_than_the_chosen() -> None:
    choice = chosen_of(
        candidate("fast", 1.00, steps=2),
        candidate("chosen", 1.01, steps=1),
        candidate("simple", 1.02, steps=0),
        known={
            ("chosen", "fast"): TIED,
            ("simple", "chosen"): TIED,
            ("simple", "fast"): Estimate(value=1.02, low=1.01, high=1.03),
        },
    )
    assert choice.chosen == "chosen"
    assert choice.tied_with == ("fast",)
    assert reason(choice, "simple") == "1.02 times the p50 of fast (1.01 to 1.03)"


def test_the_baseline_may_be_chosen() -> None:
    choice = chosen_of(candidate("fp32", 1, role="baseline"), candidate("int8", 2))
    assert choice.chosen == "fp32"


def test_the_reference_is_never_chosen_and_needs_no_reason() -> None:
    choice = chosen_of(
        candidate("eager", 0.1, steps=0, role="reference"), candidate("fp32", 3, role="baseline")
    )
    assert choice.chosen == "fp32"
    only = chosen_of(candidate("eager", 0.1, role="reference"))
    assert (only.chosen, only.rejected) == (None, ())


def test_a_candidate_that_fell_back_is_rejected_unless_that_is_allowed() -> None:
    results = (candidate("fast", 1, fell_back=True), candidate("slow", 2))
    choice = chosen_of(*results)
    assert choice.chosen == "slow"
    assert "did not run wholly on cuda" in reason(choice, "fast")
    assert "9 on CUDAExecutionProvider, 3 on CPUExecutionProvider" in reason(choice, "fast")
    assert "--allow-fallback" in reason(choice, "fast")
    assert chosen_of(*results, allow_fallback=True).chosen == "fast"


def test_a_budget_line_that_fails_for_certain_rejects() -> None:
    choice = chosen_of(
        candidate("fast", 1, size=20_000_000),
        candidate("small", 2, size=1000),
        budget=(P50, BudgetLine.parse("size <= 10 MB")),
    )
    assert choice.chosen == "small"
    assert "'size <= 10 MB' is certainly not met" in reason(choice, "fast")


def test_a_loss_beyond_the_margin_rejects_though_it_is_not_certain() -> None:
    open_loss = metric(interval(-0.02, -0.05, 0.01), max_drop=0.01)
    choice = chosen_of(candidate("lossy", 1, metrics=(open_loss,)), candidate("exact", 2))
    assert choice.chosen == "exact"
    assert reason(choice, "lossy") == "loses 0.02 of accuracy on selection; 0.01 is acceptable"


def test_a_loss_beyond_the_margin_for_certain_rejects_with_its_interval() -> None:
    loss = metric(interval(-0.03, -0.04, -0.02), max_drop=0.01)
    choice = chosen_of(candidate("lossy", 1, metrics=(loss,)), candidate("exact", 2))
    assert choice.chosen == "exact"
    assert "drops by less than 0.01' is certainly not met" in reason(choice, "lossy")
    assert "-0.04" in reason(choice, "lossy")


@pytest.mark.parametrize(
    ("delta", "higher_is_better", "max_drop", "accepted"),
    [
        (interval(-0.005, -0.02, 0.01), True, 0.01, True),
        (interval(0.5, 0.4, 0.6), True, 0.01, True),
        (interval(0.02, -0.01, 0.05), False, 0.01, False),
        (interval(-0.5, -0.6, -0.4), False, 0.01, True),
        (interval(-0.5, -0.6, -0.4), True, None, True),
    ],
)
def test_a_loss_within_the_margin_does_not_reject(
    delta: Estimate, higher_is_better: bool, max_drop: float | None, accepted: bool
) -> None:
    result = metric(delta, higher_is_better=higher_is_better, max_drop=max_drop)
    choice = chosen_of(candidate("int8", 1, metrics=(result,)), candidate("fp32", 2))
    assert choice.chosen == ("int8" if accepted else "fp32")


@pytest.mark.parametrize("during", ["build", "score", "time"])
def test_a_candidate_that_failed_is_rejected_with_its_cause(during: str) -> None:
    failure = Failure(during=during, cause="no kernel for int4")  # type: ignore[arg-type]
    choice = chosen_of(candidate("broken", 1, failure=failure), candidate("whole", 2))
    assert choice.chosen == "whole"
    assert reason(choice, "broken") == f"failed to {during}: no kernel for int4"


def test_a_candidate_that_was_not_measured_is_rejected() -> None:
    choice = chosen_of(candidate("late", is_measured=False), candidate("whole", 2))
    assert choice.chosen == "whole"
    assert "not measured" in reason(choice, "late")


def test_inconclusive_comes_after_pass_however_fast() -> None:
    unsure = interval(5, 4, 6)
    choice = chosen_of(
        candidate("fast", 1, p99=unsure),
        candidate("sure", 2, p99=interval(4, 3.9, 4.1)),
        budget=(P99,),
    )
    assert choice.chosen == "sure"
    assert choice.outcome == "PASS"
    assert "INCONCLUSIVE" in reason(choice, "fast")


@pytest.mark.parametrize(
    ("p99", "p50", "chosen"),
    [
        (Estimate(value=2.4, high=9.0), 1.0, "fast"),
        (Estimate(value=2.6, high=9.0), 1.0, "sure"),
        (None, 1.0, "fast"),
        (None, 1.9, "sure"),
    ],
    ids=["half", "more", "no-p99", "no-p99-and-a-p90-over-half"],
)
def test_who_joined_late_is_not_passed_over_for_a_p99_that_is_far_from_its_limit(
    p99: Estimate | None, p50: float, chosen: str
) -> None:
    """The p90 of these is 1.5 times their p50."""
    late = candidate("fast", p50)
    assert late.selection is not None
    timed = measured(interval(p50), p90=interval(1.5 * p50), p99=p99, support="insufficient")
    sure = candidate("sure", 2, p99=interval(4, 3.9, 4.1))
    seen = late.model_copy(update={"selection": evidence(timed)})
    choice = chosen_of(seen, sure, budget=(P99,))
    assert choice.chosen == chosen
    if chosen == "fast":
        assert choice.reason == "the smallest p50 of 2 candidates that may ship"
    wandering = timed.model_copy(update={"diagnostics": (WANDERED,)})
    seen = late.model_copy(update={"selection": evidence(wandering)})
    assert chosen_of(seen, sure, budget=(P99,)).chosen == "sure"


def test_the_reason_counts_those_that_were_compared() -> None:
    unsure = interval(5, 4, 6)
    behind = candidate("behind", 1, p99=unsure)
    first, second = (candidate(name, p50) for name, p50 in (("first", 2), ("second", 2.4)))
    one = chosen_of(behind, first, budget=(P99,))
    kept = "may ship with every budget line kept, as far as was seen"
    assert one.reason == f"the only candidate that {kept}"
    assert reason(one, "behind") == f"a budget line stays INCONCLUSIVE; another one {kept}"
    two = chosen_of(behind, first, second, budget=(P99,))
    assert two.reason == f"the smallest p50 of 2 candidates that {kept}"
    assert chosen_of(first, budget=(P99,)).reason == "the only candidate that may ship"


def test_where_nobody_passes_the_fastest_inconclusive_one_is_chosen() -> None:
    unsure = interval(5, 4, 6)
    choice = chosen_of(
        candidate("slow", 2, p99=unsure), candidate("fast", 1, p99=unsure), budget=(P99,)
    )
    assert choice.chosen == "fast"
    assert choice.outcome == "INCONCLUSIVE"


def test_an_open_margin_does_not_put_a_candidate_behind() -> None:
    unsure = metric(interval(-0.001, -0.02, 0.02), max_drop=0.01)
    choice = chosen_of(candidate("fast", 1, metrics=(unsure,)), candidate("slow", 2))
    assert choice.chosen == "fast"
    assert choice.outcome == "PASS"


def test_without_a_budget_everybody_passes() -> None:
    choice = chosen_of(candidate("a", 100), candidate("b", 50), budget=())
    assert (choice.chosen, choice.outcome) == ("b", "PASS")


def test_nothing_is_chosen_where_nothing_may_ship() -> None:
    choice = chosen_of(
        candidate("slow", 100),
        candidate("broken", 1, failure=Failure(during="build", cause="it broke")),
        candidate("elsewhere", 1, fell_back=True),
    )
    assert choice.chosen is None
    assert choice.outcome == "FAIL"
    assert choice.reason == "no candidate may ship"
    assert len(choice.rejected) == 3


def test_the_order_of_the_candidates_does_not_matter() -> None:
    results = [
        candidate("fast", 1.00, steps=3),
        candidate("simple", 1.01, steps=1),
        candidate("slow", 2.0, steps=0),
    ]
    known = {("simple", "fast"): TIED}
    assert chosen_of(*results, known=known).chosen == "simple"
    assert chosen_of(*reversed(results), known=known).chosen == "simple"


def test_who_met_in_the_same_rounds_is_compared_in_these_and_not_by_way_of_the_baseline() -> None:
    faster = Estimate(value=0.97, low=0.95, high=0.99)
    choice = chosen_of(
        candidate("flattered", 1.00, steps=0),
        candidate("faster", 1.01, steps=3),
        known={("faster", "flattered"): faster},
    )
    assert choice.chosen == "faster"
    assert "1.03 times the p50 of faster (1.01 to 1.05)" in reason(choice, "flattered")


@pytest.mark.parametrize(("seen", "chosen"), [(1.02, "simple"), (1.021, "fast")])
def test_who_seems_slower_by_more_than_two_percent_is_not_taken_for_being_simple(
    seen: float, chosen: str
) -> None:
    unsure = Estimate(value=seen, low=0.9, high=1.2)
    choice = chosen_of(
        candidate("fast", 1.00, steps=3),
        candidate("simple", seen, steps=1),
        known={("simple", "fast"): unsure},
    )
    assert choice.chosen == chosen


def contenders_of(
    *results: CandidateResult, known: Mapping[tuple[str, str], Estimate]
) -> tuple[str, ...]:
    return contenders(results, (P50,), allow_fallback=False, p50_ratio=ratios([*results], known))


def test_the_run_off_is_between_those_of_whom_it_is_open_who_is_fastest() -> None:
    left = candidate("left", 1.0)
    assert left.selection is not None
    early = left.selection.model_copy(update={"left_because": "certainly slower than fast"})
    found = contenders_of(
        candidate("slower", 1.04),
        candidate("open", 1.09),
        candidate("close", 1.01),
        candidate("out of reach", 1.11),
        candidate("fast", 1.0),
        candidate("over the budget", 9.0),
        left.model_copy(update={"selection": early}),
        known={
            ("slower", "fast"): Estimate(value=1.04, low=1.01, high=1.07),
            ("open", "fast"): Estimate(value=1.09, low=0.99, high=1.2),
            ("close", "fast"): TIED,
            ("out of reach", "fast"): Estimate(value=1.11, low=0.9, high=1.3),
            ("left", "fast"): Estimate(value=1.0),
        },
    )
    assert found == ("fast", "close", "open")


def in_run_off(result: CandidateResult, p50: float) -> CandidateResult:
    return result.model_copy(update={"run_off": evidence(measured(interval(p50)))})


def test_after_a_run_off_the_choice_is_between_those_that_were_in_it() -> None:
    known = {
        ("n0", "n1"): Estimate(value=1.05, low=1.03, high=1.07),
        ("n2", "n0"): Estimate(value=0.99, low=0.95, high=1.03),
        ("n2", "n1"): Estimate(value=0.99, low=0.95, high=1.03),
    }
    choice = chosen_of(
        in_run_off(candidate("n0", 0.97), 1.05),
        in_run_off(candidate("n1", 1.00), 1.00),
        candidate("n2", 0.96, steps=0),
        known=known,
    )
    assert choice.chosen == "n1"
    assert (
        choice.reason
        == "the smallest p50 of 2 candidates that were in the run-off, by the rounds that they share"
    )
    assert reason(choice, "n0") == "1.05 times the p50 of n1 (1.03 to 1.07)"
    assert reason(choice, "n2") == (
        "was not among the closest, which were in the run-off; 0.99 times the p50 of n1 "
        "(0.95 to 1.03) in the race"
    )


def test_who_fell_out_in_the_run_off_leaves_the_choice_to_the_others() -> None:
    fell = candidate("fell", 0.9, failure=Failure(during="time", cause="it broke"))
    choice = chosen_of(in_run_off(fell, 0.9), in_run_off(candidate("stayed", 1.0), 1.0))
    assert choice.chosen == "stayed"
    assert reason(choice, "fell") == "failed to time: it broke"


def test_there_is_no_run_off_where_one_is_certainly_the_fastest_or_nobody_may_ship() -> None:
    assert contenders_of(candidate("fast", 1.0), candidate("slow", 2.0), known={}) == ("fast",)
    assert contenders_of(candidate("slow", 9.0), known={}) == ()


def test_only_the_closest_are_in_the_run_off() -> None:
    names = [f"n{i}" for i in range(6)]
    known = {
        (name, "n0"): Estimate(value=1 + i / 100, low=0.9, high=1.2)
        for i, name in enumerate(names)
        if i
    }
    found = contenders_of(*(candidate(n, 1 + i / 100) for i, n in enumerate(names)), known=known)
    assert found == ("n0", "n1", "n2", "n3")


def test_who_left_the_race_is_in_the_run_off_only_where_it_would_be_chosen() -> None:
    def left(result: CandidateResult) -> CandidateResult:
        assert result.selection is not None
        seen = result.selection.model_copy(update={"left_because": "slower than another"})
        return result.model_copy(update={"selection": seen})

    known = {("a", "b"): TIED}
    a, b = candidate("a", 1.01, steps=2), candidate("b", 1.0, steps=2)
    assert contenders_of(left(a), b, known=known) == ("b",)
    assert contenders_of(left(candidate("a", 1.01)), b, known=known) == ("b", "a")
    assert contenders_of(a, left(b), known=known) == ("b", "a")


def test_the_one_that_would_be_chosen_without_a_run_off_is_in_it() -> None:
    names = [f"n{i}" for i in range(6)]
    results = [candidate(n, 1 + i / 1000, steps=1 if n == "n5" else 2) for i, n in enumerate(names)]
    known = {
        (name, "n0"): Estimate(value=1 + i / 1000, low=0.98, high=1.04)
        for i, name in enumerate(names)
        if i
    }
    assert choose(results, (P50,), False, ratios(results, known)).chosen == "n5"
    assert contenders_of(*results, known=known) == ("n0", "n1", "n2", "n5")


def test_the_rule_that_stands_in_the_plan_names_what_it_decides_by() -> None:
    for word in ("p50", "steps", "smallest artifact", "INCONCLUSIVE", "holdout"):
        assert word in SELECTION_RULE
