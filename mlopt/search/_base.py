"""The contract of a proposer."""

from collections.abc import Sequence
from typing import Protocol

from mlopt.types.candidate import PlannedCandidate
from mlopt.types.run import CandidateResult


class Proposer(Protocol):
    """Asked for candidates until it has no more, and told what became of them."""

    @property
    def name(self) -> str:
        """For the plan."""
        ...

    def ask(self) -> Sequence[PlannedCandidate]:
        """The next candidates, to be built and measured together; empty: there are no more."""
        ...

    def tell(self, results: Sequence[CandidateResult]) -> None:
        """What was seen of the candidates of the last :meth:`ask`."""
        ...
