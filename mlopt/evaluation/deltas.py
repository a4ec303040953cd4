"""The change of a metric from the baseline to a candidate, with the interval that fits it."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from mlopt import stats
from mlopt.errors import ConfigError, DataError
from mlopt.evaluation.metrics import BUILTIN, Metric, per_example_score
from mlopt.evaluation.resampled import weighted_metric
from mlopt.evaluation.tokens import right_tokens
from mlopt.types.estimate import Estimate
from mlopt.workers import emit

Array = np.ndarray[Any, Any]

_PROGRESS_INTERVAL_S = 1.0


class Pair(NamedTuple):
    """Two sets of answers to the same examples, and the truth; the example axis first."""

    candidate: Array
    baseline: Array
    targets: Array

    @property
    def classes(self) -> int:
        """Width of the output."""
        return self.baseline.shape[-1] if self.baseline.ndim > 1 else 1


class Change(NamedTuple):
    """What became of a metric.

    Attributes:
        delta: Candidate minus baseline, with its paired interval.
        method: How the interval was made.
        gained: Examples that became right; None where right and wrong have no meaning.
        lost: Examples that became wrong.
    """

    delta: Estimate
    method: str
    gained: int | None = None
    lost: int | None = None


def change_of(name: str, metric: Metric | None, pair: Pair, change: float, seed: int) -> Change:
    """The change, with Tango's interval for right and wrong, and the paired bootstrap's else.

    Args:
        name: Of the metric.
        metric: The user's own; None for one of mlopt's.
        pair: The answers.
        change: The metric of the candidate less that of the baseline.
        seed: For the bootstrap.

    Raises:
        DataError: The metric is not defined on most resamples.
    """
    if metric is None and BUILTIN[name].outcome == "right or wrong":
        return _right_and_wrong(name, pair)
    if metric is None and BUILTIN[name].outcome == "right in part":
        low, high = _right_in_part(name, pair)
        delta = Estimate(value=change, low=min(low, change), high=max(high, change))
        return Change(delta, "Tango's score interval, by its design effect")
    if metric is None and BUILTIN[name].per_example:
        return Change(_mean_delta(name, pair, seed), "paired BCa bootstrap")
    try:
        if metric is None:
            delta = _weighted_delta(name, pair, seed, change)
        else:
            delta = _generic_delta(name, metric, pair, seed)
    except ValueError as e:
        raise DataError(f"metrics: no interval for '{name}': {e}") from e
    if metric is None and name == "auroc":
        return Change(delta, "paired BCa bootstrap, as wide as the rarest class makes it")
    return Change(delta, "paired BCa bootstrap")


def _right_and_wrong(name: str, pair: Pair) -> Change:
    now, before = (
        per_example_score(name, outputs, pair.targets) > 0
        for outputs in (pair.candidate, pair.baseline)
    )
    gained, lost = int((now & ~before).sum()), int((~now & before).sum())
    n = len(pair.targets)
    low, high = stats.tango_interval(gained, lost, n)
    delta = Estimate(value=(gained - lost) / n, low=low, high=high)
    return Change(delta, "Tango's score interval", gained, lost)


def _right_in_part(name: str, pair: Pair) -> tuple[float, float]:
    """Tango's interval of sentences whose tokens are right or wrong, or of scores from 0 to 1."""
    if BUILTIN[name].per_example:
        now, before = (
            per_example_score(name, outputs, pair.targets)
            for outputs in (pair.candidate, pair.baseline)
        )
        changes = now - before
        gained, lost = np.maximum(changes, 0), np.maximum(-changes, 0)
        return stats.clustered_tango_interval(gained, lost, np.ones(len(changes)))
    now, sentence = right_tokens(pair.candidate, pair.targets)
    before, _ = right_tokens(pair.baseline, pair.targets)
    kinds = (now & ~before, before & ~now, np.ones(len(now)))
    counts = np.array([np.bincount(sentence, weights=kind) for kind in kinds])
    return stats.clustered_tango_interval(*counts[:, counts[2] > 0])


def _mean_delta(name: str, pair: Pair, seed: int) -> Estimate:
    now, before = (
        per_example_score(name, outputs, pair.targets)
        for outputs in (pair.candidate, pair.baseline)
    )
    unit = float(np.mean(before)) or None
    return stats.mean_delta(now - before, seed=seed, unit=unit)


def _weighted_delta(name: str, pair: Pair, seed: int, change: float) -> Estimate:
    """The interval of a metric of mlopt's, which is computed on many resamples at once.

    The value is the change that torchmetrics found; in single precision, it is another one than
    that of the weighted forms in the eighth digit.
    """
    candidate, baseline = (
        weighted_metric(name, outputs, pair.targets, pair.classes)
        for outputs in (pair.candidate, pair.baseline)
    )
    progress = _Progress(name)

    def statistic(weights: Array) -> Array:
        progress.advance(len(weights))
        deltas: Array = candidate(weights) - baseline(weights)
        return deltas

    floor = 0.0
    if name == "auroc":
        sizes = np.unique(pair.targets, return_counts=True)[1]
        floor = stats.smallest_provable_auroc_drop(sizes.tolist())
    found = stats.weighted_delta(statistic, len(pair.targets), seed=seed, floor=floor)
    assert found.low is not None
    assert found.high is not None
    return Estimate(value=change, low=min(found.low, change), high=max(found.high, change))


def _generic_delta(name: str, metric: Metric, pair: Pair, seed: int) -> Estimate:
    """The interval of a metric of the user's, which is called on each resample."""
    progress = _Progress(name)

    def statistic(rows: Array) -> float:
        progress.advance(1)
        truth = pair.targets[rows]
        try:
            return metric(pair.candidate[rows], truth) - metric(pair.baseline[rows], truth)
        except ConfigError:  # the user's function works on all examples, and not on these
            return float("nan")

    return stats.bootstrap_delta(statistic, len(pair.targets), seed=seed)


class _Progress:
    """Says about once a second how far a bootstrap has come."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._resamples = 0
        self._said = time.monotonic()

    def advance(self, resamples: int) -> None:
        """Counts resamples that are about to be computed."""
        now = time.monotonic()
        if now - self._said >= _PROGRESS_INTERVAL_S:
            emit(f"comparing: interval of '{self._metric}', {self._resamples} resamples")
            self._said = now
        self._resamples += resamples
