import numpy as np
import pytest
from scipy import stats

from mlopt.stats import mean_interval


def test_is_students_interval() -> None:
    values = [410.0, 395.0, 402.0, 421.0, 399.0]
    estimate = mean_interval(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx(
        (low, np.mean(values), high)
    )


def test_a_higher_confidence_has_students_width() -> None:
    values = [410.0, 395.0, 402.0, 421.0, 399.0]
    estimate = mean_interval(values, confidence=0.99)
    low, high = stats.t.interval(0.99, 4, np.mean(values), stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    with pytest.raises(ValueError, match="confidence"):
        mean_interval(values, confidence=1.0)


def test_one_value_has_no_interval() -> None:
    estimate = mean_interval([3.5])
    assert (estimate.value, estimate.low, estimate.high) == (3.5, None, None)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_refuses_nothing_and_what_is_not_a_number(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values must"):
        mean_interval(values)
