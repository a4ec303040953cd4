"""Isolated processes: everything that runs foreign or heavy code runs in one.

A worker is a fresh interpreter that is told by name what to run. What crosses the boundary is
JSON and file paths, never a pickle, so that a worker that dies, hangs or eats the memory costs
its own task only.
"""

from mlopt.workers.channel import emit
from mlopt.workers.process import Limits, OnEvent, Worker, run_task
from mlopt.workers.side_by_side import side_by_side

__all__ = ["Limits", "OnEvent", "Worker", "emit", "run_task", "side_by_side"]
