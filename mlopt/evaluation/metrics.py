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
    function = _FUNCTIONS[name]
    return lambda outputs, targets: function(outputs, targets, classes)


def is_binary(classes: int) -> bool:
    """Whether a model's output of this width is that of a binary classifier."""
    return classes <= 2


def _accuracy(outputs: Array, targets: Array, _classes: int) -> float:
    # The mean of right and wrong, which the paired interval needs anyway; without torchmetrics, most
    # runs need not load it and torch, which takes seconds in each worker that scores.
    return float((predicted_classes(outputs) == targets).mean())


def _f1(outputs: Array, targets: Array, classes: int) -> float:
    from torchmetrics.functional.classification import binary_f1_score, multiclass_f1_score

    predicted, truth = _tensors(predicted_classes(outputs), targets.astype("int64"))
    if is_binary(classes):
        return float(binary_f1_score(predicted, truth))
    return float(multiclass_f1_score(predicted, truth, classes, average="macro"))


def _auroc(outputs: Array, targets: Array, classes: int) -> float:
    import numpy as np
    from torchmetrics.functional.classification import binary_auroc

    if len(set(targets.tolist())) < 2:
        return float("nan")
    truth = targets.astype("int64")
    if is_binary(classes):
        return float(binary_auroc(*_tensors(ranks(binary_scores(outputs)), truth)))
    shares = class_shares(outputs)
    each = [
        float(binary_auroc(*_tensors(shares[:, c], (truth == c).astype("int64"))))
        for c in np.unique(truth)
    ]
    return float(np.mean(each))


def _mse(outputs: Array, targets: Array, _classes: int) -> float:
    from torchmetrics.functional.regression import mean_squared_error

    return float(mean_squared_error(*_regression_tensors(outputs, targets)))


def _mae(outputs: Array, targets: Array, _classes: int) -> float:
    from torchmetrics.functional.regression import mean_absolute_error

    return float(mean_absolute_error(*_regression_tensors(outputs, targets)))


def _r2(outputs: Array, targets: Array, _classes: int) -> float:
    from torchmetrics.functional.regression import r2_score

    return float(r2_score(*_regression_tensors(outputs, targets)))


_FUNCTIONS: dict[str, Callable[[Array, Array, int], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "auroc": _auroc,
    "mse": _mse,
    "mae": _mae,
    "r2": _r2,
}


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


def class_shares(outputs: Array) -> Array:
    """The softmax of logits of shape (N, C).

    In double precision: in single, logits that lie 17 apart are ties.
    """
    import numpy as np
    import torch

    logits = torch.from_numpy(np.array(outputs)).double()
    shares: Array = torch.softmax(logits, 1).numpy()
    return shares


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


def _regression_tensors(outputs: Array, targets: Array) -> tuple[torch.Tensor, torch.Tensor]:
    guess, truth = _tensors(flat(outputs, targets), targets)
    return guess.double(), truth.double()


def _tensors(outputs: Array, targets: Array) -> tuple[torch.Tensor, torch.Tensor]:
    import numpy as np
    import torch

    return torch.from_numpy(np.array(outputs)), torch.from_numpy(np.array(targets))
