"""Read the user's data and load the user's model, once, and check both. Runs in a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlopt.evaluation.rehearsal import check_defined, rehearse
from mlopt.project import Project, load_project
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
        ``splits``: their names; ``draft``: of the model, or None.

    Raises:
        ConfigError: The user's code cannot be imported.
        DataError: A split breaks the contract.
        ModelError: The model cannot be loaded, or does not accept the data.
    """
    project, directory, _ = load_project(Path(project_file))
    limits = ReadLimits(project.limits.examples, int(project.limits.data_mb * 1e6))
    found: dict[str, Snapshot] = {}
    for split, source in project.data.items():
        emit(f"reading {split}")
        source.imports(directory, f"data.{split}")
        seed_randomness(seed)
        target = Path(snapshots) / split
        read_split(source, split, project.inputs, directory, target, limits)
        found[split] = Snapshot(target)
    check_overlap(found)
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
    _check_targets(project, found, specs[0], directory)
    return {"splits": list(found), "draft": draft}


def _check_targets(
    project: Project, found: dict[str, Snapshot], output: TensorSpec, directory: Path
) -> None:
    """What can be known of targets and metrics before anything is built."""
    for split, snapshot in found.items():
        if project.resolved_task == "classification":
            check_labels(snapshot, split, classes_of(output))
        elif any(metric.function is None for metric in project.metrics):
            check_values(snapshot, split, output)
    for split in ("selection", "holdout"):
        targets = found[split].targets
        assert targets is not None, "read_split has refused a scored split without targets"
        for i, metric in enumerate(project.metrics):
            if metric.function is None:
                check_defined(metric.name, split, np.array(targets))
            else:
                place = f"metrics[{i}].function"
                rehearse(metric.function, place, split, output, np.array(targets), directory)
