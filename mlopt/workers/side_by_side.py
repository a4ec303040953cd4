"""Several tasks at the same time, each of which spends its time waiting for a worker of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeVar

from mlopt.errors import MloptError
from mlopt.workers.process import POLL_S, OnEvent, end_workers_of

PATIENCE_S = 10.0
"""How long to wait for threads whose workers have been ended."""

T = TypeVar("T")

Task = Callable[[OnEvent], T]


class _Said(NamedTuple):
    """What the worker of a task emitted."""

    number: int
    message: str
    done: float | None


class _Ended(NamedTuple):
    """What a task returned or raised."""

    number: int
    outcome: object


def side_by_side(
    tasks: Sequence[Task[T]], on_event: Callable[[str, float], None], width: int
) -> Generator[T | MloptError, None, None]:
    """Runs tasks in threads, and gives their results in the order of the tasks.

    Whatever the caller gets, it gets in its own thread. When it is interrupted, or stops listening,
    no further task begins and the workers of those under way are ended.

    Args:
        tasks: Each is called with a function that takes what its worker emits.
        on_event: Called with that, and with the share of all tasks that is done.
        width: Tasks at a time, at least one.

    Yields:
        For each task its result, or the :class:`MloptError` that it raised; any other exception is
        raised here.
    """
    inbox: queue.SimpleQueue[_Said | _Ended] = queue.SimpleQueue()
    waiting = iter(range(len(tasks)))
    turn = threading.Lock()
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            with turn:
                number = next(waiting, None)
            if number is None:
                return
            inbox.put(_Ended(number, _outcome(tasks[number], inbox, number)))

    crew = [threading.Thread(target=work, daemon=True) for _ in range(min(width, len(tasks)))]
    shares = [0.0] * len(tasks)
    ended: dict[int, object] = {}
    try:
        for thread in crew:
            thread.start()
        for number in range(len(tasks)):
            while number not in ended:
                try:
                    item = inbox.get(
                        timeout=POLL_S
                    )  # some systems do not interrupt an endless wait
                except queue.Empty:
                    continue
                if isinstance(item, _Ended):
                    ended[item.number], shares[item.number] = item.outcome, 1.0
                else:
                    shares[item.number] = max(shares[item.number], item.done or 0.0)
                    on_event(item.message, sum(shares) / len(tasks))
            outcome = ended.pop(number)
            if isinstance(outcome, Exception) and not isinstance(outcome, MloptError):
                raise outcome
            yield outcome  # type: ignore[misc]  # what is no exception is a task's own result
    finally:
        stopped.set()
        _dismiss(crew)


def _dismiss(crew: Sequence[threading.Thread]) -> None:
    """Ends the workers of all that are still busy; one may wait for another's.

    Who waits for another process altogether, which has the lock of what both would build, is left
    behind: a thread that keeps nobody from ending.
    """
    patience = time.monotonic() + PATIENCE_S
    while (busy := [one for one in crew if one.is_alive()]) and time.monotonic() < patience:
        for thread in busy:
            end_workers_of(thread)
        busy[0].join(POLL_S)


def _outcome(task: Task[T], inbox: queue.SimpleQueue[_Said | _Ended], number: int) -> object:
    try:
        return task(lambda message, done: inbox.put(_Said(number, message, done)))
    except Exception as e:  # noqa: BLE001  # the caller raises it, or takes it for the result
        return e
