"""How much of the machine this process may use: affinity mask and cgroup limits.

A container sees all processors of its host. A thread pool of that size on a quota of two
processors is throttled for most of each period, so pools are sized from here.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(cgroup: Path = CGROUP) -> int:
    """Logical processors in the affinity mask, capped by the cgroup's quota, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity is not None else (os.cpu_count() or 1)
    quota = cpu_quota(cgroup)
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def cpu_quota(cgroup: Path = CGROUP) -> float | None:
    """The cgroup's quota in processors (v2 ``cpu.max``, v1 ``cpu.cfs_*``); None: no limit."""
    words = _read(cgroup / "cpu.max").split()
    if len(words) == 2 and words[0] != "max":
        return float(words[0]) / float(words[1])
    quota = _read(cgroup / "cpu" / "cpu.cfs_quota_us")
    period = _read(cgroup / "cpu" / "cpu.cfs_period_us")
    if quota and period and float(quota) > 0:
        return float(quota) / float(period)
    return None


def usable_memory_bytes(cgroup: Path = CGROUP) -> int:
    """Memory that may still be taken: what is available, capped by what the cgroup has left."""
    import psutil

    available = int(psutil.virtual_memory().available)
    for limit_file, usage_file, stat_file, cache in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        limit, usage = _read(cgroup / limit_file), _read(cgroup / usage_file)
        if limit.isdigit() and usage.isdigit():
            taken = int(usage) - _statistic(cgroup / stat_file, cache)
            available = min(available, max(0, int(limit) - taken))
    return available


def _statistic(path: Path, name: str) -> int:
    """A line of ``memory.stat``; cached files that nobody uses count as usage, and are given up."""
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
