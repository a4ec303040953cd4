"""The network, a smaller one that can learn from it, and the tokens that both read."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

SIDE = 8
PIXELS = SIDE * SIDE
MAX_PIXEL = 16
SPECIAL_TOKENS = PADDING, UNKNOWN, START, END = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
FIRST_PIXEL_TOKEN = len(SPECIAL_TOKENS)
"""The token of the pixel 0; that of pixel 7 is 7 more."""

TOKENS = PIXELS + 2  # the start and the end are tokens too

HIDDEN, LAYERS = 128, 3
STUDENT_LAYERS = (0, 2)
"""The layers of the trained network that the student begins with."""

HEADS = 4
CLASSES = 10

INK_SCALE, POSITION_SCALE = 0.3, 0.4
ALIKE_WITHIN = 1.5  # pixels


def build() -> BertForSequenceClassification:
    """Builds the network with random weights; the trained ones are in `bert/`."""
    return give_meaning(BertForSequenceClassification(config(HIDDEN, LAYERS)))


def build_student() -> nn.Module:
    """Builds a network of fewer layers, for `mlopt`'s recipe `distill`.

    It starts as the trained network with a layer left out, as DistilBERT did (Sanh et al. 2019,
    section 3): what a layer makes is close to what it gets.
    """
    student = BertForSequenceClassification(config(HIDDEN, len(STUDENT_LAYERS)))
    weights = load_file(Path(__file__).with_name("bert") / "model.safetensors")
    for new, old in enumerate(STUDENT_LAYERS):
        layer = f"bert.encoder.layer.{old}."
        own = {k.removeprefix(layer): v for k, v in weights.items() if k.startswith(layer)}
        student.bert.encoder.layer[new].load_state_dict(own)
    rest = {k: v for k, v in weights.items() if not k.startswith("bert.encoder.layer.")}
    student.load_state_dict(rest, strict=False)
    return student


def give_meaning(model: BertForSequenceClassification) -> BertForSequenceClassification:
    """Gives tokens and positions a start that tells what they mean, in place.

    A large pixel is more of what a small one is, and pixels that are close to each other are alike:
    random Fourier features of the place (Rahimi and Recht 2007), whose inner products are a
    Gaussian of the distance. BERT's usual start knows of neither, and 600 digits are few to learn
    it from.
    """
    embeddings = model.bert.embeddings
    hidden = model.config.hidden_size
    with torch.no_grad():
        tokens = embeddings.word_embeddings.weight[FIRST_PIXEL_TOKEN:]
        ink = torch.linspace(0.0, 1.0, len(tokens))[:, None]
        tokens += INK_SCALE * ink * torch.randn(hidden)
        places = torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE)).float()
        waves = places @ torch.randn(2, hidden) / ALIKE_WITHIN + 2 * math.pi * torch.rand(hidden)
        embeddings.position_embeddings.weight[1 : 1 + PIXELS] = POSITION_SCALE * torch.cos(waves)
    return model


def config(hidden: int, layers: int) -> BertConfig:
    """Describes a BERT for digits.

    Args:
        hidden: size of a token's features; the MLPs are four times as wide.
        layers: transformer layers.
    """
    return BertConfig(
        vocab_size=FIRST_PIXEL_TOKEN + MAX_PIXEL + 1,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        intermediate_size=4 * hidden,
        max_position_embeddings=TOKENS,
        hidden_dropout_prob=0.0,  # 600 digits, shifted and turned, are regularization enough
        attention_probs_dropout_prob=0.0,
        pad_token_id=SPECIAL_TOKENS.index(PADDING),
        id2label={i: str(i) for i in range(CLASSES)},
        label2id={str(i): i for i in range(CLASSES)},
        attn_implementation="eager",
    )


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Builds the tokenizer: a token for each number from 0 to 16, at the position of its pixel."""
    words = (*SPECIAL_TOKENS, *(str(pixel) for pixel in range(MAX_PIXEL + 1)))
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(
        sep=(END, words.index(END)), cls=(START, words.index(START))
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=TOKENS,
        model_input_names=["input_ids", "attention_mask", "token_type_ids"],
        pad_token=PADDING,
        unk_token=UNKNOWN,
        cls_token=START,
        sep_token=END,
    )
