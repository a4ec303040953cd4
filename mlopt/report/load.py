"""What candidates sustain: the report's section "Under load"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mlopt.report.evidence import chosen, decisive, workloads
from mlopt.report.markdown import Table
from mlopt.report.text import NONE, code, interval, plural, shortened, significant
from mlopt.types.budget import format_quantity
from mlopt.types.load import HEADROOM, LoadPoint, LoadResult, replicas
from mlopt.types.run import Run

LONGEST_NAME = 26
"""Of a candidate, so that a row stays narrower than a page."""

DAY_S = 86_400
_HEADER = (
    "candidate", "trial", "load", "callers", "answered /s", "p50 ms", "p99 ms", "sustained",
)  # fmt: skip


class LoadSection(NamedTuple):
    """The section.

    Attributes:
        notes: How to read the table, and the replicas that follow from it.
    """

    introduction: str
    table: Table
    notes: tuple[str, ...]


class _Loaded(NamedTuple):
    """A candidate's load in one trial."""

    candidate: str
    trial: str
    result: LoadResult


def load_section(run: Run) -> LoadSection | None:
    """What was measured under load; None where nothing was."""
    found = list(_loaded(run))
    if not found:
        return None
    several = len(workloads(run)) > 1
    rows = [_row(one, point, several) for one in found for point in one.result.points]
    return LoadSection(_introduction(found), Table(_HEADER, tuple(rows)), tuple(_notes(run, found)))


def _loaded(run: Run) -> Iterator[_Loaded]:
    for candidate in run.candidates:
        for trial, evidence in (
            ("selection", candidate.selection),
            ("confirmation", candidate.confirmation),
        ):
            for result in evidence.load if evidence is not None else ():
                if result.points:
                    yield _Loaded(candidate.name, trial, result)


def _introduction(found: list[_Loaded]) -> str:
    budgets = {one.result.p99_budget_ms for one in found} - {None}
    limit = " or ".join(format_quantity("p99_ms", b) for b in sorted(b for b in budgets if b))
    rule = (
        f", and is sustained when the whole interval of its p99 lies under {limit}" if limit else ""
    )
    return (
        "Requests arrive at random (Poisson) at a fixed rate, and a latency counts from when a "
        f"request was due, so waiting is part of it. A rate was tried once in each launch{rule}. "
        "Closed loops, in which each caller waits for its answer, only say how many callers serve best."
    )


def _row(one: _Loaded, point: LoadPoint, several: bool) -> tuple[str, ...]:
    load = "closed loop" if point.rate_per_s is None else f"{_rate(point.rate_per_s)} /s"
    if several:
        load += f", {one.result.workload.name}"
    tail = "queue grew" if point.was_cut_off else interval(point.p99_ms)
    answered = None if point.throughput_per_s is None else point.throughput_per_s.value
    return (
        code(shortened(one.candidate, LONGEST_NAME)),
        one.trial,
        load,
        str(point.callers),
        NONE if answered is None else _rate(answered),
        interval(point.p50_ms),
        tail,
        _sustained(point),
    )


def _sustained(point: LoadPoint) -> str:
    if point.rate_per_s is None:
        return NONE
    return {True: "yes", False: "no", None: "cannot be told"}[point.sustained]


def _notes(run: Run, found: list[_Loaded]) -> Iterator[str]:
    threads = {one.result.threads for one in found if one.result.threads is not None}
    if threads:
        counts = " or ".join(str(count) for count in sorted(threads))
        yield (
            f"Callers share one session with {counts} threads inside an operator; those are part of the "
            "candidate."
        )
    yield (
        "The first tenth of each launch, in which the queue finds its level, is stored and takes no "
        "part in the estimates. No other request is left out. A load is cut off when a request has "
        "waited for 20 times the budget, and at least 0.2 s: its queue grows without end."
    )
    winner = chosen(run)
    evidence = None if winner is None else decisive(winner)
    for result in evidence.load if evidence is not None else ():
        words = None if run.plan.predictions_per_day is None else _replicas(run, result)
        if words is not None:
            yield words


def _replicas(run: Run, result: LoadResult) -> str | None:
    """How many replicas the traffic takes, at its mean."""
    rate, per_day = result.sustained_per_s, run.plan.predictions_per_day
    if rate is None or rate.low is None or per_day is None:
        return None
    mean = per_day / DAY_S / result.workload.batch_size
    count = replicas(mean, rate.low, HEADROOM)
    batches = "" if result.workload.batch_size == 1 else f" of {result.workload.batch_size}"
    return (
        f"At {per_day:,.0f} predictions a day, {_rate(mean)} requests{batches} a second arrive on "
        f"average. A replica was shown to sustain {_rate(rate.low)}; with {HEADROOM:.0%} of that kept "
        f"free, {plural(count, 'replica')} would serve the mean. **The mean is not the peak**: for "
        "a peak, divide its rate by the sustained one in the same way."
    )


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 100 else significant(per_s)
