"""The report of a gate, from all that it has seen; nothing is measured here."""

from __future__ import annotations

from typing import NamedTuple

from mlopt.pipeline.admission import setting_warnings
from mlopt.pipeline.compare import side_of
from mlopt.pipeline.gate_entrants import planned_baseline
from mlopt.pipeline.gate_lines import (
    budget_lines,
    contest_warnings,
    own_warnings,
    regression_line,
    remedies,
    runs_line,
)
from mlopt.pipeline.gate_request import BASELINE, REFERENCE, SHIP, GateRequest
from mlopt.pipeline.gate_timing import Timed
from mlopt.pipeline.reference import Entrant
from mlopt.types.gate import AbsoluteTiming, GateLine, GateReport, GateTiming
from mlopt.types.load import LoadResult
from mlopt.types.measurement import Evidence, Quality


class Asked(NamedTuple):
    """What the holdout says.

    Attributes:
        qualities: Of what ships, by the role of what its answers were compared with.
        lines: Of the contract, that follow from them.
    """

    qualities: dict[str, Quality]
    lines: list[GateLine]
    warnings: list[str]


class Seen(NamedTuple):
    """What a gate has seen before any load.

    Attributes:
        entrants: By role.
        timed: The deciding workload first.
    """

    request: GateRequest
    entrants: dict[str, Entrant]
    asked: Asked
    timed: list[Timed]


class Loaded(NamedTuple):
    """What ships under load, where the budget has a line on throughput.

    Attributes:
        lines: Of the contract, beside those of the budget.
        not_loaded: What would settle a throughput, where there was no load; None: there was.
    """

    results: tuple[LoadResult, ...] = ()
    lines: tuple[GateLine, ...] = ()
    warnings: tuple[str, ...] = ()
    not_loaded: str | None = None


def failed_report(request: GateRequest, cause: str) -> GateReport:
    """The report on what cannot even be run.

    Args:
        request: What was asked.
        cause: Why it cannot.
    """
    return GateReport(
        project=request.loaded.project.name,
        ship=request.ship.text,
        reference=None if request.reference is None else request.reference.text,
        baseline=planned_baseline(request.loaded).name,
        tolerance=request.tolerance,
        max_seconds=request.max_seconds,
        lines=(runs_line(cause),),
        timing=None,
        quality={},
        warnings=("what ships cannot be run, so no other line of the contract was judged",),
    )


def gate_report(seen: Seen, load: Loaded) -> GateReport:
    """The report on what was timed and asked.

    Args:
        seen: All but the load.
        load: The load.
    """
    request, ship, other = seen.request, seen.entrants[SHIP], opponent(seen.entrants)
    return GateReport(
        project=request.loaded.project.name,
        ship=ship.name,
        reference=other.name if REFERENCE in seen.entrants else None,
        baseline=seen.entrants[BASELINE].name,
        tolerance=request.tolerance,
        max_seconds=request.max_seconds,
        lines=(*_timing_lines(seen, load), *load.lines, *seen.asked.lines),
        timing=_timing(seen.timed[0], other.name),
        absolute=tuple(map(_absolute, seen.timed)),
        quality=seen.asked.qualities,
        warnings=tuple(dict.fromkeys((*_warnings(seen), *load.warnings))),
    )


def opponent(entrants: dict[str, Entrant]) -> Entrant:
    """What ratios are over: the reference, or the baseline where there is none."""
    return entrants[REFERENCE if REFERENCE in entrants else BASELINE]


def _timing_lines(seen: Seen, load: Loaded) -> list[GateLine]:
    project = seen.request.loaded.project
    deciding = seen.timed[0]
    evidence = Evidence(
        measurements=tuple(one.absolute.b.measurements[0] for one in seen.timed),
        quality=None,
        cold_start_ms=deciding.absolute.b.cold_start_ms,
        peak_rss_bytes=deciding.absolute.b.peak_rss_bytes,
        load=load.results,
    )
    size_bytes = side_of(seen.entrants[SHIP]).size_bytes
    found = budget_lines(project.budget, evidence, size_bytes, load.not_loaded)
    gated = deciding.contest
    if gated.outcome is not None:
        line = regression_line(
            gated.p50_ratio,
            gated.outcome,
            seen.request.tolerance,
            opponent(seen.entrants).name,
            remedies(gated, project.measurement.rounds),
        )
        found.insert(0, line)
    return found


def _warnings(seen: Seen) -> list[str]:
    """What a reader should know of every trial that a line is judged on, and of the rest."""
    project = seen.request.loaded.project
    ship, other = seen.entrants[SHIP], opponent(seen.entrants)
    gated, names = seen.timed[0].contest, (other.name, ship.name)
    settles = remedies(gated, project.measurement.rounds)
    found = [
        *setting_warnings(other, ship),
        *seen.asked.warnings,
        *own_warnings(gated, seen.request.tolerance, project.metrics, settles),
    ]
    for number, one in enumerate(seen.timed):
        where = f" at {one.absolute.b.measurements[0].workload.name}" if number else ""
        found += contest_warnings(one.contest, names, where)
        if one.extended:
            found += contest_warnings(one.absolute, names, f"{where} (judged by the budget)")
    return found


def _timing(timed: Timed, against: str) -> GateTiming:
    seen = timed.contest
    measured = seen.b.measurements[0]
    return GateTiming(
        against=against,
        workload=measured.workload.name,
        p50_ms=measured.p50_ms,
        p99_ms=measured.p99_ms,
        p50_ratio=seen.p50_ratio,
        p50_ratio_confidence=seen.confidence,
        p99_ratio=seen.p99_ratio,
        launches=seen.launches,
        rounds=seen.rounds,
        samples=seen.samples,
        looks=seen.looks,
        stopped_because=seen.stopped_because,
    )


def _absolute(timed: Timed) -> AbsoluteTiming:
    seen = timed.absolute
    measured = seen.b.measurements[0]
    return AbsoluteTiming(
        workload=measured.workload.name,
        p50_ms=measured.p50_ms,
        p99_ms=measured.p99_ms,
        p99_ratio=seen.p99_ratio,
        launches=seen.launches,
        rounds=seen.rounds,
        samples=seen.samples,
        stopped_because=seen.stopped_because,
        extends=timed.extended,
    )
