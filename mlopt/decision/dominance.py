"""Candidates that can no longer be chosen leave the race, and leave its time to the others.

The rule takes the fastest of those that may ship, so whoever is slower for certain than one of them is
out. One that loses less of some metric stays until its latency has an interval: a reader may want that
trade. What remains of a candidate has fewer samples, and is reported as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mlopt import stats
from mlopt.profiling.samples import Samples
from mlopt.profiling.stopping import Referee, Ruling, Seen
from mlopt.types.budget import BudgetLine
from mlopt.types.measurement import Quality
from mlopt.types.plan import Plan
from mlopt.types.run import CandidateResult
from mlopt.types.workload import Workload


class Margin(NamedTuple):
    """How much slower is enough to leave, seen in how many launches.

    Attributes:
        factor: How much slower a round must be to count.
        launches: In common, at least.
        error: The largest p-value of the sign test over rounds.
        share: Of the rounds that must show it, at least.
    """

    factor: float
    launches: int
    error: float
    share: float = 0.5


MARGINS = (
    Margin(1.05, 5, 1e-4),
    Margin(1.1, 3, 1e-4),
    Margin(1.2, 2, 1e-4),
    Margin(1.5, 1, 1e-3, share=0.95),
)
"""A launch alone shifts a latency by about 1%: five times that shows in five lives of a process, ten
times in three, twenty times in two, and fifty times in one, where nearly all of its rounds agree: what
disturbs one life of a process may last for half of it. With ten candidates looked at ten times each, one
race in a hundred loses one that is less slow."""

LEAST_LAUNCHES = 3
"""Of the reference, and of one that loses less of a metric than its rival: with fewer, no interval is
worth reading."""

LEVELS = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99}
"""Of the quantiles that a budget line may be about; the other latency is the mean."""


FAR_BELOW = 0.5
"""Of the limit of a latency: few samples settle no tail, but what they show to be within half of its
limit is taken for kept until more is known."""


class Standing(NamedTuple):
    """What is known of a candidate before it is timed.

    Attributes:
        losses: Of each metric with a margin: how much worse than the baseline, as observed.
        may_ship: Whether nothing is against it but, perhaps, its latency.
        may_leave: False for the baseline, which the others are compared with.
        is_read: Whether it is worth reading though it is slow: the reference.
    """

    losses: tuple[float, ...]
    may_ship: bool
    may_leave: bool
    is_read: bool = False


class Race:
    """A referee who also sends dominated candidates home."""

    def __init__(
        self, referee: Referee, standings: Mapping[str, Standing], budget: Sequence[BudgetLine]
    ) -> None:
        """Prepares.

        Args:
            referee: Says when the race is over.
            standings: Of every candidate in the race.
            budget: With a line about anything but latency and size nobody leaves, since a slower
                candidate may be the one that keeps it.
        """
        self._referee = referee
        self._standings = standings
        self._budget = budget
        self._open = all(line.is_latency or line.quantity == "size_bytes" for line in budget)

    def after_launch(self, seen: Seen, launches: int) -> Ruling:
        """Says whether to go on, and who leaves."""
        leaving = self._leaving(seen) if self._open else {}
        rest = {name: samples for name, samples in seen.items() if name not in leaving}
        return self._referee.after_launch(rest, launches)._replace(leaving=leaving)

    def _leaving(self, seen: Seen) -> dict[str, str]:
        found = {}
        for name in seen:
            rival = next((other for other in seen if self._dominates(other, name, seen)), None)
            if rival is not None and rival not in found:
                found[name] = reason_to_leave(rival)
        return found

    def _dominates(self, one: str, other: str, seen: Seen) -> bool:
        standings = self._standings[one], self._standings[other]
        return one != other and dominates(*standings, seen[one], seen[other], self._budget)


def reason_to_leave(rival: str) -> str:
    """What a run says of a candidate that left because of ``rival``."""
    return f"certainly slower than {rival}, which may ship"


def dominates(
    ours: Standing,
    theirs: Standing,
    our_samples: Mapping[int, Samples],
    their_samples: Mapping[int, Samples],
    budget: Sequence[BudgetLine],
) -> bool:
    """Whether one candidate leaves another no chance to be chosen.

    Args:
        ours: What is known of the one.
        theirs: What is known of the other.
        our_samples: Of the one, by batch size.
        their_samples: Of the other; one that was not timed yet is not judged.
        budget: Its lines about latency are what the one must seem to keep.
    """
    loses_less = any(a > b for a, b in zip(ours.losses, theirs.losses, strict=True))
    least = LEAST_LAUNCHES if loses_less or theirs.is_read else 1
    return (
        theirs.may_leave
        and bool(their_samples)
        and ours.may_ship
        and all(
            size in our_samples and clearly_slower(samples, our_samples[size], least)
            for size, samples in their_samples.items()
        )
        and all(_seems_kept(line, our_samples) for line in budget if line.is_latency)
    )


def _seems_kept(line: BudgetLine, samples: Mapping[int, Samples]) -> bool:
    """Whether what was seen of a latency is within its limit; a workload not timed keeps nothing.

    A p99 must be far below: until it has an interval, the choice takes no other one for kept.
    """
    share = FAR_BELOW if line.quantity == "p99_ms" else 1.0
    found = [
        one for size, one in samples.items() if Workload(batch_size=size).name == line.workload
    ]
    return any(_seen_ms(line, one) <= share * line.limit for one in found if one)


def _seen_ms(line: BudgetLine, samples: Samples) -> float:
    level = LEVELS.get(line.quantity)
    return float(samples.ns.mean() if level is None else np.quantile(samples.ns, level)) / 1e6


def clearly_slower(slow: Samples, fast: Samples, least_launches: int = 1) -> bool:
    """Whether more than half of all rounds would show ``slow`` slower by one of :data:`MARGINS`.

    Args:
        slow: Of the one that may be slower.
        fast: Of the other.
        least_launches: That both must have been in.
    """
    pairs = _common_medians(slow, fast)
    launches = len({launch for launch, _ in pairs})
    ratios = np.array([a / b for a, b in pairs.values()])
    for margin in MARGINS:
        slower = int((ratios > margin.factor).sum())
        chance = stats.mcnemar_one_sided(gained=len(ratios) - slower, lost=slower)
        enough = launches >= max(least_launches, margin.launches)
        if enough and chance < margin.error and slower >= margin.share * len(ratios):
            return True
    return False


def _common_medians(first: Samples, second: Samples) -> dict[tuple[int, int], tuple[float, float]]:
    keys, values = first.block_medians().block_medians()
    others, rival_values = second.block_medians().block_medians()
    rival = dict(zip(map(tuple, others.tolist()), rival_values.tolist(), strict=True))
    return {
        (launch, number): (value, rival[launch, number])
        for (launch, number), value in zip(keys.tolist(), values.tolist(), strict=True)
        if (launch, number) in rival
    }


def standing_of(result: CandidateResult, quality: Quality, plan: Plan) -> Standing:
    """What is known of a candidate that was built and scored.

    Args:
        result: As it stands in the run.
        quality: What it answers on the selection split.
        plan: Says how large it may be, and whether nodes may run on another provider.
    """
    sizes = [line for line in plan.budget if line.quantity == "size_bytes"]
    judged = [metric for metric in quality.metrics if metric.max_drop is not None]
    losses = tuple(-m.delta.value if m.higher_is_better else m.delta.value for m in judged)
    within = all(
        loss <= metric.max_drop
        for loss, metric in zip(losses, judged, strict=True)
        if metric.max_drop is not None
    )
    return Standing(
        losses=losses,
        may_ship=within
        and all((result.size_bytes or 0) <= line.limit for line in sizes)
        and result.plan.role != "reference"
        and (plan.allow_fallback or not result.fell_back),
        may_leave=result.plan.role != "baseline",
        is_read=result.plan.role == "reference",
    )
