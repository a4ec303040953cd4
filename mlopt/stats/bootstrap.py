"""Intervals for latencies from a two-level bootstrap: launches, then whole rounds inside them.

Latencies inside a round are autocorrelated and a launch shifts all of its rounds, so neither single
samples nor single rounds are independent (Kalibera & Jones, ISMM 2013; Davison & Hinkley, 1997,
section 3.8). `mlopt.stats.small_sample` corrects the width for the few launches that there are.

How often the nominal 95% intervals hold the truth is in `benchmarks/interval_coverage.md`. Two or
three launches keep it by becoming wide. It does not hold for what the samples cannot show: the p99
of a launch population, where launches differ more than samples do, and a tail of few effective
samples.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mlopt.stats.resampling import PooledSamples, block_multiplicities
from mlopt.stats.rounds import Rounds
from mlopt.stats.shares import median_interval, shares_below
from mlopt.stats.small_sample import (
    corrected_interval,
    quantile_inefficiency,
    require_confidence,
)
from mlopt.types.estimate import Estimate

_Statistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""From block multiplicities, shape (S, B), to the statistic on each row, shape (S,)."""

_MAX_DRAWS = 1_000_000
"""Most elements of the array of multiplicities that is held at a time."""


def quantile(
    rounds: Rounds, q: float, *, seed: int, resamples: int = 2000, confidence: float = 0.95
) -> Estimate:
    """The q-quantile of all samples together, in their unit.

    The empirical quantile is averaged at a jump (type 2 of Hyndman & Fan, 1996), so q = 0.5 is the
    median. One block alone has no interval. Whether there are enough samples for a tail is not
    asked here: see `tail_estimate`.

    Args:
        rounds: The samples.
        q: Strictly between 0 and 1.
        seed: The same seed gives the same interval.
        resamples: The number of bootstrap resamples.
        confidence: Of the two-sided interval, strictly between 0 and 1.

    Raises:
        ValueError: If `q` or `resamples` is out of range.
    """
    _require_quantile(q)
    pooled = PooledSamples(rounds.values, rounds.block_index, rounds.blocks)

    return _positive(
        rounds,
        lambda draws: pooled.quantiles(draws, q),
        seed,
        resamples,
        confidence,
        lambda value: _inefficiency(rounds.values, rounds.launch, value, q),
    )


def mean(rounds: Rounds, *, seed: int, resamples: int = 2000, confidence: float = 0.95) -> Estimate:
    """The mean of all samples together, in their unit.

    Args:
        rounds: The samples.
        seed: The same seed gives the same interval.
        resamples: The number of bootstrap resamples.
        confidence: Of the two-sided interval, strictly between 0 and 1.

    Raises:
        ValueError: If `resamples` is out of range.
    """
    sizes = np.bincount(rounds.block_index).astype(np.float64)
    sums = np.bincount(rounds.block_index, weights=rounds.values)
    return _positive(
        rounds, lambda draws: (draws @ sums) / (draws @ sizes), seed, resamples, confidence
    )


def paired_p50_ratio(
    candidate: Rounds,
    baseline: Rounds,
    *,
    seed: int,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """How long the candidate takes over the baseline, paired inside each round.

    exp of the median over rounds of log(the candidate's block median / the baseline's), over the
    (launch, round) that both have: what slows a round down slows both and cancels (randomized
    multiple interleaved trials: Abedi & Brecht, ICPE 2017). Below 1 the candidate is faster.

    The interval is read off the launches' shares (`mlopt.stats.shares.median_interval`); where they
    say little, it is that of all other estimates here, from the launches' medians.

    Args:
        candidate: Its samples.
        baseline: Samples in the same unit, with the same numbering of launches and rounds.
        seed: The same seed gives the same interval.
        resamples: The number of bootstrap resamples.
        confidence: Of the two-sided interval, strictly between 0 and 1.

    Raises:
        ValueError: If no (launch, round) is in both, a block median is not positive, or
            `resamples` is out of range.
    """
    candidate, baseline = common_rounds(candidate, baseline)
    keys, over = candidate.block_medians()
    _, under = baseline.block_medians()
    _require_positive(over, under)
    log_ratio = np.log(over) - np.log(under)
    require_confidence(confidence)
    _require_resamples(resamples)
    within = median_interval(log_ratio, keys[:, 0], confidence)
    if within is not None:
        low, high = within
        return _exp(Estimate(value=float(np.median(log_ratio)), low=low, high=high))
    pooled = PooledSamples(log_ratio, np.arange(log_ratio.size), log_ratio.size)
    estimate = _estimate(
        lambda draws: pooled.quantiles(draws, 0.5),
        keys[:, 0],
        seed,
        resamples,
        confidence,
        lambda value: _inefficiency(log_ratio, keys[:, 0], value, 0.5),
    )
    return _exp(estimate)


def tail_ratio(
    candidate: Rounds,
    baseline: Rounds,
    q: float,
    *,
    seed: int,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """The candidate's q-quantile over the baseline's, each pooled over the same rounds.

    Not paired inside a round, which holds too few samples for a tail; but each resample draws the
    same rounds for both, so that what they share cancels as far as it can.

    Args:
        candidate: Its samples.
        baseline: Samples in the same unit, with the same numbering of launches and rounds.
        q: Strictly between 0 and 1.
        seed: The same seed gives the same interval.
        resamples: The number of bootstrap resamples.
        confidence: Of the two-sided interval, strictly between 0 and 1.

    Raises:
        ValueError: If no (launch, round) is in both, a sample is not positive, or `q` or
            `resamples` is out of range.
    """
    _require_quantile(q)
    candidate, baseline = common_rounds(candidate, baseline)
    _require_positive(candidate.values, baseline.values)
    over = PooledSamples(candidate.values, candidate.block_index, candidate.blocks)
    under = PooledSamples(baseline.values, baseline.block_index, baseline.blocks)

    def log_ratio(draws: NDArray[np.int64]) -> NDArray[np.float64]:
        ratio: NDArray[np.float64] = over.quantiles(draws, q) / under.quantiles(draws, q)
        return np.log(ratio)

    return _exp(_estimate(log_ratio, candidate.block_keys[:, 0], seed, resamples, confidence))


def _positive(
    rounds: Rounds,
    statistic: _Statistic,
    seed: int,
    resamples: int,
    confidence: float,
    inefficiency: Callable[[float], float] = lambda value: 1.0,
) -> Estimate:
    """The estimate; positive samples have a positive lower end, however much launches differ.

    Where the interval would reach below zero, its lower end is that of the logarithms.
    """
    launch = rounds.block_keys[:, 0]
    plain = _estimate(statistic, launch, seed, resamples, confidence, inefficiency)
    if plain.low is None or plain.low > 0 or not (rounds.values > 0).all():
        return plain
    logarithmic = _estimate(
        lambda draws: np.log(statistic(draws)),
        launch,
        seed,
        resamples,
        confidence,
        lambda value: inefficiency(float(np.exp(value))),
    )
    return plain.model_copy(update={"low": _exp(logarithmic).low})


def _estimate(
    statistic: _Statistic,
    launch: NDArray[np.int64],
    seed: int,
    resamples: int,
    confidence: float,
    inefficiency: Callable[[float], float] = lambda value: 1.0,
) -> Estimate:
    _require_resamples(resamples)
    value = float(statistic(np.ones((1, launch.size), dtype=np.int64))[0])
    if launch.size == 1:
        return Estimate(value=value)
    names, index = np.unique(launch, return_inverse=True)
    membership = (index == np.arange(names.size)[:, None]).astype(np.int64)
    rng = np.random.default_rng(seed)
    chunk = max(1, _MAX_DRAWS // launch.size)
    replicates = [
        statistic(block_multiplicities(launch, min(chunk, resamples - start), rng))
        for start in range(0, resamples, chunk)
    ]
    low, high = corrected_interval(
        value,
        replicates=np.concatenate(replicates),
        alone=statistic(membership),
        weights=membership.sum(axis=1).astype(np.float64),
        blocks=launch.size,
        inefficiency=inefficiency(value) if names.size > 1 else 1.0,
        confidence=confidence,
    )
    return Estimate(value=value, low=low, high=high)


def _inefficiency(
    values: NDArray[np.float64], launch: NDArray[np.int64], value: float, q: float
) -> float:
    shares, sizes = shares_below(values, launch, value)
    return quantile_inefficiency(shares, q, float(sizes.mean()))


def common_rounds(candidate: Rounds, baseline: Rounds) -> tuple[Rounds, Rounds]:
    """Both, in the (launch, round) that they share.

    Raises:
        ValueError: They share none.
    """
    if np.array_equal(candidate.block_keys, baseline.block_keys):
        return candidate, baseline
    ours = set(map(tuple, candidate.block_keys.tolist()))
    common = ours & set(map(tuple, baseline.block_keys.tolist()))
    if not common:
        raise ValueError("candidate and baseline have no (launch, round) in common")

    def restrict(rounds: Rounds) -> Rounds:
        return rounds.select(np.array([tuple(k) in common for k in rounds.block_keys.tolist()]))

    return restrict(candidate), restrict(baseline)


def _exp(estimate: Estimate) -> Estimate:
    low, high = (None if e is None else float(np.exp(e)) for e in (estimate.low, estimate.high))
    return Estimate(value=float(np.exp(estimate.value)), low=low, high=high)


def _require_positive(*arrays: NDArray[np.float64]) -> None:
    if not all((array > 0).all() for array in arrays):
        raise ValueError("a ratio needs positive latencies")


def _require_resamples(resamples: int) -> None:
    if resamples < 1:
        raise ValueError(f"resamples must be 1 or more, got {resamples}")


def _require_quantile(q: float) -> None:
    if not 0 < q < 1:
        raise ValueError(f"q must lie strictly between 0 and 1, got {q}")
