"""The project file, ``mlopt.yaml``, as a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from mlopt.errors import did_you_mean
from mlopt.evaluation.metrics import BUILTIN
from mlopt.sources.data import DataSource
from mlopt.sources.models import ModelSource
from mlopt.types.budget import BudgetLine, p99_limit_ms
from mlopt.types.passes import StudentModel, TrainingSetup
from mlopt.types.patterns import IDENTIFIER, REFERENCE
from mlopt.types.plan import Schedule
from mlopt.types.record import Record
from mlopt.types.task import Task
from mlopt.types.tensors import BATCH, TensorSpec
from mlopt.types.workload import Workload

SPLITS = ("calibration", "training", "selection", "holdout")
REQUIRED_SPLITS = ("selection", "holdout")


class MetricSpec(Record):
    """One metric. The first of a project decides.

    Attributes:
        name: One of mlopt's metrics, or any name when ``function`` is given.
        function: ``module:function`` of the user's: ``(outputs, targets) -> float``, outputs as
            the model gives them, shape (N, ...).
        direction: Which way is better; needed with ``function``.
        max_drop: Largest acceptable loss, in units of the metric.
        max_drop_relative: Largest acceptable loss, as a share of the baseline's value.
    """

    name: Annotated[str, Field(pattern=IDENTIFIER)]
    function: Annotated[str, Field(pattern=REFERENCE)] | None = None
    direction: Literal["higher", "lower"] | None = None
    max_drop: Annotated[float, Field(gt=0)] | None = None
    max_drop_relative: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.function is None and self.name not in BUILTIN:
            raise ValueError(
                f"unknown metric '{self.name}'. {did_you_mean(self.name, BUILTIN)} For one of your own, "
                "add 'function: module:function' and 'direction'."
            )
        if self.function is not None and self.direction is None:
            raise ValueError(
                f"metric '{self.name}' needs 'direction: higher' or 'direction: lower'."
            )
        if self.function is None and self.direction is not None:
            raise ValueError(f"'{self.name}' has a direction of its own: leave 'direction' out.")
        if self.max_drop is not None and self.max_drop_relative is not None:
            raise ValueError("give 'max_drop' or 'max_drop_relative', not both.")
        return self

    @property
    def higher_is_better(self) -> bool:
        """Which way is better."""
        if self.function is None:
            return BUILTIN[self.name].higher_is_better
        return self.direction == "higher"


class BaselineSpec(Record):
    """What all ratios and deltas are over."""

    recipe: str = "fp32"
    provider: str = "cpu"


class SliceSpec(Record):
    """A part of the examples that is looked at by itself.

    Attributes:
        function: ``module:function`` of the user's: ``(inputs, targets) -> mask``, the inputs as
            arrays by name, the mask booleans of shape (N,).
    """

    name: Annotated[str, Field(pattern=IDENTIFIER)]
    function: Annotated[str, Field(pattern=REFERENCE)]


class GateSpec(Record):
    """How ``mlopt gate`` compares what ships with the reference.

    Attributes:
        tolerance: How much slower the p50 may be, as a share of the reference's.
        max_seconds: Wall-clock limit of the comparison.
    """

    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.02
    max_seconds: Annotated[float, Field(gt=0)] = 60.0


class Traffic(Record):
    """How much the model is asked in production."""

    predictions_per_day: Annotated[float, Field(gt=0)]


class ProjectLimits(Record):
    """What one worker process may use, and how large a split may be.

    Attributes:
        seconds: Wall-clock limit of one step: building, scoring, loading for timing.
        memory_mb: Resident memory; default: four fifths of what is available.
        examples: Most examples in a split.
        data_mb: Most megabytes (10^6) in a split.
    """

    seconds: Annotated[float, Field(gt=0)] = 1800.0
    memory_mb: Annotated[float, Field(gt=0)] | None = None
    examples: Annotated[int, Field(gt=0)] = 1_000_000
    data_mb: Annotated[float, Field(gt=0)] = 8000.0


class Project(Record):
    """What a user writes in ``mlopt.yaml``.

    Attributes:
        name: For the report; default: the name of the directory.
        inputs: What the model takes, in the order of its parameters. May be left out for ONNX.
        outputs: Names for what the model returns, in their order; the first one is scored.
        data: Source of each split.
        task: Default: that of the model, where it has one, or of the first metric.
        student: A smaller model, which the recipe ``distill`` has learn from the project's own.
        augment: ``module:function`` that varies a training batch at random. It takes the inputs
            as tensors by name, and returns them the same.
        slices: Parts of the examples that are looked at by themselves, beside the classes.
        groups: ``module:function``, ``(inputs, targets) -> labels`` of shape (N,): examples of one
            label belong together (frames of a clip), and count as one unit.
        ship: What ``mlopt gate`` checks: an ``.onnx`` file, an artifact, or a run's directory.
        reference: What it is compared with: the one that serves now, in the same forms.
        recipes: Which to try; empty: ``auto``, and those in the project's own ``recipes/``.
        batch_sizes: Each is a workload; the first one decides.
        allow_fallback: Whether a candidate may be chosen some of whose nodes run on another
            provider than the one that was asked for.
        diagnose: Whether the report says why the chosen candidate is as fast as it is; it takes some
            seconds under a profiler.
    """

    name: Annotated[str, Field(pattern=IDENTIFIER)]
    model: SerializeAsAny[ModelSource]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...] = ()
    data: dict[str, SerializeAsAny[DataSource]]
    task: Task | None = None
    student: StudentModel | None = None
    augment: Annotated[str, Field(pattern=REFERENCE)] | None = None
    metrics: Annotated[tuple[MetricSpec, ...], Field(min_length=1)]
    baseline: BaselineSpec = BaselineSpec()
    budget: tuple[BudgetLine, ...] = ()
    traffic: Traffic | None = None
    slices: tuple[SliceSpec, ...] = ()
    groups: Annotated[str, Field(pattern=REFERENCE)] | None = None
    ship: str | None = None
    reference: str | None = None
    gate: GateSpec = GateSpec()
    recipes: tuple[str, ...] = ()
    providers: Annotated[tuple[str, ...], Field(min_length=1)] = ("cpu",)
    batch_sizes: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] = (1,)
    measurement: Schedule = Schedule()
    limits: ProjectLimits = ProjectLimits()
    allow_fallback: bool = False
    diagnose: bool = True

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """One workload for each batch size."""
        return tuple(Workload(batch_size=size) for size in self.batch_sizes)

    @property
    def resolved_task(self) -> Task:
        """The task, derived from the first metric where it is not stated."""
        if (task := self.task or self.model.task) is not None:
            return task
        first = self.metrics[0]
        return BUILTIN[first.name].task if first.function is None else "regression"

    @property
    def training(self) -> TrainingSetup:
        """What a pass that trains must know."""
        first = self.metrics[0]
        return TrainingSetup(
            task=self.resolved_task,
            metric=first.name,
            function=first.function,
            higher_is_better=first.higher_is_better,
            augment=self.augment,
            student=self.student,
        )

    def mistakes(self) -> list[tuple[str, str]]:
        """What does not fit together, though each part is well-formed: place and message."""
        return [
            *self._input_mistakes(),
            *self._repetitions(),
            *self._metric_mistakes(),
            *self._budget_mistakes(),
            *self._measurement_mistakes(),
        ]

    def _input_mistakes(self) -> list[tuple[str, str]]:
        found = []
        for i, spec in enumerate(self.inputs):
            if not spec.shape:
                found.append((f"inputs[{i}].shape", "is empty; the first axis is the batch."))
                continue
            if isinstance(spec.shape[0], str) and spec.shape[0] != BATCH:
                found.append(
                    (
                        f"inputs[{i}].shape",
                        f"the first axis is the batch: call it '{BATCH}', not '{spec.shape[0]}'.",
                    )
                )
            if any(isinstance(size, int) and size < 1 for size in spec.shape):
                found.append(
                    (f"inputs[{i}].shape", "sizes must be at least 1; give a dynamic axis a name.")
                )
            fixed = spec.shape[0]
            if isinstance(fixed, int) and set(self.batch_sizes) != {fixed}:
                found.append(
                    (
                        "batch_sizes",
                        f"the batch axis of '{spec.name}' is fixed at {fixed}: set batch_sizes: [{fixed}], "
                        f"or call the axis '{BATCH}'.",
                    )
                )
        return found

    def _repetitions(self) -> Iterator[tuple[str, str]]:
        for place, values in {
            "inputs": [spec.name for spec in self.inputs],
            "outputs": self.outputs,
            "metrics": [metric.name for metric in self.metrics],
            "slices": [part.name for part in self.slices],
            "batch_sizes": self.batch_sizes,
        }.items():
            if repeated := [str(value) for value, count in Counter(values).items() if count > 1]:
                yield place, f"{', '.join(repeated)} stands there twice. Rename or remove one."

    def _metric_mistakes(self) -> list[tuple[str, str]]:
        found = []
        for i, metric in enumerate(self.metrics):
            if metric.function is None and BUILTIN[metric.name].task != self.resolved_task:
                found.append(
                    (
                        f"metrics[{i}]",
                        f"'{metric.name}' belongs to {BUILTIN[metric.name].task}, and the task is "
                        f"{self.resolved_task}.",
                    )
                )
        return found

    def _budget_mistakes(self) -> list[tuple[str, str]]:
        workloads = [workload.name for workload in self.workloads]
        return [
            (
                f"budget[{i}]",
                f"there is no workload '{line.workload}'. {_add_batch_size(line.workload, workloads)}",
            )
            for i, line in enumerate(self.budget)
            if (line.is_latency or line.is_throughput) and line.workload not in workloads
        ] + [
            (
                f"budget[{i}]",
                f"'{line}' needs a p99 to keep at that rate: add 'p99 <= 20 ms @ {line.workload}' with "
                "your own limit.",
            )
            for i, line in enumerate(self.budget)
            if line.is_throughput and p99_limit_ms(self.budget, line.workload) is None
        ]

    def _measurement_mistakes(self) -> Iterator[tuple[str, str]]:
        for key, value in self.measurement:
            if value < 0 or (value == 0 and key != "warmup"):
                yield f"measurement.{key}", f"must be positive, and is {value:g}."
        if self.measurement.launches > self.measurement.most_launches:
            yield (
                "measurement.most_launches",
                f"is {self.measurement.most_launches}, less than launches, which is "
                f"{self.measurement.launches}. Raise it.",
            )
        least_block, most_block = self.measurement.min_block, self.measurement.max_block
        if least_block > most_block:
            yield (
                "measurement.min_block",
                f"is {least_block}, more than max_block, which is {most_block}. Lower it.",
            )


def _add_batch_size(workload: str, known: list[str]) -> str:
    size = workload.removeprefix("batch-")
    if size.isdigit():
        return f"Add {size} to batch_sizes."
    return did_you_mean(workload, known)


def json_schema() -> dict[str, Any]:
    """JSON schema of ``mlopt.yaml``, with every model source and data source there is."""
    from mlopt.sources.data import DATA_SOURCES
    from mlopt.sources.models import MODEL_SOURCES

    schema = Project.model_json_schema()
    models = [s.model_json_schema() for s in MODEL_SOURCES.entries.values()]
    data = [s.model_json_schema() for s in DATA_SOURCES.entries.values()]
    reference = {"type": "string", "pattern": REFERENCE}
    line = {"type": "string", "examples": ["p99 <= 5 ms", "size <= 10 MB", "throughput >= 200 /s"]}
    properties = schema["properties"]
    properties["model"] = {"anyOf": models, "description": "Where the model comes from."}
    properties["data"] = {
        "type": "object",
        "properties": {split: {"anyOf": [reference, *data]} for split in SPLITS},
        "required": list(REQUIRED_SPLITS),
        "additionalProperties": False,
    }
    properties["budget"] = {"type": "array", "items": line}
    properties["metrics"]["items"] = {
        "anyOf": [{"enum": sorted(BUILTIN)}, properties["metrics"]["items"]]
    }
    schema["required"] = [key for key in schema["required"] if key not in {"name", "inputs"}]
    definitions = schema.setdefault("$defs", {})
    for unused in ("ModelSource", "DataSource", "BudgetLine"):
        definitions.pop(unused, None)
    for own in (*models, *data):
        definitions |= own.pop("$defs", {})
    return schema
