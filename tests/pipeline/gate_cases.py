"""Contests, answers and reports of gates that never ran."""

from __future__ import annotations

from mlopt.pipeline.contest import Contest
from mlopt.pipeline.gate_lines import accuracy_lines, budget_lines, regression_line, remedies
from mlopt.types.budget import BudgetLine
from mlopt.types.decision import Outcome
from mlopt.types.estimate import Estimate
from mlopt.types.gate import GateLine, GateReport, GateTiming
from mlopt.types.measurement import Evidence, Measurement, MetricResult, Quality, TailSupport
from mlopt.types.tensors import ArrayRef
from mlopt.types.workload import Workload

NO_SAMPLES = ArrayRef(path="none.npz", sha256="", dtype="int64", shape=(500,))
P50 = Estimate(value=1.0, low=0.9, high=1.1)


def measurement(p99: TailSupport = "interval", workload: Workload | None = None) -> Measurement:
    return Measurement(
        workload=workload or Workload(),
        trial="contest",
        samples=NO_SAMPLES,
        launches=4,
        rounds=48,
        p50_ms=P50,
        p90_ms=P50,
        p99_ms=Estimate(value=2.0, low=1.8, high=2.2) if p99 == "interval" else None,
        p99_support=p99,
        mean_ms=P50,
        p50_ratio=None,
        p99_ratio=None,
        stopped_because="the end",
    )


def evidence(p99: TailSupport = "interval", workload: Workload | None = None) -> Evidence:
    return Evidence(
        measurements=(measurement(p99, workload),),
        quality=None,
        cold_start_ms=None,
        peak_rss_bytes=None,
    )


def contest_of(
    ratio: Estimate,
    outcome: Outcome | None,
    p99: TailSupport = "interval",
    workload: Workload | None = None,
    launches: int = 4,
    rounds: int = 48,
) -> Contest:
    seen = evidence(p99, workload)
    return Contest(
        a=seen,
        b=seen,
        p50_ratio=ratio,
        confidence=0.98,
        p99_ratio=None,
        launches=launches,
        rounds=rounds,
        samples=1000,
        stopped_because="look 1 of 5",
        warnings=("A: one thing", "B: another"),
        outcome=outcome,
        looks=1,
    )


def quality(low: float, high: float, max_drop: float | None = 0.01) -> Quality:
    """Answers whose accuracy changed by somewhat between ``low`` and ``high``."""
    metric = MetricResult(
        name="accuracy",
        split="holdout",
        examples=900,
        value=0.9 + (low + high) / 2,
        baseline_value=0.9,
        delta=Estimate(value=(low + high) / 2, low=low, high=high),
        higher_is_better=True,
        max_drop=max_drop,
        method="score interval",
        gained=1,
        lost=1,
    )
    return Quality(split="holdout", predictions=None, metrics=(metric,), flip_rate=0.0)


def report(
    ratio: Estimate,
    outcome: Outcome,
    answers: Quality,
    *,
    budget: tuple[str, ...] = (),
    ship: str = "new.onnx",
    warnings: tuple[str, ...] = (),
) -> GateReport:
    """A gate's report, from the lines that the pipeline makes of such observations."""
    settles = remedies(contest_of(ratio, outcome), rounds=12)
    lines: list[GateLine] = [regression_line(ratio, outcome, 0.02, "old.onnx", settles)]
    lines += budget_lines([BudgetLine.parse(line) for line in budget], evidence(), 1000)
    lines += accuracy_lines(
        {"baseline": answers, "reference": answers}, {"baseline": "fp32", "reference": "old.onnx"}
    )
    return GateReport(
        project="digits",
        ship=ship,
        reference="old.onnx",
        baseline="fp32",
        tolerance=0.02,
        max_seconds=20,
        lines=tuple(lines),
        timing=GateTiming(
            against="old.onnx",
            workload="batch-1",
            p50_ms=P50,
            p99_ms=None,
            p50_ratio=ratio,
            p50_ratio_confidence=0.981,
            p99_ratio=None,
            launches=4,
            rounds=48,
            samples=1000,
            looks=1,
            stopped_because="look 1 of 5",
        ),
        quality={"baseline": answers, "reference": answers},
        warnings=warnings,
    )
