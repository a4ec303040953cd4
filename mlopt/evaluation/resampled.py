"""Metrics on many resamples at once: of examples that count as often as they were drawn.

The value of AUROC comes from torchmetrics (:mod:`mlopt.evaluation.metrics`). Its interval needs it
on more than a thousand resamples, where torchmetrics would take seconds for each candidate. The forms
here give the same numbers, from weights.
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
)

Array = np.ndarray[Any, Any]
Floats = NDArray[np.float64]
WeightedMetric = Callable[[Floats], Floats]

_R2_NEGLIGIBLE = 1e-4
"""Sums of squares up to this are zero to the r2_score of torchmetrics."""


def weighted_metric(name: str, outputs: Array, targets: Array, classes: int) -> WeightedMetric:
    """A metric of :data:`~mlopt.evaluation.metrics.BUILTIN` that is no sum over examples or tokens.

    Args:
        name: ``auroc`` or ``r2``.
        outputs: Shape (N, C) or (N,).
        targets: Shape (N,), or for ``r2`` that of the outputs.
        classes: Width of the output, as in :func:`~mlopt.evaluation.metrics.builtin_metric`.

    Returns:
        From weights, shape (S, N), to the metric in each row, shape (S,): that on the examples
        repeated as often as they weigh. NaN where it is not defined. No row is all zero.
    """
    return _FORMS[name](outputs, targets, classes)


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
    "auroc": _auroc,
    "r2": _r2,
}
