"""Runs with hand-made results, as a proposer is told them."""

from __future__ import annotations

from typing import Any

from mlopt.types.candidate import PlannedCandidate, Step
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Evidence, Measurement, MetricResult, Quality
from mlopt.types.plan import Margin, Plan, Schedule
from mlopt.types.run import CandidateResult, Environment, Run
from mlopt.types.tensors import ArrayRef
from mlopt.types.workload import Workload


def planned(name: str, **changes: Any) -> PlannedCandidate:
    fields = {"role": "candidate", "recipe": name.partition("[")[0], "provider": "cpu"}
    steps = (Step(transformation="export_onnx"),)
    return PlannedCandidate.model_validate(
        {"name": name, "runner": "onnxruntime", "steps": steps, **fields, **changes}
    )


def baseline() -> CandidateResult:
    return seen(planned("fp32", role="baseline"), 1.0, 0.0)


def seen(
    plan: PlannedCandidate, ratio: float | None = None, loss: float = 0.0, *, spread: float = 0.001
) -> CandidateResult:
    """A candidate whose p50 is ``ratio`` times the baseline's (None: not timed), and what it loses."""
    timed = () if ratio is None else (_measurement(ratio),)
    delta = Estimate(value=-loss, low=-loss - spread, high=-loss + spread)
    quality = Quality(
        split="selection", predictions=None, flip_rate=0.0, metrics=(_metric(0.9, delta),)
    )
    evidence = Evidence(
        measurements=timed, quality=quality, cold_start_ms=None, peak_rss_bytes=None
    )
    return CandidateResult(plan=plan, status="measured", size_bytes=1000, selection=evidence)


def run_of(*results: CandidateResult, **changes: Any) -> Run:
    """A run of the baseline and ``results``."""
    candidates = (baseline(), *results)
    plan = Plan(
        project="fake",
        command="mlopt optimize",
        sources_sha256="0",
        model_sha256="0",
        data={},
        candidates=(candidates[0].plan,),
        budget=(),
        margins=(Margin(metric="accuracy", higher_is_better=True, max_drop=0.01),),
        workloads=(Workload(),),
        schedule=Schedule(),
        seed=0,
        proposer="a test",
        selection_rule="a test",
        predictions_per_day=None,
        allow_fallback=False,
        time_limit_s=None,
    ).model_copy(update=changes)
    return Run(
        mlopt_version="0",
        status="running",
        started_at="2026-01-01T00:00:00Z",
        plan=plan,
        plan_sha256="0",
        environment=_environment(),
        candidates=candidates,
    )


def _measurement(ratio: float) -> Measurement:
    p50 = Estimate(value=ratio, low=0.99 * ratio, high=1.01 * ratio)
    return Measurement(
        workload=Workload(),
        trial="selection",
        samples=ArrayRef(path="a.npz", sha256="0", dtype="int64", shape=(6000,)),
        launches=5,
        rounds=60,
        p50_ms=p50,
        p90_ms=p50,
        p99_ms=p50,
        p99_support="interval",
        mean_ms=p50,
        p50_ratio=p50,
        p99_ratio=None,
        stopped_because="done",
    )


def _metric(base: float, delta: Estimate) -> MetricResult:
    return MetricResult(
        name="accuracy",
        split="selection",
        examples=1000,
        value=base + delta.value,
        baseline_value=base,
        delta=delta,
        higher_is_better=True,
        max_drop=0.01,
        method="a method",
    )


def _environment() -> Environment:
    return Environment(
        cpu="a processor",
        cpu_flags=(),
        architecture="x86_64",
        cpus=2,
        cpus_on_host=2,
        memory_bytes=1,
        operating_system="Linux",
        python="3.11",
        libraries={},
        providers=("cpu",),
    )
