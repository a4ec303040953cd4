"""What a candidate gains and costs against the baseline, as sentences that are good, bad or neither."""

from __future__ import annotations

from typing import Literal, NamedTuple

from mlopt.report.evidence import baseline, baseline_name, decisive, exact, measurement, workloads
from mlopt.report.quality import delta_in_words, errors_a_day, harm, is_share, mcnemar_in_words
from mlopt.report.summary import RATIO_DECIMALS
from mlopt.report.text import (
    code,
    interval,
    megabytes,
    milliseconds,
    percent,
    plural,
    rounded_up,
    speed,
)
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Evidence, Measurement, MetricResult
from mlopt.types.run import CandidateResult, Run
from mlopt.types.task import Task
from mlopt.types.workload import Workload

Kind = Literal["good", "neutral", "bad"]
_ORDER = ("good", "neutral", "bad")
_FLIPPING: dict[Task, str] = {
    "classification": "the predicted classes",
    "regression": "the predictions",
    "token_classification": "the tokens' predicted classes",
    "question_answering": "the predicted spans",
    "feature_extraction": "the predictions",
}


class Effect(NamedTuple):
    """One consequence of a candidate."""

    kind: Kind
    text: str


def effects(run: Run, result: CandidateResult, evidence: Evidence | None) -> list[Effect]:
    """All consequences of a candidate against the baseline, the good ones first.

    Args:
        run: The run.
        result: The candidate.
        evidence: Its selection or its confirmation. Memory and cold start are always compared
            within the selection, where both were observed in one trial.
    """
    if evidence is None:
        return []
    if result.plan.role == "baseline":
        return _against_reference(run, result)
    found = [e for w in workloads(run) for e in _latency(run, evidence, w)]
    found += _against_reference(run, result)
    found += [*_quality(run, evidence), *_costs(run, result), *_placement(result)]
    return sorted(found, key=lambda effect: _ORDER.index(effect.kind))


def _against_reference(run: Run, result: CandidateResult) -> list[Effect]:
    """How a candidate stands against what users start from, where that was timed beside it."""
    started = next((c for c in run.candidates if c.plan.role == "reference"), None)
    if started is None or started is result or started.selection is None or not result.selection:
        return []
    here, there = result.selection.measurements, started.selection.measurements
    if not here or not there or here[0].trial != there[0].trial:
        return []
    if here[0].p50_ratio is None or there[0].p50_ratio is None:
        return []
    ratio = here[0].p50_ratio.over(there[0].p50_ratio)
    if side(ratio, 1.0) == "neutral":
        return []
    text = f"it is {speed(ratio.value)} at p50 than {code(started.name)}, which you start from"
    shown = f"(ratio {interval(ratio, least=RATIO_DECIMALS)}, of the selection)"
    return [Effect(side(ratio, 1.0), f"{text} {shown}")]


def side(estimate: Estimate, neutral: float) -> Kind:
    """``good`` when the whole interval lies below ``neutral``, ``bad`` when it lies above."""
    if estimate.high is not None and estimate.high < neutral:
        return "good"
    return "bad" if estimate.low is not None and estimate.low > neutral else "neutral"


def p50_in_words(
    run: Run, seen: Measurement, *, interval_name: str = "95% interval "
) -> str | None:
    """``2.6x faster at p50 than `fp32` (ratio 0.38, 95% interval 0.37 to 0.39)``."""
    ratio = seen.p50_ratio
    if ratio is None:
        return None
    value, _, rest = interval(ratio, least=RATIO_DECIMALS).partition(" (")
    limits = f", {interval_name}{rest}" if rest else ")"
    if side(ratio, 1.0) == "neutral":
        return (
            f"not measurably faster or slower than {baseline_name(run)} (p50 ratio {value}{limits}"
        )
    relation = speed(ratio.value)
    if relation == "as fast":
        return f"within 0.5% of {baseline_name(run)} at p50 (ratio {value}{limits}"
    return f"{relation} at p50 than {baseline_name(run)} (ratio {value}{limits}"


def _latency(run: Run, evidence: Evidence, workload: Workload) -> list[Effect]:
    seen = measurement(evidence, workload.name)
    if seen is None or seen.p50_ratio is None:
        return []
    mark = f" ({workload.name})" if len(workloads(run)) > 1 else ""
    found = [Effect(side(seen.p50_ratio, 1.0), f"it is {p50_in_words(run, seen)}{mark}")]
    tail = seen.p99_ratio
    if tail is not None:
        kind = side(tail, 1.0)
        shown = f"(p99 ratio {interval(tail, least=RATIO_DECIMALS)}, pooled){mark}"
        words = "not measurably faster or slower" if kind == "neutral" else speed(tail.value)
        found.append(Effect(kind, f"its tail is {words} {shown}"))
    return found


def _quality(run: Run, evidence: Evidence) -> list[Effect]:
    if evidence.quality is None:
        return []
    found = [_metric(run, result) for result in evidence.quality.metrics]
    flips = evidence.quality.flip_rate
    if flips is not None:
        text = f"{percent(flips)} of {_FLIPPING[run.plan.task]} differ from those of {baseline_name(run)}"
        for one in evidence.quality.metrics:
            if one.gained is not None and one.lost is not None:
                text += (
                    f": of {one.examples:,} answers {one.gained} became right and {one.lost} wrong"
                    f"{mcnemar_in_words(one)}"
                )
                break
        if evidence.quality.broken_rate is not None:
            text += f"; {percent(evidence.quality.broken_rate)} were right and became wrong"
        found.append(Effect("neutral", text))
    return found


def _metric(run: Run, result: MetricResult) -> Effect:
    loss = harm(result)
    kind = side(loss, 0.0)
    words = delta_in_words(result, is_share(run, result.name))
    note = "" if kind != "neutral" else ", which may be no change at all"
    text = f"the {result.name} delta is {words} on {plural(result.examples, f'{result.split} example')}"
    errors = errors_a_day(result, run.plan.predictions_per_day)
    return Effect(kind, f"{text}{note}; {errors}" if errors else f"{text}{note}")


def _costs(run: Run, result: CandidateResult) -> list[Effect]:
    base = baseline(run)
    if base is None or base.selection is None or result.selection is None:
        return []
    found = []
    if result.size_bytes is not None and base.size_bytes:
        sizes = (exact(result.size_bytes), exact(base.size_bytes))
        found.append(_cost("files", *sizes, "smaller", "larger"))
    now, before = result.selection, base.selection
    if now.peak_rss_bytes is not None and before.peak_rss_bytes is not None:
        found.append(
            _cost("peak RSS", now.peak_rss_bytes, before.peak_rss_bytes, "lower", "higher")
        )
    if now.cold_start_ms is not None and before.cold_start_ms is not None:
        found.append(
            _cost("cold start", now.cold_start_ms, before.cold_start_ms, "shorter", "longer")
        )
    return found


def _cost(what: str, now: Estimate, before: Estimate, less: str, more: str) -> Effect:
    write = milliseconds if what == "cold start" else megabytes
    shown = f"{write(now.value)}, against {write(before.value)}"
    kind: Kind = "neutral"
    if before.low is not None and now.high is not None and now.high < before.low:
        kind = "good"
    elif before.high is not None and now.low is not None and now.low > before.high:
        kind = "bad"
    share = abs(now.value / before.value - 1) * 100 if before.value else 0.0
    verb = "are" if what == "files" else "is"
    if kind == "neutral" or share < 0.5:
        return Effect("neutral", f"its {what} {verb} not measurably {less} or {more} ({shown})")
    return Effect(
        kind, f"its {what} {verb} {share:.0f}% {less if kind == 'good' else more} ({shown})"
    )


def _placement(result: CandidateResult) -> list[Effect]:
    if not result.fell_back or result.placement is None:
        return []
    nodes = ", ".join(f"{count} on {name}" for name, count in result.placement.nodes.items())
    return [Effect("bad", f"not all of it runs on {code(result.plan.provider)} (nodes: {nodes})")]


def figures(run: Run, result: CandidateResult) -> str:
    """The numbers of the decision's sentence, on the evidence that the verdict stands on."""
    evidence = decisive(result)
    if evidence is None:
        return "nothing was measured of it"
    seen = measurement(evidence, workloads(run)[0].name)
    parts = []
    if seen is not None:
        relation = None if result.plan.role == "baseline" else p50_in_words(run, seen)
        parts.append(relation or f"p50 {_head(seen.p50_ms)} ms")
        parts += _tail_figure(seen)
    if result.size_bytes is not None:
        parts.append(megabytes(result.size_bytes))
    quality = evidence.quality
    if quality is not None and quality.metrics and result.plan.role != "baseline":
        first = quality.metrics[0]
        words = delta_in_words(first, is_share(run, first.name))
        where = plural(first.examples, f"{first.split} example")
        parts.append(f"{first.name} delta {words} on {where}")
    return ", ".join(parts)


def _tail_figure(seen: Measurement) -> list[str]:
    if seen.p99_ms is None or seen.p99_support == "insufficient":
        return []
    if seen.p99_support == "upper_bound":
        high = seen.p99_ms.high if seen.p99_ms.high is not None else seen.p99_ms.value
        return [f"p99 below {rounded_up(high)} ms"]
    return [f"p99 {_head(seen.p99_ms)} ms"]


def _head(estimate: Estimate) -> str:
    """The value alone, with the decimals that it has beside its interval."""
    return interval(estimate).partition(" (")[0]
