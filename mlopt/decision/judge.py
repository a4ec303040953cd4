"""Budget lines and margins, judged on evidence: PASS, FAIL or INCONCLUSIVE."""

from __future__ import annotations

from collections.abc import Sequence

from mlopt import stats
from mlopt.types.budget import BudgetLine
from mlopt.types.decision import Outcome, Verdict
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Evidence, Measurement, MetricResult

"""Least rounds for an interval of the p99 (``stats.tail_support``)."""


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
    if metric.gained is None or metric.lost is None or metric.max_drop is None:
        return f"more examples than the {metric.examples} of {metric.split}"
    needed = stats.examples_needed(metric.gained, metric.lost, metric.examples, metric.max_drop)
    if needed is None:
        return "no realistic number of examples: the delta lies at the margin"
    return f"about {needed} examples in {metric.split} (it has {metric.examples})"


def _judge_line(line: BudgetLine, evidence: Evidence, size_bytes: int | None) -> Verdict:
    if line.quantity == "size_bytes":
        exact = None if size_bytes is None else float(size_bytes)
        observed = None if exact is None else Estimate(value=exact, low=exact, high=exact)
        return _verdict(line, observed, "bytes", "building the artifact")
    if line.quantity == "rss_bytes":
        return _verdict(line, evidence.peak_rss_bytes, "bytes", "more launches")
    if line.quantity == "cold_start_ms":
        return _verdict(line, evidence.cold_start_ms, "ms", "more launches")
    measured = [m for m in evidence.measurements if m.workload.name == line.workload]
    if not measured:
        return _verdict(line, None, "ms", f"timing the workload {line.workload}")
    return _verdict(line, _latency(line, measured[0]), "ms", _more_samples(line, measured[0]))


def _latency(line: BudgetLine, measurement: Measurement) -> Estimate | None:
    estimates = {
        "p50_ms": measurement.p50_ms,
        "p90_ms": measurement.p90_ms,
        "p99_ms": measurement.p99_ms,
        "mean_ms": measurement.mean_ms,
    }
    return estimates[line.quantity]


def _more_samples(line: BudgetLine, measurement: Measurement) -> str:
    if line.quantity == "p99_ms" and measurement.p99_support != "interval":
        needed = stats.samples_for_interval(0.99)
        in_rounds = (
            (stats.TAIL_ROUNDS - measurement.rounds) * measurement.count / measurement.rounds
        )
        more = max(needed - measurement.count, in_rounds)
        seconds = more * measurement.mean_ms.value / 1000
        return (
            f"{needed} samples in {stats.TAIL_ROUNDS} rounds (there are {measurement.count} in {measurement.rounds}), "
            f"about {max(1, round(seconds))} s more of timing"
        )
    return "more launches (a larger `measurement.launches`), or a quieter machine"


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
