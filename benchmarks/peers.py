"""What a user would pick instead, and mlopt's choice, timed in one interleaved run for each model.

    python benchmarks/peers.py WORK [--models resnet50,...] [--olive PYTHON] [--minutes 10]

Every peer builds its model in a process of its own, from the same fp32 ONNX file and the same
calibration data, and runs in a worker of its own. All of them are timed side by side in a first look;
then mlopt optimizes the project, with the loss of the fastest peer as its margin where the weights
are random; then mlopt's choice and the fastest peers are timed in the interleaved rounds that the
table is made of. Answers are those to the holdout, which nothing is chosen by.

Results go to ``WORK/<model>/result.json``; started again on the same directory, the script goes on with
the models that have none. It writes ``docs/peers.md``. Peers that are not installed are listed as
absent; Olive is asked for in an environment of its own, since its requirements are not mlopt's.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import peer_runners
import peer_table
from peer_builds import BUILDS, RESULT
from peer_models import ARCHITECTURES

from mlopt import api, stats
from mlopt.decision.judge import judge_margin
from mlopt.errors import MloptError
from mlopt.machine import usable_cpus
from mlopt.machine.environment import LIBRARIES, describe_environment, library_versions
from mlopt.pipeline.accuracy import Exam, answer, compare_answers
from mlopt.pipeline.builder import Builder
from mlopt.pipeline.planning import margin
from mlopt.pipeline.prepared import Prepared, prepare
from mlopt.pipeline.reference import Entrant
from mlopt.pipeline.seal import seal
from mlopt.profiling.launch import Contestant, Observed, Setting
from mlopt.profiling.stopping import ByPrecision, confidence_of
from mlopt.profiling.trial import run_trial
from mlopt.project import load_project
from mlopt.runners import RUNNERS
from mlopt.store.cache import Cache, default_cache_dir
from mlopt.store.snapshot import Snapshot
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.candidate import Stage, Step
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import MetricResult
from mlopt.types.passes import Draft
from mlopt.types.plan import Schedule
from mlopt.workers import Limits, run_task

HERE = Path(__file__).resolve().parent
SAMPLES = {name: HERE.parent / "sample_models" / name for name in peer_table.SAMPLES}
TRANSFORMERS = {"digits_bert", *(n for n, one in ARCHITECTURES.items() if one.transformer)}

FIRST_LOOK = Schedule(launches=1, rounds=6, min_block=4, max_block=50)
FINAL = Schedule(launches=5, most_launches=8, rounds=10, min_block=6, max_block=100)
FIRST_LOOK_S = 300.0
HEAT = 4
"""Members of a first look that are in memory at once, beside eager PyTorch."""

FINALISTS = 5
"""The fastest peers, which are timed again beside mlopt's choice."""

LEAST_LOSS = 1e-4
"""Of a margin where the fastest peer answers as the fp32 model does, but for rounding."""

LIMITS = Limits(1800.0, None)
SEED = 0
EAGER, MLOPT = "PyTorch, eager", "mlopt's choice"


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
        fp32: The model as ONNX.
        olive: The interpreter that has Olive; None: there is none.
    """

    name: str
    place: Path
    prepared: Prepared
    fp32: Artifact
    olive: str | None

    @property
    def is_random(self) -> bool:
        """Whether its weights are random, and so its margin is what the fastest peer loses."""
        return self.name in ARCHITECTURES


def main() -> None:
    """Compares what is not compared yet, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--models", default=",".join((*ARCHITECTURES, *SAMPLES)))
    parser.add_argument("--olive", help="a Python interpreter that has olive-ai")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the final run of a model")
    given = parser.parse_args()
    work: Path = given.work.resolve()
    _register_runners(work)
    for name in given.models.split(","):
        file = work / name / "result.json"
        if not file.exists():
            print(f"== {name}", flush=True)
            found = _compare(_case(name, work, given.olive), given.minutes * 60)
            file.write_text(json.dumps(found, indent=1), encoding="utf-8")
        peer_table.write(work, [*ARCHITECTURES, *SAMPLES])


def _register_runners(work: Path) -> None:
    """Makes the peers' runners a plug-in, here and in every worker."""
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


def _case(name: str, work: Path, olive: str | None) -> Case:
    """Reads data and model, and exports the fp32 file that all peers begin with."""
    place = work / name
    place.mkdir(parents=True, exist_ok=True)
    directory = SAMPLES.get(name, place / "project")
    if name in ARCHITECTURES:
        _write_project(name, directory, LEAST_LOSS)
    cache = Cache(default_cache_dir())
    prepared = prepare(load_project(directory), cache, SEED, LIMITS, lambda message, done: None)
    export = (Step(transformation="export_onnx"),)
    fp32 = Builder(prepared, cache, SEED).build(export, LIMITS, lambda message, done: None)
    return Case(name, place, prepared, fp32.artifact, olive)


def _write_project(name: str, directory: Path, max_drop: float) -> None:
    arguments = {"name": name, "directory": str(directory), "max_drop": max_drop}
    run_task("peer_models:write_project", arguments)


def _compare(case: Case, seconds: float) -> dict[str, Any]:
    """One model: every peer, mlopt's choice, and the run that they are compared in."""
    members: dict[str, dict[str, Any]] = {name: {} for name in PEERS}
    stages: dict[str, Stage] = {}
    for name, peer in PEERS.items():
        try:
            stages[name] = _stage(case, peer)
        except (LookupError, MloptError) as e:
            kind = "absent" if isinstance(e, LookupError) else "failed"
            members[name][kind] = str(e.args[0])
            print(f"{name}: {kind}: {e.args[0]}", flush=True)
    first = _first_look(case, stages, members)
    ranked = sorted(first, key=lambda name: first[name])
    fastest = next(name for name in ranked if "loss" in members[name])
    for name in ranked:
        members[name]["first_look_ms"] = first[name]
    chosen = _choice(case, members[fastest]["loss"])
    stages[MLOPT] = chosen["stage"]
    members[MLOPT] = {"candidate": chosen["candidate"]}
    finalists = [MLOPT, *dict.fromkeys((*ranked[:FINALISTS], EAGER))]
    timed = _final(case, {name: stages[name] for name in finalists}, members, seconds)
    _score(case, {MLOPT: stages[MLOPT], EAGER: stages[EAGER]}, members)
    machine = describe_environment(())
    return {
        "model": case.name,
        "members": members,
        "fastest_peer": min(
            (name for name in timed if name != MLOPT), key=lambda n: timed[n].p50_ms.value
        ),
        "settings": chosen["stage"].model_dump(mode="json", include={"provider", "settings"}),
        "machine": {"cpu": machine.cpu, "cpus": machine.cpus, "flags": machine.cpu_flags},
        "versions": library_versions((*LIBRARIES, "nncf", "optimum")) | _build_versions(case),
        "finished": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _stage(case: Case, peer: Peer) -> Stage:
    """What a peer runs, built if it has to be.

    Raises:
        LookupError: The peer is not installed; the message says what is missing.
        MloptError: Its build failed.
    """
    if missing := [module for module in peer.needs if find_spec(module) is None]:
        raise LookupError(f"{missing[0]} is not installed")
    reason = RUNNERS[peer.runner]().unavailable_because()
    if reason is not None:
        raise LookupError(reason)
    known = {"torch": case.prepared.source, "fp32": case.fp32}
    artifact = known[peer.of] if peer.of in known else _built(case, peer.of)
    runner = RUNNERS[peer.runner].model_validate(peer.settings).resolve(usable_cpus())
    settings = runner.model_dump(mode="json")
    return Stage(
        artifact=str(artifact.directory), runner=peer.runner, provider="cpu", settings=settings
    )


def _built(case: Case, build: str) -> Artifact:
    """What a build makes of the fp32 file, in a process of its own; kept for the next start."""
    out = case.place / "peers" / build
    if not (out / RESULT).exists():
        python = case.olive if build.startswith("olive") else sys.executable
        if python is None:
            raise LookupError(
                "olive is not installed: give an interpreter that has it with --olive"
            )
        command = [python, HERE / "peer_builds.py", build, case.fp32.main_file, _calibration(case)]
        flag = ["--transformer"] if case.name in TRANSFORMERS else []
        with (case.place / f"{build}.log").open("w", encoding="utf-8") as log:
            subprocess.run(
                [*map(str, command), str(out), *flag],
                stdout=log,
                stderr=log,
                env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
                timeout=LIMITS.seconds,
                check=False,
            )
    if not (out / RESULT).exists():
        raise MloptError("the process that built it died")
    found = json.loads((out / RESULT).read_text(encoding="utf-8"))
    if "absent" in found:
        raise LookupError(f"{found['absent']} is not installed")
    if "failed" in found:
        raise MloptError(found["failed"])
    manifest = case.fp32.manifest
    draft = Draft(main=found["main"], inputs=manifest.inputs, outputs=manifest.outputs)
    seal(out, draft, "onnx", (LineageStep(transformation=build),), f"peers-{case.name}-{build}")
    return Artifact.open(out)


def _calibration(case: Case) -> Path:
    """The calibration inputs as a file that any environment reads."""
    import numpy as np

    file = case.place / "calibration.npz"
    if not file.exists():
        data = Snapshot(case.prepared.snapshots["calibration"])
        np.savez(file, **data.take(slice(0, min(data.examples, 64))))
    return file


def _first_look(
    case: Case, stages: Mapping[str, Stage], members: dict[str, dict[str, Any]]
) -> dict[str, float]:
    """Milliseconds of every peer that runs, over eager PyTorch's in the same heat; and its answers."""
    _score(case, stages, members)
    running = [name for name in stages if "failed" not in members[name] and name != EAGER]
    found: dict[str, float] = {}
    for start in range(0, len(running), HEAT):
        heat = {name: stages[name] for name in (EAGER, *running[start : start + HEAT])}
        observed = _time(case, heat, FIRST_LOOK, FIRST_LOOK_S, members)
        base = _p50_ms(observed, EAGER)
        first = found.setdefault(EAGER, base)
        for name in heat:
            if "failed" not in members[name] and observed[name].samples:
                found[name] = _p50_ms(observed, name) / base * first
    return found


def _p50_ms(observed: Mapping[str, Observed], name: str) -> float:
    return stats.quantile(observed[name].samples[1].rounds(), 0.5, seed=SEED).value


def _choice(case: Case, loss: float) -> dict[str, Any]:
    """What ``mlopt optimize`` chooses; on random weights it may lose what the fastest peer loses."""
    kept = case.place / "choice.json"
    if not kept.exists():
        directory = case.prepared.project.directory
        if case.is_random:
            _write_project(case.name, directory, max(LEAST_LOSS, loss))
        result = api.optimize(directory, out=case.place / "runs", seed=SEED)
        decision = result.run.decision
        if decision is None or decision.chosen is None:
            raise SystemExit(f"{case.name}: mlopt chose nothing: {decision and decision.reason}")
        choice = {"run": str(result.run_dir), "candidate": decision.chosen}
        kept.write_text(json.dumps(choice), encoding="utf-8")
    choice = json.loads(kept.read_text(encoding="utf-8"))
    model = Path(choice["run"]) / "model"
    session = json.loads((model / "session.json").read_text(encoding="utf-8"))
    return choice | {"stage": Stage(artifact=str(model), **session)}


class Timed(NamedTuple):
    """A member of the final run.

    Attributes:
        ratio: mlopt's choice over this member, paired in each round.
    """

    p50_ms: Estimate
    ratio: Estimate


def _final(
    case: Case, stages: Mapping[str, Stage], members: dict[str, dict[str, Any]], seconds: float
) -> dict[str, Timed]:
    """The run that the table is made of."""
    observed = _time(case, stages, FINAL, seconds, members)
    confidence = confidence_of(FINAL)
    if not observed[MLOPT].samples:
        raise SystemExit(f"{case.name}: mlopt's choice could not be timed: {members[MLOPT]}")
    ours = observed[MLOPT].samples[1]
    found: dict[str, Timed] = {}
    for name, one in observed.items():
        if "failed" in members[name] or not one.samples:
            continue
        blocks = one.samples[1].block_medians()
        ratio = stats.paired_p50_ratio(
            ours.block_medians(), blocks, seed=SEED, confidence=confidence
        )
        p50 = stats.quantile(one.samples[1].rounds(), 0.5, seed=SEED, confidence=confidence)
        found[name] = Timed(p50, ratio)
        members[name] |= {"p50_ms": p50.model_dump(), "ratio": ratio.model_dump()}
    return found


def _time(
    case: Case,
    stages: Mapping[str, Stage],
    schedule: Schedule,
    seconds: float,
    members: dict[str, dict[str, Any]],
) -> dict[str, Observed]:
    """Interleaved rounds of all members; who fails is noted."""
    setting = Setting(
        schedule=schedule,
        batch_sizes=[1],
        snapshot=case.prepared.snapshots["holdout"],
        project_dir=case.prepared.project.directory,
        limits=LIMITS,
        seed=SEED,
        deadline=time.monotonic() + seconds,
    )
    baseline = MLOPT if MLOPT in stages else EAGER
    referee = ByPrecision(schedule, 1, baseline, SEED) if schedule is FINAL else None
    contestants = [Contestant(name, stage) for name, stage in stages.items()]
    end = run_trial(contestants, setting, lambda *words: None, referee=referee)
    print(f"timed {', '.join(stages)}: {end.stopped_because}", flush=True)
    for name, one in end.observed.items():
        if one.failure is not None:
            members[name]["failed"] = f"timing: {one.failure.cause}"
    return end.observed


def _score(case: Case, stages: Mapping[str, Stage], members: dict[str, dict[str, Any]]) -> None:
    """The deciding metric of every member on the holdout, and its loss on selection as a margin."""
    for split in ("selection", "holdout"):
        work = case.place / "answers" / split
        work.mkdir(parents=True, exist_ok=True)
        exam = Exam(case.prepared, split, LIMITS, SEED, work, lambda event: None)
        answers = {}
        for number, (name, stage) in enumerate(stages.items()):
            entrant = Entrant(
                name, None, Path(stage.artifact), stage.runner, stage.provider, stage.settings
            )
            try:
                answers[name] = answer(exam, entrant, f"{len(stages)}-{number}")
            except MloptError as e:
                members[name]["failed"] = f"scoring: {e}"
        compared = compare_answers(exam, answers, EAGER)
        for name, quality in compared.items():
            metric = quality.metrics[0]
            loss = -metric.delta.value if metric.higher_is_better else metric.delta.value
            if split == "selection":
                members[name]["loss"] = loss
            else:
                members[name] |= _quality(case, metric)


def _quality(case: Case, metric: MetricResult) -> dict[str, Any]:
    """The metric with its delta, and the verdict at the margin that the holdout can prove."""
    first = case.prepared.project.project.metrics[0]
    known = margin(first, case.prepared.data["holdout"])
    found: dict[str, Any] = {
        "metric": metric.name,
        "value": metric.value,
        "delta": metric.delta.model_dump(),
    }
    if case.is_random or known.max_drop is None or known.provable is None:
        return found
    largest = max(known.max_drop, math.ceil(100 * known.provable) / 100)
    judged = judge_margin(metric.model_copy(update={"max_drop": largest}))
    return found | {"margin": largest, "verdict": judged.outcome}


def _build_versions(case: Case) -> dict[str, str]:
    """What the builds were made with, where that is an environment of its own."""
    found: dict[str, str] = {}
    for build in BUILDS:
        file = case.place / "peers" / build / RESULT
        if build.startswith("olive") and file.exists():
            versions = json.loads(file.read_text(encoding="utf-8")).get("versions", {})
            found |= {f"{name} (Olive's)": v for name, v in versions.items()}
    return found


if __name__ == "__main__":
    main()
