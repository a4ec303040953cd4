"""How the phases of a run share its time limit."""

from __future__ import annotations

import pytest

from mlopt.pipeline.deadline import REPORT_S, Deadline
from mlopt.workers import Limits


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_without_a_limit_no_moment_ever_comes() -> None:
    deadline = Deadline(None)

    assert deadline.moment is None
    assert deadline.building is None
    assert deadline.selection() is None
    assert not deadline.passed(deadline.moment)
    assert deadline.limits(Limits(5.0, 7), deadline.moment) == Limits(5.0, 7)


def test_building_measuring_and_confirming_end_in_this_order_before_the_limit() -> None:
    clock = Clock()
    deadline = Deadline(60.0, clock)
    assert deadline.building is not None
    assert deadline.moment is not None

    clock.now = deadline.building
    selection = deadline.selection()

    assert selection is not None
    assert 100 < deadline.building < selection < deadline.moment == 160 - REPORT_S
    assert deadline.passed(deadline.building)
    assert not deadline.passed(selection)


def test_a_confirmation_leaves_time_for_the_load_where_one_follows() -> None:
    deadline = Deadline(60.0 + REPORT_S, Clock())

    assert deadline.confirmation(loads=False) == deadline.moment == 160
    assert deadline.confirmation(loads=True) == 130
    assert Deadline(None).confirmation(loads=True) is None


def test_a_run_off_leaves_most_of_the_time_for_the_confirmation() -> None:
    assert Deadline(100.0 + REPORT_S, Clock()).run_off() == 130
    assert Deadline(None).run_off() is None


@pytest.mark.parametrize(
    ("own", "left", "expected"), [(1800.0, 10.0, 10.0), (5.0, 10.0, 5.0), (None, 10.0, 10.0)]
)
def test_a_call_gets_the_smaller_of_its_own_limit_and_what_is_left(
    own: float | None, left: float, expected: float
) -> None:
    clock = Clock()
    deadline = Deadline(left + REPORT_S, clock)

    assert deadline.limits(Limits(own, None), deadline.moment).seconds == pytest.approx(expected)
