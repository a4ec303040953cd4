"""A single output that is a probability, where a logit is read."""

from __future__ import annotations

import numpy as np
import pytest

from mlopt.errors import DataError
from mlopt.evaluation.comparison import refuse_probabilities
from mlopt.types.task import NO_TOKEN

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(100,), (100, 1)])
def test_probabilities_are_refused_with_what_to_do(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="looks like a probability, and mlopt reads a logit"):
        refuse_probabilities(RNG.random(shape), "classification")


@pytest.mark.parametrize(
    ("outputs", "task"),
    [
        (RNG.normal(size=(100, 1)), "classification"),
        (RNG.random((100, 2)), "classification"),
        (RNG.random((100, 1)), "regression"),
        (RNG.random((10, 1)), "classification"),
        (np.ones((100, 1)), "classification"),
    ],
)
def test_what_need_not_be_a_probability_is_accepted(outputs: np.ndarray, task: str) -> None:
    refuse_probabilities(outputs, task)  # type: ignore[arg-type]


def test_probabilities_of_the_ends_of_a_span_are_refused_as_their_sum_ranks_nothing() -> None:
    shares = RNG.dirichlet(np.ones(8), size=(30, 2))
    shares[:, :, 5:] = NO_TOKEN  # padding
    with pytest.raises(DataError, match=r"two outputs lie between .* Leave the softmax out"):
        refuse_probabilities(shares, "question_answering")
    refuse_probabilities(np.log(np.maximum(shares, 1e-9)), "question_answering")
