"""What keeps a candidate from being chosen, as numbers."""

from __future__ import annotations

import pytest
from made_by_hand import candidate, interval, metric

from mlopt.decision.constraints import violations
from mlopt.decision.select import reason_against
from mlopt.types.budget import BudgetLine

BUDGET = tuple(map(BudgetLine.parse, ("p50 <= 5 ms", "size <= 2 kB", "rss <= 1 MB")))


def test_a_candidate_that_keeps_everything_violates_nothing() -> None:
    found = violations(candidate("a", metrics=(metric(interval(-0.005)),)), BUDGET, False)
    assert len(found) == len(BUDGET) + 2
    assert max(found) <= 0


def test_an_excess_is_a_share_of_the_limit_from_the_nearest_end_of_the_interval() -> None:
    slow = candidate("slow", p50=10.0, size=3000)
    p50, size, rss, *_ = violations(slow, BUDGET, False)
    assert p50 == pytest.approx(9.9 / 5 - 1)
    assert size == pytest.approx(0.5)
    assert rss == 0  # it was not observed, which refuses nobody


def test_a_line_that_is_not_certainly_missed_is_kept() -> None:
    assert violations(candidate("open", p50=5.02), BUDGET, False)[0] == 0


def test_a_loss_counts_from_its_margin_on() -> None:
    lost, kept = (metric(interval(delta)) for delta in (-0.03, -0.005))
    free = metric(interval(-0.5), max_drop=None, name="f1")
    found = violations(candidate("a", metrics=(lost, kept, free)), (), False)
    assert found == pytest.approx((0.0, 2.0, -0.5))
    assert violations(candidate("a", metrics=(metric(interval(-0.5), max_drop=0.0),)), (), False)[
        -1
    ] == pytest.approx(0.5)


def test_falling_back_violates_unless_it_is_allowed() -> None:
    fallen = candidate("fallen", fell_back=True)
    assert violations(fallen, (), False) == (1.0,)
    assert violations(fallen, (), True) == (0.0,)


@pytest.mark.parametrize("p50", [1.0, 4.99, 5.02, 5.2])
@pytest.mark.parametrize("loss", [0.0, 0.01, 0.011])
@pytest.mark.parametrize("fell_back", [True, False])
def test_a_candidate_is_refused_exactly_when_a_number_is_positive(
    p50: float, loss: float, fell_back: bool
) -> None:
    one = candidate("a", p50=p50, metrics=(metric(interval(-loss)),), fell_back=fell_back)
    is_refused = reason_against(one, BUDGET, False) is not None
    assert is_refused == (max(violations(one, BUDGET, False)) > 0)


def test_what_was_not_measured_has_no_numbers() -> None:
    assert violations(candidate("a", is_measured=False), BUDGET, False) == ()
