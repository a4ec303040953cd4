"""A gate that may look early: five planned looks, which share one error of 2.5%.

Each look has an interval of its own confidence, by the spending of O'Brien and Fleming: the first
ones are so wide that only a great difference ends the trial, and the last one is almost that of a
single look. How often the whole rule errs on its boundary is in ``benchmarks/interval_coverage.md``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from mlopt import stats
from mlopt.profiling.samples import Samples
from mlopt.profiling.stopping import Ruling, Seen
from mlopt.types.decision import Outcome
from mlopt.types.estimate import Estimate

LOOKS: tuple[int, ...] = (4, 6, 8, 10, 12)
"""After how many launches a gate looks, if there is time for all of them."""


LEAST_ROUNDS = 24
"""In each launch of a gate, even where fewer launches fit then. On two shared cores with restless
neighbours, the ratios of 30 launches of a model of 1.1 ms against itself had a standard deviation of
1.8% with 12 rounds of 12 ms, which take as long as 24 of 6 ms, and of 1.3% with 32; with 12 rounds of
40 ms, which take as long as the 32, of 3.0%. What disturbs lasts for tens of milliseconds:
short blocks side by side share it."""


class ByLooks:
    """Ends a trial of two when one of the planned looks settles it.

    Attributes:
        taken: How many looks there have been.
        confidence: Of the last look's interval.
        ruling: The interval of the last look, and what it means; None before the first.
    """

    def __init__(
        self,
        reference: str,
        candidate: str,
        tolerance: float,
        seed: int,
        seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares; the first launch is about to begin.

        Args:
            reference: Name of the one that ratios are over.
            candidate: Name of the one in question.
            tolerance: How much slower it may be, as a share of the reference's p50.
            seed: For the bootstrap.
            seconds: For the whole trial.
            clock: Seconds from any origin.
        """
        self._names = (candidate, reference)
        self._limit = 1.0 + tolerance
        self._seed = seed
        self._seconds = seconds
        self._clock = clock
        self._began = clock()
        self.taken = 0
        self.confidence = 0.95
        self.ruling: tuple[Estimate, Outcome] | None = None

    def after_launch(self, seen: Seen, launches: int) -> Ruling:
        """Looks if a look is planned here, or if the time allows no other launch.

        Then this look is the last one, and spends what is left of the error. That it is, follows
        from what launches cost and never from a result, so that the error stays what it was. One
        model alone settles nothing.
        """
        if any(not any(seen.get(name, {}).values()) for name in self._names):
            return Ruling("one of the two fell out")
        elapsed = self._clock() - self._began
        last = launches >= LOOKS[-1] or elapsed * (launches + 1) / launches > self._seconds
        if launches < LOOKS[0]:
            return Ruling("the time limit, before the first look" if last else None)
        if not last and launches not in LOOKS:
            return Ruling()
        earlier = tuple(look for look in LOOKS if look < launches)
        planned = (*earlier, launches) if last else LOOKS
        self.taken = len(earlier) + 1
        self.confidence = stats.look_confidence(planned)[self.taken - 1]
        candidate, reference = (next(iter(seen[name].values())) for name in self._names)
        ratio = look_interval(candidate, reference, self.confidence, self._seed)
        outcome = judge_ratio(ratio, self._limit)
        self.ruling = ratio, outcome
        words = f"p50 ratio {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
        if outcome == "INCONCLUSIVE" and not last:
            return Ruling(None, words)
        why = "; the time allowed no more" if last and launches < LOOKS[-1] else ""
        return Ruling(
            f"look {self.taken} of {len(planned)}: {words}, limit {self._limit:g}{why}", words
        )


def look_interval(candidate: Samples, reference: Samples, confidence: float, seed: int) -> Estimate:
    """The paired p50 ratio with the interval of one of the planned looks.

    Args:
        candidate: Its samples.
        reference: Those of what the ratio is over, of the same rounds.
        confidence: Of the look; see :func:`mlopt.stats.look_confidence`.
        seed: For the bootstrap.
    """
    return stats.paired_p50_ratio(
        candidate.block_medians(), reference.block_medians(), seed=seed, confidence=confidence
    )


def judge_ratio(ratio: Estimate, limit: float) -> Outcome:
    """PASS when the whole interval lies below the limit, FAIL when it lies above."""
    if ratio.high is not None and ratio.high < limit:
        return "PASS"
    if ratio.low is not None and ratio.low > limit:
        return "FAIL"
    return "INCONCLUSIVE"
