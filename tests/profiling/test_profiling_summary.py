"""From raw samples to what may be said of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt.profiling.launch import Observed
from mlopt.profiling.samples import Samples
from mlopt.profiling.summary import summarize
from mlopt.types.measurement import Evidence, Measurement, Quality
from mlopt.types.workload import Workload

Summarize = Callable[..., Evidence]


def observed(
    factor: float = 1.0,
    *,
    launches: int = 5,
    rounds: int = 12,
    count: int = 20,
    drift: float = 0.0,
    sizes: tuple[int, ...] = (1,),
    seed: int = 0,
) -> Observed:
    """Latencies around ``factor`` milliseconds; ``drift`` slows the machine down over the rounds.

    The drift is the same for everybody: rounds are interleaved.
    """
    rng = np.random.default_rng(seed)
    found = Observed(
        launches=[(100_000_000 + i * 10**6, 10**8 + i, i, 10**8) for i in range(launches)]
    )
    for size in sizes:
        for launch in range(launches):
            for number in range(rounds):
                level = factor * size * (1 + drift * number / rounds) * 1e6
                block = level * (1 + 0.02 * rng.random(count))
                found.of(size).add(launch, number, block.astype(int).tolist())
    return found


@pytest.fixture
def summary(tmp_path: Path) -> Summarize:
    def run(
        seen: Observed,
        baseline: Observed | None = None,
        sizes: tuple[int, ...] = (1,),
        **more: Any,
    ) -> Evidence:
        return summarize(
            seen,
            baseline,
            tuple(Workload(batch_size=size) for size in sizes),
            trial="selection",
            stopped_because="done",
            run_dir=tmp_path,
            file_stem="int8",
            seed=0,
            **more,
        )

    return run


def only(evidence: Evidence) -> Measurement:
    (measurement,) = evidence.measurements
    return measurement


def test_latencies_are_in_milliseconds_with_intervals_around_them(summary: Summarize) -> None:
    seen = observed(2.0)
    found = only(summary(seen))
    values = seen.samples[1].ns / 1e6
    for estimate, want in (
        (found.p50_ms, np.quantile(values, 0.5)),
        (found.p90_ms, np.quantile(values, 0.9)),
        (found.mean_ms, values.mean()),
    ):
        assert estimate.value == pytest.approx(want, rel=1e-3)
        assert estimate.low <= estimate.value <= estimate.high  # type: ignore[operator]
        assert 2.0 < estimate.low < estimate.high < 2.05  # type: ignore[operator]
    assert (found.launches, found.rounds, found.count) == (5, 60, 1200)
    assert (found.trial, found.stopped_because) == ("selection", "done")


def test_every_raw_sample_is_kept_with_its_launch_and_round(
    summary: Summarize, tmp_path: Path
) -> None:
    seen = observed()
    found = only(summary(seen))
    assert found.samples.path == "samples/selection/int8-batch-1.npz"
    stored = Samples.read(tmp_path, found.samples)
    np.testing.assert_array_equal(stored.ns, seen.samples[1].ns)
    np.testing.assert_array_equal(stored.blocks, seen.samples[1].blocks)


def test_the_ratio_is_paired_so_that_a_common_drift_does_not_blur_it(summary: Summarize) -> None:
    baseline, seen = observed(1.0, drift=1.0), observed(0.5, drift=1.0, seed=1)
    found = only(summary(seen, baseline))
    ratio = found.p50_ratio
    assert ratio is not None
    assert ratio.value == pytest.approx(0.5, rel=0.01)
    assert 0.49 < ratio.low < ratio.high < 0.51  # type: ignore[operator]
    assert found.p50_ms.high - found.p50_ms.low > 0.05  # type: ignore[operator]  # the level is not as sure


def test_a_ratio_is_candidate_over_baseline(summary: Summarize) -> None:
    ratio = only(summary(observed(3.0), observed(1.0, seed=1))).p50_ratio
    assert ratio is not None
    assert ratio.value == pytest.approx(3.0, rel=0.01)


@pytest.mark.parametrize("baseline", [None, Observed()], ids=["none", "not measured"])
def test_without_a_baseline_there_is_no_ratio(
    summary: Summarize, baseline: Observed | None
) -> None:
    found = only(summary(observed(), baseline))
    assert (found.p50_ratio, found.p99_ratio) == (None, None)


@pytest.mark.parametrize(
    ("rounds", "count", "support"),
    [
        (12, 20, "interval"),
        (12, 8, "upper_bound"),
        (6, 100, "upper_bound"),
        (12, 5, "insufficient"),
    ],
)
def test_what_is_said_of_the_p99_depends_on_samples_and_rounds(
    summary: Summarize, rounds: int, count: int, support: str
) -> None:
    seen = observed(rounds=rounds, count=count)
    found = only(summary(seen, observed(seed=1, rounds=rounds, count=count)))
    assert found.p99_support == support
    if support == "insufficient":
        assert found.p99_ms is None
    else:
        assert found.p99_ms is not None
        assert (found.p99_ms.low is None) == (support == "upper_bound")
        assert found.p99_ms.high is not None
        assert found.p99_ms.high >= found.p99_ms.value
    assert (found.p99_ratio is None) == (support != "interval")


def test_a_ratio_of_tails_needs_enough_samples_of_both(summary: Summarize) -> None:
    found = only(summary(observed(), observed(seed=1, count=5)))
    assert found.p99_ms is not None
    assert found.p99_ratio is None
    assert found.p50_ratio is not None


def test_cold_start_and_peak_are_means_over_the_launches(summary: Summarize) -> None:
    found = summary(observed(launches=5))
    assert found.cold_start_ms is not None
    assert found.peak_rss_bytes is not None
    assert found.cold_start_ms.value == pytest.approx(102)
    assert found.cold_start_ms.low < 102 < found.cold_start_ms.high  # type: ignore[operator]
    assert found.peak_rss_bytes.value == pytest.approx(1e8 + 2)


def test_what_was_never_observed_is_unknown(summary: Summarize) -> None:
    found = summary(Observed(), observed())
    assert found.measurements == ()
    assert (found.cold_start_ms, found.peak_rss_bytes, found.quality) == (None, None, None)


def test_workloads_come_in_the_order_of_the_plan_each_with_its_own_ratio(
    summary: Summarize, tmp_path: Path
) -> None:
    sizes = (8, 1)
    found = summary(observed(0.5, sizes=sizes), observed(1.0, seed=1, sizes=sizes), sizes)
    assert [m.workload.batch_size for m in found.measurements] == [8, 1]
    assert found.measurements[0].p50_ms.value == pytest.approx(4.04, rel=0.01)
    for measurement in found.measurements:
        assert measurement.p50_ratio is not None
        assert measurement.p50_ratio.value == pytest.approx(0.5, rel=0.01)
    assert len({m.samples.path for m in found.measurements}) == 2
    assert all((tmp_path / m.samples.path).exists() for m in found.measurements)


def test_a_workload_that_was_not_reached_is_left_out(summary: Summarize) -> None:
    found = summary(observed(sizes=(1,)), sizes=(1, 8))
    assert [m.workload.batch_size for m in found.measurements] == [1]


def test_quality_stands_beside_the_timings(summary: Summarize) -> None:
    quality = Quality(split="selection", predictions=None, metrics=(), flip_rate=0.1)
    assert summary(observed(), quality=quality).quality == quality


def test_a_steady_measurement_has_no_warning(summary: Summarize) -> None:
    assert only(summary(observed())).warnings == ()


@pytest.mark.parametrize(("launches", "warns"), [(1, True), (2, True), (3, False)])
def test_few_launches_are_warned_about(summary: Summarize, launches: int, warns: bool) -> None:
    warnings = only(summary(observed(launches=launches, rounds=20))).warnings
    assert any(warning.startswith("few launches") for warning in warnings) is warns


@pytest.mark.parametrize(("drift", "warns"), [(0.1, False), (1.0, True)])
def test_blocks_of_different_speed_are_warned_about_with_advice(
    summary: Summarize, drift: float, warns: bool
) -> None:
    warnings = only(summary(observed(drift=drift))).warnings
    found = [warning for warning in warnings if warning.startswith("unstable")]
    assert bool(found) is warns
    if warns:
        assert "trust the ratio" in found[0]


def test_the_same_seed_gives_the_same_evidence(summary: Summarize) -> None:
    one, two = (summary(observed(), observed(seed=1)) for _ in range(2))
    ignore = {"measurements": {"__all__": {"samples"}}}
    assert one.model_dump(exclude=ignore) == two.model_dump(exclude=ignore)
