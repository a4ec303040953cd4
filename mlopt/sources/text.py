"""Texts become tokens with the tokenizer that lies beside the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlopt.errors import DataError, ModelError
from mlopt.frameworks.huggingface import first_line, transformers_library
from mlopt.sources.data import Batch
from mlopt.sources.labels import LABEL, label_number, label_numbers, labels_of, place_of
from mlopt.sources.saved import require_tokenizer, unreadable
from mlopt.types.task import ATTENTION_MASK, IGNORED
from mlopt.types.tensors import TensorSpec
from mlopt.types.torch_model import HuggingFace

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BEHIND_PADDING = {
    "camembert", "data2vec-text", "ibert", "longformer", "mpnet", "roberta", "roberta-prelayernorm",
    "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip
"""Kinds of models whose first token has the position behind the padding's number."""

NO_LIMIT = 1_000_000
"""A tokenizer that states no length states one beyond this."""


class TextPreprocessor:
    """Tokenizes texts, pairs of texts, words with their tags, or questions with their answers.

    Texts are cut at ``max_length`` and padded to the longest of their batch; where the inputs have
    a fixed length, to that. Words that a
    tokenizer splits keep their tag on the first piece only. An answer becomes its first and last
    token; both are 0, the first token of all, where the context has no answer or was cut before
    it, as in the training scripts of transformers.
    """

    def __init__(
        self, tokenizer: Any, task: str, max_length: int, labels: Mapping[str, int]
    ) -> None:
        """Keeps what is needed.

        Args:
            tokenizer: Of transformers.
            task: As Hugging Face calls it.
            max_length: Most tokens of a text, special ones included.
            labels: Class numbers by name.
        """
        self._tokenizer = tokenizer
        self._task = task
        self._max_length = max_length
        self._labels = labels

    @classmethod
    def load(
        cls, directory: Path, model: HuggingFace, config: Any, max_length: int | None
    ) -> TextPreprocessor:
        """Reads the tokenizer of a directory.

        Raises:
            ModelError: There is none, it cannot be read, or the model takes fewer tokens than
                ``max_length``.
        """
        require_tokenizer(directory)
        try:
            tokenizer = transformers_library().AutoTokenizer.from_pretrained(
                directory, local_files_only=True, trust_remote_code=model.trust_remote_code
            )
        except Exception as e:
            raise unreadable("tokenizer", directory, e) from e
        most = _positions(config)
        if max_length is not None and most is not None and max_length > most:
            raise ModelError(
                f"model.max_length: {max_length} is more than the {most} tokens that the model has "
                "positions for."
            )
        stated = tokenizer.model_max_length
        limits = [n for n in (stated if stated < NO_LIMIT else None, most) if n is not None]
        if not limits and max_length is None:
            raise ModelError(
                f"model: neither the tokenizer nor {directory.name}/config.json says how long a text "
                "may be. Add 'max_length' under 'model'."
            )
        return cls(tokenizer, model.task, max_length or min(limits), labels_of(config))

    @property
    def fill(self) -> Mapping[str, int]:
        """The token and the type that pad a text."""
        return {
            "input_ids": self._tokenizer.pad_token_id or 0,
            "token_type_ids": self._tokenizer.pad_token_type_id,
        }

    def __call__(self, batch: Batch, inputs: tuple[TensorSpec, ...], where: str) -> Batch:
        """Tokenizes a batch.

        Raises:
            DataError: A column is missing or holds no text, or a label or an answer does not fit.
        """
        if inputs[0].name in batch.inputs:
            return batch
        if self._task == "question-answering":
            return self._answered(batch, inputs, where)
        if self._task == "token-classification":
            return self._tagged(batch, inputs, where)
        texts = _texts(batch, "text", where)
        pairs = _texts(batch, "text_pair", where) if "text_pair" in batch.inputs else None
        encoded = self._encode(inputs, where, texts, pairs, truncation=True)
        labels = batch.target if batch.target is not None else batch.inputs.get(LABEL)
        target = None if labels is None else label_numbers(labels, self._labels, batch, where)
        return Batch(_arrays(encoded, inputs), target, batch.rows)

    def _encode(
        self, inputs: tuple[TensorSpec, ...], where: str, *texts: Any, **options: Any
    ) -> Any:
        names = {spec.name for spec in inputs}
        fixed = _fixed_length(inputs)
        try:
            return self._tokenizer(
                *texts,
                max_length=fixed or self._max_length,
                padding="longest" if fixed is None else "max_length",
                return_tensors="np",
                return_attention_mask=ATTENTION_MASK in names,
                return_token_type_ids="token_type_ids" in names,
                **options,
            )
        except Exception as e:
            raise DataError(
                f"{where}: the tokenizer refuses these texts: {first_line(e)} Clean them, or correct "
                "the tokenizer's settings."
            ) from e

    def _require_fast(self, what: str, where: str) -> None:
        if not self._tokenizer.is_fast:
            raise DataError(
                f"{where}: {what} need a fast tokenizer, and {type(self._tokenizer).__name__} is none. "
                "Save one with AutoTokenizer and use_fast=True."
            )

    def _tagged(self, batch: Batch, inputs: tuple[TensorSpec, ...], where: str) -> Batch:
        """Words and, for each, a tag; pieces after a word's first one are not counted."""
        import numpy as np

        self._require_fast("tags of words", where)
        words = [
            _words(row, place_of(batch, i, where))
            for i, row in enumerate(_column(batch, "tokens", where))
        ]
        encoded = self._encode(inputs, where, words, truncation=True, is_split_into_words=True)
        tags = batch.target if batch.target is not None else batch.inputs.get("tags")
        if tags is None:
            return Batch(_arrays(encoded, inputs), None, batch.rows)
        target = np.full(encoded["input_ids"].shape, IGNORED, np.int64)
        for i, row in enumerate(tags):
            place = place_of(batch, i, where)
            if len(row) != len(words[i]):
                raise DataError(
                    f"{place}: {len(words[i])} tokens and {len(row)} tags. Give each token one."
                )
            numbers = [label_number(tag, self._labels, place) for tag in row]
            before = None
            for position, word in enumerate(encoded.word_ids(i)):
                if word is not None and word != before:
                    target[i, position] = numbers[word]
                before = word
        return Batch(_arrays(encoded, inputs), target, batch.rows)

    def _answered(self, batch: Batch, inputs: tuple[TensorSpec, ...], where: str) -> Batch:
        """Questions, contexts and, in characters of the context, answers."""
        import numpy as np

        self._require_fast("answers in characters", where)
        questions = _texts(batch, "question", where)
        contexts = _texts(batch, "context", where)
        encoded = self._encode(
            inputs,
            where,
            questions,
            contexts,
            truncation="only_second",
            return_offsets_mapping=True,
        )
        target = batch.target
        answers = _answers(batch, contexts, where)
        if target is None and answers is not None:
            offsets = encoded["offset_mapping"]
            spans = [
                _token_span(answer, offsets[i], encoded.sequence_ids(i))
                for i, answer in enumerate(answers)
            ]
            target = np.array(spans, np.int64).reshape(-1, 2)
        return Batch(_arrays(encoded, inputs), target, batch.rows)


def _positions(config: Any) -> int | None:
    """The most tokens that the model has positions for."""
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int) or most < 1:  # relative positions have no end
        return None
    return most - (config.pad_token_id + 1 if config.model_type in BEHIND_PADDING else 0)


def _fixed_length(inputs: tuple[TensorSpec, ...]) -> int | None:
    """The length that the project wants all texts to have; None: their own."""
    length = inputs[0].shape[1]
    return length if isinstance(length, int) else None


def _column(batch: Batch, name: str, where: str) -> Sequence[Any]:
    if name not in batch.inputs:
        found = ", ".join(f"'{column}'" for column in batch.inputs) or "nothing"
        raise DataError(
            f"{where}: there is no column '{name}' (there is {found}). Rename it in the data, or say "
            "which one it is with 'columns'."
        )
    column: Sequence[Any] = batch.inputs[name]
    return column


def _texts(batch: Batch, name: str, where: str) -> list[str]:
    texts = list(_column(batch, name, where))
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"{place_of(batch, i, where)}: '{name}' is a {type(text).__name__}; it must be text."
            )
    return texts


def _words(row: Any, place: str) -> list[str]:
    if isinstance(row, str) or not all(isinstance(word, str) for word in row):
        raise DataError(f"{place}: 'tokens' must be a list of words.")
    return list(row)


Answer = tuple[int, int] | None
"""First character of an answer in its context and the one behind its last; None: it has none."""


def _answers(batch: Batch, contexts: Sequence[str], where: str) -> list[Answer] | None:
    """One answer for each context; None where the batch has no answers at all."""
    columns = batch.inputs
    if "answers" in columns:  # as in SQuAD: {"text": [...], "answer_start": [...]}
        given = [(_first(a, "text"), _first(a, "answer_start")) for a in columns["answers"]]
    elif "answer" in columns:
        starts = columns.get("answer_start", [None] * len(contexts))
        given = list(zip(columns["answer"], starts, strict=True))
    else:
        return None
    return [
        _characters(text, start, contexts[i], place_of(batch, i, where))
        for i, (text, start) in enumerate(given)
    ]


def _first(answers: Any, key: str) -> Any:
    value = answers.get(key) if isinstance(answers, Mapping) else None
    return value[0] if isinstance(value, list | tuple) and value else None


def _characters(text: Any, start: Any, context: str, place: str) -> Answer:
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise DataError(f"{place}: the answer is a {type(text).__name__}; it must be text.")
    begin = context.find(text) if start is None else _position(start, place)
    if begin < 0 or context[begin : begin + len(text)] != text:
        at = "" if start is None else f" at character {begin}"
        raise DataError(
            f"{place}: the context does not hold the answer {text[:60]!r}{at}. Correct the answer or "
            "'answer_start', which counts characters from 0."
        )
    begin += len(text) - len(text.lstrip())  # no token begins or ends at a blank
    text = text.strip()
    return (begin, begin + len(text)) if text else None


def _position(start: Any, place: str) -> int:
    """A character of the context; a CSV file holds it as text."""
    try:
        position = int(start)
        whole = not isinstance(start, bool) and (isinstance(start, str) or start == position)
    except (TypeError, ValueError, OverflowError):
        position, whole = 0, False
    if not whole:
        raise DataError(
            f"{place}: 'answer_start' is {str(start)[:60]!r}; it must be a whole number, which counts "
            "characters of the context from 0."
        )
    return position


def _token_span(
    answer: Answer, offsets: Array, sequence_ids: Sequence[int | None]
) -> tuple[int, int]:
    """The first and the last token of an answer; (0, 0) where the tokens do not hold all of it."""
    if answer is None:
        return 0, 0
    context = [i for i, part in enumerate(sequence_ids) if part == 1]
    start = [i for i in context if offsets[i][0] <= answer[0] < offsets[i][1]]
    end = [i for i in context if offsets[i][0] < answer[1] <= offsets[i][1]]
    return (start[0], end[-1]) if start and end else (0, 0)


def _arrays(encoded: Mapping[str, Array], inputs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    """The inputs among what a tokenizer gives, in the types that the project says."""
    return {
        spec.name: encoded[spec.name].astype(spec.dtype) for spec in inputs if spec.name in encoded
    }
