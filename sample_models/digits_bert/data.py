"""The handwritten digits that ship with scikit-learn, as text, split once and for all.

A digit is 64 numbers from 0 to 16, row by row: `0 0 5 13 9 1 0 0 0 0 13 ...`. The tokenizer beside
the weights turns them into tokens, in training as in serving; nothing here knows about tokens.
The splits are stratified by class, disjoint (`calibration` lies in `training`), and depend on
nothing but a fixed seed.
Each split is a function that yields `(texts, labels)`: `n` strings and int64 `(n,)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Labels = NDArray[np.int64]
Batches = Iterator[tuple[list[str], Labels]]

BATCH_SIZE = 32
SPLIT_SEED = 2024
HOLDOUT_EXAMPLES = 900
SELECTION_EXAMPLES = 297
CALIBRATION_EXAMPLES = 256


def calibration() -> Batches:
    """Yields 256 of the training examples: what sets the ranges of a quantized model."""
    texts, labels = _splits()["training"]
    return _batches(texts[:CALIBRATION_EXAMPLES], labels[:CALIBRATION_EXAMPLES])


def training() -> Batches:
    """Yields the 600 examples that weights may be fitted to."""
    return _batches(*_splits()["training"])


def selection() -> Batches:
    """Yields 297 examples for choosing between models."""
    return _batches(*_splits()["selection"])


def holdout() -> Batches:
    """Yields 900 examples that nothing is fitted to or chosen by."""
    return _batches(*_splits()["holdout"])


def as_text(digit: NDArray[np.float64]) -> str:
    """Writes a digit `(8, 8)`, valued 0 to 16, as 64 numbers with spaces between them."""
    return " ".join(str(int(pixel)) for pixel in digit.flat)


@cache
def _splits() -> dict[str, tuple[list[str], Labels]]:
    digits = load_digits()
    texts = [as_text(image) for image in digits.images]
    labels = digits.target.astype(np.int64)
    indices = np.arange(len(labels))
    rest, held_out = train_test_split(
        indices, test_size=HOLDOUT_EXAMPLES, stratify=labels, random_state=SPLIT_SEED
    )
    fitted, selected = train_test_split(
        rest, test_size=SELECTION_EXAMPLES, stratify=labels[rest], random_state=SPLIT_SEED
    )
    chosen = {"training": fitted, "selection": selected, "holdout": held_out}
    return {name: ([texts[i] for i in rows], labels[rows]) for name, rows in chosen.items()}


def _batches(texts: list[str], labels: Labels) -> Batches:
    for start in range(0, len(labels), BATCH_SIZE):
        yield texts[start : start + BATCH_SIZE], labels[start : start + BATCH_SIZE]
