"""Predictions that differ from the baseline's, and those of them that broke."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlopt.evaluation.metrics import predicted_classes
from mlopt.evaluation.pairs import Pair
from mlopt.evaluation.spans import best_spans
from mlopt.evaluation.tokens import counted_tokens
from mlopt.types.task import Task

Array = np.ndarray[Any, Any]


def flip_rate(pair: Pair, task: Task) -> float | None:
    """Share of the predictions that differ from the baseline's; None where there are none to flip.

    A prediction is the class of an example or of a token that counts, or the span of an answer.
    """
    predictions = _predictions(pair, task)
    if predictions is None:
        return None
    now, before, _ = predictions
    return float(_differ(now, before).mean())


def broken_rate(pair: Pair, task: Task) -> float | None:
    """Share of all predictions that were right and became wrong; None where there are none."""
    predictions = _predictions(pair, task)
    if predictions is None:
        return None
    now, before, truth = predictions
    return float((~_differ(before, truth) & _differ(now, truth)).mean())


def _predictions(pair: Pair, task: Task) -> tuple[Array, Array, Array] | None:
    """Those of the candidate and of the baseline, and the truth; one row each."""
    answers = (pair.candidate, pair.baseline)
    if task == "classification":
        now, before = (predicted_classes(outputs) for outputs in answers)
        return now, before, pair.targets
    if task == "token_classification":
        tokens = [counted_tokens(outputs, pair.targets) for outputs in answers]
        return tokens[0].predicted, tokens[1].predicted, tokens[1].truth
    if task == "question_answering":
        now, before = (best_spans(outputs) for outputs in answers)
        return now, before, pair.targets
    return None


def _differ(one: Array, other: Array) -> Array:
    """Whether each row does, shape (M,)."""
    changed = np.asarray(one != other)
    differ: Array = np.asarray(changed.reshape(len(changed), -1).any(axis=1))
    return differ
