"""Latencies are positive, and so is what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from mlopt.stats import Rounds, mean, quantile


def uneven(launches: tuple[float, ...]) -> Rounds:
    rng = np.random.default_rng(0)
    values = np.concatenate([level * rng.lognormal(0, 0.1, size=200) for level in launches])
    index = np.arange(values.size)
    return Rounds(values=values, launch=index // 200, round=index % 200 // 20)


@pytest.mark.parametrize("launches", [(1.0, 9.0), (1.0, 1.0, 30.0), (0.5, 1.0, 2.0, 4.0, 40.0)])
def test_intervals_stay_above_zero_however_much_launches_differ(
    launches: tuple[float, ...],
) -> None:
    rounds = uneven(launches)
    for estimate in (
        quantile(rounds, 0.5, seed=0),
        quantile(rounds, 0.9, seed=0),
        mean(rounds, seed=0),
    ):
        assert estimate.low is not None
        assert 0 < estimate.low < estimate.value


def test_the_upper_end_stays_within_reason_with_two_launches() -> None:
    estimate = quantile(uneven((1.0, 2.0)), 0.9, seed=0)

    assert estimate.high is not None
    assert estimate.high < 20 * estimate.value
