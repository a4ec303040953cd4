"""Read the user's data and load the user's model, once, and check both. Runs in a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlopt.evaluation.answers import scored_output
from mlopt.evaluation.members import check_leak, labels_of, mask_of
from mlopt.evaluation.rehearsal import check_defined, made_up_answers, rehearse
from mlopt.project import Project, load_project
from mlopt.sources.contract import (
    OVERLAPS_ALLOWED,
    ReadLimits,
    check_fills_a_batch,
    check_overlap,
    read_split,
)
from mlopt.sources.targets import (
    check_labels,
    check_spans,
    check_token_labels,
    check_values,
    classes_of,
)
from mlopt.store.snapshot import Snapshot
from mlopt.types.tensors import TensorSpec, fixed_batch
from mlopt.workers import emit
from mlopt.workers.usercode import seed_randomness


def prepare(
    project_file: str,
    snapshots: str,
    model_workspace: str | None,
    outputs: list[dict[str, Any]] | None,
    seed: int,
) -> dict[str, Any]:
    """Takes a snapshot of every split, and writes the model as an artifact.

    Args:
        project_file: ``mlopt.yaml``.
        snapshots: Directory that gets one snapshot for each split.
        model_workspace: Empty directory for the model; None when it is known already.
        outputs: Its outputs when it is known already, as :class:`TensorSpec` in JSON.
        seed: For what the user's data code draws at random.

    Returns:
        ``splits``: their names; ``groups``: the number of groups of each split that has any;
        ``draft``: of the model, or None.

    Raises:
        ConfigError: The user's code cannot be imported, or marks no slices or groups.
        DataError: A split breaks the contract.
        ModelError: The model cannot be loaded, or does not accept the data.
    """
    project, directory, _ = load_project(Path(project_file))
    limits = ReadLimits(project.limits.examples, int(project.limits.data_mb * 1e6))
    needs_targets = (
        project.resolved_task != "feature_extraction"
    )  # the baseline's answers are these
    found: dict[str, Snapshot] = {}
    preprocessor = project.model.preprocessor(directory)
    for split, source in project.data.items():
        emit(f"reading {split}")
        source.imports(directory, f"data.{split}")
        seed_randomness(seed)
        target = Path(snapshots) / split
        read_split(
            source, split, project.inputs, directory, target, limits, needs_targets, preprocessor
        )
        found[split] = Snapshot(target)
    check_overlap(found)
    groups = _check_members(project, found, directory)
    fixed = fixed_batch(project.inputs)
    if fixed is not None:
        check_fills_a_batch(found, fixed)
    draft = None
    if model_workspace is None:
        specs = [TensorSpec.model_validate(spec) for spec in outputs or []]
    else:
        emit("loading the model")
        example = next(found["selection"].batches(fixed or 2))
        written = project.model.materialise(
            Path(model_workspace), directory, project.inputs, project.outputs, example
        )
        specs, draft = list(written.outputs), written.model_dump(mode="json")
    scored = scored_output(project.resolved_task, specs, project.inputs)
    _check_targets(project, found, scored)
    _check_metrics(project, found, scored, directory)
    return {"splits": list(found), "groups": groups, "draft": draft}


def _check_members(project: Project, found: dict[str, Snapshot], directory: Path) -> dict[str, int]:
    """Whether the user's slices and groups can be told, and how many groups each split has."""
    for split in ("selection", "holdout"):
        for part in project.slices:
            mask_of(part.name, part.function, found[split], split, directory)
    if project.groups is None:
        return {}
    with_targets = found["selection"].targets is not None
    labels = {
        split: labels_of(project.groups, snapshot, split, directory)
        for split, snapshot in found.items()
        if snapshot.targets is not None or not with_targets  # the function may read them
    }
    check_leak(labels, OVERLAPS_ALLOWED)
    return {split: len(np.unique(found)) for split, found in labels.items()}


def _check_targets(project: Project, found: dict[str, Snapshot], output: TensorSpec) -> None:
    """Whether the targets are those of the task, as far as there are any."""
    task = project.resolved_task
    for split, snapshot in found.items():
        if task == "classification":
            check_labels(snapshot, split, classes_of(output))
        elif task == "token_classification":
            check_token_labels(snapshot, split, output)
        elif task == "question_answering":
            check_spans(snapshot, split, output)
        elif task == "regression" and any(metric.function is None for metric in project.metrics):
            check_values(snapshot, split, output)


def _check_metrics(
    project: Project, found: dict[str, Snapshot], output: TensorSpec, directory: Path
) -> None:
    """What can be known of metrics before anything is built."""
    for split in ("selection", "holdout"):
        snapshot = found[split]
        targets = None if snapshot.targets is None else np.array(snapshot.targets)
        for i, metric in enumerate(project.metrics):
            if metric.function is not None:
                place = f"metrics[{i}].function"
                made_up = made_up_answers(output, snapshot.examples, targets)
                truth = made_up if targets is None else targets
                rehearse(metric.function, place, split, made_up, truth, directory)
            elif targets is not None:
                check_defined(metric.name, split, targets)
