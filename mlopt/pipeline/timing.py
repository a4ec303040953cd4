"""Time candidates in heats that fit in memory, always with the baseline, and keep the samples."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from mlopt.decision.dominance import Race, standing_of
from mlopt.machine import usable_memory_bytes
from mlopt.pipeline.checkpoint import Checkpoint, Trial
from mlopt.pipeline.deadline import Deadline
from mlopt.pipeline.prepared import Prepared
from mlopt.pipeline.quality import stage_of, stem
from mlopt.pipeline.recorder import Recorder
from mlopt.profiling.launch import Contestant, Observed, Setting
from mlopt.profiling.stopping import (
    LEAST_LAUNCHES,
    BetweenContenders,
    ByPrecision,
    Referee,
    confidence_of,
)
from mlopt.profiling.summary import summarize
from mlopt.profiling.trial import TrialEnd, run_trial
from mlopt.types.artifact import Artifact
from mlopt.types.events import Phase
from mlopt.types.measurement import Quality
from mlopt.types.plan import Schedule
from mlopt.types.run import EvidenceKind, Run
from mlopt.workers import Limits

RUNTIME_BYTES = {"pytorch": 700_000_000, "onnxruntime": 250_000_000, "openvino": 250_000_000}
"""Rough memory of a worker before it holds a model, to divide candidates into heats."""

MODEL_COPIES = 3
"""Rough memory of a loaded model, in sizes of its file: file, weights, and packed weights."""

HEAT_SHARE = 0.5

INTERRUPTED = "interrupted"
"""Why a trial ended that did not end by itself; what it has seen so far is provisional."""


class _Kind(NamedTuple):
    """What differs between the trials of a run.

    Attributes:
        split: Where inputs come from.
        phase: For the progress display.
        seed: Added to the plan's, so that inputs are drawn anew.
        prefix: Before what the progress display says.
        decides_only: Nothing but the workload that decides is timed, for so long as it takes beside
            loading; the answers are no evidence of this trial.
    """

    split: str
    phase: Phase
    seed: int
    prefix: str = ""
    decides_only: bool = False


_KINDS: Mapping[EvidenceKind, _Kind] = {
    "selection": _Kind("selection", "time", 0),
    "run_off": _Kind("selection", "time", 2, prefix="run-off: ", decides_only=True),
    "confirmation": _Kind("holdout", "confirm", 1),
}


class _Work(NamedTuple):
    """What is timed: the arguments of :meth:`Timer.time`."""

    artifacts: dict[str, Artifact]
    qualities: Mapping[str, Quality]
    where: EvidenceKind
    seconds: float | None
    contenders: Collection[str] = ()


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
        self._open: Trial | None = None

    def time(
        self,
        artifacts: dict[str, Artifact],
        qualities: Mapping[str, Quality],
        where: EvidenceKind,
        *,
        rivals: Sequence[str] = (),
        seconds: float | None = None,
    ) -> None:
        """Times every candidate in ``artifacts`` and puts the evidence into the run.

        While the choice is open, further candidates join the trial of the earlier ones, and are timed
        in the same rounds as the baseline and ``rivals``.

        Args:
            artifacts: By the name of the candidate, the baseline's among them.
            qualities: What each one answered.
            where: What the evidence is for.
            rivals: Of those in ``artifacts``, who was timed before and goes on.
            seconds: At most, beside the schedule's own limit; as that, from when all have loaded.
        """
        work = _Work(artifacts, qualities, where, seconds)
        for heat in self._heats(artifacts):
            self._time(heat, work, rivals)

    def _time(self, heat: list[str], work: _Work, rivals: Sequence[str] = ()) -> None:
        trial = self._trial(work.where, heat, rivals)
        why = INTERRUPTED
        try:
            why = self._run(trial, heat, work).stopped_because
        finally:
            self._record(trial, heat, work, why)
        if work.where != "selection":
            self._checkpoint(trial.name).remove()

    def run_off(
        self, artifacts: dict[str, Artifact], contenders: Sequence[str], seconds: float
    ) -> None:
        """Times a few once more, in a trial of their own, beside the baseline alone.

        There is none between fewer than two, or where they do not fit in memory together: only who
        meets in a round is compared well. Nor is there evidence of one that tells too little: with
        few launches, or that fewer than two came through.

        Args:
            artifacts: By the name of the candidate, the baseline's among them.
            contenders: Who is to be told apart.
            seconds: At most, beside what loading takes.
        """
        known = dict.fromkeys((self._recorder.run.baseline.name, *contenders))
        heats = self._heats({name: artifacts[name] for name in known})
        if len(contenders) > 1 and len(heats) == 1:
            self._time(heats[0], _Work(artifacts, {}, "run_off", seconds, contenders))
        # There may be one from before a cut, of a run that goes on without it.
        self._checkpoint("run_off").remove()

    def close(self) -> None:
        """Ends the selection: nobody joins its trials any more."""
        names = trials_of(self._recorder.run, "selection")
        if self._open is not None:  # nothing may have been measured in it
            names.add(self._open.name)
        for name in names:
            self._checkpoint(name).remove()
        self._open = None

    def _trial(self, where: EvidenceKind, heat: Sequence[str], rivals: Sequence[str]) -> Trial:
        """The open trial where the heat goes on with it; else a new one, or one that was cut off."""
        if where == "selection" and rivals and set(rivals) <= set(heat):
            trial = self._open or self._reopened()
            if trial is not None:
                if not trial.observed.keys() >= set(heat):
                    trial.before = trial.launches  # nobody of now has been in it
                self._open = trial
                return trial
        number = len(trials_of(self._recorder.run, where)) + 1
        name = where if number == 1 else f"{where}-{number}"
        trial = self._checkpoint(name).load() or Trial(name)
        if where == "selection":
            self._open = trial
        return trial

    def _reopened(self) -> Trial | None:
        """The last trial that a run which is resumed has samples of."""
        names = sorted(
            trials_of(self._recorder.run, "selection"), key=lambda name: (len(name), name)
        )
        return self._checkpoint(names[-1]).load() if names else None

    def _checkpoint(self, trial: str) -> Checkpoint:
        return Checkpoint(
            self._recorder.directory.path / "samples" / f"{trial}.checkpoint.npz", trial
        )

    def _run(self, trial: Trial, heat: list[str], work: _Work) -> TrialEnd:
        run = self._recorder.run
        schedule = run.plan.schedule.model_copy(
            update={
                "launches": trial.before + run.plan.schedule.launches,
                "most_launches": trial.before + run.plan.schedule.most_launches,
            }
        )
        kind = _KINDS[work.where]
        workloads = run.plan.workloads[:1] if kind.decides_only else run.plan.workloads
        seconds = min(run.plan.schedule.max_seconds, work.seconds or math.inf)
        for name in heat:
            trial.observed.setdefault(name, Observed())
        setting = Setting(
            schedule=schedule,
            batch_sizes=[w.batch_size for w in workloads],
            snapshot=self._prepared.snapshots[kind.split],
            project_dir=self._prepared.project.directory,
            limits=self._limits,
            seed=run.plan.seed + kind.seed,
            deadline=self._moment(work.where),
            seconds=seconds,
            loading_counts=not kind.decides_only,
        )
        contestants = [
            Contestant(n, stage_of(run.candidate(n).plan, work.artifacts[n])) for n in heat
        ]
        checkpoint = self._checkpoint(trial.name)

        def after_launch(_: dict[str, Observed]) -> None:
            trial.launches += 1
            checkpoint.save(trial)

        return run_trial(
            contestants,
            setting,
            lambda message, done, left: self._recorder.tell(
                kind.phase, kind.prefix + message, done, left
            ),
            referee=self._referee(heat, work, schedule),
            done=trial.observed,
            first_launch=trial.launches,
            after_launch=after_launch,
        )

    def _moment(self, where: EvidenceKind) -> float | None:
        """When a trial must have ended."""
        if where == "selection":
            return self._deadline.selection()
        if where == "run_off":
            return self._deadline.run_off()
        loads = any(line.is_throughput for line in self._recorder.run.plan.budget)
        return self._deadline.confirmation(loads=loads)

    def _referee(self, heat: Sequence[str], work: _Work, schedule: Schedule) -> Referee:
        """Ends a trial by precision; while the choice is open, dominated candidates leave it."""
        run = self._recorder.run
        plan = run.plan
        size = plan.workloads[0].batch_size
        if work.where == "run_off":
            return BetweenContenders(schedule, work.contenders, size, plan.seed)
        by_precision = ByPrecision(
            schedule, size, run.baseline.name, plan.seed, confidence_of(plan.schedule)
        )
        if work.where == "confirmation":
            return by_precision
        standings = {
            name: standing_of(run.candidate(name), work.qualities[name], plan) for name in heat
        }
        return Race(by_precision, standings, plan.budget)

    def _record(
        self,
        trial: Trial,
        heat: list[str],
        work: _Work,
        why: str,
    ) -> None:
        run = self._recorder.run
        baseline = run.baseline.name
        evident = (
            heat if work.where != "run_off" else _evident(trial, work.contenders, baseline, run)
        )
        for name in heat:
            seen = trial.observed.get(name, Observed())
            if seen.failure is not None and (work.where != "run_off" or name in work.contenders):
                self._recorder.fail(name, seen.failure)
            if name not in evident or not any(seen.samples.values()):
                continue
            evidence = summarize(
                seen,
                trial.observed.get(baseline),
                run.plan.workloads,
                trial=trial.name,
                stopped_because=why,
                run_dir=self._recorder.directory.path,
                file_stem=stem(self._recorder, name),
                seed=run.plan.seed,
                quality=work.qualities.get(name),
                confidence=confidence_of(run.plan.schedule),
            )
            before = getattr(run.candidate(name), work.where)
            if before is not None and any(m.trial != trial.name for m in before.measurements):
                continue  # the baseline of a further heat: its samples are kept, the first decides
            status = {} if seen.failure is not None else {"status": "measured"}
            self._recorder.update(name, **{work.where: evidence}, **status)

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


def _evident(trial: Trial, contenders: Collection[str], baseline: str, run: Run) -> Collection[str]:
    """Whose samples of a run-off are evidence: those that came through it, and nobody's of a few."""
    size = run.plan.workloads[0].batch_size
    came_through = {
        name: len(seen.samples[size].launches)
        for name, seen in trial.observed.items()
        if seen.failure is None and size in seen.samples
    }
    left = [name for name in contenders if name in came_through]
    least = min(LEAST_LAUNCHES, run.plan.schedule.launches)
    if len(left) < 2 or baseline not in came_through:
        return ()
    return came_through if min(came_through.values()) >= least else ()


def trials_of(run: Run, field: EvidenceKind) -> set[str]:
    """Names of the trials that a run has evidence from.

    Args:
        run: The run.
        field: Which kind of evidence.
    """
    found = (getattr(candidate, field) for candidate in run.candidates)
    return {m.trial for evidence in found if evidence is not None for m in evidence.measurements}
