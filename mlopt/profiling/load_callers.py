"""Callers that load a model, from inside its process: a closed loop, or Poisson arrivals.

In the open loop a latency counts from the moment the request was *due*, not from when a caller
was free to send it: a request that waits has waited (no coordinated omission; Schroeder, Wierman &
Harchol-Balter, "Open versus closed", NSDI 2006).

A caller that waits for an arrival sleeps and never spins: a spinning thread would take the
processor, and Python's interpreter lock, from the model. On Linux its timer slack is set to 1 us,
where the kernel's default lengthens a sleep by up to 50 us. How late it still wakes is part of the
latency, as it would be of a server's.
"""

from __future__ import annotations

import bisect
import ctypes
import gc
import itertools
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, Protocol

Call = Callable[[], object]
Serving = Callable[[], AbstractContextManager[object]]

UNSERVED = -1
START_NS = 2_000_000
"""From when all callers are ready to when the load begins."""

_PR_SET_TIMERSLACK = 29


class Clock(Protocol):
    """Monotonic nanoseconds, and waiting for one of them."""

    def now_ns(self) -> int:
        """The time."""
        ...

    def sleep_until(self, moment_ns: int) -> None:
        """Returns at that time, or at once when it is past."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now_ns(self) -> int:
        """The time."""
        return time.perf_counter_ns()

    def sleep_until(self, moment_ns: int) -> None:
        """Sleeps, without spinning."""
        while (left := moment_ns - time.perf_counter_ns()) > 0:
            time.sleep(left / 1e9)


class Served(NamedTuple):
    """One load as it went.

    Attributes:
        latency_ns: Of each request, in the order in which they were due; :data:`UNSERVED` for one
            that still waited when the load was cut off.
        due_ns: When each was due, from the beginning; for a closed loop, when it was sent.
    """

    latency_ns: list[int]
    due_ns: list[int]


def closed_loop(
    calls: Sequence[Sequence[Call]],
    length_ns: int,
    *,
    warmup: int,
    serving: Serving = nullcontext,
    clock: Clock | None = None,
) -> Served:
    """Every caller sends its next request as soon as its last one is answered.

    Args:
        calls: For each caller, the inferences that it repeats in turn; no two share any.
        length_ns: When no further request is sent.
        warmup: Untimed inferences of each caller beforehand.
        serving: Entered by each caller around all of its inferences.
        clock: Default: the machine's.
    """
    found: list[list[tuple[int, int]]] = [[] for _ in calls]

    def send(number: int, own: Iterator[Call], start_ns: int, time_of: Clock) -> None:
        sent, now = found[number], time_of.now_ns
        time_of.sleep_until(start_ns)
        while (begun := now()) - start_ns < length_ns:
            next(own)()
            sent.append((begun - start_ns, now() - begun))

    _run_callers(calls, send, warmup, serving, clock or SystemClock())
    rows = sorted(itertools.chain.from_iterable(found))
    return Served([latency for _, latency in rows], [due for due, _ in rows])


def open_loop(
    calls: Sequence[Sequence[Call]],
    due_ns: Sequence[int],
    patience_ns: int,
    *,
    warmup: int,
    serving: Serving = nullcontext,
    clock: Clock | None = None,
) -> Served:
    """Requests arrive when they are due; the next free caller takes the oldest one.

    Over its capacity a queue grows without end, so the load is cut off as soon as a request has
    waited for ``patience_ns``.

    Args:
        calls: For each caller, the inferences that it repeats in turn; no two share any.
        due_ns: When each request arrives, from the beginning; ascending.
        patience_ns: The longest wait.
        warmup: Untimed inferences of each caller beforehand.
        serving: Entered by each caller around all of its inferences.
        clock: Default: the machine's.
    """
    due = array("q", due_ns)
    latency = array("q", [UNSERVED]) * len(due)
    queue = itertools.count()  # taking the next number is one step of the interpreter
    cut = threading.Event()
    cut_at: list[int] = []

    def serve(_: int, own: Iterator[Call], start_ns: int, time_of: Clock) -> None:
        now, is_cut = time_of.now_ns, cut.is_set
        for i in queue:
            if i >= len(due) or is_cut():
                return
            moment = start_ns + due[i]
            time_of.sleep_until(moment)
            if is_cut():
                return
            if (begun := now()) - moment > patience_ns:
                cut_at.append(begun - start_ns)
                cut.set()
                return
            next(own)()
            latency[i] = now() - moment

    _run_callers(calls, serve, warmup, serving, clock or SystemClock())
    arrived = _arrived(latency, due, min(cut_at)) if cut_at else len(due)
    return Served(list(latency[:arrived]), list(due[:arrived]))


def _arrived(latency: Sequence[int], due: Sequence[int], cut_ns: int) -> int:
    """How many requests were due by the cut, or were served all the same as it came."""
    served = max((i + 1 for i, ns in enumerate(latency) if ns != UNSERVED), default=0)
    return max(served, bisect.bisect_right(due, cut_ns))


def _run_callers(
    calls: Sequence[Sequence[Call]],
    work: Callable[[int, Iterator[Call], int, Clock], None],
    warmup: int,
    serving: Serving,
    clock: Clock,
) -> None:
    """Runs ``work`` in a thread for each caller; all begin at one moment, after their warm-up."""
    start: list[int] = []
    ready = threading.Barrier(len(calls), action=lambda: start.append(clock.now_ns() + START_NS))

    def call(number: int) -> None:
        own = itertools.cycle(calls[number])
        try:
            with serving():
                for _ in range(warmup):
                    next(own)()
                _wake_in_time()
                ready.wait()
                work(number, own, start[0], clock)
        except BaseException:
            ready.abort()  # the others must not wait for a caller that will not come
            raise

    with _without_collecting(), ThreadPoolExecutor(len(calls)) as pool:
        threads = [pool.submit(call, number) for number in range(len(calls))]
    failures = [error for one in threads if (error := one.exception()) is not None]
    for error in sorted(failures, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        raise error


def _wake_in_time() -> None:
    """Sets this thread's timer slack, by which the kernel may lengthen a sleep: 50 us by default."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1000, 0, 0, 0)


@contextmanager
def _without_collecting() -> Iterator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
