"""Metrics in words: units, margins, and what a delta means in errors a day."""

from __future__ import annotations

from mlopt.report.text import change, fixed, rounded_count, significant
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Evidence, MetricResult
from mlopt.types.plan import Margin, Plan
from mlopt.types.run import Run

SHARES = frozenset({"accuracy", "token_accuracy", "exact_match"})
"""Metrics of mlopt's that are a share of right answers."""


def metric_result(evidence: Evidence | None, name: str) -> MetricResult | None:
    """The result of one metric, where it was scored."""
    if evidence is None or evidence.quality is None:
        return None
    return next((m for m in evidence.quality.metrics if m.name == name), None)


def is_share(run: Run, name: str) -> bool:
    """Whether a metric is a share of right answers, and so is shown in percentage points."""
    pieces = [e for c in run.candidates for e in c.evidence]
    results = [metric_result(evidence, name) for evidence in pieces]
    return name in SHARES or any(r is not None and r.gained is not None for r in results)


def score_text(value: float, share: bool) -> str:
    """``91.22%`` for a share, four significant digits else."""
    return f"{fixed(value * 100, 2)}%" if share else significant(value, 4)


def delta_text(result: MetricResult, share: bool) -> str:
    """``-0.11 (-0.63 to +0.33)``, in points for a share."""
    return change(result.delta.scaled(100) if share else result.delta)


def delta_in_words(result: MetricResult, share: bool) -> str:
    """``-0.11 points (-0.63 to +0.33)``, and which way is better where that is down."""
    value, _, rest = delta_text(result, share).partition(" (")
    unit = " points" if share else ""
    ending = f" ({rest}" if rest else ""
    worse = "" if result.higher_is_better else " (lower is better)"
    return f"{value}{unit}{ending}{worse}"


def p_text(p_value: float) -> str:
    """``0.031``, or ``< 0.001``."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.2g}"


def mcnemar_in_words(result: MetricResult) -> str:
    """`` (McNemar's exact test: p = 0.85)``; empty where there is none."""
    if result.p_value is None:
        return ""
    test = "exact test" if result.units is None else f"test over {result.units:,} groups"
    p_value = p_text(result.p_value)
    return f" (McNemar's {test}: p {'' if p_value.startswith('<') else '= '}{p_value})"


def amount(value: float, share: bool) -> str:
    """A margin or another size of a delta: ``0.5 points`` or ``0.02``."""
    if not share:
        return f"{value:.3g}"
    number = f"{value * 100:.3g}"
    return f"{number} point" if number == "1" else f"{number} points"


def largest_loss(margin: Margin, baseline_value: float | None) -> float | None:
    """``max_drop`` in units of the metric; None where it does not decide or cannot be known."""
    if margin.max_drop is None or not margin.relative:
        return margin.max_drop
    return None if baseline_value is None else margin.max_drop * abs(baseline_value)


def baseline_value(run: Run, name: str, split: str | None = None) -> float | None:
    """What the baseline scores on a metric, on any split or on the named one."""
    for candidate in run.candidates:
        for evidence in candidate.evidence:
            result = metric_result(evidence, name)
            if result is not None and split in (None, result.split):
                return result.baseline_value
    return None


def margin_in_words(margin: Margin, plan: Plan, share: bool, baseline: float | None) -> str:
    """One decision driver: the margin and what the holdout can prove of it."""
    if margin.max_drop is None:
        return f"`{margin.metric}` is reported and decides nothing."
    verb = "drop" if margin.higher_is_better else "rise"
    limit = amount(margin.max_drop, share)
    if margin.relative:
        resolved = largest_loss(margin, baseline)
        limit = f"{margin.max_drop * 100:.3g}% of the baseline's value"
        limit += "" if resolved is None else f", that is {amount(resolved, share)}"
    text = (
        f"`{margin.metric}` may {verb} by at most {limit}. This is a non-inferiority margin: "
        "the whole 95% interval of the delta must lie on the right side of it."
    )
    if margin.metric == "cosine_similarity" and margin.function is None:
        text += " It compares each embedding with the baseline's; 1 is the same direction."
    return text + _provable(margin, plan, share)


def _provable(margin: Margin, plan: Plan, share: bool) -> str:
    if margin.provable is None:
        return ""
    holdout = plan.data.get("holdout")
    examples = "The holdout" if holdout is None else f"The {holdout.examples:,} holdout examples"
    if holdout is not None and holdout.groups is not None:
        examples = f"The {holdout.groups:,} groups of the {holdout.examples:,} holdout examples"
    text = f" {examples} can exclude a loss of {amount(margin.provable, share)} at best"
    short = (
        margin.max_drop is not None and not margin.relative and margin.provable > margin.max_drop
    )
    return text + (
        ", which is **more than the margin**: more examples are needed." if short else "."
    )


def harm(result: MetricResult) -> Estimate:
    """The loss of quality: positive is worse, whichever way the metric points."""
    delta = result.delta
    if not result.higher_is_better:
        return delta
    low = None if delta.high is None else -delta.high
    return Estimate(value=-delta.value, low=low, high=None if delta.low is None else -delta.low)


def errors_a_day(result: MetricResult, per_day: float | None) -> str | None:
    """``at 1,000,000 predictions a day: 1,100 more errors a day (95% interval: ...)``.

    None without a traffic figure, or where a metric does not count errors.
    """
    if per_day is None or result.gained is None:
        return None
    errors = harm(result).scaled(per_day)
    text = f"at {per_day:,.0f} predictions a day: "
    if errors.low is None or errors.high is None:
        return text + _more(errors.value, abs(errors.value), "errors a day")
    half = (errors.high - errors.low) / 2
    value = _more(errors.value, half, "errors a day")
    return f"{text}{value} (95% interval: {_range(errors.low, errors.high, half)})"


def _range(low: float, high: float, resolution: float) -> str:
    if (low > 0) == (high > 0):
        first, last = (low, high) if low > 0 else (-high, -low)
        word = "more" if low > 0 else "fewer"
        return f"{rounded_count(first, resolution)} to {rounded_count(last, resolution)} {word}"
    return f"{_more(low, resolution)} to {_more(high, resolution)}"


def _more(value: float, resolution: float, noun: str = "") -> str:
    count = rounded_count(abs(value), resolution)
    noun = f" {noun}" if noun else ""
    if count == "0":
        return f"as many{noun}"
    return f"{count} {'more' if value > 0 else 'fewer'}{noun}"
