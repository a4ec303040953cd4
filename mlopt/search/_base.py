"""The contract of a proposer."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mlopt.types.candidate import PlannedCandidate
from mlopt.types.run import Run


class Batch(NamedTuple):
    """What a proposer wants to know next.

    Attributes:
        candidates: To be built and scored together. One that the run knows already is taken as it is.
        timed: Whether they are timed as well, in the same rounds as those still in the race.
        because: For the progress display: what these are.
        seconds: That timing them may take at most, once they have loaded; None: what the schedule says.
    """

    candidates: Sequence[PlannedCandidate]
    timed: bool = True
    because: str = ""
    seconds: float | None = None


class Proposer(Protocol):
    """Asked for candidates until it has no more, and told what became of them."""

    @property
    def name(self) -> str:
        """For the plan."""
        ...

    def ask(self) -> Batch | None:
        """The next candidates; None: there are no more."""
        ...

    def tell(self, run: Run) -> None:
        """The run after the last :meth:`ask` was answered: all candidates and what was seen of them."""
        ...
