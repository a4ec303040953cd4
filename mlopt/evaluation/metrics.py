"""Metrics by name, through torchmetrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

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
        F1 and AUROC are macro averages over the classes, or those of class 1 when binary.
    """
    import torch
    from torchmetrics.functional import classification, regression

    binary = classes <= 2
    if name == "accuracy":
        return lambda outputs, targets: float((predicted_classes(outputs) == targets).mean())
    if name == "f1":

        def f1(outputs: Array, targets: Array) -> float:
            predicted, truth = _tensors(predicted_classes(outputs), targets)
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
                scores, truth = _tensors(binary_scores(outputs), targets)
                return float(classification.binary_auroc(torch.sigmoid(scores), truth))
            scores, truth = _tensors(outputs, targets)
            return float(
                classification.multiclass_auroc(
                    torch.softmax(scores, 1), truth, classes, average="macro"
                )
            )

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
        return (predicted_classes(outputs) == targets).astype(np.float64)
    error = flat(outputs, targets).astype(np.float64) - targets.astype(np.float64)
    loss = error**2 if name == "mse" else np.abs(error)
    return loss.reshape(len(loss), -1).mean(axis=1)


def predicted_classes(outputs: Array) -> Array:
    """Classes from logits: shape (N, C) by the largest, shape (N,) or (N, 1) by their sign."""
    import numpy as np

    if outputs.ndim == 2 and outputs.shape[1] > 1:
        return np.argmax(outputs, axis=1)
    return (outputs.reshape(len(outputs)) > 0).astype(np.int64)


def binary_scores(outputs: Array) -> Array:
    """One score for class 1: the difference of two logits, or the single one."""
    if outputs.ndim == 2 and outputs.shape[1] == 2:
        difference: Array = outputs[:, 1] - outputs[:, 0]
        return difference
    return outputs.reshape(len(outputs))


def flat(outputs: Array, targets: Array) -> Array:
    """Outputs in the shape of the targets, (N, 1) and (N,) being the same."""
    return outputs.reshape(targets.shape)


def _tensors(outputs: Array, targets: Array) -> tuple[torch.Tensor, torch.Tensor]:
    import numpy as np
    import torch

    return torch.from_numpy(np.array(outputs)), torch.from_numpy(np.array(targets))
