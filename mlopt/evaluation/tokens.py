"""Token classification: a class for each token, of which some do not count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import DataError
from mlopt.types.task import IGNORED

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class Tokens(NamedTuple):
    """The tokens that count, sentence after sentence.

    Attributes:
        predicted: Class of each, shape (M,).
        truth: The true one, shape (M,).
        sentence: Index of its sentence, shape (M,).
    """

    predicted: Array
    truth: Array
    sentence: Array


def counted_tokens(outputs: Array, targets: Array) -> Tokens:
    """The tokens whose label is not -100.

    Args:
        outputs: Logits, shape (N, T, C).
        targets: Labels, shape (N, T).

    Raises:
        DataError: There is not one label for each token.
    """
    import numpy as np

    if outputs.ndim != 3 or outputs.shape[:2] != targets.shape:
        raise DataError(
            f"the model's output has shape {list(outputs.shape)} and the targets have "
            f"{list(targets.shape)}: a token classification has one label for each token."
        )
    counts = targets != IGNORED
    return Tokens(
        outputs.argmax(axis=2)[counts], targets[counts].astype(np.int64), counts.nonzero()[0]
    )


def token_accuracy(outputs: Array, targets: Array) -> float:
    """The share of the tokens that are right, all sentences pooled; NaN where none counts."""
    right, _ = right_tokens(outputs, targets)
    return float(right.mean()) if right.size else float("nan")


def right_tokens(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Whether each token that counts is right, shape (M,), and the index of its sentence."""
    tokens = counted_tokens(outputs, targets)
    return tokens.predicted == tokens.truth, tokens.sentence


def token_f1(outputs: Array, targets: Array) -> float:
    """F1 averaged over the classes that occur, all sentences pooled; NaN where no token counts."""
    import torch
    from torchmetrics.functional.classification import multiclass_f1_score

    tokens = counted_tokens(outputs, targets)
    if not tokens.truth.size:
        return float("nan")
    predicted, truth = torch.from_numpy(tokens.predicted), torch.from_numpy(tokens.truth)
    return float(multiclass_f1_score(predicted, truth, outputs.shape[2], average="macro"))
