"""Drift, random walk and two modes, in the medians of rounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from mlopt.stats import Rounds, drift, modes, random_walk
from mlopt.stats.dip import dip, dip_p_value

Floats = NDArray[np.float64]
SHAPE = (5, 20)
NOISE = 0.0125  # of the median of 100 log-normal samples of standard deviation 0.1


@pytest.fixture
def levels(as_rounds: Callable[[Floats], Rounds]) -> Callable[[Floats], Rounds]:
    """Logarithms of the medians of blocks, shape (launches, rounds), as blocks of one sample."""
    return lambda logs: as_rounds(np.exp(logs)[:, :, None])


def noise(rng: np.random.Generator) -> Floats:
    """Rounds of a quiet machine, and launches that differ by 1%."""
    found: Floats = rng.normal(0, NOISE, SHAPE) + rng.normal(0, 0.01, (SHAPE[0], 1))
    return found


def test_noise_and_launch_effects_rarely_raise_an_alarm(levels: Callable[[Floats], Rounds]) -> None:
    runs, alarms = 200, {"drift": 0, "walk": 0, "modes": 0}
    for run in range(runs):
        rounds = levels(noise(np.random.default_rng([1, run])))
        trend, walk, two = drift(rounds), random_walk(rounds), modes(rounds)
        assert trend is not None
        assert walk is not None
        assert two is not None
        alarms["drift"] += trend.p_value < 0.01
        alarms["walk"] += walk.p_value < 0.01
        alarms["modes"] += two.p_value < 0.01
    most = int(stats.binom.ppf(0.999, runs, 0.01))
    assert max(alarms.values()) <= most
    assert alarms["modes"] == 0  # the dip's null distribution is the worst case


@pytest.mark.parametrize(("step", "least"), [(0.01, 0.9), (0.02, 0.99), (0.05, 0.99)])
def test_a_random_walk_raises_the_alarm(
    step: float, least: float, levels: Callable[[Floats], Rounds]
) -> None:
    runs, alarms = 200, 0
    for run in range(runs):
        rng = np.random.default_rng([2, run])
        walk = rng.normal(0, step, SHAPE).ravel().cumsum().reshape(SHAPE)
        found = random_walk(levels(noise(rng) + walk))
        assert found is not None
        alarms += found.p_value < 0.01
    assert alarms >= stats.binom.ppf(0.001, runs, least)


def test_a_drift_is_measured_and_is_no_random_walk(levels: Callable[[Floats], Rounds]) -> None:
    rng = np.random.default_rng(0)
    rounds = levels(noise(rng) + np.linspace(0, math.log(1.08), SHAPE[1]))
    found, walk = drift(rounds), random_walk(rounds)
    assert found is not None
    assert walk is not None
    assert found.change == pytest.approx(0.08, abs=0.02)
    assert found.p_value < 1e-6
    assert walk.p_value > 0.01


def test_a_few_wild_rounds_are_no_drift(levels: Callable[[Floats], Rounds]) -> None:
    logs = noise(np.random.default_rng(3))
    calm = drift(levels(logs))
    logs[:, -1] += 3
    wild = drift(levels(logs))
    assert calm is not None
    assert wild is not None
    assert wild.change == pytest.approx(calm.change, abs=0.01)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_two_speeds_of_the_machine_are_found(
    share: float, levels: Callable[[Floats], Rounds]
) -> None:
    rng = np.random.default_rng(4)
    slow = rng.random(SHAPE) < share
    found = modes(levels(noise(rng) + 0.3 * slow))
    assert found is not None
    assert found.p_value < 0.001
    assert found.high / found.low == pytest.approx(math.exp(0.3), rel=0.02)
    assert found.share_low == pytest.approx(1 - slow.mean())


def test_launches_of_two_kinds_are_not_modes_of_the_rounds(
    levels: Callable[[Floats], Rounds],
) -> None:
    kinds = np.array([[0.0], [0.3], [0.0], [0.3], [0.0]])
    found = modes(levels(noise(np.random.default_rng(5)) + kinds))
    assert found is not None
    assert found.p_value > 0.05


def test_equal_rounds_raise_no_alarm(levels: Callable[[Floats], Rounds]) -> None:
    rounds = levels(np.zeros(SHAPE))
    assert drift(rounds) == (0.0, 1.0)
    walk = random_walk(rounds)
    assert walk is not None
    assert (walk.variance_ratio, walk.p_value) == (1.0, 0.5)
    two = modes(rounds)
    assert two is not None
    assert two.p_value == 1.0


def test_few_rounds_say_nothing(as_rounds: Callable[[Floats], Rounds]) -> None:
    for shape in ((1, 9, 1), (5, 4, 3)):
        rounds = as_rounds(np.ones(shape))
        assert drift(rounds) is random_walk(rounds) is modes(rounds) is None


def test_refuses_medians_that_have_no_logarithm(as_rounds: Callable[[Floats], Rounds]) -> None:
    with pytest.raises(ValueError, match="positive"):
        drift(as_rounds(np.zeros((2, 10, 1))))


def test_the_dip_is_known_where_it_can_be_said() -> None:
    assert dip(np.array([0.0, 0.0, 1.0, 1.0])) == pytest.approx(0.25, abs=1e-4)
    assert dip(np.arange(10.0)) == pytest.approx(0.05, abs=1e-4)
    assert dip(np.repeat([0.0, 1.0], [80, 20])) == pytest.approx(0.1, abs=1e-4)
    assert dip(np.repeat([0.0, 1.0, 2.0], [50, 100, 50])) == pytest.approx(0.125, abs=1e-4)


def test_the_p_value_of_the_dip_is_uniform_for_a_uniform_distribution() -> None:
    rng = np.random.default_rng(0)
    p = np.array([dip_p_value(dip(rng.random(30)), 30) for _ in range(600)])
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.03)
    assert (p < 0.2).mean() == pytest.approx(0.2, abs=0.06)
