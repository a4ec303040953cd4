"""Metrics on many resamples at once: of examples that count as often as they were drawn.

The value of a metric comes from torchmetrics (:mod:`mlopt.evaluation.metrics`). Its interval needs
it on more than a thousand resamples, where torchmetrics would take seconds for each candidate. The
forms here give the same numbers, from weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mlopt.evaluation.metrics import (
    binary_scores,
    class_shares,
    flat,
    is_binary,
    predicted_classes,
)
from mlopt.evaluation.tokens import counted_tokens

Array = np.ndarray[Any, Any]
Floats = NDArray[np.float64]
WeightedMetric = Callable[[Floats], Floats]

_R2_NEGLIGIBLE = 1e-4
"""Sums of squares up to this are zero to the r2_score of torchmetrics."""


def weighted_metric(name: str, outputs: Array, targets: Array, classes: int) -> WeightedMetric:
    """A metric of :data:`~mlopt.evaluation.metrics.BUILTIN` that is no mean over examples or tokens.

    Args:
        name: ``f1``, ``auroc``, ``r2`` or ``token_f1``.
        outputs: Shape (N, C) or (N,); for ``token_f1`` (N, T, C).
        targets: Shape (N,), or for ``r2`` that of the outputs; for ``token_f1`` (N, T).
        classes: Width of the output, as in :func:`~mlopt.evaluation.metrics.builtin_metric`.

    Returns:
        From weights, shape (S, N), to the metric in each row, shape (S,): that on the examples
        repeated as often as they weigh, a whole sentence being one example of ``token_f1``. NaN
        where it is not defined. No row is all zero.
    """
    return _FORMS[name](outputs, targets, classes)


def _f1(outputs: Array, targets: Array, classes: int) -> WeightedMetric:
    """F1 of class 1, or averaged over the classes that occur."""
    predicted, truth = predicted_classes(outputs), targets.astype(np.int64)
    labels = max(classes, 2)
    scores_of = _f1_by_class(predicted, truth, np.arange(len(truth)), (labels, len(truth)))

    def f1(weights: Floats) -> Floats:
        scores, occurs = scores_of(weights)
        if is_binary(classes):
            of_class_1: Floats = scores[1]
            return of_class_1
        return _mean_where(scores, occurs)

    return f1


def _token_f1(outputs: Array, targets: Array, _classes: int) -> WeightedMetric:
    """F1 averaged over the classes that occur; a sentence's weight is that of its tokens."""
    predicted, truth, sentence = counted_tokens(outputs, targets)
    scores_of = _f1_by_class(predicted, truth, sentence, (outputs.shape[2], len(targets)))
    return lambda weights: _mean_where(*scores_of(weights))


def _f1_by_class(
    predicted: Array, truth: Array, examples: Array, shape: tuple[int, int]
) -> Callable[[Floats], tuple[Floats, NDArray[np.bool_]]]:
    """2 TP / (2 TP + FP + FN) of each class, and where it occurs, both of shape (C, S).

    Args:
        predicted: Class of each item, shape (M,).
        truth: The true one, shape (M,).
        examples: Index of the example that it belongs to, shape (M,).
        shape: Number of classes and of examples, (C, N).
    """
    right = predicted == truth
    hits = _indicator(truth[right], examples[right], shape)
    # Each item counts once for the class predicted and once for the true one.
    mentions = _indicator(np.concatenate([predicted, truth]), np.tile(examples, 2), shape)

    def scores_of(weights: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        columns = np.ascontiguousarray(weights.T)
        twice_hit, mentioned = 2 * (hits @ columns), mentions @ columns
        occurs: NDArray[np.bool_] = mentioned > 0
        return twice_hit / np.where(occurs, mentioned, 1.0), occurs

    return scores_of


def _mean_where(scores: Floats, occurs: NDArray[np.bool_]) -> Floats:
    """The mean over the classes that occur, 0 being the score of the others; NaN without any."""
    classes = occurs.sum(axis=0)
    means: Floats = np.where(classes > 0, scores.sum(axis=0) / np.maximum(classes, 1), np.nan)
    return means


def _auroc(outputs: Array, targets: Array, classes: int) -> WeightedMetric:
    """The mean over the classes that occur; NaN where there is only one."""
    truth = targets.astype(np.int64)
    if is_binary(classes):
        each = [_Ranking(binary_scores(outputs), truth == 1)]
    else:
        shares = class_shares(outputs)
        each = [_Ranking(shares[:, c], truth == c) for c in np.unique(truth)]

    def auroc(weights: Floats) -> Floats:
        columns = np.ascontiguousarray(weights.T)
        total, occurring = np.zeros(len(weights)), np.zeros(len(weights))
        for ranking in each:
            areas, occurs = ranking.areas(columns)
            total += areas
            occurring += occurs
        mean: Floats = np.where(occurring > 0, total / np.maximum(occurring, 1), np.nan)
        return mean

    return auroc


class _Ranking:
    """The examples in the order of their scores for one class, with that class told from the rest.

    Only the levels of score that an example of the class has matter: the rest of the examples lie
    between two of them, or tie with one.
    """

    def __init__(self, scores: Array, positive: Array) -> None:
        levels = np.unique(scores[positive])
        left, right = (np.searchsorted(levels, scores, side) for side in ("left", "right"))
        examples = np.arange(len(scores))
        # Rows 0, 2, 4, ... are the gaps below, between and above the levels; the odd ones are ties.
        self._strata = _indicator(left + right, examples, (2 * len(levels) + 1, len(scores)))
        self._positives = _indicator(left[positive], examples[positive], (len(levels), len(scores)))

    def areas(self, columns: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """The area under the curve for each column of weights, shape (N, S).

        It is the share of the pairs of a positive and a negative that are in order, ties counting
        half. All pairs that end at a positive are counted, and those of two positives, of which
        exactly half are in order, subtracted.

        Returns:
            The areas, 0 where the class does not occur and NaN where nothing else does, and where
            it occurs.
        """
        strata, positives = self._strata @ columns, self._positives @ columns
        in_order = np.cumsum(strata, axis=0)[0:-1:2] + strata[1::2] / 2
        own = positives.sum(axis=0)
        pairs = own * (strata.sum(axis=0) - own)
        ordered = (positives * in_order).sum(axis=0) - own**2 / 2
        areas: Floats = np.where(own > 0, np.nan, 0.0)
        np.divide(ordered, pairs, out=areas, where=pairs > 0)
        return areas, own > 0


def _r2(outputs: Array, targets: Array, _classes: int) -> WeightedMetric:
    """The mean over the outputs of 1 - residual / total sum of squares."""
    truth = targets.astype(np.float64).reshape(len(targets), -1)
    guess = flat(outputs, targets).astype(np.float64).reshape(truth.shape)
    centred = truth - truth.mean(axis=0)  # the sums of squares then do not cancel
    sums = np.hstack([(truth - guess) ** 2, centred**2, centred])

    def r2(weights: Floats) -> Floats:
        residual, squares, first = np.split(weights @ sums, 3, axis=1)
        size = weights.sum(axis=1)
        total = squares - first**2 / size[:, None]
        vague = total <= _R2_NEGLIGIBLE
        scores = np.where(vague, 0.0, 1 - residual / np.where(vague, 1.0, total))
        scores[residual <= _R2_NEGLIGIBLE] = 1.0
        means: Floats = np.where(size < 2, np.nan, scores.mean(axis=1))
        return means

    return r2


def _indicator(rows: Array, examples: Array, shape: tuple[int, int]) -> sparse.csr_array[Any]:
    """A matrix that sums the examples of each row; an example twice in a row counts twice."""
    return sparse.csr_array((np.ones(len(rows)), (rows, examples)), shape=shape)


_FORMS: dict[str, Callable[[Array, Array, int], WeightedMetric]] = {
    "f1": _f1,
    "auroc": _auroc,
    "r2": _r2,
    "token_f1": _token_f1,
}
