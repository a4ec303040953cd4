"""Looking things up in a run, and its candidates judged on the evidence of the selection."""

from __future__ import annotations

from mlopt.decision.judge import judge
from mlopt.report.quality import amount, is_share
from mlopt.report.text import code
from mlopt.types.decision import Outcome, Verdict, worst
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Evidence, Measurement, MetricResult
from mlopt.types.run import CandidateResult, Run
from mlopt.types.workload import Workload


def chosen(run: Run) -> CandidateResult | None:
    """The chosen candidate; None when there is none."""
    name = None if run.decision is None else run.decision.chosen
    return next((c for c in run.candidates if c.name == name), None)


def baseline(run: Run) -> CandidateResult | None:
    """The baseline; None in a run that was planned without one."""
    return next((c for c in run.candidates if c.plan.role == "baseline"), None)


def baseline_name(run: Run) -> str:
    """The baseline's name in backticks."""
    found = baseline(run)
    return "the baseline" if found is None else code(found.name)


def is_timed(result: CandidateResult) -> bool:
    """Whether there are latencies of a candidate."""
    return result.selection is not None and bool(result.selection.measurements)


def timed(run: Run) -> list[CandidateResult]:
    """The candidates that were timed, in the order of the plan."""
    return [c for c in run.candidates if is_timed(c)]


def measurement(evidence: Evidence | None, workload: str) -> Measurement | None:
    """What was timed under one workload."""
    if evidence is None:
        return None
    return next((m for m in evidence.measurements if m.workload.name == workload), None)


def measurements(run: Run) -> list[tuple[CandidateResult, Measurement]]:
    """Everything that was timed, each with its candidate."""
    return [
        (result, seen)
        for result in timed(run)
        for evidence in result.evidence
        for seen in evidence.measurements
    ]


def trial_name(trial: str) -> str:
    """As it is read: ``run-off`` for the samples in ``run_off``."""
    return trial.replace("_", "-")


def workloads(run: Run) -> tuple[Workload, ...]:
    """The workloads of the plan; the first one decides."""
    return run.plan.workloads or (Workload(),)


def first_measurement(run: Run, evidence: Evidence | None) -> Measurement | None:
    """What was timed under the workload that decides."""
    return measurement(evidence, workloads(run)[0].name)


def decisive(result: CandidateResult) -> Evidence | None:
    """The evidence that a verdict stands on: the confirmation, or the selection without one."""
    return result.confirmation or result.selection


def exact(size_bytes: int) -> Estimate:
    """A size, which has no uncertainty."""
    return Estimate(value=size_bytes, low=size_bytes, high=size_bytes)


def selection_verdicts(run: Run, result: CandidateResult) -> dict[str, Outcome]:
    """Each line of the contract, on the evidence of the selection, by what a table calls it."""
    if result.selection is None:
        return {}
    verdicts = judge(run.plan.budget, result.selection, result.size_bytes)
    return {line_label(run, verdict): verdict.outcome for verdict in verdicts}


def selection_outcome(run: Run, result: CandidateResult) -> Outcome:
    """All lines of the contract together, on the evidence of the selection."""
    return worst(list(selection_verdicts(run, result).values()))


def contract_labels(run: Run) -> list[str]:
    """What a table calls each line of the contract: the budget, then the margins that decide."""
    margins = [f"{m.metric} margin" for m in run.plan.margins if m.max_drop is not None]
    return [*map(str, run.plan.budget), *margins]


def line_label(run: Run, verdict: Verdict) -> str:
    """What a table calls the line that was judged."""
    is_margin = any(m.metric == verdict.unit for m in run.plan.margins)
    return f"{verdict.unit} margin" if is_margin else verdict.line


def line_in_words(run: Run, verdict: Verdict) -> str:
    """The line that was judged, a margin with its size: ``accuracy drops by less than 0.5 points``."""
    result = margin_result(run, verdict)
    if result is None or result.max_drop is None:
        return verdict.line
    verb = "drops" if result.higher_is_better else "rises"
    limit = amount(result.max_drop, is_share(run, result.name))
    return f"{result.name} {verb} by less than {limit}"


def margin_result(run: Run, verdict: Verdict) -> MetricResult | None:
    """The chosen candidate's result that a margin was judged on; None for a budget line."""
    winner = chosen(run)
    evidence = None if winner is None else decisive(winner)
    quality = None if evidence is None else evidence.quality
    metrics = () if quality is None else quality.metrics
    return next((m for m in metrics if m.name == verdict.unit), None)
