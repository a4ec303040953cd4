"""The fork server: workers that have everything imported, and what happens where there is none."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlopt.workers import Limits, Worker, fork_server, forked, run_task
from mlopt.workers.forked import ForkServer
from mlopt.workers.process import WorkerFailure

BEGINS = "worker_tasks:begins_with"
COUNTER = "worker_tasks:Counter"
SLEEPING = """
import time

from mlopt.workers import fork_server

with fork_server():
    print("open", flush=True)
    time.sleep(300)
"""

IsGone = Callable[[int], bool]
WaitUntil = Callable[[Callable[[], bool]], None]


@pytest.fixture(autouse=True)
def _server_of_this_file(monkeypatch: pytest.MonkeyPatch, server: ForkServer) -> None:
    monkeypatch.setattr(forked, "_server", server)


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch, server: ForkServer) -> Iterator[ForkServer]:
    """One that a test may spoil, in the place of that of all."""
    del server
    own = ForkServer()
    monkeypatch.setattr(forked, "_server", own)
    yield own
    own.close()


def test_a_worker_may_use_as_much_memory_as_if_it_had_imported_nothing() -> None:
    found = run_task(BEGINS, {}, Limits(memory_bytes=150_000_000))
    assert is_forked(found)


def test_what_is_timed_waits_until_the_server_has_imported_everything(
    own_server: ForkServer,
) -> None:
    run_task(BEGINS, {}, fresh=True)
    process = psutil.Process(own_server._process.pid)
    before = process.cpu_times()
    run_task("worker_tasks:echo", {"value": 1}, fresh=True)
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 0.05


def test_a_build_of_pytorch_for_cuda_has_no_fork_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(forked, "find_spec", partial(PathFinder.find_spec, path=[str(tmp_path)]))
    for cuda, possible in (("None", sys.platform == "linux"), ("'13.0'", False)):
        (package / "version.py").write_text(f"__version__ = '2'\ncuda: Optional[str] = {cuda}\n")
        assert forked.can_fork() is possible
    (package / "version.py").unlink()
    assert not forked.can_fork()


def is_forked(found: dict[str, Any]) -> bool:
    return "torch" in found["loaded"]


def test_a_task_begins_with_what_takes_long_to_import() -> None:
    assert is_forked(run_task(BEGINS, {}))


def test_what_is_timed_is_a_fresh_process() -> None:
    assert not is_forked(run_task(BEGINS, {}, fresh=True))
    with Worker(BEGINS, {}, Limits()) as worker:
        assert not is_forked(worker.opened())


def test_a_forked_worker_has_a_session_and_random_numbers_of_its_own() -> None:
    one, other = (run_task(BEGINS, {}) for _ in range(2))
    assert one["session"] == one["pid"]
    assert one["random"] != other["random"]


def test_variables_that_a_library_may_read_as_it_loads_make_a_worker_fresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLOPT_TEST", "read when it is used")
    assert is_forked(run_task(BEGINS, {}))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert not is_forked(run_task(BEGINS, {}))


def test_without_a_server_a_worker_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "_server", None)
    assert not is_forked(run_task(BEGINS, {}))


def test_where_the_server_dies_so_do_its_workers_and_the_next_ones_are_fresh(
    own_server: ForkServer,
) -> None:
    with Worker(COUNTER, {"start": 0}, Limits(), fresh=False) as worker:
        worker.opened()
        (server,) = psutil.Process(worker.call("pid", {})).parents()[:1]
        server.kill()
        with pytest.raises(WorkerFailure, match="SIGKILL"):
            worker.call("sleep", {"seconds": 300})
    assert not is_forked(run_task(BEGINS, {}))
    assert own_server is forked._server, "and nothing has put another in its place"


def test_a_request_that_the_server_cannot_take_makes_a_fresh_worker(
    own_server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPT_LONG", "x" * 120_000)
    monkeypatch.setenv("MLOPT_LONGER", "x" * 120_000)
    monkeypatch.setenv("MLOPT_LONGEST", "x" * 120_000)
    assert "loaded" in run_task(BEGINS, {})


def test_the_number_of_a_dead_worker_is_nobody_elses_until_it_is_closed(
    wait_until: WaitUntil,
) -> None:
    with Worker("worker_tasks:die", {"how": "exit"}, Limits(), fresh=False) as worker:
        with pytest.raises(WorkerFailure, match="exit code 7"):
            worker.opened()
        assert psutil.Process(worker._process.pid).status() == psutil.STATUS_ZOMBIE
        pid = worker._process.pid
    wait_until(lambda: not psutil.pid_exists(pid))


def test_it_is_open_until_the_last_of_its_users_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "_server", None)
    monkeypatch.setattr(forked, "_users", 0)
    with fork_server():
        outer = forked._server
        assert outer is not None
        with fork_server():
            assert forked._server is outer
        assert is_forked(run_task(BEGINS, {}))
        pid = outer._process.pid
    assert forked._server is None
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("when", ["SIGKILL", "SIGINT"])
def test_it_ends_with_its_parent(when: str, is_gone: IsGone, wait_until: WaitUntil) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", SLEEPING], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"open\n"
        below = [one.pid for one in psutil.Process(parent.pid).children(recursive=True)]
        assert len(below) == 1
        parent.send_signal(getattr(signal, when))
        parent.wait(60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(parent.pid, signal.SIGKILL)
        parent.communicate()
    wait_until(lambda: all(is_gone(pid) for pid in below))
