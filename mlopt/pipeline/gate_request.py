"""What a gate is asked, and where it works."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mlopt.errors import ModelError
from mlopt.project import LoadedProject
from mlopt.store.cache import Cache
from mlopt.types.events import OnEvent
from mlopt.workers import Limits

SPLIT = "holdout"
SHIP, REFERENCE, BASELINE = "ship", "reference", "baseline"


class ShipError(ModelError):
    """What ships cannot be loaded, dies, or answers what is no number: the gate fails."""


class Named(NamedTuple):
    """A name, and the directory that it is relative to if it is a path."""

    text: str
    base: Path


class GateRequest(NamedTuple):
    """What to check, and how.

    Attributes:
        loaded: The project, with the budget and the margins that count.
        ship: What is checked.
        reference: What it is timed and judged against; None: the baseline only.
        tolerance: How much slower the p50 may be, as a share of the reference's.
        max_seconds: Wall-clock limit of the timing; a load has as much again.
    """

    loaded: LoadedProject
    ship: Named
    reference: Named | None
    tolerance: float
    max_seconds: float
    seed: int


class Hall(NamedTuple):
    """Where a gate works.

    Attributes:
        cache: For what is built, and for candidates of runs.
        work: An empty directory.
        limits: Of one worker.
        on_event: Called with what is going on.
    """

    cache: Cache
    work: Path
    limits: Limits
    on_event: OnEvent
