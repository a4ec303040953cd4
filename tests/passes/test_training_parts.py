"""The validation part, the choice of the epoch, the schedule, and what the user sees."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mlopt.passes._training.carve import carve
from mlopt.passes._training.history import EpochResult, best_epoch, out_of_patience
from mlopt.passes._training.optimizer import rate_factor
from mlopt.passes._training.options import TrainingOptions
from mlopt.passes._training.progress import Progress


def hashes(*content: int) -> np.ndarray:
    return np.array([int(c).to_bytes(16, "big") for c in content], dtype="V16")


def test_a_share_is_set_aside_and_the_rest_is_trained_on() -> None:
    parts = carve(hashes(*range(100)), None, 0.1, seed=0)

    assert len(parts.validation) == 10
    assert sorted([*parts.training, *parts.validation]) == list(range(100))


def test_each_class_gives_its_share() -> None:
    labels = np.repeat([0, 1, 2], [200, 80, 20])

    parts = carve(hashes(*range(300)), labels, 0.1, seed=0)

    assert Counter(labels[parts.validation].tolist()) == {0: 20, 1: 8, 2: 2}


def test_each_range_of_a_regression_gives_its_share() -> None:
    targets = np.random.default_rng(0).permutation(100).astype(np.float32)

    parts = carve(hashes(*range(100)), targets, 0.2, seed=0)

    assert Counter((targets[parts.validation] // 25).tolist()) == {0: 5, 1: 5, 2: 5, 3: 5}


@pytest.mark.parametrize("seed", range(5))
def test_exact_duplicates_stay_on_one_side(seed: int) -> None:
    content = np.random.default_rng(seed).integers(0, 20, 100)

    parts = carve(hashes(*content), content % 2, 0.3, seed)

    assert set(content[parts.training]) & set(content[parts.validation]) == set()
    assert len(set(content[parts.validation])) == round(0.3 * len(set(content)))


def test_the_seed_decides_which_examples_are_set_aside() -> None:
    parts = [carve(hashes(*range(100)), None, 0.1, seed).validation.tolist() for seed in (0, 0, 1)]

    assert parts[0] == parts[1] != parts[2]


def test_something_is_left_to_train_on_and_nothing_is_set_aside_unasked() -> None:
    assert len(carve(hashes(1, 2), None, 0.01, 0).training) == 1
    assert len(carve(hashes(1), None, 0.5, 0).training) == 1
    assert len(carve(hashes(*range(9)), None, 0.0, 0).validation) == 0


def result(epoch: int, score: float | None, loss: float | None = 1.0) -> EpochResult:
    return EpochResult(
        epoch=epoch, loss=0.1, validation_loss=loss, validation_score=score, learning_rate=0.1
    )


@pytest.mark.parametrize(
    ("results", "higher", "best"),
    [
        ([result(0, 0.5), result(1, 0.7), result(2, 0.6)], True, 1),
        ([result(0, 0.5), result(1, 0.7), result(2, 0.6)], False, 0),
        ([result(0, 0.9, 0.3), result(1, 0.9, 0.2), result(2, 0.9, 0.2)], True, 1),
        ([result(0, None, 0.3), result(1, None, 0.2), result(2, None, 0.4)], True, 1),
        ([result(0, 0.5), result(1, None), result(2, 0.4)], True, 0),
        ([result(0, 0.5, 0.3), result(1, 0.5, None)], True, 0),
        ([result(0, None, None), result(1, None, None)], True, 1),
    ],
    ids=[
        "the highest",
        "the lowest where less is better",
        "the lowest loss among equals, then the earliest",
        "the lowest loss without a score",
        "a score before none",
        "a loss before none",
        "the last where nothing was validated",
    ],
)
def test_the_best_epoch_is(results: list[EpochResult], higher: bool, best: int) -> None:
    assert best_epoch(results, higher) == best


def test_patience_ends_when_epochs_bring_nothing_better() -> None:
    scores = [0.5, 0.7, 0.6, 0.7, 0.6]
    trained = [result(i + 1, score) for i, score in enumerate(scores)]
    stops = [out_of_patience(trained[:n], True, 3) for n in range(1, 6)]

    assert stops == [False, False, False, False, True]
    assert not out_of_patience(trained, True, None)


def test_a_cosine_rises_and_falls_to_0() -> None:
    options = TrainingOptions(warmup=0.1)
    factors = [rate_factor(step, 100, options) for step in range(100)]

    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] < 0.001


def test_a_constant_rate_stays() -> None:
    options = TrainingOptions(schedule="constant")

    assert {rate_factor(step, 100, options) for step in range(100)} == {1.0}


class Clock:
    """Shows what it is set to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_speaks_once_a_second_and_after_each_epoch_and_says_what_is_left() -> None:
    clock = Clock()
    said: list[tuple[str, float]] = []
    progress = Progress(lambda *m: said.append(m), 4, 10, "accuracy", clock)

    for step in range(1, 11):
        clock.now = step * 0.25
        progress.step(1, step, 0.5)
    clock.now = 3.0
    progress.epoch(result(1, 0.972))

    assert said == [
        ("epoch 1 of 4: loss 0.5, 9 s left", 0.1),
        ("epoch 1 of 4: loss 0.5, 8 s left", 0.2),
        ("epoch 1 of 4: loss 0.1, validation accuracy 97.2%, 9 s left", 0.25),
    ]


def test_the_time_that_is_left_counts_from_where_a_resumed_training_goes_on() -> None:
    clock = Clock()
    said: list[str] = []
    progress = Progress(lambda m, _: said.append(m), 4, 10, "r2", clock)

    progress.resume(result(2, 0.5))
    clock.now = 200.0
    progress.epoch(result(3, 0.6124))

    assert said == [
        "going on after epoch 2 of 4",
        "epoch 3 of 4: loss 0.1, validation r2 0.612, 3 min left",
    ]
