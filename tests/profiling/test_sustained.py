"""The search for the highest sustained rate, against servers of a known capacity."""

from __future__ import annotations

import pytest

from mlopt.profiling.sustained import RESOLUTION, find_sustained, sustained_of


@pytest.mark.parametrize("capacity", [75.0, 130.0, 400.0, 700.0, 999.0])
def test_bisection_finds_the_capacity_to_its_resolution(capacity: float) -> None:
    tried: list[float] = []

    def probe(rate: float) -> bool:
        tried.append(rate)
        return rate <= capacity

    found = find_sustained(probe, 1000).sustained
    assert found is not None
    assert found.low is not None
    assert found.value == found.low
    assert found.low <= capacity < (found.high or 1000)
    assert (found.high or 1000) / found.low <= 1 + RESOLUTION
    assert len(tried) <= 10


def test_a_rate_of_which_nothing_can_be_told_is_not_named_as_sustained() -> None:
    def probe(rate: float) -> bool | None:
        return True if rate < 300 else False if rate > 500 else None

    found = find_sustained(probe, 1000).sustained
    assert found is not None
    assert found.low is not None
    assert 285 <= found.low < 300
    assert found.high == 700, "the lowest rate that was shown not to be sustained"


def test_a_server_that_sustains_nothing_is_given_up_soon() -> None:
    tried: list[float] = []
    found = find_sustained(lambda rate: bool(tried.append(rate)), 1000)
    assert found.sustained is not None
    assert found.sustained.low is None
    assert found.sustained.high == min(tried)
    assert "not even the lowest" in found.stopped_because
    assert len(tried) <= 5


def test_the_time_limit_ends_the_search_with_what_is_known() -> None:
    left = iter([False, False, True])
    found = find_sustained(lambda rate: rate < 400, 1000, is_over=lambda: next(left))
    assert found.sustained is not None
    assert (found.sustained.low, found.sustained.high) == (350, 700)
    assert found.stopped_because == "the time limit"


def test_no_time_at_all_says_nothing() -> None:
    assert find_sustained(lambda _: True, 1000, is_over=lambda: True).sustained is None


def test_a_rate_above_one_that_is_not_sustained_is_not_believed() -> None:
    found = sustained_of([(100, True), (200, False), (300, True)])
    assert found is not None
    assert (found.value, found.low, found.high) == (100, 100, 200)
