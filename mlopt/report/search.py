"""How much of a space of choices was seen, and what was found in it: a section of the report."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from mlopt.decision.select import reason_against
from mlopt.report.evidence import chosen, first_measurement
from mlopt.report.facts import value_text
from mlopt.report.markdown import Table
from mlopt.report.quality import harm, is_share, metric_result
from mlopt.report.summary import ratio_text
from mlopt.report.text import (
    NONE,
    change,
    code,
    listing,
    percent,
    plural,
    prose,
    shortened,
)
from mlopt.types.run import CandidateResult, Run
from mlopt.types.search import SearchSummary

MOST_ROWS = 12
LONGEST_NAME = 48
"""Of a combination, so that a row stays narrower than a page."""

LONGEST_CAUSE = 90


class SearchSection(NamedTuple):
    """The section on one recipe's search.

    Attributes:
        introduction: How much was seen, and how it was chosen.
        front: What no other combination beats; None where nothing was measured.
        failures: By cause; None where nothing failed.
        notes: How to read them.
    """

    title: str
    introduction: str
    front: Table | None
    failures: Table | None
    notes: tuple[str, ...]


def search_section(run: Run, summary: SearchSummary) -> SearchSection:
    """What one search saw.

    Args:
        run: The run.
        summary: Of one of its searches.
    """
    asked = [result for result in run.candidates if result.name in set(summary.asked)]
    front = [result for result in asked if result.name in set(summary.front)]
    front.sort(key=lambda result: summary.front.index(result.name))
    return SearchSection(
        title=f"How much of the space of {code(summary.recipe)} was seen",
        introduction=_introduction(summary),
        front=_front(run, front[:MOST_ROWS]) if front else None,
        failures=_failures(asked),
        notes=tuple(_notes(run, summary, front)),
    )


def _introduction(summary: SearchSummary) -> str:
    space = plural(summary.size, "combination")
    if summary.seen == summary.size:
        seen = f"**All of the {space}**" if summary.size > 1 else f"**The only {space[2:]}**"
    else:
        seen = f"**{summary.seen:,} of the {space} ({percent(summary.share)})**"
    choices = [
        f"{code(label)} ({plural(len(values), 'value')})"
        for label, values in summary.choices.items()
    ]
    of = f" of {listing(choices)}" if choices else ""
    verb = "was" if summary.seen == 1 else "were"
    return f"{seen}{of} {verb} seen. How they were chosen: {prose(summary.method)}."


def _front(run: Run, front: list[CandidateResult]) -> Table:
    metric = run.plan.margins[0].metric if run.plan.margins else None
    share = metric is not None and is_share(run, metric)
    loss = "loss" if metric is None else f"loss of {metric}{', points' if share else ''}"
    rows = tuple(
        (
            _combination(run, result),
            ratio_text(result, first_measurement(run, result.selection)),
            NONE if metric is None else _loss(result, metric, share),
            "no" if _refused(run, result) else "yes",
        )
        for result in front
    )
    return Table(("combination", "p50 ratio", loss, "may ship"), rows)


def _combination(run: Run, result: CandidateResult) -> str:
    """The choices of a candidate, in bold for the chosen one."""
    choices = [f"{label}={value_text(value)}" for label, value in result.plan.choices.items()]
    name = code(shortened(f"{','.join(choices)}@{result.plan.provider}", LONGEST_NAME))
    winner = chosen(run)
    return f"**{name}**" if winner is not None and winner.name == result.name else name


def _loss(result: CandidateResult, metric: str, share: bool) -> str:
    found = metric_result(result.selection, metric)
    if found is None:
        return NONE
    loss = harm(found)
    return change(loss.scaled(100) if share else loss)


def _refused(run: Run, result: CandidateResult) -> bool:
    return reason_against(result, run.plan.budget, run.plan.allow_fallback) is not None


def _failures(asked: list[CandidateResult]) -> Table | None:
    """How often each cause ended a candidate, the most frequent one first."""
    causes = Counter(
        (result.failure.during, " ".join(result.failure.cause.split()))
        for result in asked
        if result.failure is not None
    )
    rows = tuple(
        (str(count), during, prose(shortened(cause, LONGEST_CAUSE)))
        for (during, cause), count in causes.most_common()
    )
    return Table(("failed", "during", "cause"), rows) if rows else None


def _notes(run: Run, summary: SearchSummary, front: list[CandidateResult]) -> list[str]:
    notes = []
    if front:
        shown = f"; the {MOST_ROWS} fastest are shown" if len(front) > MOST_ROWS else ""
        notes.append(
            f"The table has the {plural(len(front), 'combination')} that no other one beats in both p50 and "
            f"loss, by the values seen on selection{shown}. Where intervals overlap, another one may in "
            "truth be as good."
        )
    if front and all(_refused(run, result) for result in front):
        notes.append("None of these may ship: those that may are slower or lose more.")
    unseen = summary.size - summary.seen
    if unseen:
        notes.append(
            f"{plural(unseen, 'combination')} {'was' if unseen == 1 else 'were'} not seen: a better one may "
            "be among them, and nothing here says otherwise."
        )
    missing = len(summary.asked) - summary.seen
    if missing > 0:
        notes.append(
            f"{plural(missing, 'combination')} {'was' if missing == 1 else 'were'} asked for and "
            "neither measured nor failed: the run ended before."
        )
    return notes
