"""Isolated processes: everything that runs foreign or heavy code runs in one.

A worker is an interpreter of its own, fresh or forked, that is told by name what to run. What crosses
the boundary is JSON and file paths, never a pickle, so that a worker that dies, hangs or eats the
memory costs its own task only.
"""

from mlopt.workers.channel import emit
from mlopt.workers.forked import fork_server
from mlopt.workers.process import Limits, OnEvent, Worker, run_task
from mlopt.workers.side_by_side import side_by_side

__all__ = ["Limits", "OnEvent", "Worker", "emit", "fork_server", "run_task", "side_by_side"]
