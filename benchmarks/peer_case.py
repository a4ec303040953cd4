"""A model under comparison, the peers that run it, and what each of them builds of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import peer_runners
from peer_builds import BUILDS, RESULT
from peer_models import ARCHITECTURES

from mlopt.errors import MloptError
from mlopt.machine import usable_cpus
from mlopt.pipeline.builder import Builder
from mlopt.pipeline.prepared import Prepared, prepare
from mlopt.pipeline.seal import seal
from mlopt.project import load_project
from mlopt.runners import RUNNERS
from mlopt.store.cache import Cache, default_cache_dir
from mlopt.store.snapshot import Snapshot
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.candidate import Stage, Step
from mlopt.types.passes import Draft
from mlopt.workers import Limits, run_task

HERE = Path(__file__).resolve().parent
SAMPLES = {
    name: HERE.parent / "sample_models" / name
    for name in ("digits_resnet", "digits_bert", "breast_cancer_mlp")
}
MODELS = (*ARCHITECTURES, *SAMPLES)
TRANSFORMERS = {"digits_bert", *(n for n, one in ARCHITECTURES.items() if one.transformer)}

CALIBRATION = 256
"""Most examples that a quantizer is given, which are as many as those of mlopt take."""

LIMITS = Limits(1800.0, None)
SEED = 0
EAGER, MLOPT = "PyTorch, eager", "mlopt's choice"

LEAST_LOSS = 1e-4
"""Of a margin where the fastest peer answers as the fp32 model does, but for rounding."""


class Absent(Exception):
    """A peer is not installed; the message says what is missing."""


class Peer(NamedTuple):
    """One way to run a model that is not mlopt's.

    Attributes:
        of: What it runs: the model as it is, `torch`; the ONNX file, `fp32`; or what the build of this
            name makes of that.
        needs: Modules that must be installed here to run it.
    """

    of: str
    runner: str
    settings: dict[str, Any] = {}
    needs: tuple[str, ...] = ()


_F32 = {"precision": "f32"}
_OPENVINO = ("openvino",)
PEERS = {
    EAGER: Peer("torch", "pytorch"),
    "torch.compile": Peer("torch", "peer_compile"),
    "ONNX Runtime, fp32": Peer("fp32", "onnxruntime"),
    "ONNX Runtime, static INT8": Peer("ort_static", "onnxruntime"),
    "ONNX Runtime, dynamic INT8": Peer("ort_dynamic", "onnxruntime"),
    "Optimum, static INT8": Peer("optimum_static", "onnxruntime"),
    "Optimum, dynamic INT8": Peer("optimum_dynamic", "onnxruntime"),
    "Olive, static INT8": Peer("olive_static", "onnxruntime"),
    "Olive, dynamic INT8": Peer("olive_dynamic", "onnxruntime"),
    "OpenVINO, fp32 model": Peer("fp32", "peer_openvino", needs=_OPENVINO),
    "OpenVINO, fp32 model, f32 hint": Peer("fp32", "peer_openvino", _F32, _OPENVINO),
    "NNCF and OpenVINO": Peer("nncf", "peer_openvino", needs=_OPENVINO),
    "NNCF and OpenVINO, f32 hint": Peer("nncf", "peer_openvino", _F32, _OPENVINO),
}


class Case(NamedTuple):
    """A model under comparison.

    Attributes:
        place: Directory of everything that is made for it.
        builder: Builds what mlopt's recipes ask for, through the cache.
        fp32: The model as ONNX.
        olive: The interpreter that has Olive; None: there is none.
    """

    name: str
    place: Path
    prepared: Prepared
    builder: Builder
    fp32: Artifact
    olive: str | None

    @property
    def is_random(self) -> bool:
        """Whether its weights are random, and so its margin is what the fastest peer loses."""
        return self.name in ARCHITECTURES

    @property
    def directory(self) -> Path:
        """Of its project."""
        return self.prepared.project.directory


def register_runners(work: Path) -> None:
    """Makes the peers' runners a plug-in, here and in every worker.

    Args:
        work: Directory in which the plug-in is written.
    """
    site = work / "site"
    meta = site / "mlopt_peers-0.0.dist-info"
    meta.mkdir(parents=True, exist_ok=True)
    (meta / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mlopt-peers\nVersion: 0.0\n", encoding="utf-8"
    )
    (meta / "entry_points.txt").write_text(peer_runners.ENTRY_POINTS, encoding="utf-8")
    old = os.environ.get("PYTHONPATH")
    paths = [str(site), str(HERE), *([old] if old else [])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    sys.path.insert(0, str(site))


def open_case(name: str, work: Path, olive: str | None) -> Case:
    """Reads data and model, and exports the fp32 file that all peers begin with.

    Args:
        name: Of one of :data:`MODELS`.
        work: Directory in which the model has one of its own.
        olive: The interpreter that has Olive; None: there is none.
    """
    place = work / name
    place.mkdir(parents=True, exist_ok=True)
    directory = SAMPLES.get(name, place / "project")
    if name in ARCHITECTURES:
        write_project(name, directory, LEAST_LOSS)
    cache = Cache(default_cache_dir())
    prepared = prepare(load_project(directory), cache, SEED, LIMITS, lambda message, done: None)
    export = (Step(transformation="export_onnx"),)
    builder = Builder(prepared, cache, SEED)
    fp32 = builder.build(export, lambda: LIMITS, lambda message, done: None)
    return Case(name, place, prepared, builder, fp32.artifact, olive)


def write_project(name: str, directory: Path, max_drop: float) -> None:
    """Writes the project of an architecture, in a process of its own.

    Args:
        name: Of one of the architectures.
        directory: Where it goes.
        max_drop: How much of the agreement may be lost.
    """
    arguments = {"name": name, "directory": str(directory), "max_drop": max_drop}
    run_task("peer_models:write_project", arguments)


def size_of(stage: Stage) -> int:
    """Bytes of what a member runs."""
    return Artifact.open(Path(stage.artifact)).manifest.size_bytes


def keeps_size(case: Case, stage: Stage) -> bool:
    """Whether a member is within the lines about size of the project's budget, if it has any.

    Args:
        case: The model.
        stage: What the member runs.
    """
    lines = case.prepared.project.project.budget
    return all(size_of(stage) <= line.limit for line in lines if line.quantity == "size_bytes")


def stage_of(case: Case, peer: Peer) -> Stage:
    """What a peer runs, built if it has to be.

    Raises:
        Absent: The peer is not installed.
        MloptError: Its build failed.
    """
    if missing := [module for module in peer.needs if find_spec(module) is None]:
        raise Absent(f"{missing[0]} is not installed")
    reason = RUNNERS[peer.runner]().unavailable_because()
    if reason is not None:
        raise Absent(reason)
    known = {"torch": case.prepared.source, "fp32": case.fp32}
    artifact = known[peer.of] if peer.of in known else _built(case, peer.of)
    runner = RUNNERS[peer.runner].model_validate(peer.settings).resolve(usable_cpus())
    settings = runner.model_dump(mode="json")
    return Stage(
        artifact=str(artifact.directory), runner=peer.runner, provider="cpu", settings=settings
    )


def build_versions(case: Case) -> dict[str, str]:
    """What the builds were made with, where that is an environment of its own."""
    found: dict[str, str] = {}
    for build in BUILDS:
        file = case.place / "peers" / build / RESULT
        if build.startswith("olive") and file.exists():
            versions = json.loads(file.read_text(encoding="utf-8")).get("versions", {})
            found |= {f"{name} (Olive's)": v for name, v in versions.items()}
    return found


def _built(case: Case, build: str) -> Artifact:
    """What a build makes of the fp32 file, in a process of its own; kept for the next start."""
    out = case.place / "peers" / build
    if not (out / RESULT).exists():
        _run_build(case, build, out)
    if not (out / RESULT).exists():
        raise MloptError("the process that built it died")
    found = json.loads((out / RESULT).read_text(encoding="utf-8"))
    if "absent" in found:
        raise Absent(f"{found['absent']} is not installed")
    if "failed" in found:
        raise MloptError(found["failed"])
    manifest = case.fp32.manifest
    draft = Draft(main=found["main"], inputs=manifest.inputs, outputs=manifest.outputs)
    seal(out, draft, "onnx", (LineageStep(transformation=build),), f"peers-{case.name}-{build}")
    return Artifact.open(out)


def _run_build(case: Case, build: str, out: Path) -> None:
    python = case.olive if build.startswith("olive") else sys.executable
    if python is None:
        raise Absent("olive is not installed: give an interpreter that has it with --olive")
    command = [python, HERE / "peer_builds.py", build, case.fp32.main_file, _calibration(case), out]
    flag = ["--transformer"] if case.name in TRANSFORMERS else []
    with (case.place / f"{build}.log").open("w", encoding="utf-8") as log:
        try:
            subprocess.run(
                [*map(str, command), *flag],
                stdout=log,
                stderr=log,
                env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
                timeout=LIMITS.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as e:
            raise MloptError(f"its build took longer than {LIMITS.seconds:g} s") from e


def _calibration(case: Case) -> Path:
    """The calibration inputs as a file that any environment reads."""
    file = case.place / "calibration.npz"
    if not file.exists():
        data = Snapshot(case.prepared.snapshots["calibration"])
        arrays: dict[str, Any] = dict(data.take(slice(0, min(data.examples, CALIBRATION))))
        np.savez(file, **arrays)
    return file
