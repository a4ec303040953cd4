from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from mlopt.stats import bootstrap_delta, mean_delta, weighted_delta
from mlopt.stats.bca import acceleration_of, bca_interval
from mlopt.stats.paired import few_changes_factor

Indices = NDArray[np.int64]


def test_agrees_with_scipy_on_the_bca_interval() -> None:
    sample = np.random.default_rng(0).exponential(size=60)
    ours = bootstrap_delta(lambda i: float(sample[i].mean()), 60, seed=1, resamples=4000)
    theirs = stats.bootstrap((sample,), np.mean, n_resamples=20_000, rng=2).confidence_interval
    assert ours.value == pytest.approx(sample.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.015)
    assert ours.high == pytest.approx(theirs.high, abs=0.015)


def test_the_fast_mean_agrees_with_the_general_one() -> None:
    rng = np.random.default_rng(0)
    deltas = rng.gamma(0.5, size=300) - 0.4
    groups = rng.integers(0, 80, 300)
    general = bootstrap_delta(
        lambda i: float(deltas[i].mean()), 300, seed=0, resamples=4000, groups=groups
    )
    fast = mean_delta(deltas, seed=0, resamples=4000, groups=groups)
    assert fast.value == pytest.approx(general.value)
    assert fast.low == pytest.approx(general.low, abs=0.01)
    assert fast.high == pytest.approx(general.high, abs=0.01)


def test_the_mean_delta_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for run in range(300):
        estimate = mean_delta(rng.exponential(size=100), seed=run, resamples=500)
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= 1 <= estimate.high
    assert 0.90 <= held / 300 <= 0.98


def test_groups_are_the_unit_and_widen_the_interval() -> None:
    per_group = np.random.default_rng(0).normal(size=40)
    deltas, groups = np.repeat(per_group, 25), np.repeat(np.arange(40), 25)
    single, grouped = mean_delta(deltas, seed=0), mean_delta(deltas, seed=0, groups=groups)
    assert single.low is not None
    assert single.high is not None
    assert grouped.low is not None
    assert grouped.high is not None
    assert (grouped.high - grouped.low) / (single.high - single.low) == pytest.approx(5, rel=0.15)


def test_whole_groups_are_drawn() -> None:
    groups = np.array(["b", "a", "b", "c", "a", "b"])

    def statistic(indices: Indices) -> float:
        drawn = np.bincount(indices, minlength=6)
        assert drawn[0] == drawn[2] == drawn[5]
        assert drawn[1] == drawn[4]
        return float(indices.mean())

    assert bootstrap_delta(statistic, 6, seed=0, resamples=50, groups=groups).has_interval


def test_where_nothing_changed_the_rule_of_three_applies() -> None:
    general = bootstrap_delta(lambda i: 0.0, 150, seed=0, resamples=50)
    assert (general.low, general.value, general.high) == (-0.02, 0.0, 0.02)
    fast = mean_delta(np.zeros(150), seed=0, groups=np.repeat(np.arange(50), 3), unit=10)
    assert (fast.low, fast.value, fast.high) == pytest.approx((-0.6, 0.0, 0.6))


def test_resamples_without_an_answer_are_dropped() -> None:
    positive = np.arange(40) < 3

    def share_if_any(indices: Indices) -> float:
        hits = positive[indices]
        return float(hits.mean()) if hits.any() else float("nan")

    estimate = bootstrap_delta(share_if_any, 40, seed=0)
    assert estimate.low is not None
    assert estimate.low > 0


def test_too_many_resamples_without_an_answer_are_an_error() -> None:
    def all_or_nothing(indices: Indices) -> float:
        return 1.0 if np.unique(indices).size == indices.size else float("nan")

    with pytest.raises(ValueError, match="undefined on"):
        bootstrap_delta(all_or_nothing, 30, seed=0, resamples=50)
    with pytest.raises(ValueError, match="not defined on all 30"):
        bootstrap_delta(lambda i: float("nan"), 30, seed=0)


def test_a_large_sample_takes_a_bounded_jackknife() -> None:
    deltas = np.random.default_rng(0).exponential(size=5000)
    calls = 0

    def statistic(indices: Indices) -> float:
        nonlocal calls
        calls += 1
        return float(deltas[indices].mean())

    bootstrap_delta(statistic, 5000, seed=0, resamples=100)
    assert calls == 1 + 100 + 200


def test_acceleration_is_a_sixth_of_the_skewness() -> None:
    sample = np.random.default_rng(0).exponential(size=2000)
    expected = stats.skew(sample) / 6 / np.sqrt(2000)
    assert acceleration_of(sample) == pytest.approx(expected)
    assert acceleration_of(np.ones(5)) is None
    assert acceleration_of(np.array([1.0, np.nan])) is None


def test_bca_falls_back_to_percentiles() -> None:
    replicates = np.arange(1001.0)
    percentiles = pytest.approx((25.0, 975.0))
    assert bca_interval(500.0, replicates, None) == percentiles
    assert bca_interval(-1.0, replicates, 0.1) == percentiles
    assert bca_interval(500.0, replicates, 5.0) == percentiles
    assert bca_interval(500.0, replicates, 0.0) == percentiles


def test_bca_is_not_squeezed_into_one_end_where_nearly_all_replicates_lie_on_one_side() -> None:
    replicates = np.append(np.arange(999.0), 2000.0)
    low, high = bca_interval(1500.0, replicates, 0.0)
    assert low <= np.quantile(replicates, 0.025)
    assert high == pytest.approx(2000.0)


def test_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="groups"):
        mean_delta(np.zeros(3), seed=0, groups=[1, 2])
    with pytest.raises(ValueError, match="finite"):
        mean_delta(np.array([1.0, np.inf]), seed=0)
    with pytest.raises(ValueError, match="at least one example"):
        mean_delta(np.array([]), seed=0)
    with pytest.raises(ValueError, match="resamples"):
        bootstrap_delta(lambda i: 0.0, 3, seed=0, resamples=0)


@pytest.mark.parametrize("grouped", [False, True])
def test_weights_give_the_same_interval_as_indices(grouped: bool) -> None:
    rng = np.random.default_rng(0)
    deltas = rng.gamma(0.5, size=300) - 0.4
    groups = rng.integers(0, 80, 300) if grouped else None
    by_index = bootstrap_delta(lambda i: float(deltas[i].mean()), 300, seed=4, groups=groups)
    by_weight = weighted_delta(lambda w: w @ deltas / w.sum(axis=1), 300, seed=4, groups=groups)
    assert by_weight.value == pytest.approx(by_index.value)
    assert (by_weight.low, by_weight.high) == pytest.approx((by_index.low, by_index.high))


def test_weights_come_in_chunks_of_bounded_size() -> None:
    rows: list[int] = []

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        assert weights.size <= 1_000_000
        rows.append(len(weights))
        assert (weights.sum(axis=1) > 0).all()
        return weights[:, 0]

    weighted_delta(statistic, 20_000, seed=0, resamples=120)
    assert sum(rows) == 1 + 120 + 200
    assert max(rows) == 50


def test_resamples_without_an_answer_are_dropped_with_weights_too() -> None:
    def share_if_any(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        hits = weights[:, :3].sum(axis=1)
        return np.where(hits > 0, hits / weights.sum(axis=1), np.nan)

    estimate = weighted_delta(share_if_any, 40, seed=0)
    assert estimate.low is not None
    assert estimate.low > 0
    with pytest.raises(ValueError, match="undefined on"):
        weighted_delta(lambda w: np.where(w.max(axis=1) > 1, np.nan, 1.0), 30, seed=0)
    with pytest.raises(ValueError, match="not defined on all 30"):
        weighted_delta(lambda w: np.full(len(w), np.nan), 30, seed=0)


def test_a_single_unit_has_the_rule_of_three() -> None:
    estimate = weighted_delta(lambda w: w[:, 0] * 0 + 0.5, 1, seed=0, resamples=20)
    assert (estimate.low, estimate.value, estimate.high) == (-2.5, 0.5, 3.5)


def test_few_changes_have_the_exact_limits_of_a_poisson_number() -> None:
    for changed in (1, 5, 50):
        upper = changed + few_changes_factor(changed, 10**9) * 1.959964 * np.sqrt(changed)
        p = stats.poisson.cdf(changed - 1, upper) + stats.poisson.pmf(changed, upper) / 2
        assert p == pytest.approx(0.025, rel=1e-3)
    assert few_changes_factor(0, 50) == few_changes_factor(50, 50) == 1.0
    with pytest.raises(ValueError, match="changed"):
        few_changes_factor(6, 5)


def macro_f1(right: Indices, found: Indices) -> Callable[[NDArray[np.float64]], Any]:
    def score(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros(len(weights))
        for label in range(3):
            hits = weights @ ((right == label) & (found == label))
            total += 2 * hits / (weights @ (right == label) + weights @ (found == label)) / 3
        return total

    return score


def test_counting_what_changed_mends_the_interval_of_f1() -> None:
    """1% of 300 answers become wrong, a few others right: the bootstrap alone is too sure."""
    runs, n, truth = 150, 300, -0.0073
    held = {False: 0, True: 0}
    for run in range(runs):
        rng = np.random.default_rng([9, run])
        right = rng.choice(3, n, p=[0.6, 0.3, 0.1])
        before = np.where(rng.random(n) < 0.92, right, (right + 1) % 3)
        after = np.where((before == right) & (rng.random(n) < 0.01), (right + 2) % 3, before)
        after = np.where((before != right) & (rng.random(n) < 0.06), right, after)
        new, old = macro_f1(right, after), macro_f1(right, before)
        for known in held:
            found = weighted_delta(
                lambda w, new=new, old=old: new(w) - old(w),
                n,
                seed=run,
                resamples=80,
                changed=int((before != after).sum()) if known else None,
            )
            assert found.low is not None
            assert found.high is not None
            held[known] += found.low <= truth <= found.high
    assert held[False] / runs < 0.92
    assert held[True] / runs >= stats.binom.ppf(0.001, runs, 0.935) / runs


def test_one_change_is_never_surer_than_none() -> None:
    none = mean_delta(np.zeros(200), seed=0)
    one = mean_delta(np.append(np.zeros(199), 1e-3), seed=0)
    assert one.low is not None
    assert none.low is not None
    assert one.low - one.value <= none.low - none.value


@pytest.mark.parametrize("resamples", [1, 2, 20])
def test_degenerate_samples_have_ordered_ends(resamples: int) -> None:
    for deltas in ([0.5], [0.0, 0.5], [-1.0, -1.0, 3.0], [1e-300, 0.0], [1e300, -1e300]):
        found = mean_delta(deltas, seed=0, resamples=resamples)
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
        assert np.isfinite([found.low, found.high]).all()
