"""Time candidates in heats that fit in memory, always with the baseline, and keep the samples."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mlopt.machine import usable_memory_bytes
from mlopt.pipeline.deadline import Deadline
from mlopt.pipeline.prepared import Prepared
from mlopt.pipeline.quality import stage_of, stem
from mlopt.pipeline.recorder import Recorder
from mlopt.profiling import Contestant, Observed, run_trial, summarize
from mlopt.profiling.trial import Setting, TrialEnd
from mlopt.store.files import write_atomically
from mlopt.types.artifact import Artifact
from mlopt.types.events import Phase
from mlopt.types.measurement import Placement, Quality
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
                end = self._run(trial, heat, artifacts, split, phase, observed)
                why = end.stopped_because
            finally:
                self._record(field, trial, heat, observed, qualities, why)

    def _run(
        self,
        trial: str,
        heat: list[str],
        artifacts: dict[str, Artifact],
        split: str,
        phase: Phase,
        observed: dict[str, Observed],
    ) -> TrialEnd:
        run = self._recorder.run
        moment = self._deadline.selection() if phase == "time" else self._deadline.moment
        moment = earliest(moment, time.monotonic() + run.plan.schedule.max_seconds)
        checkpoint = Checkpoint(
            self._recorder.directory.path / "samples" / f"{trial}.checkpoint.json"
        )
        first_launch = checkpoint.load(observed)
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
        launches = iter(range(first_launch + 1, run.plan.schedule.launches + 1))
        end = run_trial(
            contestants,
            setting,
            lambda message, done, left: self._recorder.tell(phase, message, done, left),
            done=observed,
            first_launch=first_launch,
            after_launch=lambda seen: checkpoint.save(seen, next(launches)),
        )
        checkpoint.remove()
        return end

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
            if not seen.samples:
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
    """What a trial has seen after each launch, so that a crash loses one launch at most."""

    path: Path

    def save(self, observed: dict[str, Observed], launches: int) -> None:
        """Writes everything seen in the first ``launches`` launches."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "launches": launches,
            "observed": {
                name: {
                    "samples": {str(size): rows for size, rows in one.samples.items()},
                    "cold_start_ms": one.cold_start_ms,
                    "peak_rss_bytes": one.peak_rss_bytes,
                    "nodes": None if one.placement is None else one.placement.nodes,
                    "failure": None if one.failure is None else one.failure.model_dump(),
                }
                for name, one in observed.items()
            },
        }
        write_atomically(self.path, json.dumps(content))

    def load(self, observed: dict[str, Observed]) -> int:
        """Fills ``observed``, and returns the number of launches that are done."""
        if not self.path.exists():
            return 0
        content = json.loads(self.path.read_text(encoding="utf-8"))
        for name, one in content["observed"].items():
            observed[name] = Observed(
                samples={
                    int(size): [tuple(r) for r in rows] for size, rows in one["samples"].items()
                },
                cold_start_ms=one["cold_start_ms"],
                peak_rss_bytes=one["peak_rss_bytes"],
                placement=None if one["nodes"] is None else Placement(nodes=one["nodes"]),
                failure=None if one["failure"] is None else Failure.model_validate(one["failure"]),
            )
        return int(content["launches"])

    def remove(self) -> None:
        """The trial is over; its samples stand in files of their own."""
        self.path.unlink(missing_ok=True)
