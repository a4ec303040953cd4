"""Evidence and candidates, made to measure."""

from __future__ import annotations

from typing import Any

from mlopt.types.candidate import PlannedCandidate, Role, Step
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import (
    Diagnostic,
    Evidence,
    Measurement,
    MetricResult,
    Placement,
    Quality,
    TailSupport,
)
from mlopt.types.run import CandidateResult, Failure
from mlopt.types.tensors import ArrayRef
from mlopt.types.workload import Workload


def interval(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    """An estimate, by default within 1%."""
    if low is None and high is None:
        low, high = 0.99 * value, 1.01 * value
    return Estimate(value=value, low=low, high=high)


def measured(
    p50: Estimate,
    *,
    p90: Estimate | None = None,
    p99: Estimate | None = None,
    mean: Estimate | None = None,
    support: TailSupport = "interval",
    count: int = 6000,
    rounds: int = 60,
    batch_size: int = 1,
    ratio: Estimate | None = None,
    diagnostics: tuple[Diagnostic, ...] = (),
    walked: float | None = None,
) -> Measurement:
    return Measurement(
        workload=Workload(batch_size=batch_size),
        trial="selection",
        samples=ArrayRef(path="a.npz", sha256="0", dtype="int64", shape=(count, 3)),
        launches=5,
        rounds=rounds,
        p50_ms=p50,
        p90_ms=p90 or p50,
        p99_ms=p99,
        p99_support=support,
        mean_ms=mean or p50,
        p50_ratio=ratio,
        p99_ratio=None,
        stopped_because="done",
        diagnostics=diagnostics,
        walked=walked,
    )


def metric(
    delta: Estimate,
    *,
    higher_is_better: bool = True,
    max_drop: float | None = 0.01,
    name: str = "accuracy",
    **changes: Any,
) -> MetricResult:
    return MetricResult(
        name=name,
        split="selection",
        examples=1000,
        value=0.9 + delta.value,
        baseline_value=0.9,
        delta=delta,
        higher_is_better=higher_is_better,
        max_drop=max_drop,
        method="a method",
        **changes,
    )


def evidence(
    *measurements: Measurement,
    metrics: tuple[MetricResult, ...] | None = None,
    cold_start: Estimate | None = None,
    rss: Estimate | None = None,
) -> Evidence:
    quality = None
    if metrics is not None:
        quality = Quality(split="selection", predictions=None, metrics=metrics, flip_rate=0.0)
    return Evidence(
        measurements=measurements, quality=quality, cold_start_ms=cold_start, peak_rss_bytes=rss
    )


def candidate(
    name: str,
    p50: float = 1.0,
    *,
    steps: int = 1,
    size: int = 1000,
    role: Role = "candidate",
    p99: Estimate | None = None,
    metrics: tuple[MetricResult, ...] = (),
    failure: Failure | None = None,
    fell_back: bool = False,
    is_measured: bool = True,
) -> CandidateResult:
    """A candidate that has been measured, with its p50 in milliseconds."""
    plan = PlannedCandidate(
        name=name,
        role=role,
        recipe=name,
        provider="cuda",
        runner="onnxruntime",
        steps=tuple(Step(transformation=f"step_{i}") for i in range(steps)),
    )
    seen = evidence(measured(interval(p50), p99=p99 or interval(2 * p50)), metrics=metrics)
    return CandidateResult(
        plan=plan,
        status="failed" if failure is not None else "measured",
        failure=failure,
        size_bytes=size,
        placement=Placement(nodes={"CUDAExecutionProvider": 9, "CPUExecutionProvider": 3}),
        fell_back=fell_back,
        selection=seen if is_measured else None,
    )


def raced(
    plan: PlannedCandidate,
    ratio: float | None,
    loss: float = 0.0,
    *,
    spread: float = 0.01,
    max_drop: float = 0.01,
) -> CandidateResult:
    """A candidate that was scored, and timed beside the baseline.

    Args:
        plan: The candidate.
        ratio: Its p50 over the baseline's, which is 1 ms; None: it was not timed.
        loss: Of the accuracy.
        spread: Half the length of the interval of the loss.
        max_drop: How much may be lost.
    """
    delta = Estimate(value=-loss, low=-loss - spread, high=-loss + spread)
    timed = () if ratio is None else (measured(interval(ratio), ratio=interval(ratio)),)
    return CandidateResult(
        plan=plan,
        status="measured",
        size_bytes=1000,
        selection=evidence(*timed, metrics=(metric(delta, max_drop=max_drop),)),
    )
