"""The weighted forms of metrics against torchmetrics and scikit-learn on resampled examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional.regression import r2_score

from mlopt import stats
from mlopt.evaluation.metrics import BUILTIN, builtin_metric
from mlopt.evaluation.resampled import weighted_metric

Array = np.ndarray[Any, Any]
N = 60
SHAPES = [(N,), (N, 1), (N, 2), (N, 3), (N, 7)]


def drawn(rows: int = 40, n: int = N) -> Array:
    """Indices of resamples, shape (rows, n); the last one leaves out the first half."""
    draws = np.random.default_rng(5).integers(n, size=(rows, n))
    draws[-1] = np.arange(n // 2, n).repeat(2)[:n]
    return draws


def weights_of(draws: Array, n: int = N) -> Array:
    return np.array([np.bincount(draw, minlength=n) for draw in draws], dtype=np.float64)


def answers(shape: tuple[int, ...], ties: bool) -> tuple[Array, Array, int]:
    """Outputs, targets and the width of the output."""
    rng = np.random.default_rng(6)
    width = shape[1] if len(shape) > 1 else 1
    targets = rng.integers(0, max(width, 2), N)
    outputs = rng.normal(size=shape).astype(np.float32)
    if width == 1:
        outputs += (targets - 0.5).reshape(shape).astype(np.float32)
    else:
        outputs[np.arange(N), targets] += 1
    return np.round(outputs) if ties else outputs, targets, width


def torchmetrics_r2(outputs: Array, targets: Array) -> float:
    shape = (len(targets), -1)
    pair = (
        torch.from_numpy(array.astype(np.float64)).reshape(shape) for array in (outputs, targets)
    )
    return float(r2_score(*pair))


def on_resamples(
    name: str, outputs: Array, targets: Array, width: int, draws: Array
) -> list[float]:
    """What torchmetrics makes of the resampled examples."""
    metric = builtin_metric(name, width) if name == "auroc" else torchmetrics_r2
    return [metric(outputs[draw], targets[draw]) for draw in draws]


def test_every_metric_that_is_no_sum_over_examples_has_a_weighted_form() -> None:
    outputs, targets = np.zeros((4, 1)), np.array([0, 1, 0, 1])
    for name, metric in BUILTIN.items():
        if not metric.per_example and metric.outcome == "other" and not name.endswith("f1"):
            assert weighted_metric(name, outputs, targets, 1)(np.ones((3, 4))).shape == (3,)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ties", [False, True])
def test_weights_are_the_same_as_repeated_examples(shape: tuple[int, ...], ties: bool) -> None:
    outputs, targets, width = answers(shape, ties)
    draws = drawn()
    found = weighted_metric("auroc", outputs, targets, width)(weights_of(draws))
    want = on_resamples("auroc", outputs, targets, width, draws)
    assert found == pytest.approx(np.array(want), abs=2e-6)
    assert np.std(found) > 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.bool_])
def test_targets_may_be_of_any_integer_type(dtype: Any) -> None:
    outputs, targets, width = answers((N, 2), ties=False)
    weights = weights_of(drawn())
    found = weighted_metric("auroc", outputs, targets.astype(dtype), width)(weights)
    assert found.tolist() == weighted_metric("auroc", outputs, targets, width)(weights).tolist()


def test_fractional_weights_agree_with_scikit_learn() -> None:
    outputs, targets, width = answers((N, 2), ties=True)
    weights = np.random.default_rng(7).uniform(0.1, 3, size=(5, N))
    scores = outputs[:, 1] - outputs[:, 0]
    auroc = [sk.roc_auc_score(targets, scores, sample_weight=w) for w in weights]
    assert weighted_metric("auroc", outputs, targets, width)(weights) == pytest.approx(auroc)


def test_a_class_that_is_absent_from_a_resample_is_left_out_of_the_mean() -> None:
    outputs, targets, width = answers((N, 3), ties=False)
    outputs[:, 2] -= 5  # nor is it predicted
    rare = np.where(targets == 2, 0, targets)
    rare[:2] = 2
    draws = drawn()
    absent = [2 not in rare[draw] for draw in draws]
    assert 0 < sum(absent) < len(draws)
    found = weighted_metric("auroc", outputs, rare, width)(weights_of(draws))
    assert found == pytest.approx(
        np.array(on_resamples("auroc", outputs, rare, width, draws)), abs=2e-6
    )


def test_a_class_that_never_occurs_is_left_out_of_the_mean() -> None:
    outputs, targets, width = answers((N, 7), ties=False)
    targets = targets % 4  # three are predicted, and never true
    draws = drawn()
    found = weighted_metric("auroc", outputs, targets, width)(weights_of(draws))
    assert found == pytest.approx(
        np.array(on_resamples("auroc", outputs, targets, width, draws)), abs=2e-6
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("only", [0, 1])
def test_auroc_is_nan_only_on_resamples_of_one_class(shape: tuple[int, ...], only: int) -> None:
    outputs, targets, width = answers(shape, ties=False)
    weights = np.vstack([targets == only, np.ones(N)]).astype(np.float64)
    found = weighted_metric("auroc", outputs, targets, width)(weights)
    assert np.isnan(found).tolist() == [True, False]


def test_auroc_ranks_confident_answers_too() -> None:
    outputs, targets, width = answers((N, 3), ties=False)
    outputs[:, -1] += 40
    draws = drawn(10)
    found = weighted_metric("auroc", outputs, targets, width)(weights_of(draws))
    want = on_resamples("auroc", outputs, targets, width, draws)
    assert found == pytest.approx(np.array(want), abs=2e-6)


@pytest.mark.parametrize(
    ("outputs_shape", "targets_shape"),
    [((N,), (N,)), ((N, 1), (N,)), ((N,), (N, 1)), ((N, 1), (N, 1)), ((N, 3), (N, 3))],
)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_r2_of_weights_is_that_of_repeated_examples(
    outputs_shape: tuple[int, ...], targets_shape: tuple[int, ...], offset: float
) -> None:
    rng = np.random.default_rng(8)
    targets = rng.normal(size=targets_shape) + offset
    outputs = targets.reshape(outputs_shape) + 0.3 * rng.normal(size=outputs_shape)
    draws = drawn()
    found = weighted_metric("r2", outputs, targets, 1)(weights_of(draws))
    assert found == pytest.approx(
        np.array(on_resamples("r2", outputs, targets, 1, draws)), abs=1e-8
    )


def test_r2_of_equal_targets_is_0_and_of_perfect_answers_1_as_in_torchmetrics() -> None:
    targets = np.array([1.0, 1, 2, 5])
    outputs = np.array([1.5, 1, 2, 5])
    draws = np.array([[0, 1, 0, 1], [2, 3, 2, 3], [1, 1, 1, 1]])
    found = weighted_metric("r2", outputs, targets, 1)(weights_of(draws, 4))
    assert found.tolist() == on_resamples("r2", outputs, targets, 1, draws) == [0, 1, 1]


def test_r2_of_a_single_example_is_nan() -> None:
    found = weighted_metric("r2", np.zeros(2), np.array([1.0, 2]), 1)(np.array([[1.0, 0], [1, 1]]))
    assert np.isnan(found).tolist() == [True, False]


@pytest.mark.parametrize("width", [1, 5])
def test_the_interval_is_that_of_torchmetrics_with_the_same_seed(width: int) -> None:
    n = 250
    rng = np.random.default_rng(9)
    targets = rng.integers(0, max(width, 2), n)
    baseline = rng.normal(size=(n, width))
    baseline[np.arange(n), np.minimum(targets, width - 1)] += 2 * targets - 1 if width == 1 else 1
    candidate = baseline + 0.3 * rng.normal(size=(n, width))
    metric = builtin_metric("auroc", width)
    slow = stats.bootstrap_delta(
        lambda i: metric(candidate[i], targets[i]) - metric(baseline[i], targets[i]),
        n,
        seed=3,
        resamples=300,
    )
    now, before = (
        weighted_metric("auroc", outputs, targets, width) for outputs in (candidate, baseline)
    )
    fast = stats.weighted_delta(lambda w: now(w) - before(w), n, seed=3, resamples=300)
    assert (fast.value, fast.low, fast.high) == pytest.approx(
        (slow.value, slow.low, slow.high), abs=1e-6
    )
