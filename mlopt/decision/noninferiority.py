"""What a candidate does to quality, on the evidence of the selection."""

from __future__ import annotations

from mlopt import stats
from mlopt.decision.judge import judge_margin
from mlopt.types.measurement import MetricResult
from mlopt.types.run import CandidateResult


def keeps_quality(result: CandidateResult) -> bool:
    """Whether no metric loses more than its margin, with the whole of its interval.

    Where selection is so small that not even answers without one change would show that, the loss
    that was seen decides: else nothing but the baseline itself would do.
    """
    metrics = _judged(result)
    return metrics is not None and all(map(_is_kept, metrics))


def loses_too_much(result: CandidateResult) -> bool:
    """Whether the loss that was seen of some metric is over its margin: the choice refuses that."""
    return any(_excess(metric) > 0 for metric in _judged(result) or ())


def _judged(result: CandidateResult) -> list[MetricResult] | None:
    """The metrics that have a margin; None where the candidate failed or was not scored."""
    evidence = result.selection
    if result.failure is not None or evidence is None or evidence.quality is None:
        return None
    return [metric for metric in evidence.quality.metrics if metric.max_drop is not None]


def _is_kept(metric: MetricResult) -> bool:
    outcome = judge_margin(metric).outcome
    if outcome != "INCONCLUSIVE" or _can_be_shown(metric):
        return outcome == "PASS"
    return _excess(metric) <= 0


def _can_be_shown(metric: MetricResult) -> bool:
    """Whether as many examples could show a loss below the margin if nothing changed."""
    assert metric.max_drop is not None, "only metrics with a margin are judged"
    if metric.gained is None:
        return metric.delta.has_interval
    return stats.smallest_provable_drop(metric.units or metric.examples) < metric.max_drop


def _excess(metric: MetricResult) -> float:
    """By how much the loss that was seen is over the margin."""
    assert metric.max_drop is not None, "only metrics with a margin are judged"
    loss = -metric.delta.value if metric.higher_is_better else metric.delta.value
    return loss - metric.max_drop
