"""What one worker process may use: as the project says, else most of what the machine has left."""

from __future__ import annotations

from mlopt.machine import usable_cpus, usable_memory_bytes
from mlopt.project import Project
from mlopt.workers import Limits

MEMORY_SHARE = 0.8
"""Of the memory that may still be taken; the rest is for this process and for others."""


SIDE_BY_SIDE = 2
"""Builds and scores at a time: much of what they do, loading libraries above all, is for one core."""

SMALL_BYTES = 200_000_000
"""Models up to this are built side by side: several times their size is in memory then, twice."""

ROOM_BYTES = 8_000_000_000
"""Memory that must be free for that."""


def at_a_time(model_bytes: int) -> int:
    """How many workers may build or score at the same time.

    Args:
        model_bytes: Size of the model as it was brought.
    """
    small = model_bytes <= SMALL_BYTES and usable_memory_bytes() >= ROOM_BYTES
    return min(SIDE_BY_SIDE, usable_cpus()) if small else 1


def default_limits(seconds: float | None) -> Limits:
    """Limits where no project says otherwise.

    Args:
        seconds: Wall-clock time of one call; None: no limit.
    """
    return Limits(seconds, int(usable_memory_bytes() * MEMORY_SHARE))


def project_limits(project: Project) -> Limits:
    """The ``limits`` of mlopt.yaml."""
    own = project.limits
    if own.memory_mb is None:
        return default_limits(own.seconds)
    return Limits(own.seconds, int(own.memory_mb * 1e6))
