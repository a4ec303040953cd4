"""What a user would pick instead, and mlopt's choice, timed in one interleaved run for each model.

    python benchmarks/peers.py WORK [--models resnet50,...] [--olive PYTHON] [--builds-only] [--minutes 4]

Every peer builds its model in a process of its own, from the same fp32 ONNX file and the same
calibration data, and runs in a worker of its own. All of them are timed side by side in a first look;
then mlopt optimizes the project, with the loss of the fastest peer as its margin where the weights
are random; then mlopt's choice and the fastest peers are timed in the interleaved rounds that the
table is made of. Answers are those to the holdout, which nothing is chosen by.

Everything is kept in ``WORK/<model>``, so that the script, started again, goes on where it was; remove
that directory, or what follows ``first_look.json``, ``choice.json`` or ``result.json`` in it, to have it
done again. With ``--builds-only`` the peers' models are built and scored, and mlopt's candidates built
into its cache, which takes long and needs no quiet machine; nothing is timed.

What is found of a model goes to ``benchmarks/peers/<model>.json``, and ``docs/peers.md`` is made of these:
models may be compared on different days, each in one run. Peers that are not installed are listed as
absent; Olive is asked for in an environment of its own, since its requirements are not mlopt's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peer_table
from peer_case import (
    EAGER,
    MLOPT,
    MODELS,
    PEERS,
    Absent,
    Case,
    build_versions,
    keeps_size,
    open_case,
    register_runners,
    size_of,
    stage_of,
)
from peer_choice import build_candidates, choose
from peer_scores import loss, score, verdict
from peer_timing import Look, final_run, first_look

from mlopt.errors import MloptError, ModelError
from mlopt.machine.environment import LIBRARIES, describe_environment, library_versions
from mlopt.types.candidate import Stage

FINALISTS = 4
"""The fastest peers, which are timed again beside mlopt's choice and eager PyTorch."""

FIRST_LOOK, RESULT = "first_look.json", "result.json"


def main() -> None:
    """Compares what is not compared yet, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--olive", help="a Python interpreter that has olive-ai")
    parser.add_argument("--minutes", type=float, default=4.0, help="of the final run of a model")
    parser.add_argument(
        "--builds-only", action="store_true", help="build all models, and time nothing"
    )
    given = parser.parse_args()
    work: Path = given.work.resolve()
    register_runners(work)
    unfinished = []
    for name in given.models.split(","):
        try:
            if given.builds_only:
                case = open_case(name, work, given.olive)
                _stages(case, _members())
                build_candidates(case)
            else:
                result = work / name / RESULT
                if not result.exists():
                    _compare(open_case(name, work, given.olive), given.minutes * 60)
                peer_table.keep(json.loads(result.read_text(encoding="utf-8")))
                peer_table.write(MODELS)
        except MloptError as e:
            unfinished.append(f"{name}: {e}")
            print(unfinished[-1], flush=True)
    sys.exit("\n".join(unfinished) or None)


def _members() -> dict[str, dict[str, Any]]:
    return {name: {} for name in PEERS}


def _stages(case: Case, members: dict[str, dict[str, Any]]) -> dict[str, Stage]:
    """Every peer that runs, built and scored; of the others ``members`` says why not."""
    stages: dict[str, Stage] = {}
    for name, peer in PEERS.items():
        try:
            stages[name] = stage_of(case, peer)
        except (Absent, MloptError) as e:
            members[name]["absent" if isinstance(e, Absent) else "failed"] = str(e)
            print(f"{name}: {members[name]}", flush=True)
    scores = score(case, stages, "holdout")
    for name, metric in scores.metrics.items():
        members[name] |= {
            "metric": metric.name,
            "value": metric.value,
            "delta": metric.delta.model_dump(),
        }
    for name, cause in scores.failed.items():
        members[name]["failed"] = cause
        del stages[name]
        print(f"{name}: {cause}", flush=True)
    return stages


def _compare(case: Case, seconds: float) -> None:
    """One model: the peers, a first look, mlopt's choice, and the run that they are compared in."""
    members = _members()
    stages = _stages(case, members)
    look = _first_look(case, stages)
    ranked = sorted(look.ms, key=lambda name: look.ms[name])
    for name in ranked:
        members[name] |= {"first_look_ms": look.ms[name], "size_bytes": size_of(stages[name])}
    ranked = [name for name in ranked if keeps_size(case, stages[name])]
    for name, cause in look.failed.items():
        members[name]["failed"] = cause
    chosen = choose(case, _lost_by(case, stages, ranked[0]) if case.is_random else None)
    stages[MLOPT] = chosen.stage
    members[MLOPT] = {"candidate": chosen.candidate, "outcome": chosen.outcome}
    finalists = [MLOPT, *dict.fromkeys((*ranked[:FINALISTS], EAGER))]
    final = final_run(case, {name: stages[name] for name in finalists}, seconds)
    for name, one in final.timed.items():
        members[name] |= {"p50_ms": one.p50_ms.model_dump(), "ratio": one.ratio.model_dump()}
    for name, cause in final.failed.items():
        members[name]["failed"] = cause
    peers = [name for name in ranked if name in final.timed]
    fastest = min(peers, key=lambda name: final.timed[name].p50_ms.value)
    for name in members.keys() & stages.keys():
        members[name]["keeps_size"] = keeps_size(case, stages[name])
    members[MLOPT] |= _own_answers(case, stages, fastest)
    found = {
        "model": case.name,
        "random": case.is_random,
        "members": members,
        "fastest_peer": fastest,
        "settings": chosen.stage.model_dump(mode="json", include={"provider", "settings"}),
        "optimize_s": chosen.seconds,
        "launches": final.launches,
        "rounds": final.rounds,
        **_circumstances(case),
    }
    (case.place / RESULT).write_text(json.dumps(found, indent=1), encoding="utf-8")


def _circumstances(case: Case) -> dict[str, Any]:
    """The machine, the libraries and the day."""
    machine = describe_environment(())
    return {
        "machine": {"cpu": machine.cpu, "cpus": machine.cpus, "flags": machine.cpu_flags},
        "versions": library_versions((*LIBRARIES, "nncf", "optimum")) | build_versions(case),
        "finished": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _first_look(case: Case, stages: Mapping[str, Stage]) -> Look:
    kept = case.place / FIRST_LOOK
    if not kept.exists():
        look = first_look(case, stages)
        kept.write_text(json.dumps(look._asdict(), indent=1), encoding="utf-8")
    return Look(**json.loads(kept.read_text(encoding="utf-8")))


def _lost_by(case: Case, stages: Mapping[str, Stage], name: str) -> float:
    """What a member loses on selection, where the choice is made."""
    both = {one: stages[one] for one in (EAGER, name)}
    scores = score(case, both, "selection")
    if name in scores.failed:
        raise ModelError(scores.failed[name])
    return loss(scores.metrics[name])


def _own_answers(case: Case, stages: Mapping[str, Stage], fastest: str) -> dict[str, Any]:
    """What mlopt's choice answers to the holdout, over eager PyTorch and over the fastest peer."""
    asked = {name: stages[name] for name in (MLOPT, EAGER, fastest)}
    metric, over_peer = (
        score(case, asked, "holdout", over).metrics[MLOPT] for over in (EAGER, fastest)
    )
    return {
        "metric": metric.name,
        "value": metric.value,
        "delta": metric.delta.model_dump(),
        "over_fastest": over_peer.delta.model_dump(),
        "higher_is_better": metric.higher_is_better,
        **({} if case.is_random else verdict(case, metric)),
    }


if __name__ == "__main__":
    main()
