from collections.abc import Callable

import numpy as np
import pytest

from mlopt.stats import (
    Rounds,
    samples_for_interval,
    samples_for_upper_bound,
    tail_estimate,
    tail_support,
)


def test_p99_is_bounded_by_459_samples_and_estimated_from_662() -> None:
    assert samples_for_upper_bound(0.99) == 459
    assert samples_for_interval(0.99) == 662
    assert 0.99**459 <= 0.01 < 0.99**458


@pytest.mark.parametrize(("over", "needed"), [(0, 459), (1, 662), (2, 838), (3, 1001)])
def test_more_samples_over_the_bound_need_more_in_all(over: int, needed: int) -> None:
    assert samples_for_interval(0.99, over) == needed


def test_the_bound_errs_as_rarely_as_it_says() -> None:
    rng = np.random.default_rng(0)
    uniform = rng.random((4000, samples_for_interval(0.9)))
    second_largest = np.partition(uniform, -2, axis=1)[:, -2]
    assert (second_largest < 0.9).mean() == pytest.approx(0.01, abs=0.005)


@pytest.mark.parametrize(
    ("n", "rounds", "support"),
    [
        (662, 50, "interval"),
        (661.9, 50, "upper_bound"),
        (5000, 49, "upper_bound"),
        (459, 5, "upper_bound"),
        (458, 50, "insufficient"),
    ],
)
def test_support_follows_samples_and_rounds(n: float, rounds: int, support: str) -> None:
    assert tail_support(n, rounds, 0.99) == support


def test_the_estimate_says_only_what_is_supported(as_rounds: Callable[..., Rounds]) -> None:
    values = np.random.default_rng(1).lognormal(0, 0.1, (5, 12, 12))
    full = tail_estimate(as_rounds(values), 0.99, seed=0)
    assert full is not None
    assert full.has_interval

    bounded = tail_estimate(as_rounds(values[:, :8]), 0.99, seed=0)
    assert bounded is not None
    assert (bounded.low, bounded.high) == (None, values[:, :8].max())
    assert bounded.value < values.max()

    assert tail_estimate(as_rounds(values[:, :6]), 0.99, seed=0) is None


def test_refuses_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match="q must lie"):
        samples_for_upper_bound(1.0)
    with pytest.raises(ValueError, match="confidence"):
        samples_for_interval(0.99, confidence=0.0)
    with pytest.raises(ValueError, match="over"):
        samples_for_interval(0.99, over=-1)
