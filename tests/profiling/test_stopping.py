"""When a trial has seen enough."""

from __future__ import annotations

import numpy as np
import pytest

from mlopt import stats
from mlopt.profiling.looks import LOOKS, ByLooks, judge_ratio, look_interval
from mlopt.profiling.samples import Samples
from mlopt.profiling.stopping import BetweenContenders, ByPrecision, half_width, launch_width
from mlopt.types.estimate import Estimate
from mlopt.types.plan import Schedule


def samples(
    p50_ms: float,
    launches: int,
    *,
    spread: float = 0.001,
    between: float = 0.0,
    seed: int = 0,
    count: int = 20,
) -> Samples:
    """Latencies with ``spread`` inside blocks and ``between`` between launches, as shares."""
    rng = np.random.default_rng(seed)
    found = Samples()
    for launch in range(launches):
        level = p50_ms * 1e6 * (1 + between * rng.normal())
        for number in range(12):
            block = level * (1 + spread * rng.normal(size=count))
            found.add(launch, number, block.astype(int).tolist())
    return found


def pair(launches: int, ratio: float = 1.0, **noise: float) -> dict[str, dict[int, Samples]]:
    return {
        "a": {1: samples(1.0, launches, seed=1, **noise)},
        "b": {1: samples(ratio, launches, seed=2, **noise)},
    }


def test_a_trial_goes_on_until_the_least_launches_are_done() -> None:
    referee = ByPrecision(Schedule(), 1, "a", seed=0)
    assert referee.after_launch(pair(2), 2).stop is None
    assert referee.after_launch(pair(4), 4).stop is None
    stop = referee.after_launch(pair(5), 5).stop
    assert stop is not None
    assert "the asked precision is reached: p50 ratios to ±0.0" in stop
    assert "(asked: ±1% and ±5%)" in stop


def test_a_noisy_trial_goes_on_to_the_most_launches_and_says_how_well_it_knows() -> None:
    referee = ByPrecision(Schedule(), 1, "a", seed=0)
    assert referee.after_launch(pair(11, between=0.05), 11).stop is None
    stop = referee.after_launch(pair(12, between=0.05), 12).stop
    assert stop is not None
    assert stop.startswith("the most launches are done: p50 ratios to ±")


def test_a_run_off_ends_when_the_contenders_are_known_to_a_percent_of_the_fastest() -> None:
    noisy = {"fp32": {1: samples(3.0, 5, between=0.3)}}
    referee = BetweenContenders(Schedule(), ("a", "b"), 1, seed=0)
    assert referee.after_launch(pair(4) | noisy, 4).stop is None
    stop = referee.after_launch(pair(5) | noisy, 5).stop
    assert stop is not None, "the baseline's noise is not theirs"
    assert stop.startswith("the asked precision is reached: p50 ratios to the fastest to ±0.")
    assert "(asked: ±1%)" in stop


def test_a_run_off_between_noisy_contenders_goes_on_to_the_most_launches() -> None:
    referee = BetweenContenders(Schedule(), ("a", "b"), 1, seed=0)
    ruling = referee.after_launch(pair(11, between=0.05), 11)
    assert ruling.stop is None
    assert ruling.words.startswith("p50 ratios to the fastest to ±")
    stop = referee.after_launch(pair(12, between=0.05), 12).stop
    assert stop is not None
    assert stop.startswith("the most launches are done: p50 ratios to the fastest")


def test_a_run_off_is_about_the_ratios_to_the_fastest_whoever_was_named_first() -> None:
    calm, restless = samples(1.0, 6, seed=1), samples(2.0, 6, between=0.1, seed=2)
    seen = {"slow": {1: restless}, "a": {1: calm}, "b": {1: samples(1.01, 6, seed=3)}}
    known = BetweenContenders(Schedule(), ("slow", "a", "b"), 1, seed=0).after_launch(seen, 6)
    assert known.stop is None
    del seen["slow"]
    assert BetweenContenders(Schedule(), ("slow", "a", "b"), 1, seed=0).after_launch(seen, 6).stop


def test_a_run_off_is_over_when_one_contender_is_left() -> None:
    seen = {"a": pair(3)["a"], "b": {1: Samples()}, "fp32": pair(3)["b"]}
    referee = BetweenContenders(Schedule(), ("a", "b", "gone"), 1, seed=0)
    assert referee.after_launch(seen, 3).stop is None, "b has not fallen out"
    del seen["b"]
    assert referee.after_launch(seen, 3).stop == "fewer than two contenders were left"


def test_where_the_difference_lies_never_ends_a_trial() -> None:
    referee = ByPrecision(Schedule(), 1, "a", seed=0)
    for ratio in (0.2, 1.0, 5.0):
        seen = pair(6, ratio, between=0.05)
        assert referee.after_launch(seen, 6).stop is None, "the verdict would be clear at 0.2"


def test_the_p99_must_be_precise_as_well() -> None:
    seen = pair(6)
    rng = np.random.default_rng(3)
    wild = Samples()
    for launch in range(6):
        for number in range(12):
            block = 1e6 * (1 + 0.001 * rng.normal(size=20))
            block[0] = 1e6 * (2 + launch)
            wild.add(launch, number, block.astype(int).tolist())
    seen["b"][1] = wild
    assert ByPrecision(Schedule(), 1, "a", seed=0).after_launch(seen, 6).stop is None


def test_a_p99_that_may_not_be_stated_is_not_precise_however_much_launches_agree() -> None:
    # A burst of slow inferences in one round of each launch: few samples in effect.
    bursts = {}
    for name in ("a", "b"):
        rng = np.random.default_rng(len(bursts))
        found = Samples()
        for launch in range(5):
            for number in range(12):
                slow = 1.3 if number == 5 else 1.0
                block = 1e6 * slow * (1 + 0.001 * rng.normal(size=12))
                found.add(launch, number, block.astype(int).tolist())
        bursts[name] = {1: found}
    ruling = ByPrecision(Schedule(), 1, "a", seed=0).after_launch(bursts, 5)
    assert ruling.stop is None
    assert "p99 to not known" in ruling.words


def test_the_tail_of_every_workload_is_waited_for() -> None:
    seen = pair(5)
    referee = ByPrecision(Schedule(), 1, "a", seed=0)
    assert referee.after_launch(seen, 5).stop is not None
    seen["b"][8] = samples(8.0, 5, count=4)
    assert referee.after_launch(seen, 5).stop is None


def test_a_gate_of_which_one_side_is_left_ends() -> None:
    gate = ByLooks("a", "b", tolerance=0.02, seed=0)
    ruling = gate.after_launch({"a": {1: samples(1.0, 1)}, "b": {1: Samples()}}, 1)
    assert ruling.stop == "one of the two fell out"
    assert gate.ruling is None


def test_a_model_alone_is_judged_by_its_own_p50() -> None:
    ruling = ByPrecision(Schedule(), 1, "a", seed=0).after_launch({"a": {1: samples(1.0, 5)}}, 5)
    assert ruling.stop is not None
    assert "p50 to ±" in ruling.stop


def test_launches_that_are_given_are_neither_more_nor_less() -> None:
    assert Schedule().most_launches > Schedule().launches
    assert Schedule(launches=3).most_launches == 3
    assert Schedule(launches=3, most_launches=8).most_launches == 8


def test_widths_are_relative_and_infinite_where_nothing_is_known() -> None:
    assert half_width(Estimate(value=2.0, low=1.9, high=2.1)) == pytest.approx(0.05)
    assert half_width(Estimate(value=2.0)) == np.inf
    assert launch_width([1.0]) == np.inf
    assert launch_width([1.0, 1.0, 1.0]) == 0


def test_a_gate_looks_only_where_a_look_is_planned() -> None:
    gate = ByLooks("a", "b", tolerance=0.02, seed=0)
    assert gate.after_launch(pair(5), 5).stop is None
    assert (gate.taken, gate.ruling) == (0, None)
    gate.after_launch(pair(6), 6)
    assert gate.taken == LOOKS.index(6) + 1


@pytest.mark.parametrize(
    ("ratio", "outcome"), [(0.7, "PASS"), (1.0, "PASS"), (1.1, "FAIL"), (2.0, "FAIL")]
)
def test_a_clear_difference_ends_a_gate_early(ratio: float, outcome: str) -> None:
    gate = ByLooks("a", "b", tolerance=0.02, seed=0)
    ruling = gate.after_launch(pair(8, ratio), 8)
    assert gate.ruling is not None
    assert gate.ruling[1] == outcome
    assert ruling.stop is not None
    assert ruling.stop.startswith("look 3 of 5: p50 ratio ")


def test_a_difference_at_the_tolerance_stays_open_to_the_last_look() -> None:
    gate = ByLooks("a", "b", tolerance=0.02, seed=0)
    for launches in LOOKS[:-1]:
        assert gate.after_launch(pair(launches, 1.02, between=0.005), launches).stop is None
    last = gate.after_launch(pair(12, 1.02, between=0.005), 12)
    assert last.stop is not None
    assert gate.ruling is not None
    assert gate.ruling[1] == "INCONCLUSIVE"


def test_early_looks_are_wider_than_late_ones_on_the_same_samples() -> None:
    seen = pair(12, between=0.01)
    widths = [
        half_width(look_interval(seen["b"][1], seen["a"][1], confidence, seed=0))
        for confidence in stats.look_confidence(LOOKS)
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 2 * widths[-1]


def test_a_gate_on_a_slow_machine_ends_with_a_look_that_spends_what_is_left() -> None:
    moments = iter([0.0, 2.5, 10.0, 15.0, 17.5])
    gate = ByLooks("a", "b", tolerance=0.02, seed=0, seconds=19.0, clock=lambda: next(moments))
    for launches in (1, 4, 6):
        assert gate.after_launch(pair(launches, 1.02, between=0.005), launches).stop is None
    assert gate.confidence == stats.look_confidence(LOOKS)[1]
    last = gate.after_launch(pair(7, 1.02, between=0.005), 7)
    assert last.stop is not None
    assert last.stop.startswith("look 3 of 3")
    assert "the time allowed no more" in last.stop
    assert gate.confidence == stats.look_confidence((4, 6, 7))[-1]


def test_a_gate_with_time_for_hardly_any_launch_decides_nothing() -> None:
    moments = iter([0.0, 6.0, 14.0])
    gate = ByLooks("a", "b", tolerance=0.02, seed=0, seconds=20.0, clock=lambda: next(moments))
    assert gate.after_launch(pair(1, 3.0), 1).stop is None
    assert gate.after_launch(pair(2, 3.0), 2).stop == "the time limit, before the first look"
    assert gate.ruling is None


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.9, 1.019, "PASS"), (0.9, 1.021, "INCONCLUSIVE"), (1.021, 1.1, "FAIL")],
)
def test_the_whole_interval_decides(low: float, high: float, outcome: str) -> None:
    assert judge_ratio(Estimate(value=1.0, low=low, high=high), 1.02) == outcome
    assert judge_ratio(Estimate(value=1.0), 1.02) == "INCONCLUSIVE"
