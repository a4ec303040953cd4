"""The timing of a gate: the deciding workload with planned looks, then what the budget needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mlopt.pipeline.contest import Contest, Side, Terms, contest
from mlopt.types.budget import BudgetLine
from mlopt.types.events import OnEvent
from mlopt.types.workload import Workload

LEAST_EXTENSION_S = 2.0
LEAST_EXTENSION_LAUNCHES = 2
"""A shorter extension, in launches as long as those before, would say nothing."""


OF_THE_PROCESS = ("cold_start_ms", "rss_bytes")


class Race(NamedTuple):
    """Who is timed against whom.

    Attributes:
        other: The reference, or the baseline where there is none.
        ship: What is checked.
        terms: Of the deciding workload, with the time for all of them.
        work: Directory for the samples.
    """

    other: Side
    ship: Side
    terms: Terms
    work: Path
    on_event: OnEvent


class Timed(NamedTuple):
    """One workload, timed.

    Attributes:
        contest: Whose ratio and outcome count.
        absolute: Whose numbers are set against the budget: the same, or its extension.
    """

    contest: Contest
    absolute: Contest

    @property
    def extended(self) -> bool:
        """Whether there are two."""
        return self.absolute is not self.contest


class Asked(NamedTuple):
    """What the budget needs of one workload, beside the ratio.

    Attributes:
        numbers: Any latency, cold start or memory.
        tail: The p99.
    """

    numbers: bool
    tail: bool

    @classmethod
    def of(cls, budget: tuple[BudgetLine, ...], workload: Workload, *, deciding: bool) -> Asked:
        """What ``budget`` needs; cold start and memory are those of the deciding workload."""
        own = {x.quantity for x in budget if x.is_latency and x.workload == workload.name}
        process = {x.quantity for x in budget if x.quantity in OF_THE_PROCESS and deciding}
        return cls(numbers=bool(own or process), tail="p99_ms" in own)

    def is_known(self, seen: Contest, terms: Terms) -> bool:
        """Whether there are as many launches as the project asks for, and samples for the p99."""
        if self.tail and seen.b.measurements[0].p99_support != "interval":
            return False
        return not self.numbers or seen.launches >= terms.schedule.launches


def budgeted_workloads(
    workloads: tuple[Workload, ...], budget: tuple[BudgetLine, ...]
) -> list[Workload]:
    """The deciding workload first, then the others that the budget names."""
    named = {line.workload for line in budget if line.is_latency}
    first, *others = workloads
    return [first, *(one for one in others if one.name in named)]


def time_workloads(
    race: Race,
    workloads: list[Workload],
    budget: tuple[BudgetLine, ...],
    clock: Callable[[], float] = time.monotonic,
) -> list[Timed]:
    """Times every workload; only the first one is gated, the others share out its time equally.

    Args:
        race: Who, and how.
        workloads: As :func:`budgeted_workloads` gives them.
        budget: Says what must be known beside the ratio.
        clock: Seconds from any origin.

    Raises:
        ModelError: One of the two failed, or the time was too short for one round.
    """
    seconds = race.terms.max_seconds / len(workloads)
    # A cold start means something only where no other one goes on beside it.
    together = all(line.quantity != "cold_start_ms" for line in budget)
    found = []
    for number, workload in enumerate(workloads):
        terms = race.terms._replace(
            workload=workload, max_seconds=seconds, open_together=together or number > 0
        )
        if number > 0:
            terms = terms._replace(tolerance=None)
        asked = Asked.of(budget, workload, deciding=number == 0)
        found.append(_time(race, terms, asked, clock))
    return found


def _time(race: Race, terms: Terms, asked: Asked, clock: Callable[[], float]) -> Timed:
    """Times one workload; a gate that ended before the budget's numbers are known goes on.

    That it does follows from the numbers of launches and samples, and never from a verdict.
    Without a tolerance a trial goes on by itself until they are known.
    """
    start = clock()
    name = terms.workload.name
    first = _run(race, terms, name)
    spent = clock() - start
    left = terms.max_seconds - spent
    least = max(LEAST_EXTENSION_S, LEAST_EXTENSION_LAUNCHES * spent / max(1, first.launches))
    if terms.tolerance is None or left < least or asked.is_known(first, terms):
        return Timed(first, first)
    extension = terms._replace(tolerance=None, max_seconds=left, seed=terms.seed + 1)
    more = _run(race, extension, f"{name}-extension")
    return Timed(first, more if more.samples >= first.samples else first)


def _run(race: Race, terms: Terms, place: str) -> Contest:
    directory = race.work / place
    directory.mkdir(parents=True)
    return contest(race.other, race.ship, terms, directory, race.on_event)
