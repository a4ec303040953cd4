"""The gate: what ships, timed again beside the reference, and asked again on the holdout."""

from __future__ import annotations

import time
from pathlib import Path

from mlopt.errors import ModelError, WorkerError
from mlopt.pipeline.accuracy import Answers, Exam, answer, compare_answers, fallback, slice_warnings
from mlopt.pipeline.admission import teller
from mlopt.pipeline.compare import side_of
from mlopt.pipeline.contest import Terms
from mlopt.pipeline.gate_entry import enter
from mlopt.pipeline.gate_lines import (
    DIED_UNDER_LOAD,
    NOT_LOADED,
    accuracy_lines,
    placement_line,
    runs_line,
)
from mlopt.pipeline.gate_report import (
    Asked,
    Loaded,
    Seen,
    failed_report,
    gate_report,
    opponent,
)
from mlopt.pipeline.gate_request import (
    BASELINE,
    REFERENCE,
    SHIP,
    SPLIT,
    GateRequest,
    Hall,
    ShipError,
)
from mlopt.pipeline.gate_timing import Race, Timed, budgeted_workloads, time_workloads
from mlopt.pipeline.limits import project_limits
from mlopt.pipeline.load import Ground, LoadLine, load_artifact, load_lines
from mlopt.pipeline.prepared import Prepared
from mlopt.pipeline.reference import Entrant
from mlopt.project import Project
from mlopt.store.cache import Cache
from mlopt.types.events import OnEvent
from mlopt.types.gate import GateReport
from mlopt.types.measurement import Quality

LOAD_SHARE = 1.0
"""Time for a load, as a share of that for the timing, and in addition to it."""

LIMIT = "the time limit"
"""Why a load ended that did not try every rate; see :func:`mlopt.profiling.load.measure_load`."""


def check_gate(request: GateRequest, cache: Cache, work: Path, on_event: OnEvent) -> GateReport:
    """Checks what ships against the contract. It exports and quantizes where needed; never trains.

    What ships and cannot be run has failed: it is a line of the report. What cannot be run of the
    others is an error.

    Args:
        request: What and how.
        cache: For what is built, and for candidates of runs.
        work: An empty directory.
        on_event: Called with what is going on.

    Raises:
        MloptError: Something cannot be found or built, or the reference or the baseline cannot be
            run, or does not take the project's inputs.
    """
    hall = Hall(cache, work, project_limits(request.loaded.project), on_event)
    try:
        entrants, prepared = enter(request, hall)
        asked = _ask(request, entrants, prepared, hall)
    except ShipError as e:
        return failed_report(request, str(e))
    seen = Seen(request, entrants, asked, _time(request, entrants, prepared, hall))
    found = gate_report(seen, Loaded(not_loaded=NOT_LOADED))
    if found.outcome == "FAIL" or not _load_lines(request.loaded.project):
        return found
    return gate_report(seen, _load(request, entrants[SHIP], prepared, hall))


def _ask(
    request: GateRequest, entrants: dict[str, Entrant], prepared: Prepared, hall: Hall
) -> Asked:
    """What ships against the baseline, and against the reference where there is one.

    Raises:
        ShipError: What ships cannot be loaded, dies, or answers NaN or infinity.
    """
    exam = Exam(prepared, SPLIT, hall.limits, request.seed, hall.work, hall.on_event)
    others = [role for role in entrants if role != SHIP]
    answers = {role: answer(exam, entrants[role], role) for role in others}
    try:
        answers[SHIP] = answer(exam, entrants[SHIP], SHIP)
    except ModelError as e:
        raise ShipError(str(e)) from e
    qualities: dict[str, Quality] = {}
    for over in (BASELINE, REFERENCE):
        if over in answers:
            pair: dict[str, Answers] = {over: answers[over], SHIP: answers[SHIP]}
            qualities[over] = compare_answers(exam, pair, over)[SHIP]
    lines = accuracy_lines(qualities, {role: one.name for role, one in entrants.items()})
    elsewhere = fallback(entrants[SHIP], answers[SHIP].placement)
    if elsewhere is not None and not request.loaded.project.allow_fallback:
        lines.append(placement_line(entrants[SHIP].provider, elsewhere))
    warnings = [w for q in qualities.values() for w in slice_warnings(exam, entrants[SHIP].name, q)]
    return Asked(qualities, lines, warnings)


def _time(
    request: GateRequest, entrants: dict[str, Entrant], prepared: Prepared, hall: Hall
) -> list[Timed]:
    project = request.loaded.project
    workloads = budgeted_workloads(project.workloads, project.budget)
    terms = Terms(
        snapshot=prepared.snapshots[SPLIT],
        project_dir=request.loaded.directory,
        workload=workloads[0],
        schedule=project.measurement,
        seed=request.seed,
        limits=hall.limits,
        max_seconds=request.max_seconds,
        tolerance=None if request.reference is None else request.tolerance,
    )
    race = Race(
        side_of(opponent(entrants)),
        side_of(entrants[SHIP]),
        terms,
        hall.work / "timing",
        hall.on_event,
    )
    return time_workloads(race, workloads, project.budget)


def _load_lines(project: Project) -> list[LoadLine]:
    return load_lines(project.budget, project.workloads)


def _load(request: GateRequest, ship: Entrant, prepared: Prepared, hall: Hall) -> Loaded:
    """What ships under load, for the lines on throughput."""
    project, side = request.loaded.project, side_of(ship)
    lines = _load_lines(project)
    ground = Ground(
        schedule=project.measurement,
        snapshot=prepared.snapshots[SPLIT],
        project_dir=request.loaded.directory,
        limits=hall.limits,
        seed=request.seed,
        run_dir=hall.work,
        file_stem="load",
        until=time.monotonic() + LOAD_SHARE * request.max_seconds,
    )
    tell = teller(hall.on_event, "time", f"{ship.name}: ")
    try:
        found = load_artifact(
            side.stage, side.size_bytes, lines, ground, lambda words: tell(words, None)
        )
    except (ModelError, WorkerError) as e:
        cause = f"'{ship.name}' failed under load: {e}"
        return Loaded(lines=(runs_line(cause),), not_loaded=DIED_UNDER_LOAD)
    if len(found) == len(lines) and all(one.stopped_because != LIMIT for one in found):
        return Loaded(found)
    seconds = LOAD_SHARE * request.max_seconds
    warning = (
        f"{ship.name}: the load was ended after {seconds:g} s, before every rate was tried: a line on "
        "throughput has as much time as --max-seconds, beside the timing"
    )
    return Loaded(found, warnings=(warning,))
