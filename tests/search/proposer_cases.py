"""Runs with hand-made results, as a proposer is told them."""

from __future__ import annotations

from typing import Any

from made_by_hand import raced

from mlopt.types.candidate import PlannedCandidate, Step
from mlopt.types.plan import Margin, Plan, Schedule
from mlopt.types.run import CandidateResult, Environment, Run
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
    return raced(plan, ratio, loss, spread=spread)


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
