"""The ratio of the p50 of two candidates of a run, from their raw samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlopt import stats
from mlopt.profiling.samples import Samples
from mlopt.profiling.stopping import confidence_of
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Evidence, Measurement
from mlopt.types.run import Run


def p50_ratio_between(run: Run, run_dir: Path) -> Callable[[str, str], Estimate]:
    """A function of two candidates' names: the ratio of their p50 at the first workload.

    Where both were in the run-off, that alone counts. Members of one trial are paired round by round.
    Across trials, and of two that were never in it together, only the ratios over the baseline, which
    is beside everybody, can be set against each other; the widest interval is taken.
    """

    def ratio(first: str, second: str) -> Estimate:
        if first == second:
            return Estimate(value=1.0, low=1.0, high=1.0)
        a, b = _measurements(run, first, second)
        rounds = [Samples.read(run_dir, m.samples).block_medians() for m in (a, b)]
        if a.trial == b.trial and _met(*rounds):
            confidence = confidence_of(run.plan.schedule)
            return stats.paired_p50_ratio(*rounds, seed=run.plan.seed, confidence=confidence)
        one = Estimate(value=1.0, low=1.0, high=1.0)
        return (a.p50_ratio or one).over(b.p50_ratio or one)

    return ratio


def _met(first: stats.Rounds, second: stats.Rounds) -> bool:
    """Whether two were in one round."""
    keys = ({(a, b) for a, b in one.block_keys.tolist()} for one in (first, second))
    return bool(set.intersection(*keys))


def _measurements(run: Run, *names: str) -> list[Measurement]:
    """At the first workload, each of the same kind of evidence."""
    results = [run.candidate(name) for name in names]
    run_off = [result.run_off for result in results]
    found = run_off if all(e is not None and e.measurements for e in run_off) else None
    kinds = found or [result.selection for result in results]
    return [_first(evidence) for evidence in kinds]


def _first(evidence: Evidence | None) -> Measurement:
    assert evidence is not None, "only measured candidates are compared"
    return evidence.measurements[0]
