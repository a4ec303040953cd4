"""Workers: results come back, and whatever goes wrong in one has a cause in words."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from mlopt import errors
from mlopt.errors import MloptError, WorkerError
from mlopt.workers import Limits, Worker, emit, run_task
from mlopt.workers.process import WorkerFailure

TASKS = "worker_tasks:"
PATIENCE_S = 120.0

IsGone = Callable[[int], bool]
WaitUntil = Callable[[Callable[[], bool]], None]

PARENT = """
import sys

from mlopt.workers import Limits, Worker, fork_server

def tell(pid, _):
    print(pid, flush=True)

with fork_server():
    Worker("worker_tasks:busy", {}, Limits(), tell, fresh=sys.argv[1] == "fresh").opened()
"""


@pytest.fixture(autouse=True, params=["fresh", "forked"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every worker in here is started in both ways."""
    kind: str = request.param
    server = request.getfixturevalue("server") if kind == "forked" else None
    monkeypatch.setattr("mlopt.workers.forked._server", server)
    defaults = Worker.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "fresh", kind == "fresh")
    return kind


def failure_of(
    task: str, arguments: dict[str, Any] | None = None, limits: Limits | None = None
) -> WorkerFailure:
    with pytest.raises(WorkerFailure) as caught:
        run_task(TASKS + task, arguments or {}, limits or Limits(PATIENCE_S))
    return caught.value


def test_a_function_runs_in_another_process_and_its_result_comes_back() -> None:
    assert run_task(TASKS + "add", {"a": 2, "b": 3}) == 5
    assert run_task(TASKS + "where", {})["pid"] != os.getpid()


@pytest.mark.parametrize(
    "value", [None, True, 1.5, "später\n", [1, [2]], {"a": {"b": None}}, "x" * 1_000_000]
)
def test_json_values_pass_through_unchanged(value: object) -> None:
    assert run_task(TASKS + "echo", {"value": value}) == value


def test_the_environment_is_inherited_and_the_current_directory_is_not_imported_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("MLOPT_TEST", "inherited")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise RuntimeError('shadowed')\n")
    seen = run_task(TASKS + "where", {})
    assert seen["ours"] == "inherited"
    assert "" not in seen["path"]
    assert str(tmp_path) not in seen["path"]


def test_a_worker_has_variables_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPT_TEST", "inherited")
    own = {"MLOPT_TEST": "own"}
    with Worker(TASKS + "where", {}, Limits(PATIENCE_S), environment=own) as worker:
        assert worker.opened()["ours"] == "own"
    assert os.environ["MLOPT_TEST"] == "inherited"


@pytest.mark.parametrize(
    "kind", ["ConfigError", "ModelError", "DataError", "UnavailableError", "RunError", "BuildError"]
)
def test_an_error_of_ours_is_raised_again_by_its_class_with_its_message(kind: str) -> None:
    message = "mlopt.yaml, x: two lines\nmlopt.yaml, y: of mistakes"
    with pytest.raises(MloptError) as caught:
        run_task(TASKS + "raise_ours", {"kind": kind, "message": message})
    assert type(caught.value) is getattr(errors, kind)
    assert str(caught.value) == message


def test_any_other_exception_is_a_failure_with_its_first_line_and_the_log() -> None:
    failure = failure_of("raise_other", {"message": "no such kernel\nsecond line"})
    assert isinstance(failure, WorkerError)
    assert str(failure) == "LookupError: no such kernel"
    assert "a line before the failure" in failure.log
    assert "worker_tasks.py" in failure.log


def test_the_log_holds_the_last_lines_only() -> None:
    with Worker(TASKS + "chatter", {"lines": 200}, Limits(PATIENCE_S)) as worker:
        worker.opened()
        lines = worker.log_tail.splitlines()
    assert 0 < len(lines) < 50
    assert any("199" in line for line in lines)
    assert not any("out 0 " in line for line in lines)


def test_a_result_that_is_no_json_is_a_failure() -> None:
    assert "JSON" in str(failure_of("answer_with_an_object"))


def test_a_task_that_does_not_exist_is_a_failure_that_names_it() -> None:
    assert "no_such_task" in failure_of("no_such_task").log


def test_what_user_code_prints_does_not_reach_the_channel() -> None:
    assert run_task(TASKS + "chatter", {"lines": 50}) == "true"


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("exit", "ended by itself with exit code 7"),
        ("sys.exit", "ended by itself with exit code 3"),
        ("SIGKILL", "killed by SIGKILL (the kernel's out-of-memory killer"),
        ("SIGSEGV", "killed by SIGSEGV"),
        ("SIGTERM", "killed by SIGTERM"),
    ],
)
def test_a_worker_that_dies_says_how_and_keeps_its_log(how: str, cause: str) -> None:
    failure = failure_of("die", {"how": how})
    assert cause in str(failure)
    assert "about to die" in failure.log


def test_a_worker_that_dies_is_noticed_though_a_child_of_its_own_holds_the_pipe() -> None:
    assert "exit code 7" in str(failure_of("die_and_leave_a_child"))


@pytest.mark.parametrize("task", ["hang", "hang_with_events"])
def test_a_worker_that_hangs_is_ended_at_its_limit(task: str) -> None:
    assert str(failure_of(task, limits=Limits(seconds=0.5))) == "ran longer than its limit of 0.5 s"


@pytest.mark.parametrize(("limit", "seconds"), [(PATIENCE_S, 0.3), (2.5, PATIENCE_S)])
def test_one_call_may_have_a_tighter_limit_and_never_a_looser_one(
    limit: float, seconds: float
) -> None:
    with Worker(TASKS + "Counter", {"start": 0}, Limits(limit)) as worker:
        worker.opened()
        with pytest.raises(WorkerError, match=f"its limit of {min(limit, seconds)} s"):
            worker.call("sleep", {"seconds": 300}, seconds)


@pytest.mark.parametrize("task", ["hoard", "hoard_in_a_child"])
def test_a_worker_that_exhausts_its_memory_is_ended_with_both_numbers(task: str) -> None:
    failure = failure_of(task, limits=Limits(PATIENCE_S, 200_000_000))
    text = str(failure)
    assert "over its limit of 200 MB" in text
    assert int(text.split()[1]) > 200


def test_a_worker_within_its_limits_is_left_alone() -> None:
    assert run_task(TASKS + "add", {"a": 1, "b": 1}, Limits(PATIENCE_S, 10**10)) == 2


def test_events_arrive_in_their_order_before_the_result() -> None:
    seen: list[tuple[str, float | None]] = []
    result = run_task(TASKS + "tell", {"count": 2}, on_event=lambda *event: seen.append(event))
    assert result == "done"
    assert seen == [("step 0", 0.0), ("step 1", 0.5), ("without a share", None)]


def test_events_that_nobody_listens_to_are_passed_over() -> None:
    assert run_task(TASKS + "tell", {"count": 2}) == "done"


def test_emitting_outside_of_a_worker_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    emit("building", 0.5)
    assert capfd.readouterr() == ("", "")


def test_an_object_stays_between_calls_and_survives_an_exception() -> None:
    with Worker(TASKS + "Counter", {"start": 10}, Limits(PATIENCE_S)) as worker:
        assert worker.opened() is None
        assert worker.call("add", {"amount": 5}) == 15
        with pytest.raises(WorkerFailure, match="RuntimeError: not this time"):
            worker.call("fail", {})
        assert worker.call("add", {"amount": 1}) == 16


def test_an_object_that_cannot_be_opened_raises_what_it_raised() -> None:
    with Worker(TASKS + "Counter", {"start": -1}, Limits(PATIENCE_S)) as worker:
        with pytest.raises(errors.ModelError, match="it starts below 0"):
            worker.opened()
        with pytest.raises(WorkerError):
            worker.call("add", {"amount": 1})


@pytest.mark.parametrize("signals", [True, False], ids=["signals", "psutil"])
def test_a_paused_worker_stands_still_and_goes_on_when_resumed(
    wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, signals: bool
) -> None:
    if not signals:  # as on Windows
        monkeypatch.setattr("mlopt.workers.process.STOP", None)
        monkeypatch.setattr("mlopt.workers.process.CONTINUE", None)
    with Worker(TASKS + "Counter", {"start": 0}, Limits(PATIENCE_S)) as worker:
        worker.opened()
        process = psutil.Process(worker.call("pid", {}))
        worker.pause()
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED)
        answers: list[int] = []
        caller = threading.Thread(
            target=lambda: answers.append(worker.call("add", {"amount": 1})), daemon=True
        )
        caller.start()
        time.sleep(0.5)
        assert answers == []
        worker.resume()
        caller.join(PATIENCE_S)
        assert answers == [1]


def test_pausing_a_dead_worker_is_no_error() -> None:
    with Worker(TASKS + "die", {"how": "exit"}, Limits(PATIENCE_S)) as worker:
        with pytest.raises(WorkerFailure):
            worker.opened()
        worker.pause()
        worker.resume()


@pytest.mark.parametrize("paused", [False, True])
def test_the_process_and_its_children_are_gone_after_the_block(
    paused: bool, is_gone: IsGone, wait_until: WaitUntil
) -> None:
    with Worker(TASKS + "Counter", {"start": 0}, Limits(PATIENCE_S)) as worker:
        worker.opened()
        pids = worker.call("pids", {})
        assert not any(is_gone(pid) for pid in pids)
        if paused:
            worker.pause()
    wait_until(lambda: all(is_gone(pid) for pid in pids))


def test_the_process_is_gone_when_the_block_raises(is_gone: IsGone, wait_until: WaitUntil) -> None:
    pids: list[int] = []
    with (  # noqa: PT012
        pytest.raises(KeyboardInterrupt),
        Worker(TASKS + "Counter", {"start": 0}, Limits(PATIENCE_S)) as worker,
    ):
        worker.opened()
        pids = worker.call("pids", {})
        raise KeyboardInterrupt
    assert len(pids) == 2
    wait_until(lambda: all(is_gone(pid) for pid in pids))


def test_closing_twice_is_no_error() -> None:
    with Worker(TASKS + "Counter", {"start": 0}, Limits(PATIENCE_S)) as worker:
        worker.opened()
        worker.close()
        assert worker.log_tail == ""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_worker_dies_when_its_parent_is_killed_also_while_it_is_busy(
    is_gone: IsGone, wait_until: WaitUntil, how: str
) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, how], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)
    finally:
        parent.kill()
        parent.communicate()
    wait_until(lambda: is_gone(pid))
