"""The change of a metric from the baseline to a candidate, with the interval that fits it."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from mlopt import stats
from mlopt.errors import ConfigError, DataError
from mlopt.evaluation.influence import f1_influence
from mlopt.evaluation.metrics import BUILTIN, Metric
from mlopt.evaluation.pairs import Outcomes, Pair, outcomes, scores
from mlopt.evaluation.resampled import weighted_metric
from mlopt.types.estimate import Estimate
from mlopt.types.task import IGNORED
from mlopt.workers import emit

Array = np.ndarray[Any, Any]

BOOTSTRAP = "paired BCa bootstrap"
TANGO_IN_PART = "Tango's score interval, by its design effect"

_PROGRESS_INTERVAL_S = 1.0


class Change(NamedTuple):
    """What became of a metric.

    Attributes:
        delta: Candidate minus baseline, with its paired interval.
        method: How the interval was made.
        gained: Examples that became right; None where right and wrong have no meaning.
        lost: Examples that became wrong.
        p_value: Of McNemar's test that as many become right as wrong; None where they have no
            meaning.
    """

    delta: Estimate
    method: str
    gained: int | None = None
    lost: int | None = None
    p_value: float | None = None


def change_of(name: str, metric: Metric | None, pair: Pair, change: float, seed: int) -> Change:
    """The change, with Tango's interval where outcomes are counted, and the bootstrap's elsewhere.

    Args:
        name: Of the metric.
        metric: The user's own; None for one of mlopt's.
        pair: The answers; where they have groups, whole groups are drawn.
        change: The metric of the candidate less that of the baseline.
        seed: For the bootstrap.

    Raises:
        DataError: The metric is not defined on most resamples.
    """
    over = "" if pair.units is None else f" over {pair.units} groups"
    if metric is None and BUILTIN[name].outcome == "right or wrong":
        return _right_and_wrong(name, pair, over)
    if metric is None and BUILTIN[name].outcome == "right in part":
        return Change(_in_part(outcomes(name, pair), change), TANGO_IN_PART + over)
    if metric is None and name in ("f1", "token_f1"):
        delta = _influence_delta(name, pair, change)
        return Change(delta, f"Tango's score interval of the examples' influences{over}")
    if metric is None and BUILTIN[name].per_example:
        return Change(_mean_delta(name, pair, seed), BOOTSTRAP + over)
    try:
        if metric is None:
            delta = _weighted_delta(name, pair, seed, change)
        else:
            delta = _generic_delta(name, metric, pair, seed)
    except ValueError as e:
        raise DataError(f"metrics: no interval for '{name}': {e}") from e
    if metric is None and name == "auroc":
        return Change(delta, f"{BOOTSTRAP}{over}, as wide as the rarest class makes it")
    return Change(delta, BOOTSTRAP + over)


def _right_and_wrong(name: str, pair: Pair, over: str) -> Change:
    found = outcomes(name, pair)
    gained, lost, n = round(found.gained.sum()), round(found.lost.sum()), len(pair.targets)
    if pair.groups is None:
        low, high = stats.tango_interval(gained, lost, n)
        delta = Estimate(value=(gained - lost) / n, low=low, high=high)
        return Change(
            delta, "Tango's score interval", gained, lost, stats.mcnemar_exact(gained, lost)
        )
    delta = _in_part(found, (gained - lost) / n)
    worse = stats.clustered_mcnemar_one_sided(*found)
    better = stats.clustered_mcnemar_one_sided(found.lost, found.gained, found.sizes)
    return Change(delta, TANGO_IN_PART + over, gained, lost, min(1.0, 2 * min(worse, better)))


def _in_part(found: Outcomes, change: float) -> Estimate:
    """Tango's interval of groups or sentences, or of scores from 0 to 1."""
    low, high = stats.clustered_tango_interval(*found)
    return Estimate(value=change, low=min(low, change), high=max(high, change))


def _influence_delta(name: str, pair: Pair, change: float) -> Estimate:
    """The interval of the mean of what each example adds to the change of F1.

    The influences are measured by the largest that one example can have, which makes a score
    between 0 and 1 of each; so are groups by the size of the largest, which changes nothing else.
    """
    if name == "token_f1":
        pair = pair.part((pair.targets != IGNORED).any(axis=1))
    now, before = (
        f1_influence(name, outputs, pair.targets, pair.classes)
        for outputs in (pair.candidate, pair.baseline)
    )
    added = change + now.values - before.values
    unit = max(now.largest, before.largest, float(np.abs(added).max()))
    if unit == 0:  # class 1 of two occurs nowhere, and no one predicts it
        unit = 1.0
    index = np.arange(len(added)) if pair.groups is None else pair.groups
    parts = (np.maximum(added, 0) / unit, np.maximum(-added, 0) / unit, np.ones(len(added)))
    sums = np.array([np.bincount(index, weights=part) for part in parts])
    sums = sums[:, sums[2] > 0]
    low, high = stats.clustered_tango_interval(*(sums / sums[2].max()))
    return Estimate(value=change, low=min(low * unit, change), high=max(high * unit, change))


def _mean_delta(name: str, pair: Pair, seed: int) -> Estimate:
    now, before = scores(name, pair)
    unit = float(np.mean(before)) or None
    return stats.mean_delta(now - before, seed=seed, unit=unit, groups=pair.groups)


def _weighted_delta(name: str, pair: Pair, seed: int, change: float) -> Estimate:
    """The interval of a metric of mlopt's, which is computed on many resamples at once.

    The value is the change of the metric itself; that of AUROC, which torchmetrics has in single
    precision, is another one than that of the weighted form in the eighth digit.
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
        floor = stats.smallest_provable_auroc_drop(_class_sizes(pair))
    found = stats.weighted_delta(
        statistic, len(pair.targets), seed=seed, floor=floor, groups=pair.groups
    )
    assert found.low is not None
    assert found.high is not None
    return Estimate(value=change, low=min(found.low, change), high=max(found.high, change))


def _generic_delta(name: str, metric: Metric, pair: Pair, seed: int) -> Estimate:
    """The interval of a metric of the user's, which is called on each resample.

    It is widened where few predictions changed, which a bootstrap is blind to.
    """
    progress = _Progress(name)

    def statistic(rows: Array) -> float:
        progress.advance(1)
        truth = pair.targets[rows]
        try:
            return metric(pair.candidate[rows], truth) - metric(pair.baseline[rows], truth)
        except ConfigError:  # the user's function works on all examples, and not on these
            return float("nan")

    return stats.bootstrap_delta(
        statistic,
        len(pair.targets),
        seed=seed,
        groups=pair.groups,
        changed=_changed_units(metric, pair),
    )


def _changed_units(metric: Metric, pair: Pair) -> int:
    """How many examples, or groups, have predictions that differ between the two models.

    For outputs that classify, the prediction is the class, unless the metric looks at more than
    that. It does not, where the candidate keeps its value though all examples that kept their class
    get the baseline's outputs. Otherwise any difference counts.
    """
    differ = np.ones(len(pair.targets), dtype=bool)
    if pair.candidate.shape == pair.baseline.shape:
        differ = _any_of_each(pair.candidate != pair.baseline)
        flipped = _flipped(pair)
        if flipped is not None and _is_of_flips_only(metric, pair, flipped):
            differ = flipped
    return int(differ.sum()) if pair.groups is None else len(np.unique(pair.groups[differ]))


def _flipped(pair: Pair) -> Array | None:
    """Whether a class of each example differs, shape (N,); None where outputs are no classes' logits."""
    is_class = pair.targets.dtype.kind in "iub" and pair.classes > 1
    if not is_class or pair.targets.shape != pair.baseline.shape[:-1]:
        return None
    changed = pair.candidate.argmax(axis=-1) != pair.baseline.argmax(axis=-1)
    return _any_of_each(changed & (pair.targets != IGNORED))


def _is_of_flips_only(metric: Metric, pair: Pair, flipped: Array) -> bool:
    mixed = pair.baseline.copy()
    mixed[flipped] = pair.candidate[flipped]
    try:
        return metric(mixed, pair.targets) == metric(pair.candidate, pair.targets)
    except ConfigError:  # the user's function works on the candidate's answers, and not on these
        return False


def _any_of_each(marks: Array) -> Array:
    """Whether anything of each example is marked, shape (N,)."""
    return np.asarray(marks.reshape(len(marks), -1).any(axis=1))


def _class_sizes(pair: Pair) -> list[int]:
    """How many examples, or groups, hold each class."""
    classes = pair.targets
    if pair.groups is not None:
        classes = np.unique(np.stack([pair.targets, pair.groups]), axis=1)[0]
    sizes: list[int] = np.unique(classes, return_counts=True)[1].tolist()
    return sizes


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
