"""What this machine is: its processor, and how much of it we may use."""

from mlopt.machine.environment import describe_environment
from mlopt.machine.limits import usable_cpus, usable_memory_bytes
from mlopt.machine.processor import Processor, read_processor

__all__ = [
    "Processor",
    "describe_environment",
    "read_processor",
    "usable_cpus",
    "usable_memory_bytes",
]
