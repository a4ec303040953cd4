"""What runs inside a worker under load: one candidate, its callers, and their arrivals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlopt.profiling.load_callers import Served, closed_loop, open_loop
from mlopt.profiling.session import input_pool
from mlopt.serving import Opening, opener

SESSION = "mlopt.profiling.load_session:LoadSession"


class LoadSession:
    """Loads a candidate once, binds inputs for each caller, and serves loads on request."""

    def __init__(
        self,
        opening: tuple[str, dict[str, Any]],
        snapshot: str,
        batch_size: int,
        callers: int,
        pool: int,
        warmup: int,
    ) -> None:
        """Loads the candidate.

        Args:
            opening: An :class:`~mlopt.serving.Opening`, as JSON made a list of it.
            snapshot: Directory of the examples that the pool is drawn from.
            batch_size: Examples in one request.
            callers: Most callers at a time. They share the session and divide the pool, since a
                bound inference is one caller's alone.
            pool: Number of different batches.
            warmup: Untimed inferences of each caller before a load.
        """
        inputs = input_pool(Path(snapshot), batch_size, pool)
        self._session = opener(Opening(*opening))()
        self._inputs = [inputs[i::callers] or [inputs[i % len(inputs)]] for i in range(callers)]
        self._calls = [[self._session.bind(one) for one in own] for own in self._inputs]
        self._warmup = warmup

    def closed(self, callers: int, length_ns: int) -> dict[str, list[int]]:
        """A closed loop of so many callers."""
        return _answer(
            closed_loop(
                self._calls[:callers],
                length_ns,
                warmup=self._warmup,
                serving=self._session.serving,
            )
        )

    def open(
        self, callers: int, rate_per_s: float, length_ns: int, patience_ns: int, seed: list[int]
    ) -> dict[str, list[int]]:
        """Poisson arrivals at a fixed rate, served by so many callers."""
        return _answer(
            open_loop(
                self._calls[:callers],
                poisson_arrivals(rate_per_s, length_ns, seed),
                patience_ns,
                warmup=self._warmup,
                serving=self._session.serving,
            )
        )


def poisson_arrivals(rate_per_s: float, length_ns: int, seed: list[int]) -> list[int]:
    """Moments in nanoseconds, before ``length_ns``, of a Poisson process.

    Args:
        rate_per_s: Mean number in a second.
        length_ns: Where the process ends.
        seed: The same seed gives the same arrivals.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    # Given their number, the moments of a Poisson process are uniform and independent.
    count = int(rng.poisson(rate_per_s * length_ns / 1e9))
    moments: list[int] = np.sort(rng.integers(0, length_ns, count)).tolist()
    return moments


def _answer(served: Served) -> dict[str, list[int]]:
    return served._asdict()
