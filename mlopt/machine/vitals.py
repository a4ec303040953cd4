"""Counters of the machine, read before and after work to see what disturbed it.

Linux tells them in /proc and in the cgroup's files (proc(5); the kernel's "Control Group v2" and
"CFS Bandwidth Control"); elsewhere psutil knows a part. What cannot be read is None, never 0.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

from mlopt.machine.limits import CGROUP
from mlopt.types.measurement import LaunchVitals, Vitals

PROC = Path("/proc")
CPUS = Path("/sys/devices/system/cpu")

_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _IRQ, _SOFTIRQ, _STEAL = range(8)
_BUSY = (_USER, _NICE, _SYSTEM, _IRQ, _SOFTIRQ)

__all__ = ["LaunchVitals", "Vitals", "read_vitals"]


class _Times(NamedTuple):
    total_s: float | None = None
    busy_s: float | None = None
    steal_s: float | None = None


class _Throttling(NamedTuple):
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_s: float | None = None


def read_vitals(proc: Path = PROC, cgroup: Path = CGROUP, cpus: Path = CPUS) -> Vitals:
    """Reads all counters; a few milliseconds, so never inside of what is timed."""
    allowed = _allowed()
    times = _times(proc, allowed)
    throttling = _throttling(cgroup)
    return Vitals(
        clock_s=time.monotonic(),
        total_s=times.total_s,
        busy_s=times.busy_s,
        steal_s=times.steal_s,
        own_s=_own_s(),
        periods=throttling.periods,
        throttled_periods=throttling.throttled_periods,
        throttled_s=throttling.throttled_s,
        mhz=_mhz(proc, cpus, allowed),
    )


def _allowed() -> frozenset[int] | None:
    """Numbers of the processors in the affinity mask; None: all."""
    affinity = getattr(os, "sched_getaffinity", None)
    return None if affinity is None else frozenset(affinity(0))


def _times(proc: Path, allowed: frozenset[int] | None) -> _Times:
    """Processor times since the start of the system (proc(5), /proc/stat)."""
    total, busy, steal = 0, 0, 0
    for line in _read(proc / "stat").splitlines():
        match = re.match(r"cpu(\d+)\s+([\d\s]+)$", line)
        if match is None or (allowed is not None and int(match[1]) not in allowed):
            continue
        # Time of guests stands in the time of the user too.
        ticks = ([int(word) for word in match[2].split()] + [0] * 8)[:8]
        total += sum(ticks)
        busy += sum(ticks[i] for i in _BUSY)
        steal += ticks[_STEAL]
    if total:
        per_s = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        return _Times(total / per_s, busy / per_s, steal / per_s)
    return _Times() if sys.platform == "linux" else _times_of_psutil()


def _times_of_psutil() -> _Times:
    import psutil

    times = psutil.cpu_times()
    total = float(sum(times))
    return _Times(total, total - times.idle, None)


def _own_s() -> float | None:
    """Processor time of this process, of those below it, and of those below it that have ended."""
    import psutil

    ended = os.times()
    total = ended.user + ended.system + ended.children_user + ended.children_system
    try:
        below = psutil.Process().children(recursive=True)
    except psutil.Error:
        return None
    for process in below:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
            total += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total


def _throttling(cgroup: Path) -> _Throttling:
    """What the quota of the cgroup did: ``cpu.stat``, in v2 beside its limits, in v1 below ``cpu``."""
    for path, name, per_s in (
        (cgroup / "cpu.stat", "throttled_usec", 1e6),
        (cgroup / "cpu" / "cpu.stat", "throttled_time", 1e9),
    ):
        found = dict(re.findall(r"^(\w+) (\d+)$", _read(path), re.MULTILINE))
        if "nr_throttled" in found:
            return _Throttling(
                int(found.get("nr_periods", 0)),
                int(found["nr_throttled"]),
                int(found.get(name, 0)) / per_s,
            )
    return _Throttling()


def _mhz(proc: Path, cpus: Path, allowed: frozenset[int] | None) -> float | None:
    """The highest clock of the processors: one that idles may tell a low one."""
    clocks: dict[int, float] = {}
    for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"):
        khz = _read(path).strip()
        if khz.isdigit():
            clocks[int(path.parts[-3].removeprefix("cpu"))] = int(khz) / 1000
    if not clocks:
        pattern = re.compile(r"^processor\s*:\s*(\d+)$(?:\n.+)*?\ncpu MHz\s*:\s*([\d.]+)$", re.M)
        clocks = {int(n): float(mhz) for n, mhz in pattern.findall(_read(proc / "cpuinfo"))}
    mine = [mhz for number, mhz in clocks.items() if allowed is None or number in allowed]
    if mine:
        return max(mine)
    return None if sys.platform == "linux" else _mhz_of_psutil()


def _mhz_of_psutil() -> float | None:
    import psutil

    try:
        found = psutil.cpu_freq()
    except (AttributeError, OSError, RuntimeError, NotImplementedError):
        return None
    return None if found is None or not found.current else float(found.current)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
