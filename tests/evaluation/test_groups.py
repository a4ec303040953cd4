"""Examples that belong together count as one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt.evaluation.deltas import change_of
from mlopt.evaluation.metrics import BUILTIN, builtin_metric
from mlopt.evaluation.pairs import Pair

Array = np.ndarray[Any, Any]
N, COPIES = 150, 10
_numbers = itertools.count()


def answers(task: str) -> Pair:
    """A candidate that answers a little worse."""
    rng = np.random.default_rng(0)
    if task == "regression":
        truth = rng.normal(size=N)
        before = truth + rng.normal(size=N)
        return Pair(before + 0.1 + 0.3 * rng.normal(size=N), before, truth)
    if task == "feature_extraction":
        before = rng.normal(size=(N, 8))
        return Pair(before + 0.2 * rng.normal(size=before.shape), before, before)
    if task == "question_answering":
        truth = np.sort(rng.integers(0, 6, (N, 2)), axis=1)
        before = rng.normal(size=(N, 2, 6)) + 3 * np.eye(6)[truth]
        return Pair(before + rng.normal(size=before.shape), before, truth)
    width = (N, 5) if task == "token_classification" else (N,)
    truth = rng.integers(0, 3, width)
    before = rng.normal(size=(*width, 3)) + 2 * np.eye(3)[truth]
    return Pair(before + 0.5 * rng.normal(size=before.shape), before, truth)


def tenfold(pair: Pair) -> Pair:
    rows = np.random.default_rng(1).permutation(np.arange(N).repeat(COPIES))
    return pair._replace(groups=np.arange(N)).part(rows)


def width(name: str, pair: Pair) -> float:
    metric = builtin_metric(name, pair.classes)
    change = metric(pair.candidate, pair.targets) - metric(pair.baseline, pair.targets)
    delta = change_of(name, None, pair, change, seed=0).delta
    assert delta.low is not None
    assert delta.high is not None
    return delta.high - delta.low


@pytest.mark.parametrize("name", list(BUILTIN))
def test_copies_of_examples_in_a_group_show_no_more_than_the_examples(name: str) -> None:
    pair = answers(BUILTIN[name].task)
    if name == "auroc":  # of two classes, for speed
        pair = Pair(*(a[:, :2] for a in pair[:2]), np.minimum(pair.targets, 1))
    copied = tenfold(pair)
    assert width(name, copied) == pytest.approx(width(name, pair), rel=0.12)
    assert width(name, copied._replace(groups=None)) < 0.6 * width(name, pair)


def test_a_group_of_one_is_an_example() -> None:
    pair = answers("classification")
    alone = change_of("accuracy", None, pair, 0.0, seed=0)
    grouped = change_of("accuracy", None, pair._replace(groups=np.arange(N)), 0.0, seed=0)
    assert (grouped.gained, grouped.lost) == (alone.gained, alone.lost)
    assert grouped.delta.low == pytest.approx(alone.delta.low, rel=0.05)
    assert grouped.p_value == pytest.approx(alone.p_value, rel=0.1)
    assert "150 groups" in grouped.method


def test_a_users_metric_draws_whole_groups() -> None:
    pair = answers("regression")

    def error(outputs: Array, targets: Array) -> float:
        return float(abs(outputs - targets).mean())

    def interval(pair: Pair) -> float:
        change = error(pair.candidate, pair.targets) - error(pair.baseline, pair.targets)
        delta = change_of("error", error, pair, change, seed=0).delta
        assert delta.low is not None
        assert delta.high is not None
        return delta.high - delta.low

    assert interval(tenfold(pair)) == pytest.approx(interval(pair), rel=0.15)


def test_groups_of_the_users_widen_the_interval_and_are_named(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    module = f"clips_{next(_numbers)}"
    (tmp_path / f"{module}.py").write_text(
        "def clip(inputs, targets):\n    return [f'clip {n // 10}' for n in inputs['x']]\n"
    )
    truth = np.zeros(200, dtype=np.int64)
    before = np.eye(2)[truth]
    after = before[:, ::-1][np.arange(200)].copy()
    after[20:] = before[20:]  # the first two clips are lost
    request = {
        "name": "accuracy", "function": None, "higher_is_better": True, "max_drop": None,
        "relative": False,
    }  # fmt: skip
    alone = run(truth, request, fp32=before, int8=after).metric("int8")
    clips = run(truth, request, groups=f"{module}:clip", fp32=before, int8=after).metric("int8")
    assert (alone.units, clips.units) == (None, 20)
    assert clips.delta.value == alone.delta.value == -0.1
    assert clips.delta.low < alone.delta.low < -0.1  # type: ignore[operator]
    assert clips.p_value > 0.3 > 1e-4 > alone.p_value
    assert (clips.gained, clips.lost) == (0, 20)
