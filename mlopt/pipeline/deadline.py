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

RUN_OFF_SHARE = 0.3
"""Of what is left after the first measurement: the verdict stands on the confirmation."""

CONFIRMATION_SHARE = 0.5
"""Of what is left after the choice, what timing it again may take before it is put under load: the
latency and a throughput line are worth the same to a verdict."""

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
        return self._share(SELECTION_SHARE)

    def run_off(self) -> float | None:
        """Value of the clock at which the run-off must have ended."""
        return self._share(RUN_OFF_SHARE)

    def confirmation(self, *, loads: bool) -> float | None:
        """Value of the clock at which the choice must have been timed again.

        Args:
            loads: Whether it is put under load thereafter, which needs time of its own.
        """
        return self._share(CONFIRMATION_SHARE) if loads else self.moment

    def passed(self, moment: float | None) -> bool:
        """Whether ``moment`` is over."""
        return moment is not None and self._clock() >= moment

    def _share(self, share: float) -> float | None:
        """Value of the clock at which a share of what is left from now on is over."""
        if self.moment is None:
            return None
        now = self._clock()
        return now + share * max(0.0, self.moment - now)

    def limits(self, limits: Limits, moment: float | None) -> Limits:
        """``limits`` with a call's time cut to what is left until ``moment``."""
        if moment is None:
            return limits
        left = max(LEAST_CALL_S, moment - self._clock())
        return limits._replace(seconds=min(left, limits.seconds or left))
