"""What this process itself has used."""

from __future__ import annotations

from pathlib import Path


def involuntary_switches() -> int:
    """How often any thread of this process was taken off its processor before it was done.

    From its own resource usage (getrusage(2), ``ru_nivcsw``): /proc/self/status counts the first
    thread alone. -1 where the system does not count.
    """
    try:
        import resource
    except ImportError:  # Windows
        return -1
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def peak_rss_bytes() -> int:
    """High-water mark of this process's resident memory.

    On Linux its own ``VmHWM``: ``ru_maxrss`` is inherited from the parent. Elsewhere what psutil
    knows: the peak on Windows, the current value on macOS.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import psutil

    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))
