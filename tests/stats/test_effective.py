"""The design effect of bursts, autocorrelation and launches on a tail."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mlopt.stats import Rounds, effective_samples, tail_estimate

Floats = NDArray[np.float64]
AsRounds = Callable[[Floats], Rounds]


def test_independent_samples_count_each(as_rounds: AsRounds) -> None:
    counts = [
        effective_samples(as_rounds(np.random.default_rng(seed).random((5, 20, 100))), 0.99)
        for seed in range(60)
    ]
    assert np.median(counts) == 10_000
    assert np.mean(np.array(counts) < 10_000) < 0.25  # two tests at 5%


def test_blocks_of_equal_samples_count_once(as_rounds: AsRounds) -> None:
    found = [
        effective_samples(
            as_rounds(np.repeat(np.random.default_rng(seed).random((5, 200, 1)), 40, axis=2)), 0.9
        )
        for seed in range(15)
    ]
    assert np.median(found) == pytest.approx(1000, rel=0.1)


def test_autocorrelation_counts_as_its_design_effect(
    latencies: Callable[..., Rounds],
) -> None:
    share = {
        q: np.mean(
            [
                effective_samples(latencies("ar1", np.random.default_rng(run)), q) / 10_000
                for run in range(40)
            ]
        )
        for q in (0.5, 0.99)
    }
    # The median's indicator: 1 + 2 sum of (2 / pi) asin(phi^k), less what a block of 100 cuts off.
    lags = np.arange(1, 100)
    effect = 1 + 2 * ((1 - lags / 100) * 2 / np.pi * np.arcsin(0.9**lags)).sum()
    assert share[0.5] == pytest.approx(1 / effect, rel=0.15)
    assert share[0.5] < share[0.99] < 0.35  # rare samples come in shorter bursts


def test_launches_that_differ_count_as_few(as_rounds: AsRounds) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 0.1, (5, 20, 100)) + np.array([0, 0.3, 0.6, 0.9, 1.2]).reshape(5, 1, 1)
    assert effective_samples(as_rounds(values), 0.5) < 20


def test_where_nothing_can_be_told_blocks_count(as_rounds: AsRounds) -> None:
    assert effective_samples(as_rounds(np.ones((3, 4, 50))), 0.99) == 12
    assert effective_samples(as_rounds(np.arange(50.0).reshape(1, 1, 50)), 0.9) == 1


def test_a_tail_of_bursts_has_no_interval_although_there_are_enough_samples(
    as_rounds: AsRounds,
) -> None:
    values = np.random.default_rng(0).lognormal(0, 0.05, (5, 12, 100))
    scattered = tail_estimate(as_rounds(values), 0.99, seed=0)
    assert scattered is not None
    assert scattered.has_interval
    values[[0, 2, 3], [3, 7, 1]] += 5  # three rounds that were slow throughout
    assert tail_estimate(as_rounds(values), 0.99, seed=0) is None


def test_refuses_a_quantile_out_of_range(as_rounds: AsRounds) -> None:
    with pytest.raises(ValueError, match="q must lie"):
        effective_samples(as_rounds(np.ones((1, 2, 3))), 1.0)
