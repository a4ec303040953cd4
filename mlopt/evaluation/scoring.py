"""Let a candidate answer a split. Runs in a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlopt.errors import ModelError
from mlopt.runners import open_stage
from mlopt.store.snapshot import Snapshot
from mlopt.types.candidate import Stage
from mlopt.workers import emit

BATCH = 32


def score(
    stage: dict[str, Any], project_dir: str, snapshot: str, target: str, fixed_batch: int | None
) -> dict[str, Any]:
    """Runs a candidate over a split, with the settings that ship, and stores its first output.

    Args:
        stage: A :class:`~mlopt.types.candidate.Stage`, as JSON.
        project_dir: Where the user's code is imported from.
        snapshot: Directory of the split.
        target: File for the outputs, ``.npy``, shape (N, ...).
        fixed_batch: The batch size that the model insists on; None when it is dynamic.

    Returns:
        Nodes by provider, or None where there are no providers.

    Raises:
        ModelError: It cannot be loaded, or answers NaN or infinity.
    """
    session = open_stage(Stage.model_validate(stage), Path(project_dir))
    data = Snapshot(Path(snapshot))
    size = fixed_batch or BATCH
    parts = []
    for number, batch in enumerate(data.batches(size)):
        count = len(next(iter(batch.values())))
        full = _filled(batch, size) if fixed_batch else dict(batch)
        first = next(iter(session.run(full).values()))
        parts.append(first[:count])
        emit("scoring", min(1.0, (number + 1) * size / data.examples))
    outputs = np.concatenate(parts)
    if np.issubdtype(outputs.dtype, np.floating) and not np.isfinite(outputs).all():
        bad = int((~np.isfinite(outputs)).reshape(len(outputs), -1).any(axis=1).sum())
        raise ModelError(f"the model answers NaN or infinity on {bad} of {len(outputs)} examples")
    np.save(target, outputs)
    placement = session.placement()
    return {"nodes": None if placement is None else placement.nodes}


def _filled(batch: Any, size: int) -> dict[str, np.ndarray[Any, Any]]:
    """The last batch filled up by repeating its first example, for a fixed batch axis."""
    return {
        name: np.concatenate([array, np.repeat(array[:1], size - len(array), axis=0)])
        for name, array in batch.items()
    }
