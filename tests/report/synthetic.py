"""Runs that never happened: complete records and sample files, from fixed seeds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlopt.decision.judge import judge
from mlopt.profiling.diagnostics import warnings_of
from mlopt.store.arrays import write_array
from mlopt.store.rundir import RunDirectory
from mlopt.types.artifact import LineageStep
from mlopt.types.budget import BudgetLine
from mlopt.types.candidate import PlannedCandidate, Role, Step
from mlopt.types.decision import Decision, Rejection, worst
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import (
    Diagnostic,
    Evidence,
    Measurement,
    MetricResult,
    Placement,
    Quality,
)
from mlopt.types.plan import Margin, Plan, Schedule, SplitSummary
from mlopt.types.run import CandidateResult, Environment, Failure, Run
from mlopt.types.workload import Workload

ACCURACY = Margin(metric="accuracy", higher_is_better=True, max_drop=0.02, provable=0.00425)
BATCH_1 = Workload()


@dataclass(frozen=True)
class Spec:
    """A candidate in a few numbers; ``gained`` and ``lost`` of 900 examples."""

    name: str
    p50_ms: float
    size_bytes: int = 3_120_000
    role: Role = "candidate"
    gained: int = 0
    lost: int = 0
    spread: float = 0.05
    rss_bytes: float = 181e6
    cold_ms: float = 320.0
    deltas: dict[str, Estimate] = field(default_factory=dict)


STANDARD = (
    Spec("pytorch-eager", 1.93, 3_140_000, "reference", spread=0.08, rss_bytes=402e6, cold_ms=2140),
    Spec("fp32", 0.842, role="baseline"),
    Spec("int8-dynamic", 1.31, 812_000, gained=9, lost=12),
    Spec("int8-static", 0.318, 790_000, gained=12, lost=13, rss_bytes=164e6, cold_ms=301),
    Spec("int8-static[calibration=entropy|wide]@cpu", 0.322, 790_000, gained=8, lost=31),
)


def digest(name: str) -> str:
    """A hash that stands for the content called ``name``."""
    return hashlib.sha256(name.encode()).hexdigest()


@dataclass
class Laboratory:
    """Makes measurements, and writes their samples below ``run_dir``."""

    run_dir: Path
    margins: tuple[Margin, ...] = (ACCURACY,)
    workloads: tuple[Workload, ...] = (BATCH_1,)
    support: str = "interval"

    def evidence(self, spec: Spec, trial: str, *, compared: bool = True) -> Evidence:
        """Everything that one trial says of a candidate."""
        timings = tuple(self.measure(spec, trial, w, compared=compared) for w in self.workloads)
        return Evidence(
            measurements=timings,
            quality=self.quality(spec, trial) if compared else None,
            cold_start_ms=around(spec.cold_ms, 0.03),
            peak_rss_bytes=around(spec.rss_bytes, 0.01),
        )

    def measure(self, spec: Spec, trial: str, workload: Workload, *, compared: bool) -> Measurement:
        """Log-normal latencies of 5 launches with 12 rounds of 25 inferences."""
        seed = int(digest(f"{spec.name}{trial}{workload.name}")[:8], 16)
        rng = np.random.default_rng(seed)
        scale = spec.p50_ms * (0.3 + 0.7 * workload.batch_size)
        noise = rng.normal(0, spec.spread, 1500) + (rng.random(1500) < 0.02) * rng.exponential(0.4)
        ns = (scale * np.exp(noise) * 1e6).astype(np.int64)
        blocks = np.arange(1500) // 25
        table = np.stack([ns, blocks // 12, blocks % 12], axis=1).astype(np.int64)
        stem = f"c{digest(spec.name)[:8]}"
        reference = write_array(
            self.run_dir, f"samples/{trial}/{stem}-{workload.name}.npz", samples=table
        )
        base = 0.842 if trial == "selection" else 0.85
        ms = ns / 1e6
        p99 = float(np.quantile(ms, 0.99))
        bound = Estimate(value=p99, high=p99 * 1.06)
        tail = {"interval": around(p99, 0.04), "upper_bound": bound}.get(self.support)
        ratio = around(spec.p50_ms / base, 0.02) if compared else None
        if compared and spec.role == "baseline":
            ratio = Estimate(value=1.0, low=1.0, high=1.0)
        return Measurement(
            workload=workload,
            trial=trial,
            samples=reference,
            launches=5,
            rounds=60,
            p50_ms=around(float(np.median(ms)), 0.012),
            p90_ms=around(float(np.quantile(ms, 0.9)), 0.02),
            p99_ms=tail,
            p99_support=self.support,
            mean_ms=around(float(ms.mean()), 0.012),
            p50_ratio=ratio,
            p99_ratio=around(spec.p50_ms / base, 0.05) if compared and tail is not None else None,
            stopped_because="the schedule of 5 launches was done",
            diagnostics=diagnostics(spec),
            warnings=warnings_of(diagnostics(spec)),
        )

    def quality(self, spec: Spec, trial: str) -> Quality:
        """Metrics of 900 examples; the confirmation is a little worse."""
        split = "selection" if trial == "selection" else "holdout"
        lost = spec.lost if split == "selection" else spec.lost + 2
        results = tuple(self.metric(spec, margin, split, lost) for margin in self.margins)
        is_classifier = any(m.metric == "accuracy" for m in self.margins)
        flips = (spec.gained + lost + 3) / 900 if spec.role != "baseline" else 0.0
        return Quality(
            split=split,
            predictions=None,
            metrics=results,
            flip_rate=flips if is_classifier else None,
        )

    def metric(self, spec: Spec, margin: Margin, split: str, lost: int) -> MetricResult:
        """Accuracy from counts; any other metric from the spec's deltas."""
        counts = margin.metric == "accuracy"
        base = 0.9122 if counts else 0.412
        zero = Estimate(value=0.0, low=0.0, high=0.0)
        if counts and spec.role != "baseline":
            half = 1.96 * (spec.gained + lost + 4) ** 0.5 / 900
            middle = (spec.gained - lost) / 900
            delta = Estimate(value=middle, low=middle - half, high=middle + half)
        else:
            delta = spec.deltas.get(margin.metric, zero)
        drop = margin.max_drop
        if drop is not None and margin.relative:
            drop *= base
        return MetricResult(
            name=margin.metric,
            split=split,
            examples=900,
            value=base + delta.value,
            baseline_value=base,
            delta=delta,
            higher_is_better=margin.higher_is_better,
            max_drop=drop,
            method="Tango's score interval" if counts else "paired BCa bootstrap",
            gained=spec.gained if counts else None,
            lost=lost if counts else None,
        )

    def result(
        self, spec: Spec, *, compared: bool = True, confirm: bool = False
    ) -> CandidateResult:
        """A candidate that was measured."""
        return CandidateResult(
            plan=planned(spec),
            status="measured",
            artifact_sha256=digest(f"artifact {spec.name}"),
            size_bytes=spec.size_bytes,
            lineage=lineage(spec),
            cached_steps=1 if spec.name.startswith("int8") else 0,
            placement=None
            if spec.role == "reference"
            else Placement(nodes={"CPUExecutionProvider": 74}),
            settings={"intra_op_threads": 2, "graph_optimization": "all"},
            selection=self.evidence(spec, "selection", compared=compared),
            confirmation=self.evidence(spec, "confirmation") if confirm else None,
        )


def diagnostics(spec: Spec) -> tuple[Diagnostic, ...]:
    """A busy machine, on which the reference alone was unstable."""
    unstable = Diagnostic(
        name="unstable",
        status="warning",
        seen="medians of blocks: 1.2 to 1.9 ms (p10 to p90)",
        advice="trust the ratio, which is paired in each round, and close other programs",
    )
    calm = Diagnostic(name="unstable", status="ok", seen="medians of blocks: 1.2 to 1.3 ms")
    return (
        unstable if spec.role == "reference" else calm,
        Diagnostic(name="drift", status="ok", seen="+0.2% from the first round to the last"),
        Diagnostic(name="steal", status="unknown", seen="not counted on this machine"),
        Diagnostic(
            name="other load",
            status="warning",
            seen="others took 20% of the processors",
            advice="close other programs",
        ),
    )


def around(value: float, share: float) -> Estimate:
    """An estimate whose interval reaches ``share`` to either side."""
    return Estimate(value=value, low=value * (1 - share), high=value * (1 + share))


def planned(spec: Spec) -> PlannedCandidate:
    """The plan of a candidate."""
    recipe = None if spec.role == "reference" else spec.name.split("[")[0]
    options = spec.name.partition("[")[2].partition("]")[0]
    choices = dict(option.split("=") for option in options.split(",") if option)
    runner = "pytorch" if spec.role == "reference" else "onnxruntime"
    provider = spec.name.partition("@")[2] or "cpu"
    steps = () if recipe is None else (Step(transformation="export_onnx"),)
    return PlannedCandidate(
        name=spec.name,
        role=spec.role,
        recipe=recipe,
        provider=provider,
        runner=runner,
        steps=steps,
        choices=choices,
    )


def lineage(spec: Spec) -> tuple[LineageStep, ...]:
    """How a candidate was built."""
    steps = [LineageStep(transformation="source", facts={"parameters": 272_474})]
    if spec.role != "reference":
        facts: dict[str, Any] = {"parity_examples": 64, "parity_largest_error": 2.4e-7}
        facts |= {"exporter": "torchscript", "opset": 18}
        facts["fallback_because"] = {"dynamo": "TypeError: in /srv/build/site/torch/export.py"}
        parameters = {"exporter": "auto", "opset": 18}
        steps.append(LineageStep(transformation="export_onnx", parameters=parameters, facts=facts))
    if spec.name.startswith("int8-static"):
        steps.append(
            LineageStep(
                transformation="int8_static",
                parameters={"calibration": "minmax", "per_channel": True, "exclude": ()},
                facts={
                    "operators": {"QuantizeLinear": 41, "Conv": 19},
                    "calibration_examples": 256,
                },
            )
        )
    return tuple(steps)


def make_plan(
    specs: tuple[Spec, ...],
    *,
    budget: tuple[str, ...] = ("p99 <= 5 ms", "size <= 1 MB"),
    margins: tuple[Margin, ...] = (ACCURACY,),
    workloads: tuple[Workload, ...] = (BATCH_1,),
    traffic: float | None = 1_000_000,
) -> Plan:
    """A plan for the candidates."""
    return Plan(
        project="tiny-cnn",
        command="mlopt optimize examples/tiny-cnn --seed 7",
        sources_sha256=digest("sources"),
        model_sha256=digest("model"),
        data={
            name: SplitSummary(examples=count, sha256=digest(name), duplicates=copies)
            for name, count, copies in (
                ("calibration", 256, 0),
                ("selection", 900, 2),
                ("holdout", 900, 1),
            )
        },
        candidates=tuple(planned(spec) for spec in specs),
        notes=("fp16 was left out: it needs a GPU",),
        budget=tuple(BudgetLine.parse(line) for line in budget),
        margins=margins,
        workloads=workloads,
        schedule=Schedule(),
        seed=7,
        proposer="every recipe on every provider",
        selection_rule="the smallest p50 of those that FAIL no line",
        predictions_per_day=traffic,
        allow_fallback=False,
        time_limit_s=None,
    )


ENVIRONMENT = Environment(
    cpu="Example Processor 9000 @ 2.10GHz",
    cpu_flags=("avx2", "avx512_vnni"),
    architecture="x86_64",
    cpus=2,
    cpus_on_host=16,
    memory_bytes=8_000_000_000,
    operating_system="Linux 6.1",
    python="3.11.7",
    libraries={"torch": "2.13.0", "onnxruntime": "1.31.1"},
    providers=("cpu",),
    cpu_quota=2.0,
    governor="powersave",
    simultaneous_multithreading=True,
    max_mhz=3500.0,
    builds={"onnxruntime": "6af1a93 Release"},
)


def make_run(run_dir: Path, **changes: Any) -> Run:
    """A complete run that passes, and its files; ``changes`` replace fields of the run."""
    specs = STANDARD
    laboratory = Laboratory(run_dir)
    results = [laboratory.result(s, confirm=s.name == "int8-static") for s in specs]
    broken = CandidateResult(
        plan=planned(Spec("qat[epochs=3]", 1.0)),
        status="failed",
        failure=Failure(
            during="build",
            cause="the loss is not finite after 12 steps (lr=*1e-2*)",
            log='Traceback\n  File "/home/ci/project/train.py", line 3\n```\nValueError: the loss is not finite',
        ),
    )
    fields: dict[str, Any] = {
        "mlopt_version": "0.2.0",
        "status": "complete",
        "started_at": "2030-02-03T04:05:06Z",
        "finished_at": "2030-02-03T04:25:06Z",
        "plan": make_plan(specs),
        "plan_sha256": digest("plan"),
        "environment": ENVIRONMENT,
        "candidates": (*results, broken),
        "warnings": ("other programs used 0.4 of a processor",),
        "seconds": {"build": 31.2, "time": 402.0},
    }
    fields["decision"] = decide(fields["candidates"], fields["plan"], "int8-static")
    return store(run_dir, Run(**(fields | changes)))


def decide(results: tuple[CandidateResult, ...], plan: Plan, name: str) -> Decision:
    """The decision for the candidate called ``name``, on its confirmation."""
    winner = next(c for c in results if c.name == name)
    evidence = winner.confirmation or winner.selection
    assert evidence is not None
    verdicts = judge(plan.budget, evidence, winner.size_bytes)
    others = [c for c in results if c.name != name and c.selection and c.plan.role != "reference"]
    return Decision(
        chosen=name,
        outcome=worst([v.outcome for v in verdicts]),
        reason="the smallest p50 of 3 eligible candidates",
        verdicts=verdicts,
        rejected=tuple(Rejection(name=c.name, reason="slower or less accurate") for c in others),
        tied_with=(),
    )


def simple_run(
    run_dir: Path, specs: tuple[Spec, ...], *, winner: str | None, **options: Any
) -> Run:
    """A complete run of ``specs`` with the plan's options; ``winner`` is confirmed."""
    margins = options.get("margins", (ACCURACY,))
    workloads = options.get("workloads", (BATCH_1,))
    laboratory = Laboratory(run_dir, margins, workloads, options.pop("support", "interval"))
    results = tuple(laboratory.result(s, confirm=s.name == winner) for s in specs)
    plan = make_plan(specs, **options)
    nothing = Decision(chosen=None, outcome="FAIL", reason="no candidate may ship")
    decision = nothing if winner is None else decide(results, plan, winner)
    run = make_run(run_dir).model_copy(
        update={"plan": plan, "candidates": results, "decision": decision}
    )
    return store(run_dir, run)


def store(run_dir: Path, run: Run) -> Run:
    """Writes ``run.json``."""
    RunDirectory(run_dir).write_run(run)
    return run


__all__ = ["STANDARD", "Laboratory", "Spec", "make_run", "replace", "simple_run", "store"]
