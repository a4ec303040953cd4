"""What is scored of a model's outputs: one array for each example, whatever the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlopt.errors import DataError, ModelError
from mlopt.evaluation.embeddings import averaged
from mlopt.types.task import ATTENTION_MASK, NO_TOKEN, Task
from mlopt.types.tensors import BATCH, TensorSpec

Array = np.ndarray[Any, Any]

TOKENS = "tokens"


def answer_of(task: Task, outputs: Mapping[str, Array], inputs: Mapping[str, Array]) -> Array:
    """What is scored of a batch.

    Args:
        task: For question answering, the first two outputs are the logits of the first and of the
            last token, shape (N, T) each. For feature extraction, the first output is averaged over
            the tokens that the input ``attention_mask`` keeps, or over all where there is none of
            its length.
        outputs: By name, in the model's order.
        inputs: Of the same examples.

    Returns:
        The first output, shape (N, ...). For question answering, shape (N, 2, T), ``NO_TOKEN``
        where the input ``attention_mask`` is 0. For feature extraction, shape (N, D).

    Raises:
        ModelError: There are not the outputs that the task needs.
    """
    first = next(iter(outputs.values()))
    mask = inputs.get(ATTENTION_MASK)
    if mask is not None and mask.shape != first.shape[:2]:
        mask = None
    if task == "question_answering":
        return _spans(outputs, mask)
    if task == "feature_extraction" and first.ndim == 3:
        return averaged(first, mask)
    return first


def _spans(outputs: Mapping[str, Array], mask: Array | None) -> Array:
    arrays = list(outputs.values())[:2]
    if len(arrays) < 2 or arrays[0].ndim != 2 or arrays[0].shape != arrays[1].shape:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        raise ModelError(
            f"the model gives {shapes}; question answering scores its first two outputs, the logits "
            "of the answer's first and last token, shape (N, T) each"
        )
    stacked: Array = np.stack(arrays, axis=1)
    if mask is None:
        return stacked
    kept: Array = np.where(mask[:, None, :] != 0, stacked, np.float32(NO_TOKEN))
    return kept


def scored_output(
    task: Task, outputs: Sequence[TensorSpec], inputs: Sequence[TensorSpec]
) -> TensorSpec:
    """What :func:`answer_of` makes of the model's outputs, before any has been computed.

    Args:
        task: What the model is asked for.
        outputs: As they were seen on one batch.
        inputs: As the project states them. Where one has a dynamic axis besides the batch, the
            number of tokens that was seen says nothing of the next batch, and gets a name.

    Raises:
        DataError: The outputs do not fit the task.
    """
    first = outputs[0]
    if task == "token_classification":
        classes = first.shape[2] if len(first.shape) == 3 else None
        if not isinstance(classes, int) or classes < 2:
            raise _unfit(first, "token classification scores [batch, tokens, classes]")
        return _with_shape(first, (_length(first, inputs), classes))
    if task == "question_answering":
        if len(outputs) < 2:
            raise _unfit(first, "question answering scores two outputs")
        for output in outputs[:2]:
            if len(output.shape) != 2 or output.shape[1] != first.shape[1]:
                raise _unfit(
                    output, "question answering scores [batch, tokens], first and last token"
                )
        return _with_shape(first, (2, _length(first, inputs)))
    if task == "feature_extraction":
        if len(first.shape) not in (2, 3) or not isinstance(first.shape[-1], int):
            raise _unfit(
                first, "feature extraction scores [batch, features] or [batch, tokens, features]"
            )
        return _with_shape(first, first.shape[-1:])
    return first


def _length(output: TensorSpec, inputs: Sequence[TensorSpec]) -> int | str:
    fixed = all(isinstance(size, int) for spec in inputs for size in spec.shape[1:])
    return output.shape[1] if fixed else TOKENS


def _with_shape(output: TensorSpec, rest: tuple[int | str, ...]) -> TensorSpec:
    return output.model_copy(update={"shape": (BATCH, *rest)})


def _unfit(output: TensorSpec, wanted: str) -> DataError:
    return DataError(
        f"task: the output '{output.name}' has shape [{', '.join(map(str, output.shape))}]; "
        f"{wanted}. Name the right outputs first in 'outputs', or change what the model returns."
    )
