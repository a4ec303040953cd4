"""Artifacts and runs on disk that a user may name; nothing in them could be loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlopt.pipeline.seal import seal
from mlopt.store.rundir import RunDirectory
from mlopt.types.artifact import Artifact, Format, LineageStep
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.decision import Decision
from mlopt.types.passes import Draft
from mlopt.types.plan import Plan, Schedule
from mlopt.types.run import CandidateResult, Environment, Run
from mlopt.types.tensors import TensorSpec

SPEC = TensorSpec(name="x", dtype="float32", shape=("batch", 4))


def make_artifact(directory: Path, content: bytes, kind: Format = "onnx") -> Artifact:
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(content)
    draft = Draft(main="model.onnx", inputs=(SPEC,), outputs=(SPEC,))
    seal(directory, draft, kind, (LineageStep(transformation="source"),), "")
    return Artifact.open(directory)


def write_run(directory: Path, hashes: Mapping[str, str | None], chosen: str | None) -> None:
    planned = {
        name: PlannedCandidate(
            name=name,
            role="baseline" if name == "fp32" else "candidate",
            recipe=name,
            provider="cpu",
            runner="onnxruntime",
            settings={"intra_op_threads": 7},
        )
        for name in hashes
    }
    plan = Plan(
        project="p", command="mlopt optimize", sources_sha256="", model_sha256="", data={},
        candidates=tuple(planned.values()), budget=(), margins=(), workloads=(),
        schedule=Schedule(), seed=0, proposer="", selection_rule="", predictions_per_day=None,
        allow_fallback=False, time_limit_s=None,
    )  # fmt: skip
    environment = Environment(
        cpu="", cpu_flags=(), architecture="", cpus=1, cpus_on_host=1, memory_bytes=1,
        operating_system="", python="", libraries={}, providers=("cpu",),
    )  # fmt: skip
    run = Run(
        mlopt_version="0",
        status="complete",
        started_at="",
        plan=plan,
        plan_sha256="",
        environment=environment,
        candidates=tuple(
            CandidateResult(plan=planned[name], artifact_sha256=sha) for name, sha in hashes.items()
        ),
        decision=Decision(chosen=chosen, outcome="PASS", reason=""),
    )
    directory.mkdir(parents=True, exist_ok=True)
    RunDirectory(directory).write_run(run)
