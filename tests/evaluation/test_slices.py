"""Each part of the examples by itself: what lost is found, and what did not is left alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt import stats
from mlopt.evaluation.metrics import builtin_metric
from mlopt.evaluation.pairs import Pair
from mlopt.evaluation.slices import Deciding, slice_results

Array = np.ndarray[Any, Any]
CLASSES, EACH = 10, 60
TRUTH = np.arange(CLASSES * EACH) % CLASSES
ACCURACY = Deciding("accuracy", None, higher_is_better=True)
_numbers = itertools.count()


def logits(classes: Array) -> Array:
    return np.eye(CLASSES)[classes]


def wrong(rng: np.random.Generator) -> Array:
    return (TRUTH + rng.integers(1, CLASSES, len(TRUTH))) % CLASSES


def noisy_pair(rng: np.random.Generator, turnover: float, lost_of_3: float = 0.0) -> Pair:
    """Answers that are right in 90%, of which the candidate loses as many as it gains.

    Args:
        turnover: Share of all examples that turn either way.
        lost_of_3: Share of class 3 that is lost besides.
    """
    right = rng.random(len(TRUTH)) < 0.9
    turned = np.where(right, turnover / 2 / 0.9, turnover / 2 / 0.1)
    now = right ^ (rng.random(len(TRUTH)) < turned)
    now &= ~((TRUTH == 3) & (rng.random(len(TRUTH)) < lost_of_3))
    other = wrong(rng)
    return Pair(*(logits(np.where(hit, TRUTH, other)) for hit in (now, right)), TRUTH)


def test_a_class_that_lost_is_found_and_stands_first() -> None:
    pair = noisy_pair(np.random.default_rng(0), 0.02, lost_of_3=0.3)
    first, second, *rest = slice_results(ACCURACY, pair, "classification", {}, seed=0)
    assert first.name == "class 3"
    assert first.examples == EACH
    assert first.p_value < 0.01 < 0.2 < second.p_value
    assert first.delta.high is not None
    assert 0 < first.least_loss < -first.delta.high
    assert first.value - first.baseline_value == pytest.approx(first.delta.value)
    assert len(rest) == CLASSES - 2
    assert [part.p_value for part in rest] == sorted(part.p_value for part in rest)
    assert all(part.least_loss == 0 for part in (second, *rest))


def test_accuracy_of_a_class_is_its_recall_with_tangos_interval_and_mcnemars_test() -> None:
    pair = noisy_pair(np.random.default_rng(1), 0.2)
    parts = slice_results(ACCURACY, pair, "classification", {}, seed=0)
    raw = {}
    for part in parts:
        rows = int(part.name.removeprefix("class ")) == TRUTH
        now, before = (answers[rows].argmax(axis=1) == TRUTH[rows] for answers in pair[:2])
        gained, lost = int((now & ~before).sum()), int((before & ~now).sum())
        assert part.value == pytest.approx(now.mean())
        assert (part.delta.low, part.delta.high) == stats.tango_interval(gained, lost, EACH)
        raw[part.name] = stats.mcnemar_one_sided(gained, lost)
    assert stats.holm(list(raw.values())) == tuple(
        next(part.p_value for part in parts if part.name == name) for name in raw
    )


@pytest.mark.parametrize("turnover", [0.02, 0.15])
def test_where_no_class_lost_few_candidates_are_accused(turnover: float) -> None:
    rng = np.random.default_rng(2)
    runs = 150
    accused = sum(
        slice_results(ACCURACY, noisy_pair(rng, turnover), "classification", {}, 0)[0].p_value
        < 0.05
        for _ in range(runs)
    )
    assert accused / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5


def test_where_each_class_lost_as_much_as_it_may_few_are_surely_worse() -> None:
    rng = np.random.default_rng(3)
    runs, beyond = 150, 0
    for _ in range(runs):
        right = rng.random(len(TRUTH)) < 0.9
        now = right & ~(rng.random(len(TRUTH)) < 0.1 / 0.9)  # each class loses 10 points
        other = wrong(rng)
        pair = Pair(*(logits(np.where(hit, TRUTH, other)) for hit in (now, right)), TRUTH)
        parts = slice_results(ACCURACY, pair, "classification", {}, 0)
        beyond += max(part.least_loss for part in parts) > 0.1
    assert beyond / runs <= 0.025 + 2 * (0.025 * 0.975 / runs) ** 0.5


@pytest.mark.parametrize(
    ("name", "task", "shown"),
    [
        ("f1", "classification", "accuracy"),
        ("auroc", "classification", "accuracy"),
        ("token_f1", "token_classification", "token_accuracy"),
        ("token_accuracy", "token_classification", "token_accuracy"),
        ("span_f1", "question_answering", "span_f1"),
        ("exact_match", "question_answering", "exact_match"),
        ("r2", "regression", "mse"),
        ("mae", "regression", "mae"),
        ("cosine_similarity", "feature_extraction", "cosine_similarity"),
    ],
)
def test_a_metric_that_says_nothing_of_a_part_gives_way_to_one_that_does(
    name: str, task: Any, shown: str
) -> None:
    rng = np.random.default_rng(4)
    targets: Array = rng.integers(0, 3, {"token_classification": (80, 4)}.get(task, (80,)))
    answers = rng.normal(size=(2, *targets.shape, 3))
    if task == "question_answering":
        targets, answers = (
            np.sort(rng.integers(0, 3, (80, 2)), axis=1),
            answers.reshape(2, 40, 2, 3),
        )
        answers = np.concatenate([answers, answers + 1], axis=1)
    if task == "regression":
        answers = answers[..., 0]
    if task == "feature_extraction":
        targets = answers[1]
    half = np.arange(80) < 40
    deciding = Deciding(name, None, higher_is_better=name not in {"mae"})
    found = slice_results(deciding, Pair(*answers, targets), task, {"half": half}, seed=0)
    assert {part.metric for part in found} == {shown}
    classes = 3 if task.endswith("classification") else 0
    assert len(found) == classes + 1
    part = next(part for part in found if part.name == "half")
    assert part.examples == 40
    metric = builtin_metric(shown, 3)
    assert part.value == pytest.approx(metric(answers[0][half], targets[half]))
    assert part.delta.value == pytest.approx(part.value - part.baseline_value)


def test_a_class_of_tokens_has_its_own_tokens_only() -> None:
    labels = np.array([[0, 1, 1, -100], [0, 0, 0, 0], [1, 0, -100, -100]])
    before = np.eye(2)[np.maximum(labels, 0)]
    after = before.copy()
    after[0, 1] = after[0, 1, ::-1]
    deciding = Deciding("token_accuracy", None, higher_is_better=True)
    found = slice_results(deciding, Pair(after, before, labels), "token_classification", {}, 0)
    by_name = {part.name: part for part in found}
    assert by_name["class 1"].value == pytest.approx(2 / 3)
    assert by_name["class 0"].value == 1
    assert by_name["class 1"].examples == 2


def test_an_error_that_rises_in_a_slice_is_a_loss() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(size=200)
    before = truth + rng.normal(size=200)
    worse = np.arange(200) < 80
    after = before + np.where(worse, 1.0, 0.0) * np.sign(before - truth)
    masks = {"same": ~worse, "worse": worse}
    deciding = Deciding("mae", None, higher_is_better=False)
    first, second = slice_results(deciding, Pair(after, before, truth), "regression", masks, 0)
    assert (first.name, second.name) == ("worse", "same")
    assert first.least_loss == pytest.approx(1.0)
    assert first.p_value < 1e-6
    assert (second.p_value, second.least_loss) == (1, 0)


def test_two_examples_prove_nothing_however_alike_they_are() -> None:
    truth = np.zeros(2)
    deciding = Deciding("mae", None, higher_is_better=False)
    pair = Pair(np.full(2, 9.0), np.ones(2), truth)
    found = slice_results(deciding, pair, "regression", {"both": truth == 0}, 0)
    assert (found[0].p_value, found[0].least_loss) == (0.25, 0)


def test_groups_count_once_in_a_slice_too() -> None:
    pair = noisy_pair(np.random.default_rng(6), 0.02, lost_of_3=0.3)
    groups = np.where(TRUTH == 3, 0, np.arange(len(TRUTH)))  # class 3 is one clip
    alone = slice_results(ACCURACY, pair, "classification", {}, seed=0)[0]
    found = slice_results(ACCURACY, pair._replace(groups=groups), "classification", {}, seed=0)
    grouped = next(part for part in found if part.name == "class 3")
    assert grouped.delta.value == pytest.approx(alone.delta.value)
    assert alone.p_value < 0.01 < 0.5 <= grouped.p_value


def user_module(tmp_path: Path, text: str) -> str:
    name = f"parts_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(text)
    return name


def test_a_users_metric_of_a_regression_is_called_on_each_slice_that_it_is_defined_on(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    module = user_module(
        tmp_path,
        "def far(outputs, targets):\n"
        "    if len(targets) < 30:\n"
        "        raise ValueError('too few')\n"
        "    return abs(outputs - targets).max()\n"
        "def early(inputs, targets):\n"
        "    return inputs['x'] < 50\n"
        "def few(inputs, targets):\n"
        "    return inputs['x'] < 5\n",
    )
    rng = np.random.default_rng(7)
    request = {
        "name": "far", "function": f"{module}:far", "higher_is_better": False, "max_drop": None,
        "relative": False,
    }  # fmt: skip
    found = run(
        np.zeros(100),
        request,
        task="regression",
        slices={"few": f"{module}:few", "early": f"{module}:early"},
        fp32=rng.normal(size=100),
        int8=rng.normal(size=100),
    )
    assert [(part.name, part.metric) for part in found.slices("int8")] == [("early", "far")]
    assert found.slices("fp32") == []


def test_broken_predictions_were_right_and_became_wrong(run: Callable[..., Any]) -> None:
    before = np.where(np.arange(600) < 500, TRUTH, (TRUTH + 1) % CLASSES)
    now = before.copy()
    now[:30] = (TRUTH[:30] + 1) % CLASSES  # broken
    now[500:520] = TRUTH[500:520]  # mended
    now[520:560] = (TRUTH[520:560] + 2) % CLASSES  # wrong before and after
    request = {
        "name": "accuracy", "function": None, "higher_is_better": True, "max_drop": None,
        "relative": False,
    }  # fmt: skip
    found = run(TRUTH, request, fp32=logits(before), int8=logits(now))
    assert found.flip_rate("int8") == pytest.approx(90 / 600)
    assert found.found["int8"]["broken_rate"] == pytest.approx(30 / 600)
    assert found.found["fp32"]["broken_rate"] == 0
    assert found.metric("int8").p_value == pytest.approx(stats.mcnemar_exact(20, 30))
    assert found.metric("fp32").p_value == 1
