"""Raw examples become what the model was trained to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_models import PIECES, feature_extractor, image_classifier, word_pieces
from transformers import BertConfig

from mlopt.errors import DataError, ModelError
from mlopt.frameworks.huggingface import TASKS
from mlopt.sources.data import DATA_SOURCES, Batch
from mlopt.sources.images import ImagePreprocessor
from mlopt.sources.preprocessing import preprocessor_of
from mlopt.sources.text import TextPreprocessor
from mlopt.types.tensors import TensorSpec
from mlopt.types.torch_model import HuggingFace

NAMES = ("input_ids", "attention_mask", "token_type_ids")
PIXELS = (TensorSpec(name="pixel_values", dtype="float32", shape=("batch", 1, 16, 16)),)
PLACE = "data.holdout, batch 0"


def tokens(length: int | str = "sequence", dtype: str = "int64") -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec.model_validate({"name": n, "dtype": dtype, "shape": ("batch", length)})
        for n in NAMES
    )


BERT = tokens()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return word_pieces(tmp_path_factory.mktemp("tokenizer"))


def text(tokenizer: Any, task: str, max_length: int = 24, **labels: int) -> TextPreprocessor:
    return TextPreprocessor(tokenizer, task, max_length, labels)


def pieces(ids: Any) -> list[str]:
    return [PIECES[i] for i in ids]


def test_texts_are_tokenized_padded_to_the_longest_and_cut(tokenizer):
    classify = text(tokenizer, "text-classification", max_length=5, no=0, yes=1)
    batch = classify(Batch({"text": ["ann saw bob in rome", "bob"]}, ["yes", "no"]), BERT, PLACE)
    ids = batch.inputs["input_ids"]
    assert ids.dtype == np.int64
    assert pieces(ids[0]) == ["[CLS]", "ann", "saw", "bob", "[SEP]"]
    assert pieces(ids[1]) == ["[CLS]", "bob", "[SEP]", "[PAD]", "[PAD]"]
    np.testing.assert_array_equal(batch.inputs["attention_mask"].sum(1), [5, 3])
    np.testing.assert_array_equal(batch.target, [1, 0])


STARS = {str(number + 1): number for number in range(5)}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_label_that_is_a_number_in_quotes_is_looked_up(tokenizer, tmp_path: Path, kind: str):
    lines = [f"{i % 4 + 1}" for i in range(8)]
    if kind == "csv":
        content = "text,label\n" + "\n".join(f"ann,{stars}" for stars in lines)
    else:
        content = "\n".join(f'{{"text": "ann", "label": "{stars}"}}' for stars in lines)
    (tmp_path / "rows").write_text(content)
    source = DATA_SOURCES[kind].model_validate({kind: "rows"})
    (raw,) = source.batches(tmp_path, NAMES, PLACE)
    classify = text(tokenizer, "text-classification", **STARS)
    assert classify(raw, BERT, PLACE).target.tolist() == [0, 1, 2, 3] * 2
    words = text(tokenizer, "text-classification", bad=0, good=1)
    assert words(raw, BERT, PLACE).target.tolist() == [1, 2, 3, 4] * 2


def test_a_number_that_is_no_name_among_names_that_are_numbers_is_refused(tokenizer):
    classify = text(tokenizer, "text-classification", **STARS)
    with pytest.raises(DataError, match="no label '0'"):
        classify(Batch({"text": ["ann", "bob"]}, ["0", "0"]), BERT, PLACE)


def test_the_second_text_of_a_pair_has_a_type_of_its_own(tokenizer):
    pair = {"text": ["who met bob"], "text_pair": ["ann"]}
    batch = text(tokenizer, "text-classification")(Batch(pair, None), BERT, PLACE)
    assert pieces(batch.inputs["input_ids"][0]) == [
        "[CLS]", "who", "met", "bob", "[SEP]", "ann", "[SEP]"
    ]  # fmt: skip
    assert batch.inputs["token_type_ids"][0].tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert batch.target is None


def test_only_the_inputs_of_the_model_are_made(tokenizer):
    batch = text(tokenizer, "text-classification")(Batch({"text": ["ann"]}, [1]), BERT[:2], PLACE)
    assert set(batch.inputs) == {"input_ids", "attention_mask"}


def test_a_fixed_length_and_a_type_are_those_of_the_inputs(tokenizer):
    batch = Batch({"text": ["ann", "ann saw bob in rome"]}, None)
    found = text(tokenizer, "text-classification")(batch, tokens(6, "int32"), PLACE).inputs
    assert {array.shape for array in found.values()} == {(2, 6)}
    assert {str(array.dtype) for array in found.values()} == {"int32"}
    assert pieces(found["input_ids"][1])[-2:] == ["in", "[SEP]"]


def test_a_tag_stands_at_the_first_piece_of_its_word_and_nowhere_else(tokenizer):
    tag = text(tokenizer, "token-classification", O=0, PERSON=1, PLACE=2)
    rows = {"tokens": [["ann", "unreally", "met", "bob"], ["rome"]]}
    batch = tag(Batch(rows | {"tags": [["PERSON", "O", "O", "PERSON"], [2]]}, None), BERT, PLACE)
    assert pieces(batch.inputs["input_ids"][0]) == [
        "[CLS]", "ann", "un", "##real", "##ly", "met", "bob", "[SEP]"
    ]  # fmt: skip
    assert batch.target.tolist() == [
        [-100, 1, 0, -100, -100, 0, 1, -100],
        [-100, 2, -100, -100, -100, -100, -100, -100],
    ]


def test_tags_of_words_that_are_cut_off_are_cut_with_them(tokenizer):
    tag = text(tokenizer, "token-classification", max_length=4)
    batch = tag(Batch({"tokens": [["ann", "met", "bob"]]}, [[1, 0, 2]]), BERT, PLACE)
    assert batch.target.tolist() == [[-100, 1, 0, -100]]


def answered(tokenizer: Any, max_length: int = 24, **answers: Any) -> Batch:
    columns = {"question": ["who met bob"], "context": ["was it ann unreally in rome ."]}
    ask = text(tokenizer, "question-answering", max_length)
    return ask(Batch(columns | answers, None), BERT, PLACE)


def test_an_answer_becomes_its_first_and_last_token(tokenizer):
    answers = [{"text": ["ann unreally"], "answer_start": [7]}]
    batch = answered(tokenizer, answers=answers)
    start, end = batch.target[0]
    found = pieces(batch.inputs["input_ids"][0][start : end + 1])
    assert found == ["ann", "un", "##real", "##ly"]
    assert answered(tokenizer, answer=["ann unreally"]).target.tolist() == [[start, end]]
    blanks = answered(tokenizer, answer=[" ann unreally "], answer_start=["6"])
    assert blanks.target.tolist() == [[start, end]]
    assert answered(tokenizer, answer=[" "]).target.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("max_length", "answers"),
    [(24, {"answers": [{"text": [], "answer_start": []}]}), (9, {"answer": ["rome"]})],
    ids=["without an answer", "cut before its answer"],
)
def test_a_context_that_does_not_hold_the_answer_points_at_the_first_token(
    tokenizer, max_length, answers
):
    assert answered(tokenizer, max_length, **answers).target.tolist() == [[0, 0]]


def test_what_is_tokenized_already_passes_unchanged(tokenizer):
    batch = Batch({name: np.ones((2, 3), np.int64) for name in NAMES}, np.array([0, 1]))
    assert text(tokenizer, "text-classification")(batch, BERT, PLACE) is batch


WRONG = {
    "a missing column": ("text-classification", {"words": ["a"]}, "no column 'text'.*'words'"),
    "a number for a text": ("text-classification", {"text": [3]}, "row 0: 'text' is a int"),
    "an unknown label": ("text-classification", {"text": ["ann"], "label": ["yess"]}, "'yes'"),
    "a tag too many": (
        "token-classification",
        {"tokens": [["ann"]], "tags": [[0, 1]]},
        "1 tokens and 2 tags",
    ),
    "a sentence for words": ("token-classification", {"tokens": ["ann met"]}, "list of words"),
    "an answer from elsewhere": (
        "question-answering",
        {"question": ["who"], "context": ["ann"], "answer": ["bob"]},
        "does not hold the answer 'bob'",
    ),
    "an answer at no number": (
        "question-answering",
        {"question": ["who"], "context": ["ann"], "answer": ["ann"], "answer_start": ["x"]},
        "row 0: 'answer_start' is 'x'",
    ),
    "an answer at several places": (
        "question-answering",
        {"question": ["who"], "context": ["ann"], "answer": ["ann"], "answer_start": [[3]]},
        r"row 0: 'answer_start' is '\[3\]'",
    ),
    "an answer at another place": (
        "question-answering",
        {"question": ["who"], "context": ["ann"], "answer": ["ann"], "answer_start": [2]},
        "'ann' at character 2",
    ),
}


@pytest.mark.parametrize(("task", "columns", "message"), WRONG.values(), ids=WRONG)
def test_refuses(tokenizer, task, columns, message):
    with pytest.raises(DataError, match=message):
        text(tokenizer, task, yes=1, no=0)(Batch(columns, None), BERT, PLACE)


def test_an_error_names_the_line_of_a_file(tokenizer):
    batch = Batch({"text": ["ann", None]}, None, ["x.jsonl, line 1", "x.jsonl, line 7"])
    with pytest.raises(DataError, match=r"x\.jsonl, line 7: 'text' is a NoneType"):
        text(tokenizer, "text-classification")(batch, BERT, PLACE)


def test_a_text_is_as_long_as_the_model_has_positions_for(tmp_path: Path):
    directory = feature_extractor(tmp_path / "model")
    features = HuggingFace(task="feature-extraction")
    embed = preprocessor_of(directory, features, None, tmp_path)
    batch = embed(Batch({"text": ["ann " * 99]}, None), BERT, PLACE)
    assert batch.inputs["input_ids"].shape == (
        1,
        BertConfig.from_pretrained(directory).max_position_embeddings,
    )
    with pytest.raises(ModelError, match="25 is more than the 24 tokens"):
        preprocessor_of(directory, features, 25, tmp_path)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImagePreprocessor:
    directory = tmp_path_factory.mktemp("images")
    image_classifier(directory / "model")
    model = HuggingFace(task="image-classification")
    found = preprocessor_of(directory / "model", model, None, directory)
    assert isinstance(found, ImagePreprocessor)
    return found


def test_every_form_of_an_image_gives_the_same_pixels(images, tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png")
    forms = [picture, tmp_path / "a.png", pixels, pixels[:, :, None]]
    batch = images(Batch({"image": forms}, ["maybe"] * 4), PIXELS, PLACE)
    found = batch.inputs["pixel_values"]
    assert found.shape == (4, 1, 16, 16)
    assert found.dtype == np.float32
    assert np.abs(found - found[:1]).max() == 0
    assert batch.target.tolist() == [1, 1, 1, 1]
    flat = images(Batch({"image": [np.full((9, 9), 51, np.uint8)]}, None), PIXELS, PLACE)
    np.testing.assert_allclose(flat.inputs["pixel_values"], (51 / 255 - 0.5) / 0.25, atol=1e-6)


def test_pixels_that_are_scaled_already_pass_unchanged(images):
    batch = Batch({"pixel_values": np.zeros((2, 1, 16, 16), np.float32)}, np.array([0, 1]))
    assert images(batch, PIXELS, PLACE) is batch


def test_refuses_what_is_no_image(images, tmp_path: Path):
    (tmp_path / "a.png").write_text("not an image")
    with pytest.raises(DataError, match=r"row 0: the image '.*a.png' cannot be read"):
        images(Batch({"image": [tmp_path / "a.png"]}, None), PIXELS, PLACE)
    with pytest.raises(DataError, match="no column 'image'"):
        images(Batch({"photo": [1]}, None), PIXELS, PLACE)


def test_every_task_has_an_architecture_or_takes_any():
    assert {name for name, each in TASKS.items() if each.architecture is None} == {
        "feature-extraction"
    }
