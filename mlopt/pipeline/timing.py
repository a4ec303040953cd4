"""Time candidates in heats that fit in memory, always with the baseline, and keep the samples."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlopt.decision.dominance import Race, standing_of
from mlopt.machine import usable_memory_bytes
from mlopt.pipeline.deadline import Deadline
from mlopt.pipeline.prepared import Prepared
from mlopt.pipeline.quality import stage_of, stem
from mlopt.pipeline.recorder import Recorder
from mlopt.profiling.launch import Contestant, Observed, Setting
from mlopt.profiling.samples import Samples
from mlopt.profiling.stopping import ByPrecision, Referee, confidence_of
from mlopt.profiling.summary import summarize
from mlopt.profiling.trial import TrialEnd, run_trial
from mlopt.store.files import write_array
from mlopt.types.artifact import Artifact
from mlopt.types.events import Phase
from mlopt.types.measurement import LaunchVitals, Placement, Quality
from mlopt.types.run import Failure, Run
from mlopt.workers import Limits

RUNTIME_BYTES = {"pytorch": 700_000_000, "onnxruntime": 250_000_000}
"""Rough memory of a worker before it holds a model, to divide candidates into heats."""

MODEL_COPIES = 3
"""Rough memory of a loaded model, in sizes of its file: file, weights, and packed weights."""

HEAT_SHARE = 0.5

INTERRUPTED = "interrupted"
"""Why a trial ended that did not end by itself; what it has seen so far is provisional."""


class Timer:
    """Runs the trials of one run."""

    def __init__(
        self, prepared: Prepared, recorder: Recorder, limits: Limits, deadline: Deadline
    ) -> None:
        """Prepares to time candidates of ``recorder.run``."""
        self._prepared = prepared
        self._recorder = recorder
        self._limits = limits
        self._deadline = deadline

    def time(
        self,
        artifacts: dict[str, Artifact],
        qualities: Mapping[str, Quality],
        split: str,
        phase: Phase,
    ) -> None:
        """Times every candidate in ``artifacts`` and puts the evidence into the run.

        Args:
            artifacts: By the name of the candidate, the baseline's among them.
            qualities: What each one answered.
            split: ``selection`` or ``holdout``: where inputs come from.
            phase: ``time`` for the choice, ``confirm`` for the confirmation.
        """
        field = "confirmation" if phase == "confirm" else "selection"
        before = len(trials_of(self._recorder.run, field))
        for number, heat in enumerate(self._heats(artifacts), start=before + 1):
            trial = field if number == 1 else f"{field}-{number}"
            observed: dict[str, Observed] = {}
            why = INTERRUPTED
            try:
                end = self._run(trial, heat, artifacts, qualities, split, phase, observed)
                why = end.stopped_because
            finally:
                self._record(field, trial, heat, observed, qualities, why)

    def _run(
        self,
        trial: str,
        heat: list[str],
        artifacts: dict[str, Artifact],
        qualities: Mapping[str, Quality],
        split: str,
        phase: Phase,
        observed: dict[str, Observed],
    ) -> TrialEnd:
        run = self._recorder.run
        loads = any(line.is_throughput for line in run.plan.budget)
        moment = self._deadline.trial(phase, loads=loads)
        moment = earliest(moment, time.monotonic() + run.plan.schedule.max_seconds)
        checkpoint = Checkpoint(
            self._recorder.directory.path / "samples" / f"{trial}.checkpoint.npz"
        )
        first_launch, earlier = checkpoint.load()
        observed |= earlier
        for name in heat:
            observed.setdefault(name, Observed())
        setting = Setting(
            schedule=run.plan.schedule,
            batch_sizes=[w.batch_size for w in run.plan.workloads],
            snapshot=self._prepared.snapshots[split],
            project_dir=self._prepared.project.directory,
            limits=self._limits,
            seed=run.plan.seed + (1 if phase == "confirm" else 0),
            deadline=moment,
        )
        contestants = [Contestant(n, stage_of(run.candidate(n).plan, artifacts[n])) for n in heat]
        launches = itertools.count(first_launch + 1)
        end = run_trial(
            contestants,
            setting,
            lambda message, done, left: self._recorder.tell(phase, message, done, left),
            referee=self._referee(heat, qualities, phase),
            done=observed,
            first_launch=first_launch,
            after_launch=lambda seen: checkpoint.save(seen, next(launches)),
        )
        checkpoint.remove()
        return end

    def _referee(
        self, heat: Sequence[str], qualities: Mapping[str, Quality], phase: Phase
    ) -> Referee:
        """Ends a trial by precision; while the choice is open, dominated candidates leave it."""
        run = self._recorder.run
        plan = run.plan
        by_precision = ByPrecision(
            plan.schedule, plan.workloads[0].batch_size, run.baseline.name, plan.seed
        )
        if phase == "confirm":
            return by_precision
        standings = {
            name: standing_of(run.candidate(name), qualities[name], plan.allow_fallback)
            for name in heat
        }
        return Race(by_precision, standings, plan.budget)

    def _record(
        self,
        field: str,
        trial: str,
        heat: list[str],
        observed: dict[str, Observed],
        qualities: Mapping[str, Quality],
        why: str,
    ) -> None:
        run = self._recorder.run
        baseline = run.baseline.name
        for name in heat:
            seen = observed.get(name, Observed())
            if seen.failure is not None:
                self._recorder.fail(name, seen.failure)
            if not any(seen.samples.values()):
                continue
            evidence = summarize(
                seen,
                observed.get(baseline),
                run.plan.workloads,
                trial=trial,
                stopped_because=why,
                run_dir=self._recorder.directory.path,
                file_stem=stem(self._recorder, name),
                seed=run.plan.seed,
                quality=qualities.get(name),
                confidence=confidence_of(run.plan.schedule),
            )
            if getattr(run.candidate(name), field) is not None:
                continue  # the baseline of a further heat: its samples are kept, the first decides
            status = {} if seen.failure is not None else {"status": "measured"}
            self._recorder.update(name, **{field: evidence}, **status)

    def _heats(self, artifacts: dict[str, Artifact]) -> list[list[str]]:
        """Candidates in groups that fit in memory together, the baseline in each."""
        run = self._recorder.run
        baseline = run.baseline.name
        room = usable_memory_bytes() * HEAT_SHARE - self._memory(baseline, artifacts)
        heats: list[list[str]] = []
        left = 0.0
        for name in artifacts:
            if name == baseline:
                continue
            need = self._memory(name, artifacts)
            if not heats or need > left:
                heats.append([baseline])
                left = room
            heats[-1].append(name)
            left -= need
        return heats or [[baseline]]

    def _memory(self, name: str, artifacts: dict[str, Artifact]) -> float:
        runtime = RUNTIME_BYTES.get(self._recorder.run.candidate(name).plan.runner, 0)
        return runtime + MODEL_COPIES * artifacts[name].manifest.size_bytes


def trials_of(run: Run, field: str) -> set[str]:
    """Names of the trials that a run has evidence from.

    Args:
        run: The run.
        field: ``selection`` or ``confirmation``.
    """
    found = (getattr(candidate, field) for candidate in run.candidates)
    return {m.trial for evidence in found if evidence is not None for m in evidence.measurements}


def earliest(first: float | None, second: float) -> float:
    """The earlier of two moments, the first of which may never come."""
    return second if first is None else min(first, second)


class Checkpoint(NamedTuple):
    """What a trial has seen after each launch, so that a crash loses one launch at most.

    The samples stand in one npz at ``path``, beside a JSON text of all that is no array.
    """

    path: Path

    def save(self, observed: dict[str, Observed], launches: int) -> None:
        """Writes everything seen in the first ``launches`` launches."""
        arrays = {}
        words: dict[str, Any] = {"launches": launches, "observed": {}}
        for number, (name, one) in enumerate(observed.items()):
            for size, samples in one.samples.items():
                arrays[f"{number}-{size}-ns"] = samples.ns
                arrays[f"{number}-{size}-blocks"] = samples.blocks
            words["observed"][name] = {
                "sizes": list(one.samples),
                "launches": one.launches,
                "nodes": None if one.placement is None else one.placement.nodes,
                "failure": None if one.failure is None else one.failure.model_dump(),
                "left_because": one.left_because,
                "vitals": [vitals.model_dump() for vitals in one.vitals],
            }
        write_array(self.path.parent, self.path.name, words=np.array(json.dumps(words)), **arrays)

    def load(self) -> tuple[int, dict[str, Observed]]:
        """The number of launches that are done, and what they saw."""
        if not self.path.exists():
            return 0, {}
        with np.load(self.path, allow_pickle=False) as arrays:
            words = json.loads(str(arrays["words"]))
            observed = {
                name: Observed(
                    samples={
                        size: Samples.of(
                            arrays[f"{number}-{size}-ns"], arrays[f"{number}-{size}-blocks"]
                        )
                        for size in one["sizes"]
                    },
                    launches=[tuple(launch) for launch in one["launches"]],
                    placement=None if one["nodes"] is None else Placement(nodes=one["nodes"]),
                    failure=one["failure"] and Failure.model_validate(one["failure"]),
                    left_because=one["left_because"],
                    vitals=[LaunchVitals.model_validate(v) for v in one["vitals"]],
                )
                for number, (name, one) in enumerate(words["observed"].items())
            }
        return int(words["launches"]), observed

    def remove(self) -> None:
        """The trial is over; its samples stand in files of their own."""
        self.path.unlink(missing_ok=True)
