"""Run one artifact under the profiler and explain it. Runs in a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlopt.diagnosis import Subject, diagnose
from mlopt.profiling.session import input_pool
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import Stage
from mlopt.workers import emit

POOL = 8
"""Different batches, at most."""


def diagnose_stage(
    stage: dict[str, Any], snapshot: str, batch_size: int, synthetic: bool, scratch: str
) -> dict[str, Any]:
    """Explains what executes an artifact.

    Args:
        stage: A :class:`~mlopt.types.candidate.Stage`, as JSON.
        snapshot: Directory of the examples.
        batch_size: Examples in one inference.
        synthetic: Whether the examples were made up.
        scratch: An empty directory.

    Returns:
        A :class:`~mlopt.types.diagnosis.Diagnosis`, as JSON.

    Raises:
        ModelError: It cannot be loaded or run here.
    """
    what = Stage.model_validate(stage)
    batches = input_pool(Path(snapshot), batch_size, POOL)
    shapes = [{name: array.shape for name, array in batch.items()} for batch in batches]
    subject = Subject(
        artifact=Artifact.open(Path(what.artifact)),
        runner=what.runner,
        settings=what.settings,
        provider=what.provider,
        # Batches of other lengths would mix their times.
        inputs=[b for b, own in zip(batches, shapes, strict=True) if own == shapes[0]],
        batch_size=batch_size,
        synthetic=synthetic,
    )
    return diagnose(subject, Path(scratch), emit).model_dump(mode="json")
