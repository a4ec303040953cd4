"""Budget lines and margins, judged on evidence: PASS, FAIL or INCONCLUSIVE."""

from __future__ import annotations

from collections.abc import Sequence

from mlopt import stats
from mlopt.profiling.diagnostics import wandered
from mlopt.types.budget import BudgetLine, format_quantity
from mlopt.types.decision import Outcome, Verdict
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Evidence, Measurement, MetricResult

STEADY = "a machine whose speed does not wander"
"""What a latency needs before it has a level that a line can be about."""


def judge(
    budget: Sequence[BudgetLine], evidence: Evidence, size_bytes: int | None
) -> tuple[Verdict, ...]:
    """Every budget line, then every metric that has a margin.

    Args:
        budget: The lines.
        evidence: Of one candidate.
        size_bytes: Of its artifact.
    """
    lines = [_judge_line(line, evidence, size_bytes) for line in budget]
    metrics = evidence.quality.metrics if evidence.quality is not None else ()
    return (*lines, *(judge_margin(m) for m in metrics if m.max_drop is not None))


def judge_margin(metric: MetricResult) -> Verdict:
    """Non-inferiority: the interval of the loss decides, never the point estimate.

    PASS when even the worst end of the interval loses less than the margin, FAIL when even the
    best end loses more, else INCONCLUSIVE.
    """
    margin = metric.max_drop
    assert margin is not None, "only metrics with a margin are judged"
    sign = -1.0 if metric.higher_is_better else 1.0
    low, high = metric.delta.low, metric.delta.high
    verb = "drops" if metric.higher_is_better else "rises"
    line = f"{metric.name} {verb} by less than {margin:.4g}"
    outcome: Outcome = "INCONCLUSIVE"
    if low is not None and high is not None:
        best, worst = sorted((sign * low, sign * high))
        outcome = "PASS" if worst < margin else "FAIL" if best > margin else "INCONCLUSIVE"
    settles = _examples_needed(metric) if outcome == "INCONCLUSIVE" else None
    return Verdict(
        line=line, outcome=outcome, observed=metric.delta, unit=metric.name, settles=settles
    )


def _examples_needed(metric: MetricResult) -> str:
    assert metric.max_drop is not None, "only metrics with a margin are judged"
    units, what = (
        (metric.examples, "examples") if metric.units is None else (metric.units, "groups")
    )
    if metric.gained is None or metric.lost is None or metric.units is not None:
        needed = stats.examples_needed_from_interval(
            metric.delta,
            units,
            metric.max_drop,
            higher_is_better=metric.higher_is_better,
        )
    else:
        needed = stats.examples_needed(metric.gained, metric.lost, metric.examples, metric.max_drop)
    if needed is None:
        return "no realistic number of examples: the delta lies at the margin"
    return f"about {needed} {what} in {metric.split} (it has {units})"


def _judge_line(line: BudgetLine, evidence: Evidence, size_bytes: int | None) -> Verdict:
    if line.quantity == "size_bytes":
        exact = None if size_bytes is None else float(size_bytes)
        observed = None if exact is None else Estimate(value=exact, low=exact, high=exact)
        return _verdict(line, observed, "bytes", "building the artifact")
    if line.is_throughput:
        return _judge_throughput(line, evidence)
    if line.quantity == "rss_bytes":
        return _verdict(line, evidence.peak_rss_bytes, "bytes", "more launches")
    if line.quantity == "cold_start_ms":
        return _verdict(line, evidence.cold_start_ms, "ms", "more launches")
    return _judge_latency(line, evidence)


def _judge_latency(line: BudgetLine, evidence: Evidence) -> Verdict:
    """Where the latency did a random walk, by how far it may go, not by where it happened to be."""
    measured = [m for m in evidence.measurements if m.workload.name == line.workload]
    if not measured:
        return _verdict(line, None, "ms", f"timing the workload {line.workload}")
    observed = latency_of(line, measured[0])
    if wandered(measured[0].diagnostics):
        return _verdict(line, _twice_as_far(observed, measured[0].walked), "ms", STEADY)
    return _verdict(line, observed, "ms", _more_samples(line, measured[0]))


def _twice_as_far(seen: Estimate | None, walked: float | None) -> Estimate | None:
    """Where a latency that did a random walk may be found: twice as far off as it was seen to go.

    Of a Brownian motion, the median over a period lies twice the range of the period before above
    the median of that one in fewer than 1 of 100 cases, and once the range in 5 of 100 (a test simulates it).

    Args:
        seen: Where it happened to be.
        walked: The largest level over the smallest; None: not known, and then no limit is kept for
            certain.
    """
    if seen is None or walked is None:
        return None if seen is None else Estimate(value=seen.value)
    return Estimate(
        value=seen.value,
        low=None if seen.low is None else seen.low / walked**2,
        high=None if seen.high is None else seen.high * walked**2,
    )


def _judge_throughput(line: BudgetLine, evidence: Evidence) -> Verdict:
    """PASS when the limit was shown to be sustained, FAIL when it was shown not to be.

    The upper end of a sustained rate is itself a rate that is not sustained.
    """
    found = [result for result in evidence.load if result.workload.name == line.workload]
    observed = found[0].sustained_per_s if found else None
    outcome: Outcome = "INCONCLUSIVE"
    if observed is not None and observed.low is not None and observed.low >= line.limit:
        outcome = "PASS"
    elif observed is not None and observed.high is not None and observed.high <= line.limit:
        outcome = "FAIL"
    settles = None
    if outcome == "INCONCLUSIVE":
        settles = f"more time under a load of {format_quantity(line.quantity, line.limit)}"
    return Verdict(
        line=str(line), outcome=outcome, observed=observed, unit="per_s", settles=settles
    )


def latency_of(line: BudgetLine, measurement: Measurement) -> Estimate | None:
    """The latency that a line is about; None where there are too few samples for it."""
    estimates = {
        "p50_ms": measurement.p50_ms,
        "p90_ms": measurement.p90_ms,
        "p99_ms": measurement.p99_ms,
        "mean_ms": measurement.mean_ms,
    }
    return estimates[line.quantity]


def _more_samples(line: BudgetLine, measurement: Measurement) -> str:
    if line.quantity == "p99_ms" and measurement.p99_support != "interval":
        return _for_a_tail(measurement)
    return "more launches (a larger `measurement.launches`), or a quieter machine"


def _for_a_tail(measurement: Measurement) -> str:
    """What an interval of the p99 needs; samples that depend on each other count as fewer."""
    needed = stats.samples_for_interval(0.99)
    count, rounds = measurement.count, measurement.rounds
    worth = measurement.p99_samples or count
    factor = max(needed / worth, stats.TAIL_ROUNDS / rounds)
    seconds = max(1, round((factor - 1) * count * measurement.mean_ms.value / 1000))
    seen = f"{count} in {rounds}" + (f", worth {worth:.0f}" if worth < 0.9 * count else "")
    return (
        f"{needed} independent samples in {stats.TAIL_ROUNDS} rounds (there are {seen}), "
        f"about {seconds} s more of timing of this candidate alone"
    )


def _verdict(line: BudgetLine, observed: Estimate | None, unit: str, settles: str) -> Verdict:
    outcome: Outcome = "INCONCLUSIVE"
    if observed is not None and observed.high is not None and observed.high <= line.limit:
        outcome = "PASS"
    elif observed is not None and observed.low is not None and observed.low > line.limit:
        outcome = "FAIL"
    return Verdict(
        line=str(line),
        outcome=outcome,
        observed=observed,
        unit=unit,
        settles=settles if outcome == "INCONCLUSIVE" else None,
    )
