"""Let a candidate answer a split. Runs in a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlopt.errors import ModelError
from mlopt.evaluation.answers import answer_of
from mlopt.runners import open_stage
from mlopt.store.snapshot import Snapshot
from mlopt.types.candidate import Stage
from mlopt.types.task import NO_TOKEN, Task
from mlopt.workers import emit

BATCH = 32


def score(
    stage: dict[str, Any],
    project_dir: str,
    snapshot: str,
    target: str,
    fixed_batch: int | None,
    task: Task,
) -> dict[str, Any]:
    """Runs a candidate over a split, with the settings that ship, and stores its answers.

    Args:
        stage: A :class:`~mlopt.types.candidate.Stage`, as JSON.
        project_dir: Where the user's code is imported from.
        snapshot: Directory of the split.
        target: File for what is scored, ``.npy``, shape (N, ...).
        fixed_batch: The batch size that the model insists on; None when it is dynamic.
        task: What the model is asked for: which of its outputs are scored follows from it.

    Returns:
        Nodes by provider, or None where there are no providers.

    Raises:
        ModelError: It cannot be loaded, lacks an output, or answers NaN or infinity.
    """
    session = open_stage(Stage.model_validate(stage), Path(project_dir))
    data = Snapshot(Path(snapshot))
    size = fixed_batch or BATCH
    parts = []
    for number, batch in enumerate(data.batches(size)):
        count = len(next(iter(batch.values())))
        full = _filled(batch, size) if fixed_batch else dict(batch)
        answers = {name: array[:count] for name, array in session.run(full).items()}
        parts.append(of_full_length(answer_of(task, answers, batch), task, data.length))
        emit("scoring", min(1.0, (number + 1) * size / data.examples))
    outputs = np.concatenate(parts)
    if np.issubdtype(outputs.dtype, np.floating) and not np.isfinite(outputs).all():
        bad = int((~np.isfinite(outputs)).reshape(len(outputs), -1).any(axis=1).sum())
        raise ModelError(f"the model answers NaN or infinity on {bad} of {len(outputs)} examples")
    np.save(target, outputs)
    return {"nodes": session.nodes()}


def of_full_length(
    answers: np.ndarray[Any, Any], task: Task, length: int | None
) -> np.ndarray[Any, Any]:
    """Answers to a batch that was read without padding, padded to the length of the split.

    Args:
        answers: Shape (n, t, C) for token classification, (n, 2, t) for question answering; those
            of other tasks have no axis of tokens, and stay as they are.
        task: What the model is asked for.
        length: T, that of the split; None where nothing is padded.

    Returns:
        Shape (n, T, C), or (n, 2, T): zeros for tokens that do not count, or logits at which no
        answer begins or ends.
    """
    axis, fill = {"token_classification": (1, 0.0), "question_answering": (2, NO_TOKEN)}.get(
        task, (0, 0.0)
    )
    if length is None or axis == 0 or answers.shape[axis] >= length:
        return answers
    widths = [(0, 0)] * answers.ndim
    widths[axis] = (0, length - answers.shape[axis])
    return np.pad(answers, widths, constant_values=answers.dtype.type(fill))


def _filled(batch: Any, size: int) -> dict[str, np.ndarray[Any, Any]]:
    """The last batch filled up by repeating its first example, for a fixed batch axis."""
    return {
        name: np.concatenate([array, np.repeat(array[:1], size - len(array), axis=0)])
        for name, array in batch.items()
    }
