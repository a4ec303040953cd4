"""The metrics of mlopt against scikit-learn's values."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as sk

from mlopt.errors import ConfigError, DataError
from mlopt.evaluation.metrics import (
    binary_scores,
    builtin_metric,
    per_example_score,
    predicted_classes,
    score_outputs,
)

Array = np.ndarray[Any, Any]
N = 400


def labels(classes: int, dtype: Any = np.int64) -> Array:
    return np.random.default_rng(0).integers(0, classes, N).astype(dtype)


def logits(targets: Array, classes: int, scale: float = 1.0) -> Array:
    """Logits of shape (N, C) that are right more often than not."""
    outputs = np.random.default_rng(1).normal(size=(len(targets), classes))
    outputs[np.arange(len(targets)), targets.astype(int)] += 1
    return (scale * outputs).astype(np.float32)


def expected(name: str, outputs: Array, targets: Array) -> float:
    """What scikit-learn makes of logits of shape (N, C) with C > 1."""
    predicted = outputs.argmax(axis=1)
    classes = outputs.shape[1]
    if name == "accuracy":
        return float(sk.accuracy_score(targets, predicted))
    if name == "f1":
        average = "binary" if classes == 2 else "macro"
        return float(sk.f1_score(targets, predicted, average=average))
    shares = softmax(outputs.astype(np.float64), axis=1)
    if classes == 2:
        return float(sk.roc_auc_score(targets, shares[:, 1]))
    return float(sk.roc_auc_score(targets, shares, multi_class="ovr", average="macro"))


@pytest.mark.parametrize("name", ["accuracy", "f1", "auroc"])
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.uint16])
def test_classification_agrees_with_scikit_learn(name: str, classes: int, dtype: Any) -> None:
    targets = labels(classes, dtype)
    outputs = logits(targets, classes)
    found = builtin_metric(name, classes)(outputs, targets)
    assert found == pytest.approx(expected(name, outputs, targets), abs=1e-6)
    assert 1 / classes < found < 1


@pytest.mark.parametrize("name", ["accuracy", "f1", "auroc"])
@pytest.mark.parametrize("shape", [(N,), (N, 1)])
@pytest.mark.parametrize("dtype", [np.int64, np.bool_])
def test_a_single_logit_is_the_score_of_class_1(
    name: str, shape: tuple[int, ...], dtype: Any
) -> None:
    targets = labels(2, dtype)
    scores = np.random.default_rng(2).normal(size=N).astype(np.float32) + targets
    metric = builtin_metric(name, 1)
    want = {
        "accuracy": sk.accuracy_score(targets, scores > 0),
        "f1": sk.f1_score(targets, scores > 0),
        "auroc": sk.roc_auc_score(targets, expit(scores.astype(np.float64))),
    }[name]
    assert metric(scores.reshape(shape), targets) == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_auroc_ranks_confident_answers_too(classes: int) -> None:
    targets = labels(max(classes, 2))
    outputs = logits(targets, max(classes, 2), scale=4.0)
    outputs[:, -1] += 40  # single precision rounds the sigmoid of this to 1
    if classes == 1:
        scores = outputs[:, 1] - outputs[:, 0]
        want = sk.roc_auc_score(targets, scores)
        assert builtin_metric("auroc", 1)(scores, targets) == pytest.approx(want, abs=1e-6)
    elif classes == 2:
        want = sk.roc_auc_score(targets, outputs[:, 1] - outputs[:, 0])
        assert builtin_metric("auroc", 2)(outputs, targets) == pytest.approx(want, abs=1e-6)
    else:
        want = expected("auroc", outputs, targets)
        assert builtin_metric("auroc", 4)(outputs, targets) == pytest.approx(want, abs=1e-6)


def test_auroc_counts_ties_as_half() -> None:
    targets = np.array([0, 1, 0, 1])
    assert builtin_metric("auroc", 1)(np.zeros(4, np.float32), targets) == pytest.approx(0.5)


def test_auroc_is_not_defined_where_only_one_class_occurs() -> None:
    assert np.isnan(builtin_metric("auroc", 3)(np.zeros((4, 3), np.float32), np.ones(4, np.int64)))


def test_a_class_that_does_not_occur_does_not_count_as_missed() -> None:
    targets = labels(3)
    outputs = logits(targets, 4)
    shares = softmax(outputs.astype(np.float64), axis=1)
    want = np.mean([sk.roc_auc_score(targets == c, shares[:, c]) for c in range(3)])
    assert builtin_metric("auroc", 4)(outputs, targets) == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("name", ["mse", "mae", "r2"])
@pytest.mark.parametrize(
    ("outputs_shape", "targets_shape"),
    [((N,), (N,)), ((N, 1), (N,)), ((N,), (N, 1)), ((N, 1), (N, 1)), ((N, 3), (N, 3))],
)
def test_regression_agrees_with_scikit_learn_whatever_the_shape(
    name: str, outputs_shape: tuple[int, ...], targets_shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(3)
    targets = rng.normal(size=targets_shape)
    outputs = (targets.reshape(outputs_shape) + 0.3 * rng.normal(size=outputs_shape)).astype(
        np.float32
    )
    function = {"mse": sk.mean_squared_error, "mae": sk.mean_absolute_error, "r2": sk.r2_score}
    want = function[name](targets, outputs.reshape(targets_shape).astype(np.float64))
    assert builtin_metric(name, 1)(outputs, targets) == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("name", ["mse", "mae"])
def test_regression_takes_integer_targets(name: str) -> None:
    assert builtin_metric(name, 1)(np.zeros((3, 1), np.float32), np.array([1, 1, 4])) == (
        pytest.approx({"mse": 6.0, "mae": 2.0}[name])
    )


@pytest.mark.parametrize("name", ["mse", "mae", "r2"])
def test_a_regression_whose_shapes_do_not_fit_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"output has shape \[4, 2\] and the targets have \[4\]"):
        builtin_metric(name, 2)(np.zeros((4, 2)), np.zeros(4))


@pytest.mark.parametrize("name", ["accuracy", "mse", "mae"])
@pytest.mark.parametrize("width", [None, 1, 3])
def test_the_mean_of_the_scores_of_examples_is_the_metric(name: str, width: int | None) -> None:
    rng = np.random.default_rng(4)
    if name == "accuracy":
        targets = labels(width or 2) if width != 1 else labels(2)
        outputs = rng.normal(size=N if width is None else (N, width)).astype(np.float32)
    else:
        targets = rng.normal(size=(N, 3) if width == 3 else N)
        outputs = rng.normal(size=N if width is None else (N, width)).astype(np.float32)
    scores = per_example_score(name, outputs, targets)
    assert scores.shape == (N,)
    assert scores.dtype == np.float64
    assert scores.mean() == pytest.approx(builtin_metric(name, width or 1)(outputs, targets))
    assert scores.std() > 0


@pytest.mark.parametrize(
    ("outputs", "classes"),
    [
        (np.array([[1.0, 2, 0], [5, 1, 1], [0, 0, 1]]), [1, 0, 2]),
        (np.array([[1.0, 2], [2, 1], [1, 1]]), [1, 0, 0]),
        (np.array([-1.0, 0, 0.1]), [0, 0, 1]),
        (np.array([[-1.0], [0], [0.1]]), [0, 0, 1]),
    ],
)
def test_classes_are_the_largest_logit_or_the_sign_of_a_single_one(
    outputs: Array, classes: list[int]
) -> None:
    assert predicted_classes(outputs).tolist() == classes


def test_two_logits_make_one_score() -> None:
    assert binary_scores(np.array([[1.0, 3], [2, 0]])).tolist() == [2, -2]
    assert binary_scores(np.array([[1.0], [2]])).tolist() == [1, 2]
    assert binary_scores(np.array([1.0, 2])).tolist() == [1, 2]


@pytest.mark.parametrize("name", ["accuracy", "f1"])
def test_a_pass_that_trains_gets_the_metric_of_the_project(name: str, tmp_path: Path) -> None:
    targets = labels(3)
    outputs = logits(targets, 3)
    found = score_outputs(name, None, "classification", outputs, targets, tmp_path)
    assert found == pytest.approx(expected(name, outputs, targets), abs=1e-6)


def test_a_pass_that_trains_gets_the_function_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_score.py").write_text("def largest(o, t):\n    return (o * t).max()\n")
    outputs, targets = np.array([1.0, 2, 3]), np.array([1, 5, 1])
    found = score_outputs("largest", "own_score:largest", "regression", outputs, targets, tmp_path)
    assert found == 10
    with pytest.raises(ConfigError, match=r"metrics \(largest\): 'own_score:largest' raised"):
        score_outputs("largest", "own_score:largest", "regression", outputs, targets[:2], tmp_path)


def test_embeddings_are_scored_against_those_of_the_teacher(tmp_path: Path) -> None:
    teacher = np.random.default_rng(0).normal(size=(20, 6))
    found = score_outputs(
        "cosine_similarity", None, "feature_extraction", -teacher, teacher, tmp_path
    )
    assert found == pytest.approx(-1)


def test_a_metric_that_is_not_defined_on_these_examples_is_nan(tmp_path: Path) -> None:
    outputs, targets = np.zeros((4, 3), np.float32), np.ones(4, np.int64)
    assert np.isnan(score_outputs("auroc", None, "classification", outputs, targets, tmp_path))
