"""From raw samples to what may be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlopt import stats
from mlopt.profiling.diagnostics import diagnose, walked, warnings_of
from mlopt.profiling.launch import Observed
from mlopt.profiling.samples import Samples
from mlopt.store.arrays import write_array
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Evidence, LaunchVitals, Measurement, Quality
from mlopt.types.tensors import ArrayRef
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
    confidence: float = 0.95,
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
        confidence: Of the intervals; see :func:`mlopt.profiling.stopping.confidence_of`.
    """
    place = f"samples/{trial}/{file_stem}"
    launches = np.array(observed.launches, dtype=np.int64).reshape(-1, 4)
    measurements = []
    for workload in workloads:
        samples = observed.samples.get(workload.batch_size)
        if not samples:
            continue
        measurements.append(
            measurement_of(
                samples,
                None if baseline is None else baseline.samples.get(workload.batch_size),
                workload,
                trial=trial,
                reference=samples.write(run_dir, f"{place}-{workload.name}.npz"),
                stopped_because=stopped_because,
                seed=seed,
                vitals=observed.vitals,
                launches=launches,
                confidence=confidence,
            )
        )
    return Evidence(
        measurements=tuple(measurements),
        quality=quality,
        cold_start_ms=cold_start_ms(launches),
        peak_rss_bytes=peak_rss_bytes(launches),
        launches=write_array(run_dir, f"{place}-launches.npz", launches=launches),
        left_because=observed.left_because,
        vitals=tuple(observed.vitals),
    )


def measurement_of(
    samples: Samples,
    baseline: Samples | None,
    workload: Workload,
    *,
    trial: str,
    reference: ArrayRef,
    stopped_because: str,
    seed: int,
    vitals: Sequence[LaunchVitals] = (),
    launches: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
) -> Measurement:
    """All that may be said of one candidate and workload, from its samples alone.

    Args:
        samples: Of the candidate; at least one.
        baseline: Of the baseline in the same trial; None or empty: no ratios.
        workload: What was timed.
        trial: Name of the trial.
        reference: Where the samples are stored.
        stopped_because: Why the trial ended.
        seed: For the bootstrap.
        vitals: The machine in each launch.
        launches: What each launch cost; see :attr:`mlopt.types.measurement.Evidence.launches`.
        confidence: Of the intervals.
    """
    rounds = samples.rounds()
    p50_ratio, p99_ratio = _ratios(rounds, baseline, seed, confidence)
    effective = stats.effective_samples(rounds, 0.99)
    diagnostics = diagnose(rounds, vitals, launches)
    return Measurement(
        workload=workload,
        trial=trial,
        samples=reference,
        launches=rounds.launches,
        rounds=rounds.blocks,
        p50_ms=stats.quantile(rounds, 0.5, seed=seed, confidence=confidence),
        p90_ms=stats.quantile(rounds, 0.9, seed=seed, confidence=confidence),
        p99_ms=stats.tail_estimate(rounds, 0.99, seed=seed, confidence=confidence),
        p99_support=stats.tail_support(effective, rounds.blocks, 0.99),
        p99_samples=effective,
        mean_ms=stats.mean(rounds, seed=seed, confidence=confidence),
        p50_ratio=p50_ratio,
        p99_ratio=p99_ratio,
        stopped_because=stopped_because,
        diagnostics=diagnostics,
        walked=walked(rounds, diagnostics),
        warnings=warnings_of(diagnostics),
    )


def cold_start_ms(launches: NDArray[np.int64]) -> Estimate | None:
    """The mean cold start of launches, given as in ``Evidence.launches``, shape (L, 4)."""
    return _mean(launches[:, 0] / 1e6)


def peak_rss_bytes(launches: NDArray[np.int64]) -> Estimate | None:
    """The mean peak memory of launches, which are given as to :func:`cold_start_ms`.

    A launch that the time limit ended before it was asked for its memory has -1 there.
    """
    peaks = launches[:, 1]
    return _mean(peaks[peaks >= 0].astype(np.float64))


def _ratios(
    rounds: stats.Rounds, baseline: Samples | None, seed: int, confidence: float
) -> tuple[Estimate | None, Estimate | None]:
    if not baseline:
        return None, None
    base = baseline.rounds()
    if not set(map(tuple, rounds.block_keys.tolist())) & set(map(tuple, base.block_keys.tolist())):
        return None, None
    p50 = stats.paired_p50_ratio(rounds, base, seed=seed, confidence=confidence)
    supported = all(
        stats.tail_support(stats.effective_samples(r, 0.99), r.blocks, 0.99) == "interval"
        for r in stats.common_rounds(rounds, base)
    )
    if not supported:
        return p50, None
    return p50, stats.tail_ratio(rounds, base, 0.99, seed=seed, confidence=confidence)


def _mean(values: NDArray[np.float64]) -> Estimate | None:
    return stats.mean_interval(values.tolist()) if len(values) else None
