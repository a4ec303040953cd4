"""When a trial has seen enough: by the precision that was asked for, and never by a verdict.

Looking after every launch until a verdict settles would turn an error of 2.5% into several times
that. The width of an interval says nothing of where it lies, so a trial may stop by it. It can be
narrow by chance, which :func:`confidence_of` makes up for; what stopping by the width of the p50
ratio does to coverage is in ``benchmarks/interval_coverage.md``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from mlopt import stats
from mlopt.profiling.samples import Samples
from mlopt.types.estimate import Estimate
from mlopt.types.plan import Schedule

RESAMPLES = 500
"""For an interval that only decides about going on; the reported one takes more."""

RUN_OFF_PRECISION = 0.01
"""Relative half-width of the ratios to the fastest of a run-off: what a launch alone shifts a latency
by."""

LEAST_LAUNCHES = 3
"""Before there are so many, the spread between launches is hardly known."""

Seen = Mapping[str, Mapping[int, Samples]]
"""What has been seen: by candidate, then by batch size."""


def confidence_of(schedule: Schedule) -> float:
    """The confidence of the intervals of a trial, so that 95% hold though their width may end it."""
    first, last = schedule.launches, schedule.most_launches
    return 0.95 if first == last else stats.confidence_after_precision(max(2, first), last)


class Ruling(NamedTuple):
    """What follows from a launch.

    Attributes:
        stop: Why the trial is over; None: it goes on.
        words: How well things are known by now, for the progress line.
        leaving: Candidates that leave the trial, with the reason.
    """

    stop: str | None = None
    words: str = ""
    leaving: Mapping[str, str] = {}


class Referee(Protocol):
    """Looks at a trial after each launch."""

    def after_launch(self, seen: Seen, launches: int) -> Ruling:
        """Says whether to go on.

        Args:
            seen: The samples of those that are still in the trial.
            launches: How many there have been.
        """
        ...


class ByPrecision:
    """Stops when every interval is as narrow as was asked for."""

    def __init__(
        self,
        schedule: Schedule,
        batch_size: int,
        baseline: str | None,
        seed: int,
        confidence: float | None = None,
    ) -> None:
        """Prepares.

        Args:
            schedule: Says how many launches there are at least, and how narrow is enough.
            batch_size: Of the workload that decides.
            baseline: What ratios are over; None, or alone in the trial: the p50 itself is asked.
            seed: For the bootstrap.
            confidence: Of the intervals; default: that of the schedule.
        """
        self._schedule = schedule
        self._batch_size = batch_size
        self._baseline = baseline
        self._seed = seed
        self._confidence = confidence_of(schedule) if confidence is None else confidence

    def after_launch(self, seen: Seen, launches: int) -> Ruling:
        """Stops after the least number of launches, as soon as precision allows."""
        if launches < min(LEAST_LAUNCHES, self._schedule.launches):
            return Ruling()
        blocks = {
            name: sizes[self._batch_size]
            for name, sizes in seen.items()
            if sizes.get(self._batch_size)
        }
        if not blocks:
            return Ruling()
        tails = [samples for name in blocks for samples in seen[name].values() if samples]
        p50, p99 = self._p50_width(blocks), max(map(tail_width, tails))
        schedule = self._schedule
        known = f"{self._subject(blocks)} to {_percent(p50)}, p99 to {_percent(p99)}"
        reached = p50 <= schedule.p50_precision and p99 <= schedule.p99_precision
        asked = f"asked: {_percent(schedule.p50_precision)} and {_percent(schedule.p99_precision)}"
        return _ruling(schedule, launches, reached, known, asked)

    def _subject(self, blocks: Mapping[str, Samples]) -> str:
        return "p50 ratios" if self._baseline in blocks and len(blocks) > 1 else "p50"

    def _p50_width(self, blocks: Mapping[str, Samples]) -> float:
        """The widest relative half-width of a p50 ratio; of the p50, where there is no ratio."""
        if self._subject(blocks) == "p50":
            return max(launch_width(_launch_quantiles(one, 0.5)) for one in blocks.values())
        assert self._baseline is not None
        base = blocks[self._baseline].block_medians()
        ratios = [
            stats.paired_p50_ratio(
                one.block_medians(),
                base,
                seed=self._seed,
                resamples=RESAMPLES,
                confidence=self._confidence,
            )
            for name, one in blocks.items()
            if name != self._baseline
        ]
        return max(map(half_width, ratios))


class BetweenContenders:
    """Stops when it is known how all contenders of a run-off compare with the fastest of them."""

    def __init__(
        self, schedule: Schedule, contenders: Collection[str], batch_size: int, seed: int
    ) -> None:
        """Prepares.

        Args:
            schedule: Says how many launches there are.
            contenders: Names; whoever else is in the trial is there to be compared with.
            batch_size: Of the workload that decides.
            seed: For the bootstrap.
        """
        self._schedule = schedule
        self._contenders = contenders
        self._batch_size = batch_size
        self._seed = seed

    def after_launch(self, seen: Seen, launches: int) -> Ruling:
        """Stops after the least number of launches, as soon as precision allows."""
        racing = [sizes for name, sizes in seen.items() if name in self._contenders]
        if len(racing) < 2:
            return Ruling("fewer than two contenders were left")
        if not all(sizes.get(self._batch_size) for sizes in racing):
            return Ruling()
        rounds = [sizes[self._batch_size].block_medians() for sizes in racing]
        fastest = min(rounds, key=lambda one: self._ratio(one, rounds[0]).value)
        width = max(half_width(self._ratio(one, fastest)) for one in rounds if one is not fastest)
        known = f"p50 ratios to the fastest to {_percent(width)}"
        asked = f"asked: {_percent(RUN_OFF_PRECISION)}"
        return _ruling(self._schedule, launches, width <= RUN_OFF_PRECISION, known, asked)

    def _ratio(self, one: stats.Rounds, other: stats.Rounds) -> Estimate:
        return stats.paired_p50_ratio(
            one,
            other,
            seed=self._seed,
            resamples=RESAMPLES,
            confidence=confidence_of(self._schedule),
        )


def _ruling(schedule: Schedule, launches: int, reached: bool, known: str, asked: str) -> Ruling:
    """Over with the asked precision, after the least launches; without it, after the most."""
    if reached and launches >= schedule.launches:
        return Ruling(f"the asked precision is reached: {known} ({asked})", known)
    if launches >= schedule.most_launches:
        return Ruling(f"the most launches are done: {known} ({asked})", known)
    return Ruling(None, known)


def half_width(estimate: Estimate) -> float:
    """Half the length of an interval, relative to the value; infinite where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return math.inf
    return (estimate.high - estimate.low) / 2 / estimate.value


def tail_width(samples: Samples) -> float:
    """The relative half-width of the p99 by the spread of the launches.

    Infinite for one launch, and where the samples do not allow an interval of it.
    """
    support = stats.tail_support(samples.effective(0.99), len(samples.blocks), 0.99)
    return launch_width(_launch_quantiles(samples, 0.99)) if support == "interval" else math.inf


def launch_width(values: Sequence[float]) -> float:
    """Half the length of Student's 95% interval of the mean of ``values``, relative to the mean."""
    if len(values) < 2:
        return math.inf
    return half_width(stats.mean_interval(list(values)))


def _launch_quantiles(samples: Samples, q: float) -> list[float]:
    """A quantile of each launch: one launch at a time is in memory, never all samples twice."""
    return [float(np.quantile(samples.of_launch(n), q)) for n in samples.launches]


def _percent(share: float) -> str:
    return "not known" if math.isinf(share) else f"±{100 * share:.2g}%"
