"""Planned looks, and stopping by precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import special, stats

from mlopt.stats import confidence_after_precision, look_confidence, spent_alpha

LOOKS = (4, 6, 8, 10, 12)


def boundaries(fractions: Sequence[float]) -> list[float]:
    return [-float(special.ndtri(level)) for level in spent_alpha(fractions)]


def test_five_equal_looks_have_the_published_boundaries() -> None:
    # Lan-DeMets spending of O'Brien-Fleming type, one-sided 2.5%: gsDesign's sfLDOF, ldbounds.
    published = [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]
    assert boundaries([0.2, 0.4, 0.6, 0.8, 1.0]) == pytest.approx(published, abs=2e-4)


def test_two_equal_looks_agree_with_the_bivariate_normal_distribution() -> None:
    first, second = boundaries([0.5, 1.0])
    correlation = np.sqrt(0.5)
    joint = stats.multivariate_normal(cov=[[1, correlation], [correlation, 1]])
    assert 1 - joint.cdf([first, second]) == pytest.approx(0.025, abs=1e-6)


def test_a_single_look_has_the_whole_level() -> None:
    assert spent_alpha([1.0]) == pytest.approx((0.025,))
    assert spent_alpha([1.0], alpha=0.1) == pytest.approx((0.1,))


def test_looking_at_planned_times_errs_as_often_as_it_says() -> None:
    steps = np.random.default_rng(0).normal(size=(200_000, 5))
    z = steps.cumsum(axis=1) / np.sqrt(np.arange(1, 6))
    crossed = (z > boundaries(np.arange(1, 6) / 5)).any(axis=1)
    assert crossed.mean() == pytest.approx(0.025, abs=0.0012)  # three and a half standard errors


def crossings(levels: Sequence[float]) -> float:
    """How often Student's t of 12 normal launches goes above one of the planned looks."""
    launches = np.random.default_rng(7).normal(size=(200_000, 12))
    found = np.zeros(len(launches), dtype=bool)
    for count, level in zip(LOOKS, levels, strict=True):
        part = launches[:, :count]
        t = part.mean(axis=1) / part.std(axis=1, ddof=1) * np.sqrt(count)
        found |= t > special.stdtrit(count - 1, 1 - level)
    return float(found.mean())


def test_the_looks_of_a_gate_keep_the_level_where_plain_ones_do_not() -> None:
    assert crossings(spent_alpha([count / 12 for count in LOOKS])) > 0.0262
    levels = [(1 - confidence) / 2 for confidence in look_confidence(LOOKS)]
    assert crossings(levels) == pytest.approx(0.025, abs=0.0012)


def stopped_by_precision(confidence: float, asked: float) -> float:
    """How often the interval holds the truth that ended the measurement by its narrowness."""
    launches = np.random.default_rng(3).normal(size=(40_000, 12))
    held = np.zeros(len(launches), dtype=bool)
    going = np.ones(len(launches), dtype=bool)
    for count in range(5, 13):
        part = launches[:, :count]
        error = part.std(axis=1, ddof=1) / np.sqrt(count)
        half_width = special.stdtrit(count - 1, (1 + confidence) / 2) * error
        stop = going & ((half_width <= asked) | (count == 12))
        held |= stop & (np.abs(part.mean(axis=1)) <= half_width)
        going &= ~stop
    return float(held.mean())


@pytest.mark.parametrize("asked", [0.5, 0.65, 0.8, 1.0, 1.5])
def test_an_interval_that_stops_by_its_own_narrowness_holds_what_it_says(asked: float) -> None:
    assert stopped_by_precision(confidence_after_precision(5, 12), asked) > 0.947


def test_a_plain_interval_would_not() -> None:
    assert stopped_by_precision(0.95, 0.65) < 0.94


def test_nothing_is_to_be_mended_where_nothing_is_decided() -> None:
    assert confidence_after_precision(5, 5) == 0.95


@pytest.mark.parametrize("fractions", [[], [0.0, 1.0], [0.5, 0.5], [0.6, 0.4], [0.5, 1.1]])
def test_refuses_fractions_that_do_not_increase(fractions: list[float]) -> None:
    with pytest.raises(ValueError, match="fractions"):
        spent_alpha(fractions)


def test_refuses_what_is_out_of_range() -> None:
    with pytest.raises(ValueError, match="alpha"):
        spent_alpha([1.0], alpha=0.5)
    with pytest.raises(ValueError, match="2 launches"):
        look_confidence((1, 2))
    with pytest.raises(ValueError, match="launches"):
        confidence_after_precision(5, 4)
    with pytest.raises(ValueError, match="confidence"):
        confidence_after_precision(5, 8, confidence=1.0)
