"""Let named artifacts answer a split of a project, and compare their answers pair by pair."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mlopt.decision.slices import lost_beyond_margin
from mlopt.errors import ModelError, WorkerError
from mlopt.evaluation.comparison import MetricRequest
from mlopt.pipeline.admission import teller
from mlopt.pipeline.planning import margin
from mlopt.pipeline.prepared import Prepared
from mlopt.pipeline.quality import COMPARE, slice_warning
from mlopt.pipeline.reference import Entrant
from mlopt.providers import resolve_provider
from mlopt.types.events import Event, OnEvent
from mlopt.types.measurement import Placement, Quality
from mlopt.types.plan import Margin
from mlopt.types.tensors import fixed_batch
from mlopt.workers import Limits, run_task

SCORE = "mlopt.evaluation.scoring:score"


class Exam(NamedTuple):
    """The questions, and how answers are judged.

    Attributes:
        split: Whose examples are asked.
        work: Directory for the answers.
    """

    prepared: Prepared
    split: str
    limits: Limits
    seed: int
    work: Path
    on_event: OnEvent


class Answers(NamedTuple):
    """What one artifact answered.

    Attributes:
        file: What is scored of its outputs, ``.npy``, shape (N, ...).
        placement: Which provider took how many nodes; None where there are no providers.
    """

    file: Path
    placement: Placement | None


def answer(exam: Exam, entrant: Entrant, role: str) -> Answers:
    """Runs an artifact over the split, with the settings that ship.

    Args:
        exam: What is asked.
        entrant: Who answers.
        role: A word for it that no other one of the same exam has.

    Raises:
        ModelError: It cannot be loaded, dies, lacks an output, or answers NaN or infinity.
    """
    target = exam.work / f"{role}.npy"
    try:
        found = run_task(
            SCORE,
            {
                "stage": entrant.stage.model_dump(mode="json"),
                "project_dir": str(exam.prepared.project.directory),
                "snapshot": str(exam.prepared.snapshots[exam.split]),
                "target": str(target),
                "fixed_batch": fixed_batch(entrant.artifact.manifest.inputs),
                "task": exam.prepared.project.project.resolved_task,
            },
            exam.limits,
            teller(exam.on_event, "score", f"{role} on {exam.split}: "),
        )
    except (ModelError, WorkerError) as e:
        raise ModelError(f"'{entrant.name}' could not be scored on {exam.split}: {e}") from e
    nodes = found["nodes"]
    return Answers(target, None if nodes is None else Placement(nodes=nodes))


def fallback(entrant: Entrant, placement: Placement | None) -> str | None:
    """How many nodes did not run where they should, in words; None when all did."""
    if placement is None:
        return None
    wanted = resolve_provider(entrant.provider).ort_name
    total = sum(placement.nodes.values())
    elsewhere = total - placement.nodes.get(wanted, 0)
    return f"{elsewhere} of {total} nodes ran elsewhere" if elsewhere else None


def compare_answers(exam: Exam, answers: Mapping[str, Answers], over: str) -> dict[str, Quality]:
    """Compares answers with those of ``over``, example by example.

    Args:
        exam: What was asked.
        answers: By role, that of ``over`` among them.
        over: The role that deltas are over.

    Returns:
        By role.

    Raises:
        ModelError: Answers cannot be compared: they differ in shape, say.
        DataError: A metric is not defined on this data.
        ConfigError: A metric of the user's fails.
    """
    project = exam.prepared.project.project
    requests = [
        MetricRequest(
            name=one.metric,
            function=one.function,
            higher_is_better=one.higher_is_better,
            max_drop=one.max_drop,
            relative=one.relative,
        )
        for one in _margins(exam)
    ]
    exam.on_event(Event(phase="compare", message=f"comparing answers on {exam.split}"))
    found = run_task(
        COMPARE,
        {
            "outputs": {role: str(one.file) for role, one in answers.items()},
            "baseline": over,
            "snapshot": str(exam.prepared.snapshots[exam.split]),
            "split": exam.split,
            "metrics": [one.model_dump(mode="json") for one in requests],
            "task": project.resolved_task,
            "project_dir": str(exam.prepared.project.directory),
            "seed": exam.seed,
            "slices": {part.name: part.function for part in project.slices},
            "groups": project.groups,
            "members": str(exam.work / "members.npz"),
        },
        exam.limits,
        teller(exam.on_event, "compare"),
    )
    for role, one in found.items():
        if "error" in one:
            raise ModelError(f"the answers of {role} and {over} cannot be compared: {one['error']}")
    return {
        role: Quality.model_validate({"split": exam.split, "predictions": None, **one})
        for role, one in found.items()
    }


def slice_warnings(exam: Exam, name: str, quality: Quality) -> list[str]:
    """Slices that certainly lost more than the whole may; they do not decide."""
    lost = lost_beyond_margin(_margins(exam), quality)
    return [slice_warning(name, part, quality) for part in lost]


def _margins(exam: Exam) -> list[Margin]:
    split = exam.prepared.data[exam.split]
    return [margin(metric, split) for metric in exam.prepared.project.project.metrics]
