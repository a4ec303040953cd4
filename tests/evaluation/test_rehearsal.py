"""Metrics of the user's meet answers of the right shape before there are any."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlopt.evaluation.answers import scored_output
from mlopt.evaluation.metrics import BUILTIN, builtin_metric
from mlopt.evaluation.rehearsal import made_up_answers
from mlopt.types.task import Task
from mlopt.types.tensors import TensorSpec

N = 9
IDS = TensorSpec(name="ids", dtype="int64", shape=("batch", "length"))


def spec(*shape: int) -> TensorSpec:
    return TensorSpec(name="output", dtype="float32", shape=("batch", *shape))


CASES: dict[Task, tuple[list[TensorSpec], Any]] = {
    "classification": ([spec(3)], np.arange(N) % 3),
    "regression": ([spec(2)], np.ones((N, 2))),
    # On the first batch there were 5 tokens; this split has 8, and answers that reach token 11.
    "token_classification": ([spec(5, 3)], np.arange(N * 8).reshape(N, 8) % 3),
    "question_answering": ([spec(5), spec(5)], np.full((N, 2), 11)),
    "feature_extraction": ([spec(5, 4)], None),
}


@pytest.mark.parametrize("name", BUILTIN)
def test_every_metric_takes_answers_made_up_for_its_task(name: str) -> None:
    task = BUILTIN[name].task
    outputs, targets = CASES[task]
    made_up = made_up_answers(scored_output(task, outputs, [IDS]), N, targets)
    assert made_up.shape[0] == N
    assert made_up.dtype == np.float32
    value = builtin_metric(name, made_up.shape[-1])(
        made_up, made_up if targets is None else targets
    )
    assert np.isfinite(value)


def test_the_shape_is_that_of_the_targets_where_the_length_is_not_fixed() -> None:
    shapes = {
        task: made_up_answers(scored_output(task, outputs, [IDS]), N, targets).shape
        for task, (outputs, targets) in CASES.items()
    }
    assert shapes["token_classification"] == (N, 8, 3)
    assert shapes["question_answering"] == (N, 2, 12)
    assert shapes["feature_extraction"] == (N, 4)
