"""What disturbed a measurement: each check warns when it should, and not when it should not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mlopt.profiling.diagnostics import diagnose, warnings_of
from mlopt.stats import Rounds
from mlopt.types.measurement import Diagnostic, LaunchVitals, Vitals

LAUNCHES, ROUNDS, SAMPLES = 5, 20, 100


def rounds_of(levels: NDArray[np.float64], seed: int = 0, spread: float = 0.05) -> Rounds:
    """Log-normal samples around levels in ms, of shape (launches, rounds)."""
    rng = np.random.default_rng(seed)
    count, each = levels.shape
    noise = np.exp(rng.normal(0, spread, (count, each, SAMPLES)))
    launch, number = np.divmod(np.repeat(np.arange(count * each), SAMPLES), each)
    return Rounds((levels[..., None] * noise).ravel(), launch, number)


def steady(seed: int = 0, launches: int = LAUNCHES) -> NDArray[np.float64]:
    """Launches that differ by 1%, and rounds by half of that."""
    rng = np.random.default_rng([seed, 1])
    effect = rng.normal(0, 0.01, (launches, 1)) + rng.normal(0, 0.005, (launches, ROUNDS))
    return np.exp(effect)


def vitals(**growth: float) -> tuple[LaunchVitals, ...]:
    """Five launches of 10 s on two processors, in each of which the counters grow like this."""
    quiet = {"total_s": 20.0, "busy_s": 8.0, "steal_s": 0.0, "own_s": 7.5} | {
        "periods": 100, "throttled_periods": 0, "throttled_s": 0.0, "mhz": 3000.0,
    }  # fmt: skip
    after = quiet | growth
    before = {name: 3000.0 if name == "mhz" else 0 for name in quiet}
    return (
        LaunchVitals(
            before=Vitals(clock_s=0.0, **before), after=Vitals(clock_s=10.0, **after)
        ),
    ) * LAUNCHES  # fmt: skip


def launches_of(switches: int, timed_s: float = 2.0) -> NDArray[np.int64]:
    return np.array([[10**8, 10**8, switches, int(timed_s * 1e9)]] * LAUNCHES)


def by_name(found: tuple[Diagnostic, ...]) -> dict[str, Diagnostic]:
    return {one.name: one for one in found}


def amiss(found: tuple[Diagnostic, ...]) -> set[str]:
    return {one.name for one in found if one.status == "warning"}


def test_a_steady_measurement_on_a_quiet_machine_raises_nothing() -> None:
    found = diagnose(rounds_of(steady()), vitals(), launches_of(10))
    assert [one.status for one in found] == ["ok"] * 10
    assert warnings_of(found) == ()
    assert all(one.seen and not one.advice for one in found)


def test_fifty_steady_measurements_do_not_cry_wolf() -> None:
    assert [amiss(diagnose(rounds_of(steady(i), i))) for i in range(50)] == [set()] * 50


def test_a_drift_is_named_with_its_direction() -> None:
    climb = steady() * np.linspace(1.0, 1.08, ROUNDS)
    found = by_name(diagnose(rounds_of(climb)))["drift"]
    assert found.status == "warning"
    assert found.seen.startswith("+")
    assert "became slower" in found.advice
    falling = by_name(diagnose(rounds_of(climb[:, ::-1])))["drift"]
    assert falling.seen.startswith("-")
    assert "became faster" in falling.advice


def test_a_drift_too_small_to_matter_is_certain_and_no_warning() -> None:
    levels = np.tile(np.linspace(1.0, 1.01, ROUNDS), (LAUNCHES, 1))
    found = by_name(diagnose(rounds_of(levels, spread=0.001)))["drift"]
    assert found.status == "ok"
    assert "p < 0.001" in found.seen


def test_a_random_walk_says_that_there_is_no_level() -> None:
    seen = 0
    for seed in range(20):
        rng = np.random.default_rng([seed, 2])
        walk = np.exp(np.cumsum(rng.normal(0, 0.02, (LAUNCHES, ROUNDS)), axis=1))
        found = by_name(diagnose(rounds_of(walk, seed)))["random walk"]
        seen += found.status == "warning"
        if found.status == "warning":
            assert "no level exists to be estimated and only ratios are reported" in found.advice
    assert seen >= 19


def test_a_mild_autocorrelation_is_no_random_walk() -> None:
    rng = np.random.default_rng(3)
    shocks = rng.normal(0, 0.02, (LAUNCHES, ROUNDS))
    levels = np.zeros_like(shocks)
    for i in range(1, ROUNDS):
        levels[:, i] = 0.3 * levels[:, i - 1] + shocks[:, i]
    assert "random walk" not in amiss(diagnose(rounds_of(np.exp(levels))))


def test_two_speeds_are_two_modes() -> None:
    rng = np.random.default_rng(4)
    levels = steady() * np.where(rng.random((LAUNCHES, ROUNDS)) < 0.4, 1.3, 1.0)
    found = by_name(diagnose(rounds_of(levels)))
    assert found["two modes"].status == "warning"
    assert "of blocks" in found["two modes"].seen
    assert found["unstable"].status == "warning"
    assert found["drift"].status == "ok"


def test_two_launches_are_few() -> None:
    assert amiss(diagnose(rounds_of(steady(launches=2)))) == {"few launches"}
    assert "1 launch" in warnings_of(diagnose(rounds_of(steady(launches=1))))[0]


def test_too_few_rounds_say_nothing_about_trends() -> None:
    found = by_name(diagnose(rounds_of(steady()[:, :1])))
    assert {name for name, one in found.items() if one.status == "unknown"} >= {
        "drift", "random walk", "two modes",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "growth", "seen"),
    [
        pytest.param("steal", {"steal_s": 0.4}, "4.8% of the time", id="steal"),
        pytest.param(
            "throttling", {"throttled_periods": 5, "throttled_s": 0.2}, "5.0% of its periods (1 s)",
            id="throttling",
        ),
        pytest.param("other load", {"busy_s": 12.0}, "others took 22%", id="other load"),
        pytest.param("frequency", {"mhz": 2500.0}, "2,500", id="frequency"),
    ],
)  # fmt: skip
def test_the_machine_is_named_with_what_it_did(
    name: str, growth: dict[str, float], seen: str
) -> None:
    launches = vitals(**growth)
    if name == "frequency":
        launches = (*vitals(), *launches)
    found = diagnose(rounds_of(steady()), launches, launches_of(10))
    assert amiss(found) == {name}
    assert seen in by_name(found)[name].seen
    assert by_name(found)[name].advice


@pytest.mark.parametrize(
    "growth",
    [
        {"steal_s": 0.05},
        {"throttled_periods": 1, "throttled_s": 0.01},
        {"busy_s": 9.0},
        {"own_s": 8.2},  # the counters have ticks of 10 ms: ours may seem more than all
    ],
)
def test_a_little_of_it_is_no_warning(growth: dict[str, float]) -> None:
    assert not amiss(diagnose(rounds_of(steady()), vitals(**growth)))


def test_a_processor_that_slept_before_the_work_has_not_changed_its_clock() -> None:
    asleep = vitals()[0].before.model_copy(update={"mhz": 800.0})
    launches = [one.model_copy(update={"before": asleep}) for one in vitals()]
    assert by_name(diagnose(rounds_of(steady()), launches))["frequency"].status == "ok"


def test_switches_are_a_rate_of_the_measured_time() -> None:
    rounds = rounds_of(steady())
    assert amiss(diagnose(rounds, launches=launches_of(150))) == set()
    assert amiss(diagnose(rounds, launches=launches_of(250))) == {"preemption"}
    assert not amiss(diagnose(rounds, launches=launches_of(250, timed_s=6.0)))


def test_what_cannot_be_read_is_unknown_and_not_fine() -> None:
    blind = (LaunchVitals(before=Vitals(clock_s=0), after=Vitals(clock_s=9)),) * 5
    found = by_name(diagnose(rounds_of(steady()), blind, launches_of(-1)))
    unknown = {name for name, one in found.items() if one.status == "unknown"}
    assert unknown == {"steal", "throttling", "preemption", "frequency", "other load"}
    assert not amiss(tuple(found.values()))


def test_the_same_samples_give_the_same_diagnostics() -> None:
    arguments = (rounds_of(steady()), vitals(), launches_of(10))
    assert diagnose(*arguments) == diagnose(*arguments)
