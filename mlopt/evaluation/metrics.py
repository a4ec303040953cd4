"""Metrics by name, through torchmetrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mlopt.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, Any]

Task = Literal["classification", "regression"]


class BuiltinMetric(NamedTuple):
    """A metric that a project can name.

    Attributes:
        per_example: Whether it is the mean of a score for each example.
    """

    task: Task
    higher_is_better: bool
    per_example: bool


BUILTIN: dict[str, BuiltinMetric] = {
    "accuracy": BuiltinMetric("classification", True, True),
    "f1": BuiltinMetric("classification", True, False),
    "auroc": BuiltinMetric("classification", True, False),
    "mse": BuiltinMetric("regression", False, True),
    "mae": BuiltinMetric("regression", False, True),
    "r2": BuiltinMetric("regression", True, False),
}


def builtin_metric(name: str, classes: int) -> Callable[[Array, Array], float]:
    """The function that computes a metric of :data:`BUILTIN`.

    Args:
        name: Its name.
        classes: Width of the model's output; 1 or 2 mean a binary classifier for F1 and AUROC.

    Returns:
        ``metric(outputs, targets)``: outputs of shape (N, C) or (N,), targets of shape (N,).
        F1 and AUROC are macro averages over the classes that occur, or those of class 1 when
        binary. AUROC is NaN where only one class occurs.
    """
    binary = classes <= 2
    if name == "accuracy":
        # The mean of right and wrong, which the paired interval needs anyway; without it, most runs
        # need not load torch and torchmetrics, which takes seconds in each worker that scores.
        return lambda outputs, targets: float((predicted_classes(outputs) == targets).mean())
    import torch
    from torchmetrics.functional import classification, regression

    if name == "f1":

        def f1(outputs: Array, targets: Array) -> float:
            predicted, truth = _tensors(predicted_classes(outputs), targets.astype("int64"))
            if binary:
                return float(classification.binary_f1_score(predicted, truth))
            return float(
                classification.multiclass_f1_score(predicted, truth, classes, average="macro")
            )

        return f1
    if name == "auroc":

        def auroc(outputs: Array, targets: Array) -> float:
            if len(set(targets.tolist())) < 2:
                return float("nan")
            if binary:
                scores, truth = _tensors(ranks(binary_scores(outputs)), targets.astype("int64"))
                return float(classification.binary_auroc(scores, truth))
            scores, truth = _tensors(outputs, targets.astype("int64"))
            # In double precision: in single, logits that lie 17 apart are ties after softmax.
            shares = torch.softmax(scores.double(), 1)
            each = [
                classification.binary_auroc(shares[:, c], (truth == c).long())
                for c in torch.unique(truth).tolist()
            ]
            return float(torch.stack(each).double().mean())

        return auroc
    function = {
        "mse": regression.mean_squared_error,
        "mae": regression.mean_absolute_error,
        "r2": regression.r2_score,
    }[name]

    def score(outputs: Array, targets: Array) -> float:
        guess, truth = _tensors(flat(outputs, targets), targets)
        return float(function(guess.double(), truth.double()))

    return score


def per_example_score(name: str, outputs: Array, targets: Array) -> Array:
    """The scores whose mean is the metric, shape (N,), for a metric that is such a mean."""
    import numpy as np

    if name == "accuracy":
        right: Array = predicted_classes(outputs) == targets
        return right.astype(np.float64)
    error = flat(outputs, targets).astype(np.float64) - targets.astype(np.float64)
    loss = error**2 if name == "mse" else np.abs(error)
    each: Array = loss.reshape(len(loss), -1).mean(axis=1)
    return each


def predicted_classes(outputs: Array) -> Array:
    """Classes from logits: shape (N, C) by the largest, shape (N,) or (N, 1) by their sign."""
    import numpy as np

    if outputs.ndim == 2 and outputs.shape[1] > 1:
        largest: Array = np.argmax(outputs, axis=1)
        return largest
    positive: Array = outputs.reshape(len(outputs)) > 0
    return positive.astype(np.int64)


def binary_scores(outputs: Array) -> Array:
    """One score for class 1: the difference of two logits, or the single one."""
    if outputs.ndim == 2 and outputs.shape[1] == 2:
        difference: Array = outputs[:, 1] - outputs[:, 0]
        return difference
    return outputs.reshape(len(outputs))


def ranks(scores: Array) -> Array:
    """Scores as their ranks in (0, 1], ties kept: the same AUROC, and a sigmoid cannot saturate."""
    import numpy as np

    distinct, place = np.unique(scores, return_inverse=True)
    share: Array = (place.reshape(len(scores)) + 1.0) / len(distinct)
    return share


def flat(outputs: Array, targets: Array) -> Array:
    """Outputs in the shape of the targets, (N, 1) and (N,) being the same.

    Raises:
        DataError: They do not fit.
    """
    if outputs.size != targets.size:
        raise DataError(
            f"the model's output has shape {list(outputs.shape)} and the targets have "
            f"{list(targets.shape)}: a regression has one target for each output."
        )
    return outputs.reshape(targets.shape)


def _tensors(outputs: Array, targets: Array) -> tuple[torch.Tensor, torch.Tensor]:
    import numpy as np
    import torch

    return torch.from_numpy(np.array(outputs)), torch.from_numpy(np.array(targets))
