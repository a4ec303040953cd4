"""The choice among candidates, by a rule that stands in the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mlopt.decision.dominance import FAR_BELOW
from mlopt.decision.judge import judge, latency_of
from mlopt.profiling.diagnostics import wandered
from mlopt.types.budget import BudgetLine
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.decision import Outcome, Rejection, Verdict, worst
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Evidence, MetricResult
from mlopt.types.run import CandidateResult, Run

SELECTION_RULE = (
    "Of the candidates that ran wholly on their provider, FAIL no budget line and whose losses on "
    "selection stay within the margins: those that PASS every budget line before those with an "
    "INCONCLUSIVE one, where a latency with too few samples for an interval counts as kept if it (or "
    "the p90 in place of a p99) was at most half of its limit; then, where there was a run-off, those "
    "that were in it; then the smallest p50 at the first workload, by the ratios paired with the one "
    "whose p50 is smallest over the baseline's; then, among those whose p50 cannot be told from the "
    "smallest (the interval of the paired ratio contains 1, and the ratio is at most 1.02), the fewest "
    "steps, then the fewest session settings of its own, then one on the baseline's provider, then the "
    "smallest artifact and what is up to a tenth larger, then the smallest p50. A run-off follows the "
    "race where the plan refines: up to four, among them the one that would be chosen without it, are "
    "timed anew whose ratio to the smallest p50 is at most 1.1, with an interval that contains 1, until "
    "their ratios to the fastest of them are known to 1%, or a minute beside loading, the launches of the "
    "plan or the time allowed are over; with fewer than three launches, where the plan has as many, it "
    "counts for nothing. A candidate leaves the trial early when another "
    "one that may ship was over 1.05 times faster in so many rounds of five launches, or over 1.1 "
    "times in three, that chance is ruled out; where it loses no less of any metric, over 1.2 times "
    "in two launches or over 1.5 times in one are enough. The chosen one is measured again, with "
    "fresh launches and on the holdout; the verdict is that of the second measurement."
)

SEEMS_SLOWER = 1.02
"""A ratio from which on nobody is taken for being simpler, however little is known of it."""

OUT_OF_REACH = 1.1
"""A ratio from which on nobody is timed further, however little is known of it."""

AS_SMALL = 1.1
"""A ratio of sizes up to which a faster artifact is taken for as small."""

MOST_CONTENDERS = 4
"""The more there are, the less is learned of each in the same time."""

KEEPS_ALL = "may ship with every budget line kept, as far as was seen"

Ratio = Callable[[str, str], Estimate]


class Choice(NamedTuple):
    """What the rule chose; ``chosen`` is None when no candidate may ship.

    Attributes:
        outcome: Of the selection: FAIL when nothing is eligible.
    """

    chosen: str | None
    reason: str
    rejected: tuple[Rejection, ...]
    tied_with: tuple[str, ...]
    outcome: Outcome


class _Eligible(NamedTuple):
    """One that may ship.

    Attributes:
        outcome: Of the budget; a latency that is far from its limit, as far as was seen, is kept.
    """

    result: CandidateResult
    evidence: Evidence
    outcome: Outcome

    @property
    def p50(self) -> float:
        """Over the baseline's."""
        return _p50(self.evidence)


def choose(
    results: Sequence[CandidateResult],
    budget: Sequence[BudgetLine],
    allow_fallback: bool,
    p50_ratio: Ratio,
) -> Choice:
    """Applies :data:`SELECTION_RULE`.

    Args:
        results: All candidates, measured or not; the reference is passed over.
        budget: The lines.
        allow_fallback: Whether nodes may run on another provider than the one asked for.
        p50_ratio: The paired ratio of the p50 of two candidates, by their names.
    """
    rejected, eligible = _sorted_out(results, budget, allow_fallback)
    if not eligible:
        return Choice(None, "no candidate may ship", rejected, (), "FAIL")
    best, raced = _field(eligible)
    field = [e for e in raced if e.result.run_off is not None] or raced
    fastest, ties, chosen = _ranked(field, _home(results), p50_ratio)
    name = chosen.result.name
    slower = tuple(
        _slower(e, chosen if e in ties else fastest, best, p50_ratio)
        for e in eligible
        if e is not chosen
    )
    tied = tuple(e.result.name for e in ties if e is not chosen)
    which = "may ship" if len(raced) == len(eligible) else KEEPS_ALL
    if len(field) < len(raced):
        which = "were in the run-off, by the rounds that they share"
    if tied:
        reason = (
            f"the simplest of the {len(ties)} fastest candidates, whose p50 cannot be told apart"
        )
    elif field[1:]:
        reason = f"the smallest p50 of {len(field)} candidates that {which}"
    else:
        reason = f"the only candidate that {which}"
    return Choice(name, reason, rejected + slower, tied, best)


def contenders(
    results: Sequence[CandidateResult],
    budget: Sequence[BudgetLine],
    allow_fallback: bool,
    p50_ratio: Ratio,
) -> tuple[str, ...]:
    """Names of those of whom it is open who has the smallest p50, the smallest seen first.

    Of many, the one that would be chosen as it stands is among them.

    Takes the arguments of :func:`choose`.
    """
    _, eligible = _sorted_out(results, budget, allow_fallback)
    if not eligible:
        return ()
    _, field = _field(eligible)
    fastest, _, chosen = _ranked(field, _home(results), p50_ratio)
    seated = {fastest.result.name, chosen.result.name}
    racing = [
        e.result.name for e in field if e.evidence.left_because is None or e.result.name in seated
    ]
    ratios = {name: p50_ratio(name, fastest.result.name) for name in racing}
    close = {name: one.value for name, one in ratios.items() if _may_be_as_fast(one, OUT_OF_REACH)}
    seats = sorted(close, key=lambda name: (name not in seated, close[name]))[:MOST_CONTENDERS]
    return tuple(sorted(seats, key=lambda name: close[name]))


def fastest(run: Run) -> list[CandidateResult]:
    """The timed candidates that nothing is against, the smallest p50 first, by what is known so far."""
    plan = run.plan
    found = [
        (result.selection, result)
        for result in run.candidates
        if result.plan.role != "reference"
        and result.selection is not None
        and reason_against(result, plan.budget, plan.allow_fallback) is None
    ]
    return [result for _, result in sorted(found, key=lambda one: _p50(one[0]))]


def _home(results: Sequence[CandidateResult]) -> str | None:
    """The baseline's provider."""
    return next((r.plan.provider for r in results if r.plan.role == "baseline"), None)


def _sorted_out(
    results: Sequence[CandidateResult], budget: Sequence[BudgetLine], allow_fallback: bool
) -> tuple[tuple[Rejection, ...], list[_Eligible]]:
    """What is against those that cannot be chosen, and those that can."""
    rejected: list[Rejection] = []
    eligible: list[_Eligible] = []
    for result in results:
        if result.plan.role == "reference":
            continue
        reason = reason_against(result, budget, allow_fallback)
        if reason is not None:
            rejected.append(Rejection(name=result.name, reason=reason))
        elif result.selection is not None:
            eligible.append(_Eligible(result, result.selection, _outcome(result, budget)))
    return tuple(rejected), eligible


def _field(eligible: Sequence[_Eligible]) -> tuple[Outcome, list[_Eligible]]:
    """Those with the best outcome there is: PASS where somebody passes every line."""
    best: Outcome = "PASS" if any(e.outcome == "PASS" for e in eligible) else "INCONCLUSIVE"
    return best, [e for e in eligible if e.outcome == best]


def _ranked(
    field: Sequence[_Eligible], home: str | None, p50_ratio: Ratio
) -> tuple[_Eligible, list[_Eligible], _Eligible]:
    """The fastest, it with all that cannot be told from it, and the simplest of these.

    Who met in the same rounds is compared in these: a ratio of two ratios over the baseline carries
    the baseline's noise as well.
    """
    first = min(field, key=lambda e: e.p50).result.name
    fastest = min(field, key=lambda e: p50_ratio(e.result.name, first).value)
    ratios = [(e, p50_ratio(e.result.name, fastest.result.name)) for e in field]
    ties = [(e, ratio) for e, ratio in ratios if e is fastest or _tied(ratio)]
    least = min(_to_understand(e.result.plan, home) for e, _ in ties)
    left = [one for one in ties if _to_understand(one[0].result.plan, home) == least]
    smallest = min(e.result.size_bytes or 0 for e, _ in left)
    small = [one for one in left if (one[0].result.size_bytes or 0) <= AS_SMALL * smallest]
    simplest, _ = min(small, key=lambda one: one[1].value)
    return fastest, [e for e, _ in ties], simplest


def _p50(evidence: Evidence) -> float:
    """Over the baseline's, which is in every trial: only that compares across trials."""
    first = evidence.measurements[0]
    return first.p50_ms.value if first.p50_ratio is None else first.p50_ratio.value


def _to_understand(plan: PlannedCandidate, home: str | None) -> tuple[int, int, bool]:
    """Steps, settings that its name says, and whether another provider than the baseline's."""
    return len(plan.steps), len(plan.choices.keys() & plan.settings.keys()), plan.provider != home


def _outcome(result: CandidateResult, budget: Sequence[BudgetLine]) -> Outcome:
    """The worst of all lines."""
    assert result.selection is not None, "only what was measured is judged"
    verdicts = judge(budget, result.selection, result.size_bytes)[: len(budget)]
    return worst(
        [
            "PASS" if _is_far_from_limit(line, verdict, result.selection) else verdict.outcome
            for line, verdict in zip(budget, verdicts, strict=True)
        ]
    )


def _is_far_from_limit(line: BudgetLine, verdict: Verdict, evidence: Evidence) -> bool:
    """Whether a latency has too few samples for an interval, and what was seen of it is far below.

    Who joined the trial late is not passed over for that: the second measurement decides.
    """
    if not line.is_latency or (verdict.observed is not None and verdict.observed.has_interval):
        return False
    return any(
        not wandered(measured.diagnostics)
        and (latency_of(line, measured) or measured.p90_ms).value <= FAR_BELOW * line.limit
        for measured in evidence.measurements
        if measured.workload.name == line.workload
    )


def reason_against(
    result: CandidateResult, budget: Sequence[BudgetLine], allow_fallback: bool
) -> str | None:
    """Why a candidate cannot be chosen, on the evidence of the selection; None when it can.

    Args:
        result: The candidate.
        budget: The lines.
        allow_fallback: Whether nodes may run on another provider than the one asked for.
    """
    if result.failure is not None:
        return f"failed to {result.failure.during}: {result.failure.cause}"
    if result.selection is None or not result.selection.measurements:
        return "not measured: the run ended before"
    if result.fell_back and not allow_fallback:
        return _fallback(result)
    for verdict in judge(budget, result.selection, result.size_bytes):
        if verdict.outcome == "FAIL":
            return f"'{verdict.line}' is certainly not met: {verdict.shown}"
    metrics = result.selection.quality.metrics if result.selection.quality else ()
    for metric in metrics:
        if metric.max_drop is not None and _loss(metric) > metric.max_drop:
            return (
                f"loses {_loss(metric):.4g} of {metric.name} on {metric.split}; "
                f"{metric.max_drop:.4g} is acceptable"
            )
    return None


def _fallback(result: CandidateResult) -> str:
    nodes = result.placement.nodes if result.placement is not None else {}
    where = ", ".join(f"{count} on {name}" for name, count in nodes.items())
    return f"did not run wholly on {result.plan.provider} ({where} of its nodes); --allow-fallback accepts that"


def _loss(metric: MetricResult) -> float:
    return -metric.delta.value if metric.higher_is_better else metric.delta.value


def _tied(ratio: Estimate) -> bool:
    return _may_be_as_fast(ratio, SEEMS_SLOWER)


def _may_be_as_fast(ratio: Estimate, most: float) -> bool:
    return ratio.value <= most and (ratio.low is None or ratio.low <= 1.0)


def _slower(loser: _Eligible, winner: _Eligible, best: Outcome, p50_ratio: Ratio) -> Rejection:
    """Why ``loser`` is not chosen.

    Args:
        loser: An eligible candidate.
        winner: The chosen one when ``loser`` is as fast as the fastest, else the fastest.
        best: Outcome of the chosen one.
        p50_ratio: The paired ratio of two candidates.
    """
    name = loser.result.name
    if loser.evidence.left_because is not None:
        return Rejection(name=name, reason=f"left the trial early: {loser.evidence.left_because}")
    if loser.outcome != best:
        return Rejection(
            name=name, reason=f"a budget line stays INCONCLUSIVE; another one {KEEPS_ALL}"
        )
    ratio = p50_ratio(name, winner.result.name)
    if winner.result.run_off is not None and loser.result.run_off is None:
        closest = f"was not among the closest, which were in the run-off; {_times(ratio, winner)}"
        return Rejection(name=name, reason=f"{closest} in the race")
    if _tied(ratio):
        return Rejection(
            name=name,
            reason=f"not certainly faster than {winner.result.name}, which is simpler",
        )
    return Rejection(name=name, reason=_times(ratio, winner))


def _times(ratio: Estimate, winner: _Eligible) -> str:
    words = f"{ratio.value:.2f} times the p50 of {winner.result.name}"
    return words + (f" ({ratio.low:.2f} to {ratio.high:.2f})" if ratio.has_interval else "")
