"""The time limit of a run, and how its phases share it."""

from __future__ import annotations

import time
from collections.abc import Callable

from mlopt.workers import Limits

REPORT_S = 4.0
"""Kept back for deciding and for writing the report."""

BUILD_SHARE = 0.6
SELECTION_SHARE = 0.6
"""Of what is left after building, what the first measurement may take; the rest confirms."""

LEAST_CALL_S = 1.0


class Deadline:
    """A moment that the run must not pass; without a limit it never comes."""

    def __init__(
        self,
        limit_s: float | None,
        clock: Callable[[], float] = time.monotonic,
        start: float | None = None,
    ) -> None:
        """Starts now, or at ``start``.

        Args:
            limit_s: Wall-clock seconds of the whole run; None: no limit.
            clock: Monotonic seconds.
            start: Value of ``clock`` when the run began.
        """
        self._clock = clock
        self._start = clock() if start is None else start
        self._limit_s = limit_s

    @property
    def moment(self) -> float | None:
        """Value of the clock at which measuring must have ended."""
        return None if self._limit_s is None else self._start + max(0.0, self._limit_s - REPORT_S)

    @property
    def building(self) -> float | None:
        """Value of the clock at which building must have ended, so that time is left to measure."""
        return None if self._limit_s is None else self._start + BUILD_SHARE * self._limit_s

    def selection(self) -> float | None:
        """Value of the clock at which the first measurement must have ended."""
        if self.moment is None:
            return None
        now = self._clock()
        return now + SELECTION_SHARE * max(0.0, self.moment - now)

    def passed(self, moment: float | None) -> bool:
        """Whether ``moment`` is over."""
        return moment is not None and self._clock() >= moment

    def limits(self, limits: Limits, moment: float | None) -> Limits:
        """``limits`` with a call's time cut to what is left until ``moment``."""
        if moment is None:
            return limits
        left = max(LEAST_CALL_S, moment - self._clock())
        return limits._replace(seconds=min(left, limits.seconds or left))
