"""The tables of the report."""

from __future__ import annotations

from typing import NamedTuple

from mlopt.report.evidence import (
    chosen,
    contract_labels,
    first_measurement,
    line_in_words,
    margin_result,
    measurement,
    selection_verdicts,
    timed,
    trial_name,
    workloads,
)
from mlopt.report.markdown import WIDEST_ROW, Table, tables
from mlopt.report.quality import delta_text, is_share, metric_result, score_text
from mlopt.report.summary import RATIO_DECIMALS, metric_text, p99_text, ratio_text
from mlopt.report.text import NONE, change, code, interval, percent, significant
from mlopt.types.decision import Verdict
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Evidence
from mlopt.types.run import CandidateResult, Run

MOST_LINES = 4
MOST_SCORES = 3
_EMPHASIS = {"FAIL": "**FAIL**"}


class Titled(NamedTuple):
    """A table with the words above it; empty for none."""

    title: str
    table: Table


def display_name(run: Run, result: CandidateResult) -> str:
    """The name in backticks; bold for the chosen one."""
    winner = chosen(run)
    name = code(result.name)
    return f"**{name}**" if winner is not None and winner.name == result.name else name


def latency_tables(run: Run) -> list[Titled]:
    """One table a workload: p50, p99 and the paired ratio of every candidate that was timed."""
    found = []
    for workload in workloads(run):
        rows = []
        for result in timed(run):
            seen = measurement(result.selection, workload.name)
            if seen is None:
                continue
            ratio = ratio_text(result, seen)
            p50 = interval(seen.p50_ms)
            rows.append((display_name(run, result), p50, p99_text(seen), ratio))
        if rows:
            header = ("candidate", "p50 ms", "p99 ms", "p50 ratio")
            found.append(Titled(f"Latency, {workload.name}", Table(header, tuple(rows))))
    return found + _run_off_tables(run)


def _run_off_tables(run: Run) -> list[Titled]:
    """The fastest once more; empty where there was no run-off."""
    rows = []
    for result in timed(run):
        seen = first_measurement(run, result.run_off)
        if seen is not None:
            row = display_name(run, result), interval(seen.p50_ms), ratio_text(result, seen)
            rows.append(row)
    table = Table(("candidate", "p50 ms", "p50 ratio"), tuple(rows))
    return [Titled("Latency in the run-off", table)] if rows else []


def quality_tables(run: Run) -> list[Titled]:
    """Metric deltas and costs, in one table where that is narrow enough."""
    results = timed(run)
    if not results:
        return []
    names = [display_name(run, result) for result in results]
    heads, scores = score_heads(run), [score_cells(run, result) for result in results]
    costs = ("size MB", "peak RSS MB", "cold start ms")
    spent = [_costs(result) for result in results]
    rows = [(n, *q, *c) for n, q, c in zip(names, scores, spent, strict=True)]
    whole = Table(("candidate", *heads, *costs), tuple(rows))
    if len(heads) <= MOST_SCORES and whole.width <= WIDEST_ROW:
        return [Titled("Quality on selection, and cost", whole)]
    rows = [(n, *q) for n, q in zip(names, scores, strict=True)]
    parts = tables(("candidate", *heads), rows, MOST_SCORES)
    titles = ("Quality on selection, candidate minus baseline", *[""] * len(parts))
    cost = Table(("candidate", *costs), tuple((n, *c) for n, c in zip(names, spent, strict=True)))
    return [*map(Titled, titles, parts), Titled("Cost", cost)]


def score_heads(run: Run) -> list[str]:
    """Headings of the metrics: one metric has a column for its value, several for deltas only."""
    names = [margin.metric for margin in run.plan.margins]
    heads = [_delta_head(run, name) for name in names]
    return [*names, *heads] if len(names) == 1 else heads


def score_cells(run: Run, result: CandidateResult) -> list[str]:
    """A candidate's cells below :func:`score_heads`."""
    names = [margin.metric for margin in run.plan.margins]
    cells = [metric_text(run, result, name) for name in names]
    values = [_value(run, result, name) for name in names]
    if len(names) == 1:
        return [*values, *cells]
    if result.plan.role != "baseline":
        return cells
    return [f"{cell}: {value}" for cell, value in zip(cells, values, strict=True)]


def verdict_tables(run: Run) -> tuple[Table, ...]:
    """Every line of the contract for every candidate, on the evidence of the selection."""
    labels = contract_labels(run)
    rows = []
    for result in timed(run):
        if result.plan.role == "reference":
            continue
        seen = selection_verdicts(run, result)
        cells: list[str] = [seen.get(label, "not scored") for label in labels]
        rows.append((display_name(run, result), *(_EMPHASIS.get(c, c) for c in cells)))
    return tables(("candidate", *labels), rows, MOST_LINES) if labels and rows else ()


def contract_table(run: Run) -> Table | None:
    """The verdicts on the confirmation, with what would settle the open ones."""
    verdicts = run.decision.verdicts if run.decision is not None else ()
    if not verdicts:
        return None
    rows = [
        (line_in_words(run, v), _observed(run, v), _EMPHASIS.get(v.outcome, v.outcome))
        for v in verdicts
    ]
    return Table(("line of the contract", "observed", "verdict"), tuple(rows))


def evidence_table(run: Run) -> Table | None:
    """The chosen candidate's figures on selection and on confirmation, side by side."""
    winner = chosen(run)
    if winner is None or winner.selection is None or winner.confirmation is None:
        return None
    both = (winner.selection, winner.confirmation)
    rows: list[tuple[str, ...]] = []
    for workload in workloads(run):
        seen = [measurement(e, workload.name) for e in both]
        mark = f", {workload.name}" if len(workloads(run)) > 1 else ""
        rows.append((f"p50 ms{mark}", *(NONE if m is None else interval(m.p50_ms) for m in seen)))
        rows.append((f"p99 ms{mark}", *map(p99_text, seen)))
        if winner.plan.role != "baseline":
            rows.append((f"p50 ratio{mark}", *(ratio_text(winner, m) for m in seen)))
            tails = [None if m is None else m.p99_ratio for m in seen]
            shown = [interval(tail, least=RATIO_DECIMALS) for tail in tails]
            rows.append((f"p99 ratio{mark}", *shown))
    rows += _quality_rows(run, winner, both)
    rows.append(("cold start ms", *(interval(e.cold_start_ms) for e in both)))
    rows.append(("peak RSS MB", *(_mega(e.peak_rss_bytes) for e in both)))
    return Table(("figure", "selection", "confirmation"), tuple(rows))


def effort_table(run: Run) -> Table | None:
    """How many samples each number stands on."""
    rows = []
    for result in timed(run):
        for evidence in result.evidence:
            for seen in evidence.measurements:
                blocks = f"{seen.launches} / {seen.rounds}"
                where = (trial_name(seen.trial), seen.workload.name)
                rows.append((display_name(run, result), *where, f"{seen.count:,}", blocks))
    header = ("candidate", "trial", "workload", "samples", "launches / rounds")
    return Table(header, tuple(rows)) if rows else None


def data_table(run: Run) -> Table:
    """The splits, as they were read."""
    splits = run.plan.data
    grouped = any(split.groups is not None for split in splits.values())
    rows = [
        (
            name,
            f"{split.examples:,}",
            *([NONE if split.groups is None else f"{split.groups:,}"] if grouped else []),
            f"{split.duplicates:,}",
            f"`{split.sha256[:12]}`",
        )
        for name, split in splits.items()
    ]
    head = ("split", "examples", *(["groups"] if grouped else []), "exact duplicates", "sha256")
    return Table(head, tuple(rows))


def _quality_rows(
    run: Run, winner: CandidateResult, both: tuple[Evidence, Evidence]
) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for margin in run.plan.margins:
        found = [metric_result(e, margin.metric) for e in both]
        share = is_share(run, margin.metric)
        values = [NONE if r is None else score_text(r.value, share) for r in found]
        deltas = [NONE if r is None else delta_text(r, share) for r in found]
        rows.append((margin.metric, *values))
        if winner.plan.role != "baseline":
            rows.append((_delta_head(run, margin.metric), *deltas))
    qualities = [e.quality for e in both]
    if any(q is not None and q.flip_rate is not None for q in qualities):
        flips = [
            NONE if q is None or q.flip_rate is None else percent(q.flip_rate) for q in qualities
        ]
        rows.append(("predictions that flipped", *flips))
    if any(q is not None and q.broken_rate is not None for q in qualities):
        broken = [
            NONE if q is None or q.broken_rate is None else percent(q.broken_rate)
            for q in qualities
        ]
        rows.append(("right before, wrong now", *broken))
    examples = [
        NONE if q is None or not q.metrics else f"{q.metrics[0].examples:,}" for q in qualities
    ]
    return [*rows, ("examples", *examples)]


def _value(run: Run, result: CandidateResult, name: str) -> str:
    found = metric_result(result.selection, name)
    return NONE if found is None else score_text(found.value, is_share(run, name))


def _delta_head(run: Run, name: str) -> str:
    return f"{name} delta, points" if is_share(run, name) else f"{name} delta"


def _costs(result: CandidateResult) -> tuple[str, str, str]:
    size = NONE if result.size_bytes is None else significant(result.size_bytes / 1e6)
    if result.selection is None:
        return size, NONE, NONE
    rss, start = result.selection.peak_rss_bytes, result.selection.cold_start_ms
    return size, _mega(rss), interval(start)


def _mega(estimate: Estimate | None) -> str:
    return interval(None if estimate is None else estimate.scaled(1e-6))


def _observed(run: Run, verdict: Verdict) -> str:
    if verdict.observed is None:
        return "too little to say"
    if verdict.unit == "per_s":
        return verdict.shown
    if verdict.unit == "bytes":
        size = verdict.observed
        exact = size.low == size.high
        return f"{significant(size.value / 1e6) if exact else _mega(size)} MB"
    if verdict.unit == "ms":
        bound, _, rest = interval(verdict.observed).partition(" (upper")
        return f"{bound} ms (upper{rest}" if rest else f"{bound} ms"
    result = margin_result(run, verdict)
    if result is not None and is_share(run, result.name):
        return f"{change(verdict.observed.scaled(100))} points"
    return change(verdict.observed)
