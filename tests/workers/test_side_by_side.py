"""Tasks side by side: in order, in the caller's thread, and none goes on when the caller does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psutil
import pytest

from mlopt.errors import BuildError, MloptError
from mlopt.workers import Limits, OnEvent, run_task, side_by_side

TASKS = "worker_tasks:"

Task = Callable[[OnEvent], Any]


def silent(message: str, done: float) -> None:
    """Hears nothing."""


def waits(*events: threading.Event, then: threading.Event, result: int) -> Task:
    """A task that begins to work when others have."""

    def task(_: OnEvent) -> int:
        for event in events:
            assert event.wait(60)
        then.set()
        return result

    return task


def test_results_come_in_the_order_of_the_tasks_whichever_ends_first() -> None:
    first, second = threading.Event(), threading.Event()
    tasks = [waits(second, then=first, result=1), waits(then=second, result=2)]
    assert list(side_by_side(tasks, silent, 2)) == [1, 2]


@pytest.mark.parametrize("width", [1, 2, 3])
def test_no_more_than_the_width_run_at_once(width: int) -> None:
    lock, running, most = threading.Lock(), 0, 0

    def task(_: OnEvent) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1

    assert list(side_by_side([task] * 6, silent, width)) == [None] * 6
    assert 1 <= most <= width


def test_without_tasks_there_is_nothing() -> None:
    assert list(side_by_side([], silent, 2)) == []


def test_an_error_of_ours_is_a_result_and_the_others_go_on() -> None:
    def fails(_: OnEvent) -> int:
        raise BuildError("not this one")

    ours, other = side_by_side([fails, lambda _: 3], silent, 1)
    assert isinstance(ours, MloptError)
    assert str(ours) == "not this one"
    assert other == 3


def test_any_other_error_is_raised_and_nothing_begins_after_it() -> None:
    begun = []

    def fails(_: OnEvent) -> int:
        raise LookupError("a mistake of ours")

    def late(_: OnEvent) -> None:
        time.sleep(0.5)
        begun.append(1)

    with pytest.raises(LookupError, match="a mistake of ours"):
        list(side_by_side([fails, late, late, late], silent, 1))
    assert len(begun) <= 1


def test_messages_come_in_the_callers_thread_with_the_share_of_all() -> None:
    heard: list[tuple[str, float, bool]] = []
    here = threading.current_thread()

    def hear(message: str, done: float) -> None:
        heard.append((message, done, threading.current_thread() is here))

    def task(say: OnEvent) -> None:
        say("half", 0.5)
        say("no share", None)

    list(side_by_side([task, task], hear, 1))
    assert heard == [
        ("half", 0.25, True), ("no share", 0.25, True), ("half", 0.75, True), ("no share", 0.75, True),
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["interrupted", "stopped listening"])
def test_who_does_not_go_on_ends_the_workers(how: str) -> None:
    pids: list[int] = []

    def busy(say: OnEvent) -> None:
        run_task(TASKS + "busy", {}, Limits(300.0), say)

    def hear(message: str, _: float) -> None:
        pids.append(int(message))
        if how == "interrupted" and len(pids) == 2:
            raise KeyboardInterrupt

    started = time.monotonic()
    if how == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            list(side_by_side([busy, busy, busy], hear, 2))
    else:
        with closing(side_by_side([lambda _: 1, busy, busy], hear, 2)) as results:
            assert next(results) == 1
    assert time.monotonic() - started < 120
    for pid in pids:
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
