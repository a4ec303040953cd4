"""A run-off: those of whom it is open who is the fastest are timed further, against each other."""

from __future__ import annotations

from collections.abc import Sequence

from mlopt.search._base import Batch
from mlopt.types.run import Run


class RunOff:
    """Proposes nobody new.

    A race of many candidates divides its time between all of them, and shows well who is slow. Of those
    that are left it tells apart what differs by several percent; the choice is between less.
    """

    name = "the fastest candidates again, until it is known how they compare"

    def __init__(self, contenders: Sequence[str], seconds: float | None = None) -> None:
        """Prepares.

        Args:
            contenders: Names of candidates that were timed in one trial, at least two.
            seconds: That timing them may take, once they have loaded.
        """
        self._next: Batch | None = Batch(
            (), because="the run-off of the fastest", seconds=seconds, again=tuple(contenders)
        )

    def ask(self) -> Batch | None:
        """All of them, once."""
        batch, self._next = self._next, None
        return batch

    def tell(self, run: Run) -> None:
        """Nothing that was seen brings another one in."""
