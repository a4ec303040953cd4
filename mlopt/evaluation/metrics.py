"""Metrics by name: means over examples, and through torchmetrics what is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mlopt.errors import ConfigError, DataError
from mlopt.evaluation import embeddings, spans, tokens
from mlopt.types.task import Task

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch

    Array = np.ndarray[Any, Any]


class BuiltinMetric(NamedTuple):
    """A metric that a project can name.

    Attributes:
        per_example: Whether it is the mean of a score for each example.
        outcome: What an example is: right or wrong; right in part, as a span may overlap the true
            one, or as a sentence has right and wrong tokens; or anything else.
    """

    task: Task
    higher_is_better: bool
    per_example: bool
    outcome: Literal["right or wrong", "right in part", "other"] = "other"

    @property
    def is_provable(self) -> bool:
        """Whether it is known beforehand what n examples can prove: it has Tango's interval."""
        return self.outcome != "other"


BUILTIN: dict[str, BuiltinMetric] = {
    "accuracy": BuiltinMetric("classification", True, True, "right or wrong"),
    "f1": BuiltinMetric("classification", True, False),
    "auroc": BuiltinMetric("classification", True, False),
    "mse": BuiltinMetric("regression", False, True),
    "mae": BuiltinMetric("regression", False, True),
    "r2": BuiltinMetric("regression", True, False),
    "token_accuracy": BuiltinMetric("token_classification", True, False, "right in part"),
    "token_f1": BuiltinMetric("token_classification", True, False),
    "exact_match": BuiltinMetric("question_answering", True, True, "right or wrong"),
    "span_f1": BuiltinMetric("question_answering", True, True, "right in part"),
    "cosine_similarity": BuiltinMetric("feature_extraction", True, True),
}

Metric = Callable[["Array", "Array"], float]
"""From what is scored, shape (N, ...), and the targets, shape (N, ...), to a value."""


def builtin_metric(name: str, classes: int) -> Metric:
    """The function that computes a metric of :data:`BUILTIN`.

    Args:
        name: Its name.
        classes: Width of the model's output; 1 or 2 mean a binary classifier for F1 and AUROC.

    Returns:
        ``metric(outputs, targets)``, by task:

        - classification: (N, C) or (N,), and class numbers (N,). F1 and AUROC are macro averages
          over the classes that occur, or those of class 1 when binary. AUROC is NaN where only one
          class occurs.
        - regression: two arrays of N values, or (N, ...).
        - token classification: (N, T, C), and class numbers (N, T), -100 for a token that does not
          count; all other tokens are pooled. F1 is macro-averaged over the classes that occur.
        - question answering: logits (N, 2, T), and the first and last token (N, 2).
        - feature extraction: embeddings (N, D), and the baseline's as targets.
    """
    if name not in _FUNCTIONS:
        # The scores of examples are what the paired interval needs anyway; without torchmetrics,
        # most runs need not load it and torch, which takes seconds in each worker that scores.
        return lambda outputs, targets: float(per_example_score(name, outputs, targets).mean())
    function = _FUNCTIONS[name]
    return lambda outputs, targets: function(outputs, targets, classes)


def metric_of(
    name: str, function: str | None, outputs: Array, project_dir: Path, place: str
) -> Metric:
    """A metric by its name, or the user's function.

    Args:
        name: Of :data:`BUILTIN`, where there is no function.
        function: ``module:function``; None for one of mlopt's.
        outputs: What is scored, of any model: its width is the number of classes.
        project_dir: Where the user's code is imported from.
        place: What it stands for in mlopt.yaml, for messages.

    Raises:
        ConfigError: The user's function cannot be imported; so does the metric, where it raises.
    """
    if function is None:
        return builtin_metric(name, outputs.shape[-1] if outputs.ndim > 1 else 1)
    from mlopt.workers.usercode import describe, load_object

    loaded = load_object(function, project_dir, place)

    def call(outputs: Array, targets: Array) -> float:
        try:
            return float(loaded(outputs, targets))
        except Exception as e:
            raise ConfigError(f"{place}: '{function}' raised {describe(e, project_dir)}") from e

    return call


def score_outputs(
    name: str,
    function: str | None,
    task: Task,
    outputs: Array,
    targets: Array,
    project_dir: Path,
) -> float:
    """A metric's value on answers at hand, for a pass that trains.

    Args:
        name: Of the metric.
        function: ``module:function`` of the user's; None for one of mlopt's.
        task: What the model is asked for.
        outputs: What is scored, shape (N, ...): see :func:`~mlopt.evaluation.answers.answer_of`.
        targets: Shape (N, ...); for feature extraction, the teacher's answers.
        project_dir: Where the user's code is imported from.

    Returns:
        NaN where it is not defined on these examples.

    Raises:
        ConfigError: The user's function cannot be imported, or raises.
        DataError: Outputs and targets do not fit each other, or the metric is of another task.
    """
    if function is None and BUILTIN[name].task != task:
        raise DataError(f"metrics: '{name}' belongs to {BUILTIN[name].task}, not to {task}.")
    return metric_of(name, function, outputs, project_dir, f"metrics ({name})")(outputs, targets)


def is_binary(classes: int) -> bool:
    """Whether a model's output of this width is that of a binary classifier."""
    return classes <= 2


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


def _r2(outputs: Array, targets: Array, classes: int) -> float:
    import numpy as np

    from mlopt.evaluation.resampled import weighted_metric

    return float(weighted_metric("r2", outputs, targets, classes)(np.ones((1, len(targets))))[0])


_FUNCTIONS: dict[str, Callable[[Array, Array, int], float]] = {
    "f1": _f1,
    "auroc": _auroc,
    "r2": _r2,
    "token_accuracy": lambda outputs, targets, _: tokens.token_accuracy(outputs, targets),
    "token_f1": lambda outputs, targets, _: tokens.token_f1(outputs, targets),
}


def per_example_score(name: str, outputs: Array, targets: Array) -> Array:
    """The scores whose mean is the metric, shape (N,), for a metric that is such a mean."""
    return _EACH[name](outputs, targets)


def _right(outputs: Array, targets: Array) -> Array:
    right: Array = predicted_classes(outputs) == targets
    return right.astype("float64")


def _errors(outputs: Array, targets: Array) -> Array:
    error = flat(outputs, targets).astype("float64") - targets.astype("float64")
    each: Array = error.reshape(len(error), -1)
    return each


_EACH: dict[str, Callable[[Array, Array], Array]] = {
    "accuracy": _right,
    "mse": lambda outputs, targets: (_errors(outputs, targets) ** 2).mean(axis=1),
    "mae": lambda outputs, targets: abs(_errors(outputs, targets)).mean(axis=1),
    "exact_match": spans.exact_matches,
    "span_f1": spans.overlaps,
    "cosine_similarity": embeddings.cosines,
}


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


def _tensors(outputs: Array, targets: Array) -> tuple[torch.Tensor, torch.Tensor]:
    import numpy as np
    import torch

    return torch.from_numpy(np.array(outputs)), torch.from_numpy(np.array(targets))
