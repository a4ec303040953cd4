"""Tango's interval for outcomes that come in units."""

from __future__ import annotations

import numpy as np
import pytest

from mlopt.stats import clustered_tango_interval, tango_interval


def test_units_of_one_outcome_are_tangos_own_interval() -> None:
    gained = np.zeros(200)
    lost = np.zeros(200)
    gained[:4], lost[4:13] = 1, 1
    low, high = clustered_tango_interval(gained, lost, np.ones(200))
    want = tango_interval(4, 9, 200)
    # The variance between units is the unbiased one: 200 / 199 of the other.
    assert (low, high) == pytest.approx(want, abs=3e-4)


def test_outcomes_that_always_change_together_count_once() -> None:
    gained, lost = np.zeros(100), np.zeros(100)
    gained[:3], lost[3:9] = 1, 1
    alone = clustered_tango_interval(gained, lost, np.ones(100))
    together = clustered_tango_interval(10 * gained, 10 * lost, np.full(100, 10))
    assert together == pytest.approx(alone)


def test_outcomes_that_change_independently_count_each() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.multinomial(20, [0.1, 0.1, 0.8], size=2000)
    found = clustered_tango_interval(kinds[:, 0], kinds[:, 1], np.full(2000, 20))
    want = tango_interval(*kinds.sum(axis=0)[:2], 40_000)
    assert found == pytest.approx(want, abs=3e-4)


def test_units_that_gain_as_much_as_they_lose_count_no_more_than_their_outcomes() -> None:
    changed = np.zeros(50)
    changed[:5] = 2
    assert clustered_tango_interval(changed, changed, np.full(50, 8)) == (
        pytest.approx(tango_interval(10, 10, 400))
    )


@pytest.mark.parametrize("size", [1, 12])
def test_where_nothing_changed_each_unit_is_one_outcome(size: int) -> None:
    nothing = np.zeros(80)
    found = clustered_tango_interval(nothing, nothing, np.full(80, size))
    assert found == tango_interval(0, 0, 80)


def test_a_single_unit_is_one_outcome() -> None:
    assert clustered_tango_interval([0], [5], [10]) == tango_interval(0, 0.5, 1)


def test_where_everything_was_lost_it_ends_at_minus_1() -> None:
    low, high = clustered_tango_interval(np.zeros(30), np.full(30, 4), np.full(30, 4))
    assert (low, high) == tango_interval(0, 30, 30)
    assert low == -1


def test_scores_that_change_by_a_part_have_a_narrower_interval_than_whole_ones() -> None:
    part = np.zeros(300)
    part[:6] = 0.5
    low, _ = clustered_tango_interval(np.zeros(300), part, np.ones(300))
    whole, _ = clustered_tango_interval(np.zeros(300), 2 * part, np.ones(300))
    assert low == pytest.approx(whole / 2, abs=1e-3)


@pytest.mark.parametrize(
    ("gained", "lost", "sizes", "message"),
    [
        ([], [], [], "U being 1 or more"),
        ([1], [0, 0], [1, 1], "shape"),
        ([-1, 0], [0, 0], [1, 1], "0 or more"),
        ([1, 0], [1, 0], [1, 1], "no more than sizes"),
        ([0, 0], [0, 0], [1, 0], "positive"),
    ],
)
def test_refuses_impossible_counts(
    gained: list[float], lost: list[float], sizes: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        clustered_tango_interval(gained, lost, sizes)


@pytest.mark.parametrize(
    ("units", "losing", "gaining"), [(120, 0.02, 0.01), (200, 0.01, 0.0), (120, 0.1, 0.05)]
)
def test_holds_the_truth_where_few_sentences_change(
    units: int, losing: float, gaining: float
) -> None:
    rng = np.random.default_rng(1)
    runs, held = 400, 0
    truth = -losing * 0.5 * 0.8 + gaining * 0.2
    for _ in range(runs):
        sizes = rng.integers(5, 25, units)
        right = rng.binomial(sizes, 0.8)
        kind = rng.random(units)
        lost = np.where(kind < losing, rng.binomial(right, 0.5), 0)
        gained = np.where(kind > 1 - gaining, sizes - right, 0)
        low, high = clustered_tango_interval(gained, lost, sizes)
        held += low <= truth <= high
    assert held / runs >= 0.91  # nominal 0.95; two standard errors are 0.02, and few units change
