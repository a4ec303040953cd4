"""A short race of settings: the fastest candidates again, one setting changed at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlopt.search._base import Batch
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.run import Run

Settle = Callable[[PlannedCandidate, str, Any], PlannedCandidate | None]
"""A candidate with one setting changed; None where that makes no difference."""


class TuningRace:
    """Proposes the fastest candidates with other settings, of the session or of their passes.

    Two rounds: first each setting alone, then, for each candidate, those that were faster alone
    together. Settings interact little enough that this finds most of what a grid would, for the sum
    of their values in place of the product.
    """

    name = "settings of the fastest candidates, one at a time, then the best of them together"

    def __init__(
        self,
        fastest: Sequence[PlannedCandidate],
        settings: Mapping[str, Sequence[Any]],
        settle: Settle,
        seconds: float | None = None,
    ) -> None:
        """Prepares.

        Args:
            fastest: Whose settings are tuned.
            settings: The values to try of each setting.
            settle: Makes a candidate with one more setting.
            seconds: That each of the two rounds may take to be timed, once all have loaded.
        """
        self._seconds = seconds
        self._fastest = tuple(fastest)
        self._settle = settle
        self._alone: dict[str, list[tuple[PlannedCandidate, str, Any]]] = {}
        for origin in self._fastest:
            changed = [
                (candidate, name, value)
                for name, values in settings.items()
                for value in values
                if (candidate := settle(origin, name, value)) is not None
            ]
            self._alone[origin.name] = changed
        self._next: Batch | None = self._batch(
            [one for several in self._alone.values() for one, _, _ in several],
            "the fastest candidates with other settings",
        )
        self._combined = False

    def ask(self) -> Batch | None:
        """Each setting alone, then the best together."""
        batch, self._next = self._next, None
        return batch

    def tell(self, run: Run) -> None:
        """Puts the settings together that were faster alone."""
        if self._combined:
            return
        self._combined = True
        found = [
            together
            for origin in self._fastest
            if (together := self._together(origin, run)) is not None
        ]
        self._next = self._batch(found, "the settings that were faster alone, together")

    def _together(self, origin: PlannedCandidate, run: Run) -> PlannedCandidate | None:
        """The best value of each setting that was faster than the origin, where these are several."""
        before = p50_ratio(run, origin.name)
        best: dict[str, tuple[float, Any]] = {}
        for candidate, name, value in self._alone[origin.name]:
            ratio = p50_ratio(run, candidate.name)
            if before is None or ratio is None or ratio >= before:
                continue
            if name not in best or ratio < best[name][0]:
                best[name] = ratio, value
        if len(best) < 2:
            return None
        together: PlannedCandidate | None = origin
        for name, (_, value) in best.items():
            if together is not None:
                together = self._settle(together, name, value)
        return together

    def _batch(self, candidates: Sequence[PlannedCandidate], because: str) -> Batch | None:
        return Batch(candidates, because=because, seconds=self._seconds) if candidates else None


def p50_ratio(run: Run, name: str) -> float | None:
    """The p50 over the baseline's at the first workload; None where it was not timed."""
    result = next((one for one in run.candidates if one.name == name), None)
    if result is None or result.failure is not None or result.selection is None:
        return None
    first = next(iter(result.selection.measurements), None)
    if first is None:
        return None
    return 1.0 if first.p50_ratio is None else first.p50_ratio.value
