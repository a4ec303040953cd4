"""Embeddings: the mean over the tokens of the text, and the cosine with the baseline's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mlopt.errors import DataError
from mlopt.evaluation.embeddings import averaged, cosines
from mlopt.evaluation.metrics import builtin_metric

RNG = np.random.default_rng(0)


def test_the_mean_leaves_out_what_the_mask_leaves_out() -> None:
    hidden = np.array([[[1.0, 2], [3, 4], [100, 100]], [[5, 6], [100, 100], [100, 100]]])
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    assert averaged(hidden, mask).tolist() == [[2, 3], [5, 6]]
    assert averaged(hidden)[0] == pytest.approx([104 / 3, 106 / 3])


def test_an_example_without_a_token_is_zero_and_no_division_by_zero() -> None:
    with np.errstate(all="raise"):
        assert averaged(np.ones((1, 2, 3)), np.zeros((1, 2), np.int64)).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("mask", [None, np.ones((2, 5000), np.int64)])
def test_half_precision_is_averaged_in_single(mask: Any) -> None:
    hidden = np.full((2, 5000, 1), 30.0, np.float16)  # their sum is beyond float16
    assert averaged(hidden, mask).tolist() == [[30], [30]]


def test_cosines_agree_with_torch() -> None:
    ours, theirs = RNG.normal(size=(2, 50, 7))
    want = torch.nn.functional.cosine_similarity(torch.tensor(ours), torch.tensor(theirs))
    assert cosines(ours, theirs) == pytest.approx(want.numpy())
    assert builtin_metric("cosine_similarity", 7)(ours, theirs) == pytest.approx(float(want.mean()))


def test_known_cosines() -> None:
    ours = np.array([[1.0, 0], [1, 0], [1, 0], [1, 1]])
    theirs = np.array([[2.0, 0], [0, 3], [-1, 0], [1, 0]])
    assert cosines(ours, theirs) == pytest.approx([1, 0, -1, 0.5**0.5])


def test_length_does_not_matter() -> None:
    ours = RNG.normal(size=(20, 5))
    assert cosines(1e-3 * ours, 1e5 * ours) == pytest.approx(np.ones(20))


def test_zero_agrees_with_zero_only() -> None:
    zero, other = np.zeros((1, 3)), np.ones((1, 3))
    with np.errstate(all="raise"):
        assert [cosines(zero, zero)[0], cosines(zero, other)[0]] == [1, 0]


def test_tokens_are_averaged_where_no_one_did() -> None:
    ours, theirs = RNG.normal(size=(2, 10, 4, 3))
    assert cosines(ours, theirs) == pytest.approx(cosines(averaged(ours), averaged(theirs)))


@pytest.mark.parametrize("shape", [(10, 4), (9, 3), (10,)])
def test_embeddings_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"both must be \(N, D\)"):
        cosines(np.ones((10, 3)), np.ones(shape))
