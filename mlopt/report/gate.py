"""A gate in words: one sentence, a row for each line, and the summary that a CI page shows."""

from __future__ import annotations

import re
from typing import NamedTuple

from mlopt.errors import listing
from mlopt.report.markdown import Table
from mlopt.report.text import interval
from mlopt.types.decision import Outcome, Verdict
from mlopt.types.gate import RATIO, AbsoluteTiming, GateLine, GateReport, GateTiming

MARKS: dict[Outcome, str] = {"PASS": "✅", "FAIL": "❌", "INCONCLUSIVE": "⚠️"}


class GateRow(NamedTuple):
    """One line of the contract, as text for a table."""

    outcome: str
    line: str
    observed: str
    settles: str


def gate_rows(report: GateReport) -> list[GateRow]:
    """A row for each line of the contract."""
    return [
        GateRow(
            one.outcome, one.title, one.cause or observed(one.verdict), one.verdict.settles or ""
        )
        for one in report.lines
    ]


def observed(verdict: Verdict) -> str:
    """What was measured, in words; empty where the line says it already."""
    if verdict.unit != RATIO:
        return verdict.shown
    return "" if verdict.observed is None else f"p50 ratio {interval(verdict.observed, least=3)}"


def gate_sentence(report: GateReport) -> str:
    """The verdict, and the lines that made it."""
    outcome, count = report.outcome, len(report.lines)
    if outcome == "PASS":
        lines = "the one line" if count == 1 else f"all {count} lines"
        return f"PASS: {report.ship} keeps {lines} of the contract."
    named = report.of(outcome)
    which = listing([f"{x.title} ({x.cause})" if x.cause else x.title for x in named])
    verb = "fails" if outcome == "FAIL" else "is not settled on"
    return f"{outcome}: {report.ship} {verb} {len(report.of(outcome))} of {count} lines: {which}."


def line_in_words(line: GateLine) -> str:
    """What was seen of a line, and what would settle it."""
    parts = [
        line.cause or observed(line.verdict),
        line.verdict.settles and f"settled by {line.verdict.settles}",
    ]
    return "; ".join(part for part in parts if part) or line.title


def timing_in_words(report: GateReport) -> str:
    """What was timed beside what, how often, and why that ended."""
    timing = report.timing
    if timing is None:
        return "Nothing was timed."
    words = (
        f"{report.ship} over {timing.against}, {timing.workload}: p50 ratio "
        f"{interval(timing.p50_ratio, least=3)}, {_confidence(timing)}; p99 ratio "
        f"{interval(timing.p99_ratio)}. {timing.launches} launches, {timing.rounds} rounds, "
        f"{timing.samples} samples. Ended because: {timing.stopped_because}."
    )
    return " ".join((words, *map(_absolute, (x for x in report.absolute if x.extends))))


def _confidence(timing: GateTiming) -> str:
    """What the interval of the ratio is: of a planned look, it is no plain 95% interval."""
    words = f"a {100 * timing.p50_ratio_confidence:.3g}% interval"
    if not timing.looks:
        return words
    planned = re.match(r"look \d+ of (\d+)", timing.stopped_because)
    which = f"look {timing.looks}" + (f" of {planned[1]}" if planned else "")
    return f"{words} of {which}, and all planned looks together err at most 2.5%"


def _absolute(timing: AbsoluteTiming) -> str:
    return (
        f"The budget at {timing.workload} is judged on a trial that followed: {timing.launches} "
        f"launches, {timing.rounds} rounds, {timing.samples} samples, p99 ratio "
        f"{interval(timing.p99_ratio)}. Ended because: {timing.stopped_because}."
    )


def gate_markdown(report: GateReport) -> str:
    """The step summary: Markdown as GitHub shows it."""
    rows = tuple(
        (
            f"{MARKS[line.outcome]} {row.outcome}",
            _plain(row.line),
            row.observed,
            _plain(row.settles),
        )
        for line, row in zip(report.lines, gate_rows(report), strict=True)
    )
    parts = [
        f"## mlopt gate: {_plain(report.project)}",
        f"{MARKS[report.outcome]} {_plain(gate_sentence(report))}",
        str(Table(("verdict", "line", "observed", "what would settle it"), rows)),
        _plain(timing_in_words(report)),
    ]
    if report.warnings:
        parts.append("\n".join(f"- warning: {_plain(one)}" for one in report.warnings))
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Text on one line, in which nothing is markup or a link."""
    joined = " ".join(text.split())
    for character in "\\`*_[]<>@#":
        joined = joined.replace(character, f"\\{character}")
    return joined
