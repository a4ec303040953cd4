import numpy as np
import pytest

from mlopt.stats import holm


def test_multiplies_the_smallest_by_the_number_of_tests_and_keeps_the_order() -> None:
    # Step by step: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1; none less than the one before.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx((0.06, 0.04, 0.06, 0.06))


def test_never_exceeds_one_and_leaves_a_single_test_alone() -> None:
    assert holm([0.7, 0.9]) == (1.0, 1.0)
    assert holm([0.03]) == (0.03,)
    assert holm([]) == ()


def test_any_false_alarm_is_as_rare_as_asked() -> None:
    p = np.random.default_rng(0).random((4000, 10))
    alarms = np.mean([min(holm(row.tolist())) <= 0.05 for row in p])
    assert alarms == pytest.approx(0.05, abs=0.012)


def test_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.5])
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([float("nan")])
