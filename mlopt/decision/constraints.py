"""What keeps a candidate from being chosen, as numbers that a search can steer by."""

from __future__ import annotations

from collections.abc import Sequence

from mlopt.decision.judge import judge
from mlopt.types.budget import BudgetLine
from mlopt.types.decision import Verdict
from mlopt.types.measurement import MetricResult
from mlopt.types.run import CandidateResult

LEAST = 1e-9
"""Of a violation, however small it is."""


def violations(
    result: CandidateResult, budget: Sequence[BudgetLine], allow_fallback: bool
) -> tuple[float, ...]:
    """How far a measured candidate is from what it must keep; at most 0: it keeps that.

    One number for each budget line, one for the placement, and one for each metric with a margin:
    the excess over the limit, as a share of it. What a line does not certainly refuse is within it.
    The choice passes over the candidates that have a positive number, and no others.

    Args:
        result: The candidate.
        budget: The lines.
        allow_fallback: Whether nodes may run on another provider than the one asked for.
    """
    evidence = result.selection
    if evidence is None:
        return ()
    verdicts = judge(budget, evidence, result.size_bytes)
    metrics = evidence.quality.metrics if evidence.quality is not None else ()
    judged = [metric for metric in metrics if metric.max_drop is not None]
    return (
        *(
            _excess(line, verdict)
            for line, verdict in zip(budget, verdicts[: len(budget)], strict=True)
        ),
        1.0 if result.fell_back and not allow_fallback else 0.0,
        *map(_beyond_margin, judged),
    )


def _excess(line: BudgetLine, verdict: Verdict) -> float:
    """Of the end of the interval that is nearest to the limit."""
    seen = verdict.observed
    if verdict.outcome != "FAIL" or seen is None:
        return 0.0
    if line.is_throughput:
        nearest = seen.value if seen.high is None else seen.high
        return max(LEAST, 1 - nearest / line.limit)
    nearest = seen.value if seen.low is None else seen.low
    return max(LEAST, nearest / line.limit - 1)


def _beyond_margin(metric: MetricResult) -> float:
    assert metric.max_drop is not None, "only metrics with a margin are judged"
    loss = -metric.delta.value if metric.higher_is_better else metric.delta.value
    return (loss - metric.max_drop) / (metric.max_drop or 1.0)
