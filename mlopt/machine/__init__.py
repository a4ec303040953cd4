"""What this machine is: its processor, and how much of it we may use.

The fingerprint of a run is in :mod:`mlopt.machine.environment`, which timing workers do not load.
"""

from mlopt.machine.limits import cpu_quota, usable_cpus, usable_memory_bytes
from mlopt.machine.processor import Processor, read_processor

__all__ = [
    "Processor",
    "cpu_quota",
    "read_processor",
    "usable_cpus",
    "usable_memory_bytes",
]
