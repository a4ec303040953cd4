"""The highest rate that is sustained, by bisection; what a rate does is somebody else's to say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from mlopt.types.estimate import Estimate

RESOLUTION = 0.05
"""Relative distance at which the search ends."""

LEAST_SHARE = 1 / 16
"""Of the ceiling: if a rate as low as this is not sustained, none is."""

FIRST_SHARE = 0.7
"""Of the ceiling: where the search begins. A queue's tail grows steeply beyond."""

Probe = Callable[[float], bool | None]
"""Whether a rate is sustained; None when that cannot be told."""


class Search(NamedTuple):
    """How a search ended.

    Attributes:
        sustained: See :attr:`mlopt.types.load.LoadResult.sustained_per_s`; None when nothing is
            known.
    """

    sustained: Estimate | None
    stopped_because: str


def find_sustained(
    probe: Probe,
    ceiling_per_s: float,
    *,
    resolution: float = RESOLUTION,
    is_over: Callable[[], bool] = lambda: False,
) -> Search:
    """Looks for the highest sustained rate on a logarithmic scale.

    A rate of which nothing can be told is treated as not sustained, so the search goes on below it:
    what is named as sustained was shown to be.

    Args:
        probe: Tries a rate.
        ceiling_per_s: A rate that is certainly too high: what closed loops reach, and a bit more.
        resolution: Relative distance at which the search ends.
        is_over: Whether there is no more time; asked before each rate.
    """
    low, high = 0.0, ceiling_per_s
    rate = FIRST_SHARE * ceiling_per_s
    tried: list[tuple[float, bool | None]] = []
    while high / low > 1 + resolution if low else high > LEAST_SHARE * ceiling_per_s:
        if is_over():
            return Search(sustained_of(tried), "the time limit")
        verdict = probe(rate)
        tried.append((rate, verdict))
        if verdict:
            low = rate
        else:
            high = rate
        rate = math.sqrt(low * high) if low else high / 2
    if not low:
        return Search(
            sustained_of(tried), "not even the lowest rate could be shown to be sustained"
        )
    return Search(sustained_of(tried), f"rates were tried to within {resolution:.2g} of each other")


def sustained_of(tried: Iterable[tuple[float, bool | None]]) -> Estimate | None:
    """What rates that were tried say of the highest sustained one.

    Args:
        tried: Rates and whether each is sustained. Where a higher one is and a lower one is not, the
            lower one counts: it was certainly not.
    """
    tried = list(tried)
    high = min((rate for rate, verdict in tried if verdict is False), default=None)
    low = max(
        (rate for rate, verdict in tried if verdict and (high is None or rate < high)), default=None
    )
    value = low if low is not None else high
    return None if value is None else Estimate(value=value, low=low, high=high)
