"""What was decided before the first measurement."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from mlopt.types.budget import BudgetLine
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.record import Record
from mlopt.types.task import Task
from mlopt.types.workload import Workload

PLAN_SCHEMA_VERSION = 1


class Margin(Record):
    """How much of a metric may be lost.

    Attributes:
        metric: Name of the metric; the first one of a plan decides.
        max_drop: Largest acceptable loss; absolute, in units of the metric, or relative to the
            baseline's value. None: the metric is reported and does not decide.
        relative: Whether ``max_drop`` is a share of the baseline's value.
        function: ``module:function`` of a metric of the user's own; None for one of mlopt's.
        provable: The smallest loss that the holdout can exclude if nothing at all changes; None
            where that cannot be known beforehand.
    """

    metric: str
    higher_is_better: bool
    max_drop: float | None
    relative: bool = False
    function: str | None = None
    provable: float | None = None


class Schedule(Record):
    """How often and how long each candidate is timed.

    Attributes:
        launches: Lives of the worker processes, at least.
        most_launches: At most, where the intervals are wider than asked for. Default: as many as
            ``launches``, where that is given.
        p50_precision: Half-width to aim for of the interval of the p50 ratio, relative to it.
        p99_precision: The same for the p99, where there are enough samples for one.
        rounds: Rounds in each launch; every round visits every candidate once.
        block_ms: Aim for the duration of one visit.
        min_block: Least inferences in a visit.
        max_block: Most inferences in a visit.
        warmup: Untimed inferences at the beginning of a visit, at least; half as many as the timed
            ones where that is more.
        pool: Most different real inputs that visits cycle through.
        max_seconds: Of one trial, from when all have loaded and run their pilots for the first time;
            rounds give way first, then launches.
    """

    launches: int = 5
    most_launches: int = 12
    p50_precision: float = 0.01
    p99_precision: float = 0.05
    rounds: int = 48
    block_ms: float = 6.0
    min_block: int = 4
    max_block: int = 100
    warmup: int = 2
    pool: int = 64
    max_seconds: float = 120.0

    @model_validator(mode="before")
    @classmethod
    def _fixed_where_launches_are_given(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "most_launches" in data:
            return data
        launches = data.get("launches")
        valid = isinstance(launches, int) and launches > 0
        return {**data, "most_launches": launches} if valid else data


class SplitSummary(Record):
    """One split of the data, as it was read.

    Attributes:
        class_sizes: How many examples each class has that occurs; None where targets are no
            classes.
        groups: How many groups the examples fall into; None where they are independent.
    """

    examples: int
    sha256: str
    duplicates: int
    class_sizes: tuple[int, ...] | None = None
    groups: int | None = None


class SearchPlan(Record):
    """A recipe whose choices are explored rather than all tried.

    Attributes:
        recipe: Its name.
        steps: As they stand in the recipe.
        session: As it stands in the recipe.
        providers: Where the candidates run; more than one is a choice like any other.
        trials: Most candidates that are built.
        batch: How many are asked for at once.
    """

    recipe: str
    steps: tuple[dict[str, Any], ...]
    session: dict[str, Any] = {}
    providers: tuple[str, ...]
    trials: int
    batch: int


class Refinement(Record):
    """What is proposed after the first candidates were measured, and from what was seen of them.

    Attributes:
        searches: Recipes whose choices are explored.
        mixed_precision: Recipes of which a candidate that loses too much is tried again with the
            fewest nodes in float that keep it within the margins.
        tune: Session settings that the fastest candidates are tried with, one at a time.
        tuned: How many of the fastest are.
    """

    searches: tuple[SearchPlan, ...] = ()
    mixed_precision: tuple[str, ...] = ()
    tune: dict[str, tuple[Any, ...]] = {}
    tuned: int = 2

    @property
    def is_empty(self) -> bool:
        """Whether nothing is proposed beyond what the plan names."""
        return not (self.searches or self.mixed_precision or self.tune)


class Plan(Record):
    """Budget, space, seed, proposer and selection rule, fixed before anything is measured.

    Attributes:
        command: The command line that makes this run again, with relative paths.
        sources_sha256: Hash over the project's Python files.
        model_sha256: Hash of the model as the user brought it.
        task: What the model is asked for; it decides what can flip.
        slices: Function (``module:function``) of each slice that the user named.
        groups: ``module:function`` that says which examples belong together.
        training_sha256: Hash of what mlopt.yaml says of training: student, augmentation, metric.
        keep_predictions: Whether predictions and targets are stored with the run.
        refinement: What is proposed beside ``candidates``, by what was seen of them.
        diagnose: Whether the chosen candidate is looked at under a profiler.
        time_limit_s: Wall-clock limit of the run; None: no limit.
    """

    schema_version: int = PLAN_SCHEMA_VERSION
    project: str
    command: str
    sources_sha256: str
    model_sha256: str
    data: dict[str, SplitSummary]
    candidates: tuple[PlannedCandidate, ...]
    notes: tuple[str, ...] = ()
    budget: tuple[BudgetLine, ...]
    margins: tuple[Margin, ...]
    workloads: tuple[Workload, ...]
    schedule: Schedule
    seed: int
    proposer: str
    selection_rule: str
    predictions_per_day: float | None
    allow_fallback: bool
    task: Task = "classification"
    keep_predictions: bool = True
    slices: dict[str, str] = {}
    groups: str | None = None
    training_sha256: str = ""
    refinement: Refinement = Refinement()
    diagnose: bool = False
    time_limit_s: float | None
