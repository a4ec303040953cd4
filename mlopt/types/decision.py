"""Budget lines judged, and the choice that follows."""

from typing import Literal

from mlopt.types.budget import format_quantity
from mlopt.types.estimate import Estimate
from mlopt.types.record import Record

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]


class Verdict(Record):
    """One line of the contract, judged on one piece of evidence.

    Attributes:
        line: The budget line or the non-inferiority margin, in words.
        observed: What was measured; None when there was too little to say anything.
        settles: For INCONCLUSIVE, what would settle it.
    """

    line: str
    outcome: Outcome
    observed: Estimate | None
    unit: str
    settles: str | None = None

    @property
    def shown(self) -> str:
        """What was observed, in words: ``0.61 ms (0.51 ms to 0.81 ms)``."""
        seen = self.observed
        if seen is None:
            return "not observed"
        if self.unit == "per_s":
            return sustained_in_words(seen)
        if seen.high is None or seen.low == seen.high:
            return self._value(seen.value)
        if seen.low is None:
            return f"{self._value(seen.value)}, at most {self._value(seen.high)}"
        return f"{self._value(seen.value)} ({self._value(seen.low)} to {self._value(seen.high)})"

    def _value(self, value: float) -> str:
        if self.unit in {"ms", "bytes"}:
            return format_quantity(f"_{self.unit}", value)
        return f"{value:+.4g}"


def sustained_in_words(rate: Estimate) -> str:
    """``sustained at 210 /s, not at 220 /s``: what is known of the highest sustained rate."""
    low, high = (None if r is None else format_quantity("_per_s", r) for r in (rate.low, rate.high))
    if low is None:
        return f"not sustained at {high}"
    return f"sustained at {low}" if high is None else f"sustained at {low}, not at {high}"


class Rejection(Record):
    """A candidate that was not chosen, and why."""

    name: str
    reason: str


class Decision(Record):
    """The choice.

    Attributes:
        chosen: Name of the candidate; None when none may ship.
        outcome: The verdict of the run: of the chosen one's confirmation.
        verdicts: The lines of the contract, judged on the confirmation.
        tied_with: Candidates whose p50 could not be told from the fastest one's.
    """

    chosen: str | None
    outcome: Outcome
    reason: str
    verdicts: tuple[Verdict, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    tied_with: tuple[str, ...] = ()


def worst(outcomes: list[Outcome]) -> Outcome:
    """FAIL if there is one, else INCONCLUSIVE if there is one, else PASS (also for an empty list)."""
    if "FAIL" in outcomes:
        return "FAIL"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in outcomes else "PASS"
