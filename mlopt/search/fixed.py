"""A list that is known beforehand: every expansion of every recipe on every provider."""

from collections.abc import Sequence

from mlopt.search._base import Batch
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.run import Run


class FixedList:
    """Proposes all candidates at once."""

    name = "fixed list: every choice of every recipe on every provider"

    def __init__(self, candidates: Sequence[PlannedCandidate]) -> None:
        """Takes the list."""
        self._left = tuple(candidates)

    def ask(self) -> Batch | None:
        """All of them, once."""
        batch, self._left = self._left, ()
        return Batch(batch) if batch else None

    def tell(self, run: Run) -> None:
        """Nothing that was seen changes the list."""
