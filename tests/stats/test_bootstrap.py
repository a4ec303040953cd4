import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mlopt.stats import Rounds, bootstrap, mean, paired_p50_ratio, quantile, tail_ratio


@pytest.fixture
def candidate(latencies: Callable[..., Rounds]) -> Rounds:
    return latencies("lognormal", np.random.default_rng(1), launch_sd=0.01)


@pytest.fixture
def baseline(latencies: Callable[..., Rounds]) -> Rounds:
    return latencies("lognormal", np.random.default_rng(2), launch_sd=0.01)


def test_values_are_the_plain_statistics_of_all_samples(
    candidate: Rounds, baseline: Rounds
) -> None:
    pooled = candidate.values
    assert quantile(candidate, 0.5, seed=0).value == np.median(pooled)
    p99 = np.quantile(pooled, 0.99, method="averaged_inverted_cdf")
    assert quantile(candidate, 0.99, seed=0).value == p99
    assert mean(candidate, seed=0).value == pytest.approx(pooled.mean())
    per_round = candidate.block_medians()[1] / baseline.block_medians()[1]
    expected = np.exp(np.median(np.log(per_round)))
    assert paired_p50_ratio(candidate, baseline, seed=0).value == pytest.approx(expected)
    other = np.quantile(baseline.values, 0.99, method="averaged_inverted_cdf")
    assert tail_ratio(candidate, baseline, 0.99, seed=0).value == pytest.approx(p99 / other)


def test_the_interval_contains_the_value_and_depends_only_on_the_seed(candidate: Rounds) -> None:
    first = quantile(candidate, 0.5, seed=7)
    assert first.low is not None
    assert first.high is not None
    assert first.low < first.value < first.high
    assert quantile(candidate, 0.5, seed=7) == first
    assert quantile(candidate, 0.5, seed=8) != first


def test_the_order_of_the_samples_does_not_matter(candidate: Rounds) -> None:
    shuffled = np.random.default_rng(0).permutation(candidate.n)
    other = Rounds(
        candidate.values[shuffled], candidate.launch[shuffled], candidate.round[shuffled]
    )
    assert quantile(other, 0.9, seed=1) == quantile(candidate, 0.9, seed=1)


def test_the_ratio_the_other_way_round_is_the_inverse(candidate: Rounds, baseline: Rounds) -> None:
    there = paired_p50_ratio(candidate, baseline, seed=0)
    back = paired_p50_ratio(baseline, candidate, seed=0)
    assert there.low is not None
    assert there.high is not None
    assert back.value == pytest.approx(1 / there.value)
    assert back.low == pytest.approx(1 / there.high, abs=1e-3)
    assert back.high == pytest.approx(1 / there.low, abs=1e-3)


def test_the_paired_ratio_is_immune_to_a_machine_that_changes_speed(
    as_rounds: Callable[..., Rounds],
) -> None:
    rng = np.random.default_rng(3)
    speed = np.where(rng.random((5, 20, 1)) < 0.5, 1.0, 1.5)
    ours, theirs = (np.exp(rng.normal(0, 0.02, (5, 20, 100))) * speed for _ in range(2))
    ratio = paired_p50_ratio(as_rounds(ours), as_rounds(theirs), seed=0)
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < 1 < ratio.high
    assert ratio.high - ratio.low < 0.01


def test_only_rounds_that_both_have_are_compared(candidate: Rounds, baseline: Rounds) -> None:
    partial = baseline.select(baseline.block_keys[:, 1] < 10)
    same = candidate.select(candidate.block_keys[:, 1] < 10)
    assert paired_p50_ratio(candidate, partial, seed=0) == paired_p50_ratio(same, partial, seed=0)
    assert tail_ratio(candidate, partial, 0.9, seed=0) == tail_ratio(same, partial, 0.9, seed=0)


def test_equal_values_give_an_interval_of_no_width(as_rounds: Callable[..., Rounds]) -> None:
    rounds = as_rounds(np.full((5, 12, 12), 2.5))
    for estimate in (quantile(rounds, 0.5, seed=0), mean(rounds, seed=0)):
        assert (estimate.low, estimate.value, estimate.high) == (2.5, 2.5, 2.5)
    ratio = paired_p50_ratio(rounds, rounds, seed=0)
    assert (ratio.low, ratio.value, ratio.high) == (1.0, 1.0, 1.0)


def test_launches_that_agree_by_chance_still_leave_an_interval(
    as_rounds: Callable[..., Rounds],
) -> None:
    one = np.exp(np.random.default_rng(0).normal(0, 0.1, (1, 20, 50)))
    estimate = quantile(as_rounds(np.repeat(one, 5, axis=0)), 0.5, seed=0)
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.high - estimate.low > 0.002


def test_a_single_block_has_no_interval(as_rounds: Callable[..., Rounds]) -> None:
    estimate = quantile(as_rounds(np.arange(1.0, 10.0).reshape(1, 1, 9)), 0.5, seed=0)
    assert (estimate.value, estimate.low, estimate.high) == (5.0, None, None)


def test_one_round_in_each_launch_is_enough(latencies: Callable[..., Rounds]) -> None:
    rounds = latencies("lognormal", np.random.default_rng(0), (5, 1, 40))
    assert quantile(rounds, 0.5, seed=0).has_interval


def test_launches_of_unequal_length_are_accepted(latencies: Callable[..., Rounds]) -> None:
    rounds = latencies("lognormal", np.random.default_rng(0))
    keys = rounds.block_keys
    uneven = rounds.select(keys[:, 1] < 4 * (keys[:, 0] + 1))
    assert uneven.blocks == 4 + 8 + 12 + 16 + 20
    assert quantile(uneven, 0.5, seed=0).has_interval


def test_refuses_what_it_cannot_answer(candidate: Rounds) -> None:
    with pytest.raises(ValueError, match="q must lie"):
        quantile(candidate, 1.0, seed=0)
    with pytest.raises(ValueError, match="resamples"):
        mean(candidate, seed=0, resamples=0)
    elsewhere = Rounds(candidate.values, candidate.launch + 9, candidate.round)
    with pytest.raises(ValueError, match="in common"):
        paired_p50_ratio(candidate, elsewhere, seed=0)
    negative = Rounds(-candidate.values, candidate.launch, candidate.round)
    with pytest.raises(ValueError, match="positive"):
        tail_ratio(candidate, negative, 0.9, seed=0)


def test_a_higher_confidence_is_wider_by_students_t(candidate: Rounds, baseline: Rounds) -> None:
    for interval in (
        lambda c: quantile(candidate, 0.5, seed=0, confidence=c),
        lambda c: mean(candidate, seed=0, confidence=c),
        lambda c: tail_ratio(candidate, baseline, 0.99, seed=0, confidence=c),
    ):
        usual, certain = interval(0.95), interval(0.999)
        assert usual == interval(0.95)
        wider = np.log(certain.high / certain.value) / np.log(usual.high / usual.value)
        assert wider == pytest.approx(8.610 / 2.776, rel=0.02)  # t of 4 degrees of freedom
        assert certain.low < usual.low
    ratios = [paired_p50_ratio(candidate, baseline, seed=0, confidence=c) for c in (0.95, 0.999)]
    assert ratios[0].low > ratios[1].low
    assert ratios[0].high < ratios[1].high


def test_draws_come_in_chunks_of_bounded_size(
    as_rounds: Callable[..., Rounds], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    draw = bootstrap.block_multiplicities

    def spy(launch: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        seen.append(count * launch.size)
        return draw(launch, count, rng)

    monkeypatch.setattr(bootstrap, "block_multiplicities", spy)
    rounds = as_rounds(np.random.default_rng(0).random((4, 500, 2)) + 1)
    assert quantile(rounds, 0.5, seed=0, resamples=1200).has_interval
    assert sum(seen) == 1200 * 2000
    assert max(seen) <= 1_000_000


def test_memory_does_not_grow_with_resamples_times_samples(
    as_rounds: Callable[..., Rounds],
) -> None:
    rounds = as_rounds(np.random.default_rng(0).random((5, 20, 1500)) + 1)
    paired_p50_ratio(rounds, rounds, seed=0, resamples=10)  # groups the samples, once
    tracemalloc.start()
    quantile(rounds, 0.99, seed=0, resamples=500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000  # 500 x 150,000 resampled values would be 600 MB
