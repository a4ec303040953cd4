"""What is scored of a model's outputs, by task."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from mlopt.errors import DataError, ModelError
from mlopt.evaluation.answers import answer_of, scored_output
from mlopt.types.task import NO_TOKEN, Task
from mlopt.types.tensors import TensorSpec

RNG = np.random.default_rng(0)
START, END = RNG.normal(size=(2, 3, 5)).astype(np.float32)
HIDDEN = RNG.normal(size=(3, 5, 2)).astype(np.float32)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])


@pytest.mark.parametrize("task", [t for t in get_args(Task) if t != "question_answering"])
def test_the_first_output_is_scored_as_it_is(task: Task) -> None:
    outputs = {"embeddings": START, "other": END}
    assert answer_of(task, outputs, {"attention_mask": MASK}) is START


def test_two_outputs_are_the_ends_of_an_answer() -> None:
    found = answer_of("question_answering", {"start": START, "end": END, "more": MASK}, {})
    assert found.shape == (3, 2, 5)
    assert found.dtype == np.float32
    assert np.array_equal(found[:, 0], START)
    assert np.array_equal(found[:, 1], END)


def test_an_answer_neither_starts_nor_ends_in_padding() -> None:
    found = answer_of("question_answering", {"s": START, "e": END}, {"attention_mask": MASK})
    assert (found[1, :, 3:] == NO_TOKEN).all()
    assert np.array_equal(found[1, :, :3], [START[1, :3], END[1, :3]])
    half = {"s": START.astype(np.float16), "e": END.astype(np.float16)}
    assert np.isfinite(answer_of("question_answering", half, {"attention_mask": MASK})).all()


def test_features_of_tokens_are_averaged_over_the_text() -> None:
    found = answer_of("feature_extraction", {"hidden": HIDDEN}, {"attention_mask": MASK})
    assert found[1] == pytest.approx(HIDDEN[1, :3].mean(axis=0))
    assert found[2] == pytest.approx(HIDDEN[2, 0])


@pytest.mark.parametrize("inputs", [{}, {"attention_mask": np.ones((3, 9), np.int64)}])
def test_all_tokens_are_averaged_without_a_mask_of_their_length(inputs: dict[str, Any]) -> None:
    found = answer_of("feature_extraction", {"hidden": HIDDEN}, inputs)
    assert found == pytest.approx(HIDDEN.mean(axis=1))


@pytest.mark.parametrize(
    "outputs", [{"start": START}, {"start": START, "end": END[:, :4]}, {"h": HIDDEN, "i": HIDDEN}]
)
def test_outputs_that_are_no_ends_of_an_answer_are_refused(outputs: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"question answering scores its first two outputs"):
        answer_of("question_answering", outputs, {})


FIXED = TensorSpec(name="ids", dtype="int64", shape=("batch", 5))
DYNAMIC = TensorSpec(name="ids", dtype="int64", shape=("batch", "length"))


def seen(*shapes: tuple[int, ...]) -> list[TensorSpec]:
    return [
        TensorSpec(name=f"output_{i}", dtype="float32", shape=("batch", *shape))
        for i, shape in enumerate(shapes)
    ]


@pytest.mark.parametrize(
    ("task", "shapes", "inputs", "scored"),
    [
        ("classification", [(3,)], FIXED, (3,)),
        ("regression", [(5, 2)], DYNAMIC, (5, 2)),
        ("token_classification", [(5, 4)], FIXED, (5, 4)),
        ("token_classification", [(5, 4)], DYNAMIC, ("tokens", 4)),
        ("question_answering", [(5,), (5,), (9,)], FIXED, (2, 5)),
        ("question_answering", [(5,), (5,)], DYNAMIC, (2, "tokens")),
        ("feature_extraction", [(8,)], FIXED, (8,)),
        ("feature_extraction", [(5, 8), (8,)], DYNAMIC, (8,)),
    ],
)
def test_the_scored_shape_is_known_before_anything_runs(
    task: Task, shapes: list[Any], inputs: TensorSpec, scored: tuple[int | str, ...]
) -> None:
    assert scored_output(task, seen(*shapes), [inputs]).shape == ("batch", *scored)


@pytest.mark.parametrize(
    ("task", "shapes", "message"),
    [
        ("token_classification", [(5,)], r"\[batch, 5\]; token classification scores \[batch, tok"),
        ("token_classification", [(5, 1)], r"\[batch, 5, 1\]; token classification scores"),
        ("question_answering", [(5,)], "question answering scores two outputs"),
        ("question_answering", [(5,), (8, 5)], r"'output_1' has shape \[batch, 8, 5\]; question"),
        ("question_answering", [(5,), (4,)], r"'output_1' has shape \[batch, 4\]; question"),
        ("feature_extraction", [()], r"feature extraction scores \[batch, features\]"),
        ("feature_extraction", [(3, 4, 5)], "feature extraction scores"),
    ],
)
def test_outputs_that_do_not_fit_the_task_are_refused(
    task: Task, shapes: list[Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        scored_output(task, seen(*shapes), [FIXED])


def test_what_is_scored_has_the_shape_that_was_foreseen() -> None:
    for task, outputs in {
        "token_classification": {"logits": HIDDEN},
        "question_answering": {"start": START, "end": END},
        "feature_extraction": {"hidden": HIDDEN},
    }.items():
        specs = seen(*(array.shape[1:] for array in outputs.values()))
        want = scored_output(task, specs, [FIXED]).shape  # type: ignore[arg-type]
        found = answer_of(task, outputs, {"attention_mask": MASK})  # type: ignore[arg-type]
        assert found.shape[1:] == want[1:]
