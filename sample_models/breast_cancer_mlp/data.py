"""The breast cancer table that ships with scikit-learn, split once and for all.

The splits are stratified by class, disjoint (`calibration` lies in `training`), and depend on
nothing but a fixed seed.
Each split is a function that yields `(features, labels)`: float32 `(n, 30)`, standardized, and
int64 `(n,)`, 1 for a malignant tumour.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
Batches = Iterator[tuple[Features, Labels]]

BATCH_SIZE = 32
SPLIT_SEED = 2024
HOLDOUT_EXAMPLES = 269
SELECTION_EXAMPLES = 100
CALIBRATION_EXAMPLES = 128
BENIGN_IN_SCIKIT_LEARN = 1


def calibration() -> Batches:
    """Yields 128 of the training examples: what sets the ranges of a quantized model."""
    features, labels = _split("training")
    return _batches(features[:CALIBRATION_EXAMPLES], labels[:CALIBRATION_EXAMPLES])


def training() -> Batches:
    """Yields the 200 examples that weights, and the scaler, may be fitted to."""
    return _batches(*_split("training"))


def selection() -> Batches:
    """Yields 100 examples for choosing between models."""
    return _batches(*_split("selection"))


def holdout() -> Batches:
    """Yields 269 examples, 100 of them malignant, that nothing is fitted to or chosen by."""
    return _batches(*_split("holdout"))


def preprocess(measurements: NDArray[np.float64]) -> Features:
    """Turns raw measurements `(n, 30)`, as a laboratory gives them, into network inputs.

    The scaler is part of the model. A service that lacks it, or that fits one of its own to the
    rows it happens to see, crashes nowhere and answers worse: training-serving skew. So every
    split, and whoever serves the model, calls this one function, and its constants come from the
    training split alone: from all rows, the holdout would have a say in what it is to judge.
    """
    mean, deviation = _scaler()
    return ((measurements - mean) / deviation).astype(np.float32)


@cache
def _scaler() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns mean and standard deviation of each feature over the training split, shape (30,)."""
    measurements, _ = _table()
    fitted = measurements[_rows()["training"]]
    return fitted.mean(axis=0), fitted.std(axis=0)


@cache
def _table() -> tuple[NDArray[np.float64], Labels]:
    """Returns the raw measurements `(569, 30)`, and 1 for malignant: what is looked for."""
    table = load_breast_cancer()
    return table.data, (table.target != BENIGN_IN_SCIKIT_LEARN).astype(np.int64)


@cache
def _rows() -> dict[str, NDArray[np.int64]]:
    """Returns which rows of the table are in which split."""
    _, labels = _table()
    rest, held_out = train_test_split(
        np.arange(len(labels)),
        test_size=HOLDOUT_EXAMPLES,
        stratify=labels,
        random_state=SPLIT_SEED,
    )
    fitted, selected = train_test_split(
        rest, test_size=SELECTION_EXAMPLES, stratify=labels[rest], random_state=SPLIT_SEED
    )
    return {"training": fitted, "selection": selected, "holdout": held_out}


def _split(name: str) -> tuple[Features, Labels]:
    measurements, labels = _table()
    rows = _rows()[name]
    return preprocess(measurements[rows]), labels[rows]


def _batches(features: Features, labels: Labels) -> Batches:
    for start in range(0, len(labels), BATCH_SIZE):
        yield features[start : start + BATCH_SIZE], labels[start : start + BATCH_SIZE]
