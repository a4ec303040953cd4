"""From raw samples to what may be said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlopt import stats
from mlopt.profiling.trial import Observed
from mlopt.store.files import write_array
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Evidence, Measurement, Quality
from mlopt.types.workload import Workload


def summarize(
    observed: Observed,
    baseline: Observed | None,
    workloads: tuple[Workload, ...],
    *,
    trial: str,
    stopped_because: str,
    run_dir: Path,
    file_stem: str,
    seed: int,
    quality: Quality | None = None,
) -> Evidence:
    """Stores the samples of one candidate, and summarizes them.

    Args:
        observed: What the trial saw of the candidate.
        baseline: What the same trial saw of the baseline; None: no ratios.
        workloads: In the order of the plan.
        trial: Name of the trial; samples go to ``samples/<trial>/``.
        stopped_because: Why the trial ended.
        run_dir: Directory of the run.
        file_stem: Beginning of the names of the sample files.
        seed: For the bootstrap.
        quality: What the candidate answered, to stand beside the timings.
    """
    measurements = []
    for workload in workloads:
        samples = observed.array(workload.batch_size)
        if len(samples) == 0:
            continue
        reference = write_array(
            run_dir, f"samples/{trial}/{file_stem}-{workload.name}.npz", samples=samples
        )
        rounds = as_rounds(samples)
        p50_ratio, p99_ratio = _ratios(rounds, baseline, workload, seed)
        measurements.append(
            Measurement(
                workload=workload,
                trial=trial,
                samples=reference,
                launches=rounds.launches,
                rounds=rounds.blocks,
                p50_ms=stats.quantile(rounds, 0.5, seed=seed),
                p90_ms=stats.quantile(rounds, 0.9, seed=seed),
                p99_ms=stats.tail_estimate(rounds, 0.99, seed=seed),
                p99_support=stats.tail_support(rounds.n, rounds.blocks, 0.99),
                mean_ms=stats.mean(rounds, seed=seed),
                p50_ratio=p50_ratio,
                p99_ratio=p99_ratio,
                stopped_because=stopped_because,
                warnings=_warnings(rounds),
            )
        )
    return Evidence(
        measurements=tuple(measurements),
        quality=quality,
        cold_start_ms=_mean(observed.cold_start_ms),
        peak_rss_bytes=_mean(observed.peak_rss_bytes),
    )


def as_rounds(samples: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> stats.Rounds:
    """Samples of shape (N, 3) in nanoseconds, launch and round, as milliseconds with their blocks."""
    return stats.Rounds(values=samples[:, 0] / 1e6, launch=samples[:, 1], round=samples[:, 2])


def _ratios(
    rounds: stats.Rounds, baseline: Observed | None, workload: Workload, seed: int
) -> tuple[Estimate | None, Estimate | None]:
    samples = None if baseline is None else baseline.array(workload.batch_size)
    if samples is None or len(samples) == 0:
        return None, None
    base = as_rounds(samples)
    p50 = stats.paired_p50_ratio(rounds, base, seed=seed)
    supported = all(stats.tail_support(r.n, r.blocks, 0.99) == "interval" for r in (rounds, base))
    return p50, stats.tail_ratio(rounds, base, 0.99, seed=seed) if supported else None


def _warnings(rounds: stats.Rounds) -> tuple[str, ...]:
    """What a reader should know before trusting the numbers, each with its advice."""
    found = []
    if rounds.launches < 3:
        found.append(
            f"only {rounds.launches} launch(es): the spread between processes is hardly known; allow more time"
        )
    _, medians = rounds.block_medians()
    p10, p90 = np.quantile(medians, (0.1, 0.9))
    if p90 > 1.25 * p10:
        found.append(
            f"unstable: the medians of the blocks range from {p10:.3g} to {p90:.3g} ms (10th to 90th percentile); "
            "trust the ratio, which is paired in each round, and close other programs"
        )
    return tuple(found)


def _mean(values: list[float]) -> Estimate | None:
    return stats.mean_interval(values) if values else None
