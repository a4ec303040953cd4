"""Call every metric once before anything is built, so that a broken one costs no measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlopt.errors import ConfigError, DataError
from mlopt.types.tensors import TensorSpec
from mlopt.workers.usercode import describe, load_object

Array = np.ndarray[Any, Any]


def made_up_answers(output: TensorSpec, examples: int, targets: Array | None) -> Array:
    """Answers drawn at random, in the shape that is scored.

    Args:
        output: What is scored; an axis with a name gets a size that the targets fit.
        examples: Number of examples N.
        targets: Shape (N, ...); None where there are none.

    Returns:
        Shape (N, ...).
    """
    shape = [
        size if isinstance(size, int) else _fitting_size(axis, targets)
        for axis, size in enumerate(output.shape)
    ]
    made_up: Array = np.random.default_rng(0).normal(size=(examples, *shape[1:]))
    return made_up.astype(output.dtype)


def _fitting_size(axis: int, targets: Array | None) -> int:
    """Tokens that have one target each are axis 1; those that targets point to are axis 2."""
    if targets is None or targets.ndim < 2:
        return 1
    return int(targets.max()) + 1 if axis == 2 else targets.shape[1]


def rehearse(
    reference: str, place: str, split: str, outputs: Array, targets: Array, project_dir: Path
) -> None:
    """Calls a metric of the user's on made-up outputs and the real targets of a split.

    Args:
        reference: ``module:function``.
        place: Where it stands in mlopt.yaml.
        split: Name of the split.
        outputs: Made up, shape (N, ...).
        targets: Of the split, shape (N, ...).
        project_dir: Where the user's code is imported from.

    Raises:
        ConfigError: It cannot be imported, raises, or returns no finite number.
    """
    function = load_object(reference, project_dir, place)
    try:
        value = float(function(outputs, targets))
    except Exception as e:
        raise ConfigError(
            f"{place}: '{reference}' raised {describe(e, project_dir)} on outputs of shape "
            f"{list(outputs.shape)} and the targets of data.{split}. It must take (outputs, targets)."
        ) from e
    if not np.isfinite(value):
        raise ConfigError(
            f"{place}: '{reference}' returned {value} on the targets of data.{split}; it must return "
            "a finite number."
        )


def check_defined(metric: str, split: str, targets: Array) -> None:
    """Checks that one of mlopt's metrics is defined on a split.

    Raises:
        DataError: AUROC has but one class, or R2 targets that do not vary.
    """
    if metric == "auroc" and len(np.unique(targets)) < 2:
        raise DataError(
            f"data.{split} holds one class only, and AUROC compares classes. Give the split examples "
            "of each class."
        )
    if metric == "r2" and float(np.ptp(targets)) == 0.0:
        raise DataError(
            f"data.{split}: all targets are equal, and R2 is not defined then. Give the split targets "
            "that vary, or use mae or mse."
        )
