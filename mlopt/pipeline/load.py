"""Load candidates where the budget has a line on throughput: only the rates that it names."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mlopt.decision.select import reason_against
from mlopt.errors import MloptError
from mlopt.machine import usable_cpus, usable_memory_bytes
from mlopt.pipeline.deadline import Deadline
from mlopt.pipeline.quality import stage_of, stem
from mlopt.pipeline.recorder import Recorder
from mlopt.pipeline.timing import HEAT_SHARE, MODEL_COPIES, RUNTIME_BYTES
from mlopt.profiling.load import MOST_SECONDS, SECONDS, LoadSetting, Tell, measure_load
from mlopt.types.artifact import Artifact
from mlopt.types.budget import BudgetLine, p99_limit_ms
from mlopt.types.candidate import Stage
from mlopt.types.events import Phase
from mlopt.types.load import LoadResult
from mlopt.types.measurement import Evidence
from mlopt.types.plan import Schedule
from mlopt.types.run import CandidateResult
from mlopt.types.workload import Workload
from mlopt.workers import Limits

CLOSED_SECONDS = 2.0
"""In each closed loop, which only says how many callers serve best."""


class LoadLine(NamedTuple):
    """What the budget asks of one workload."""

    workload: Workload
    rates: tuple[float, ...]
    p99_budget_ms: float


class Place(NamedTuple):
    """Where a run's candidates are loaded.

    Attributes:
        snapshots: Directory of each split.
    """

    snapshots: Mapping[str, Path]
    project_dir: Path
    recorder: Recorder
    limits: Limits
    deadline: Deadline


class Ground(NamedTuple):
    """Where and how one artifact is loaded.

    Attributes:
        snapshot: Directory of the examples that inputs are drawn from.
        run_dir: Directory that samples are stored below.
        file_stem: Beginning of the paths of the sample files, below ``run_dir``.
        until: Value of ``time.monotonic()`` after which no load begins; None: no limit.
    """

    schedule: Schedule
    snapshot: Path
    project_dir: Path
    limits: Limits
    seed: int
    run_dir: Path
    file_stem: str
    until: float | None = None


def load_lines(budget: Iterable[BudgetLine], workloads: Iterable[Workload]) -> list[LoadLine]:
    """The workloads that a throughput line is about, each with its rates and its p99.

    The line's own rate decides it with one probe, planned beforehand, that errs 2.5% at most either
    way: cheaper than a search, and without its many looks.
    """
    budget = tuple(budget)
    found = []
    for workload in workloads:
        limits = (x.limit for x in budget if x.is_throughput and x.workload == workload.name)
        rates = tuple(sorted(set(limits)))
        p99 = p99_limit_ms(budget, workload.name)
        if rates and p99 is not None:
            found.append(LoadLine(workload, rates, p99))
    return found


def load_candidates(place: Place, artifacts: dict[str, Artifact], split: str) -> None:
    """Loads every candidate that may still ship, and adds what it sustains to its evidence.

    Does nothing where the budget has no line on throughput, or where the load is known already.

    Args:
        place: Where.
        artifacts: By the name of the candidate.
        split: ``selection`` or ``holdout``: where inputs come from, and which evidence grows.
    """
    recorder, plan = place.recorder, place.recorder.run.plan
    lines = load_lines(plan.budget, plan.workloads)
    if not lines:
        return
    phase: Phase = "time" if split == "selection" else "confirm"
    waiting = [name for name in artifacts if _is_waiting(recorder, name, split)]
    for number, name in enumerate(waiting):
        until = place.deadline.selection() if split == "selection" else place.deadline.moment
        if until is not None:
            now = time.monotonic()
            until = now + max(0.0, until - now) / (len(waiting) - number)
        with recorder.timing(phase):
            _load(place, name, artifacts[name], lines, split, until)


def _is_waiting(recorder: Recorder, name: str, split: str) -> bool:
    run = recorder.run
    result = run.candidate(name)
    evidence = _evidence(result, split)
    if evidence is None or not evidence.measurements or evidence.load:
        return False
    if split == "selection":
        reason = reason_against(result, run.plan.budget, run.plan.allow_fallback)
        return result.plan.role != "reference" and reason is None
    return result.failure is None


def _evidence(result: CandidateResult, split: str) -> Evidence | None:
    return result.selection if split == "selection" else result.confirmation


def _load(
    place: Place,
    name: str,
    artifact: Artifact,
    lines: list[LoadLine],
    split: str,
    until: float | None,
) -> None:
    recorder, plan = place.recorder, place.recorder.run.plan
    phase: Phase = "time" if split == "selection" else "confirm"
    field = "selection" if split == "selection" else "confirmation"
    ground = Ground(
        schedule=plan.schedule,
        snapshot=place.snapshots[split],
        project_dir=place.project_dir,
        limits=place.limits,
        seed=plan.seed + (1 if split == "holdout" else 0),
        run_dir=recorder.directory.path,
        file_stem=f"samples/{field}/{stem(recorder, name)}",
        until=until,
    )
    stage = stage_of(recorder.run.candidate(name).plan, artifact)
    try:
        found = load_artifact(
            stage,
            artifact.manifest.size_bytes,
            lines,
            ground,
            lambda words: recorder.tell(phase, f"{name}: {words}"),
        )
    except MloptError as e:
        # Its latencies and answers stand; that it sustains the rate was not shown.
        recorder.warn(phase, f"{name} failed under load: {e}")
        return
    if any(not one.points for one in found) or len(found) < len(lines):
        recorder.warn(phase, f"{name}: the time limit came before it was measured under load")
    evidence = _evidence(recorder.run.candidate(name), split)
    if evidence is not None and found:
        recorder.update(name, **{field: evidence.model_copy(update={"load": found})})


def load_artifact(
    stage: Stage, size_bytes: int, lines: Iterable[LoadLine], ground: Ground, tell: Tell
) -> tuple[LoadResult, ...]:
    """Loads one artifact as the lines ask; fewer results than lines where the time ran out.

    Args:
        stage: The artifact, and what executes it.
        size_bytes: Of its files.
        lines: See :func:`load_lines`.
        ground: Where and how.
        tell: Called with a few words on what is going on.

    Raises:
        MloptError: It cannot be loaded, or fails under load.
    """
    settings = (_setting(stage, size_bytes, line, ground) for line in lines)
    return tuple(measure_load(one, tell) for one in settings if not one.is_over())


def _setting(stage: Stage, size_bytes: int, line: LoadLine, ground: Ground) -> LoadSetting:
    schedule = ground.schedule
    return LoadSetting(
        stage=stage,
        workload=line.workload,
        callers=tuple(dict.fromkeys((1, usable_cpus()))),
        rates=line.rates,
        p99_budget_ms=line.p99_budget_ms,
        search=False,
        seconds=SECONDS,
        most_seconds=MOST_SECONDS,
        closed_seconds=CLOSED_SECONDS,
        launches=affordable_launches(schedule.launches, stage.runner, size_bytes),
        pool=schedule.pool,
        warmup=schedule.warmup,
        snapshot=ground.snapshot,
        project_dir=ground.project_dir,
        limits=ground.limits,
        seed=ground.seed,
        run_dir=ground.run_dir,
        file_stem=f"{ground.file_stem}-{line.workload.name}",
        until=ground.until,
    )


def affordable_launches(wanted: int, runner: str, size_bytes: int) -> int:
    """How many workers that hold one model fit in memory side by side; at most ``wanted``."""
    each = RUNTIME_BYTES.get(runner, 0) + MODEL_COPIES * size_bytes
    return max(1, min(wanted, int(usable_memory_bytes() * HEAT_SHARE / each) if each else wanted))
