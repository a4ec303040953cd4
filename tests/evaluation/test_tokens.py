"""Token classification: tokens are pooled, sentences are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from mlopt import stats
from mlopt.errors import DataError
from mlopt.evaluation.deltas import change_of
from mlopt.evaluation.metrics import builtin_metric
from mlopt.evaluation.pairs import Pair
from mlopt.evaluation.tokens import counted_tokens, right_tokens

Array = np.ndarray[Any, Any]
SENTENCES, LENGTH, CLASSES = 50, 12, 4
METRICS = ["token_accuracy", "token_f1"]


def tagged(seed: int = 0, classes: int = CLASSES) -> tuple[Array, Array]:
    """Logits (N, T, C), and labels (N, T) of sentences of different lengths."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (SENTENCES, LENGTH))
    outputs = rng.normal(size=(SENTENCES, LENGTH, classes))
    outputs += 1.5 * np.eye(classes)[labels]
    lengths = rng.integers(1, LENGTH + 1, SENTENCES)
    labels[np.arange(LENGTH) >= lengths[:, None]] = -100
    return outputs.astype(np.float32), labels


def value(name: str, outputs: Array, targets: Array) -> float:
    return builtin_metric(name, outputs.shape[-1])(outputs, targets)


def test_known_values() -> None:
    targets = np.array([[0, 1, -100], [2, -100, -100]])
    outputs = np.eye(3)[[[0, 0, 1], [2, 1, 1]]]
    assert value("token_accuracy", outputs, targets) == pytest.approx(2 / 3)
    # Class 0: one hit and one false alarm; class 1: missed; class 2: right.
    assert value("token_f1", outputs, targets) == pytest.approx((2 / 3 + 0 + 1) / 3)


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_agrees_with_scikit_learn_on_the_tokens_that_count(classes: int) -> None:
    outputs, targets = tagged(classes=classes)
    counts = targets != -100
    truth, predicted = targets[counts], outputs.argmax(axis=2)[counts]
    accuracy, f1 = (value(name, outputs, targets) for name in METRICS)
    assert accuracy == pytest.approx(sk.accuracy_score(truth, predicted))
    assert f1 == pytest.approx(sk.f1_score(truth, predicted, average="macro"), abs=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_what_the_model_says_of_tokens_that_do_not_count_changes_nothing(name: str) -> None:
    outputs, targets = tagged()
    other = np.where((targets == -100)[:, :, None], -outputs, outputs)
    assert not np.array_equal(other.argmax(axis=2), outputs.argmax(axis=2))
    assert value(name, other, targets) == value(name, outputs, targets)


@pytest.mark.parametrize("name", METRICS)
def test_is_not_defined_where_no_token_counts(name: str) -> None:
    outputs, targets = tagged()
    assert np.isnan(value(name, outputs, np.full_like(targets, -100)))


@pytest.mark.parametrize("shape", [(SENTENCES,), (SENTENCES, LENGTH + 1), (SENTENCES, 1)])
def test_labels_that_are_not_one_for_each_token_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"one label for each token"):
        counted_tokens(tagged()[0], np.zeros(shape, np.int64))


def correlated(rng: np.random.Generator, sentences: int = 120) -> tuple[Pair, float]:
    """A candidate that does worse in some sentences and better in others, and its true delta.

    All labels are 0. The baseline is right on 80% of the tokens. In one sentence of fifty the
    candidate loses half of what is right, in one of a hundred it gains all that was wrong: on
    average it loses 0.02 x 0.5 x 0.8 - 0.01 x 0.2.
    """
    lengths = rng.integers(5, 25, sentences)
    targets = np.where(np.arange(24) < lengths[:, None], 0, -100)
    before = rng.random(targets.shape) < 0.8
    kind = rng.random((sentences, 1))
    lost = (kind < 0.02) & (rng.random(targets.shape) < 0.5)
    now = (before & ~lost) | (kind > 0.99)
    candidate, baseline = (np.eye(2)[(~right).astype(int)] for right in (now, before))
    return Pair(candidate, baseline, targets), -0.006


def test_the_interval_holds_the_truth_where_tokens_of_a_sentence_change_together() -> None:
    rng = np.random.default_rng(0)
    runs, held, held_by_tokens = 300, 0, 0
    for _ in range(runs):
        pair, truth = correlated(rng)
        observed = value("token_accuracy", pair.candidate, pair.targets)
        observed -= value("token_accuracy", pair.baseline, pair.targets)
        delta = change_of("token_accuracy", None, pair, observed, seed=0).delta
        assert delta.low is not None
        assert delta.high is not None
        held += delta.low <= truth <= delta.high
        now, before = (right_tokens(o, pair.targets)[0] for o in (pair.candidate, pair.baseline))
        counts = int((now & ~before).sum()), int((before & ~now).sum())
        low, high = stats.tango_interval(*counts, now.size)
        held_by_tokens += low <= truth <= high
    assert held / runs >= 0.90  # nominal 0.95; two standard errors are 0.025, few sentences change
    assert held_by_tokens / runs < 0.75  # as if each token were an example of its own


def test_a_token_is_an_example_where_each_sentence_has_one() -> None:
    rng = np.random.default_rng(4)
    outputs, other = rng.normal(size=(2, 300, 1, 3))
    targets = rng.integers(0, 3, (300, 1))
    pair = Pair(other, outputs, targets)
    delta = change_of("token_accuracy", None, pair, 0.0, seed=0).delta
    flat = Pair(other[:, 0], outputs[:, 0], targets[:, 0])
    want = change_of("accuracy", None, flat, 0.0, seed=0).delta
    assert (delta.low, delta.high) == pytest.approx((want.low, want.high), abs=1e-3)


def test_sentences_without_tokens_that_count_prove_nothing() -> None:
    pair, _ = correlated(np.random.default_rng(3))
    nothing = np.full_like(pair.targets, -100)
    longer = Pair(
        *(np.concatenate([a, b]) for a, b in zip(pair[:3], (*pair[:2], nothing), strict=True))
    )
    for name in METRICS:
        assert change_of(name, None, longer, -0.01, seed=0) == (
            change_of(name, None, pair, -0.01, seed=0)
        )
