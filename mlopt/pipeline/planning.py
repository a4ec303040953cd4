"""From a project and recipes to a plan: what will be tried, and by which rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mlopt import stats
from mlopt.decision import SELECTION_RULE
from mlopt.errors import ConfigError, UnavailableError
from mlopt.machine import usable_cpus
from mlopt.passes import PASSES
from mlopt.pipeline.prepared import Prepared
from mlopt.project import LoadedProject, MetricSpec
from mlopt.providers import resolve_provider
from mlopt.recipe import FoundRecipe, find_recipe, list_recipes
from mlopt.runners import RUNNERS
from mlopt.search import FixedList
from mlopt.types.artifact import Format
from mlopt.types.budget import BudgetLine
from mlopt.types.candidate import PlannedCandidate, Role
from mlopt.types.plan import Margin, Plan, SplitSummary

REFERENCE = "pytorch"


class Space(NamedTuple):
    """The candidates, and what the user should know about how they came about."""

    candidates: tuple[PlannedCandidate, ...]
    notes: tuple[str, ...]


def candidate_space(loaded: LoadedProject) -> Space:
    """Every expansion of every recipe on every provider, the baseline, and eager PyTorch.

    Raises:
        ConfigError: A recipe or provider is unknown, or a recipe that was asked for does not apply.
        UnavailableError: A provider cannot be used here.
    """
    project = loaded.project
    source: Format = project.model.produces
    _require_providers((*project.providers, project.baseline.provider))
    found = _recipes(loaded)
    baseline_recipe = find_recipe(project.baseline.recipe, loaded.directory)
    if (reason := baseline_recipe.recipe.refuses(source)) is not None:
        raise ConfigError(f"baseline.recipe: '{project.baseline.recipe}' does not apply: {reason}.")
    notes = []
    baseline = _expand(
        baseline_recipe, source, project.baseline.provider, project.baseline.provider
    )[0]
    candidates = {baseline.name: baseline.model_copy(update={"role": "baseline"})}
    for entry in found:
        if (reason := entry.recipe.refuses(source)) is not None:
            notes.append(f"the recipe '{entry.recipe.name}' does not apply: {reason}")
            continue
        for split in _missing_splits(entry, loaded):
            raise ConfigError(
                f"the recipe '{entry.recipe.name}' needs the split '{split}': add data.{split} to "
                "mlopt.yaml, or choose recipes with --recipe."
            )
        for provider in project.providers:
            for one in _expand(entry, source, provider, project.baseline.provider):
                candidates.setdefault(one.name, one)
    if source == "torch":
        candidates = {REFERENCE: _reference(), **candidates}
    return Space(tuple(candidates.values()), tuple(notes))


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
        margins=tuple(
            margin(metric, prepared.data["holdout"].examples) for metric in project.metrics
        ),
        workloads=project.workloads,
        schedule=project.measurement,
        seed=seed,
        proposer=FixedList.name,
        selection_rule=SELECTION_RULE,
        predictions_per_day=project.traffic.predictions_per_day if project.traffic else None,
        allow_fallback=project.allow_fallback,
        task=project.resolved_task,
        keep_predictions=keep_predictions,
        time_limit_s=time_limit_s,
    )


def margin(metric: MetricSpec, holdout: int) -> Margin:
    """A metric's margin, and what the holdout can prove of it before anything is built.

    For accuracy with no example changed, Tango's interval still reaches down to z^2 / (n + z^2).
    """
    relative = metric.max_drop_relative is not None
    provable = None
    if metric.function is None and metric.name == "accuracy":
        provable = stats.smallest_provable_drop(holdout)
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
    examples = plan.data["holdout"].examples
    found = []
    for one in plan.margins:
        if one.provable is None or one.max_drop is None or one.relative:
            continue
        if one.max_drop < one.provable:
            needed = stats.examples_needed(0, 0, examples, one.max_drop)
            found.append(
                f"{examples} holdout examples cannot show a loss of {one.metric} below {one.provable:.2%}, "
                f"and the margin is {one.max_drop:.2%}: expect INCONCLUSIVE. Take {needed} examples or a "
                "wider margin."
            )
    return found


def _require_providers(names: Sequence[str]) -> None:
    """Checks every provider before it complains of any.

    Raises:
        ConfigError: Some are unknown.
        UnavailableError: Some cannot be used here.
    """
    unknown, unavailable = [], []
    for name in dict.fromkeys(names):
        try:
            resolve_provider(name).require()
        except ConfigError as e:
            unknown.append(str(e))
        except UnavailableError as e:
            unavailable.append(str(e))
    if unknown:
        raise ConfigError("\n".join(unknown))
    if unavailable:
        raise UnavailableError("\n".join(unavailable))


def _recipes(loaded: LoadedProject) -> list[FoundRecipe]:
    names = loaded.project.recipes
    if not names:
        applicable = list_recipes(loaded.directory)
        return [r for r in applicable if not _missing_splits(r, loaded)] or applicable
    found = [find_recipe(name, loaded.directory) for name in names]
    for entry in found:
        if (reason := entry.recipe.refuses(loaded.project.model.produces)) is not None:
            raise ConfigError(f"the recipe '{entry.recipe.name}' does not apply: {reason}.")
    return found


def _missing_splits(entry: FoundRecipe, loaded: LoadedProject) -> Sequence[str]:
    needed = {s for step in entry.recipe.steps for s in PASSES[step["pass"]].splits}
    return sorted(needed - set(loaded.project.data))


def _expand(
    entry: FoundRecipe, source: Format, provider: str, baseline_provider: str
) -> list[PlannedCandidate]:
    label = resolve_provider(provider).label
    settings = RUNNERS["onnxruntime"]().resolve(usable_cpus()).model_dump(mode="json")
    found = []
    for steps, choices in entry.recipe.expand(source):
        name = entry.recipe.name + _suffix(choices)
        if label != resolve_provider(baseline_provider).label:
            name += f"@{label}"
        found.append(
            PlannedCandidate(
                name=name,
                role="candidate",
                recipe=entry.recipe.name,
                provider=label,
                runner="onnxruntime",
                steps=steps,
                choices=choices,
                settings=settings,
            )
        )
    return found


def _suffix(choices: dict[str, Any]) -> str:
    if not choices:
        return ""
    return "[" + ",".join(f"{name}={value}" for name, value in choices.items()) + "]"


def _reference() -> PlannedCandidate:
    role: Role = "reference"
    return PlannedCandidate(
        name=REFERENCE,
        role=role,
        recipe=None,
        provider="cpu",
        runner="pytorch",
        settings=RUNNERS["pytorch"]().resolve(usable_cpus()).model_dump(mode="json"),
    )


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
