"""Question answering: the span with the best two ends, and how much of the true one it covers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlopt.errors import DataError
from mlopt.evaluation.metrics import builtin_metric
from mlopt.evaluation.spans import best_spans, exact_matches, overlaps
from mlopt.types.task import NO_TOKEN

Array = np.ndarray[Any, Any]


def pointing_to(spans: list[tuple[int, int]], length: int = 8) -> Array:
    """Logits (N, 2, T) whose best spans are these."""
    outputs = np.zeros((len(spans), 2, length), np.float32)
    for i, (start, end) in enumerate(spans):
        outputs[i, 0, start] = outputs[i, 1, end] = 5
    return outputs


def by_trying_all(outputs: Array) -> list[tuple[int, int]]:
    """The best span of each example, in the slow way; ends first, then starts, break ties."""
    length = outputs.shape[2]
    spans = [(start, end) for end in range(length) for start in range(end + 1)]
    return [
        max(spans, key=lambda span: float(first[span[0]]) + float(last[span[1]]))
        for first, last in outputs
    ]


@pytest.mark.parametrize("rounded", [False, True])
def test_the_best_span_is_that_of_trying_all(rounded: bool) -> None:
    outputs = np.random.default_rng(0).normal(size=(200, 2, 9)).astype(np.float32)
    if rounded:
        outputs = np.round(outputs)  # many ties
    assert [tuple(span) for span in best_spans(outputs)] == by_trying_all(outputs)


def test_a_start_behind_the_end_is_no_span() -> None:
    outputs = np.zeros((1, 2, 6))
    outputs[0, 0, 5] = 10  # the best start
    outputs[0, 1, 2] = 9  # the best end
    assert best_spans(outputs).tolist() == [[5, 5]]


def test_padding_is_in_no_span_however_low_the_logits_of_the_text() -> None:
    outputs = np.full((1, 2, 6), -50.0)
    outputs[0, :, 3:] = NO_TOKEN
    assert best_spans(outputs)[0].max() < 3


def test_known_overlaps() -> None:
    truth = np.array([(2, 4), (2, 4), (2, 4), (2, 4), (3, 3)])
    outputs = pointing_to([(2, 4), (3, 6), (5, 6), (0, 7), (2, 4)])
    assert exact_matches(outputs, truth).tolist() == [1, 0, 0, 0, 0]
    assert overlaps(outputs, truth) == pytest.approx([1, 4 / 7, 0, 6 / 11, 2 / 4])
    assert builtin_metric("exact_match", 8)(outputs, truth) == pytest.approx(1 / 5)
    assert builtin_metric("span_f1", 8)(outputs, truth) == pytest.approx(
        (1 + 4 / 7 + 6 / 11 + 1 / 2) / 5
    )


def test_overlap_is_f1_of_the_two_sets_of_tokens() -> None:
    rng = np.random.default_rng(1)
    truth = np.sort(rng.integers(0, 9, (100, 2)), axis=1)
    outputs = rng.normal(size=(100, 2, 9))
    want = []
    for (start, end), (first, last) in zip(
        best_spans(outputs).tolist(), truth.tolist(), strict=True
    ):
        found, true = set(range(start, end + 1)), set(range(first, last + 1))
        hits = len(found & true)
        precision, recall = hits / len(found), hits / len(true)
        want.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    assert overlaps(outputs, truth) == pytest.approx(want)


@pytest.mark.parametrize("score", [exact_matches, overlaps])
@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        (np.zeros((3, 8)), np.zeros((3, 2), int), r"shape \[3, 8\] and the targets have \[3, 2\]"),
        (np.zeros((3, 2, 8)), np.zeros(3, int), r"\[3, 2, 8\] and the targets have \[3\]"),
        (np.zeros((3, 2, 8)), np.full((3, 2), 8), "a target is token 8, .* the tokens 0 to 7"),
    ],
)
def test_refuses_what_does_not_fit(
    score: Any, outputs: Array, targets: Array, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        score(outputs, targets)
