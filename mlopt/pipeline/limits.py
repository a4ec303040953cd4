"""What one worker process may use: as the project says, else most of what the machine has left."""

from __future__ import annotations

from mlopt.machine import usable_memory_bytes
from mlopt.project import Project
from mlopt.workers import Limits

MEMORY_SHARE = 0.8
"""Of the memory that may still be taken; the rest is for this process and for others."""


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
