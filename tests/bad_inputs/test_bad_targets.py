"""Targets of tokens and of spans that cannot be scored, and what the user is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt.errors import DataError
from mlopt.sources.contract import ReadLimits, read_split
from mlopt.sources.data.npz import NpzData
from mlopt.sources.targets import check_spans, check_token_labels
from mlopt.store.snapshot import Snapshot, SnapshotWriter
from mlopt.types.tensors import TensorSpec

TAGS = TensorSpec(name="logits", dtype="float32", shape=("batch", 3, 4))
TAGS_OF_ANY_LENGTH = TensorSpec(name="logits", dtype="float32", shape=("batch", "tokens", 4))
SPANS = TensorSpec(name="start", dtype="float32", shape=("batch", 2, 6))
SPANS_OF_ANY_LENGTH = TensorSpec(name="start", dtype="float32", shape=("batch", 2, "tokens"))


def snapshot(directory: Path, target: Any) -> Snapshot:
    with SnapshotWriter(directory) as writer:
        columns = None if target is None else np.array(target)
        writer.append({"x": np.arange(2 if columns is None else len(columns))}, columns)
        writer.finish()
    return Snapshot(directory)


LABELS: dict[str, tuple[Any, TensorSpec, str]] = {
    "one for each sentence": (
        [0, 1],
        TAGS,
        "the targets have shape [2], and the output 'logits' has shape [batch, 3, 4]. A token "
        "classification has one class number for each token, shape (N, 3); -100 for one that does "
        "not count, such as padding.",
    ),
    "for another number of tokens": (
        [[0, 1], [1, 2]],
        TAGS,
        "the targets have shape [2, 2], and the output 'logits' has shape [batch, 3, 4]. A token "
        "classification has one class number for each token, shape (N, 3); -100 for one that does "
        "not count, such as padding.",
    ),
    "that are floats": (
        [[0.0, 1.0, 2.0]],
        TAGS,
        "the targets of token classification are class numbers, and these are float64. Convert "
        "them to int64.",
    ),
    "none of which counts": (
        [[-100, -100]],
        TAGS_OF_ANY_LENGTH,
        "every label is -100, which means that no token counts. Give the tokens that do their "
        "class numbers.",
    ),
    "beyond the last class": (
        [[0, 4, -100]],
        TAGS,
        "the labels range from 0 to 4, and the model knows the classes 0 to 3. Map the labels to "
        "them, and to -100 where a token does not count.",
    ),
    "padded with another number": (
        [[0, 1, -1]],
        TAGS,
        "the labels range from -1 to 1, and the model knows the classes 0 to 3. Map the labels to "
        "them, and to -100 where a token does not count.",
    ),
}


@pytest.mark.parametrize("case", LABELS)
def test_refuses_labels_of_tokens(case, tmp_path: Path, refuses):
    target, output, message = LABELS[case]
    with refuses(DataError, f"data.holdout: {message}"):
        check_token_labels(snapshot(tmp_path / "s", target), "holdout", output)


NO_ANSWER = "Where a text has no answer, name its first token: 0 and 0."
ANSWERS: dict[str, tuple[Any, TensorSpec, str]] = {
    "of one end": (
        [3, 4],
        SPANS,
        "the targets have shape [2]; question answering has the first and the last token of each "
        "answer, shape (N, 2).",
    ),
    "that are floats": (
        [[0.0, 1.0]],
        SPANS,
        "the targets of question answering are positions of tokens, and these are float64. Convert "
        "them to int64.",
    ),
    "that end before they start": (
        [[0, 0], [4, 2]],
        SPANS,
        "the answer of example 1 goes from token 4 to 2; it must lie within 0 and 5, its start not "
        f"behind its end. {NO_ANSWER}",
    ),
    "beyond the text": (
        [[0, 6]],
        SPANS,
        "the answer of example 0 goes from token 0 to 6; it must lie within 0 and 5, its start not "
        f"behind its end. {NO_ANSWER}",
    ),
    "before the text": (
        [[-1, -1]],
        SPANS_OF_ANY_LENGTH,
        "the answer of example 0 goes from token -1 to -1; it must lie within 0 and T - 1, its "
        f"start not behind its end. {NO_ANSWER}",
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_refuses_answers(case, tmp_path: Path, refuses):
    target, output, message = ANSWERS[case]
    with refuses(DataError, f"data.selection: {message}"):
        check_spans(snapshot(tmp_path / "s", target), "selection", output)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8"])
def test_accepts_what_can_be_scored(dtype: str, tmp_path: Path):
    tags = np.array([[0, 3, -100], [1, -100, -100]], dtype)
    check_token_labels(snapshot(tmp_path / "fixed", tags), "holdout", TAGS)
    check_token_labels(snapshot(tmp_path / "any", tags[:, :2]), "holdout", TAGS_OF_ANY_LENGTH)
    spans = np.array([[0, 0], [2, 5]], dtype)
    check_spans(snapshot(tmp_path / "spans", spans), "holdout", SPANS)
    check_spans(snapshot(tmp_path / "longer", spans + 9), "holdout", SPANS_OF_ANY_LENGTH)
    for check in (check_token_labels, check_spans):
        check(snapshot(tmp_path / check.__name__, None), "calibration", TAGS)


@pytest.mark.parametrize("split", ["training", "selection", "holdout"])
def test_only_a_task_that_needs_targets_refuses_a_split_without(
    split: str, tmp_path: Path, refuses
):
    np.savez(tmp_path / "x.npz", x=np.ones((3, 2), np.float32))
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 2))
    arguments = (NpzData(npz="x.npz"), split, (spec,), tmp_path)
    limits = ReadLimits(examples=10, size_bytes=1000)
    index = read_split(*arguments, tmp_path / "s", limits, needs_targets=False)
    assert index.target is None
    message = "has no targets: yield (inputs, targets). Only calibration goes without."
    with refuses(DataError, f"data.{split}, batch 0 {message}"):
        read_split(*arguments, tmp_path / "again", limits)
