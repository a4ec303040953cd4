"""What decides about the processor's speed: governor, highest frequency, shared cores.

From Linux' sysfs ("CPU Performance Scaling" and the ABI of /sys/devices/system/cpu); a virtual
machine often tells none of it.
"""

from __future__ import annotations

from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")


def governor(cpus: Path = CPUS) -> str | None:
    """The frequency governor of the first processor; None: cannot be read."""
    return _read(cpus / "cpu0/cpufreq/scaling_governor") or None


def max_mhz(cpus: Path = CPUS) -> float | None:
    """The highest frequency, boost included; None: cannot be read."""
    khz = [
        int(text)
        for path in cpus.glob("cpu[0-9]*/cpufreq/cpuinfo_max_freq")
        if (text := _read(path)).isdigit()
    ]
    return max(khz) / 1000 if khz else None


def simultaneous_multithreading(cpus: Path = CPUS) -> bool | None:
    """Whether a core runs two threads, so that one slows the other; None: cannot be read."""
    return {"0": False, "1": True}.get(_read(cpus / "smt/active"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
