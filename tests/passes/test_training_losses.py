"""What training makes small, against the formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlopt.passes._training.answers import answer_of
from mlopt.passes._training.losses import (
    Objective,
    binary_cross_entropy,
    cross_entropy,
    softened_bernoulli_divergence,
    softened_divergence,
)
from mlopt.types.task import Task

RNG = np.random.default_rng(0)


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def logits(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape) * 3


def objective(task: Task, alpha: float = 0.0, scale: float | list[float] = 1.0) -> Objective:
    return Objective(task, alpha, 2.0, 0.0, torch.tensor(scale))


def value(loss: torch.Tensor) -> float:
    return float(loss)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_softened_loss_is_the_divergence_from_the_teacher_times_the_square_of_temperature(
    temperature: float,
) -> None:
    student, teacher = logits(6, 3), logits(6, 3)
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    expected = temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()

    found = softened_divergence(tensor(student), tensor(teacher), temperature)

    assert value(found) == pytest.approx(expected)


def test_a_single_logit_is_compared_as_two_classes_of_which_one_has_the_logit_0() -> None:
    student, teacher = logits(6, 1), logits(6, 1)
    p, q = 1 / (1 + np.exp(-teacher / 2)), 1 / (1 + np.exp(-student / 2))
    expected = 4 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean()

    found = softened_bernoulli_divergence(tensor(student), tensor(teacher), 2.0)

    assert value(found) == pytest.approx(expected)


def test_teacher_and_labels_share_the_loss_by_alpha() -> None:
    outputs, taught, labels = logits(6, 3), logits(6, 3), np.array([0, 1, 2, 0, 1, 2])
    arguments = tensor(outputs), tensor(labels), tensor(taught)
    of_labels = -np.log(softmax(outputs))[np.arange(6), labels].mean()
    of_teacher = value(softened_divergence(tensor(outputs), tensor(taught), 2.0))

    found = value(objective("classification", alpha=0.3).loss(*arguments))

    assert found == pytest.approx(0.3 * of_teacher + 0.7 * of_labels)
    assert value(objective("classification", alpha=1.0).loss(*arguments)) == pytest.approx(
        of_teacher
    )


def test_label_smoothing_gives_a_share_of_the_label_to_all_classes() -> None:
    outputs, labels = logits(6, 3), np.array([0, 1, 2, 0, 1, 2])
    wanted = np.full((6, 3), 0.1)
    wanted[np.arange(6), labels] += 0.7
    expected = -(wanted * np.log(softmax(outputs))).sum(axis=1).mean()

    assert value(cross_entropy(tensor(outputs), tensor(labels), 0.3)) == pytest.approx(expected)


def test_label_smoothing_gives_nothing_to_padding() -> None:
    start, end, truth = logits(2, 4), logits(2, 4), np.array([[0, 2], [1, 1]])
    padded = [np.concatenate([z, logits(2, 2)], axis=1) for z in (start, end)]
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]] * 2)
    whole, cut = (
        answer_of("question_answering", {"start": tensor(s), "end": tensor(e)}, inputs)
        for s, e, inputs in ((*padded, {"attention_mask": mask}), (start, end, {}))
    )

    found = cross_entropy(whole.requires_grad_(), tensor(truth), 0.3)
    found.backward()

    assert value(found.detach()) == pytest.approx(
        value(cross_entropy(cut, tensor(truth), 0.3)), rel=1e-5
    )
    assert whole.grad is not None
    assert whole.grad[:, :, 4:].abs().max() == 0


def test_label_smoothing_of_a_single_logit_is_that_of_two_classes() -> None:
    outputs, labels = logits(6, 1), np.array([0, 1, 1, 0, 1, 0])
    both = np.concatenate([np.zeros((6, 1)), outputs], axis=1)

    assert value(binary_cross_entropy(tensor(outputs), tensor(labels), 0.3)) == pytest.approx(
        value(cross_entropy(tensor(both), tensor(labels), 0.3))
    )


def test_tokens_without_a_label_count_neither_against_the_labels_nor_against_the_teacher() -> None:
    outputs, taught = logits(2, 3, 4), logits(2, 3, 4)
    labels = np.array([[1, -100, 3], [-100, 0, -100]])
    kept = labels != -100
    of_labels = -np.log(softmax(outputs[kept]))[np.arange(3), labels[kept]].mean()
    of_teacher = value(softened_divergence(tensor(outputs[kept]), tensor(taught[kept]), 2.0))

    found = objective("token_classification", alpha=0.5).loss(
        tensor(outputs), tensor(labels), tensor(taught)
    )

    assert value(found) == pytest.approx((of_labels + of_teacher) / 2)


def test_without_labels_padding_does_not_count_against_the_teacher() -> None:
    outputs, taught = tensor(logits(2, 3, 4)), tensor(logits(2, 3, 4))
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    kept = mask != 0

    found = objective("token_classification", alpha=1.0).loss(outputs, None, taught, mask)

    assert value(found) == pytest.approx(value(softened_divergence(outputs[kept], taught[kept], 2)))


def test_a_batch_in_which_no_token_counts_has_no_loss() -> None:
    nothing = torch.full((2, 3), -100)
    found = objective("token_classification", alpha=0.5).loss(
        tensor(logits(2, 3, 4)), nothing, tensor(logits(2, 3, 4))
    )

    assert value(found) == 0


def test_the_two_ends_of_an_answer_count_the_same() -> None:
    start, end, truth = logits(5, 7), logits(5, 7), np.array([[0, 2]] * 5)
    answer = answer_of("question_answering", {"start": tensor(start), "end": tensor(end)}, {})
    each = [
        value(cross_entropy(tensor(z), tensor(truth[:, i]), 0.0))
        for i, z in enumerate((start, end))
    ]

    found = objective("question_answering").loss(answer, tensor(truth), None)

    assert value(found) == pytest.approx(sum(each) / 2, rel=1e-5)


def test_no_answer_begins_or_ends_in_padding() -> None:
    mask = torch.tensor([[1, 1, 0]])
    outputs = {"start": torch.tensor([[1.0, 2.0, 9.0]]), "end": torch.tensor([[1.0, 2.0, 9.0]])}

    answer = answer_of("question_answering", outputs, {"attention_mask": mask})

    assert torch.softmax(answer, -1)[0, :, 2].tolist() == [0, 0]
    assert answer[0, 0, :2].tolist() == [1, 2]


def test_features_are_averaged_over_what_is_no_padding() -> None:
    hidden = torch.tensor([[[1.0], [3.0], [100.0]]])

    masked = answer_of(
        "feature_extraction", {"h": hidden}, {"attention_mask": torch.tensor([[1, 1, 0]])}
    )
    whole = answer_of("feature_extraction", {"h": hidden[:, :2]}, {})

    assert masked.tolist() == whole.tolist() == [[2.0]]


def test_the_loss_of_a_regression_does_not_depend_on_its_unit() -> None:
    outputs, targets, taught = (RNG.normal(size=(8, 2)) for _ in range(3))
    unit = np.array([1000.0, 0.001])

    found = [
        value(
            objective("regression", 0.5, scale.tolist()).loss(
                tensor(outputs * scale), tensor(targets * scale), tensor(taught * scale)
            )
        )
        for scale in (np.ones(2), unit)
    ]

    expected = ((outputs - targets) ** 2).mean() / 2 + ((outputs - taught) ** 2).mean() / 2
    assert found == pytest.approx([expected, expected], rel=1e-5)
