"""One line a candidate: what the terminal shows, in the report's own words."""

from __future__ import annotations

from typing import NamedTuple

from mlopt.report.evidence import chosen, first_measurement, is_timed, selection_outcome
from mlopt.report.quality import delta_text, is_share, metric_result
from mlopt.report.text import NONE, interval, megabytes, upper_bound
from mlopt.types.measurement import Measurement
from mlopt.types.run import CandidateResult, Run

RATIO_DECIMALS = 2


class SummaryRow(NamedTuple):
    """A candidate in one line, on the evidence of the selection and under the first workload.

    Attributes:
        p50: Milliseconds.
        p99: Milliseconds.
        ratio: p50 over the baseline's.
        delta: Of the first metric; percentage points for a share of right answers.
        verdict: Of the confirmation for the chosen one; else of the selection, or what became of
            the candidate.
    """

    name: str
    p50: str
    p99: str
    ratio: str
    delta: str
    size: str
    verdict: str


def summary_rows(run: Run) -> list[SummaryRow]:
    """One row a candidate, in the order of the plan."""
    return [_row(run, result) for result in run.candidates]


def p99_text(measurement: Measurement | None) -> str:
    """The p99 in milliseconds, or why it cannot be given."""
    if measurement is None:
        return NONE
    p99 = measurement.p99_ms
    if measurement.p99_support == "insufficient" or p99 is None:
        return "not enough samples"
    if measurement.p99_support == "upper_bound":
        return upper_bound(p99.high if p99.high is not None else p99.value)
    return interval(p99)


def ratio_text(result: CandidateResult, measurement: Measurement | None) -> str:
    """The paired p50 ratio over the baseline."""
    if measurement is None or measurement.p50_ratio is None:
        return NONE
    if result.plan.role == "baseline":
        return "1 (baseline)"
    return interval(measurement.p50_ratio, least=RATIO_DECIMALS)


def metric_text(run: Run, result: CandidateResult, name: str, *, confirmation: bool = False) -> str:
    """The delta of one metric."""
    found = metric_result(result.confirmation if confirmation else result.selection, name)
    if found is None:
        return NONE
    return "baseline" if result.plan.role == "baseline" else delta_text(found, is_share(run, name))


def verdict_text(run: Run, result: CandidateResult) -> str:
    """What became of a candidate, in a word."""
    winner = chosen(run)
    if winner is not None and run.decision is not None and winner.name == result.name:
        return run.decision.outcome
    if result.status == "failed" or result.failure is not None:
        return "failed"
    if not is_timed(result):
        return "skipped" if result.status == "skipped" else "not measured"
    return "reference" if result.plan.role == "reference" else selection_outcome(run, result)


def _row(run: Run, result: CandidateResult) -> SummaryRow:
    found = first_measurement(run, result.selection)
    metric = run.plan.margins[0].metric if run.plan.margins else ""
    return SummaryRow(
        name=result.name,
        p50=NONE if found is None else interval(found.p50_ms),
        p99=p99_text(found),
        ratio=ratio_text(result, found),
        delta=metric_text(run, result, metric),
        size=NONE if result.size_bytes is None else megabytes(result.size_bytes),
        verdict=verdict_text(run, result),
    )
