"""What disturbed the measurements, what was looked at and was fine, and why each trial ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mlopt.profiling.diagnostics import wandered
from mlopt.report.evidence import measurements, timed, trial_name, workloads
from mlopt.report.markdown import Table
from mlopt.report.text import code, ended, listing, plural, prose, shortened
from mlopt.types.measurement import Diagnostic, Evidence, Measurement
from mlopt.types.run import Run

LONGEST_NAME = 32
"""Of a candidate, so that a row stays narrower than a page."""


class Quiet(NamedTuple):
    """The section.

    Attributes:
        table: What was amiss; None for nothing.
        notes: Advice, why each trial ended, and who left before its end.
    """

    summary: str
    table: Table | None
    notes: tuple[str, ...]


class _Seen(NamedTuple):
    """A diagnostic of a candidate in a trial."""

    candidate: str
    place: str
    diagnostic: Diagnostic


def was_it_quiet(run: Run) -> Quiet | None:
    """What is known about disturbances; None for a run that timed nothing."""
    if not measurements(run):
        return None
    seen = _seen(run)
    amiss = [one for one in seen if one.diagnostic.status == "warning"]
    return Quiet(
        _summary(seen, amiss),
        _table(amiss, seen) if amiss else None,
        (*_advice(amiss), *_ends(run), *_left(run)),
    )


def wandering(run: Run) -> list[str]:
    """Candidates of which no level could be estimated, each with the trials it wandered in."""
    places: dict[str, list[str]] = {}
    for result, measured in measurements(run):
        if wandered(measured.diagnostics):
            places.setdefault(result.name, []).append(_place(run, measured))
    return [f"{code(name)} ({'; '.join(found)})" for name, found in places.items()]


def _seen(run: Run) -> list[_Seen]:
    return [
        _Seen(result.name, _place(run, measured), diagnostic)
        for result, measured in measurements(run)
        for diagnostic in measured.diagnostics
    ]


def _place(run: Run, measured: Measurement) -> str:
    """The trial, with the workload where there are several."""
    several = len(workloads(run)) > 1
    trial = trial_name(measured.trial)
    return f"{trial}, {measured.workload.name}" if several else trial


def _summary(seen: list[_Seen], amiss: list[_Seen]) -> str:
    if not seen:
        return "Nothing but the clock was looked at in this run."
    disturbed = {one.diagnostic.name for one in amiss}
    fine = _names((one for one in seen if one.diagnostic.status == "ok"), disturbed)
    words = ["Yes, as far as can be seen." if not amiss else "Not entirely."]
    if fine:
        words.append(f"Looked at and fine throughout: {listing(fine)}.")
    hidden = _names(
        (one for one in seen if one.diagnostic.status == "unknown"), disturbed | set(fine)
    )
    if hidden:
        words.append(f"Not known: {listing(hidden)}.")
    return " ".join(words)


def _names(seen: Iterable[_Seen], without: set[str]) -> list[str]:
    names = dict.fromkeys(one.diagnostic.name for one in seen)
    return [prose(name) for name in names if name not in without]


def _table(amiss: list[_Seen], seen: list[_Seen]) -> Table:
    """One row for each finding; what was the same for several candidates is said once."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for one in amiss:
        rows.setdefault((one.diagnostic.name, one.place, one.diagnostic.seen), []).append(
            one.candidate
        )
    cells = []
    for (name, place, words), candidates in rows.items():
        timed_there = len({one.candidate for one in seen if one.place == place})
        cells.append((_who(candidates, timed_there), place, name, words))
    return Table(("candidate", "trial", "what", "seen"), tuple(cells))


def _who(candidates: list[str], timed_there: int) -> str:
    if len(candidates) == 1:
        return code(shortened(candidates[0], LONGEST_NAME))
    return f"all {timed_there}" if len(candidates) == timed_there else f"{len(candidates)} of them"


def _advice(amiss: list[_Seen]) -> list[str]:
    advice = dict.fromkeys(
        (one.diagnostic.name, one.diagnostic.advice) for one in amiss if one.diagnostic.advice
    )
    return [f"{prose(name).capitalize()}: {ended(words)}" for name, words in advice]


def _ends(run: Run) -> list[str]:
    ends = dict.fromkeys((seen.trial, seen.stopped_because) for _, seen in measurements(run))
    return [f"The {prose(trial_name(trial))} stopped because: {ended(why)}" for trial, why in ends]


def _left(run: Run) -> Iterator[str]:
    for result in timed(run):
        for evidence in result.evidence:
            if evidence.left_because is not None:
                yield f"{code(result.name)} left early, with {_effort(evidence)}: {ended(evidence.left_because)}"


def _effort(evidence: Evidence) -> str:
    samples = sum(one.count for one in evidence.measurements)
    rounds = max(one.rounds for one in evidence.measurements)
    launches = max(one.launches for one in evidence.measurements)
    among = "1 launch" if launches == 1 else f"{launches} launches"
    return f"{plural(samples, 'sample')} in {plural(rounds, 'round')} of {among}"
