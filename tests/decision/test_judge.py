"""Budget lines and margins, judged: PASS, FAIL or INCONCLUSIVE, and what would settle it."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import pytest
from made_by_hand import evidence, interval, measured, metric

from mlopt import stats
from mlopt.decision import judge
from mlopt.types.budget import BudgetLine
from mlopt.types.decision import Outcome, Verdict, worst
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Diagnostic, Evidence, MetricResult

BELOW, AROUND, ABOVE = interval(4, 3.9, 4.1), interval(5, 4.9, 5.1), interval(6, 5.9, 6.1)


def verdict(line: str, seen: Evidence, size: int | None = None) -> Verdict:
    (found,) = judge([BudgetLine.parse(line)], seen, size)
    assert (found.settles is None) == (found.outcome != "INCONCLUSIVE")
    return found


def margin_verdict(result: MetricResult) -> Verdict:
    (found,) = judge([], evidence(metrics=(result,)), None)
    return found


def of(quantity: str, estimate: Estimate) -> Evidence:
    """Evidence in which one quantity decides, and the others would decide otherwise."""
    other = interval(5, 1, 100)
    latency = dict.fromkeys(("p50", "p90", "p99", "mean"), other)
    if quantity in latency:
        latency[quantity] = estimate
    p50 = latency.pop("p50")
    return evidence(
        measured(p50, **latency),
        cold_start=estimate if quantity == "cold_start" else other,
        rss=estimate.scaled(1e6) if quantity == "rss" else other.scaled(1e6),
    )


@pytest.mark.parametrize("quantity", ["p50", "p90", "p99", "mean", "cold_start", "rss"])
@pytest.mark.parametrize(
    ("estimate", "outcome"),
    [
        (BELOW, "PASS"),
        (ABOVE, "FAIL"),
        (AROUND, "INCONCLUSIVE"),
        (interval(4.5, 4, 5), "PASS"),
        (interval(5.5, 5, 6), "INCONCLUSIVE"),
        (Estimate(value=4, high=4.5), "PASS"),
        (Estimate(value=6, high=6.5), "INCONCLUSIVE"),
        (Estimate(value=4), "INCONCLUSIVE"),
        (Estimate(value=6), "INCONCLUSIVE"),
    ],
)
def test_the_interval_of_a_measured_quantity_decides(
    quantity: str, estimate: Estimate, outcome: Outcome
) -> None:
    line = f"{quantity} <= 5 {'MB' if quantity == 'rss' else 'ms'}"
    found = verdict(line, of(quantity, estimate))
    assert found.outcome == outcome
    assert found.observed is not None
    assert found.observed.value == pytest.approx(estimate.value * (1e6 if quantity == "rss" else 1))
    assert found.unit == ("bytes" if quantity == "rss" else "ms")


@pytest.mark.parametrize(
    ("size", "outcome"),
    [(9_999_999, "PASS"), (10_000_000, "PASS"), (10_000_001, "FAIL"), (None, "INCONCLUSIVE")],
)
def test_the_size_is_exact(size: int | None, outcome: Outcome) -> None:
    found = verdict("size <= 10 MB", evidence(), size)
    assert found.outcome == outcome
    if size is not None:
        assert found.observed == Estimate(value=size, low=size, high=size)


def test_the_line_is_told_as_it_was_agreed() -> None:
    assert verdict("p99 <= 5 ms", of("p99", BELOW)).line == "p99 <= 5 ms"


@pytest.mark.parametrize("quantity", ["cold_start <= 5 ms", "rss <= 5 MB", "p99 <= 5 ms"])
def test_what_was_not_measured_is_inconclusive(quantity: str) -> None:
    found = verdict(quantity, evidence())
    assert found.outcome == "INCONCLUSIVE"
    assert found.observed is None


def test_a_line_is_judged_on_its_own_workload() -> None:
    seen = evidence(measured(BELOW), measured(ABOVE, batch_size=8))
    assert verdict("p50 <= 5 ms", seen).outcome == "PASS"
    assert verdict("p50 <= 5 ms @ batch-8", seen).outcome == "FAIL"
    missing = verdict("p50 <= 5 ms @ batch-4", seen)
    assert missing.outcome == "INCONCLUSIVE"
    assert "batch-4" in (missing.settles or "")


def test_an_upper_bound_of_the_p99_passes_or_stays_open_but_never_fails() -> None:
    def with_bound(high: float) -> Evidence:
        p99 = Estimate(value=0.9 * high, high=high)
        return evidence(measured(interval(1), p99=p99, support="upper_bound", count=500, rounds=60))

    assert verdict("p99 <= 5 ms", with_bound(4.9)).outcome == "PASS"
    over = verdict("p99 <= 5 ms", with_bound(50))
    assert over.outcome == "INCONCLUSIVE"
    assert f"{stats.samples_for_interval(0.99)} independent samples in 50 rounds" in (
        over.settles or ""
    )


def seconds_in(text: str | None) -> int:
    match = re.search(r"about (\d+) s more", text or "")
    assert match is not None, text
    return int(match[1])


@pytest.mark.parametrize(
    ("count", "rounds", "mean_ms", "seconds"),
    [
        pytest.param(162, 60, 100, 50, id="500 samples are missing"),
        pytest.param(6000, 30, 100, 400, id="20 rounds of 200 are missing"),
        pytest.param(600, 50, 1, 1, id="never less than a second"),
    ],
)
def test_too_few_samples_for_the_p99_say_how_long_it_would_take(
    count: int, rounds: int, mean_ms: float, seconds: int
) -> None:
    seen = evidence(
        measured(
            interval(1),
            mean=interval(mean_ms),
            support="insufficient",
            count=count,
            rounds=rounds,
        )
    )
    found = verdict("p99 <= 5 ms", seen)
    assert found.outcome == "INCONCLUSIVE"
    assert f"there are {count} in {rounds}" in (found.settles or "")
    assert seconds_in(found.settles) == seconds
    assert (found.settles or "").endswith("of this candidate alone")


@pytest.mark.parametrize("estimate", [BELOW, ABOVE])
@pytest.mark.parametrize("quantity", ["p50", "p90", "p99", "mean"])
def test_a_latency_that_wanders_has_no_level_to_judge(quantity: str, estimate: Estimate) -> None:
    def seen(name: str, status: Literal["ok", "warning"]) -> Evidence:
        found = Diagnostic(name=name, status=status, seen="0.2")
        values = dict.fromkeys(("p90", "p99", "mean"), estimate)
        return evidence(measured(estimate, **values, diagnostics=(found,)))

    wandering = verdict(f"{quantity} <= 5 ms", seen("random walk", "warning"))

    assert wandering.outcome == "INCONCLUSIVE"
    assert wandering.settles == "a machine whose speed does not wander"
    assert wandering.observed == Estimate(value=estimate.value)
    for calm in (seen("random walk", "ok"), seen("drift", "warning")):
        assert verdict(f"{quantity} <= 5 ms", calm).outcome != "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("limit", "outcome"),
    [
        pytest.param(17, "PASS", id="above twice as far"),
        pytest.param(16, "INCONCLUSIVE", id="within twice as far, above"),
        pytest.param(1.0, "INCONCLUSIVE", id="within twice as far, below"),
        pytest.param(0.97, "FAIL", id="below twice as far"),
    ],
)
def test_a_limit_that_a_walk_would_not_reach_is_judged(limit: float, outcome: Outcome) -> None:
    walk = Diagnostic(name="random walk", status="warning", seen="0.2")
    seen = evidence(measured(BELOW, diagnostics=(walk,), walked=2.0))
    found = verdict(f"p50 <= {limit} ms", seen)
    assert found.outcome == outcome
    assert found.observed == interval(4, 3.9 / 4, 4.1 * 4)


def test_a_bound_of_the_p99_passes_below_what_a_walk_would_reach() -> None:
    walk = Diagnostic(name="random walk", status="warning", seen="0.2")
    bound = Estimate(value=4, high=4.5)
    seen = evidence(
        measured(BELOW, p99=bound, support="upper_bound", diagnostics=(walk,), walked=2.0)
    )
    assert verdict("p99 <= 18 ms", seen).outcome == "PASS"
    assert verdict("p99 <= 17 ms", seen).outcome == "INCONCLUSIVE"


def test_a_walk_seldom_goes_twice_as_far_as_it_was_seen_to_go() -> None:
    rng = np.random.default_rng(7)
    steps = rng.normal(0, 0.01, (4000, 96)).cumsum(axis=1)
    before, after = steps[:, :48], steps[:, 48:]
    farther = {
        times: float(
            np.mean(
                np.median(after, axis=1) - np.median(before, axis=1)
                > times * (before.max(axis=1) - before.min(axis=1))
            )
        )
        for times in (1, 2)
    }
    assert farther[2] < 0.01
    assert farther[1] > 0.025, "once is not enough"


def test_what_is_no_latency_is_judged_though_the_latency_wanders() -> None:
    walk = Diagnostic(name="random walk", status="warning", seen="0.2")
    seen = evidence(measured(BELOW, diagnostics=(walk,)), cold_start=BELOW)
    assert verdict("cold_start <= 5 ms", seen).outcome == "PASS"
    assert verdict("size <= 1 MB", seen, 10).outcome == "PASS"


def test_an_interval_around_the_limit_is_settled_by_more_launches() -> None:
    assert "launches" in (verdict("p50 <= 5 ms", of("p50", AROUND)).settles or "")


# A drop of 0.01 is acceptable. Deltas of a metric where higher is better:
MARGIN_CASES = [
    pytest.param(interval(0.0, -0.004, 0.004), "PASS", id="loses less for certain"),
    pytest.param(interval(0.03, 0.02, 0.04), "PASS", id="gains"),
    pytest.param(interval(-0.009, -0.0099, -0.008), "PASS", id="loses, within the margin"),
    pytest.param(interval(-0.03, -0.04, -0.02), "FAIL", id="loses more for certain"),
    pytest.param(interval(-0.005, -0.02, 0.01), "INCONCLUSIVE", id="may lose more"),
    pytest.param(interval(-0.02, -0.03, -0.005), "INCONCLUSIVE", id="may lose less"),
    pytest.param(interval(0.0, -0.01, 0.01), "INCONCLUSIVE", id="reaches the margin"),
    pytest.param(Estimate(value=0.0), "INCONCLUSIVE", id="no interval"),
    pytest.param(Estimate(value=-0.5), "INCONCLUSIVE", id="no interval, however bad"),
]


@pytest.mark.parametrize(("delta", "outcome"), MARGIN_CASES)
def test_non_inferiority_is_decided_by_the_interval_of_the_loss(
    delta: Estimate, outcome: Outcome
) -> None:
    found = margin_verdict(metric(delta))
    assert found.outcome == outcome
    assert found.line == "accuracy drops by less than 0.01"
    assert found.observed == delta
    assert (found.settles is None) == (outcome != "INCONCLUSIVE")


@pytest.mark.parametrize(("delta", "outcome"), MARGIN_CASES)
def test_where_lower_is_better_the_same_holds_for_a_rise(delta: Estimate, outcome: Outcome) -> None:
    mirrored = Estimate(
        value=-delta.value,
        low=None if delta.high is None else -delta.high,
        high=None if delta.low is None else -delta.low,
    )
    found = margin_verdict(metric(mirrored, higher_is_better=False, name="mse"))
    assert found.outcome == outcome
    assert found.line == "mse rises by less than 0.01"


def test_an_open_accuracy_says_how_many_examples_would_settle_it() -> None:
    low, high = stats.tango_interval(5, 8, 1000)
    found = margin_verdict(
        metric(Estimate(value=-0.003, low=low, high=high), max_drop=0.01, gained=5, lost=8)
    )
    assert found.outcome == "INCONCLUSIVE"
    needed = stats.examples_needed(5, 8, 1000, 0.01)
    assert found.settles == f"about {needed} examples in selection (it has 1000)"


def test_an_accuracy_at_the_margin_is_settled_by_no_number_of_examples() -> None:
    low, high = stats.tango_interval(0, 10, 1000)
    found = margin_verdict(
        metric(Estimate(value=-0.01, low=low, high=high), max_drop=0.01, gained=0, lost=10)
    )
    assert "no realistic number of examples" in (found.settles or "")


def test_any_other_open_metric_asks_for_as_many_as_its_interval_must_shrink() -> None:
    found = margin_verdict(metric(interval(0, -0.04, 0.04), name="f1", max_drop=0.02))
    assert found.settles == "about 4001 examples in selection (it has 1000)"


def test_metrics_without_a_margin_are_not_judged_and_lines_come_first() -> None:
    delta = interval(0, -0.001, 0.001)
    seen = evidence(
        measured(BELOW),
        metrics=(metric(delta, name="f1", max_drop=None), metric(delta)),
    )
    found = judge([BudgetLine.parse("p50 <= 5 ms")], seen, None)
    assert [v.line for v in found] == ["p50 <= 5 ms", "accuracy drops by less than 0.01"]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], "PASS"),
        (["PASS", "PASS"], "PASS"),
        (["PASS", "INCONCLUSIVE"], "INCONCLUSIVE"),
        (["INCONCLUSIVE", "FAIL", "PASS"], "FAIL"),
    ],
)
def test_the_worst_outcome_is_that_of_the_whole(outcomes: list[Outcome], expected: Outcome) -> None:
    assert worst(outcomes) == expected


def test_what_would_settle_an_open_margin_is_counted_in_groups_where_there_are_any() -> None:
    open_one = metric(interval(-0.01, -0.03, 0.01), max_drop=0.015, gained=20, lost=30)
    alone, grouped = (
        margin_verdict(open_one.model_copy(update={"units": units})) for units in (None, 40)
    )
    assert alone.outcome == grouped.outcome == "INCONCLUSIVE"
    assert re.search(r"about \d+ examples in selection \(it has 1000\)", alone.settles or "")
    found = re.search(r"about (\d+) groups in selection \(it has 40\)", grouped.settles or "")
    assert found is not None
    assert int(found[1]) > 40
