"""The decision in words: title, status, and one sentence that can be quoted."""

from __future__ import annotations

from typing import NamedTuple

from mlopt.report.effects import figures
from mlopt.report.evidence import chosen, line_in_words, timed
from mlopt.report.text import code, ended, plural, prose
from mlopt.types.decision import Outcome
from mlopt.types.run import CandidateResult, Run

CONTRACT = "the contract (budget and margins)"


class Refusal(NamedTuple):
    """A candidate that is not shipped, why, and what its worker wrote last."""

    name: str
    reason: str
    log: str


def is_whole(run: Run) -> bool:
    """Whether everything that was planned was done."""
    return run.status == "complete" and run.partial is None


def title(run: Run) -> str:
    """The decision as a heading."""
    project = code(run.plan.project)
    winner = chosen(run)
    if run.decision is None:
        ended = {"failed": "the run failed", "interrupted": "the run was interrupted"}
        return f"No decision for {project}: {ended.get(run.status, 'the run has not ended')}"
    if winner is None:
        return f"Ship no candidate of {project}"
    name = code(winner.name)
    if run.decision.outcome == "FAIL":
        return f"Do not ship {name} as {project}: it fails {CONTRACT}"
    if run.decision.outcome == "INCONCLUSIVE":
        return f"Do not ship {name} as {project} yet: the evidence is inconclusive"
    return (
        f"Keep {name} for {project}"
        if winner.plan.role == "baseline"
        else f"Ship {name} as {project}"
    )


def status(run: Run) -> str:
    """The status of the record, with what stands against it said first."""
    ended = {
        "failed": "**failed**: the run ended with an error; this is what there was before",
        "interrupted": "**partial**: the run was interrupted",
        "running": "**partial**: the run has not ended, or it crashed",
        "complete": "**partial**" if run.partial else "",
    }[run.status]
    parts = [ended] if ended else []
    if run.partial:
        parts.append(prose(run.partial).rstrip("."))
    if run.decision is None:
        parts.append("no decision")
    elif run.decision.outcome == "PASS":
        parts.append(
            "**proposed**, all lines of the contract PASS" if is_whole(run) else "verdict PASS"
        )
    else:
        parts.append(f"**{run.decision.outcome}**")
    return "; ".join(parts)


def quotable(run: Run) -> str:
    """The decision in one sentence, with its numbers."""
    winner = chosen(run)
    if run.decision is None:
        reason = (
            prose(run.partial).rstrip(".") if run.partial else f"the run's status is {run.status}"
        )
        return f"No decision was made: {reason}."
    if winner is None:
        return f"We ship none of the candidates: {prose(run.decision.reason).rstrip('.')}."
    name, numbers = code(winner.name), figures(run, winner)
    if run.decision.outcome == "PASS":
        if winner.plan.role == "baseline":
            return f"We keep the baseline, {name}: {numbers}."
        return f"We ship {name}: {numbers}."
    lines = _lines(run, run.decision.outcome)
    if run.decision.outcome == "FAIL":
        return f"We do not ship {name}: it fails {lines}; measured: {numbers}."
    return f"We do not ship {name} yet: {lines} stays undecided; measured: {numbers}."


def explanation(run: Run) -> list[str]:
    """Why this one: the reason, what it is tied with, and what follows from the verdict."""
    decision = run.decision
    if decision is None:
        return [
            "The figures above are what had been measured until then. Nothing follows from them yet."
        ]
    found = []
    winner = chosen(run)
    if winner is not None:
        text = f"Why this one: {prose(decision.reason).rstrip('.')}."
        if decision.tied_with:
            ties = ", ".join(code(name) for name in decision.tied_with)
            text += f" Its p50 could not be told from that of {ties}."
        found.append(text)
        found.append(_standing(winner))
    if decision.outcome != "PASS" and winner is not None:
        found.append(
            "There is no second choice in a run: taking the next best after a look at the holdout "
            "would make the holdout part of the selection."
        )
    return found


def settlements(run: Run) -> list[str]:
    """What would settle each line that is INCONCLUSIVE."""
    verdicts = run.decision.verdicts if run.decision is not None else ()
    return [
        f"{code(line_in_words(run, v))} would be settled by {prose(v.settles).rstrip('.')}."
        for v in verdicts
        if v.settles is not None
    ]


def refusals(run: Run) -> list[Refusal]:
    """Every candidate that is not shipped, and why."""
    reasons = {r.name: r.reason for r in run.decision.rejected} if run.decision is not None else {}
    winner = chosen(run)
    found = []
    for result in run.candidates:
        if winner is not None and result.name == winner.name:
            continue
        reason = _failure(result) or reasons.get(result.name) or _fate(run, result)
        log = "" if result.failure is None else result.failure.log
        found.append(Refusal(code(result.name), ended(reason), log))
    return found


def counts(run: Run) -> str:
    """``mlopt considered 4 candidates and measured 3 of them``, the reference left out."""
    own = [c for c in run.candidates if c.plan.role != "reference"]
    failed = sum(c.failure is not None for c in own)
    seen = sum(c.plan.role != "reference" for c in timed(run))
    text = (
        f"mlopt considered {plural(len(own), 'candidate')} and measured {seen} of them side by side"
    )
    return f"{text} ({failed} failed)" if failed else text


def _standing(winner: CandidateResult) -> str:
    if winner.confirmation is None:
        return "It was **not confirmed**: the figures are those that it was selected on, which flatter it."
    return "The numbers are those of the confirmation: fresh launches, and a holdout that no choice has seen."


def _lines(run: Run, outcome: Outcome) -> str:
    verdicts = run.decision.verdicts if run.decision is not None else ()
    lines = [code(line_in_words(run, v)) for v in verdicts if v.outcome == outcome]
    return ", ".join(lines) if lines else CONTRACT


def _failure(result: CandidateResult) -> str | None:
    if result.failure is None:
        return None
    verb = {"build": "built", "score": "scored", "time": "timed"}[result.failure.during]
    return f"failed while it was {verb}: {result.failure.cause}"


def _fate(run: Run, result: CandidateResult) -> str:
    if result.plan.role == "reference":
        return "the reference that users start from: shown, and never chosen"
    if result.status in ("planned", "built"):
        return f"{result.status}, and not measured: the run ended before"
    if result.status == "skipped":
        return "skipped"
    return "no decision was made" if run.decision is None else "not chosen"
