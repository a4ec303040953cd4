"""Read the user's data and load the user's model, once, and check both. Runs in a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlopt.project import load_project
from mlopt.sources.contract import (
    ReadLimits,
    check_fills_a_batch,
    check_labels,
    check_overlap,
    check_values,
    classes_of,
    read_split,
)
from mlopt.store.snapshot import Snapshot
from mlopt.types.tensors import TensorSpec
from mlopt.workers import emit
from mlopt.workers.usercode import load_object


def prepare(
    project_file: str,
    snapshots: str,
    model_workspace: str | None,
    outputs: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    """Takes a snapshot of every split, and writes the model as an artifact.

    Args:
        project_file: ``mlopt.yaml``.
        snapshots: Directory that gets one snapshot for each split.
        model_workspace: Empty directory for the model; None when it is known already.
        outputs: Its outputs when it is known already, as :class:`TensorSpec` in JSON.

    Returns:
        ``splits``: their names; ``draft``: of the model, or None.

    Raises:
        ConfigError: The user's code cannot be imported.
        DataError: A split breaks the contract.
        ModelError: The model cannot be loaded, or does not accept the data.
    """
    project, directory, _ = load_project(Path(project_file))
    for i, metric in enumerate(project.metrics):
        if metric.function is not None:
            load_object(metric.function, directory, f"metrics[{i}].function")
    limits = ReadLimits(project.limits.examples, int(project.limits.data_mb * 1e6))
    found: dict[str, Snapshot] = {}
    for split, source in project.data.items():
        emit(f"reading {split}")
        target = Path(snapshots) / split
        read_split(source, split, project.inputs, directory, target, limits)
        found[split] = Snapshot(target)
    check_overlap(found)
    fixed = project.inputs[0].shape[0]
    if isinstance(fixed, int):
        check_fills_a_batch(found, fixed)
    draft = None
    if model_workspace is None:
        specs = [TensorSpec.model_validate(spec) for spec in outputs or []]
    else:
        emit("loading the model")
        example = next(found["selection"].batches(fixed if isinstance(fixed, int) else 2))
        written = project.model.materialise(
            Path(model_workspace), directory, project.inputs, project.outputs, example
        )
        specs, draft = list(written.outputs), written.model_dump(mode="json")
    if project.resolved_task == "classification":
        for split, snapshot in found.items():
            check_labels(snapshot, split, classes_of(specs[0]))
    elif any(metric.function is None for metric in project.metrics):
        for split, snapshot in found.items():
            check_values(snapshot, split, specs[0])
    return {"splits": list(found), "draft": draft}
