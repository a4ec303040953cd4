"""Estimates: another unit, and what is not known stays unknown."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mlopt.types.estimate import Estimate


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(value=2, low=1, high=4), Estimate(value=2000, low=1000, high=4000)),
        (Estimate(value=2, high=4), Estimate(value=2000, high=4000)),
        (Estimate(value=2), Estimate(value=2000)),
        (Estimate(value=0, low=-1, high=0), Estimate(value=0, low=-1000, high=0)),
    ],
)
def test_scaling_scales_what_is_known(estimate: Estimate, expected: Estimate) -> None:
    assert estimate.scaled(1000) == expected


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(value=0, low=0, high=0), True),
        (Estimate(value=1, high=2), False),
        (Estimate(value=1, low=0), False),
        (Estimate(value=1), False),
    ],
)
def test_an_interval_has_two_ends(estimate: Estimate, expected: bool) -> None:
    assert estimate.has_interval is expected


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_refuses_what_is_no_number(value: float) -> None:
    with pytest.raises(ValidationError):
        Estimate(value=value)


def test_cannot_be_changed() -> None:
    estimate = Estimate(value=1)
    with pytest.raises(ValidationError):
        estimate.value = 2  # type: ignore[misc]
