"""Callers that load a model: whose waiting counts, who serves what, and when a load is cut off."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest

from mlopt.profiling.load_callers import UNSERVED, SystemClock, closed_loop, open_loop
from mlopt.profiling.load_session import poisson_arrivals

MS = 1_000_000
SERVICE = 2 * MS
FOREVER = 10**15


class SimulatedClock:
    """Time passes only while somebody sleeps or is served."""

    def __init__(self) -> None:
        self.now = 0

    def now_ns(self) -> int:
        return self.now

    def sleep_until(self, moment_ns: int) -> None:
        self.now = max(self.now, moment_ns)

    def server(self, ns: int = SERVICE) -> Callable[[], object]:
        """A call that takes so long."""

        def call() -> None:
            self.now += ns

        return call


def lindley(due: list[int], service: int) -> list[int]:
    """The sojourn times of a queue with one server, first come, first served."""
    free, found = 0, []
    for moment in due:
        free = max(free, moment) + service
        found.append(free - moment)
    return found


def test_an_open_loop_counts_the_waiting_that_a_closed_loop_cannot_see() -> None:
    clock = SimulatedClock()
    due = poisson_arrivals(400, 5 * 10**9, [1])
    served = open_loop([[clock.server()]], due, FOREVER, warmup=0, clock=clock)
    assert served.due_ns == due
    assert served.latency_ns == lindley(due, SERVICE)
    # M/D/1 at 80%: the mean wait is rho * service / (2 (1 - rho)), twice the service time.
    assert np.mean(served.latency_ns) == pytest.approx(3 * SERVICE, rel=0.15)
    clock = SimulatedClock()
    closed = closed_loop([[clock.server()]], 10**9, warmup=0, clock=clock)
    assert set(closed.latency_ns) == {SERVICE}


def test_an_arrival_before_a_slow_one_is_done_has_waited_for_it() -> None:
    clock = SimulatedClock()
    calls = [clock.server(100 * MS), clock.server(MS)]
    served = open_loop([calls], [0, 10 * MS, 200 * MS], FOREVER, warmup=0, clock=clock)
    assert served.latency_ns == [100 * MS, 91 * MS, 100 * MS]


def test_a_load_over_the_capacity_is_cut_off() -> None:
    clock = SimulatedClock()
    due = [i * MS for i in range(10_000)]  # twice what a server of 2 ms can answer
    served = open_loop([[clock.server()]], due, 50 * MS, warmup=0, clock=clock)
    waiting = served.latency_ns.count(UNSERVED)
    assert served.latency_ns[:3] == [2 * MS, 3 * MS, 4 * MS]
    assert 0 < waiting < len(served.latency_ns) < 150, "it ended soon, not after 10 s"
    assert served.latency_ns[-waiting:] == [UNSERVED] * waiting
    assert max(served.latency_ns) <= 50 * MS + SERVICE


def test_a_load_that_is_kept_up_with_serves_everyone() -> None:
    clock = SimulatedClock()
    due = [i * 3 * MS for i in range(1000)]
    served = open_loop([[clock.server()]], due, 50 * MS, warmup=0, clock=clock)
    assert served.latency_ns == [SERVICE] * 1000


def test_a_closed_loop_ends_and_keeps_the_request_that_was_under_way() -> None:
    clock = SimulatedClock()
    served = closed_loop([[clock.server()]], 5 * MS, warmup=3, clock=clock)
    assert served.due_ns == [0, 2 * MS, 4 * MS]
    assert served.latency_ns == [SERVICE] * 3


class Recorder:
    """A server that notes who called, in which context."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: list[tuple[int, int, bool]] = []
        self.inside = threading.local()

    @contextmanager
    def serving(self) -> Iterator[None]:
        self.inside.yes = True
        yield

    def call(self, caller: int) -> Callable[[], object]:
        def note() -> None:
            with self.lock:
                serving = getattr(self.inside, "yes", False)
                self.calls.append((caller, threading.get_ident(), serving))

        return note


def test_several_callers_serve_each_request_once_with_calls_of_their_own() -> None:
    recorder = Recorder()
    calls = [[recorder.call(number)] for number in range(3)]
    due = [i * MS // 10 for i in range(200)]
    served = open_loop(calls, due, FOREVER, warmup=2, serving=recorder.serving)
    assert len(recorder.calls) == 200 + 3 * 2
    assert all(serving for _, _, serving in recorder.calls)
    assert len({(caller, thread) for caller, thread, _ in recorder.calls}) == 3
    assert all(latency >= 0 for latency in served.latency_ns)


def test_a_caller_repeats_its_inputs_in_turn() -> None:
    clock, seen = SimulatedClock(), []

    def note(which: str) -> Callable[[], object]:
        return lambda: (seen.append(which), clock.server()())

    closed_loop([[note("a"), note("b")]], 5 * MS, warmup=1, clock=clock)
    assert seen == ["a", "b", "a", "b"], "the first one is the warm-up"


def test_what_fails_under_load_is_raised_and_leaves_nobody_waiting() -> None:
    def broken() -> None:
        raise ValueError("not thread-safe")

    enabled = gc.isenabled()
    with pytest.raises(ValueError, match="not thread-safe"):
        open_loop([[broken], [lambda: None]], [0, 1, 2], FOREVER, warmup=1)
    assert gc.isenabled() == enabled


def test_nobody_wakes_before_the_arrival() -> None:
    clock = SystemClock()
    moment = clock.now_ns() + 2 * MS
    clock.sleep_until(moment)
    assert clock.now_ns() >= moment


def test_arrivals_are_poisson_and_repeat_with_their_seed() -> None:
    due = poisson_arrivals(1000, 20 * 10**9, [7, 1])
    assert due == poisson_arrivals(1000, 20 * 10**9, [7, 1])
    assert due != poisson_arrivals(1000, 20 * 10**9, [7, 2])
    assert all(a <= b for a, b in pairwise(due))
    assert due[-1] < 20 * 10**9
    gaps = np.diff(due) / MS
    assert gaps.mean() == pytest.approx(1, rel=0.03)
    assert gaps.std() == pytest.approx(1, rel=0.05), "the deviation of an exponential is its mean"
