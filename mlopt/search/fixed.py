"""A list that is known beforehand: every expansion of every recipe on every provider."""

from collections.abc import Sequence

from mlopt.types.candidate import PlannedCandidate
from mlopt.types.run import CandidateResult


class FixedList:
    """Proposes all candidates at once."""

    name = "fixed list: every choice of every recipe on every provider"

    def __init__(self, candidates: Sequence[PlannedCandidate]) -> None:
        """Takes the list."""
        self._left = tuple(candidates)

    def ask(self) -> Sequence[PlannedCandidate]:
        """All of them, once."""
        batch, self._left = self._left, ()
        return batch

    def tell(self, results: Sequence[CandidateResult]) -> None:
        """Nothing that was seen changes the list."""
