"""The handwritten digits that ship with scikit-learn, split once and for all.

The splits are stratified by class, disjoint (`calibration` lies in `training`), and depend on
nothing but a fixed seed.
Each split is a function that yields `(images, labels)`: float32 `(n, 1, 32, 32)` and int64 `(n,)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Images = NDArray[np.float32]
Labels = NDArray[np.int64]
Batches = Iterator[tuple[Images, Labels]]

IMAGE_SIZE = 32
BATCH_SIZE = 32
SPLIT_SEED = 2024
HOLDOUT_EXAMPLES = 900
SELECTION_EXAMPLES = 297
CALIBRATION_EXAMPLES = 256
MAX_PIXEL = 16.0


def calibration() -> Batches:
    """Yields 256 of the training examples: what sets the ranges of a quantized model."""
    images, labels = _splits()["training"]
    return _batches(images[:CALIBRATION_EXAMPLES], labels[:CALIBRATION_EXAMPLES])


def training() -> Batches:
    """Yields the 600 examples that weights may be fitted to."""
    return _batches(*_splits()["training"])


def selection() -> Batches:
    """Yields 297 examples for choosing between models."""
    return _batches(*_splits()["selection"])


def holdout() -> Batches:
    """Yields 900 examples that nothing is fitted to or chosen by."""
    return _batches(*_splits()["holdout"])


def preprocess(digits: NDArray[np.float64]) -> Images:
    """Turns raw digits `(n, 8, 8)`, valued 0 to 16, into network inputs `(n, 1, 32, 32)`.

    Every split, and whoever serves the model, calls this one function. If training and serving
    each had a copy, the day they differ nothing would crash and accuracy would just be lower.
    """
    weights = _bilinear_weights(digits.shape[-1], IMAGE_SIZE)
    # Background stays exactly 0, the value the convolutions pad with, so a border adds no edge.
    resized = weights @ (digits / MAX_PIXEL) @ weights.T
    return resized[:, np.newaxis].astype(np.float32)


def _bilinear_weights(source: int, target: int) -> NDArray[np.float64]:
    """Returns `(target, source)` weights of 1-D linear interpolation between pixel centres."""
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    centres = np.clip(centres, 0, source - 1)
    return np.maximum(0.0, 1.0 - np.abs(centres[:, np.newaxis] - np.arange(source)))


@cache
def _splits() -> dict[str, tuple[Images, Labels]]:
    digits = load_digits()
    images = preprocess(digits.images)
    labels = digits.target.astype(np.int64)
    indices = np.arange(len(labels))
    rest, held_out = train_test_split(
        indices, test_size=HOLDOUT_EXAMPLES, stratify=labels, random_state=SPLIT_SEED
    )
    fitted, selected = train_test_split(
        rest, test_size=SELECTION_EXAMPLES, stratify=labels[rest], random_state=SPLIT_SEED
    )
    chosen = {"training": fitted, "selection": selected, "holdout": held_out}
    return {name: (images[rows], labels[rows]) for name, rows in chosen.items()}


def _batches(images: Images, labels: Labels) -> Batches:
    for start in range(0, len(labels), BATCH_SIZE):
        yield images[start : start + BATCH_SIZE], labels[start : start + BATCH_SIZE]
