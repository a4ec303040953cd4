"""Each task's metrics, from what models gave to deltas with intervals, flips and verdicts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt import stats
from mlopt.decision.judge import judge_margin
from mlopt.errors import DataError
from mlopt.evaluation.metrics import BUILTIN
from mlopt.report.quality import delta_in_words, largest_loss, margin_in_words
from mlopt.types.plan import Margin

Array = np.ndarray[Any, Any]
Compare = Callable[..., Any]
N, T, C = 60, 7, 3
RNG = np.random.default_rng(0)
_numbers = itertools.count()


def metric(name: str, **changes: Any) -> dict[str, Any]:
    higher = BUILTIN[name].higher_is_better if name in BUILTIN else True
    return {
        "name": name,
        "function": None,
        "higher_is_better": higher,
        "max_drop": None,
        "relative": False,
    } | changes


def tags() -> tuple[Array, Array, Array]:
    """Labels, and the logits of a baseline and of a candidate that answers 3 sentences wrongly."""
    labels = RNG.integers(0, C, (N, T))
    labels[:, 5:] = -100
    baseline = 3 * np.eye(C)[np.maximum(labels, 0)] + RNG.normal(size=(N, T, C))
    candidate = baseline.copy()
    candidate[:3] = -candidate[:3]
    return labels, baseline, candidate


def test_tokens_are_pooled_and_flips_counted_over_the_ones_that_count(run: Compare) -> None:
    labels, baseline, candidate = tags()
    candidate[:, 5:] = -candidate[:, 5:]  # padding, which does not count
    found = run(
        labels,
        metric("token_accuracy"),
        metric("token_f1"),
        task="token_classification",
        fp32=baseline,
        int8=candidate,
    )
    accuracy, f1 = found.metric("int8", 0), found.metric("int8", 1)
    counts = labels != -100
    right = candidate.argmax(axis=2) == labels
    assert accuracy.value == pytest.approx(right[counts].mean())
    assert accuracy.examples == f1.examples == N
    assert accuracy.delta.low < accuracy.delta.value < 0  # type: ignore[operator]
    assert f1.delta.low < f1.delta.value < 0  # type: ignore[operator]
    assert "Tango" in accuracy.method
    assert "influences" in f1.method
    assert accuracy.gained is f1.gained is None
    changed = candidate.argmax(axis=2) != baseline.argmax(axis=2)
    assert found.flip_rate("int8") == pytest.approx(changed[counts].mean())
    assert found.flip_rate("fp32") == 0


def spans() -> tuple[Array, Array, Array]:
    """Spans, logits that find 50 of 60, and logits that lose 4 of these and find 1 more."""
    targets = np.sort(RNG.integers(0, T, (N, 2)), axis=1)

    def pointing(to: Array) -> Array:
        logits = RNG.normal(size=(N, 2, T)).astype(np.float32)
        for end in (0, 1):
            logits[np.arange(N), end, to[:, end]] += 20
        return logits

    other = np.where((targets == 0).all(axis=1, keepdims=True), 1, 0).repeat(2, axis=1)
    missed = np.where(np.arange(N)[:, None] < 50, targets, other)
    now = missed.copy()
    now[:4], now[50] = other[:4], targets[50]
    return targets, pointing(missed), pointing(now)


def test_an_exact_match_is_right_or_wrong_as_a_class_is(run: Compare) -> None:
    targets, baseline, candidate = spans()
    found = run(
        targets,
        metric("exact_match"),
        metric("span_f1"),
        task="question_answering",
        fp32=baseline,
        int8=candidate,
    )
    match, overlap = found.metric("int8", 0), found.metric("int8", 1)
    assert (match.baseline_value, match.value) == (pytest.approx(50 / N), pytest.approx(47 / N))
    assert (match.gained, match.lost) == (1, 4)
    assert (match.delta.low, match.delta.high) == pytest.approx(stats.tango_interval(1, 4, N))
    assert found.metric("fp32").gained == 0
    assert found.flip_rate("int8") == pytest.approx(5 / N)
    assert overlap.value >= match.value
    assert overlap.delta.value == pytest.approx(overlap.value - overlap.baseline_value)
    assert overlap.delta.low < overlap.delta.value < overlap.delta.high  # type: ignore[operator]
    assert (overlap.gained, overlap.lost) == (None, None)


def test_embeddings_are_compared_with_the_baselines_and_need_no_targets(run: Compare) -> None:
    baseline = RNG.normal(size=(N, 16))
    noisy = baseline + 0.1 * RNG.normal(size=baseline.shape)
    found = run(
        None,
        metric("cosine_similarity"),
        task="feature_extraction",
        fp32=baseline,
        int8=noisy,
        same=2 * baseline,
    )
    itself, int8, same = (found.metric(name) for name in ("fp32", "int8", "same"))
    assert itself.value == pytest.approx(1)
    assert 0.98 < int8.value < 1
    assert int8.delta.high < 0  # type: ignore[operator]
    assert int8.delta.value == pytest.approx(int8.value - 1)
    assert same.delta.value == pytest.approx(0)
    assert found.flip_rate("int8") is None


def test_targets_that_embeddings_come_with_are_for_the_users_metric(
    run: Compare, tmp_path: Path
) -> None:
    module = f"retrieval_{next(_numbers)}"
    (tmp_path / f"{module}.py").write_text(
        "def norm(outputs, targets):\n    return abs(outputs - targets[:, None]).max()\n"
    )
    baseline = RNG.normal(size=(N, 4))
    found = run(
        np.zeros(N),
        metric("norm", function=f"{module}:norm"),
        metric("cosine_similarity"),
        task="feature_extraction",
        fp32=baseline,
        int8=baseline + 1,
    )
    assert found.metric("fp32", 0).value == pytest.approx(abs(baseline).max())
    assert found.metric("fp32", 1).value == pytest.approx(1)


def test_a_users_metric_of_embeddings_without_targets_gets_the_baselines(
    run: Compare, tmp_path: Path
) -> None:
    module = f"distance_{next(_numbers)}"
    (tmp_path / f"{module}.py").write_text(
        "def far(outputs, targets):\n    return abs(outputs - targets).max()\n"
    )
    found = run(
        None,
        metric("far", function=f"{module}:far", higher_is_better=False),
        task="feature_extraction",
        fp32=np.zeros((N, 4)),
        int8=np.full((N, 4), 0.5),
    )
    assert (found.metric("fp32").value, found.metric("int8").value) == (0, 0.5)


@pytest.mark.parametrize("task", ["classification", "token_classification", "question_answering"])
def test_other_tasks_need_targets(run: Compare, task: str) -> None:
    with pytest.raises(DataError, match=r"data\.selection has no targets"):
        run(None, metric("accuracy"), task=task, fp32=np.zeros((N, 2, T)))


RELATIVE = [
    # A metric, a share of its baseline, how much noise the candidate adds, and what follows.
    ("r2", 0.05, 0.01, "PASS"),
    ("r2", 0.05, 0.6, "FAIL"),
    ("mae", 0.05, 0.005, "PASS"),
    ("mae", 0.05, 0.6, "FAIL"),
    ("mse", 0.05, 0.001, "PASS"),
    ("mse", 0.05, 0.6, "FAIL"),
]


@pytest.mark.parametrize(("name", "share", "noise", "outcome"), RELATIVE)
def test_a_relative_margin_of_a_regression_is_judged_in_units_of_the_metric(
    run: Compare, name: str, share: float, noise: float, outcome: str
) -> None:
    rng = np.random.default_rng(1)
    truth = 100 * rng.normal(size=300)
    baseline = truth + 40 * rng.normal(size=300)
    candidate = baseline + 100 * noise * rng.normal(size=300)
    found = run(
        truth,
        metric(name, max_drop=share, relative=True),
        task="regression",
        fp32=baseline,
        int8=candidate,
    )
    result = found.metric("int8")
    assert result.max_drop == pytest.approx(share * result.baseline_value)
    verdict = judge_margin(result)
    assert verdict.outcome == outcome
    direction = "drops" if name == "r2" else "rises"
    assert verdict.line == f"{name} {direction} by less than {result.max_drop:.4g}"
    margin = Margin(metric=name, higher_is_better=name == "r2", max_drop=share, relative=True)
    assert largest_loss(margin, result.baseline_value) == pytest.approx(result.max_drop)
    words = margin_in_words(margin, None, False, result.baseline_value)  # type: ignore[arg-type]
    assert (
        f"may {'drop' if name == 'r2' else 'rise'} by at most 5% of the baseline's value" in words
    )
    assert f"that is {result.max_drop:.3g}" in words
    assert ("lower is better" in delta_in_words(result, False)) == (name != "r2")


def test_a_relative_margin_of_a_negative_r2_is_a_loss_all_the_same(run: Compare) -> None:
    truth = np.random.default_rng(2).normal(size=200)
    found = run(
        truth,
        metric("r2", max_drop=0.1, relative=True),
        task="regression",
        fp32=-truth,
        int8=-truth,
    )
    result = found.metric("int8")
    assert result.baseline_value == pytest.approx(-3, abs=0.1)
    assert result.max_drop == pytest.approx(0.1 * abs(result.baseline_value))
