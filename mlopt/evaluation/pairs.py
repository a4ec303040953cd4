"""Two models' answers to the same examples, and what the one gained and lost against the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mlopt.evaluation.metrics import BUILTIN, per_example_score
from mlopt.evaluation.tokens import right_tokens

Array = np.ndarray[Any, Any]


class Pair(NamedTuple):
    """Two sets of answers to the same examples, and the truth; the example axis first.

    Attributes:
        groups: The group of each example, shape (N,), from 0 on; None: each is by itself.
    """

    candidate: Array
    baseline: Array
    targets: Array
    groups: Array | None = None

    @property
    def classes(self) -> int:
        """Width of the output."""
        return self.baseline.shape[-1] if self.baseline.ndim > 1 else 1

    @property
    def units(self) -> int | None:
        """Number of groups; None where there are none."""
        return None if self.groups is None else len(np.unique(self.groups))

    def part(self, rows: Array) -> Pair:
        """Some of the examples: a mask or indices."""
        groups = None if self.groups is None else self.groups[rows]
        return Pair(self.candidate[rows], self.baseline[rows], self.targets[rows], groups)


class Outcomes(NamedTuple):
    """What was gained and lost by the units that are drawn: examples, sentences or groups.

    Attributes:
        gained: Of each unit, what became right, shape (U,).
        lost: What became wrong.
        sizes: All of it, right or wrong.
    """

    gained: Array
    lost: Array
    sizes: Array


def outcomes(name: str, pair: Pair) -> Outcomes:
    """The outcomes of a metric of mlopt's whose examples are right or wrong, at least in part.

    Units of which nothing counts, such as a sentence without a label, are left out.

    Args:
        name: Of the metric.
        pair: The answers.
    """
    if BUILTIN[name].per_example:
        now, before = scores(name, pair)
        units = np.arange(len(now))
    else:
        now, units = right_tokens(pair.candidate, pair.targets)
        before, _ = right_tokens(pair.baseline, pair.targets)
    changes = now.astype(np.float64) - before
    parts = (np.maximum(changes, 0), np.maximum(-changes, 0), np.ones(len(changes)))
    index = units if pair.groups is None else pair.groups[units]
    sums = np.array([np.bincount(index, weights=part) for part in parts])
    return Outcomes(*sums[:, sums[2] > 0])


def scores(name: str, pair: Pair) -> tuple[Array, Array]:
    """Of each example, the candidate's and the baseline's."""
    now, before = (
        per_example_score(name, outputs, pair.targets)
        for outputs in (pair.candidate, pair.baseline)
    )
    return now, before
