"""Targets must be what the task is scored against, and fit what the model gives.

Checked before anything is built.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mlopt.errors import DataError
from mlopt.types.task import IGNORED
from mlopt.types.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlopt.store.snapshot import Snapshot


def classes_of(output: TensorSpec) -> int:
    """The number of classes that an output of shape (N, C) tells apart; 1 for one of shape (N,).

    Raises:
        DataError: It has another shape.
    """
    classes = output.shape[1] if len(output.shape) > 1 else 1
    if len(output.shape) > 2 or not isinstance(classes, int):
        raise DataError(
            f"task: the output '{output.name}' has shape {_shown(output)}; a "
            "classification scores [batch, classes] or [batch]. Name another output first in "
            "'outputs', or reduce it in the model."
        )
    return classes


def check_labels(snapshot: Snapshot, split: str, classes: int) -> None:
    """Checks that the targets of a classification are class numbers.

    Args:
        snapshot: The split.
        split: Its name, for messages.
        classes: Width of the model's output; 1 for a single score of a binary classifier.

    Raises:
        DataError: They are not integers, or out of range.
    """
    import numpy as np

    targets = snapshot.targets
    if targets is None:
        return
    if targets.ndim != 1:
        mend = "Undo the one-hot encoding with .argmax(axis=1)."
        if targets.size == len(targets):
            mend = "Flatten them with .reshape(-1)."
        raise DataError(
            f"data.{split}: the targets have shape {list(targets.shape)}; class numbers have shape "
            f"(N,). {mend}"
        )
    if not np.issubdtype(targets.dtype, np.integer) and targets.dtype != np.bool_:
        raise DataError(
            f"data.{split}: the targets of a classification are class numbers, and these are "
            f"{targets.dtype}. Convert them to int64, or set 'task: regression'."
        )
    most = max(classes, 2) - 1
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high > most:
        raise DataError(
            f"data.{split}: the labels range from {low} to {high}, and the model knows the classes 0 to {most}. "
            "Map the labels to them."
        )


def check_values(snapshot: Snapshot, split: str, output: TensorSpec) -> None:
    """Checks that a regression has one target for each value of the model's output.

    Raises:
        DataError: It has more or fewer.
    """
    targets = snapshot.targets
    if targets is None:
        return
    sizes = [size for size in output.shape[1:] if isinstance(size, int)]
    if math.prod(sizes) != math.prod(targets.shape[1:]):
        raise DataError(
            f"data.{split}: the targets have shape {list(targets.shape)}, and the output "
            f"'{output.name}' has shape {_shown(output)}. A regression has one "
            "target for each value of the output."
        )


def check_token_labels(snapshot: Snapshot, split: str, output: TensorSpec) -> None:
    """Checks that the targets of a token classification are class numbers, or -100.

    Args:
        snapshot: The split.
        split: Its name, for messages.
        output: What is scored, shape (N, T, C); T is a name where it is not fixed.

    Raises:
        DataError: They are not integers of shape (N, T), are out of range, or all -100.
    """
    targets = snapshot.targets
    if targets is None:
        return
    length, classes = output.shape[1:]
    if targets.ndim != 2 or (isinstance(length, int) and targets.shape[1] != length):
        raise DataError(
            f"data.{split}: the targets have shape {list(targets.shape)}, and the output "
            f"'{output.name}' has shape {_shown(output)}. A token classification has one class "
            f"number for each token, shape (N, {_size(length, 'T')}); {IGNORED} for one that does "
            "not count, such as padding."
        )
    _refuse_other_than_integers(targets, split, "token classification are class numbers")
    counted = targets[targets != IGNORED]
    if counted.size == 0:
        raise DataError(
            f"data.{split}: every label is {IGNORED}, which means that no token counts. Give the "
            "tokens that do their class numbers."
        )
    low, high, most = int(counted.min()), int(counted.max()), int(classes) - 1
    if low < 0 or high > most:
        raise DataError(
            f"data.{split}: the labels range from {low} to {high}, and the model knows the classes "
            f"0 to {most}. Map the labels to them, and to {IGNORED} where a token does not count."
        )


def check_spans(snapshot: Snapshot, split: str, output: TensorSpec) -> None:
    """Checks that the targets of question answering are first and last tokens of an answer.

    Args:
        snapshot: The split.
        split: Its name, for messages.
        output: What is scored, shape (N, 2, T); T is a name where it is not fixed.

    Raises:
        DataError: They are not integers of shape (N, 2), or no span of the tokens.
    """
    targets = snapshot.targets
    if targets is None:
        return
    if targets.ndim != 2 or targets.shape[1] != 2:
        raise DataError(
            f"data.{split}: the targets have shape {list(targets.shape)}; question answering has "
            "the first and the last token of each answer, shape (N, 2)."
        )
    _refuse_other_than_integers(targets, split, "question answering are positions of tokens")
    length = output.shape[2]
    start, end = targets[:, 0], targets[:, 1]
    wrong = (start < 0) | (end < start)
    if isinstance(length, int):
        wrong |= end >= length
    if wrong.any():
        example = int(wrong.argmax())
        last = "T - 1" if isinstance(length, str) else length - 1
        raise DataError(
            f"data.{split}: the answer of example {example} goes from token {int(start[example])} to "
            f"{int(end[example])}; it must lie within 0 and {last}, its start not behind its end. "
            "Where a text has no answer, name its first token: 0 and 0."
        )


def _refuse_other_than_integers(targets: np.ndarray[Any, Any], split: str, what: str) -> None:
    if targets.dtype.kind not in "iu":
        raise DataError(
            f"data.{split}: the targets of {what}, and these are {targets.dtype}. Convert them to "
            "int64."
        )


def _shown(output: TensorSpec) -> str:
    return f"[{', '.join(map(str, output.shape))}]"


def _size(size: int | str, letter: str) -> str:
    return letter if isinstance(size, str) else str(size)
