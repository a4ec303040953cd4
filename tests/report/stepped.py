"""A run that never happened, with recipes of several steps that share their beginning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlopt.types.artifact import LineageStep
from mlopt.types.candidate import PlannedCandidate, Step
from mlopt.types.run import CandidateResult, Failure, Run

from .synthetic import Laboratory, Spec, decide, make_plan, make_run, planned, store

WHOLE = {"parameters": 272_474, "macs": 40_813_184}
HALF = {"parameters": 140_310, "macs": 20_407_552}
PRUNING: dict[str, Any] = {
    **HALF,
    "parameters_before": 272_474,
    "macs_before": 40_813_184,
    "removed": {"stem": [16, 8], "stages.0.0.first": [16, 12], "stages.2.2.first": [64, 24]},
    "left": [{"layers": ["head"], "reason": "its outputs are the model's own"}],
}


def training(scores: list[float], best: int, **more: Any) -> dict[str, Any]:
    """Facts of a training run that scores so on its validation part."""
    epochs = [
        {
            "epoch": i,
            "loss": 1.1 / i**0.7,
            "validation_loss": 0.2 + 0.9 / i**0.8,
            "validation_score": score,
            "learning_rate": 1e-3,
        }
        for i, score in enumerate(scores, 1)
    ]
    start = {"epoch": 0, "loss": None, "validation_loss": 2.2, "validation_score": 0.31}
    return {
        "start": start,
        "epochs": epochs,
        "best_epoch": best,
        "stopped_early": best < len(scores),
        "metric": "accuracy",
        "examples": 1200,
        "validation_examples": 150,
        "seconds": 41.7,
        **more,
    }


EXPORT = Step(transformation="export_onnx")
PRUNE = Step(transformation="prune_channels", options={"ratio": 0.5})
DISTILL = Step(transformation="distill", options={"epochs": 8})
FINETUNE = Step(transformation="finetune", options={"epochs": 8})
INT8 = Step(transformation="int8_static")

FACTS: dict[str, dict[str, Any]] = {
    "prune_channels": PRUNING,
    "distill": HALF
    | {
        "training": training(
            [0.71, 0.84, 0.88, 0.901, 0.907, 0.909, 0.91, 0.9085], 7, teacher_score=0.915
        )
    },
    "finetune": HALF | {"training": training([0.7, 0.82, 0.87, 0.89, 0.896, 0.899, 0.9, 0.9], 8)},
    "export_onnx": {"exporter": "dynamo", "opset": 18},
    "int8_static": {"operators": {"QuantizeLinear": 41}},
}

CANDIDATES: tuple[tuple[Spec, tuple[Step, ...]], ...] = (
    (Spec("pytorch-eager", 1.93, 1_140_000, "reference"), ()),
    (Spec("fp32", 0.842, 1_120_000, "baseline"), (EXPORT,)),
    (
        Spec("int8-dynamic", 1.31, 312_000, gained=9, lost=12),
        (EXPORT, Step(transformation="int8_dynamic")),
    ),
    (Spec("int8-static", 0.318, 310_000, gained=12, lost=13), (EXPORT, INT8)),
    (Spec("prune", 0.51, 590_000, gained=2, lost=540), (PRUNE, EXPORT)),
    (
        Spec("prune-distill-int8:distill", 0.512, 590_000, gained=9, lost=14),
        (PRUNE, DISTILL, EXPORT),
    ),
    (
        Spec("prune-distill-int8", 0.221, 171_000, gained=11, lost=17),
        (PRUNE, DISTILL, EXPORT, INT8),
    ),
    (Spec("prune-finetune-int8:finetune", 0.511, 590_000), (PRUNE, FINETUNE, EXPORT)),
    (
        Spec("prune-finetune-int8", 0.222, 171_000, gained=8, lost=26),
        (PRUNE, FINETUNE, EXPORT, INT8),
    ),
)
FAILED = "prune-finetune-int8:finetune"
CAUSE = "the worker was killed: out of memory"


def candidate(spec: Spec, steps: tuple[Step, ...]) -> PlannedCandidate:
    """The plan of a candidate with these steps."""
    recipe = None if spec.role == "reference" else spec.name.split(":")[0]
    return planned(spec).model_copy(update={"steps": steps, "recipe": recipe})


def lineage(steps: tuple[Step, ...]) -> tuple[LineageStep, ...]:
    """How a candidate with these steps was built."""
    return (
        LineageStep(transformation="source", facts=WHOLE),
        *(
            LineageStep(
                transformation=step.transformation,
                parameters=step.options,
                facts=FACTS.get(step.transformation, {}),
            )
            for step in steps
        ),
    )


def stepped_run(run_dir: Path, laboratory: Laboratory | None = None, **options: Any) -> Run:
    """Pruned, then distilled or fine-tuned, then INT8; one form in between could not be timed.

    Args:
        run_dir: Where its samples go.
        laboratory: Which measures; None for the standard one.
        options: Of the plan.
    """
    laboratory = laboratory or Laboratory(run_dir)
    results = []
    for spec, steps in CANDIDATES:
        made = {"plan": candidate(spec, steps), "lineage": lineage(steps)}
        if spec.name == FAILED:
            failure = Failure(during="time", cause=CAUSE)
            result = CandidateResult(plan=made["plan"], status="failed", failure=failure)
        else:
            chosen = spec.name == "prune-distill-int8"
            result = laboratory.result(spec, confirm=chosen).model_copy(update=made)
        results.append(result)
    plan = make_plan(tuple(spec for spec, _ in CANDIDATES), margins=laboratory.margins, **options)
    plan = plan.model_copy(update={"candidates": tuple(result.plan for result in results)})
    decision = decide(tuple(results), plan, "prune-distill-int8")
    run = make_run(run_dir).model_copy(
        update={"plan": plan, "candidates": tuple(results), "decision": decision}
    )
    return store(run_dir, run)
