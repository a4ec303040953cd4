"""What ``--json`` says of a candidate."""

from __future__ import annotations

from typing import Any

from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Evidence
from mlopt.types.run import CandidateResult


def candidate_document(result: CandidateResult) -> dict[str, Any]:
    """One entry of ``candidates``.

    Latencies are those of the selection at the first workload, under ``run_off`` those of the run-off
    and under ``confirmation`` those that the verdict stands on; metrics are those of the holdout
    where the candidate was confirmed on it, else of the selection split.
    """
    evidence = result.selection
    return {
        "name": result.name,
        "role": result.plan.role,
        "recipe": result.plan.recipe,
        "provider": result.plan.provider,
        "status": result.status,
        "failure": None if result.failure is None else result.failure.model_dump(exclude={"log"}),
        **_latencies(evidence),
        "metrics": _metrics(result),
        "size_bytes": result.size_bytes,
        "peak_rss_bytes": _value(evidence.peak_rss_bytes if evidence else None),
        "cold_start_ms": _value(evidence.cold_start_ms if evidence else None),
        "run_off": None if result.run_off is None else _latencies(result.run_off),
        "confirmation": None if result.confirmation is None else _latencies(result.confirmation),
    }


def _latencies(evidence: Evidence | None) -> dict[str, Any]:
    timed = evidence.measurements[0] if evidence is not None and evidence.measurements else None
    return {
        "p50_ms": _value(timed.p50_ms if timed else None),
        "p50_ci_ms": interval(timed.p50_ms if timed else None),
        "p99_ms": _value(timed.p99_ms if timed else None),
        "p99_ci_ms": interval(timed.p99_ms if timed else None),
        "p50_ratio": _value(timed.p50_ratio if timed else None),
        "p50_ratio_ci": interval(timed.p50_ratio if timed else None),
    }


def interval(estimate: Estimate | None) -> list[float | None] | None:
    """``[low, high]``; ``[null, high]`` for an upper bound only; None where there is neither."""
    if estimate is None or estimate.high is None:
        return None
    return [estimate.low, estimate.high]


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _metrics(result: CandidateResult) -> dict[str, Any]:
    for evidence in (result.confirmation, result.selection):
        if evidence is not None and evidence.quality is not None:
            return {
                metric.name: {
                    "value": metric.value,
                    "delta": metric.delta.value,
                    "delta_ci": interval(metric.delta),
                    "split": metric.split,
                }
                for metric in evidence.quality.metrics
            }
    return {}
