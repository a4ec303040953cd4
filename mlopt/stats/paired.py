"""The delta of a metric between two models that answered the same examples."""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from mlopt.stats.bca import acceleration_of, bca_interval
from mlopt.stats.units import Units
from mlopt.types.estimate import Estimate

_JACKKNIFE_BLOCKS = 200
_MAX_CELLS = 4_000_000
_MAX_WEIGHTS = 1_000_000
_ROUNDING = 1e-12
_TAIL = 0.025

_Draw = NDArray[np.int64]
"""Indices of units, each as often as it was drawn."""


def bootstrap_delta(
    statistic: Callable[[NDArray[np.int64]], float],
    n: int,
    *,
    seed: int,
    resamples: int = 1000,
    groups: ArrayLike | None = None,
    unit: float | None = None,
    changed: int | None = None,
) -> Estimate:
    """The delta of any metric, with the paired bootstrap's BCa interval.

    Examples are resampled with replacement, each with both models' answers (Efron & Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 14). Above 200 units the jackknife of the
    acceleration leaves out 200 random blocks in turn. Where every resample gives the same delta,
    which means that nothing changed on these examples, the interval is the value -+ 3 / n, the
    rule of three (Hanley & Lippman-Hand, JAMA 249 (1983) 1743), n being the number of units.

    A bootstrap is blind also where few units changed: with one, no resample holds more than about
    three, but the truth may be five and a half. Where `changed` is given, the interval is widened
    as `few_changes_factor` says, and it is never narrower than where nothing changed.

    Args:
        statistic: From indices of examples, shape (m,), to the delta on these examples; nan where
            it is undefined, such as AUROC when only one class was drawn.
        n: The number of examples; the value is the statistic on arange(n).
        seed: The same seed gives the same interval.
        resamples: The number of bootstrap resamples.
        groups: The group of each example, shape (n,). Whole groups are resampled, and are the
            units; without it each example is one.
        unit: The range of the metric, by which 3 / n is scaled; None is 1.
        changed: How many units have answers that differ at all between the two models; None: not
            known, and taken to be many.

    Raises:
        ValueError: If the sizes are impossible, or the statistic is undefined on all examples or
            on more than half of the resamples.
    """
    units = Units.of(n, groups)

    def replicates(draws: Iterable[_Draw]) -> NDArray[np.float64]:
        return np.array([statistic(units.examples(draw)) for draw in draws], dtype=np.float64)

    value = float(statistic(np.arange(n)))
    found = _bootstrap(value, replicates, units, seed=seed, resamples=resamples, unit=unit)
    return _widened(found, changed, units.count, unit)


def weighted_delta(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    n: int,
    *,
    seed: int,
    resamples: int = 1000,
    groups: ArrayLike | None = None,
    unit: float | None = None,
    floor: float = 0.0,
    changed: int | None = None,
) -> Estimate:
    """`bootstrap_delta` of a statistic that is computed on many resamples at once.

    The resamples and the jackknife's blocks are the same as those of `bootstrap_delta` with the
    same seed, and so is the interval.

    Args:
        statistic: From how often each example counts, shape (S, n), no row all zero, to the delta
            of each row, shape (S,); nan where it is undefined. It is called on chunks of rows,
            about a million weights at a time.
        n: The number of examples; the value is the statistic where each counts once.
        seed: The same seed gives the same interval.
        resamples: The number of bootstrap resamples.
        groups: The group of each example, shape (n,); whole groups are resampled.
        unit: The range of the metric, by which 3 / n is scaled where nothing changed; None is 1.
        floor: The least distance of either end of the interval from the value. No resample holds a
            failure that no example shows: where every score moves a little, the bootstrap finds a
            narrow interval in place of none, and is as blind to what it has not seen.
        changed: As in `bootstrap_delta`.

    Raises:
        ValueError: As `bootstrap_delta`.
    """
    units = Units.of(n, groups)

    def replicates(draws: Iterable[_Draw]) -> NDArray[np.float64]:
        counts = (np.bincount(units.examples(draw), minlength=n) for draw in draws)
        return np.concatenate([statistic(weights) for weights in _stacked(counts, n)])

    value = float(statistic(np.ones((1, n)))[0])
    found = _bootstrap(value, replicates, units, seed=seed, resamples=resamples, unit=unit)
    found = _widened(found, changed, units.count, unit)
    low, high = (value if end is None else end for end in (found.low, found.high))
    return Estimate(value=value, low=min(low, value - floor), high=max(high, value + floor))


def mean_delta(
    per_example_delta: ArrayLike,
    *,
    seed: int,
    resamples: int = 1000,
    groups: ArrayLike | None = None,
    unit: float | None = None,
) -> Estimate:
    """`bootstrap_delta` for a metric that is the mean of per-example scores, without a Python loop.

    The units that changed are counted here: those with a delta that is not 0.

    Args:
        per_example_delta: The candidate's score less the baseline's, shape (n,).
        seed: The same seed gives the same interval.
        resamples: The number of bootstrap resamples.
        groups: The group of each example, shape (n,); whole groups are resampled.
        unit: The range of the metric, by which 3 / n is scaled where nothing changed; None is 1.

    Raises:
        ValueError: If a shape is wrong, there is no example, or a delta is not finite.
    """
    _require_resamples(resamples)
    deltas = np.asarray(per_example_delta, dtype=np.float64)
    if deltas.ndim != 1 or not np.isfinite(deltas).all():
        raise ValueError("per_example_delta must be finite and of shape (n,)")
    units = Units.of(deltas.size, groups)
    sums, sizes = units.sums(deltas), units.sizes.astype(np.float64)
    value = float(sums.sum() / sizes.sum())
    rng = np.random.default_rng(seed)
    chunk = max(1, _MAX_CELLS // units.count)
    parts = []
    for start in range(0, resamples, chunk):
        draw = rng.integers(units.count, size=(min(chunk, resamples - start), units.count))
        parts.append(sums[draw].sum(axis=1) / sizes[draw].sum(axis=1))
    influence = sums - value * sizes
    low, high = bca_interval(value, np.concatenate(parts), acceleration_of(influence))
    found = _with_interval(value, low, high, units.count, unit)
    changed = int((units.sums((deltas != 0).astype(np.float64)) > 0).sum())
    return _widened(found, changed, units.count, unit)


def few_changes_factor(changed: int, units: int) -> float:
    """By how much a bootstrap interval is too narrow where few of many units changed.

    How many units change is close to a Poisson number. Its exact upper limit (Garwood, Biometrika
    28 (1936) 437-442), in the mid-P form that is not conservative (Lancaster, J. Am. Statist.
    Assoc. 56 (1961) 223-234), lies farther above the number than the 1.96 standard deviations that
    resampling finds: 2.0 times as far for one unit, 1.4 times for 5, 1.1 times for 50. The factor goes to 1
    where all units changed: then there is nothing rare.

    Args:
        changed: The units that changed, 0 or more.
        units: All units, at least as many.

    Raises:
        ValueError: If the counts are impossible.
    """
    if not 0 <= changed <= units:
        raise ValueError(f"changed must lie between 0 and {units}, got {changed}")
    if changed == 0:
        return 1.0

    def beyond(limit: float) -> float:
        """P(fewer than `changed`) and half of P(as many), where `limit` are expected."""
        fewer, as_many = special.pdtr(changed - 1, limit), special.pdtr(changed, limit)
        return float(fewer + as_many) / 2 - _TAIL

    upper = float(optimize.brentq(beyond, changed, changed + 10 * math.sqrt(changed) + 10))
    normal = -float(special.ndtri(_TAIL)) * math.sqrt(changed)
    return 1 + (max((upper - changed) / normal, 1.0) - 1) * (1 - changed / units)


def _bootstrap(
    value: float,
    replicates: Callable[[Iterable[_Draw]], NDArray[np.float64]],
    units: Units,
    *,
    seed: int,
    resamples: int,
    unit: float | None,
) -> Estimate:
    """The BCa interval around a value, from the statistic on each draw of units."""
    _require_resamples(resamples)
    if not math.isfinite(value):
        n = units.order.size
        raise ValueError(f"the statistic is not defined on all {n} examples, got {value}")
    rng = np.random.default_rng(seed)
    drawn = replicates(rng.integers(units.count, size=units.count) for _ in range(resamples))
    defined = drawn[np.isfinite(drawn)]
    if 2 * defined.size < resamples:
        raise ValueError(
            f"the statistic is undefined on {resamples - defined.size} of {resamples} resamples: "
            "too few examples of some kind"
        )
    acceleration = None
    if units.count > 1:
        blocks = np.array_split(rng.permutation(units.count), min(units.count, _JACKKNIFE_BLOCKS))
        jackknife = replicates(np.delete(np.arange(units.count), block) for block in blocks)
        acceleration = acceleration_of(-jackknife)
    low, high = bca_interval(value, defined, acceleration)
    return _with_interval(value, low, high, units.count, unit)


def _stacked(counts: Iterator[NDArray[np.int64]], n: int) -> Iterator[NDArray[np.float64]]:
    """Rows of n counts in matrices of at most `_MAX_WEIGHTS` elements, or of one row."""
    height = max(1, _MAX_WEIGHTS // n)
    while rows := list(islice(counts, height)):
        yield np.array(rows, dtype=np.float64)


def _with_interval(
    value: float, low: float, high: float, units: int, unit: float | None
) -> Estimate:
    if high - low <= _ROUNDING * max(1.0, abs(value)):
        floor = 3 / units * (1.0 if unit is None else unit)
        return Estimate(value=value, low=value - floor, high=value + floor)
    return Estimate(value=value, low=min(low, value), high=max(high, value))


def _widened(found: Estimate, changed: int | None, units: int, unit: float | None) -> Estimate:
    """The interval where `changed` of the units changed, both ends as far as they need to be."""
    if changed is None or found.low is None or found.high is None:
        return found
    factor = few_changes_factor(changed, units)
    least = 0.0 if changed == units else 3 / units * (1.0 if unit is None else unit)
    below, above = (factor * distance for distance in _distances(found))
    low, high = found.value - max(below, least), found.value + max(above, least)
    return Estimate(value=found.value, low=low, high=high)


def _distances(found: Estimate) -> tuple[float, float]:
    low, high = (found.value if end is None else end for end in (found.low, found.high))
    return found.value - low, high - found.value


def _require_resamples(resamples: int) -> None:
    if resamples < 1:
        raise ValueError(f"resamples must be 1 or more, got {resamples}")
