"""What is decided before anything is measured, in one record."""

from __future__ import annotations

from collections.abc import Sequence

from mlopt import stats
from mlopt.decision import SELECTION_RULE
from mlopt.evaluation.metrics import BUILTIN
from mlopt.pipeline.prepared import Prepared
from mlopt.pipeline.space import Space
from mlopt.project import MetricSpec
from mlopt.search import REFINING, FixedList
from mlopt.types.budget import BudgetLine
from mlopt.types.plan import Margin, Plan, SplitSummary


def make_plan(
    prepared: Prepared,
    space: Space,
    *,
    command: str,
    seed: int,
    time_limit_s: float | None,
    keep_predictions: bool,
) -> Plan:
    """Puts everything that is decided beforehand into one record."""
    project = prepared.project.project
    return Plan(
        project=project.name,
        command=command,
        sources_sha256=prepared.sources_sha256,
        model_sha256=prepared.model_sha256,
        data=prepared.data,
        candidates=space.candidates,
        notes=(*space.notes, *_duplicate_notes(prepared.data)),
        budget=project.budget,
        margins=tuple(margin(metric, prepared.data["holdout"]) for metric in project.metrics),
        workloads=project.workloads,
        schedule=project.measurement,
        seed=seed,
        proposer=FixedList.name if space.refinement.is_empty else REFINING,
        selection_rule=SELECTION_RULE,
        predictions_per_day=project.traffic.predictions_per_day if project.traffic else None,
        allow_fallback=project.allow_fallback,
        task=project.resolved_task,
        keep_predictions=keep_predictions,
        slices={part.name: part.function for part in project.slices},
        groups=project.groups,
        training_sha256=prepared.training_sha256,
        refinement=space.refinement,
        diagnose=project.diagnose,
        time_limit_s=time_limit_s,
    )


def margin(metric: MetricSpec, holdout: SplitSummary) -> Margin:
    """A metric's margin, and what the holdout can prove of it before anything is built.

    With no example changed, Tango's interval still reaches down to z^2 / (n + z^2), and that of the
    AUROC as far as its rarest class lets it. Metrics with another interval promise nothing
    beforehand. Where examples fall into groups, these are what counts.
    """
    relative = metric.max_drop_relative is not None
    provable = None
    if metric.function is None and BUILTIN[metric.name].is_provable:
        provable = stats.smallest_provable_drop(holdout.groups or holdout.examples)
    elif metric.function is not None or holdout.groups is not None:
        provable = None  # of AUROC, it would take the groups of each class
    elif metric.name == "auroc" and holdout.class_sizes:
        provable = stats.smallest_provable_auroc_drop(holdout.class_sizes)
    return Margin(
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        max_drop=metric.max_drop_relative if relative else metric.max_drop,
        relative=relative,
        function=metric.function,
        provable=provable,
    )


def warnings_of(plan: Plan) -> list[str]:
    """What the user should know before building: margins that the holdout cannot prove."""
    holdout = plan.data["holdout"]
    found = []
    for one in plan.margins:
        if one.provable is None or one.max_drop is None or one.relative:
            continue
        if one.max_drop < one.provable:
            examples, what = holdout.examples, "examples"
            if holdout.groups is not None:
                examples, what = holdout.groups, "groups"
            if one.metric == "auroc" and holdout.class_sizes:
                examples, what = min(holdout.class_sizes), "examples of the rarest class"
            needed = stats.examples_needed(0, 0, examples, one.max_drop)
            found.append(
                f"the {examples} {what} of the holdout cannot show a loss of {one.metric} below "
                f"{one.provable:.2%}, and the margin is {one.max_drop:.2%}: expect INCONCLUSIVE. Take "
                f"{needed} {what} or a wider margin."
            )
    return found


def _duplicate_notes(data: dict[str, SplitSummary]) -> list[str]:
    return [
        f"{split} holds {summary.duplicates} exact duplicates among {summary.examples} examples"
        for split, summary in data.items()
        if summary.duplicates
    ]


def override_budget(lines: Sequence[str]) -> tuple[BudgetLine, ...]:
    """Budget lines from the command line.

    Raises:
        ConfigError: One cannot be read.
    """
    return tuple(BudgetLine.parse(line) for line in lines)
