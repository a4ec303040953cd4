"""Directories as ``save_pretrained`` writes them, of random models that take milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertTokenizerFast,
    DistilBertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    ViTConfig,
    ViTImageProcessor,
)

PIECES = (
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ann", "bob", "saw", "met", "in", "rome", "oslo",
    "un", "##real", "##ly", "who", "where", "was", "it", "not", ".", "?",
)  # fmt: skip
WORDS = (*tuple(piece for piece in PIECES[5:] if not piece.startswith("##")), "unreally")
LABELS = {0: "no", 1: "maybe", 2: "yes"}
TAGS = {0: "O", 1: "PERSON", 2: "PLACE"}
SIZES: dict[str, Any] = {
    "vocab_size": len(PIECES),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
}


def save(directory: Path, model: Any, *others: Any) -> Path:
    """Writes a model with random but not tiny weights, and what prepares its inputs."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    for each in (model, *others):
        each.save_pretrained(directory)
    return directory


def word_pieces(directory: Path, **options: Any) -> BertTokenizerFast:
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = directory / "vocab.txt"
    vocabulary.write_text("\n".join(PIECES))
    return BertTokenizerFast(vocab_file=str(vocabulary), **options)


def text_classifier(directory: Path) -> Path:
    config = BertConfig(**SIZES, id2label=LABELS)
    model = AutoModelForSequenceClassification.from_config(config)
    return save(directory, model, word_pieces(directory))


def token_classifier(directory: Path) -> Path:
    config = DistilBertConfig(
        vocab_size=len(PIECES), dim=16, n_layers=1, n_heads=2, hidden_dim=32,
        max_position_embeddings=24, id2label=TAGS,
    )  # fmt: skip
    model = AutoModelForTokenClassification.from_config(config)
    return save(directory, model, word_pieces(directory))


def question_answerer(directory: Path) -> Path:
    """A RoBERTa, whose padding is not token 0 and whose positions begin behind it."""
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    vocabulary |= {word: i for i, word in enumerate(WORDS, start=4)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=False, add_prefix_space=False
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>", cls_token="<s>",
        sep_token="</s>", model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    config = RobertaConfig(
        **SIZES | {"vocab_size": len(vocabulary), "num_hidden_layers": 1, "type_vocab_size": 1},
        pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    return save(directory, AutoModelForQuestionAnswering.from_config(config), tokenizer)


def feature_extractor(directory: Path) -> Path:
    """Saved with a pooler, which features do not need."""
    model = AutoModel.from_config(BertConfig(**SIZES | {"num_hidden_layers": 1}))
    return save(directory, model, word_pieces(directory))


def image_classifier(directory: Path) -> Path:
    config = ViTConfig(
        image_size=16, patch_size=8, num_channels=1, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=32, id2label=LABELS,
    )  # fmt: skip
    processor = ViTImageProcessor(
        size={"height": 16, "width": 16}, image_mean=[0.5], image_std=[0.25], do_resize=True
    )
    return save(directory, AutoModelForImageClassification.from_config(config), processor)


MAKERS = {
    "text-classification": text_classifier,
    "token-classification": token_classifier,
    "question-answering": question_answerer,
    "feature-extraction": feature_extractor,
    "image-classification": image_classifier,
}


def sentences(seed: int, count: int) -> list[list[str]]:
    """Lists of 1 to 9 words."""
    rng = np.random.default_rng(seed)
    return [list(rng.choice(WORDS, size=rng.integers(1, 10))) for _ in range(count)]


def examples(task: str, seed: int, count: int) -> list[dict[str, Any]]:
    """Raw examples of a task, as a JSONL file has them."""
    rng = np.random.default_rng(seed + 1000)
    found: list[dict[str, Any]] = []
    for words in sentences(seed, count):
        plain = [str(word) for word in words]
        if task == "text-classification":
            found.append({"text": " ".join(plain), "label": LABELS[int(rng.integers(3))]})
        elif task == "token-classification":
            found.append({"tokens": plain, "tags": [TAGS[int(rng.integers(3))] for _ in plain]})
        elif task == "question-answering":
            answer = plain[int(rng.integers(len(plain)))]
            context = " ".join(plain)
            start = context.index(answer)
            answers = {"text": [answer], "answer_start": [start]}
            found.append({"question": "who ?", "context": context, "answers": answers})
        else:
            found.append({"text": " ".join(plain)})
    return found
