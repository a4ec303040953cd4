"""The influence of examples on F1, and the interval made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlopt.evaluation.deltas import change_of
from mlopt.evaluation.influence import f1_influence
from mlopt.evaluation.metrics import builtin_metric
from mlopt.evaluation.pairs import Pair

Array = np.ndarray[Any, Any]
N, COPIES = 40, 200


def answered(shape: tuple[int, ...], classes: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    targets = rng.integers(0, max(classes - 1, 2), shape[:2] if len(shape) == 3 else N)
    return rng.normal(size=shape), targets


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("f1", (N,), 1),
        ("f1", (N, 2), 2),
        ("f1", (N, 5), 5),
        ("token_f1", (N, 6, 2), 2),
        ("token_f1", (N, 6, 4), 4),
    ],
)
def test_one_example_more_moves_f1_by_its_influence(
    name: str, shape: tuple[int, ...], classes: int
) -> None:
    outputs, targets = answered(shape, classes)
    metric = builtin_metric(name, classes)
    influence = f1_influence(name, outputs, targets, classes).values
    many = np.arange(N).repeat(COPIES)
    before = metric(outputs[many], targets[many])
    for example in range(0, N, 7):
        rows = np.append(many, example)
        moved = (metric(outputs[rows], targets[rows]) - before) * len(many)
        assert moved == pytest.approx(influence[example], abs=0.02)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    assert influence.std() > 0.1


def logits(classes: Array, width: int) -> Array:
    return np.eye(width)[classes]


def test_what_none_of_few_positives_shows_is_as_wide_as_they_are_few() -> None:
    def half_width(positives: int) -> float:
        truth = (np.arange(1000) < positives).astype(np.int64)
        same = logits(truth, 2)
        delta = change_of("f1", None, Pair(same, same, truth), 0.0, seed=0).delta
        assert delta.low is not None
        return -delta.low

    assert half_width(20) > 5 * half_width(500)
    # No positive lost among 20: a share of 3.84 / 20 may be, which moves F1 by half of it.
    assert half_width(20) == pytest.approx(3.84 / 20 / 2, rel=0.05)


def test_f1_of_predictions_without_any_positive_has_an_interval() -> None:
    truth = np.zeros(50, dtype=np.int64)
    delta = change_of("f1", None, Pair(*[logits(truth, 2)] * 2, truth), 0.0, seed=0).delta
    assert delta.low is not None
    assert delta.low < 0


def test_the_interval_of_f1_holds_the_truth_where_few_examples_change() -> None:
    """Ten classes of 30; 1% of what is right is lost. A bootstrap holds it in about 90%."""
    rng = np.random.default_rng(0)
    classes, runs, held = 10, 250, 0
    truth = np.arange(300) % classes
    # F1 of a class: hits over the mean of those predicted and those true; symmetric, so accuracy.
    true_delta = -0.9 * 0.01
    metric = builtin_metric("f1", classes)
    for _ in range(runs):
        wrong = (truth + rng.integers(1, classes, 300)) % classes
        before = np.where(rng.random(300) < 0.9, truth, wrong)
        now = np.where((before == truth) & (rng.random(300) < 0.01), wrong, before)
        pair = Pair(logits(now, classes), logits(before, classes), truth)
        observed = metric(pair.candidate, truth) - metric(pair.baseline, truth)
        delta = change_of("f1", None, pair, observed, seed=0).delta
        assert delta.low is not None
        assert delta.high is not None
        held += delta.low <= true_delta <= delta.high
    assert held / runs >= 0.92  # nominal 0.95; two standard errors are 0.028
