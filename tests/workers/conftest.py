"""Puts the task functions on the path of the workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mlopt.workers.forked import ForkServer, can_fork

ALIVE_S = 30.0


@pytest.fixture(autouse=True, scope="module")
def _tasks_on_the_path() -> Iterator[None]:
    old = os.environ.get("PYTHONPATH")
    own = str(Path(__file__).parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", own if not old else f"{own}{os.pathsep}{old}")
        yield


@pytest.fixture(scope="module")
def server(_tasks_on_the_path: None) -> Iterator[ForkServer]:
    """A fork server whose workers find the tasks."""
    if not can_fork():
        pytest.skip("no fork server here: it needs Linux, and a build of PyTorch without CUDA")
    own = ForkServer()
    yield own
    own.close()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition, and fails when it does not come true."""

    def wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + ALIVE_S
        while not condition():
            assert time.monotonic() < end, "it did not come true"
            time.sleep(0.02)

    return wait


@pytest.fixture
def is_gone() -> Callable[[int], bool]:
    """Whether a process does not run any more; a zombie does not."""

    def gone(pid: int) -> bool:
        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    return gone
