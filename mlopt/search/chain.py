"""Proposers one after the other; each is made when its turn comes, from what was seen so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlopt.search._base import Batch, Proposer
from mlopt.types.run import Run

REFINING = (
    "every choice of every recipe on every provider, but for what is explored; then, from what was "
    "seen, what the plan's refinement names: the search of choices, mixed precision, and session "
    "settings of the fastest; at last the run-off"
)

Stage = Callable[[Run], Proposer | None]
"""Makes a proposer of what is known when its turn comes; None: there is nothing to propose."""


class Chain:
    """Asks the first proposer until it has no more, then the next one.

    Attributes:
        members: The proposers whose turn has come, in their order.
    """

    name = REFINING

    def __init__(self, first: Proposer, stages: Sequence[Stage]) -> None:
        """Begins with ``first``."""
        self._current: Proposer | None = first
        self.members: list[Proposer] = [first]
        self._stages = list(stages)
        self._run: Run | None = None

    def ask(self) -> Batch | None:
        """The next batch of whoever has one."""
        while True:
            if self._current is not None and (batch := self._current.ask()) is not None:
                return batch
            self._current = None
            if not self._stages or self._run is None:
                return None
            self._current = self._stages.pop(0)(self._run)
            if self._current is not None:
                self.members.append(self._current)

    def tell(self, run: Run) -> None:
        """Passes on what was seen."""
        self._run = run
        if self._current is not None:
            self._current.tell(run)
